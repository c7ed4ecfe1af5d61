//! Points and bands of charts from stored rows.

use metrics::phase::{newest_phases, phase_type};
use metrics::retry::RateSource;
use metrics::{PhaseRow, RequestRecord, SummaryRow, retry_metrics};

use crate::support::{assert_close, request};

fn summary() -> SummaryRow {
    SummaryRow {
        context_size: 1000,
        cache_hit_rate: 50,
        peak_concurrency: 4,
        input_tokens_per_sec: 111.0,
        output_tokens_per_sec: 11.0,
        avg_ttft: Some(0.5),
        ..SummaryRow::default()
    }
}

fn phase(id: &str, start: f64, window: Option<f64>) -> PhaseRow {
    PhaseRow {
        phase_id: id.to_owned(),
        cache_hit_rate: 50,
        context_size: 1000,
        concurrency_level: 4,
        start_time: start,
        end_time: start + 10.0,
        duration: 10.0,
        num_requests_completed: 1,
        window_duration: window.map(|_| 8.0),
        window_input_tokens_per_sec: window,
        window_output_tokens_per_sec: window.map(|w| w / 10.0),
        ..PhaseRow::default()
    }
}

fn of_phase(id: &str, launch: f64, total: f64) -> RequestRecord {
    let mut r = request(launch, total, 100, 10);
    r.intent.phase_id = id.into();
    r
}

#[test]
fn stored_window_rates_are_preferred() {
    let phases = [
        phase("RAMP_c4", 0.0, Some(30.0)),
        phase("RETRY_1", 20.0, Some(50.0)),
    ];
    let detail = [
        of_phase("RAMP_c4", 0.0, 4.0),
        of_phase("RETRY_1", 20.0, 8.0),
    ];
    let ours = retry_metrics(&summary(), &phases, &detail, false);
    assert_eq!(ours.source, RateSource::Window);
    assert_eq!(
        (
            ours.input.mean,
            ours.input.min,
            ours.input.max,
            ours.input.std
        ),
        (40.0, 30.0, 50.0, Some(10.0))
    );
    assert_close(ours.output.mean, 4.0, 1e-12, "output");
    assert_eq!(ours.avg_ttft, Some(1.5));
    assert_eq!(ours.n_phases, 2);
}

#[test]
fn accountings_are_not_mixed_within_a_test() {
    let phases = [
        phase("RAMP_c4", 0.0, Some(30.0)),
        phase("RETRY_1", 20.0, None),
    ];
    let detail = [
        of_phase("RAMP_c4", 0.0, 4.0),
        of_phase("RETRY_1", 20.0, 8.0),
    ];
    let ours = retry_metrics(&summary(), &phases, &detail, false);
    assert_eq!(ours.source, RateSource::PhaseDuration);
    assert_eq!(
        (ours.input.min, ours.input.max),
        (10.0, 10.0),
        "100 tokens in 10 s, both"
    );
}

#[test]
fn contexts_rates_levels_and_phases_are_kept_apart() {
    let phases = [phase("RAMP_c4", 0.0, None)];
    let mut detail = vec![of_phase("RAMP_c4", 0.0, 4.0)];
    let alone = retry_metrics(&summary(), &phases, &detail, false);
    for change in [
        |r: &mut RequestRecord| r.intent.context_size = 2000,
        |r: &mut RequestRecord| r.intent.cache_hit_rate = 0,
        |r: &mut RequestRecord| r.intent.concurrency_level = 8,
        |r: &mut RequestRecord| r.intent.phase_id = "RAMP_c4_2".into(),
        |r: &mut RequestRecord| r.intent.working_set_size = Some(9),
    ] {
        let mut other = of_phase("RAMP_c4", 1.0, 2.0);
        change(&mut other);
        detail.push(other);
    }
    assert_eq!(retry_metrics(&summary(), &phases, &detail, false), alone);
}

#[test]
fn without_phases_the_summary_stands_in_without_a_band() {
    let ours = retry_metrics(&summary(), &[], &[], false);
    assert_eq!(ours.source, RateSource::SummaryPublished);
    assert!(ours.source.is_summary());
    assert_eq!(
        (
            ours.input.mean,
            ours.input.std,
            ours.n_phases,
            ours.avg_ttft
        ),
        (111.0, None, 0, Some(0.5))
    );
    let mut windowed = summary();
    (
        windowed.window_input_tokens_per_sec,
        windowed.window_output_tokens_per_sec,
    ) = (Some(120.0), Some(12.0));
    let ours = retry_metrics(&windowed, &[], &[], false);
    assert_eq!(
        (ours.source, ours.input.mean),
        (RateSource::SummaryWindow, 120.0)
    );
}

#[test]
fn stored_rates_serve_without_detail_rows() {
    let mut failed = phase("RETRY_2", 40.0, Some(0.0));
    failed.num_requests_completed = 0;
    let phases = [
        phase("RAMP_c4", 0.0, Some(30.0)),
        phase("RETRY_1", 20.0, Some(50.0)),
        failed,
    ];
    let ours = retry_metrics(&summary(), &phases, &[], false);
    assert_eq!(
        (ours.source, ours.input.mean, ours.n_phases),
        (RateSource::Window, 40.0, 2)
    );
    assert_eq!(ours.avg_ttft, Some(0.5), "from the summary");
}

#[test]
fn strict_directories_are_read_by_the_strict_formula() {
    let phases = [phase("RAMP_c4", 0.0, Some(30.0))];
    // The second request ends after the planned 8 s.
    let detail = [of_phase("RAMP_c4", 0.0, 5.0), of_phase("RAMP_c4", 4.0, 6.0)];
    let ours = retry_metrics(&summary(), &phases, &detail, true);
    assert_eq!(
        (ours.source, ours.input.mean, ours.avg_ttft),
        (RateSource::Strict, 20.0, Some(1.25))
    );
    // The originals' files do not name the planned length; their formula holds.
    let old = [phase("RAMP_c4", 0.0, None)];
    let ours = retry_metrics(&summary(), &old, &detail, true);
    assert_eq!(
        (ours.source, ours.input.mean),
        (RateSource::PhaseDuration, 20.0),
        "both end within the 10 s of the phase"
    );
}

#[test]
fn a_phase_without_length_gives_no_point() {
    let mut broken = phase("RAMP_c4", 0.0, None);
    broken.duration = 0.0;
    let ours = retry_metrics(
        &summary(),
        &[broken],
        &[of_phase("RAMP_c4", 0.0, 4.0)],
        false,
    );
    assert_eq!(ours.source, RateSource::SummaryPublished);
    assert!(ours.input.mean.is_finite());
}

#[test]
fn the_newest_row_of_a_phase_wins() {
    let (mut first, mut again, mut other) = (
        phase("RAMP_c4", 1.0, None),
        phase("RAMP_c4", 2.0, None),
        phase("RAMP_c4", 3.0, None),
    );
    first.num_requests_launched = 1;
    again.num_requests_launched = 2;
    other.context_size = 2000;
    let rows = newest_phases([first, other.clone(), again.clone()]);
    assert_eq!(rows, [again, other]);
}

#[test]
fn fixed_windows_are_of_type_retry() {
    for (id, expected) in [
        ("RAMP_c8", "RAMP"),
        ("RAMP_c8_2", "RAMP"),
        ("RAMP_REFINE_c6_1", "RAMP"),
        ("RETRY_2", "RETRY"),
        ("FIXED_c4_run0", "RETRY"),
        ("FIXED_c4_RETRY_1", "RETRY"),
        ("SUSTAINED_P3", "SUSTAINED"),
    ] {
        assert_eq!(phase_type(id), expected, "{id}");
    }
}
