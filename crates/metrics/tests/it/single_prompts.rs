//! Rows of `single_prompt_tester`: the original's file, the figures it printed, and the verdicts.

use metrics::caching::{Basis, Caching, CachingVerdict, Unclear, judge_caching};
use metrics::schema::{RowWriter, SchemaError, read_single_prompt};
use metrics::single_prompt::{PromptKind, SinglePromptRow, SizeFigures, prompt_pairs};
use proptest::prelude::*;

const GOLDEN: &str =
    include_str!("../data/single_prompt/single_prompt_results_20261122_011030.csv");
const TABLE: &str = include_str!("../data/single_prompt/expected/summary_table.csv");

fn golden() -> Vec<SinglePromptRow> {
    read_single_prompt(GOLDEN.as_bytes()).unwrap()
}

#[test]
fn the_originals_file_is_read_whole() {
    let rows = golden();
    assert_eq!(rows.len(), 27);
    let first = &rows[0];
    assert_eq!(
        (
            first.context_size,
            first.iteration,
            first.prompt_type.as_str()
        ),
        (500, 0, "unique")
    );
    assert_eq!((first.prompt_tokens, first.completion_tokens), (511, 8));
    assert_eq!(first.ttft, Some(0.3155539035797119));
    assert_eq!(first.output_tokens_per_sec, Some(549.9915094494255));
    assert_eq!(first.reported_cached_tokens, None);
    assert_eq!(rows[2].prompt_type, PromptKind::CachedRepeat(2).to_string());
    assert_eq!(rows[26].context_size, 2000);
}

#[test]
fn the_figures_are_those_of_the_originals_table() {
    let figures = SizeFigures::of_all(&golden());
    let s = |value: f64| format!("{value:.3}s");
    let mut table = csv::Reader::from_reader(TABLE.as_bytes());
    let expected: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(figures.len(), expected.len());
    for (size, row) in figures.iter().zip(&expected) {
        assert_eq!(row[0].replace(',', ""), size.context_size.to_string());
        let (unique, cached) = (size.unique_ttft.unwrap(), size.cached_ttft.unwrap());
        let cells = [
            s(unique.mean),
            s(unique.std.unwrap()),
            s(cached.mean),
            s(cached.std.unwrap()),
            format!("{:.2}x", size.speedup.unwrap()),
            size.n_unique.to_string(),
        ];
        assert_eq!(row.iter().skip(1).collect::<Vec<_>>(), cells);
        assert_eq!(size.reported_share, None);
    }
}

#[test]
fn what_was_read_is_written_back_and_read_again() {
    let mut rows = golden();
    rows[0].reported_cached_tokens = Some(0);
    rows[0].prompt_index = Some(0);
    rows[0].counted_locally = Some(true);
    rows[1].matches_cold_text = Some(false);
    rows[2].output_tokens_per_sec = None;
    let mut text = Vec::new();
    RowWriter::new(&mut text, false)
        .unwrap()
        .write_all(&rows)
        .unwrap();
    assert_eq!(read_single_prompt(text.as_slice()).unwrap(), rows);
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.lines().zip(GOLDEN.lines());
    let (ours, theirs) = lines.next().unwrap();
    assert_eq!(
        ours,
        format!(
            "{theirs},reported_cached_tokens,prompt_index,token_counts,matches_cold_text,send_delay,dial_time"
        )
    );
    assert!(text.lines().nth(1).unwrap().ends_with(",0,0,local,,,"));
    assert!(text.lines().nth(2).unwrap().ends_with(",,,,no,,"));
    assert!(text.lines().nth(3).unwrap().ends_with(",,,,,,,"));
    // Behind the columns that are new, cell by cell the original's file.
    for (ours, theirs) in lines.skip(3) {
        assert_eq!(ours, format!("{theirs},,,,,,"));
    }
}

#[test]
fn broken_cells_are_named() {
    let broken = |from: &str, to: &str| -> String {
        let text = GOLDEN.replacen(from, to, 1);
        read_single_prompt(text.as_bytes()).unwrap_err().to_string()
    };
    assert!(broken("511", "many").contains("column prompt_tokens"));
    let no_column = GOLDEN.replacen("prompt_type", "type", 1);
    assert!(matches!(
        read_single_prompt(no_column.as_bytes()),
        Err(SchemaError::MissingColumn {
            column: "prompt_type",
            ..
        })
    ));
}

#[test]
fn the_words_of_prompts_are_the_originals() {
    let words: Vec<String> = [
        PromptKind::Unique,
        PromptKind::cached(1, 1),
        PromptKind::cached(3, 4),
    ]
    .map(|kind| kind.to_string())
    .to_vec();
    assert_eq!(words, ["unique", "cached", "cached_r3"]);
    for (word, cached) in [("unique", false), ("cached", true), ("cached_r3", true)] {
        let row = SinglePromptRow {
            prompt_type: word.to_owned(),
            ..SinglePromptRow::default()
        };
        assert_eq!(
            (row.is_cached(), row.is_unique()),
            (cached, !cached),
            "{word}"
        );
    }
}

#[test]
fn rows_without_a_prompt_number_are_paired_by_their_order() {
    let rows: Vec<SinglePromptRow> = [
        (PromptKind::Unique, 1.0),
        (PromptKind::Unique, 2.0),
        (PromptKind::CachedRepeat(1), 0.1),
        (PromptKind::CachedRepeat(1), 0.2),
        (PromptKind::CachedRepeat(2), 0.3),
        (PromptKind::CachedRepeat(2), 0.4),
    ]
    .into_iter()
    .map(|(kind, ttft)| SinglePromptRow {
        prompt_index: None,
        ..row(1000, 0, 0, kind, ttft, None)
    })
    .collect();
    let ttfts: Vec<_> = prompt_pairs(&rows)
        .iter()
        .map(|pair| pair.ttfts().unwrap())
        .collect();
    assert_eq!(ttfts, [(1.0, 0.2), (2.0, 0.30000000000000004)]);
}

fn row(
    context_size: u64,
    iteration: u64,
    prompt: u64,
    kind: PromptKind,
    ttft: f64,
    cached: Option<u64>,
) -> SinglePromptRow {
    SinglePromptRow {
        context_size,
        iteration,
        prompt_type: kind.to_string(),
        prompt_tokens: context_size + 10,
        completion_tokens: 8,
        ttft: Some(ttft),
        generation_time: Some(0.1),
        total_time: Some(ttft + 0.1),
        output_tokens_per_sec: Some(80.0),
        reported_cached_tokens: cached,
        prompt_index: Some(prompt),
        counted_locally: Some(false),
        matches_cold_text: None,
        send_delay: Some(0.001),
        dial_time: Some(0.0),
    }
}

/// One prompt per pair of times (cold, again), with what the server reports of each sending.
fn run(
    size: u64,
    times: &[(f64, f64)],
    cold: Option<u64>,
    again: Option<u64>,
) -> Vec<SinglePromptRow> {
    let pair = |(i, (first, second)): (u64, &(f64, f64))| {
        [
            row(size, i, 0, PromptKind::Unique, *first, cold),
            row(size, i, 0, PromptKind::Cached, *second, again),
        ]
    };
    (0..).zip(times).flat_map(pair).collect()
}

const FASTER: [(f64, f64); 4] = [(1.0, 0.10), (1.1, 0.11), (0.9, 0.10), (1.0, 0.09)];
const EQUAL: [(f64, f64); 4] = [(1.0, 1.01), (1.0, 0.99), (1.02, 1.0), (0.99, 1.0)];
const NOISY: [(f64, f64); 3] = [(1.0, 0.3), (0.4, 1.2), (2.0, 0.9)];

fn verdict(rows: &[SinglePromptRow]) -> CachingVerdict {
    judge_caching(rows)
}

#[test]
fn a_report_decides_whatever_the_times_say() {
    for times in [&FASTER[..], &EQUAL, &NOISY, &FASTER[..1]] {
        let found = verdict(&run(1000, times, Some(0), Some(960)));
        assert_eq!(found.caching, Caching::Works(Basis::Report));
        assert!((found.reported_share.unwrap() - 960.0 / 1010.0).abs() < 1e-12);
    }
    for times in [&EQUAL[..], &NOISY, &EQUAL[..1]] {
        let found = verdict(&run(1000, times, Some(0), Some(0)));
        assert_eq!(found.caching, Caching::DoesNotWork(Basis::Report));
        assert_eq!(found.reported_share, Some(0.0));
    }
    // The chat template is in the cache from the first request on; nothing else is.
    let found = verdict(&run(1000, &EQUAL, Some(48), Some(48)));
    assert_eq!(found.caching, Caching::DoesNotWork(Basis::Report));
}

#[test]
fn a_report_that_is_always_zero_does_not_outweigh_clear_times() {
    let found = verdict(&run(1000, &FASTER, Some(0), Some(0)));
    assert_eq!(found.caching, Caching::Works(Basis::Times));
}

#[test]
fn times_alone_decide_when_they_are_clear() {
    let cases = [
        (run(1000, &FASTER, None, None), Caching::Works(Basis::Times)),
        (
            run(1000, &EQUAL, None, None),
            Caching::DoesNotWork(Basis::Times),
        ),
        (
            run(1000, &NOISY, None, None),
            Caching::CannotTell(vec![Unclear::NothingReported, Unclear::TooNoisy]),
        ),
        (
            run(1000, &FASTER[..1], None, None),
            Caching::CannotTell(vec![Unclear::NothingReported, Unclear::OnePair]),
        ),
    ];
    for (rows, caching) in cases {
        let found = verdict(&rows);
        assert_eq!(found.caching, caching);
        assert_eq!(found.reported_share, None);
    }
}

#[test]
fn prompts_shorter_than_a_block_prove_nothing_against_a_cache() {
    let unclear = |more: &[Unclear]| Caching::CannotTell(more.to_vec());
    assert_eq!(
        verdict(&run(100, &EQUAL, Some(0), Some(0))).caching,
        unclear(&[Unclear::ShorterThanBlock])
    );
    assert_eq!(
        verdict(&run(100, &EQUAL, None, None)).caching,
        unclear(&[Unclear::NothingReported, Unclear::ShorterThanBlock])
    );
    // A small block was filled all the same.
    assert_eq!(
        verdict(&run(40, &EQUAL, Some(0), Some(32))).caching,
        Caching::Works(Basis::Report)
    );
    // One longer prompt decides.
    let mut rows = run(100, &EQUAL, Some(0), Some(0));
    rows.extend(run(4000, &EQUAL, Some(0), Some(0)));
    assert_eq!(verdict(&rows).caching, Caching::DoesNotWork(Basis::Report));
}

#[test]
fn prompts_that_were_cached_before_prove_the_cache_but_no_speedup() {
    let found = verdict(&run(1000, &EQUAL, Some(960), Some(960)));
    assert_eq!(found.caching, Caching::Works(Basis::Report));
    assert_eq!(
        (found.speedup, found.n_cold_cached, found.n_pairs),
        (None, 4, 4)
    );
}

#[test]
fn sizes_that_miss_the_cache_are_named() {
    let mut rows = run(1000, &FASTER, Some(0), Some(960));
    rows.extend(run(64_000, &EQUAL, Some(0), Some(0)));
    let found = verdict(&rows);
    assert_eq!(found.caching, Caching::Works(Basis::Report));
    assert_eq!(found.sizes_without, [64_000]);
}

#[test]
fn without_a_pair_nothing_can_be_told() {
    let mut rows = run(1000, &FASTER, Some(0), Some(960));
    assert_eq!(
        verdict(&[]).caching,
        Caching::CannotTell(vec![Unclear::NoPair])
    );
    rows.retain(|row| row.is_unique());
    assert_eq!(
        verdict(&rows).caching,
        Caching::CannotTell(vec![Unclear::NoPair])
    );
}

#[test]
fn the_originals_run_was_faster_and_nothing_was_reported() {
    let found = verdict(&golden());
    assert_eq!(found.caching, Caching::Works(Basis::Times));
    let speedup = found.speedup.unwrap();
    let (low, high) = speedup.interval.unwrap();
    assert_eq!(speedup.n_pairs, 9);
    assert!(low > 3.0 && low < speedup.value && speedup.value < high && high < 20.0);
}

proptest! {
    /// The verdict is about prompts; the order in which their rows stand in the file does not matter.
    #[test]
    fn order_of_rows_changes_no_verdict(times in prop::collection::vec((0.5_f64..2.0, 0.1_f64..2.0), 1..8), cached in prop::option::of(0_u64..1010)) {
        let rows = run(1000, &times, cached.map(|_| 0), cached);
        let mut backwards = rows.clone();
        backwards.reverse();
        let (a, b) = (verdict(&rows), verdict(&backwards));
        prop_assert_eq!(a.caching, b.caching);
        prop_assert_eq!(a.reported_share, b.reported_share);
        prop_assert_eq!(a.n_pairs, times.len());
    }
}

#[test]
fn a_context_without_repeats_has_no_speedup_and_one_iteration_no_spread() {
    let row = |prompt_type: &str, context_size, ttft| SinglePromptRow {
        context_size,
        prompt_type: prompt_type.to_owned(),
        ttft: Some(ttft),
        ..SinglePromptRow::default()
    };
    let figures = SizeFigures::of_all(&[
        row("unique", 500, 0.4),
        row("unique", 1000, 0.8),
        row("cached_r1", 1000, 0.1),
    ]);
    assert_eq!(figures.len(), 2);
    assert_eq!((figures[0].speedup, figures[0].cached_ttft), (None, None));
    assert_eq!(figures[1].speedup, Some(8.0));
    assert_eq!(figures[1].unique_ttft.unwrap().std, None);
    assert_eq!(figures[1].speedup_interval, None);
}
