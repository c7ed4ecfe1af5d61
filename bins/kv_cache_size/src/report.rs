//! What is said on stdout: the original's report with lines added where a model is not plain, or one JSON object.
//!
//! Promise: pure. For a model with full attention of one shape in all layers the text is the original's, byte for byte.

mod architecture;
mod fits;
mod object;

use std::fmt::Write as _;

use cli::number::{human_bytes, thousands};
use cli::table::rule;
use kvcalc::{CacheFormat, ConfigError, ModelGeometry, TokenCount};

use crate::plan::Plan;
use crate::source::Origin;

pub use object::json;

/// Everything that was worked out for a plan.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The whole model.
    pub geometry: ModelGeometry,
    /// What one rank of it holds.
    pub rank: ModelGeometry,
    /// How it is stored.
    pub format: CacheFormat,
    /// Where the config came from.
    pub origin: Origin,
}

/// Width of the rules.
const WIDTH: usize = 80;
const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = MIB * 1024.0;

/// The lines before the config is looked for.
#[must_use]
pub fn opening(model_id: &str) -> String {
    let rule = rule('=', WIDTH);
    format!("{rule}\nKV Cache Size Calculator\n{rule}\n\n📥 Downloading model config: {model_id}\n")
}

/// The lines when there is no config.
#[must_use]
pub fn not_found(model_id: &str, error: &str) -> String {
    format!(
        "❌ Failed to download model config: {error}\n\nPlease verify:\n  1. Model ID is correct: {model_id}\n  2. You have \
         internet connection\n  3. Model exists on HuggingFace Hub\n"
    )
}

/// The lines when the config is not understood.
#[must_use]
pub fn not_understood(model_id: &str, error: &ConfigError) -> String {
    let found = &error.extracted;
    let mut text = String::from(
        "❌ Could not extract all required parameters from model config\n\nExtracted config:\n",
    );
    let _ = writeln!(text, "  model_id: {model_id}");
    for (name, value) in [
        ("num_layers", found.layers),
        ("num_kv_heads", found.kv_heads),
        ("head_dim", found.head_dim),
        ("hidden_size", found.hidden_size),
        ("num_attention_heads", found.attention_heads),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name}: {value}");
        }
    }
    let _ = writeln!(text, "\nReason: {error}");
    text.push_str("Missing parameters - please check model config manually\n");
    text
}

/// The report from the loaded config on.
#[must_use]
pub fn text(plan: &Plan, answer: &Answer) -> String {
    let mut text = String::new();
    if let Origin::Table { reason, .. } = &answer.origin {
        let _ = writeln!(
            text,
            "ℹ️  {reason}: using the built-in table of public models"
        );
    }
    text.push_str("✅ Model config loaded successfully\n\n");
    let thin = rule('-', WIDTH);
    let _ = writeln!(text, "📊 Model Architecture\n{thin}");
    architecture::lines(&mut text, plan, answer);
    let _ = writeln!(text, "\n💾 KV Cache Memory Requirements\n{thin}");
    for &tokens in &plan.tokens {
        requirement(&mut text, plan, answer, tokens);
    }
    fits::section(&mut text, plan, answer);
    notes(&mut text, plan, answer);
    text
}

fn requirement(text: &mut String, plan: &Plan, answer: &Answer, tokens: TokenCount) {
    let (geometry, format) = (&answer.geometry, &answer.format);
    let batch = u128::from(plan.batch);
    let total = geometry.bytes(tokens, format) * batch;
    let per_token = match total.checked_div(tokens.0.into()) {
        Some(bytes) => human(bytes),
        None => cli::number::UNDEFINED.to_owned(),
    };
    let per_layer = geometry.largest_layer_bytes(tokens, format) * batch;
    let _ = writeln!(text, "\n📏 {} tokens:", thousands(tokens.0));
    let _ = writeln!(text, "   Per-layer: {}", human(per_layer));
    let _ = writeln!(text, "   Total:     {}", total_size(total));
    let _ = writeln!(text, "   Per-token: {per_token}");
    if !geometry.is_linear() {
        let marginal = geometry.marginal_bytes(tokens, format) * batch;
        let _ = writeln!(text, "   Marginal:  {}", human(marginal));
    }
    if geometry.layers.iter().any(|layer| layer.state().is_some()) {
        let state = geometry.state_bytes(tokens, format) * batch;
        let _ = writeln!(text, "   State:     {}", human(state));
    }
    if plan.ranks.get() > 1 {
        let rank = answer.rank.bytes(tokens, format) * batch;
        let _ = writeln!(text, "   Per-rank:  {}", total_size(rank));
    }
}

fn notes(text: &mut String, plan: &Plan, answer: &Answer) {
    let (geometry, format) = (&answer.geometry, &answer.format);
    let thick = rule('=', WIDTH);
    let name = format.precision().word().to_uppercase();
    let has_window = geometry
        .layers
        .iter()
        .filter_map(|layer| layer.store())
        .any(|store| store.reach.limit().is_some());
    let growth = if has_window {
        "KV cache grows linearly until the window, then only in full-attention layers"
    } else if !geometry.is_linear() {
        "KV cache grows linearly in attention layers; states have constant size"
    } else {
        "KV cache grows linearly with sequence length"
    };
    let _ = writeln!(text, "\n{thick}\n💡 Notes:\n   • {growth}");
    text.push_str("   • Cache is per request (multiply by concurrent requests for total)\n");
    text.push_str("   • Actual cache size depends on server configuration\n");
    let _ = writeln!(
        text,
        "   • FP8 uses half the memory of FP16 ({name} selected)"
    );
    if geometry
        .attention_heads
        .is_some_and(|heads| geometry.kv_heads < heads)
    {
        text.push_str("   • Model uses GQA (Grouped Query Attention) for memory efficiency\n");
    }
    if has_window {
        text.push_str("   • Servers may keep more than a window (whole blocks, prefill chunks, prefix cache)\n");
    }
    if format.precision() == kvcalc::Precision::Fp4 && format.scales() == kvcalc::Scales::None {
        text.push_str("   • FP4 caches carry block scales, not counted here (see --kv-scales)\n");
    }
    if plan.ranks.get() > 1 {
        text.push_str(
            "   • Total counts each key and value once; Per-rank is what one of the ranks holds\n",
        );
    }
    let _ = writeln!(text, "{thick}");
}

/// Bytes in steps of 1024 with two decimals.
fn human(bytes: u128) -> String {
    human_bytes(bytes as f64)
}

/// A total: exact below a mebibyte, in MB below a gibibyte, else in both.
fn total_size(bytes: u128) -> String {
    let float = bytes as f64;
    match u64::try_from(bytes) {
        Ok(small) if float < MIB => format!("{} bytes", thousands(small)),
        _ if float < GIB => format!("{:.2} MB", float / MIB),
        _ => format!("{:.3} GB ({:.2} MB)", float / GIB, float / MIB),
    }
}

#[cfg(test)]
mod tests;
