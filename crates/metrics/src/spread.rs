//! Spreads a request's output tokens over its text chunks.
//!
//! Promise: the parts always sum to the total, whatever the weights (the
//! originals re-encoded each chunk and could double the count). Not exact per chunk: a server that does not
//! count per chunk leaves only the length of the text to go by.

/// Tokens of each chunk, given the request's total and the chunks' text lengths in bytes.
///
/// A chunk with text holds at least one token as long as there are enough to go round, so a server that
/// streams one token per chunk is reproduced exactly; what is left over is spread by text length with
/// cumulative rounding. Fewer tokens than chunks are spread by text length alone.
#[must_use]
pub fn spread_tokens(total: u64, text_bytes: &[u32]) -> Vec<u64> {
    let n_chunks = text_bytes.len() as u64;
    if n_chunks == 0 {
        return Vec::new();
    }
    let (floor, rest) = if total >= n_chunks {
        (1, total - n_chunks)
    } else {
        (0, total)
    };
    // Without any text the chunks weigh the same.
    let all_empty = text_bytes.iter().all(|&b| b == 0);
    let weight = |bytes: u32| if all_empty { 1 } else { u128::from(bytes) };
    let whole: u128 = text_bytes.iter().map(|&b| weight(b)).sum();
    let mut weight_so_far = 0;
    let mut given_so_far = 0;
    text_bytes
        .iter()
        .map(|&bytes| {
            weight_so_far += weight(bytes);
            // Rounded to nearest in integers; at the last chunk it is exactly `rest`.
            let due = (2 * u128::from(rest) * weight_so_far + whole) / (2 * whole);
            let due = u64::try_from(due).expect("a share of a u64 fits a u64");
            let part = due - given_so_far;
            given_so_far = due;
            floor + part
        })
        .collect()
}
