//! Whether what is measured shows what the tool is for: where the server's cache ends.

use kvcalc::{BlockSize, TokenCount};

use crate::support::process::Place;
use crate::support::server;

/// Tokens.
const MEMORY: u64 = 6_000;

/// A server that has no other memory than that.
fn small_cache() -> sim::Background {
    let mut config = server::linear(0.01, 0.002);
    config.engine.block_size = BlockSize::try_new(16).expect("16 is not zero");
    config.engine.tiers.truncate(1);
    config.engine.tiers[0].capacity = TokenCount(MEMORY);
    server::start(config)
}

// Sets of 4, 10, 16 and 22 prompts of 512 tokens in round-robin: the first two fit, the others evict themselves. Of a
// request that is served from cache, its question and the chat template are not: a seventh of it.
#[test]
fn beyond_the_cache_nothing_is_hit_and_the_test_says_that_this_is_the_finding() {
    let server = small_cache();
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--min-working-set-size 2048 --max-working-set-size 11264 --working-set-increments 4 --chunk-size 128",
        )
        .run()
        .exits(0);
    let output = place.output();
    let rates = output.summary().numbers("reported_cache_hit_rate");
    assert_eq!(rates.len(), 4);
    assert!(rates[0] > 0.8 && rates[1] > 0.8, "{rates:?}");
    assert!(rates[2] < 0.5 && rates[3] < 0.5, "{rates:?}");
    // The first requests find what the warm-up left, all others nothing: as a share that depends on how many there are.
    for size in ["8192", "11264"] {
        let hits = output
            .detail(512)
            .matching(&[("working_set_size", size)])
            .sum("reported_cached_tokens");
        assert!(hits <= MEMORY as f64, "{size}: {hits}");
    }
    let told: Vec<&str> = run
        .warnings()
        .into_iter()
        .filter(|line| line.contains("no longer holds all of the working set of"))
        .collect();
    // While it is measured, and not once more at the end: it is no fault.
    assert!((2..=3).contains(&told.len()), "{told:?}");
    assert!(
        told.iter().all(|line| !line.contains("of 2048")),
        "{told:?}"
    );
    assert!(output.doubts(512, 100).len() >= 2);
    let index = output.read("index.html");
    assert!(
        index.contains("Less of the working set was cached than meant"),
        "the dashboard says it too"
    );
    output.assert_valid();
}

#[test]
fn where_every_size_fits_nothing_is_doubted() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--cache-hit-rates 0 50 100")
        .run()
        .exits(0)
        .warns_of_nothing();
    let output = place.output();
    for rate in [0, 50, 100] {
        assert!(output.doubts(512, rate).is_empty());
    }
    let rates = output.summary().matching(&[("cache_hit_rate", "100")]);
    for rate in rates.numbers("reported_cache_hit_rate") {
        // All but the question and the chat template.
        assert!((0.8..=1.0).contains(&rate), "{rate}");
    }
    output.assert_valid();
}
