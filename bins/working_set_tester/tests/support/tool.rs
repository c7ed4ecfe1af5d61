//! The tool under test.

/// Its name.
pub(crate) const TOOL: &str = "working_set_tester";
/// Where it is.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_working_set_tester");
/// The smallest run that measures: two sizes, one level, one window of 1 s each. Options given behind these replace
/// them.
pub(crate) const QUICK: &str = "--tokenizer builtin --context-sizes 512 --min-working-set-size 1024 \
    --max-working-set-size 2048 --working-set-increments 2 --output-tokens 4 --cache-hit-rates 100 --mode fixed \
    --fixed-concurrency-levels 2 --ramp-duration 1 --test-duration 4 --num-retries 0";
