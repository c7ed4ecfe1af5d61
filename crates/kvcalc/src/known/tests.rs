//! The table against itself, against sums worked out by hand, and against what others measured or published.

use std::collections::BTreeSet;

use super::*;
use crate::{CacheFormat, Layer, Precision, Reach, Scales, TokenCount};

/// A row with what only tests read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ids: Vec<String>,
    config: Value,
    /// Bytes of the first token without states, in 16 bits.
    fp16_first: u64,
    /// Bytes that the next token adds beyond all windows, in 16 bits.
    fp16_growth: u64,
    /// Bytes of all states with 2-byte elements.
    state_16: Option<u128>,
    #[serde(default)]
    checks: Vec<Check>,
}

/// What somebody else says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    tokens: u64,
    /// Bytes of the whole cache, as exactly as the source prints them.
    bytes: Option<u64>,
    /// The same without states.
    kv_bytes: Option<u64>,
    tolerance: Option<u64>,
    /// Bytes per token of growth.
    growth: Option<u64>,
    recurrent_elements: Option<u64>,
    convolution_elements: Option<u64>,
    #[serde(default)]
    precision: Option<String>,
    #[serde(default)]
    scales: Option<String>,
    /// False where the engine kept all tokens in layers with a window.
    #[serde(default)]
    windows: Option<bool>,
    shown: String,
    source: String,
}

fn rows() -> Vec<Row> {
    serde_json::from_str(TABLE).unwrap()
}

fn fp16() -> CacheFormat {
    CacheFormat::new(Precision::Fp16)
}

#[test]
fn there_are_at_least_thirty_models_and_ten_with_a_source_that_is_not_our_formula() {
    let rows = rows();
    assert!(rows.len() >= 30, "{}", rows.len());
    let sourced = rows.iter().filter(|row| !row.checks.is_empty());
    assert!(sourced.count() >= 10);
    for check in rows.iter().flat_map(|row| &row.checks) {
        assert!(!check.source.is_empty() && !check.shown.is_empty());
    }
}

#[test]
fn no_id_stands_in_two_rows() {
    let mut seen = BTreeSet::new();
    for id in rows().iter().flat_map(|row| &row.ids) {
        assert!(seen.insert(id.to_lowercase()), "{id}");
    }
}

#[test]
fn ids_are_found_in_any_case() {
    assert!(find("meta-llama/llama-3.3-70b-instruct").is_some());
    assert!(find("meta-llama/Llama-3.3-70B-Instruct").is_some());
    assert!(find("meta-llama/Llama-3.3-70B").is_none());
}

#[test]
fn bytes_per_token_are_those_worked_out_by_hand() {
    for row in rows() {
        let geometry = ModelGeometry::from_config(&row.config)
            .unwrap_or_else(|error| panic!("{}: {error}", row.ids[0]));
        let id = &row.ids[0];
        assert_eq!(
            geometry.bytes_per_token_within_windows(&fp16()),
            row.fp16_first,
            "{id}"
        );
        assert_eq!(geometry.growth_per_token(&fp16()), row.fp16_growth, "{id}");
        let far = TokenCount(10_000_000);
        assert_eq!(
            geometry.marginal_bytes(far, &fp16()),
            u128::from(row.fp16_growth),
            "{id}"
        );
        assert_eq!(
            geometry.state_bytes(TokenCount(1), &fp16()),
            row.state_16.unwrap_or(0),
            "{id}"
        );
        assert_eq!(
            geometry.bytes(TokenCount(1), &fp16()),
            u128::from(row.fp16_first) + row.state_16.unwrap_or(0),
            "{id}"
        );
    }
}

/// The geometry as an engine without window support sees it.
fn without_windows(mut geometry: ModelGeometry) -> ModelGeometry {
    for layer in &mut geometry.layers {
        if let Layer::Attention(store) | Layer::Both(store, _) = layer {
            store.reach = Reach::Full;
        }
    }
    geometry
}

#[test]
fn what_engines_allocated_and_others_published_agrees_to_their_last_digit() {
    let mut n_checks = 0;
    for row in rows() {
        let geometry = ModelGeometry::from_config(&row.config).unwrap();
        for check in &row.checks {
            let what = format!("{}: {} ({})", row.ids[0], check.shown, check.source);
            let precision = check.precision.as_deref().unwrap_or("fp16");
            let scales = check.scales.as_deref().unwrap_or("none");
            let format = CacheFormat::new(Precision::parse(precision).unwrap())
                .with_scales(Scales::parse(scales).unwrap())
                .unwrap();
            let geometry = match check.windows {
                Some(false) => without_windows(geometry.clone()),
                _ => geometry.clone(),
            };
            let tokens = TokenCount(check.tokens);
            let total = geometry.bytes(tokens, &format);
            let states = geometry.state_bytes(tokens, &format);
            let tolerance = u128::from(check.tolerance.unwrap_or(0));
            for (ours, theirs) in [(total, check.bytes), (total - states, check.kv_bytes)] {
                let Some(theirs) = theirs else { continue };
                assert!(
                    ours.abs_diff(theirs.into()) <= tolerance,
                    "{what}: {ours} against {theirs}"
                );
                n_checks += 1;
            }
            if let Some(growth) = check.growth {
                assert_eq!(geometry.growth_per_token(&format), growth, "{what}");
                n_checks += 1;
            }
            let states = || geometry.layers.iter().filter_map(Layer::state);
            if let Some(elements) = check.recurrent_elements {
                assert_eq!(
                    states().map(|s| s.recurrent()).sum::<u64>(),
                    elements,
                    "{what}"
                );
                n_checks += 1;
            }
            if let Some(elements) = check.convolution_elements {
                assert_eq!(
                    states().map(|s| s.convolution()).sum::<u64>(),
                    elements,
                    "{what}"
                );
                n_checks += 1;
            }
        }
    }
    assert!(n_checks >= 18, "{n_checks}");
}

#[test]
fn every_tolerance_is_finer_than_half_a_layer() {
    // A check that would also pass with one layer more or less proves nothing.
    for row in rows() {
        let n_layers = ModelGeometry::from_config(&row.config)
            .unwrap()
            .layers
            .len() as u64;
        for check in &row.checks {
            if let (Some(bytes), Some(tolerance)) = (check.bytes, check.tolerance) {
                assert!(tolerance * 2 * n_layers < bytes, "{}", row.ids[0]);
            }
        }
    }
}
