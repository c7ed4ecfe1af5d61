//! Does the tool find the level that is best, and report the rate that the server has there?

use std::time::Duration;

use engine::study::{GivesUp, Mode, Reinit, StudyPlan, WorkingSets};
use engine::test_run::SustainedResults;
use ramp::{
    FixedRules, FixedSettings, RampRules, RampSettings, SustainedRules, SustainedSettings,
    Thresholds, highest_held,
};
use workload::{Seed, SelectionOrder};

use crate::case::{Case, LONG_TIMES, Posed, REQUEST_TIMES, SHORT_TIMES, Truth};
use crate::grade::{Answer, Criterion};
use crate::in_process::{Measuring, Said, Spoil, Words, study};

/// A reported rate may be so far from the true one.
const RATE_TOLERANCE: f64 = 0.03;
/// Repeats of a measured level; the default of the tools is 3.
const RETRIES: u32 = 2;
/// Periods of a sustained test: it may leap far beyond the border, and comes back by single steps.
const PERIODS: u32 = 24;

fn plan(posed: &Posed, mode: Mode, window: engine::window::WindowSettings) -> StudyPlan {
    let case = &posed.case;
    StudyPlan {
        context_sizes: vec![case.context],
        cache_hit_rates: case.rates.clone(),
        working_sets: WorkingSets::One(case.working_set),
        ensure_coverage: false,
        chunk_size: case.chunk,
        reinit: Reinit::Once,
        init_concurrency: 4,
        order: if case.random_prompts {
            SelectionOrder::Random
        } else {
            SelectionOrder::RoundRobin
        },
        mode,
        window,
        sustained: SustainedResults::CACHE_RATE,
        model: sim::DEFAULT_MODEL.to_owned(),
        n_build_threads: 1,
        gives_up: GivesUp::AfterFailures,
    }
}

fn measuring(words: &Words, case: &Case) -> Measuring {
    Measuring {
        prompts: words.told(),
        ttft_metric: case.ttft_metric,
        speed_metric: case.speed_metric,
        output: case.output,
    }
}

/// What the controller is told to hold.
fn thresholds(posed: &Posed, spoil: Spoil) -> Thresholds {
    let given = posed.thresholds;
    if spoil != Spoil::LaxController {
        return given;
    }
    Thresholds {
        max_ttft: given.max_ttft.map(|max| 2.0 * max),
        min_speed: given.min_speed.map(|min| 0.5 * min),
    }
}

/// Lets the tool search by `ramp` in windows long enough, and compares with the long run.
pub(crate) fn ramp(words: &Words, posed: &Posed, spoil: Spoil) -> Vec<Answer> {
    let said = search(words, posed, posed.long_window, spoil);
    compared(posed, &posed.truths, &said, spoil)
}

/// The same in short windows: answers on the long run, and on what such windows show of a level.
pub(crate) fn short_ramp(words: &Words, posed: &Posed, spoil: Spoil) -> (Vec<Answer>, Vec<Answer>) {
    let length = posed.short_window;
    let said = search(words, posed, length, spoil);
    let shown = posed.truths_of_windows(words, length);
    (
        compared(posed, &posed.truths, &said, spoil),
        compared(posed, &shown, &said, spoil),
    )
}

fn search(words: &Words, posed: &Posed, window: Duration, spoil: Spoil) -> Said {
    let case = &posed.case;
    let settings = RampSettings {
        start: case.start,
        increment: case.increment,
        max: case.max,
        // Time enough for every level: where the limit cuts a search short, what is found is not what is true.
        test_duration: window * 60,
        ramp_duration: window,
        num_retries: 0,
        thresholds: thresholds(posed, spoil),
        rules: RampRules::CACHE_RATE,
    };
    ask(words, posed, Mode::Ramp(settings), &case.rates, spoil)
}

fn compared(posed: &Posed, truths: &[Truth], said: &Said, spoil: Spoil) -> Vec<Answer> {
    let answer = |(at, truth): (usize, &Truth)| match said.tests.get(at) {
        Some(test) => {
            let level = test.summary.peak_concurrency;
            // The tool names a level in any case, and says where it holds nothing.
            let chosen = (!test.none_passed).then(|| reported(&posed.case, level, spoil));
            graded(posed, truth, chosen)
        }
        None => missing(posed, &said.failed.join("; ")),
    };
    truths.iter().enumerate().map(answer).collect()
}

/// Lets the tool track the load of the first hit rate without a stop, and compares.
pub(crate) fn sustained(words: &Words, posed: &Posed, spoil: Spoil) -> Vec<Answer> {
    let case = &posed.case;
    let period = posed.window;
    let settings = SustainedSettings {
        start: case.start,
        increment: case.increment,
        max: case.max,
        test_duration: period * PERIODS,
        period,
        thresholds: thresholds(posed, spoil),
        rules: SustainedRules::CACHE_RATE,
    };
    let rates = &case.rates[..1];
    let said = ask(words, posed, Mode::Sustained(settings), rates, spoil);
    let answer = match said.tests.first() {
        Some(test) => {
            let held = highest_held(test.periods.iter().copied());
            let chosen = held.map(|level| reported(case, level, spoil));
            graded(posed, &posed.truths[0], chosen)
        }
        None => missing(posed, &said.failed.join("; ")),
    };
    vec![answer]
}

fn ask(words: &Words, posed: &Posed, mode: Mode, rates: &[u32], spoil: Spoil) -> Said {
    let case = &posed.case;
    let seed = Seed::new(case.seed);
    let plan = |window| StudyPlan {
        cache_hit_rates: rates.to_vec(),
        ..plan(posed, mode, window)
    };
    study(
        words,
        &case.engine,
        seed,
        measuring(words, case),
        spoil,
        plan,
    )
}

/// No answer where there should be one.
pub(crate) fn missing(posed: &Posed, reason: &str) -> Answer {
    Answer {
        seed: posed.case.seed,
        group: posed.case.family.name().to_owned(),
        truth: "a result".to_owned(),
        said: reason.to_owned(),
        error: None,
        right: false,
    }
}

/// Distance of a level from the nearest of the best ones, in increments.
fn off_by(case: &Case, good: &[u32], level: u32) -> Option<f64> {
    let distance = |best: &u32| (f64::from(level) - f64::from(*best)) / f64::from(case.increment);
    good.iter()
        .map(distance)
        .min_by(|a, b| a.abs().total_cmp(&b.abs()))
}

/// What is reported of a level.
fn reported(case: &Case, level: u32, spoil: Spoil) -> u32 {
    match spoil {
        Spoil::PeakTooHigh => level + 2 * case.increment,
        _ => level,
    }
}

/// Compares a level, or that none was found to hold, with what is true.
pub(crate) fn graded(posed: &Posed, truth: &Truth, chosen: Option<u32>) -> Answer {
    let case = &posed.case;
    let good = truth.good();
    let error = chosen.and_then(|level| off_by(case, &good, level));
    let right = match (chosen, good.is_empty()) {
        (None, true) => true,
        (None, false) | (Some(_), true) => false,
        (Some(_), false) => error.is_some_and(|error| error.abs() <= 1.0),
    };
    Answer {
        seed: case.seed,
        group: case.family.name().to_owned(),
        truth: match (good.first(), good.last()) {
            (Some(low), Some(high)) if low != high => {
                format!("{low} to {high}, increment {}", case.increment)
            }
            (Some(only), _) => format!("{only}, increment {}", case.increment),
            (None, _) => "no level holds".to_owned(),
        },
        said: chosen.map_or_else(|| "no level holds".to_owned(), |level| level.to_string()),
        error,
        right,
    }
}

/// Lets the tool measure the best level of the first hit rate, in windows of twenty request times, and compares.
///
/// Answers on input and on output.
pub(crate) fn rates(words: &Words, posed: &Posed, spoil: Spoil) -> (Vec<Answer>, Vec<Answer>) {
    let case = &posed.case;
    let truth = &posed.truths[0];
    let steady = truth.best().unwrap_or(&truth.levels[0]);
    let settings = FixedSettings {
        levels: vec![steady.level],
        ramp_duration: posed.window,
        num_retries: RETRIES,
        thresholds: Thresholds::default(),
        rules: FixedRules::CACHE_RATE,
    };
    let said = ask(words, posed, Mode::Fixed(settings), &case.rates[..1], spoil);
    let test = said.tests.first();
    let (mut input, mut output) = (
        test.and_then(|test| test.summary.window_input_tokens_per_sec),
        test.and_then(|test| test.summary.window_output_tokens_per_sec),
    );
    if let (Spoil::DrainInWindow, Some(test)) = (spoil, test) {
        let windows: f64 = test.phases.iter().filter_map(|p| p.window_duration).sum();
        let with_drain: f64 = test.phases.iter().map(|phase| phase.duration).sum();
        input = input.map(|rate| rate * windows / with_drain);
        output = output.map(|rate| rate * windows / with_drain);
    }
    let body = case.shape(case.rates[0], 0, &[0]).body as f64;
    let per_s = steady.requests_per_s;
    (
        vec![graded_rate(case, per_s * body, input, RATE_TOLERANCE)],
        vec![graded_rate(
            case,
            per_s * f64::from(case.output),
            output,
            RATE_TOLERANCE,
        )],
    )
}

/// Compares a rate in tokens/s with the true one.
pub(crate) fn graded_rate(case: &Case, truth: f64, said: Option<f64>, tolerance: f64) -> Answer {
    let error = said.map(|said| said / truth - 1.0);
    Answer {
        seed: case.seed,
        group: case.family.name().to_owned(),
        truth: format!("{truth:.1} tokens/s"),
        said: said.map_or_else(|| "nothing".to_owned(), |said| format!("{said:.1}")),
        error,
        right: error.is_some_and(|error| error.abs() <= tolerance),
    }
}

/// The criteria, without answers: ramp, ramp in short windows against both truths, sustained, input rate, output rate.
pub(crate) fn criteria() -> [Criterion; 6] {
    let criterion = |name, unit, wanted, rule: String| Criterion {
        rule,
        name,
        unit,
        wanted,
        answers: Vec::new(),
    };
    [
        criterion(
            "ramp: peak",
            "increments",
            0.95,
            format!(
                "The chosen level is within one increment of the level with the highest true rate among those that truly \
                 hold the thresholds in the long run (or of one whose true rate is within 1 % of that); where none holds \
                 them, the tool says so. Windows last {LONG_TIMES} mean request times (those at the best level)."
            ),
        ),
        criterion(
            "ramp: peak, short windows",
            "increments",
            0.7,
            format!(
                "The same in windows of {SHORT_TIMES} mean request times: a limit of the method, whose cost this row \
                 states. Every window begins with all its requests at once in an empty server, and where that first round \
                 waits longer than later ones it is half of the slowest twentieth, at which a 95th percentile looks."
            ),
        ),
        criterion(
            "ramp: as short windows show it",
            "increments",
            0.95,
            format!(
                "The same answers, in windows of {SHORT_TIMES} mean request times, against levels as the page of \
                 `cache_rate_tester` has a window show them, first round included: brute force on the model again, by \
                 that schedule, three windows pooled."
            ),
        ),
        criterion(
            "sustained: level held",
            "increments",
            0.95,
            format!(
                "The chosen level, as in the first row, is the highest at which the thresholds held in at least half of \
                 its periods, over {PERIODS} periods of {REQUEST_TIMES} mean request times. (`peak_concurrency` is by \
                 definition the highest level used, which the climb may put far beyond the border.)"
            ),
        ),
        criterion(
            "input rate",
            "%",
            0.95,
            format!(
                "In three windows of {REQUEST_TIMES} mean request times at the best level, \
                 `window_input_tokens_per_sec` is within 3 % of the server's steady rate there."
            ),
        ),
        criterion(
            "output rate",
            "%",
            0.95,
            "The same of `window_output_tokens_per_sec`.".to_owned(),
        ),
    ]
}
