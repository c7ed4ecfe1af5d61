//! CSV schemas: round trips, tolerance towards the originals, and errors that say where.

use std::io::Write;

use metrics::health::HealthRow;
use metrics::schema::{
    DetailReader, DetailWriter, FailedRow, FailedWriter, Lists, RowReader, RowWriter, SchemaError,
    SetColumns, read_detail, read_failed, read_health, read_periods, read_phases, read_summary,
    write_health, write_periods, write_phases, write_summary,
};
use metrics::{FailureKind, PeriodRow, PhaseRow, RequestRecord, SummaryRow};
use proptest::prelude::*;

use crate::support::{failed, intent, request};

const SUMMARY_HEADER: &str = "context_size,cache_hit_rate,model,input_tokens_per_sec,output_tokens_per_sec,\
    avg_ttft,median_ttft,p95_ttft,p99_ttft,avg_ttlt,median_ttlt,p95_ttlt,p99_ttlt,avg_output_tokens,\
    avg_itl,median_itl,p95_itl,p99_itl,peak_concurrency,total_requests,test_duration,\
    window_input_tokens_per_sec,window_output_tokens_per_sec,measured_duration,total_input_tokens,\
    total_output_tokens,reported_cache_hit_rate,avg_ttft_from_intended,median_ttft_from_intended,\
    p95_ttft_from_intended,p99_ttft_from_intended,client_limited";
const PHASE_HEADER: &str = "phase_type,phase_id,cache_hit_rate,context_size,concurrency_level,start_time,\
    end_time,duration,num_requests_launched,num_requests_completed,window_start_time,window_duration,\
    window_input_tokens_per_sec,window_output_tokens_per_sec,num_requests_failed,num_requests_cancelled,\
    client_limited";
const DETAIL_HEADER: &str = "request_id,phase_id,cache_hit_rate,context_size,cached_tokens,unique_tokens,\
    output_tokens,ttft,ttlt,generation_time,total_time,launch_time,finish_time,concurrency_level,itl,\
    prefill_complete_time,token_timestamps,tokens_per_chunk,reported_prompt_tokens,reported_cached_tokens,\
    send_delay,endpoint,dial_time";
const V1_DETAIL: &str = "request_id,phase_id,cache_hit_rate,context_size,cached_tokens,unique_tokens,\
    output_tokens,ttft,ttlt,generation_time,total_time,launch_time,finish_time,concurrency_level,itl";

/// The headers above are broken over lines for reading.
fn joined(header: &str) -> String {
    header.split_whitespace().collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn detail_text(records: &[RequestRecord]) -> String {
    let mut writer = DetailWriter::new(Vec::new()).unwrap();
    writer.write_all(records).unwrap();
    text(writer.into_inner())
}

#[test]
fn headers_are_the_published_columns_then_ours() {
    let mut summary = Vec::new();
    write_summary(&mut summary, &[], false).unwrap();
    assert_eq!(text(summary), joined(SUMMARY_HEADER) + "\n");
    let mut phases = Vec::new();
    write_phases(&mut phases, &[], false).unwrap();
    assert_eq!(text(phases), joined(PHASE_HEADER) + "\n");
    assert_eq!(detail_text(&[]), joined(DETAIL_HEADER) + "\n");
    let failed = text(FailedWriter::new(Vec::new()).unwrap().into_inner());
    assert_eq!(
        failed,
        "request_id,phase_id,kind,status,message,launch_time,elapsed\n"
    );
}

#[test]
fn the_working_set_column_stands_where_the_original_has_it() {
    let header = |bytes: Vec<u8>| text(bytes).lines().next().unwrap().to_owned();
    let mut summary = Vec::new();
    write_summary(&mut summary, &[], true).unwrap();
    assert!(header(summary).starts_with("context_size,working_set_size,cache_hit_rate,"));
    let mut growing = Vec::new();
    write_summary(&mut growing, &[], SetColumns::Growing).unwrap();
    let growing = header(growing);
    let columns: Vec<&str> = growing.split(',').collect();
    assert_eq!(
        columns[20..24],
        [
            "total_requests",
            "test_duration",
            "min_working_set_size",
            "window_input_tokens_per_sec"
        ]
    );
    let mut phases = Vec::new();
    write_phases(&mut phases, &[], true).unwrap();
    assert!(header(phases).starts_with("phase_type,phase_id,working_set_size,cache_hit_rate,"));
    let mut periods = Vec::new();
    write_periods(&mut periods, &[], true).unwrap();
    assert!(
        header(periods)
            .starts_with("period_number,context_size,cache_hit_rate,working_set_size,start_time,")
    );
    let detail = DetailWriter::with_columns(Vec::new(), true)
        .unwrap()
        .into_inner();
    assert!(header(detail).starts_with("request_id,phase_id,working_set_size,cache_hit_rate,"));
}

#[test]
fn undefined_is_an_empty_cell_and_whole_floats_have_a_point() {
    let mut r = request(16.0, 4.0, 1000, 1);
    (r.ttft, r.ttlt, r.generation_time) = (None, None, None);
    r.intent.endpoint = "http://a".into();
    let line = detail_text(&[r]).lines().nth(1).unwrap().to_owned();
    assert_eq!(
        line,
        "RAMP_c4_r0,RAMP_c4,50,1000,0,1000,1,,,,4.0,16.0,20.0,4,,17.0,[],[],,,,http://a,"
    );
}

#[test]
fn lists_are_json_in_a_quoted_cell() {
    let mut r = request(16.0, 4.0, 1000, 3);
    r.token_timestamps = vec![17.0, 18.5];
    r.tokens_per_chunk = vec![1, 2];
    assert!(detail_text(&[r]).contains(",\"[17.0, 18.5]\",\"[1, 2]\","));
}

#[test]
fn first_version_rows_are_read() {
    let file = joined(V1_DETAIL)
        + "\nRAMP_c2_r0,RAMP_c2,0,1000,0,1000,16,0.25,0.75,0.5,0.8,100.0,100.8,2,0.03\n";
    let r = read_detail(file.as_bytes())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        (r.intent.context_size, r.output_tokens, r.ttft),
        (1000, 16, Some(0.25))
    );
    assert_eq!(r.prefill_complete_time, 100.25, "launch + ttft");
    assert!(r.token_timestamps.is_empty() && r.intent.endpoint.is_empty());
    assert_eq!((r.reported_prompt_tokens, r.send_delay), (None, None));
    assert_eq!(r.dial_time, None);
}

#[test]
fn whole_numbers_may_have_a_point() {
    let file = joined(V1_DETAIL)
        + "\nid,RAMP_c2,0.0,800.0,0.0,800.0,6.0,0.1,0.2,0.3,0.4,1.0,1.4,2.0,0.02\n";
    let r = read_detail(file.as_bytes())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            r.intent.context_size,
            r.intent.unique_tokens,
            r.intent.concurrency_level
        ),
        (800, 800, 2)
    );
    for broken in ["800.5", "-1", "8e99", "eight", "NaN"] {
        let file = joined(V1_DETAIL)
            + &format!("\nid,RAMP_c2,0,{broken},0,800,6,0.1,0.2,0.3,0.4,1.0,1.4,2,0.02\n");
        let error = read_detail(file.as_bytes())
            .unwrap()
            .next()
            .unwrap()
            .unwrap_err();
        assert!(
            matches!(
                error,
                SchemaError::Cell {
                    column: "context_size",
                    line: 2,
                    ..
                }
            ),
            "{broken}: {error}"
        );
    }
}

#[test]
fn zero_latencies_of_the_originals_are_undefined() {
    let file = joined(V1_DETAIL)
        + "\nid,RAMP_c2,0,800,0,800,1,0.0,0.0,0.0,0.4,1.0,1.4,2,0.0\nid,RAMP_c2,0,800,0,800,1,0.1,0.1,0.0,0.1,1.0,1.1,2,\n";
    let rows: Vec<RequestRecord> = read_detail(file.as_bytes())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        (
            rows[0].ttft,
            rows[0].ttlt,
            rows[0].generation_time,
            rows[0].itl
        ),
        (None, None, None, None)
    );
    assert_eq!(
        rows[1].generation_time,
        Some(0.0),
        "after a first token zero is a measured time"
    );
}

#[test]
fn columns_are_found_by_name_and_unknown_ones_ignored() {
    let file = "color,phase_id,duration,phase_type,context_size,cache_hit_rate,end_time,start_time,\
        num_requests_completed,num_requests_launched,concurrency_level\n\
        red,RETRY_1,3.5,RETRY,800,50,7.5,4.0,9,10,6\n";
    let rows = read_phases(file.as_bytes()).unwrap();
    let expected = PhaseRow {
        phase_id: "RETRY_1".to_owned(),
        cache_hit_rate: 50,
        context_size: 800,
        concurrency_level: 6,
        start_time: 4.0,
        end_time: 7.5,
        duration: 3.5,
        num_requests_launched: 10,
        num_requests_completed: 9,
        ..PhaseRow::default()
    };
    assert_eq!(rows, [expected]);
}

#[test]
fn byte_order_marks_and_windows_line_ends_are_no_obstacle() {
    let plain = joined(V1_DETAIL) + "\nid,RAMP_c2,0,800,0,800,6,0.1,0.2,0.3,0.4,1.0,1.4,2,0.02\n";
    let dressed = format!("\u{feff}{}", plain.replace('\n', "\r\n"));
    let read = |file: &str| {
        read_detail(file.as_bytes())
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&dressed), read(&plain));
}

#[test]
fn a_missing_model_is_none_and_a_missing_column_is_named() {
    let with_model = joined(SUMMARY_HEADER);
    let columns: Vec<&str> = with_model.split(',').take(21).collect();
    let without = columns
        .iter()
        .copied()
        .filter(|c| *c != "model")
        .collect::<Vec<_>>()
        .join(",");
    let row = "1000,0,1.5,2.5,1,1,1,1,2,2,2,2,30,0.1,0.1,0.1,0.1,4,130,32.5\n";
    let rows = read_summary(format!("{without}\n{row}").as_bytes()).unwrap();
    assert_eq!(
        (
            rows[0].model.clone(),
            rows[0].peak_concurrency,
            rows[0].test_duration
        ),
        (None, 4, 32.5)
    );
    let broken = without.replace("avg_itl", "average_itl");
    let error = read_summary(format!("{broken}\n{row}").as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no column avg_itl; this is no summary file"
    );
}

#[test]
fn an_empty_file_is_an_error_and_a_header_alone_is_not() {
    assert!(matches!(read_summary(&b""[..]), Err(SchemaError::Empty)));
    assert!(matches!(read_phases(&b"\n\n"[..]), Err(SchemaError::Empty)));
    assert_eq!(
        read_summary((joined(SUMMARY_HEADER) + "\n").as_bytes()).unwrap(),
        []
    );
}

#[test]
fn a_broken_row_is_named_and_the_next_one_read() {
    let good = "id,RAMP_c2,0,800,0,800,6,0.1,0.2,0.3,0.4,1.0,1.4,2,0.02";
    let file = [
        &joined(V1_DETAIL),
        good,
        "id,RAMP_c2,0,800,0,800,6,soon,0.2,0.3,0.4,1.0,1.4,2,0.02",
        "id,RAMP_c2,0,800,0,800,6,0.1,0.2",
        "id,RAMP_c2,0,800,0,800,,0.1,0.2,0.3,0.4,1.0,1.4,2,0.02",
        good,
    ]
    .join("\n");
    let rows: Vec<Result<RequestRecord, SchemaError>> =
        read_detail(file.as_bytes()).unwrap().collect();
    let errors: Vec<String> = rows
        .iter()
        .filter_map(|r| r.as_ref().err().map(ToString::to_string))
        .collect();
    assert_eq!(
        errors,
        [
            "line 3, column ttft: \"soon\" is not a number",
            "line 4: 9 cells where the header has 15",
            "line 5, column output_tokens: \"\" is not a whole number",
        ]
    );
    assert_eq!(rows.iter().filter(|r| r.is_ok()).count(), 2);
}

#[test]
fn a_row_that_is_no_utf8_is_one_bad_row() {
    let good = b"id,RAMP_c2,0,800,0,800,6,0.1,0.2,0.3,0.4,1.0,1.4,2,0.02\n";
    let mut file = (joined(V1_DETAIL) + "\n").into_bytes();
    file.extend_from_slice(b"\xff\xfe");
    file.extend_from_slice(good);
    file.extend_from_slice(good);
    let rows: Vec<_> = read_detail(&file[..]).unwrap().collect();
    assert_eq!(
        rows.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn a_torn_last_row_is_an_error() {
    let mut r = request(16.0, 4.0, 1000, 3);
    r.token_timestamps = vec![17.0, 18.5, 19.5];
    r.tokens_per_chunk = vec![1, 1, 1];
    let whole = detail_text(&[r.clone(), r]);
    let second = whole.lines().take(2).map(|l| l.len() + 1).sum::<usize>();
    let last_cell = whole.rfind(',').unwrap();
    // Anywhere before the last cell, a cut is noticed.
    for cut in second + 1..=last_cell {
        let rows: Vec<_> = read_detail(&whole.as_bytes()[..cut]).unwrap().collect();
        assert_eq!(rows.len(), 2, "{cut}");
        assert!(
            rows[0].is_ok() && rows[1].is_err(),
            "cut at {cut}: {:?}",
            &whole[second..cut]
        );
    }
}

#[test]
fn long_cells_are_shortened_in_errors() {
    let file =
        joined(V1_DETAIL) + &format!("\nid,p,{},800,0,800,6,1,1,1,1,1,1,2,1\n", "é".repeat(500));
    let error = read_detail(file.as_bytes())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(error.len() < 200 && error.contains('…'), "{error}");
}

#[test]
fn lists_can_be_left_unread() {
    let mut r = request(16.0, 4.0, 1000, 3);
    r.token_timestamps = vec![17.0];
    let file = detail_text(&[r]).replace("[17.0]", "[17.0");
    let error = read_detail(file.as_bytes())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            error,
            SchemaError::Cell {
                column: "token_timestamps",
                ..
            }
        ),
        "{error}"
    );
    let r = DetailReader::new(file.as_bytes(), Lists::Skip)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(r.token_timestamps.is_empty());
}

#[test]
fn a_number_no_reader_could_take_is_refused_before_anything_is_written() {
    let mut bad = request(16.0, 4.0, 1000, 3);
    bad.total_time = f64::NAN;
    let mut writer = DetailWriter::append(Vec::new(), false);
    let error = writer
        .write_all(&[request(1.0, 1.0, 1, 1), bad])
        .unwrap_err();
    assert!(matches!(
        error,
        SchemaError::NotFinite {
            column: "total_time",
            ..
        }
    ));
    assert!(writer.into_inner().is_empty());
}

/// Remembers the pieces it was given.
#[derive(Default)]
struct Pieces(Vec<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_batch_reaches_the_file_in_one_piece_of_whole_lines() {
    let mut writer = DetailWriter::new(Pieces::default()).unwrap();
    writer
        .write_all(&vec![request(1.0, 1.0, 1000, 16); 3000])
        .unwrap();
    writer.write(&request(1.0, 1.0, 1000, 16)).unwrap();
    let pieces = writer.into_inner().0;
    assert_eq!(pieces.len(), 3, "header, batch, row");
    assert!(pieces.iter().all(|p| p.ends_with(b"\n")));
}

#[test]
fn failed_requests_keep_their_message_on_one_line() {
    let mut f = failed(FailureKind::Status, 1.0, &[], 3.0);
    f.status = Some(503);
    f.message = "overloaded, \"try\"\r\n  later".to_owned();
    let mut writer = FailedWriter::new(Vec::new()).unwrap();
    writer.write_all(&[f]).unwrap();
    let file = text(writer.into_inner());
    assert_eq!(file.lines().count(), 2);
    let rows = read_failed(file.as_bytes()).unwrap();
    assert_eq!(rows[0].message, "overloaded, \"try\" later");
    assert_eq!(
        (rows[0].kind, rows[0].status, rows[0].elapsed),
        (FailureKind::Status, Some(503), 2.0)
    );
    let unknown = file.replace(",status,503,", ",tired,503,");
    let error = read_failed(unknown.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column kind: \"tired\" is not a kind of failure"
    );
}

#[test]
fn readers_say_which_columns_a_file_has() {
    let file = joined(V1_DETAIL) + "\n";
    let reader = read_detail(file.as_bytes()).unwrap();
    assert!(
        reader.has_column("itl") && !reader.has_column("endpoint") && !reader.has_column("color")
    );
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1e9..1e9_f64,
        0.0..1e-6_f64,
        Just(1.795e9),
        Just(1e-300),
        Just(1e300),
        Just(-0.0)
    ]
}

/// A latency as a reader gives it back: never zero.
fn any_latency() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(prop_oneof![1e-9..1e3_f64, Just(1e-17), Just(1e20)])
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_:/.-]{1,20}",
        "[ ,\"\n\räé→x]{1,12}",
        Just(String::new())
    ]
}

prop_compose! {
    fn any_record()(
        texts in [any_text(), any_text(), any_text()],
        ints in prop::array::uniform5(any::<u64>()),
        small in prop::array::uniform2(any::<u32>()),
        latencies in [any_latency(), any_latency(), any_latency()],
        numbers in prop::array::uniform4(any_number()),
        stamps in prop::collection::vec(any_number(), 0..6),
        tokens in prop::collection::vec(any::<u64>(), 0..6),
        optional in (prop::option::of(any::<u64>()), prop::option::of(any::<u64>()), prop::option::of(any_number())),
        working_set in prop::option::of(any::<u64>()),
    ) -> RequestRecord {
        let mut intent = intent("x", 1);
        let [request_id, phase_id, endpoint] = texts;
        intent.request_id = request_id;
        (intent.phase_id, intent.endpoint) = (phase_id.into(), endpoint.into());
        [intent.context_size, intent.cached_tokens, intent.unique_tokens, _, _] = ints;
        [intent.cache_hit_rate, intent.concurrency_level] = small;
        intent.question_tokens = 0;
        intent.working_set_size = working_set;
        RequestRecord {
            intent,
            output_tokens: ints[3],
            ttft: latencies[0],
            ttlt: latencies[1],
            generation_time: latencies[0],
            total_time: numbers[0],
            launch_time: numbers[1],
            finish_time: numbers[2],
            itl: latencies[2],
            prefill_complete_time: numbers[3],
            token_timestamps: stamps,
            tokens_per_chunk: tokens,
            reported_prompt_tokens: optional.0,
            reported_cached_tokens: optional.1,
            send_delay: optional.2,
            dial_time: optional.2.map(|delay| delay * 2.0),
            counted_locally: false,
        }
    }
}

proptest! {
    // What is written is read back equal, however odd the text and whatever the size of the numbers.
    #[test]
    fn detail_rows_survive_a_round_trip(records in prop::collection::vec(any_record(), 0..6)) {
        let mut writer = DetailWriter::with_columns(Vec::new(), true).unwrap();
        writer.write_all(&records).unwrap();
        let file = writer.into_inner();
        let back: Vec<RequestRecord> = read_detail(&file[..]).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(back, records);
    }

    // Summary, phase, period and failure rows survive a round trip too.
    #[test]
    fn other_rows_survive_a_round_trip(
        word in any_text(),
        n in any::<u64>(),
        small in any::<u32>(),
        x in any_number(),
        latency in any_latency(),
        optional in prop::option::of(any_number()),
        working_set in prop::option::of(any::<u64>()),
    ) {
        let summary = SummaryRow {
            context_size: n, working_set_size: working_set, cache_hit_rate: small,
            model: (!word.is_empty()).then(|| word.clone()),
            input_tokens_per_sec: x, output_tokens_per_sec: -x, avg_ttft: latency, p99_itl: latency,
            avg_output_tokens: latency, peak_concurrency: small, total_requests: n, test_duration: x,
            window_input_tokens_per_sec: optional, measured_duration: optional, total_input_tokens: Some(n),
            reported_cache_hit_rate: optional, avg_ttft_from_intended: latency, p99_ttft_from_intended: latency,
            client_limited: Some(false),
            ..SummaryRow::default()
        };
        let mut file = Vec::new();
        write_summary(&mut file, std::slice::from_ref(&summary), true).unwrap();
        prop_assert_eq!(read_summary(&file[..]).unwrap(), [summary]);
        let phase = PhaseRow {
            phase_id: word.clone(), working_set_size: working_set, cache_hit_rate: small, context_size: n,
            concurrency_level: small, start_time: x, end_time: x, duration: x, num_requests_launched: n,
            num_requests_completed: n, window_start_time: optional, window_duration: optional,
            window_input_tokens_per_sec: optional, window_output_tokens_per_sec: optional,
            num_requests_failed: Some(n), num_requests_cancelled: None, client_limited: Some(true),
        };
        let mut file = Vec::new();
        write_phases(&mut file, std::slice::from_ref(&phase), true).unwrap();
        prop_assert_eq!(read_phases(&file[..]).unwrap(), [phase]);
        let period = PeriodRow {
            period_number: n, working_set_size: working_set, duration: x, avg_ttft: latency, measured_ttft: latency,
            decision: word.clone(), next_concurrency: small,
            avg_ttft_from_intended: latency, p99_ttft_from_intended: latency,
            ..PeriodRow::default()
        };
        let mut file = Vec::new();
        write_periods(&mut file, std::slice::from_ref(&period), true).unwrap();
        prop_assert_eq!(read_periods(&file[..]).unwrap(), [period]);
        let health = HealthRow {
            phase_id: word.clone(), working_set_size: working_set, cache_hit_rate: small, context_size: n,
            concurrency_level: small, duration: x, lag_p50: optional, send_delay_p99: optional, in_flight: vec![x, 0.5],
            missing_load_share: optional, itl_error_p99: optional, calibrated_level: Some(n), client_limited: Some(true),
            limited_by: word.clone(), calibrated_requests: Some(n), calibrated_over: "http/1.1".to_owned(),
            median_ttft: optional, p95_itl: optional, ..HealthRow::default()
        };
        let mut file = Vec::new();
        write_health(&mut file, std::slice::from_ref(&health), true).unwrap();
        prop_assert_eq!(read_health(&file[..]).unwrap(), [health]);
        let row = FailedRow {
            request_id: word.clone(), phase_id: word.clone(), kind: FailureKind::Truncated, status: None,
            message: word, launch_time: x, elapsed: x,
        };
        let mut writer = RowWriter::new(Vec::new(), false).unwrap();
        writer.write(&row).unwrap();
        prop_assert_eq!(read_failed(&writer.into_inner()[..]).unwrap(), [row]);
    }

    // No file, however broken, makes a reader panic or go on for ever.
    #[test]
    fn readers_survive_any_bytes(garbage in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut file = (joined(V1_DETAIL) + "\n").into_bytes();
        file.extend_from_slice(&garbage);
        let n_rows = read_detail(&file[..]).unwrap().take(1000).count();
        prop_assert!(n_rows <= garbage.len() + 1);
        if let Ok(reader) = RowReader::<_, SummaryRow>::new(&garbage[..]) {
            prop_assert!(reader.take(1000).count() <= garbage.len() + 1);
        }
    }
}

#[test]
fn a_file_from_before_calibrated_requests_were_counted_is_read() {
    let row = HealthRow {
        phase_id: "RAMP_c2".to_owned(),
        calibrated_level: Some(2),
        calibrated_requests: Some(25),
        calibrated_over: "http/1.1".to_owned(),
        median_ttft: Some(0.1),
        p95_itl: Some(0.02),
        ..HealthRow::default()
    };
    let mut file = Vec::new();
    write_health(&mut file, std::slice::from_ref(&row), true).unwrap();
    let text = String::from_utf8(file).unwrap();
    let (header, line) = text.trim_end().split_once('\n').unwrap();
    let header = header.strip_suffix(
        ",calibrated_requests,calibrated_over,median_ttft,p95_ttft,median_itl,p95_itl",
    );
    let line = line.trim_end().strip_suffix(",25,http/1.1,0.1,,,0.02");
    let old = format!("{}\n{}\n", header.unwrap(), line.unwrap());
    let earlier = HealthRow {
        calibrated_requests: None,
        calibrated_over: String::new(),
        median_ttft: None,
        p95_itl: None,
        ..row
    };
    assert_eq!(read_health(old.as_bytes()).unwrap(), [earlier]);
}
