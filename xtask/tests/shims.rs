//! The Python files that old scripts call, run as the user's pages say, through `sh`: what comes out of them is what
//! the program in their place was given and gave.
//!
//! The program here is a recorder; `cargo xtask shims` does the same with the released tools.

#![expect(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use xshell::{Shell, TempDir};

/// Writes its arguments, each with a NUL behind it, to `$RECORD`, its input to its output, and ends with `$CODE`.
const RECORDER: &str = r#"#!/bin/sh
for word in "$@"; do printf '%s\0' "$word"; done >"$RECORD"
cat
printf 'said on stderr' >&2
exit "${CODE:-0}"
"#;
/// The same arguments, as a Python program in place of the original sees them.
const ORIGINAL: &str = r#"import os, sys
with open(os.environ["RECORD"], "wb") as record:
    for word in sys.argv[1:]:
        record.write(os.fsencode(word) + b"\0")
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every shim: its path below `scripts/`, and the program that it becomes.
fn shims() -> BTreeMap<String, String> {
    let mut shims = BTreeMap::from([(
        "llm_benchmark/main.py".to_owned(),
        "llm_benchmark".to_owned(),
    )]);
    for entry in fs::read_dir(root().join("scripts")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(tool) = name.strip_suffix(".py") {
            shims.insert(name.clone(), tool.to_owned());
        }
    }
    shims
}

/// A bundle of shims and recorders, and beside it a directory with the originals' names.
struct Suite {
    root: PathBuf,
    // The directory goes when this goes.
    _dir: TempDir,
}

impl Suite {
    fn new() -> Self {
        let dir = Shell::new().unwrap().create_temp_dir().unwrap();
        // A shim looks two directories up; what lies beside the temporary directory must not be found.
        let base = dir.path().join("root");
        for (shim, tool) in shims() {
            let text = fs::read(root().join("scripts").join(&shim)).unwrap();
            write(&base.join("scripts").join(&shim), &text);
            write(&base.join("originals").join(&shim), ORIGINAL.as_bytes());
            write(&base.join("bin").join(tool), RECORDER.as_bytes());
        }
        // Debian has no `python` without a 3.
        write(
            &base.join("path/python"),
            b"#!/bin/sh\nexec python3 \"$@\"\n",
        );
        Self {
            root: base,
            _dir: dir,
        }
    }

    fn record(&self) -> PathBuf {
        self.root.join("record")
    }

    fn recorded(&self) -> Vec<Vec<u8>> {
        let bytes = fs::read(self.record()).unwrap();
        fs::remove_file(self.record()).unwrap();
        let mut words: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        assert_eq!(words.pop(), Some(vec![]));
        words
    }

    /// `program` in `dir` of the suite, as an old script would start it.
    fn command(&self, program: &str, dir: &str) -> Command {
        let mut path = self.root.join("path").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = Command::new(program);
        command
            .current_dir(self.root.join(dir))
            .env("PATH", path)
            .env("RECORD", self.record())
            .env("UV_OFFLINE", "1")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_CACHE_DIR", self.root.join("uv-cache"));
        command
    }

    fn sh(&self, line: &str, dir: &str) -> Output {
        self.command("sh", dir).args(["-c", line]).output().unwrap()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// How a script may start a shim. `uv` is not everywhere; CI has it and sets `KV_REQUIRE_UV`.
fn forms(shim: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let mut forms = vec![
        words(&format!("python {shim}")),
        words(&format!("./{shim}")),
    ];
    if has_uv() {
        forms.push(words(&format!("uv run python {shim}")));
    }
    forms
}

fn has_uv() -> bool {
    let found = Command::new("uv").arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("KV_REQUIRE_UV").is_none(),
        "uv is not on PATH: pip install uv"
    );
    found
}

/// The user's pages, each once, as the tests of the tools keep them.
fn pages() -> BTreeSet<String> {
    let mut pages = BTreeSet::new();
    for tool in fs::read_dir(root().join("bins")).unwrap() {
        let Ok(data) = fs::read_dir(tool.unwrap().path().join("tests/data")) else {
            continue;
        };
        for entry in data {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("seed_") {
                pages.insert(fs::read_to_string(path).unwrap());
            }
        }
    }
    pages
}

/// Commands of a page that call a Python file, as they stand there.
fn commands(page: &str) -> Vec<String> {
    let all = testkit::page::commands(page).into_iter();
    all.map(|command| command.text)
        .filter(|text| text.contains(".py"))
        .collect()
}

#[test]
fn every_command_of_the_users_pages_gives_the_program_what_it_gave_the_original() {
    let suite = Suite::new();
    let shims = shims();
    let mut n_run = 0;
    for command in pages().iter().flat_map(|page| commands(page)) {
        let called = command
            .split_whitespace()
            .find(|word| word.ends_with(".py"))
            .unwrap()
            .to_owned();
        let (dir, shim) = match called.as_str() {
            "main.py" => ("/llm_benchmark", "llm_benchmark/main.py".to_owned()),
            _ => ("", called),
        };
        if !shims.contains_key(&shim) || (command.contains("uv run") && !has_uv()) {
            continue;
        }
        let theirs = suite.sh(&command, &format!("originals{dir}"));
        assert!(theirs.status.success(), "{command}: {theirs:?}");
        let given = suite.recorded();
        let ours = suite.sh(&command, &format!("scripts{dir}"));
        assert!(ours.status.success(), "{command}: {ours:?}");
        assert_eq!(suite.recorded(), given, "{command}");
        n_run += 1;
    }
    assert!(n_run >= 25, "{n_run} commands");
}

#[test]
fn arguments_input_output_and_exit_code_pass_to_the_byte() {
    let suite = Suite::new();
    let mut arguments: Vec<OsString> = [
        "",
        "two words",
        "-5",
        "--x=*",
        "$HOME `id` 'q' \"",
        "a\nb",
        "é",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.push(OsString::from_vec(vec![b'-', 0xff, 0xfe]));
    let given: Vec<Vec<u8>> = arguments
        .iter()
        .map(|word| word.clone().into_vec())
        .collect();
    let input: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for shim in shims().into_keys() {
        for (form, code) in forms(&shim).into_iter().zip([0, 2, 143]) {
            let mut child = suite
                .command(&form[0], "scripts")
                .args(&form[1..])
                .args(&arguments)
                .env("CODE", code.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let sent = input.clone();
            let writer = std::thread::spawn(move || stdin.write_all(&sent));
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap().unwrap();
            assert_eq!(output.status.code(), Some(code), "{form:?}: {output:?}");
            assert_eq!(suite.recorded(), given, "{form:?}");
            assert!(output.stdout == input, "{form:?} changed its output");
            assert_eq!(output.stderr, b"said on stderr", "{form:?}");
        }
    }
}

#[test]
fn a_signal_to_the_python_process_is_one_to_the_program() {
    let suite = Suite::new();
    // Says when it is ready, and what became of the signals that Python ignores.
    let program = "#!/bin/sh\ntrap 'exit 130' INT\ntrap 'exit 143' TERM\ngrep SigIgn /proc/$$/status\n\
                   while :; do sleep 0.01; done\n";
    write(
        &suite.root.join("bin/cache_rate_tester"),
        program.as_bytes(),
    );
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // The test itself may have been started with SIGINT ignored, in the background of a script; a shell cannot trap that.
        let mut child = suite
            .command("env", "scripts")
            .args(["--default-signal=INT", "python3", "cache_rate_tester.py"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let ignored = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        let (pipe, file_size) = (1 << (13 - 1), 1 << (25 - 1));
        assert_eq!(ignored & (pipe | file_size), 0, "{line}");
        testkit::process::signal(child.id(), signal);
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code), None));
    }
}

#[test]
fn the_program_is_found_beside_the_shim_in_the_bundle_in_the_build_and_on_the_path() {
    let shim = fs::read(root().join("scripts/kv_cache_size.py")).unwrap();
    for at in [
        "suite/kv_cache_size",
        "suite/bin/kv_cache_size",
        "bin/kv_cache_size",
        "target/release/kv_cache_size",
        "path/kv_cache_size",
    ] {
        let suite = Suite::new();
        fs::remove_dir_all(suite.root.join("bin")).unwrap();
        write(&suite.root.join("suite/kv_cache_size.py"), &shim);
        let missing = suite.sh("python kv_cache_size.py M", "suite");
        assert_eq!(missing.status.code(), Some(1));
        assert!(missing.stdout.is_empty());
        let said = String::from_utf8(missing.stderr).unwrap();
        assert!(said.contains("kv_cache_size is not found"), "{said}");
        write(&suite.root.join(at), RECORDER.as_bytes());
        let found = suite.sh("python kv_cache_size.py M", "suite");
        assert!(found.status.success(), "{at}: {found:?}");
        assert_eq!(suite.recorded(), [b"M"], "{at}");
        // A link to the shim, from wherever, finds what the shim finds.
        std::os::unix::fs::symlink(
            suite.root.join("suite/kv_cache_size.py"),
            suite.root.join("originals/link.py"),
        )
        .unwrap();
        assert!(
            suite.sh("./link.py M", "originals").status.success(),
            "{at}"
        );
    }
}

/// Every Python from 3.6 on that this machine has, each version once, by its version: on the path and in the usual places.
fn pythons() -> BTreeMap<(u32, u32), PathBuf> {
    let home = std::env::var_os("HOME").map_or(PathBuf::from("/nonexistent"), PathBuf::from);
    let pyenv = std::env::var_os("PYENV_ROOT").map_or(home.join(".pyenv"), PathBuf::from);
    let mut dirs: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
    dirs.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    for many in [
        pyenv.join("versions"),
        home.join(".local/share/uv/python"),
        PathBuf::from("/opt"),
    ] {
        let Ok(entries) = fs::read_dir(many) else {
            continue;
        };
        dirs.extend(entries.map(|entry| entry.unwrap().path().join("bin")));
    }
    let names: Vec<String> = std::iter::once("python3".to_owned())
        .chain((6..30).map(|minor| format!("python3.{minor}")))
        .collect();
    let mut found = BTreeMap::new();
    for python in dirs
        .iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .filter(|path| path.is_file())
    {
        let asked = Command::new(&python)
            .args([
                "-c",
                "import sys; print(*sys.version_info[:2], sys.executable)",
            ])
            .output();
        // pyenv puts a file on the path for every version that it has, and some of them only say that it is not chosen.
        let Some(told) = asked.ok().filter(|asked| asked.status.success()) else {
            continue;
        };
        let told = String::from_utf8(told.stdout).unwrap();
        let mut words = told.trim().splitn(3, ' ');
        let mut number = || words.next().unwrap().parse::<u32>().unwrap();
        let version = (number(), number());
        if version >= (3, 6) {
            found
                .entry(version)
                .or_insert(PathBuf::from(words.next().unwrap()));
        }
    }
    found
}

/// One line of error, one of remedy, exit code 1.
#[track_caller]
fn assert_refused(run: &Output, cause: &str) {
    let said = String::from_utf8(run.stderr.clone()).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(run.stdout.is_empty(), "{run:?}");
    assert!(
        said.starts_with("error: ") && said.contains(cause),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
}

/// A shim in a directory with nothing around it.
fn lone_shim() -> Suite {
    let suite = Suite::new();
    fs::remove_dir_all(suite.root.join("bin")).unwrap();
    let shim = fs::read(root().join("scripts/kv_cache_size.py")).unwrap();
    write(&suite.root.join("suite/kv_cache_size.py"), &shim);
    suite
}

#[test]
fn shims_crashed_on_python_3_9_and_older() {
    let suite = Suite::new();
    let alone = lone_shim();
    let pythons = pythons();
    assert!(!pythons.is_empty(), "no Python");
    for (version, python) in &pythons {
        let python = python.to_str().unwrap();
        for shim in shims().into_keys() {
            let run = suite.sh(&format!("{python} {shim} M"), "scripts");
            assert!(run.status.success(), "{version:?} {shim}: {run:?}");
            assert_eq!(suite.recorded(), [b"M"], "{version:?} {shim}");
        }
        let run = alone.sh(&format!("{python} kv_cache_size.py M"), "suite");
        assert_refused(&run, "kv_cache_size is not found");
    }
    eprintln!("tried: {pythons:?}");
}

#[test]
fn a_link_to_the_shim_under_the_programs_name_became_itself_for_ever() {
    let suite = lone_shim();
    let shim = suite.root.join("suite/kv_cache_size.py");
    let link = suite.root.join("path/kv_cache_size");
    std::os::unix::fs::symlink(&shim, &link).unwrap();
    // A copy of it in another directory is no program either; the two would call each other.
    let copy = suite.root.join("second/kv_cache_size");
    write(&copy, &fs::read(&shim).unwrap());
    let second = copy.parent().unwrap().to_str().unwrap();
    let line = format!("PATH=\"$PATH:{second}\" timeout 20");
    for call in ["python kv_cache_size.py M", "kv_cache_size M"] {
        let run = suite.sh(&format!("{line} {call}"), "suite");
        assert_refused(&run, "kv_cache_size is not found");
    }
    // The program behind them on the path is found.
    let third = suite.root.join("third");
    write(&third.join("kv_cache_size"), RECORDER.as_bytes());
    let line = format!("PATH=\"$PATH:{second}:{}\" timeout 20", third.display());
    for call in ["python kv_cache_size.py M", "kv_cache_size M"] {
        let run = suite.sh(&format!("{line} {call}"), "suite");
        assert!(run.status.success(), "{run:?}");
        assert_eq!(suite.recorded(), [b"M"]);
    }
}

#[test]
fn a_program_of_another_machine_or_without_permission_ended_in_a_traceback() {
    let suite = lone_shim();
    let program = suite.root.join("suite/bin/kv_cache_size");
    write(&program, b"\x7fELF of another machine");
    let run = suite.sh("python kv_cache_size.py M", "suite");
    assert_refused(
        &run,
        "suite/bin/kv_cache_size cannot be started (Exec format error)",
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    let run = suite.sh("python kv_cache_size.py M", "suite");
    assert_refused(&run, "suite/bin/kv_cache_size may not be run");
    // One that may be run is found behind it.
    write(&suite.root.join("path/kv_cache_size"), RECORDER.as_bytes());
    let run = suite.sh("python kv_cache_size.py M", "suite");
    assert!(run.status.success(), "{run:?}");
    assert_eq!(suite.recorded(), [b"M"]);
}

#[test]
fn an_interpreter_called_by_its_path_finds_what_is_installed_beside_it() {
    let suite = lone_shim();
    let said = |who: &str| format!("#!/bin/sh\necho {who}\n");
    let tell = |python: &str| {
        let run = suite.sh(&format!("{python} kv_cache_size.py"), "suite");
        assert!(run.status.success(), "{python}: {run:?}");
        String::from_utf8(run.stdout).unwrap().trim().to_owned()
    };
    let made = suite.sh(
        "python -m venv --without-pip ../venv && mkdir ../plain && \
         ln -s \"$(python -c 'import sys; print(sys.executable)')\" ../plain/python3",
        "suite",
    );
    assert!(made.status.success(), "{made:?}");
    for place in ["venv/bin", "plain"] {
        write(
            &suite.root.join(place).join("kv_cache_size"),
            said(place).as_bytes(),
        );
    }
    assert_eq!(tell("../venv/bin/python"), "venv/bin");
    assert_eq!(tell("../plain/python3"), "plain");
    // Who calls an environment's Python means that environment; any other Python is only one more place to look at.
    write(
        &suite.root.join("path/kv_cache_size"),
        said("path").as_bytes(),
    );
    assert_eq!(tell("../venv/bin/python"), "venv/bin");
    assert_eq!(tell("../plain/python3"), "path");
}

#[test]
fn shims_differ_in_their_names_only_and_every_original_has_one() {
    let shims = shims();
    let mut programs = BTreeSet::new();
    for (shim, tool) in &shims {
        let text = fs::read_to_string(root().join("scripts").join(shim)).unwrap();
        let file = shim.rsplit('/').next().unwrap();
        programs.insert(
            text.replace(&format!("python {file}"), "python FILE")
                .replace(&format!("the {tool} binary"), "the NAME binary")
                .replace(&format!("\"{tool}\""), "\"NAME\""),
        );
    }
    assert_eq!(programs.len(), 1, "{programs:#?}");
    for entry in fs::read_dir(root().join("bins")).unwrap() {
        let tool = entry.unwrap().file_name().into_string().unwrap();
        // The simulator replaces nothing.
        assert!(
            tool == "kv_cache_sim" || shims.values().any(|name| *name == tool),
            "{tool} has no shim in scripts/"
        );
    }
    for requirements in ["requirements.txt", "llm_benchmark/requirements.txt"] {
        let text = fs::read_to_string(root().join("scripts").join(requirements)).unwrap();
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
}
