//! What a ramp finds, and what it leaves behind.

use crate::support::process::Place;
use crate::support::server;

#[test]
fn smoke() {
    let server = server::start(server::linear(0.1, 0.03));
    let place = Place::new();
    let run = place
        .tool("--tokenizer builtin --output-tokens 4 --context-sizes 1000 --working-set-size 8000 --cache-hit-rates 0 50 --ramp-duration 1 --test-duration 4 --num-retries 1 --start-concurrency 4 --max-concurrency 4")
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0);
    println!("{}\n{:?}", run.stderr, run.took);
    println!("{:?}", place.output().names());
    place.output().assert_valid();
}
