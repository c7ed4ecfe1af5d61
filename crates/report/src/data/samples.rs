//! The samples of one test, sorted by phase.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::Sample;

/// Samples of the requests of one test. Phases stand in the order in which they were met, and samples of
/// a phase in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TestSamples {
    phases: Vec<(Arc<str>, Vec<Sample>)>,
    /// Where the latest sample went: neighbours mostly belong to the same phase.
    last: usize,
}

impl TestSamples {
    /// No sample.
    pub(super) const NONE: Self = Self {
        phases: Vec::new(),
        last: 0,
    };

    /// Adds one sample.
    pub fn push(&mut self, phase_id: &Arc<str>, sample: Sample) {
        let fits = |phase: &(Arc<str>, Vec<Sample>)| *phase.0 == **phase_id;
        if !self.phases.get(self.last).is_some_and(fits) {
            self.last = match self.phases.iter().position(fits) {
                Some(place) => place,
                None => {
                    self.phases.push((Arc::clone(phase_id), Vec::new()));
                    self.phases.len() - 1
                }
            };
        }
        self.phases[self.last].1.push(sample);
    }

    /// The samples of one phase; empty when there are none.
    #[must_use]
    pub fn of_phase(&self, phase_id: &str) -> &[Sample] {
        self.phases
            .iter()
            .find(|(id, _)| **id == *phase_id)
            .map_or(&[], |(_, samples)| samples.as_slice())
    }

    /// All samples, phase by phase.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> + Clone {
        self.phases.iter().flat_map(|(_, samples)| samples)
    }

    /// The samples by phase id.
    #[must_use]
    pub fn by_phase(&self) -> HashMap<&str, Vec<&Sample>> {
        self.phases
            .iter()
            .map(|(id, samples)| (&**id, samples.iter().collect()))
            .collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.phases.iter().map(|(_, samples)| samples.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phases.is_empty()
    }
}

impl Extend<(Arc<str>, Sample)> for TestSamples {
    fn extend<T: IntoIterator<Item = (Arc<str>, Sample)>>(&mut self, samples: T) {
        for (phase_id, sample) in samples {
            self.push(&phase_id, sample);
        }
    }
}
