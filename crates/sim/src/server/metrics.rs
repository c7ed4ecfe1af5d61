//! The engine's counters in Prometheus' text format, under vLLM's names or SGLang's.
//!
//! Hits in HBM are vLLM's prefix cache hits; hits in lower tiers are its external ones, as an engine with an
//! offloading connector would count them. For SGLang the tiers are its device, host and storage. The
//! simulator's own metrics stand on the page in either style.

use std::fmt::Write as _;

use crate::config::{MetricsStyle, SimConfig};
use crate::model::{EngineConfig, EngineStats};

/// Renders the metrics page.
pub(super) fn render(config: &SimConfig, stats: &EngineStats) -> String {
    let model = escaped(&config.model);
    let labels = match config.metrics {
        MetricsStyle::Vllm => format!("engine=\"0\",model_name=\"{model}\""),
        MetricsStyle::Sglang => {
            format!("engine_type=\"unified\",model_name=\"{model}\",pp_rank=\"0\",tp_rank=\"0\"")
        }
    };
    let mut page = Page {
        labels,
        text: String::new(),
    };
    let cached = Cached::of(stats);
    match config.metrics {
        MetricsStyle::Vllm => vllm(&mut page, &config.engine, stats, &cached),
        MetricsStyle::Sglang => sglang(&mut page, &config.engine, stats, &cached),
    }
    own(&mut page, &config.engine, stats);
    page.text
}

/// Prompt tokens looked up and found.
struct Cached {
    queried: u64,
    hbm: u64,
    lower: u64,
}

impl Cached {
    fn of(stats: &EngineStats) -> Self {
        let tiers = &stats.cache.tiers;
        Self {
            queried: stats.cache.queried_tokens,
            hbm: tiers.first().map_or(0, |tier| tier.hit_tokens),
            lower: tiers.iter().skip(1).map(|tier| tier.hit_tokens).sum(),
        }
    }
}

fn vllm(page: &mut Page, config: &EngineConfig, stats: &EngineStats, cached: &Cached) {
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
    let has_lower = config.tiers.len() > 1;
    let external = if has_lower {
        cached.queried - cached.hbm
    } else {
        0
    };
    for (name, help, value) in [
        (
            "vllm:prefix_cache_queries",
            "Prompt tokens looked up in the prefix cache.",
            cached.queried,
        ),
        (
            "vllm:prefix_cache_hits",
            "Prompt tokens found in the prefix cache.",
            cached.hbm,
        ),
        (
            "vllm:external_prefix_cache_queries",
            "Prompt tokens looked up in lower tiers.",
            external,
        ),
        (
            "vllm:external_prefix_cache_hits",
            "Prompt tokens found in lower tiers.",
            cached.lower,
        ),
        (
            "vllm:num_preemptions",
            "Requests thrown out of the KV cache.",
            stats.preemptions,
        ),
        (
            "vllm:prompt_tokens",
            "Prompt tokens of admitted requests.",
            stats.prompt_tokens,
        ),
        (
            "vllm:generation_tokens",
            "Tokens generated.",
            stats.generation_tokens,
        ),
        (
            "vllm:prompt_tokens_cached",
            "Prompt tokens not computed.",
            cached.hbm + cached.lower,
        ),
    ] {
        page.counter(name, help, value);
    }
    let name = "vllm:prompt_tokens_by_source_total";
    page.header(name, "counter", "Prompt tokens by source.");
    for (source, tokens) in [
        ("local_compute", cached.queried - cached.hbm - cached.lower),
        ("local_cache_hit", cached.hbm),
        ("external_kv_transfer", cached.lower),
    ] {
        page.sample(name, &format!(",source=\"{source}\""), tokens as f64);
    }
    let blocks = config.tiers[0].capacity.full_blocks(config.block_size);
    let info = format!(
        ",block_size=\"{}\",num_gpu_blocks=\"{blocks}\"",
        config.block_size.get()
    );
    let name = "vllm:cache_config_info";
    page.header(name, "gauge", "The cache's configuration.");
    page.sample(name, &info, 1.0);
}

fn sglang(page: &mut Page, config: &EngineConfig, stats: &EngineStats, cached: &Cached) {
    let capacity = config
        .block_size
        .tokens(config.tiers[0].capacity.full_blocks(config.block_size));
    let (_, blocks_in_use) = stats.occupancy.first().copied().unwrap_or_default();
    let used = config.block_size.tokens(blocks_in_use as u64);
    let hit_rate = if cached.queried == 0 {
        0.0
    } else {
        (cached.hbm + cached.lower) as f64 / cached.queried as f64
    };
    for (name, help, value) in [
        (
            "sglang:num_running_reqs",
            "Requests in the batch.",
            stats.running as f64,
        ),
        (
            "sglang:num_queue_reqs",
            "Requests that wait.",
            stats.waiting as f64,
        ),
        (
            "sglang:num_used_tokens",
            "Tokens of running requests in the KV cache.",
            used.get() as f64,
        ),
        (
            "sglang:max_total_num_tokens",
            "Tokens that the KV cache holds.",
            capacity.get() as f64,
        ),
        (
            "sglang:token_usage",
            "KV cache in use; 1 is all of it.",
            stats.kv_usage,
        ),
        (
            "sglang:cache_hit_rate",
            "Cached share of all prompt tokens since the start.",
            hit_rate,
        ),
    ] {
        page.gauge(name, help, value);
    }
    for (name, help, value) in [
        (
            "sglang:prompt_tokens",
            "Prompt tokens of admitted requests.",
            stats.prompt_tokens,
        ),
        (
            "sglang:generation_tokens",
            "Tokens generated.",
            stats.generation_tokens,
        ),
        (
            "sglang:num_requests",
            "Requests completed.",
            stats.completed,
        ),
        (
            "sglang:num_aborted_requests",
            "Requests whose client went away.",
            stats.cancelled,
        ),
        (
            "sglang:num_retracted_requests",
            "Requests thrown out of the KV cache.",
            stats.preemptions,
        ),
    ] {
        page.counter(name, help, value);
    }
    let name = "sglang:cached_tokens_total";
    page.header(name, "counter", "Cached prompt tokens by source.");
    let tiers = &stats.cache.tiers;
    for (index, source) in ["device", "host"].into_iter().enumerate() {
        let tokens = tiers.get(index).map_or(0, |tier| tier.hit_tokens);
        page.sample(name, &format!(",cache_source=\"{source}\""), tokens as f64);
    }
    // A storage is named by what is behind it.
    for (tier, counters) in config.tiers.iter().zip(tiers).skip(2) {
        let label = format!(",cache_source=\"storage_{}\"", escaped(&tier.name));
        page.sample(name, &label, counters.hit_tokens as f64);
    }
}

/// What no engine has a name for.
fn own(page: &mut Page, config: &EngineConfig, stats: &EngineStats) {
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
    let name = "kv_cache_sim:tier_hit_tokens_total";
    page.header(name, "counter", "Prompt tokens found, by tier.");
    for (tier, counters) in config.tiers.iter().zip(&stats.cache.tiers) {
        let label = format!(",tier=\"{}\"", escaped(&tier.name));
        page.sample(name, &label, counters.hit_tokens as f64);
    }
}

/// As a label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
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
