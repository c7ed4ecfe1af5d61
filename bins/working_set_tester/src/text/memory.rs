//! Lines on the KV cache that the working sets take, in the wording that people know from the originals.

use cli::logging::{Line, Style};
use cli::number::thousands;
use setup::study::memory::{LARGE_CACHE_BYTES, bytes};
use setup::study::text::{config, heading};
use setup::study::{KvModel, StudyOptions};
use workload::ContextPlan;

use crate::plan::Plan;

/// Bytes of a megabyte and of a gigabyte, as everywhere in these lines.
const MEGABYTE: f64 = 1024.0 * 1024.0;
const GIGABYTE: f64 = 1024.0 * MEGABYTE;

/// How sizes are known, the largest working set at both precisions, and one request of each context at the precision
/// asked for, with the range of its working sets.
#[must_use]
pub fn memory(plan: &Plan, model: &KvModel) -> Vec<Line> {
    let common = &plan.common;
    let contexts = common.contexts(plan.last_size());
    let mut lines: Vec<Line> = model.source().into_iter().collect();
    let (fp8, fp16) = model.working_set(&contexts);
    lines.push(config(format!(
        "KV Cache size estimates for {} tokens:",
        thousands(plan.last_size())
    )));
    lines.push(config(format!("  FP8:  {}", bytes(fp8))));
    lines.push(config(format!("  FP16: {}", bytes(fp16))));
    if fp8 > LARGE_CACHE_BYTES {
        lines.push(Line::warning(format!(
            "The largest working set needs {} of KV cache even at FP8, which HBM and DRAM together may not hold",
            bytes(fp8)
        )));
    }
    lines.push(heading("KV Cache Memory Requirements (Per Request)"));
    let smallest = common.contexts(plan.first_size());
    lines.extend(
        smallest
            .iter()
            .zip(&contexts)
            .flat_map(|(smallest, largest)| of_context(smallest, largest, common, model)),
    );
    lines
}

/// One request of a context, and its smallest and its largest set.
fn of_context(
    smallest: &ContextPlan,
    largest: &ContextPlan,
    options: &StudyOptions,
    model: &KvModel,
) -> [Line; 2] {
    let one = model.prompts(1, smallest.context_size, options.kv_precision) as f64;
    let set = |context: &ContextPlan| {
        let n_prompts = context.num_prompts() as u64;
        let all = model.prompts(n_prompts, context.rounded(), options.kv_precision);
        format!("{} ({} prompts)", bytes(all), thousands(n_prompts))
    };
    let plain = |text: String| Line::styled(Style::Config, text);
    [
        plain(format!(
            "Context {:>7} tokens: {:>8.2} MB ({:.3} GB) per request",
            thousands(smallest.context_size),
            one / MEGABYTE,
            one / GIGABYTE
        )),
        plain(format!(
            "  Working sets: {} to {}",
            set(smallest),
            set(largest)
        )),
    ]
}
