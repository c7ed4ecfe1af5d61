//! The architecture block: the original's lines, and one line for each thing that a plain model does not have.

use std::fmt::Write as _;

use kvcalc::{Layer, ModelGeometry, Reach, Scales, Shape, Store};

use super::{Answer, human};
use crate::plan::Plan;

pub(super) fn lines(text: &mut String, plan: &Plan, answer: &Answer) {
    let (geometry, format) = (&answer.geometry, &answer.format);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}: {value}");
    };
    line("Model", &plan.model_id);
    line("Layers", &geometry.layers.len().to_string());
    line("KV Heads", &geometry.kv_heads.to_string());
    if let Some(heads) = geometry.attention_heads {
        line("Attention Heads", &heads.to_string());
        if geometry.kv_heads < heads && geometry.kv_heads > 0 {
            let ratio = heads / geometry.kv_heads;
            line("GQA Ratio", &format!("{ratio}:1 (Grouped Query Attention)"));
        }
    }
    line("Head Dimension", &geometry.head_dim.to_string());
    if let Some(hidden) = geometry.hidden_size {
        line("Hidden Size", &hidden.to_string());
    }
    line("Precision", &format.precision().word().to_uppercase());
    line("Batch Size", &plan.batch.to_string());
    for (name, value) in added(plan, answer) {
        line(name, &value);
    }
}

/// Lines that a plain model does not have.
fn added(plan: &Plan, answer: &Answer) -> Vec<(&'static str, String)> {
    let (geometry, format) = (&answer.geometry, &answer.format);
    let mut lines = Vec::new();
    if let Some((rank, rope)) = latent(geometry) {
        lines.push((
            "Attention Type",
            format!("MLA (kv_lora_rank {rank} + rope {rope})"),
        ));
    }
    let reaches = reaches(geometry);
    if !geometry.is_plain() && (reaches.len() > 1 || !all_full(geometry)) {
        lines.push(("Attention Layers", listed(&reaches, "none")));
    }
    let shapes = shapes(geometry);
    let has_odd_values = shapes
        .iter()
        .any(|(shape, _)| matches!(shape, Shape::Heads { k_dim, v_dim, .. } if k_dim != v_dim));
    if shapes.len() > 1 || has_odd_values {
        let shapes: Vec<(String, usize)> = shapes
            .iter()
            .map(|(shape, n)| (shape_text(shape), *n))
            .collect();
        lines.push(("Layer Shapes", listed(&shapes, "none")));
    }
    let count = |is: fn(&Layer) -> bool| geometry.layers.iter().filter(|layer| is(layer)).count();
    let n_indexed = geometry
        .layers
        .iter()
        .filter_map(Layer::store)
        .filter(|store| store.index_dim.is_some())
        .count();
    if n_indexed > 0 {
        lines.push((
            "Indexer Layers",
            format!("{n_indexed} (8-bit keys, whatever the precision)"),
        ));
    }
    for (name, n) in [
        (
            "KV-sharing Layers",
            count(|layer| matches!(layer, Layer::Shared)),
        ),
        (
            "Layers without Cache",
            count(|layer| matches!(layer, Layer::Empty)),
        ),
    ] {
        if n > 0 {
            lines.push((name, n.to_string()));
        }
    }
    let states = states(geometry);
    if !states.is_empty() {
        lines.push(("State Layers", listed(&states, "none")));
        lines.push((
            "State Precision",
            format!("{} bytes per element", format.state_bytes()),
        ));
    }
    if let Some(cross) = &geometry.cross {
        let bytes = human(cross.bytes_per_encoder_token(format).into());
        lines.push((
            "Cross Attention",
            format!(
                "{} layers, {bytes} per encoder token (not in the totals)",
                cross.n_layers
            ),
        ));
    }
    if format.scales() != Scales::None {
        lines.push(("KV Scales", format.scales().word().to_owned()));
    }
    if plan.ranks.get() > 1 {
        lines.push(("Tensor Parallel", format!("{} ranks", plan.ranks)));
    }
    lines
}

fn all_full(geometry: &ModelGeometry) -> bool {
    geometry.layers.iter().all(|layer| {
        matches!(
            layer,
            Layer::Attention(Store {
                reach: Reach::Full,
                ..
            })
        )
    })
}

fn latent(geometry: &ModelGeometry) -> Option<(u64, u64)> {
    let mut stores = geometry.layers.iter().filter_map(Layer::store);
    stores.find_map(|store| match store.shape {
        Shape::Latent { rank, rope } => Some((rank, rope)),
        Shape::Heads { .. } => None,
    })
}

/// How many of each, in the order of their first layer, full attention first.
fn counted<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for item in items {
        match counts.iter_mut().find(|(known, _)| *known == item) {
            Some((_, n)) => *n += 1,
            None => counts.push((item, 1)),
        }
    }
    counts
}

fn reaches(geometry: &ModelGeometry) -> Vec<(String, usize)> {
    let stores = geometry.layers.iter().filter_map(Layer::store);
    let mut counts = counted(stores.map(|store| store.reach));
    counts.sort_by_key(|(reach, _)| *reach != Reach::Full);
    counts
        .into_iter()
        .map(|(reach, n)| (reach_text(reach), n))
        .collect()
}

fn reach_text(reach: Reach) -> String {
    match reach {
        Reach::Full => "full".to_owned(),
        Reach::Window(window) => format!("sliding (window {window})"),
        Reach::Chunk(chunk) => format!("chunked (chunk {chunk})"),
    }
}

fn shapes(geometry: &ModelGeometry) -> Vec<(Shape, usize)> {
    counted(
        geometry
            .layers
            .iter()
            .filter_map(Layer::store)
            .map(|store| store.shape),
    )
}

fn shape_text(shape: &Shape) -> String {
    match shape {
        Shape::Heads {
            kv_heads,
            k_dim,
            v_dim,
        } if k_dim == v_dim => {
            format!("with {kv_heads} KV heads of {k_dim}")
        }
        Shape::Heads {
            kv_heads,
            k_dim,
            v_dim,
        } => {
            format!("with {kv_heads} KV heads of {k_dim} (key) and {v_dim} (value)")
        }
        Shape::Latent { rank, rope } => format!("with a latent of {rank} + {rope}"),
    }
}

fn states(geometry: &ModelGeometry) -> Vec<(String, usize)> {
    let labels = geometry
        .layers
        .iter()
        .filter_map(|layer| Some(layer.state()?.label()));
    counted(labels)
        .into_iter()
        .map(|(label, n)| (label.to_owned(), n))
        .collect()
}

/// `10 full, 52 sliding (window 1024)`.
fn listed(counts: &[(String, usize)], nothing: &str) -> String {
    if counts.is_empty() {
        return nothing.to_owned();
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, n)| format!("{n} {name}"))
        .collect();
    parts.join(", ")
}
