//! The Python file that old scripts call: it becomes the binary, wherever that is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::tool::{Finished, Place, binary};

const SHIM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../scripts/llm_benchmark/main.py"
);

/// Runs a copy of the shim at `at`, with nothing on the path but Python and `path`.
fn run(place: &Place, at: &str, path: &Path, args: &[&str]) -> Finished {
    let shim = place.path().join(at);
    fs::create_dir_all(shim.parent().unwrap()).unwrap();
    fs::copy(SHIM, &shim).unwrap();
    let found = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let python = String::from_utf8(found.stdout).unwrap();
    let mut command = Command::new(python.trim());
    command.arg(&shim).args(args).env("PATH", path);
    place.spawn(command).finish()
}

fn put_binary(place: &Place, at: &str) {
    let target = place.path().join(at);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    symlink(binary(), target).unwrap();
}

#[test]
fn the_binary_is_found_in_the_bundle_in_the_build_and_on_the_path() {
    for at in ["bin/llm_benchmark", "target/release/llm_benchmark"] {
        let place = Place::new();
        put_binary(&place, at);
        let run = run(
            &place,
            "scripts/llm_benchmark/main.py",
            Path::new(""),
            &["--version"],
        );
        assert!(run.exits(0).stdout.starts_with("llm_benchmark "), "{at}");
    }
    let place = Place::new();
    put_binary(&place, "elsewhere/llm_benchmark");
    let path = place.path().join("elsewhere");
    let run = run(
        &place,
        "scripts/llm_benchmark/main.py",
        &path,
        &["--requests", "x"],
    );
    run.exits(2).says("invalid int value: 'x'");
}

#[test]
fn without_a_binary_the_shim_says_where_it_looked() {
    let place = Place::new();
    run(
        &place,
        "scripts/llm_benchmark/main.py",
        Path::new("/nonexistent"),
        &[],
    )
    .exits(1)
    .says("llm_benchmark is not found")
    .says("cargo build --release -p llm_benchmark");
}
