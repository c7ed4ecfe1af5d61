//! The last word on the client's own part in a study: windows judged by the calibration, rows and doubts from that.

use metrics::health::{HealthRow, PartOf, Planned, WindowHealth, judging};
use metrics::period::phase_id_of_period;
use metrics::summary::{SummaryRow, any_limited};
use metrics::{PeriodRow, PhaseRow};
use report::test_name::TestName;

use crate::event::{Doubt, DoubtKind};

/// What is stored of a study when it is judged, of earlier runs too; only what belongs to the windows judged changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stored<'s> {
    /// Windows, and periods where they are listed as phases too.
    pub phases: &'s [PhaseRow],
    /// Periods by test, all of each.
    pub periods: &'s [(TestName, Vec<PeriodRow>)],
    /// Results.
    pub summary: &'s [SummaryRow],
}

/// What a study's results say of the client.
#[derive(Debug, Default)]
pub struct Proof {
    /// One row per window and period.
    pub rows: Vec<HealthRow>,
    /// Phases whose mark changes.
    pub phases: Vec<PhaseRow>,
    /// All periods of tests in which the mark of any changes.
    pub periods: Vec<(TestName, Vec<PeriodRow>)>,
    /// Results whose mark changes.
    pub summary: Vec<SummaryRow>,
    /// Results that are limited by the client and of which nobody was told so far.
    pub doubts: Vec<Doubt>,
}

/// What the client says of itself before any calibration, or without one: judged by what was felt.
#[must_use]
pub fn uncalibrated(windows: &[WindowHealth]) -> Vec<HealthRow> {
    let row = |window| HealthRow::new(window, None);
    windows.iter().map(row).collect()
}

/// Judges every window by the calibration that was planned for it, where that has a result, and otherwise by what was felt.
/// `told` are the doubts of the study.
#[must_use]
pub fn prove(
    windows: &[WindowHealth],
    calibrations: &[Planned],
    stored: Stored<'_>,
    told: &[Doubt],
) -> Proof {
    let Stored {
        phases,
        periods,
        summary,
    } = stored;
    let rows: Vec<HealthRow> = windows
        .iter()
        .map(|window| HealthRow::new(window, judging(calibrations, window)))
        .collect();
    let mut proof = Proof::default();
    for phase in phases {
        let row = rows.iter().find(|row| {
            row.phase_id == phase.phase_id
                && phase.is_of_test(row.context_size, row.working_set_size, row.cache_hit_rate)
        });
        let Some(row) = row.filter(|row| is_judged(row)) else {
            continue;
        };
        if phase.client_limited != row.client_limited {
            proof.phases.push(PhaseRow {
                client_limited: row.client_limited,
                ..phase.clone()
            });
        }
    }
    for (test, periods) in periods {
        let marked: Vec<PeriodRow> = periods
            .iter()
            .map(|period| {
                let id = phase_id_of_period(period.period_number);
                let is_of_period = |row: &&HealthRow| {
                    row.phase_id == id && is_of_test(row, *test) && is_judged(row)
                };
                let row = rows.iter().find(is_of_period);
                PeriodRow {
                    client_limited: row.map_or(period.client_limited, |row| row.client_limited),
                    ..period.clone()
                }
            })
            .collect();
        if marked != *periods {
            proof.periods.push((*test, marked));
        }
    }
    for result in summary {
        let behind = || {
            rows.iter().zip(windows).filter_map(|(row, window)| {
                let kind = part_in(row, window.part_of, result.peak_concurrency)?;
                (is_judged(row) && is_of_test(row, TestName::from(result))).then_some((row, kind))
            })
        };
        let is_limited = |(row, _): (&HealthRow, _)| row.client_limited;
        let mark = any_limited(behind().map(is_limited));
        if mark.is_some() && mark != result.client_limited {
            proof.summary.push(SummaryRow {
                client_limited: mark,
                ..result.clone()
            });
        }
        let found = doubts(behind(), result.peak_concurrency);
        proof.doubts.extend(found.into_iter().filter(|doubt| {
            let is_it = |d: &Doubt| d.kind == doubt.kind && d.test == doubt.test;
            !told.iter().any(is_it)
        }));
    }
    proof.rows = rows;
    proof
}

/// Which doubt about a result comes of a window that the client limits; `None` where the window has no part in it.
fn part_in(row: &HealthRow, part_of: PartOf, peak: u32) -> Option<Part> {
    match part_of {
        PartOf::Level => (row.concurrency_level == peak).then_some(Part::Figures),
        PartOf::Test => Some(Part::Figures),
        PartOf::EndOfSearch => Some(Part::EndOfSearch),
        PartOf::Rival => Some(Part::Rival),
        PartOf::Nothing => None,
    }
}

/// The part of a window in a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Its figures are the result's.
    Figures,
    /// The search for the peak ended in it.
    EndOfSearch,
    /// It was no better than the peak.
    Rival,
}

impl Part {
    fn doubt(self) -> DoubtKind {
        match self {
            Self::Figures => DoubtKind::ClientLimited,
            Self::EndOfSearch | Self::Rival => DoubtKind::SearchLimited,
        }
    }
}

fn is_of_test(row: &HealthRow, test: TestName) -> bool {
    row.context_size == test.context_size
        && row.working_set_size == test.working_set_size
        && row.cache_hit_rate == test.cache_hit_rate
}

/// A mark that was set without a probe stays as it is where there is still none to judge by.
fn is_judged(row: &HealthRow) -> bool {
    row.ttft_error_p50.is_some()
}

/// The doubts about a result that the client limits by what it felt, before any calibration.
pub(crate) fn felt<'h>(
    windows: impl IntoIterator<Item = &'h WindowHealth>,
    peak: u32,
) -> Vec<Doubt> {
    let rows: Vec<(HealthRow, Part)> = windows
        .into_iter()
        .filter_map(|window| {
            let row = HealthRow::new(window, None);
            let part = part_in(&row, window.part_of, peak)?;
            Some((row, part))
        })
        .collect();
    doubts(rows.iter().map(|(row, part)| (row, *part)), peak)
}

/// The doubts about a result because of its windows, at most one of a kind: by the first window of a kind that is
/// limited, or of those above the peak by that at the lowest level.
fn doubts<'h>(windows: impl Iterator<Item = (&'h HealthRow, Part)>, peak: u32) -> Vec<Doubt> {
    let limited = |(row, _): &(&HealthRow, Part)| row.client_limited == Some(true);
    let (figures, above): (Vec<_>, Vec<_>) = windows
        .filter(limited)
        .partition(|(_, part)| *part == Part::Figures);
    let lowest = above
        .into_iter()
        .min_by_key(|(row, _)| row.concurrency_level);
    let first = figures.into_iter().next();
    let doubt = |(row, part)| doubt(row, part, peak);
    first.into_iter().chain(lowest).map(doubt).collect()
}

/// The doubt about a result because of one window.
fn doubt(row: &HealthRow, part: Part, peak: u32) -> Doubt {
    let level = row.concurrency_level;
    let what = match part {
        Part::Figures => format!("the result at concurrency {peak} is limited by this client"),
        Part::EndOfSearch => format!(
            "the search ended in a window at level {level} that this client limited; the real peak may be higher"
        ),
        Part::Rival => format!(
            "level {level} was no better than the peak in a window that this client limited; the real peak may be higher"
        ),
    };
    Doubt {
        test: TestName::new(row.context_size, row.cache_hit_rate)
            .with_working_set(row.working_set_size),
        kind: part.doubt(),
        text: format!(
            "{what} ({}: {}): give it more cores (--client-threads), less company, or a machine of its own",
            row.phase_id, row.limited_by
        ),
    }
}

#[cfg(test)]
mod tests {
    use metrics::health::{Calibration, ErrorBar, Lag, Missing, Typical};

    use super::*;

    fn window(phase_id: &str, level: u32) -> WindowHealth {
        let typical = |median| Typical {
            median: Some(median),
            p95: Some(median),
        };
        WindowHealth {
            phase_id: phase_id.to_owned(),
            context_size: 1000,
            level,
            lag: Some(Lag {
                p50: 0.000_1,
                p99: 0.000_5,
                max: 0.002,
            }),
            ttft: typical(0.1),
            itl: typical(0.01),
            ..WindowHealth::default()
        }
    }

    fn phase(phase_id: &str, level: u32) -> PhaseRow {
        PhaseRow {
            phase_id: phase_id.to_owned(),
            context_size: 1000,
            concurrency_level: level,
            client_limited: Some(false),
            ..PhaseRow::default()
        }
    }

    fn result(peak_concurrency: u32) -> SummaryRow {
        SummaryRow {
            context_size: 1000,
            peak_concurrency,
            client_limited: Some(false),
            ..SummaryRow::default()
        }
    }

    fn stored<'s>(phases: &'s [PhaseRow], summary: &'s [SummaryRow]) -> Stored<'s> {
        Stored {
            phases,
            summary,
            ..Stored::default()
        }
    }

    fn calibration(level: u32, ttft_p50: f64) -> Planned {
        let bar = |p50| ErrorBar {
            p50,
            p99: Some(p50),
        };
        Planned {
            context_size: 1000,
            level,
            outcome: Ok(Calibration {
                context_size: 1000,
                level,
                ttft: bar(ttft_p50),
                itl: Some(bar(0.0)),
                n_requests: 10,
            }),
        }
    }

    /// Windows at 1,000 in flight, whose calibration had failed or was stopped, were judged by the error of one.
    #[test]
    fn a_window_whose_own_level_has_no_calibration_keeps_what_it_felt() {
        let windows = [window("RAMP_c1", 1), window("RAMP_c1000", 1000)];
        let phases = [phase("RAMP_c1", 1), phase("RAMP_c1000", 1000)];
        // An error that would limit both.
        let stopped = Planned {
            outcome: Err(Missing::Stopped),
            ..calibration(1000, 0.0)
        };
        let planned = [calibration(1, 0.006), stopped];
        let proof = prove(&windows, &planned, stored(&phases, &[result(1000)]), &[]);
        let of = |row: &HealthRow| (row.calibrated_level, row.client_limited);
        assert_eq!(
            proof.rows.iter().map(of).collect::<Vec<_>>(),
            [(Some(1), Some(true)), (None, Some(false))]
        );
        assert_eq!(proof.rows[1].ttft_error_p99, Some(0.000_5));
        assert!(proof.summary.is_empty(), "{:?}", proof.summary);
    }

    #[test]
    fn what_the_calibration_finds_changes_marks_at_its_level_only() {
        let windows = [window("RAMP_c2", 2), window("RAMP_c64", 64)];
        let phases = [phase("RAMP_c2", 2), phase("RAMP_c64", 64), phase("OLD", 64)];
        let calibrations = [calibration(2, 0.000_1), calibration(64, 0.006)];
        let at = |peak| {
            prove(
                &windows,
                &calibrations,
                stored(&phases, &[result(peak)]),
                &[],
            )
        };

        let proof = at(64);
        let marked: Vec<&str> = proof.phases.iter().map(|p| p.phase_id.as_str()).collect();
        assert_eq!(marked, ["RAMP_c64"]);
        assert_eq!(proof.summary[0].client_limited, Some(true));
        assert_eq!(proof.doubts[0].kind, DoubtKind::ClientLimited);
        assert!(proof.doubts[0].text.contains("TTFT error (p50 6.00 ms)"));
        assert_eq!(proof.rows.len(), 2);

        let proof = at(2);
        assert!(proof.summary.is_empty() && proof.doubts.is_empty());
    }

    /// What the calibration says of a level above the peak is a doubt of its own: that the peak's own windows are limited
    /// may have been told long before.
    #[test]
    fn a_peak_below_a_level_that_the_calibration_limits_is_doubted() {
        let of = |part_of, id, level| WindowHealth {
            part_of,
            ..window(id, level)
        };
        let calibrations = [calibration(8, 0.0), calibration(12, 0.006)];
        for (part_of, text) in [
            (
                PartOf::EndOfSearch,
                "the search ended in a window at level 12 that this client limited; the real peak may be higher (RAMP_c12: ",
            ),
            (
                PartOf::Rival,
                "level 12 was no better than the peak in a window that this client limited; the real peak may be higher (RAMP_c12: ",
            ),
        ] {
            let windows = [
                of(PartOf::Level, "RAMP_c8", 8),
                of(part_of, "RAMP_c12", 12),
                of(PartOf::Level, "RAMP_c16", 16),
            ];
            let told = Doubt {
                kind: DoubtKind::ClientLimited,
                test: TestName::new(1000, 0),
                text: String::new(),
            };
            let proof = prove(&windows, &calibrations, stored(&[], &[result(8)]), &[told]);
            assert_eq!(proof.summary[0].client_limited, Some(true));
            assert_eq!(proof.doubts.len(), 1);
            assert_eq!(proof.doubts[0].kind, DoubtKind::SearchLimited);
            assert!(proof.doubts[0].text.starts_with(text), "{:?}", proof.doubts);
        }
    }

    #[test]
    fn a_limit_that_was_told_is_not_told_again() {
        let windows = [window("RAMP_c64", 64)];
        let phases = [phase("RAMP_c64", 64)];
        let calibrations = [calibration(64, 0.006)];
        let first = prove(&windows, &calibrations, stored(&phases, &[result(64)]), &[]);
        let again = prove(
            &windows,
            &calibrations,
            stored(&phases, &[result(64)]),
            &first.doubts,
        );
        assert!(again.doubts.is_empty());
    }

    fn period(number: u32, level: u32) -> WindowHealth {
        WindowHealth {
            part_of: PartOf::Test,
            ..window(&format!("SUSTAINED_P{number}"), level)
        }
    }

    #[test]
    fn of_a_sustained_test_every_period_counts_whether_or_not_periods_are_phases_too() {
        let windows = [period(1, 2), period(2, 64)];
        let phases = [phase("SUSTAINED_P1", 2), phase("SUSTAINED_P2", 64)];
        // The lower level is the one that the client limits; the peak is the highest one.
        let calibrations = [calibration(2, 0.006), calibration(64, 0.0)];
        for phases in [&phases[..], &[]] {
            let proof = prove(&windows, &calibrations, stored(phases, &[result(64)]), &[]);
            assert_eq!(proof.summary[0].client_limited, Some(true));
            assert!(proof.doubts[0].text.contains("SUSTAINED_P1"));
        }
    }

    #[test]
    fn a_limited_period_below_the_peak_keeps_its_mark_in_the_summary() {
        let late = WindowHealth {
            missing_share: Some(0.2),
            ..period(1, 2)
        };
        let windows = [late, period(2, 64)];
        let marked = SummaryRow {
            client_limited: Some(true),
            ..result(64)
        };
        let phases = [phase("SUSTAINED_P1", 2), phase("SUSTAINED_P2", 64)];
        let proof = prove(
            &windows,
            &[calibration(64, 0.0)],
            stored(&phases, &[marked]),
            &[],
        );
        assert!(proof.summary.is_empty(), "{:?}", proof.summary);
    }

    #[test]
    fn what_the_calibration_finds_changes_the_marks_of_periods_too() {
        let windows = [period(1, 2), period(2, 64)];
        let row = |number, level| PeriodRow {
            period_number: number,
            context_size: 1000,
            concurrency_level: level,
            client_limited: Some(false),
            ..PeriodRow::default()
        };
        let earlier = |test| (test, vec![row(1, 2), row(2, 64)]);
        // Of the other test nothing was measured in this run.
        let periods = [
            earlier(TestName::new(1000, 0)),
            earlier(TestName::new(1000, 50)),
        ];
        let stored = Stored {
            periods: &periods,
            ..Stored::default()
        };
        let calibrations = [calibration(2, 0.0), calibration(64, 0.006)];
        let proof = prove(&windows, &calibrations, stored, &[]);
        assert_eq!(proof.periods.len(), 1);
        let (test, marked) = &proof.periods[0];
        assert_eq!(*test, TestName::new(1000, 0));
        let marks: Vec<_> = marked.iter().map(|p| p.client_limited).collect();
        assert_eq!(marks, [Some(false), Some(true)]);
    }

    #[test]
    fn a_window_that_was_broken_off_is_behind_no_result() {
        let broken_off = WindowHealth {
            part_of: PartOf::Nothing,
            ..window("RETRY_1", 64)
        };
        let calibrations = [calibration(64, 0.006)];
        let phases = [phase("RETRY_1", 64)];
        let proof = prove(
            &[broken_off],
            &calibrations,
            stored(&phases, &[result(64)]),
            &[],
        );
        assert!(proof.summary.is_empty() && proof.doubts.is_empty());
        assert_eq!(proof.rows[0].client_limited, Some(true));
    }

    #[test]
    fn nothing_is_said_where_nobody_probed() {
        let windows = [WindowHealth {
            lag: None,
            ..window("RAMP_c64", 64)
        }];
        let proof = prove(
            &windows,
            &[],
            stored(&[phase("RAMP_c64", 64)], &[result(64)]),
            &[],
        );
        assert!(proof.phases.is_empty() && proof.summary.is_empty() && proof.doubts.is_empty());
    }
}
