//! Slim rows say what whole rows say; rows of the single-prompt tool.

use std::io::{BufReader, Read as _};

use metrics::schema::{SampleRow, read_detail_without_lists, read_samples};
use metrics::window::published_throughput;
use metrics::{Completed, RequestRecord, Sample};

use crate::support::{data, data_path};

/// Every detail file of the originals that this crate has.
fn detail_files() -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![data_path("")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if name.starts_with("detailed_results_") {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn samples_of_the_originals_files_equal_their_rows() {
    let files = detail_files();
    assert!(files.len() >= 8, "{files:?}");
    let mut n = 0;
    for file in files {
        let open = || std::fs::File::open(&file).unwrap();
        let rows: Vec<RequestRecord> = read_detail_without_lists(open())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let slim: Vec<SampleRow> = read_samples(BufReader::with_capacity(4096, open()))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), slim.len(), "{file}");
        for (row, slim) in rows.iter().zip(&slim) {
            let intent = &row.intent;
            assert_eq!(*slim.phase_id, *intent.phase_id, "{file}");
            assert_eq!(slim.context_size, intent.context_size);
            assert_eq!(slim.working_set_size, intent.working_set_size);
            assert_eq!(slim.cache_hit_rate, intent.cache_hit_rate);
            let sample = &slim.sample;
            assert_eq!(sample.concurrency_level(), intent.concurrency_level);
            assert_eq!(Completed::ttft_sample(sample), row.ttft_sample());
            assert_eq!(Completed::request_speed(sample), row.request_speed());
            assert_eq!(sample.input_tokens(), row.input_tokens());
            assert_eq!(Completed::output_tokens(sample), row.output_tokens);
            assert_eq!(sample.reported_cached_tokens(), row.reported_cached_tokens);
            n += 1;
        }
        let samples: Vec<Sample> = rows.iter().map(Sample::from).collect();
        assert_eq!(
            published_throughput(&samples),
            published_throughput(&rows),
            "{file}"
        );
    }
    assert!(n > 1000, "{n}");
}

#[test]
fn a_broken_row_is_one_error_and_the_next_row_is_read() {
    let mut text = String::new();
    data("cache_rate_ramp/detailed_results_1000_20261122_010944.csv")
        .read_to_string(&mut text)
        .unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let n = lines.len() - 1;
    lines[2] = lines[2].replacen(",1000,", ",many,", 1);
    lines[4] = lines[4].split_once(',').unwrap().1.to_owned();
    let text = lines.join("\n") + "\n";
    let results: Vec<_> = read_samples(text.as_bytes()).unwrap().collect();
    assert_eq!(results.len(), n);
    let bad: Vec<usize> = (0..n).filter(|i| results[*i].is_err()).collect();
    assert_eq!(bad, [1, 3]);
    let error = results[1].as_ref().unwrap_err().to_string();
    assert_eq!(
        error,
        "line 3, column context_size: \"many\" is not a whole number"
    );
}
