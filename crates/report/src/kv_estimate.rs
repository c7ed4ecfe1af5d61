//! Rough size of the KV cache of a working set, from the model's name.
//!
//! One table for pages and consoles. It is an estimate by name and says so; the exact size follows from
//! a model's geometry, which is another tool's work.

/// Bytes of one token at one byte per element (FP8) by a part of the lower-cased model name; the first
/// entry that fits counts.
const BYTES_PER_TOKEN: [(&str, u64); 7] = [
    ("llama-3.3-70b", 160_000),
    ("llama-3.1-70b", 160_000),
    ("llama-3.3-8b", 32_000),
    ("llama-3.1-8b", 32_000),
    ("qwen3-coder-30b", 60_000),
    ("qwen2.5-coder-32b", 60_000),
    ("qwen3-coder-480b", 124_000),
];

/// Bytes of one token of a model that the table does not know.
const UNKNOWN_BYTES_PER_TOKEN: u64 = 160_000;

/// Estimated KV memory of a number of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvEstimate {
    /// Tokens it is for.
    pub tokens: u64,
    /// Bytes of one token at one byte per element.
    pub bytes_per_token: u64,
    /// Whether the model's name was found in the table.
    pub recognised: bool,
}

impl KvEstimate {
    /// Estimate for `tokens` tokens of the model of this name.
    #[must_use]
    pub fn of(model: Option<&str>, tokens: u64) -> Self {
        let name = model.unwrap_or_default().to_lowercase();
        let found = BYTES_PER_TOKEN.iter().find(|(part, _)| name.contains(part));
        Self {
            tokens,
            bytes_per_token: found.map_or(UNKNOWN_BYTES_PER_TOKEN, |entry| entry.1),
            recognised: found.is_some(),
        }
    }

    /// Bytes at one byte per element.
    #[must_use]
    pub fn fp8_bytes(self) -> u64 {
        self.tokens.saturating_mul(self.bytes_per_token)
    }

    /// Bytes at two bytes per element.
    #[must_use]
    pub fn fp16_bytes(self) -> u64 {
        self.fp8_bytes().saturating_mul(2)
    }
}

/// A size in units of 1024, two decimals: `1.19 GB`.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{KvEstimate, human_size};

    #[test]
    fn sizes_follow_the_table_by_part_of_the_name() {
        for (model, tokens, fp8, fp16, recognised) in [
            (None, 4_000, "610.35 MB", "1.19 GB", false),
            (Some("mock-model"), 8_000, "1.19 GB", "2.38 GB", false),
            (
                Some("meta-llama/Llama-3.1-8B-Instruct"),
                1_000,
                "30.52 MB",
                "61.04 MB",
                true,
            ),
            (
                Some("Qwen/Qwen3-Coder-480B-A35B"),
                1_000_000,
                "115.48 GB",
                "230.97 GB",
                true,
            ),
        ] {
            let estimate = KvEstimate::of(model, tokens);
            assert_eq!(human_size(estimate.fp8_bytes()), fp8, "{model:?}");
            assert_eq!(human_size(estimate.fp16_bytes()), fp16, "{model:?}");
            assert_eq!(estimate.recognised, recognised);
        }
        assert_eq!(human_size(0), "0.00 B");
        assert_eq!(human_size(u64::MAX), "16384.00 PB");
    }
}
