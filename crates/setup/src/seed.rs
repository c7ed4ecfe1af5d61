//! The seed of a run.

use anyhow::Context as _;
use cli::Failure;
use report::metadata::SeedFacts;
use workload::Seed;

/// Bits of a seed that is drawn: enough that runs never meet, few enough for every JSON reader.
const DRAWN_BITS: u32 = 48;

/// The seed given, or one nobody has used before, with what the run's files keep of it.
///
/// # Errors
/// When the system gives no random numbers; for a seed outside of 64 bits.
pub fn take(given: Option<i128>) -> Result<(Seed, SeedFacts), Failure> {
    let value = match given {
        Some(value) => value,
        None => {
            let drawn = getrandom::u64().map_err(|e| {
                Failure::run(anyhow::anyhow!("the system gave no random seed: {e}"))
            })?;
            i128::from(drawn >> (u64::BITS - DRAWN_BITS))
        }
    };
    let number = u64::try_from(value)
        .map(serde_json::Number::from)
        .or_else(|_| i64::try_from(value).map(serde_json::Number::from));
    let number = number
        .context("--seed is outside of 64 bits")
        .map_err(Failure::usage)?;
    Ok((
        Seed::new(value),
        SeedFacts {
            value: number,
            given: given.is_some(),
        },
    ))
}
