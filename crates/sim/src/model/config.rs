//! What an engine is made of: tiers, costs, limits. Plain values, checked once.
//!
//! There is no `Default`: a configuration starts from a documented [profile](crate::profile) or from
//! explicit numbers.

use std::time::Duration;

use kvcalc::{BlockSize, KvBytesPerToken, TokenCount};

/// Everything the model needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Tokens per KV block.
    pub block_size: BlockSize,
    /// KV bytes of one token over all layers; decides how long a load from a lower tier takes.
    pub kv_bytes_per_token: KvBytesPerToken,
    /// The memory tiers, fastest first. The first is the accelerator's own memory (HBM): running requests
    /// live there, and a hit in it costs nothing.
    pub tiers: Vec<TierConfig>,
    /// When blocks are copied to the tier below HBM.
    pub write: WritePolicy,
    /// Whether a block loaded into HBM also stays where it came from.
    pub inclusion: Inclusion,
    /// Time from the start of a store into a lower tier until the block there can be hit.
    pub store_lag: Duration,
    /// How long things take.
    pub service: ServiceModel,
    /// Requests that may run (or load) at once; the others queue. Used by [`ServiceModel::Batching`].
    pub max_num_seqs: usize,
    /// Tokens (decode and prefill together) in one step. Used by [`ServiceModel::Batching`].
    pub max_batched_tokens: u64,
    /// Standard deviation of the logarithm of the step-time jitter; 0 for none.
    pub jitter_sigma: f64,
    /// Seed of the jitter.
    pub seed: u64,
    /// Whether blocks of generated tokens can be hit by later prompts that repeat them.
    pub cache_output: bool,
}

/// One memory tier.
#[derive(Clone, Debug, PartialEq)]
pub struct TierConfig {
    /// Its name in metrics and truth.
    pub name: String,
    /// Tokens that it holds; rounded down to whole blocks.
    pub capacity: TokenCount,
    /// Bandwidth towards HBM, shared by all loads from this tier. Not used for the first tier.
    pub bytes_per_s: f64,
    /// Fixed time before a load's first byte. Not used for the first tier.
    pub latency: Duration,
    /// Which block goes when room is needed.
    pub eviction: Eviction,
    /// Age since last use after which a block is no longer a hit; `None` for never.
    pub ttl: Option<Duration>,
}

/// Which block leaves a full tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The one not used for longest; of one request's blocks the last goes first, so that heads survive.
    Lru,
    /// The one that was inserted first.
    Fifo,
}

/// When blocks reach the tier below HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePolicy {
    /// As soon as they are in HBM.
    Through,
    /// When HBM evicts them.
    Back,
}

/// Whether tiers hold copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inclusion {
    /// A block loaded into HBM stays in the tier that it came from.
    Inclusive,
    /// A block is in one tier at a time.
    Exclusive,
}

/// How service times come about.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceModel {
    /// Continuous batching in steps, as real engines work.
    Batching(StepCosts),
    /// No queue and no shared compute: the first token comes after `per_active × requests in the engine`
    /// (itself included, counted on arrival), each further one `per_token` later. For tests that need times
    /// which are known in advance.
    Linear {
        /// Delay of the first token for each request in the engine.
        per_active: Duration,
        /// Gap between further tokens.
        per_token: Duration,
    },
    /// Every request takes exactly this long, whatever the load; its tokens are spread evenly.
    Fixed {
        /// From arrival to the last token.
        total: Duration,
    },
}

/// The parts of a step's duration, in seconds.
///
/// A step takes the sum of: `base`; `per_decode_seq` for each decoding sequence; `per_decode_context` for each
/// token of their contexts; `per_prefill_token` for each prefilled token; `per_attended_pair` for each pair of
/// a prefilled token and an earlier one. A chunk that takes a prompt from token a to token b has (b² − a²)/2
/// pairs, so that the sum over chunks does not depend on where they were cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepCosts {
    /// Seconds of any step.
    pub base: f64,
    /// Seconds per sequence that decodes in the step.
    pub per_decode_seq: f64,
    /// Seconds per token of context of each decoding sequence (reading its KV cache).
    pub per_decode_context: f64,
    /// Seconds per prefilled token.
    pub per_prefill_token: f64,
    /// Seconds per attended pair in prefill: the term that is quadratic in the context.
    pub per_attended_pair: f64,
}

/// A configuration that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// No tier.
    #[error("at least one tier is needed: the first is the accelerator's memory")]
    NoTier,
    /// A tier smaller than a block.
    #[error("tier {name} holds {capacity}, less than one block of {block_size}")]
    TierTooSmall {
        /// The tier.
        name: String,
        /// Its capacity.
        capacity: TokenCount,
        /// Tokens per block.
        block_size: u32,
    },
    /// Two tiers of one name.
    #[error("two tiers are called {0}")]
    DuplicateTier(String),
    /// A lower tier without bandwidth.
    #[error("tier {0} needs a bandwidth above 0")]
    NoBandwidth(String),
    /// Copies are made at once, but no copies may exist.
    #[error(
        "write-through makes copies, which exclusive tiers do not allow; choose write-back or inclusive tiers"
    )]
    ThroughIntoExclusive,
    /// Lower tiers where no loading is modelled.
    #[error(
        "tiers below the first need the batching service model; linear and fixed times have no loads"
    )]
    TiersWithoutLoads,
    /// A limit of zero.
    #[error("{0} must be at least 1")]
    ZeroLimit(&'static str),
    /// A cost or a sigma that is negative or not a number.
    #[error("{0} must be a number of at least 0")]
    BadNumber(&'static str),
}

impl EngineConfig {
    /// Checks the rules that need more than one value.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.tiers.is_empty() {
            return Err(ConfigError::NoTier);
        }
        for (index, tier) in self.tiers.iter().enumerate() {
            if tier.capacity.full_blocks(self.block_size) == 0 {
                return Err(ConfigError::TierTooSmall {
                    name: tier.name.clone(),
                    capacity: tier.capacity,
                    block_size: self.block_size.get(),
                });
            }
            if self.tiers[..index]
                .iter()
                .any(|other| other.name == tier.name)
            {
                return Err(ConfigError::DuplicateTier(tier.name.clone()));
            }
            let flows = tier.bytes_per_s > 0.0 && tier.bytes_per_s.is_finite();
            if index > 0 && !flows {
                return Err(ConfigError::NoBandwidth(tier.name.clone()));
            }
        }
        if self.tiers.len() > 1
            && self.write == WritePolicy::Through
            && self.inclusion == Inclusion::Exclusive
        {
            return Err(ConfigError::ThroughIntoExclusive);
        }
        let mut numbers = vec![("the jitter", self.jitter_sigma)];
        match &self.service {
            ServiceModel::Batching(costs) => numbers.extend([
                ("the base step time", costs.base),
                ("the decode cost", costs.per_decode_seq),
                ("the decode context cost", costs.per_decode_context),
                ("the prefill cost", costs.per_prefill_token),
                ("the attention cost", costs.per_attended_pair),
            ]),
            ServiceModel::Linear { .. } | ServiceModel::Fixed { .. } if self.tiers.len() > 1 => {
                return Err(ConfigError::TiersWithoutLoads);
            }
            ServiceModel::Linear { .. } | ServiceModel::Fixed { .. } => {}
        }
        for (name, number) in numbers {
            if !number.is_finite() || number < 0.0 {
                return Err(ConfigError::BadNumber(name));
            }
        }
        if self.max_num_seqs == 0 {
            return Err(ConfigError::ZeroLimit("the number of sequences"));
        }
        if self.max_batched_tokens == 0 {
            return Err(ConfigError::ZeroLimit("the number of batched tokens"));
        }
        Ok(())
    }
}
