//! The engine's counters in Prometheus' text format, under vLLM's names.
//!
//! Hits in HBM are vLLM's prefix cache hits; hits in lower tiers are its external ones, as an engine with an
//! offloading connector would count them.

use std::fmt::Write as _;

use crate::model::{EngineConfig, EngineStats};

/// Renders the metrics page.
pub(super) fn render(model: &str, config: &EngineConfig, stats: &EngineStats) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"");
    let mut page = Page {
        labels: format!("engine=\"0\",model_name=\"{model}\""),
        text: String::new(),
    };
    let tiers = &stats.cache.tiers;
    let hbm_hits = tiers.first().map_or(0, |tier| tier.hit_tokens);
    let lower_hits: u64 = tiers.iter().skip(1).map(|tier| tier.hit_tokens).sum();
    let queried = stats.cache.queried_tokens;
    let has_lower = tiers.len() > 1;
    page.gauge(
        "vllm:num_requests_running",
        "Requests in the batch.",
        stats.running as f64,
    );
    page.gauge(
        "vllm:num_requests_waiting",
        "Requests that wait.",
        stats.waiting as f64,
    );
    page.gauge(
        "vllm:kv_cache_usage_perc",
        "KV cache in use; 1 is all of it.",
        stats.kv_usage,
    );
    page.counter(
        "vllm:prefix_cache_queries",
        "Prompt tokens looked up in the prefix cache.",
        queried,
    );
    page.counter(
        "vllm:prefix_cache_hits",
        "Prompt tokens found in the prefix cache.",
        hbm_hits,
    );
    let external = if has_lower { queried - hbm_hits } else { 0 };
    page.counter(
        "vllm:external_prefix_cache_queries",
        "Prompt tokens looked up in lower tiers.",
        external,
    );
    page.counter(
        "vllm:external_prefix_cache_hits",
        "Prompt tokens found in lower tiers.",
        lower_hits,
    );
    page.counter(
        "vllm:num_preemptions",
        "Requests thrown out of the KV cache.",
        stats.preemptions,
    );
    page.counter(
        "vllm:prompt_tokens",
        "Prompt tokens of admitted requests.",
        stats.prompt_tokens,
    );
    page.counter(
        "vllm:generation_tokens",
        "Tokens generated.",
        stats.generation_tokens,
    );
    page.counter(
        "vllm:prompt_tokens_cached",
        "Prompt tokens not computed.",
        hbm_hits + lower_hits,
    );
    page.counter(
        "kv_cache_sim:requests_completed",
        "Requests completed.",
        stats.completed,
    );
    page.counter(
        "kv_cache_sim:requests_cancelled",
        "Requests whose client went away.",
        stats.cancelled,
    );
    page.counter("kv_cache_sim:steps", "Engine steps.", stats.steps);
    let name = "vllm:prompt_tokens_by_source_total";
    page.header(name, "counter", "Prompt tokens by source.");
    for (source, tokens) in [
        ("local_compute", queried - hbm_hits - lower_hits),
        ("local_cache_hit", hbm_hits),
        ("external_kv_transfer", lower_hits),
    ] {
        page.sample(name, &format!(",source=\"{source}\""), tokens as f64);
    }
    let name = "kv_cache_sim:tier_hit_tokens_total";
    page.header(name, "counter", "Prompt tokens found, by tier.");
    for (tier, counters) in config.tiers.iter().zip(tiers) {
        let label = tier.name.replace('\\', "\\\\").replace('"', "\\\"");
        page.sample(
            name,
            &format!(",tier=\"{label}\""),
            counters.hit_tokens as f64,
        );
    }
    let blocks = config.tiers[0].capacity.full_blocks(config.block_size);
    let info = format!(
        ",block_size=\"{}\",num_gpu_blocks=\"{blocks}\"",
        config.block_size.get()
    );
    page.header(
        "vllm:cache_config_info",
        "gauge",
        "The cache's configuration.",
    );
    page.sample("vllm:cache_config_info", &info, 1.0);
    page.text
}

struct Page {
    labels: String,
    text: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.header(name, "gauge", help);
        self.sample(name, "", value);
    }

    /// A counter's samples end in `_total`.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.header(&name, "counter", help);
        self.sample(&name, "", value as f64);
    }

    fn header(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("writing to a String cannot fail");
    }

    fn sample(&mut self, name: &str, more_labels: &str, value: f64) {
        // `{:?}` writes 3.0 and not 3, as Python's exporter does.
        writeln!(
            self.text,
            "{name}{{{}{more_labels}}} {value:?}",
            self.labels
        )
        .expect("writing to a String cannot fail");
    }
}
