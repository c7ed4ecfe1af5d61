//! Laws of the tiers that only show when leases overlap, and that need to see every block.

use kvcalc::{KvBytesPerToken, TokenCount};
use proptest::prelude::*;

use super::*;
use crate::model::config::{Eviction, ServiceModel, TierConfig};
use crate::model::hash::PromptBlocks;

const SIZE: u32 = 2;

fn config(blocks: &[u64], inclusion: Inclusion) -> EngineConfig {
    let tier = |(index, blocks): (usize, &u64)| TierConfig {
        name: format!("tier{index}"),
        capacity: TokenCount(blocks * u64::from(SIZE)),
        bytes_per_s: 1.0,
        latency: Duration::ZERO,
        eviction: Eviction::Lru,
        ttl: None,
    };
    EngineConfig {
        block_size: BlockSize::try_new(SIZE).unwrap(),
        kv_bytes_per_token: KvBytesPerToken::new(1).unwrap(),
        tiers: blocks.iter().enumerate().map(tier).collect(),
        write: WritePolicy::Back,
        inclusion,
        store_lag: Duration::ZERO,
        service: ServiceModel::Fixed {
            total: Duration::ZERO,
        },
        max_num_seqs: 1,
        max_batched_tokens: 1,
        jitter_sigma: 0.0,
        seed: 0,
        cache_output: false,
    }
}

/// A path through a tree with two branches at every block: prompts share prefixes.
fn hashes(path: &[bool]) -> Vec<BlockHash> {
    let ids: Vec<u32> = path
        .iter()
        .flat_map(|branch| [u32::from(*branch); SIZE as usize])
        .collect();
    PromptBlocks::new(&ids, BlockSize::try_new(SIZE).unwrap())
        .hashes()
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// However leases overlap, load, finish and are given up: with exclusive tiers a block is in at most one
    /// tier once nobody holds anything, and with any tiers nothing stays in use.
    #[test]
    fn exclusive_tiers_hold_each_block_once(
        operations in prop::collection::vec((prop::collection::vec(any::<bool>(), 1..6), 0usize..5, 0u8..5), 1..80),
        blocks in prop::collection::vec(6u64..14, 2..4),
        exclusive in any::<bool>(),
    ) {
        let inclusion = if exclusive { Inclusion::Exclusive } else { Inclusion::Inclusive };
        let mut cache = PrefixCache::new(&config(&blocks, inclusion));
        let mut leases: Vec<(Vec<BlockHash>, Lease)> = Vec::new();
        let mut known = Vec::new();
        let now = Duration::ZERO;
        for (path, pick, operation) in operations {
            if operation < 2 || leases.is_empty() {
                let hashes = hashes(&path);
                known.extend(hashes.iter().copied());
                if let Some(lease) = cache.acquire(&hashes, hashes.len(), hashes.len(), now) {
                    leases.push((hashes, lease));
                }
                continue;
            }
            let index = pick % leases.len();
            if let Some(tier) = PrefixCache::next_load_tier(&leases[index].1) {
                if operation < 4 {
                    cache.finish_load(&mut leases[index].1, tier, now);
                    continue;
                }
            } else if operation < 4 {
                let (hashes, lease) = &mut leases[index];
                for (position, hash) in hashes.iter().enumerate() {
                    cache.promote(lease, position, *hash, now);
                }
            }
            let (_, lease) = leases.swap_remove(index);
            cache.release(lease, now);
        }
        for (_, lease) in leases {
            cache.release(lease, now);
        }
        prop_assert!(cache.occupancy().iter().all(|(_, in_use)| *in_use == 0));
        if exclusive {
            for hash in known {
                let holders = cache.tiers.iter().filter(|tier| tier.contains(hash)).count();
                prop_assert!(holders <= 1, "{} tiers hold {}", holders, hash);
            }
        }
    }
}
