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
    // The shim looks two directories up; what lies beside the place must not be found.
    let suite = place.path().join("suite");
    for at in ["bin", "target/release"] {
        let bin = suite.join(at).join("single_prompt_tester");
        fs::create_dir_all(bin.parent().unwrap()).unwrap();
        fs::create_dir_all(suite.join("scripts")).unwrap();
        symlink(binary(), &bin).unwrap();
        fs::copy(SHIM, suite.join("scripts/single_prompt_tester.py")).unwrap();
        let mut command = Command::new("python3");
        command
            .arg("suite/scripts/single_prompt_tester.py")
            .args(quick(&server.url(), "--brief").split_whitespace());
        let run = place.spawn(command).finish().exits(0);
        assert!(run.stdout.starts_with("[200] "), "{}", run.stdout);
        fs::remove_file(bin).unwrap();
    }
    let mut command = Command::new("python3");
    command.args(["suite/scripts/single_prompt_tester.py", "--help"]);
    place
        .spawn(command)
        .finish()
        .exits(1)
        .says("single_prompt_tester is not found");
}
