//! Servers that answer by a formula, and a driver that plays the part of the engine.

use std::time::Duration;

use ramp::{
    Controller, Note, Observation, RampController, RampOutcome, RampRules, RampSettings, Step,
    Thresholds, WindowSpec,
};

pub(crate) const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(crate) fn max_ttft(max: f64) -> Thresholds {
    Thresholds {
        max_ttft: Some(max),
        min_speed: None,
    }
}

/// The options' defaults, with windows of 10 s.
pub(crate) fn settings() -> RampSettings {
    RampSettings {
        start: 2,
        increment: 2,
        max: 1000,
        test_duration: secs(100_000),
        ramp_duration: secs(10),
        num_retries: 3,
        thresholds: max_ttft(0.5),
        rules: RampRules::CACHE_RATE,
    }
}

/// A valid observation with this TTFT; the rate grows with the level.
pub(crate) fn at(level: u32, ttft: f64) -> Observation {
    Observation {
        input_tps: f64::from(level) * 1000.0,
        ttft: Some(ttft),
        speed: Some(30.0),
        valid: true,
    }
}

/// The mock of the specification: first token after 0.1 s times active requests, then 16 tokens of 0.03 s.
pub(crate) fn mock(window: &WindowSpec) -> Observation {
    let level = f64::from(window.concurrency);
    let ttft = 0.1 * level;
    Observation {
        input_tps: level * 1000.0 / (ttft + 16.0 * 0.03),
        ttft: Some(ttft),
        speed: Some(1.0 / 0.03),
        valid: true,
    }
}

/// What a whole test did.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) outcome: RampOutcome,
    pub(crate) notes: Vec<Note>,
}

impl Played {
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.windows.iter().map(|w| w.phase_id.as_str()).collect()
    }

    pub(crate) fn search_ids(&self) -> Vec<&str> {
        self.outcome
            .tested
            .iter()
            .map(|t| t.phase_id.as_str())
            .collect()
    }

    pub(crate) fn peak(&self) -> Option<(u32, bool)> {
        self.outcome
            .peak
            .as_ref()
            .map(|p| (p.concurrency, p.passed))
    }
}

/// Runs a ramp to its end; every window takes its length and a second of drain.
pub(crate) fn play(
    settings: RampSettings,
    previous_peak: Option<u32>,
    mut server: impl FnMut(&WindowSpec) -> Observation,
) -> Played {
    let mut controller = RampController::new(settings, previous_peak);
    let (mut windows, mut notes) = (Vec::new(), Vec::new());
    let mut elapsed = Duration::ZERO;
    loop {
        assert!(windows.len() < 100_000, "the ramp does not end");
        let step = controller.next(elapsed);
        assert_eq!(
            controller.next(elapsed + secs(3)),
            step,
            "the same step until a result is recorded"
        );
        notes.extend(controller.take_notes());
        match step {
            Step::Run(window) => {
                let observation = server(&window);
                elapsed += window.length + secs(1);
                controller.record(observation);
                windows.push(window);
            }
            Step::Done(outcome) => {
                assert_eq!(
                    controller.next(elapsed),
                    Step::Done(outcome.clone()),
                    "done for ever"
                );
                notes.extend(controller.take_notes());
                return Played {
                    windows,
                    outcome,
                    notes,
                };
            }
        }
    }
}
