//! Documented sets of numbers for the model. `docs/simulator.md` derives each of them.
//!
//! Promises orders of magnitude of the systems they are named after, not predictions: steps add up costs
//! that real hardware partly overlaps.

use std::time::Duration;

use kvcalc::{BlockSize, KvBytesPerToken, TokenCount};

use crate::model::{
    EngineConfig, Eviction, Inclusion, ServiceModel, StepCosts, TierConfig, WritePolicy,
};

/// A named set of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Small and slow enough that contexts of 1,000 to 4,000 tokens show everything within seconds.
    Demo,
    /// An 8B model in 16 bits on one 80 GB H100.
    H100Llama8b,
    /// A 70B model in 16 bits on eight 80 GB H100.
    H100x8Llama70b,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 3] = [Self::Demo, Self::H100Llama8b, Self::H100x8Llama70b];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::H100Llama8b => "h100-8b",
            Self::H100x8Llama70b => "8xh100-70b",
        }
    }

    /// The engine's configuration: one tier, no jitter, seed 0.
    #[must_use]
    pub fn engine(self) -> EngineConfig {
        let n = self.numbers();
        EngineConfig {
            block_size: BlockSize::try_new(16).expect("16 is not zero"),
            kv_bytes_per_token: KvBytesPerToken::new(n.kv_bytes_per_token)
                .expect("every profile's tokens weigh something"),
            tiers: vec![TierConfig {
                name: "hbm".to_owned(),
                capacity: TokenCount(n.hbm_tokens),
                bytes_per_s: 0.0,
                latency: Duration::ZERO,
                eviction: Eviction::Lru,
                ttl: None,
            }],
            write: WritePolicy::Back,
            inclusion: Inclusion::Inclusive,
            store_lag: Duration::ZERO,
            service: ServiceModel::Batching(n.costs),
            max_num_seqs: n.max_num_seqs,
            max_batched_tokens: n.max_batched_tokens,
            jitter_sigma: 0.0,
            seed: 0,
            cache_output: true,
        }
    }

    fn numbers(self) -> Numbers {
        match self {
            Self::Demo => Numbers {
                kv_bytes_per_token: 2_048,
                hbm_tokens: 1_048_576,
                max_num_seqs: 256,
                max_batched_tokens: 2_048,
                costs: StepCosts {
                    base: 4e-3,
                    per_decode_seq: 0.2e-3,
                    per_decode_context: 20e-9,
                    per_prefill_token: 100e-6,
                    per_attended_pair: 5e-9,
                },
            },
            Self::H100Llama8b => Numbers {
                kv_bytes_per_token: 131_072,
                hbm_tokens: 400_000,
                max_num_seqs: 256,
                max_batched_tokens: 8_192,
                costs: StepCosts {
                    base: 6e-3,
                    per_decode_seq: 30e-6,
                    per_decode_context: 49e-9,
                    per_prefill_token: 29.5e-6,
                    per_attended_pair: 1.3e-9,
                },
            },
            Self::H100x8Llama70b => Numbers {
                kv_bytes_per_token: 327_680,
                hbm_tokens: 1_250_000,
                max_num_seqs: 256,
                max_batched_tokens: 8_192,
                costs: StepCosts {
                    base: 10e-3,
                    per_decode_seq: 40e-6,
                    per_decode_context: 17.5e-9,
                    per_prefill_token: 39.7e-6,
                    per_attended_pair: 0.95e-9,
                },
            },
        }
    }
}

struct Numbers {
    kv_bytes_per_token: u32,
    hbm_tokens: u64,
    max_num_seqs: usize,
    max_batched_tokens: u64,
    costs: StepCosts,
}
