//! The script that repeats a run.

use crate::support::output::Output;
use crate::support::process::Place;
use crate::support::server;

// Example 13.
#[test]
fn the_script_reproduces_the_configuration() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--cache-hit-rates 50 0 --seed -3 --max-ttft 1.5 --ttft-metric max",
        )
        .args("--min-tokens-per-req 0.5 --tokens-per-req-metric p10 --chunk-size 128".split(' '))
        .args("--init-concurrency 3 --reinit-strategy per_cache_rate --num-retries 0".split(' '))
        .args(
            "--random-working-set-selection --strict-time-window --concurrency-increment 1"
                .split(' '),
        )
        .args([
            "--header",
            "X-Note: it's $HOME \"quoted\"",
            "--force-restart",
        ])
        .run()
        .exits(0);
    let output = place.output();
    let scripts = output.names_like("run_command_", ".sh");
    assert_eq!(scripts.len(), 1);
    let text = output.read(&scripts[0]);
    assert!(!text.contains("--force-restart \\"), "{text}");
    let old = output.parameters();
    let before = server.generations().len();

    place.repeat(&scripts[0]);
    let mut new = output.parameters();
    new["force_restart"] = old["force_restart"].clone();
    assert_eq!(new, old);
    assert_eq!(output.completed(), ["1000_0", "1000_50"]);
    let again = &server.generations()[before..];
    assert!(!again.is_empty());
    for request in again {
        let note = request.headers.iter().find(|(name, _)| name == "x-note");
        assert_eq!(
            note.map(|(_, value)| value.as_str()),
            Some("it's $HOME \"quoted\"")
        );
    }
    // The second script is the first one: nothing is lost by repeating a repetition.
    let scripts = output.names_like("run_command_", ".sh");
    let command = |name: &str| {
        let text = output.read(name);
        text.split_once("\n\n")
            .expect("comments, then the command")
            .1
            .to_owned()
    };
    assert_eq!(command(&scripts[0]), command(&scripts[1]));
    output.assert_valid();
}

#[test]
fn the_script_without_more_arguments_resumes() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "--num-retries 0").run().exits(0);
    let script = &place.output().names_like("run_command_", ".sh")[0];
    let before = server.generations().len();
    place
        .program("bash")
        .args([format!("output/{script}")])
        .run()
        .exits(0)
        .says("Resuming from previous progress: 1 tests completed");
    assert_eq!(server.generations().len(), before);
}

#[test]
fn names_full_of_quotes_and_brackets_survive_in_files_pages_and_script() {
    const MODEL: &str = "o'odd, \"<b>&amp;</b>\" $HOME `x` é";
    let mut config = server::linear(0.02, 0.005);
    config.model = MODEL.to_owned();
    let server = server::start(config);
    let place = Place::new();
    let dir = "out put/it's \"<i>\" $HOME";
    place
        .quick(
            &server,
            "--num-retries 0 --cache-hit-rates 0 50 --output-dir",
        )
        .args([dir])
        .run()
        .exits(0);
    let output = Output::new(place.path().join(dir));
    assert_eq!(output.completed(), ["1000_0", "1000_50"]);
    assert_eq!(
        output.summary().distinct("model"),
        [MODEL.to_owned()].into()
    );
    assert_eq!(output.json("test_metadata.json")["model"], MODEL);
    for page in output.pages() {
        let text = output.read(&page);
        assert!(
            !text.contains("<b>&amp;</b>") && !text.contains("<i>"),
            "{page} holds markup of a name"
        );
    }
    output.assert_valid();

    let script = output
        .dir()
        .join(&output.names_like("run_command_", ".sh")[0]);
    place
        .program("bash")
        .args([script])
        .run()
        .exits(0)
        .says("Resuming from previous progress: 2 tests completed");
    assert_eq!(output.parameters()["output_dir"], dir);
}
