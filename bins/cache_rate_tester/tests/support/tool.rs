//! The tool under test.

/// Its name.
pub(crate) const TOOL: &str = "cache_rate_tester";
/// Where it is.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_cache_rate_tester");
/// The smallest run that measures: one level, one window of 1 s and one retry, per rate. Options given behind
/// these replace them.
pub(crate) const QUICK: &str = "--tokenizer builtin --context-sizes 1000 --working-set-size 8000 \
    --output-tokens 4 --start-concurrency 2 --max-concurrency 2 --ramp-duration 1 --test-duration 4 \
    --num-retries 1 --cache-hit-rates 0";
