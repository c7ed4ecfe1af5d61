//! The end of a test and of a run.

use super::*;

fn result(context_size: u64, cache_hit_rate: u32) -> SummaryRow {
    SummaryRow {
        context_size,
        cache_hit_rate,
        input_tokens_per_sec: 13_733.4,
        output_tokens_per_sec: 439.4,
        window_input_tokens_per_sec: Some(14_000.0),
        window_output_tokens_per_sec: Some(450.0),
        avg_ttft: Some(1.1206),
        p95_ttft: Some(1.874),
        avg_itl: Some(0.0305),
        peak_concurrency: 18,
        total_requests: 412,
        test_duration: 240.0,
        total_input_tokens: Some(3_296_000),
        total_output_tokens: Some(105_472),
        ..SummaryRow::default()
    }
}

#[test]
fn a_finished_test_is_summed_up() {
    let lines = test_done(&TestShape::Ramp, &result(8000, 50));
    assert_eq!(
        texts(&lines),
        [
            "✓ Cache hit rate 50% complete",
            "  Peak concurrency: 18",
            "  Total requests: 412",
            "  Total input tokens: 3,296,000 (3.30M)",
            "  Total output tokens: 105,472 (0.11M)",
            "  Avg TTFT: 1.121s",
            "  Avg TTLT: n/a",
            "  Avg ITL: 30.50ms",
            "  Avg Output Tokens/Req: n/a",
            "  Input throughput: 14,000 tok/s",
            "  Output throughput: 450 tok/s",
        ]
    );
    assert!(
        test_done(&TestShape::Fixed { levels: vec![2, 4] }, &result(1, 0))[0]
            .text
            .ends_with(" (fixed mode)")
    );
    assert!(
        test_done(
            &TestShape::Sustained {
                n_periods: 3,
                levels: (2, 22)
            },
            &result(1, 0)
        )[0]
        .text
        .ends_with(" (continuous mode)")
    );
    assert_eq!(
        test_failed(25, "status 500").text,
        "✗ Cache hit rate 25% failed: status 500"
    );
}

#[test]
fn the_final_table_is_sorted_and_summed() {
    // A row of an original has no true sums; theirs was throughput times duration.
    let old = SummaryRow {
        total_input_tokens: None,
        total_output_tokens: None,
        avg_ttft: None,
        ..result(8000, 0)
    };
    let results = [result(32_000, 0), result(8000, 50), old];
    let lines = final_table(&results);
    let (double, single) = ("=".repeat(120), "-".repeat(120));
    assert_eq!(
        texts(&lines),
        [
            &double,
            "Final Summary - All Test Results",
            &double,
            "   Context  Cache%  Requests   Input Tok  Output Tok     Input/s    Output/s  Avg TTFT  Conc",
            &single,
            "      8000      0%       412       3.30M       0.11M      14,000         450       n/a    18",
            "      8000     50%       412       3.30M       0.11M      14,000         450    1.121s    18",
            "     32000      0%       412       3.30M       0.11M      14,000         450    1.121s    18",
            &single,
            "     TOTAL              1236       9.89M       0.32M",
            &double,
        ]
    );
}

#[test]
fn the_brief_report_has_the_documented_shape() {
    let second = SummaryRow {
        input_tokens_per_sec: 21_833.0,
        output_tokens_per_sec: 699.0,
        avg_ttft: Some(0.982),
        p95_ttft: Some(1.79),
        peak_concurrency: 24,
        total_requests: 655,
        total_input_tokens: Some(5_240_000),
        total_output_tokens: Some(167_680),
        ..result(8000, 50)
    };
    let plan = plan("--working-set-size 200000");
    let report = brief_report(&plan, "demo-8b", &[second, result(8000, 0)]);
    assert_eq!(
        report.text(),
        "model: demo-8b\n\
         endpoint: http://gpu1:8000\n\
         working_set: 200000\n\
         \n\
         context_size,cache_rate,requests,input_tokens,output_tokens,input_tps,output_tps,avg_ttft,p95_ttft,concurrency\n\
         8000,0,412,3296000,105472,13733,439,1.121,1.874,18\n\
         8000,50,655,5240000,167680,21833,699,0.982,1.790,24\n\
         \n\
         total_requests: 1067\n\
         total_input_tokens: 8536000\n\
         total_output_tokens: 273152\n\
         output: ./output\n"
    );
    let empty = brief_report(&plan, "demo-8b", &[]).text();
    assert!(empty.contains("\n\ncontext_size,cache_rate,"), "{empty}");
    assert!(empty.ends_with(
        "total_requests: 0\ntotal_input_tokens: 0\ntotal_output_tokens: 0\noutput: ./output\n"
    ));
}
