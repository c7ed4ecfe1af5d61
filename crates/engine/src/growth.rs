//! A working set that grows while its test runs.
//!
//! Promise: an event happens at the first launch opportunity at or after its time, inside whatever period is running;
//! nothing that is in flight notices. Prompts that join were built before the test began, so no stream waits for them.
//! With coverage, an event waits until the working set that is active has been sent once over, and what comes behind
//! it keeps its distance. Refuses to know levels and periods.

use std::time::Duration;

use workload::GrowthSchedule;

use crate::event::{Observer, StudyEvent};
use crate::load::{Load, Pause};

/// How the working set of a test grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthPlan {
    /// When, and by how many prompts.
    pub schedule: GrowthSchedule,
    /// Tokens of one prompt.
    pub tokens_per_prompt: u64,
    /// Whether the prompts that join were warmed up before the test.
    pub warm: bool,
    /// Whether every size is to be sent once over before the next one.
    pub ensure_coverage: bool,
}

/// Where a growing test stands.
#[derive(Debug)]
pub(crate) struct Growth<'p> {
    plan: &'p GrowthPlan,
    /// Index of the next event.
    next: usize,
    /// By how much events come later than planned.
    delay: Duration,
    /// The present size has been said to take longer.
    has_told: bool,
}

impl<'p> Growth<'p> {
    pub(crate) fn new(plan: &'p GrowthPlan) -> Self {
        Self {
            plan,
            next: 0,
            delay: Duration::ZERO,
            has_told: false,
        }
    }

    /// Tokens of the prompts in rotation.
    pub(crate) fn active_tokens(&self, load: &mut Load<'_, '_>) -> u64 {
        let n_prompts = load.context().selector.n_prompts() as u64;
        n_prompts.saturating_mul(self.plan.tokens_per_prompt)
    }

    /// Keeps the load up until `end`, and lets the set grow meanwhile.
    pub(crate) async fn run_until(
        &mut self,
        load: &mut Load<'_, '_>,
        end: Duration,
        observer: &mut dyn Observer,
    ) -> Pause {
        let events = &self.plan.schedule.events;
        while let Some(event) = events.get(self.next) {
            let due = load.started() + event.at + self.delay;
            // One that is due at the end belongs to what begins there.
            if due >= end {
                break;
            }
            match load.run_until(due).await {
                Pause::TimeUp => {}
                other => return other,
            }
            if let Some(needed) = self.missing(load) {
                self.tell(load, needed, observer);
                match load.run_until_covered(needed, Some(end)).await {
                    Pause::Covered => {}
                    other => return other,
                }
                self.delay += load.context().clock.now().saturating_sub(due);
            }
            self.grow(load, event.prompts, observer);
        }
        load.run_until(end).await
    }

    /// Whether sizes are still to come, or the last one is still to be sent once over; says so once.
    pub(crate) fn is_open(&mut self, load: &mut Load<'_, '_>, observer: &mut dyn Observer) -> bool {
        let Some(needed) = self.missing(load) else {
            return self.plan.ensure_coverage && self.next < self.plan.schedule.events.len();
        };
        self.tell(load, needed, observer);
        true
    }

    /// What is left undone when the test ends all the same: at the present size, or at one that was never reached.
    pub(crate) fn told_missing(&mut self, load: &mut Load<'_, '_>, observer: &mut dyn Observer) {
        let is_small = self.plan.ensure_coverage && self.next < self.plan.schedule.events.len();
        let needed = if is_small {
            let target = self.plan.schedule.target as u64;
            Some(target.saturating_mul(self.plan.tokens_per_prompt))
        } else {
            self.missing(load)
        };
        if let Some(needed) = needed {
            let sent = load.covered().min(self.active_tokens(load));
            observer.observe(&StudyEvent::NotCovered { sent, needed });
        }
    }

    /// Tokens that are to be sent at the present size, where they are wanted and have not been.
    fn missing(&self, load: &mut Load<'_, '_>) -> Option<u64> {
        let needed = self.active_tokens(load);
        (self.plan.ensure_coverage && load.covered() < needed).then_some(needed)
    }

    fn tell(&mut self, load: &Load<'_, '_>, needed: u64, observer: &mut dyn Observer) {
        if !std::mem::replace(&mut self.has_told, true) {
            let sent = load.covered();
            observer.observe(&StudyEvent::Extending { sent, needed });
        }
    }

    fn grow(&mut self, load: &mut Load<'_, '_>, prompts: usize, observer: &mut dyn Observer) {
        self.next += 1;
        self.has_told = false;
        load.begin_coverage();
        let selector = &mut *load.context().selector;
        selector.grow(prompts);
        if self.plan.ensure_coverage {
            selector.cover();
        }
        if prompts > 0 {
            observer.observe(&StudyEvent::Grown {
                added: prompts,
                warm: self.plan.warm,
                n_prompts: selector.n_prompts(),
                target: self.plan.schedule.target,
                tokens: self.active_tokens(load),
            });
        }
    }
}
