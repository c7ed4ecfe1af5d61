//! Memory estimates that are shown before anything is measured.

use report::kv_estimate::KvEstimate;
use workload::ContextPlan;

use crate::plan::Plan;
use crate::text::{ContextEstimate, KvEstimates};

/// Values per token of the reference geometry: keys and values × 4 KV heads × 64 dimensions × 48 layers.
const REFERENCE_VALUES_PER_TOKEN: u64 = 2 * 4 * 64 * 48;

/// Both estimates: the working set by the model's name, and one request of each context by a reference geometry.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes are shown with two decimals"
)]
pub(super) fn estimates(plan: &Plan, model: &str) -> KvEstimates {
    let by_name = KvEstimate::of(Some(model), plan.working_set_size);
    let per_token = REFERENCE_VALUES_PER_TOKEN * u64::from(plan.kv_precision.bytes());
    let contexts = plan.context_sizes.iter().map(|&context_size| {
        let context = ContextPlan {
            context_size,
            chunk_size: plan.chunk_size,
            working_set_size: plan.working_set_size,
        };
        let n_prompts = context.num_prompts() as u64;
        ContextEstimate {
            context_size,
            n_prompts,
            request: context_size as f64 * per_token as f64,
            working_set: context.rounded() as f64 * n_prompts as f64 * per_token as f64,
        }
    });
    KvEstimates {
        model_is_known: by_name.recognised,
        working_set_fp8: by_name.fp8_bytes() as f64,
        working_set_fp16: by_name.fp16_bytes() as f64,
        contexts: contexts.collect(),
    }
}
