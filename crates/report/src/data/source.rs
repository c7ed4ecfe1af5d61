//! Which of several files a test's rows come from.
//!
//! Promise: the newest file that holds rows of the test, where rows of an attempt that was cut short
//! do not count: rows must lie in a phase of the test, by phase id and time. So a run that began a
//! test again and was killed does not hide the finished one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use metrics::{PeriodRow, PhaseRow};

use crate::stamp::StampedFile;
use crate::test_name::TestName;

/// Slack in seconds around a phase where the row itself names its test: a launch is stamped a moment
/// before the phase is, and the originals stamped both on the wall clock.
const SLACK: f64 = 1.0;

/// A period ends sharp, with requests under way: the last one of it may be handed to its connection this many seconds
/// later. A window ends behind its drain, so none of its requests can.
const LATE_LAUNCH: f64 = 0.5;
/// What the phase ids of periods begin with.
const PERIOD: &str = "SUSTAINED_P";

/// When the phases of every test were. Periods of sustained tests count as phases.
#[derive(Debug, Default)]
pub(crate) struct PhaseSpans {
    of_test: HashMap<TestName, Vec<Span>>,
}

#[derive(Debug)]
struct Span {
    phase_id: String,
    start: f64,
    end: f64,
}

impl PhaseSpans {
    pub(crate) fn of<'a>(
        phases: impl IntoIterator<Item = &'a PhaseRow>,
        periods: impl IntoIterator<Item = (&'a TestName, &'a Vec<PeriodRow>)>,
    ) -> Self {
        let mut of_test: HashMap<TestName, Vec<Span>> = HashMap::new();
        let mut push = |test, phase_id, start: f64, end: f64| {
            of_test.entry(test).or_default().push(Span {
                phase_id,
                start,
                end,
            });
        };
        for row in phases {
            push(
                row.into(),
                row.phase_id.clone(),
                row.start_time,
                row.end_time,
            );
        }
        for (test, row) in periods
            .into_iter()
            .flat_map(|(test, rows)| rows.iter().map(move |row| (*test, row)))
        {
            let id = format!("{PERIOD}{}", row.period_number);
            push(test, id, row.start_time, row.end_time);
        }
        Self { of_test }
    }

    /// Whether a row of `test` lies in one of its phases; true for tests whose phases are unknown.
    pub(crate) fn fits(&self, test: TestName, phase_id: &str, launch_time: f64) -> bool {
        self.of_test.get(&test).is_none_or(|spans| {
            spans
                .iter()
                .any(|span| span.holds(phase_id, launch_time, SLACK))
        })
    }

    /// The test of this context in one of whose phases a request was launched.
    ///
    /// Exact to the stamp: the next test may begin within milliseconds with a phase of the same name, and
    /// when it fails it leaves requests but no phase of its own. Only our own files need this, and they
    /// stamp both on one clock.
    pub(crate) fn test_at(
        &self,
        context_size: u64,
        phase_id: &str,
        launch_time: f64,
    ) -> Option<TestName> {
        let of_context = || {
            let tests = self.of_test.iter();
            tests.filter(|(test, _)| test.context_size == context_size)
        };
        let held = of_context().find(|(_, spans)| {
            spans
                .iter()
                .any(|span| span.holds(phase_id, launch_time, 0.0))
        });
        if held.is_some() || !phase_id.starts_with(PERIOD) {
            return held.map(|(test, _)| *test);
        }
        let late = |span: &Span| {
            let by = launch_time - span.end;
            (span.phase_id == phase_id && (0.0..=LATE_LAUNCH).contains(&by)).then_some(by)
        };
        of_context()
            .flat_map(|(test, spans)| spans.iter().filter_map(late).map(move |by| (by, *test)))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, test)| test)
    }
}

impl Span {
    fn holds(&self, phase_id: &str, at: f64, slack: f64) -> bool {
        self.phase_id == phase_id && (self.start - slack..=self.end + slack).contains(&at)
    }
}

/// Rows of one test, gathered in a `C`, and the file they come from.
#[derive(Debug)]
pub(crate) struct Selected<C> {
    pub(crate) file: StampedFile,
    pub(crate) rows: C,
    /// Whether any of them lies in a phase of the test.
    pub(crate) fits: bool,
}

/// Goes through files from the newest to the oldest until every wanted test is found.
///
/// `read` hands over, for every row of a file, its test, whether it lies in a phase of that test, and
/// what to keep of it. A test without fitting rows anywhere gets those of the newest file that has it
/// if `accept_unfit`, else none.
pub(crate) fn newest_per_test<'a, R, C: Default + Extend<R>>(
    newest_first: impl Iterator<Item = &'a StampedFile>,
    wanted: Option<&BTreeSet<TestName>>,
    accept_unfit: bool,
    mut read: impl FnMut(&StampedFile, &mut dyn FnMut(TestName, bool, R)),
) -> BTreeMap<TestName, Selected<C>> {
    let mut selected: BTreeMap<TestName, Selected<C>> = BTreeMap::new();
    let is_settled = |selected: &BTreeMap<TestName, Selected<C>>, test: &TestName| {
        selected.get(test).is_some_and(|found| found.fits)
    };
    for file in newest_first {
        if wanted.is_some_and(|tests| tests.iter().all(|test| is_settled(&selected, test))) {
            break;
        }
        let mut found: BTreeMap<TestName, Selected<C>> = BTreeMap::new();
        read(file, &mut |test, fits, row| {
            if is_settled(&selected, &test) || wanted.is_some_and(|tests| !tests.contains(&test)) {
                return;
            }
            let of_test = found.entry(test).or_insert_with(|| Selected {
                file: file.clone(),
                rows: C::default(),
                fits: false,
            });
            of_test.fits |= fits;
            of_test.rows.extend(std::iter::once(row));
        });
        for (test, of_test) in found {
            if of_test.fits || (accept_unfit && !selected.contains_key(&test)) {
                selected.insert(test, of_test);
            }
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::measure;

    fn phase(cache_hit_rate: u32, start_time: f64, end_time: f64) -> PhaseRow {
        let mut phases = measure(TestName::new(1000, cache_hit_rate), 0).phases;
        let mut phase = phases.swap_remove(0);
        (phase.start_time, phase.end_time) = (start_time, end_time);
        phase
    }

    /// A test that failed leaves requests but no phase. Its first ones come milliseconds behind the last
    /// window of the test before it, often in a phase of the same name.
    #[test]
    fn a_failed_request_belongs_to_the_phase_it_was_launched_in_or_to_none() {
        let first = phase(0, 100.0, 101.0);
        let id = first.phase_id.clone();
        let context = first.context_size;
        let spans = PhaseSpans::of([&first, &phase(50, 101.01, 102.0)], &BTreeMap::new());
        let rate_at = |at| {
            spans
                .test_at(context, &id, at)
                .map(|test| test.cache_hit_rate)
        };
        assert_eq!(rate_at(100.0), Some(0));
        assert_eq!(rate_at(101.0), Some(0));
        assert_eq!(rate_at(101.005), None);
        assert_eq!(rate_at(101.01), Some(50));
        assert_eq!(rate_at(102.02), None);
        // The last requests of a period are handed over behind its end.
        let period = |rate, end| PhaseRow {
            phase_id: "SUSTAINED_P1".to_owned(),
            ..phase(rate, end - 1.0, end)
        };
        let periods = [period(0, 101.0), period(50, 105.0)];
        let spans_of_periods = PhaseSpans::of(&periods, &BTreeMap::new());
        let rate_at = |at| {
            let test = spans_of_periods.test_at(context, "SUSTAINED_P1", at);
            test.map(|test| test.cache_hit_rate)
        };
        assert_eq!(rate_at(101.1), Some(0));
        assert_eq!(rate_at(105.0), Some(50));
        assert_eq!(rate_at(105.2), Some(50));
        assert_eq!(rate_at(103.0), None);
        // Detail rows name their test and may be a little off.
        let test = TestName::new(context, 0);
        assert!(spans.fits(test, &id, 101.5) && !spans.fits(test, &id, 103.0));
    }
}
