//! The Python file that old scripts call: it becomes the binary, wherever that is.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::mock::Mock;
use crate::tool::{Place, binary, quick};

const SHIM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../scripts/single_prompt_tester.py"
);

#[test]
fn an_old_script_runs_the_binary() {
    let server = Mock::caching();
    let place = Place::new();
    for at in ["bin", "target/release"] {
        let bin = place.path().join(at).join("single_prompt_tester");
        fs::create_dir_all(bin.parent().unwrap()).unwrap();
        fs::create_dir_all(place.path().join("scripts")).unwrap();
        symlink(binary(), &bin).unwrap();
        fs::copy(SHIM, place.path().join("scripts/single_prompt_tester.py")).unwrap();
        let mut command = Command::new("python3");
        command
            .arg("scripts/single_prompt_tester.py")
            .args(quick(&server.url(), "--brief").split_whitespace());
        let run = place.spawn(command).finish().exits(0);
        assert!(run.stdout.starts_with("[200] "), "{}", run.stdout);
        fs::remove_file(bin).unwrap();
    }
    let mut command = Command::new("python3");
    command.args(["scripts/single_prompt_tester.py", "--help"]);
    place
        .spawn(command)
        .finish()
        .exits(1)
        .says("single_prompt_tester is not found");
}
