//! What transformers' config classes fill in for keys that a `config.json` leaves out.
//!
//! The table is `data/class_defaults.json`, written by `scripts/kv_cache/class_defaults.py` from the class attributes of
//! the release it names. Numbers and flags only.

use serde_json::{Map, Value};

const TABLE: &str = include_str!("../../data/class_defaults.json");

fn table() -> Map<String, Value> {
    serde_json::from_str(TABLE).expect("the table is part of the program and a test reads it")
}

/// The defaults of one model type.
pub(super) fn of(model_type: &str) -> Option<Map<String, Value>> {
    match table().remove(model_type) {
        Some(Value::Object(values)) => Some(values),
        _ => None,
    }
}

/// Whether the table has the model type.
pub(super) fn has(model_type: &str) -> bool {
    table().contains_key(model_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read_and_holds_the_families_people_run() {
        for family in [
            "llama",
            "mistral",
            "mixtral",
            "qwen2",
            "qwen3",
            "qwen3_next",
            "gemma2",
            "gemma3_text",
            "gemma3n_text",
            "gemma4_text",
            "gpt_oss",
            "cohere2",
            "llama4_text",
            "phi3",
            "starcoder2",
            "olmo3",
            "exaone4",
            "deepseek_v3",
            "jamba",
            "falcon",
            "gpt2",
            "gpt_bigcode",
            "t5",
            "whisper",
        ] {
            assert!(
                of(family).is_some_and(|values| !values.is_empty()),
                "{family}"
            );
        }
        assert!(of("no such family").is_none());
    }
}
