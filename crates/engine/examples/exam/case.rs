//! Servers and settings drawn by seed, and what is true of them.
//!
//! Every seed is one study: a server, a context size, one hit rate or two, thresholds. Twelve families go round, each
//! with its numbers drawn anew. A threshold is put between the true values of two neighbouring levels, so that which
//! level is the last that holds it is known before the tool has asked.

use std::time::Duration;

use kvcalc::TokenCount;
use metrics::window::{SpeedMetric, TtftMetric};
use ramp::Thresholds;
use sim::model::{EngineConfig, ServiceModel, StepCosts};
use sim::profile::Profile;

use crate::draw::Draw;
use crate::in_process::Words;
use crate::truth::{FILL, Figures, Shape, steady, window};

/// Windows in which a rate is measured, and periods, last at least so many mean request times at the true peak.
pub(crate) const REQUEST_TIMES: u32 = 20;
/// Windows that are too short for a 95th percentile: the first round of a window comes all at once, and in so few it is
/// half of the slowest twentieth.
pub(crate) const SHORT_TIMES: u32 = 40;
/// In so many it makes no difference any more.
pub(crate) const LONG_TIMES: u32 = 120;
/// The same where time is real.
pub(crate) const QUICK_SEARCH_TIMES: u32 = 30;
/// No window is shorter than this.
const SHORTEST_WINDOW: Duration = Duration::from_secs(2);

/// Levels whose true rate is this close to the best are equally good.
pub(crate) const EQUALLY_GOOD: f64 = 0.01;

/// Relative distance between the true values on both sides of a threshold …
const CLEAR: f64 = 0.05;
/// … and where time is real.
const CLEAR_IN_REAL_TIME: f64 = 0.15;

/// Where step times vary by so much, requests that came together have parted before anything is looked at.
const PARTS: f64 = 0.1;

/// What kind of server is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// First token after a fixed time per request in the server.
    Linear,
    /// A limit on running requests; beyond it they queue.
    Queue,
    /// Prefill takes most of the time: throughput has a plateau.
    Prefill,
    /// Decoding takes most of the time; the threshold is on speed.
    Decode,
    /// Thresholds on TTFT and speed.
    Both,
    /// Half of each prompt and more is warm; two hit rates in one study.
    Cached,
    /// Step times vary by ten to thirty percent.
    Noisy,
    /// Step times vary, a part is warm, prompts are taken at random.
    NoisyCached,
    /// No level holds the threshold.
    NonePasses,
    /// All levels hold it, and throughput grows up to the highest.
    AllPass,
    /// Odd starts and increments; the maximum lies between two steps.
    OddGrid,
    /// The mean TTFT is held against the threshold.
    OtherStatistic,
}

impl Family {
    /// All, in the order in which seeds take them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Linear,
        Self::Queue,
        Self::Prefill,
        Self::Decode,
        Self::Both,
        Self::Cached,
        Self::Noisy,
        Self::NoisyCached,
        Self::NonePasses,
        Self::AllPass,
        Self::OddGrid,
        Self::OtherStatistic,
    ];

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear TTFT",
            Self::Queue => "limit of running requests",
            Self::Prefill => "prefill-bound",
            Self::Decode => "decode-bound, speed threshold",
            Self::Both => "both thresholds",
            Self::Cached => "warm prefixes, two rates",
            Self::Noisy => "noisy",
            Self::NoisyCached => "noisy, warm, random prompts",
            Self::NonePasses => "no level passes",
            Self::AllPass => "all levels pass",
            Self::OddGrid => "odd grid of levels",
            Self::OtherStatistic => "mean TTFT",
        }
    }
}

/// One study.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) family: Family,
    pub(crate) engine: EngineConfig,
    pub(crate) context: u64,
    pub(crate) chunk: u64,
    pub(crate) working_set: u64,
    pub(crate) rates: Vec<u32>,
    pub(crate) output: u32,
    pub(crate) start: u32,
    pub(crate) increment: u32,
    pub(crate) max: u32,
    pub(crate) ttft_metric: TtftMetric,
    pub(crate) speed_metric: SpeedMetric,
    pub(crate) random_prompts: bool,
    /// How far apart neighbouring levels must be for a threshold between them.
    clearly: f64,
    /// Mean request times that a search's window lasts at least, and seconds.
    search: (u32, Duration),
}

/// What is true of one hit rate of a case.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// The levels that the tool may come to, ascending.
    pub(crate) levels: Vec<Figures>,
    /// Of each, whether it holds the thresholds.
    holds: Vec<bool>,
    /// The best levels where requests are not sent at once but spread evenly from the start, which in a server without
    /// noise may stay so for ever. Most thresholds lie such that this makes no difference.
    good_when_spread: Vec<u32>,
}

/// The same level, filled at once and spread evenly.
struct Both {
    at_once: Figures,
    spread: Figures,
}

impl Both {
    fn of(engine: &EngineConfig, shape: &Shape, level: u32) -> Self {
        let at_once = steady(engine, shape, level, FILL);
        if engine.jitter_sigma >= PARTS {
            return Self {
                spread: at_once.clone(),
                at_once,
            };
        }
        let spacing = Duration::from_secs_f64(at_once.request_s / f64::from(level));
        Self {
            spread: steady(engine, shape, level, spacing),
            at_once,
        }
    }

    /// Lower and higher of a quantity.
    fn range(&self, value: impl Fn(&Figures) -> f64) -> (f64, f64) {
        let (a, b) = (value(&self.at_once), value(&self.spread));
        (a.min(b), a.max(b))
    }
}

impl Truth {
    /// The level with the highest rate among those that hold the thresholds, and its rate in requests/s.
    pub(crate) fn best(&self) -> Option<&Figures> {
        let passing = self
            .levels
            .iter()
            .zip(&self.holds)
            .filter(|(_, holds)| **holds);
        passing
            .map(|(level, _)| level)
            .max_by(|a, b| a.requests_per_s.total_cmp(&b.requests_per_s))
    }

    /// All levels as good as the best.
    pub(crate) fn good(&self) -> Vec<u32> {
        let mut good = self.good_at_once();
        good.extend(&self.good_when_spread);
        good.sort_unstable();
        good.dedup();
        good
    }

    fn good_at_once(&self) -> Vec<u32> {
        let Some(best) = self.best().map(|best| best.requests_per_s) else {
            return Vec::new();
        };
        let passing = self
            .levels
            .iter()
            .zip(&self.holds)
            .filter(|(_, holds)| **holds);
        passing
            .filter(|(level, _)| level.requests_per_s >= (1.0 - EQUALLY_GOOD) * best)
            .map(|(level, _)| level.level)
            .collect()
    }
}

/// A case with its thresholds and what is true under them.
#[derive(Debug, Clone)]
pub(crate) struct Posed {
    pub(crate) case: Case,
    pub(crate) thresholds: Thresholds,
    /// By hit rate, in the order of the case.
    pub(crate) truths: Vec<Truth>,
    /// Length of a window in which a rate is measured, and of a period.
    pub(crate) window: Duration,
    /// Length of a short window in which a level is judged.
    pub(crate) short_window: Duration,
    /// Length of one that is long enough for that.
    pub(crate) long_window: Duration,
}

impl Posed {
    /// By hit rate, what is true where a level is what windows of this length show of it, their beginning included.
    pub(crate) fn truths_of_windows(&self, words: &Words, length: Duration) -> Vec<Truth> {
        let case = &self.case;
        let of_rate = |rate: &u32| {
            let shape = case.shape(*rate, words.template, &words.questions);
            let levels = case
                .grid()
                .into_iter()
                .map(|level| window(&case.engine, &shape, level, length))
                .collect();
            case.truth(&self.thresholds, levels, Vec::new())
        };
        case.rates.iter().map(of_rate).collect()
    }
}

/// Largest value up to `at`, and smallest behind it; values are from … to.
fn sides(values: &[(f64, f64)], at: usize) -> (f64, f64) {
    let below = values[..=at].iter().map(|range| range.1);
    let above = values[at + 1..].iter().map(|range| range.0);
    (
        below.fold(f64::MIN, f64::max),
        above.fold(f64::MAX, f64::min),
    )
}

/// A place behind which all values are larger than all before it, by at least `clearly`; `None` where there is none: a
/// threshold between two levels that differ by less than a finite window can show has no known answer.
fn border(values: &[(f64, f64)], clearly: f64, draw: &mut Draw) -> Option<usize> {
    let clear: Vec<usize> = (1..values.len() - 1)
        .filter(|at| is_clear(values, *at, clearly))
        .collect();
    (!clear.is_empty()).then(|| draw.one_of(&clear))
}

fn is_clear(values: &[(f64, f64)], at: usize, clearly: f64) -> bool {
    let (below, above) = sides(values, at);
    above >= (1.0 + clearly) * below
}

fn batching(draw: &mut Draw, engine: &mut EngineConfig, prefill: (f64, f64), base: (f64, f64)) {
    engine.service = ServiceModel::Batching(StepCosts {
        base: draw.between(base.0, base.1),
        per_decode_seq: draw.between(0.1e-3, 0.6e-3),
        per_decode_context: draw.between(1e-8, 5e-8),
        per_prefill_token: draw.between(prefill.0, prefill.1),
        per_attended_pair: draw.between(1e-9, 1e-8),
    });
    engine.max_batched_tokens = draw.one_of(&[1024, 2048, 4096]);
    // No server is without: it keeps requests that happened to come together from staying together for ever.
    engine.jitter_sigma = 0.03;
}

impl Case {
    /// The case of a seed, drawn for so many times.
    pub(crate) fn draw(seed: u64, attempt: u64) -> Self {
        let family = Family::ALL[(seed % Family::ALL.len() as u64) as usize];
        let mut draw = Draw::new(seed, &format!("case {attempt}"));
        let mut engine = Profile::Demo.engine();
        engine.seed = seed;
        // Room for whatever is drawn: where the working set ends is another question.
        engine.tiers[0].capacity = TokenCount(100_000_000);
        let chunk = draw.one_of(&[64, 128, 256]);
        let context = draw.whole(4, 10) * 64 + draw.whole(0, 40);
        let output = draw.whole(8, 20) as u32;
        let increment = draw.whole(1, 3) as u32;
        let mut case = Self {
            seed,
            family,
            context,
            chunk,
            working_set: context * draw.whole(3, 12),
            rates: vec![0],
            output,
            start: increment * draw.whole(1, 2) as u32,
            increment,
            max: increment * draw.whole(10, 14) as u32,
            ttft_metric: TtftMetric::P95,
            speed_metric: SpeedMetric::Avg,
            random_prompts: false,
            clearly: CLEAR,
            search: (SHORT_TIMES, SHORTEST_WINDOW),
            engine,
        };
        let warm = |draw: &mut Draw| draw.one_of(&[25, 50, 60, 75, 90]);
        match family {
            Family::Linear => {
                case.engine.service = ServiceModel::Linear {
                    per_active: Duration::from_micros(draw.whole(20_000, 80_000)),
                    per_token: Duration::from_micros(draw.whole(10_000, 60_000)),
                };
                case.rates = vec![draw.one_of(&[0, 50, 100])];
            }
            Family::Queue => {
                batching(&mut draw, &mut case.engine, (10e-6, 40e-6), (15e-3, 40e-3));
                case.engine.max_num_seqs = draw.whole(4, u64::from(case.max) - 3) as usize;
            }
            Family::Prefill | Family::NonePasses => {
                batching(&mut draw, &mut case.engine, (60e-6, 200e-6), (5e-3, 15e-3));
            }
            Family::Decode => {
                batching(&mut draw, &mut case.engine, (5e-6, 20e-6), (10e-3, 30e-3));
                case.speed_metric =
                    draw.one_of(&[SpeedMetric::Avg, SpeedMetric::P5, SpeedMetric::P10]);
            }
            Family::Both => {
                batching(&mut draw, &mut case.engine, (20e-6, 80e-6), (10e-3, 25e-3));
                case.rates = vec![draw.one_of(&[0, 50])];
            }
            Family::Cached => {
                batching(&mut draw, &mut case.engine, (40e-6, 120e-6), (8e-3, 20e-3));
                case.rates = vec![warm(&mut draw), 100];
            }
            Family::Noisy => {
                batching(&mut draw, &mut case.engine, (20e-6, 100e-6), (8e-3, 25e-3));
                case.engine.jitter_sigma = draw.between(0.1, 0.3);
            }
            Family::NoisyCached => {
                batching(&mut draw, &mut case.engine, (40e-6, 120e-6), (8e-3, 20e-3));
                case.engine.jitter_sigma = draw.between(0.1, 0.3);
                case.rates = vec![0, warm(&mut draw)];
                case.random_prompts = true;
            }
            Family::AllPass => {
                if draw.bits().is_multiple_of(2) {
                    case.engine.service = ServiceModel::Fixed {
                        total: Duration::from_micros(draw.whole(700_000, 1_500_000)),
                    };
                } else {
                    batching(&mut draw, &mut case.engine, (5e-6, 15e-6), (20e-3, 40e-3));
                }
            }
            Family::OddGrid => {
                batching(&mut draw, &mut case.engine, (20e-6, 60e-6), (15e-3, 30e-3));
                case.start = draw.whole(1, 5) as u32;
                case.increment = draw.whole(2, 5) as u32;
                case.max = case.start + draw.whole(18, 36) as u32;
            }
            Family::OtherStatistic => {
                batching(&mut draw, &mut case.engine, (20e-6, 60e-6), (15e-3, 30e-3));
                case.engine.jitter_sigma = draw.between(0.02, 0.1);
                case.ttft_metric = TtftMetric::Avg;
            }
        }
        case
    }

    /// The case of a seed for real time: shorter requests, fewer levels, shorter windows.
    pub(crate) fn draw_quick(seed: u64, attempt: u64) -> Self {
        let mut case = Self::draw(seed, attempt);
        let mut draw = Draw::new(seed, "quick");
        case.rates.truncate(1);
        case.output = draw.whole(6, 10) as u32;
        case.increment = 2;
        case.start = 2;
        case.max = draw.whole(12, 16) as u32;
        case.clearly = CLEAR_IN_REAL_TIME;
        case.search = (QUICK_SEARCH_TIMES, Duration::from_secs(4));
        let engine = &mut case.engine;
        engine.max_num_seqs = match case.family {
            Family::Queue => draw.whole(4, 9) as usize,
            _ => engine.max_num_seqs,
        };
        match &mut engine.service {
            ServiceModel::Linear {
                per_active,
                per_token,
            } => {
                *per_active /= 3;
                *per_token /= 3;
            }
            ServiceModel::Fixed { total } => *total /= 4,
            ServiceModel::Batching(costs) => {
                costs.base *= 0.5;
                costs.per_prefill_token *= 0.4;
                costs.per_attended_pair *= 0.4;
            }
        }
        case
    }

    /// Levels that a search on this grid may come to.
    pub(crate) fn grid(&self) -> Vec<u32> {
        let mut levels: Vec<u32> = (self.start..=self.max)
            .step_by(self.increment as usize)
            .collect();
        // A search rounds to multiples of the increment where it cannot go by steps, and always tries the maximum.
        levels.extend((self.start..=self.max).filter(|level| level % self.increment == 0));
        levels.push(self.max);
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// How requests of a hit rate look to the server. `template` is what its chat template adds, `questions` what
    /// stands behind the bodies.
    pub(crate) fn shape(&self, rate: u32, template: u64, questions: &[u64]) -> Shape {
        let rounded = self.context.div_ceil(self.chunk) * self.chunk;
        // The page's formula, by itself: rounded down to whole chunks, all of the rounded prompt at 100 %.
        let cached = if rate == 100 {
            rounded
        } else {
            self.context * u64::from(rate) / 100 / self.chunk * self.chunk
        };
        Shape {
            template,
            body: if rate == 100 { rounded } else { self.context },
            cached,
            questions: questions.to_vec(),
            output: self.output,
            n_prompts: (self.working_set.div_ceil(rounded)).max(1) as usize,
            prompt_tokens: rounded,
        }
    }

    /// The TTFT that is held against a threshold, in the long run.
    pub(crate) fn true_ttft(&self, steady: &Figures) -> f64 {
        match self.ttft_metric {
            TtftMetric::P95 => steady.ttft(0.95),
            TtftMetric::Avg => steady.mean_ttft(),
            TtftMetric::Max => steady.ttft(1.0),
        }
    }

    /// The speed that is held against a threshold, in the long run.
    pub(crate) fn true_speed(&self, steady: &Figures) -> f64 {
        match self.speed_metric {
            SpeedMetric::Avg => steady.mean_speed(),
            SpeedMetric::P5 => steady.speed(0.05),
            SpeedMetric::P10 => steady.speed(0.10),
        }
    }

    /// The first question of a seed that has a known answer. `draw` draws cases, one per attempt.
    pub(crate) fn posed(seed: u64, draw: impl Fn(u64, u64) -> Self, words: &Words) -> Posed {
        (0..)
            .find_map(|attempt| draw(seed, attempt).pose(words.template, &words.questions))
            .expect("there is no end to attempts")
    }

    /// Looks at every level, and puts the thresholds between two of them; `None` where no two differ clearly.
    fn pose(self, template: u64, questions: &[u64]) -> Option<Posed> {
        let mut draw = Draw::new(self.seed, "thresholds");
        let grid = self.grid();
        let curves: Vec<Vec<Both>> = self
            .rates
            .iter()
            .map(|rate| {
                let shape = self.shape(*rate, template, questions);
                grid.iter()
                    .map(|level| Both::of(&self.engine, &shape, *level))
                    .collect()
            })
            .collect();
        let first = &curves[0];
        let ttft: Vec<(f64, f64)> = first
            .iter()
            .map(|level| level.range(|steady| self.true_ttft(steady)))
            .collect();
        // Upside down, so that both quantities rise where a level gets worse.
        let slowness: Vec<(f64, f64)> = first
            .iter()
            .map(|level| level.range(|steady| 1.0 / self.true_speed(steady)))
            .collect();
        let share = draw.between(0.35, 0.65);
        let between = |values: &[(f64, f64)], at: usize| {
            let (below, above) = sides(values, at);
            below + share * (above - below)
        };
        let (mut max_ttft, mut min_speed) = (None, None);
        match self.family {
            Family::NonePasses => max_ttft = Some(0.5 * ttft[0].0),
            Family::AllPass => {
                max_ttft = Some(4.0 * ttft.iter().map(|range| range.1).fold(0.0, f64::max))
            }
            Family::Queue => {
                let limit = self.engine.max_num_seqs as u32;
                let at = grid.iter().filter(|level| **level <= limit).count() - 1;
                if !is_clear(&ttft, at, self.clearly) {
                    return None;
                }
                max_ttft = Some(between(&ttft, at));
            }
            Family::Decode => {
                let at = border(&slowness, self.clearly, &mut draw)?;
                min_speed = Some(1.0 / between(&slowness, at));
            }
            Family::Both => {
                let at = border(&ttft, self.clearly, &mut draw)?;
                max_ttft = Some(between(&ttft, at));
                // The other one binds first, or never.
                let other = border(&slowness, self.clearly, &mut draw)?;
                min_speed = Some(1.0 / between(&slowness, other));
            }
            _ => {
                let at = border(&ttft, self.clearly, &mut draw)?;
                max_ttft = Some(between(&ttft, at));
            }
        }
        let thresholds = Thresholds {
            max_ttft,
            min_speed,
        };
        let truths: Vec<Truth> = curves
            .into_iter()
            .map(|levels| {
                let (at_once, spread) = levels.into_iter().map(|l| (l.at_once, l.spread)).unzip();
                let good_when_spread = self.truth(&thresholds, spread, Vec::new()).good();
                self.truth(&thresholds, at_once, good_when_spread)
            })
            .collect();
        let longest = truths
            .iter()
            .filter_map(|truth| truth.best().map(|best| best.request_s))
            .fold(truths[0].levels[0].request_s, f64::max);
        let lasting = |(times, least): (u32, Duration)| {
            least.max(Duration::from_secs(
                (f64::from(times) * longest).ceil() as u64
            ))
        };
        Some(Posed {
            window: lasting((REQUEST_TIMES, SHORTEST_WINDOW)),
            short_window: lasting(self.search),
            long_window: lasting((LONG_TIMES, SHORTEST_WINDOW)),
            case: self,
            thresholds,
            truths,
        })
    }

    /// What is true of levels that are like this.
    fn truth(
        &self,
        thresholds: &Thresholds,
        levels: Vec<Figures>,
        good_when_spread: Vec<u32>,
    ) -> Truth {
        Truth {
            holds: levels
                .iter()
                .map(|level| self.holds(thresholds, level))
                .collect(),
            levels,
            good_when_spread,
        }
    }

    fn holds(&self, thresholds: &Thresholds, level: &Figures) -> bool {
        thresholds
            .max_ttft
            .is_none_or(|max| self.true_ttft(level) <= max)
            && thresholds
                .min_speed
                .is_none_or(|min| self.true_speed(level) >= min)
    }
}
