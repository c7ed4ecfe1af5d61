//! A study whose first rate succeeds before something goes wrong, and what all such studies must leave.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use sim::fault::{FaultKind, FaultPlan};
use sim::{Background, SimConfig};
use testkit::process::Finished;

use crate::relay::{Act, Arrived, Purpose, Relay};
use crate::support::output::Output;
use crate::support::process::Place;
use crate::support::server;

/// Two rates of one small context; each test is one window of a second with two requests at a time.
pub(crate) const STUDY: &str = "--context-sizes 512 --working-set-size 2048 --chunk-size 128 --output-tokens 6 \
    --cache-hit-rates 0 50 --start-concurrency 2 --max-concurrency 2 --ramp-duration 1 --test-duration 1 \
    --num-retries 0 --skip-graphs";

/// The context of [`STUDY`].
pub(crate) const CONTEXT: u64 = 512;

/// A simulator where nothing goes wrong, shared by all tests.
pub(crate) fn healthy() -> SocketAddr {
    static HEALTHY: OnceLock<Background> = OnceLock::new();
    HEALTHY.get_or_init(|| server::start(quick())).address()
}

/// A simulator that answers within some 50 ms, whatever the load.
pub(crate) fn quick() -> SimConfig {
    let mut config = server::fixed(0.05);
    // Known by this name, the built-in tokenizer is taken.
    config.model = sim::DEFAULT_MODEL.to_owned();
    config
}

/// A simulator where every generation goes wrong like this.
pub(crate) fn faulty(faults: FaultPlan) -> Background {
    server::start(SimConfig { faults, ..quick() })
}

/// The files of a directory with their bytes.
pub(crate) type Snapshot = BTreeMap<String, Vec<u8>>;

/// Takes one; empty where there is no directory.
pub(crate) fn snapshot(dir: &Path) -> Snapshot {
    let Ok(entries) = fs::read_dir(dir) else {
        return Snapshot::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    paths
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            // A file that is being replaced may be gone.
            Some((name, fs::read(&path).ok()?))
        })
        .collect()
}

/// A study that has ended, the faults begun with its second rate or with another purpose.
pub(crate) struct Scene {
    /// Where it ran.
    pub(crate) place: Place,
    /// The tool.
    pub(crate) end: Finished,
    /// Files at the moment when the first request met its fault.
    pub(crate) before: Snapshot,
    /// Requests for each purpose.
    pub(crate) n_warm: u64,
}

/// Runs [`STUDY`] with more arguments: requests above 0 % are handled by `rule`, all others go to a server
/// where nothing is wrong.
pub(crate) fn second_rate(
    more: &str,
    rule: impl Fn(Arrived) -> Act + Send + Sync + 'static,
) -> Scene {
    at(Purpose::Warm, more, rule)
}

/// The same with the faults at another purpose, `Die` included.
pub(crate) fn at(
    purpose: Purpose,
    more: &str,
    rule: impl Fn(Arrived) -> Act + Send + Sync + 'static,
) -> Scene {
    let place = Place::new();
    let dir = place.output().dir().to_owned();
    let before = Arc::new(Mutex::new(None));
    let (first, healthy) = (Arc::clone(&before), healthy());
    let relay = Relay::start(move |arrived| {
        if arrived.purpose != purpose {
            return Act::Forward(healthy);
        }
        first
            .lock()
            .expect("no thread panics with it")
            .get_or_insert_with(|| snapshot(&dir));
        rule(arrived)
    });
    let end = place.run(&format!("--api-endpoint {} {STUDY} {more}", relay.url()));
    let before = before.lock().expect("no thread panics with it").take();
    Scene {
        n_warm: relay.seen(Purpose::Warm),
        before: before.unwrap_or_default(),
        place,
        end,
    }
}

/// Runs the study with every request above 0 % met by this fault of the simulator.
pub(crate) fn second_rate_meets(kind: FaultKind, more: &str) -> Scene {
    let server = faulty(FaultPlan::always(kind));
    let address = server.address();
    second_rate(more, move |_| Act::Forward(address))
}

impl Scene {
    /// What the run left.
    pub(crate) fn output(&self) -> Output {
        self.place.output()
    }

    /// Requires all that holds whenever the second rate fails: exit 1, the test listed with its cause, no
    /// noise, the first rate's files as they were.
    #[track_caller]
    pub(crate) fn lost_the_second_rate(self, kind: &str, status: &str, words: &[&str]) -> Self {
        let scene = self.exits(1).kept_the_first_rate();
        scene.failed_requests(kind, status, words);
        let verdicts = scene.end.lines("✗ Cache hit rate 50% failed: ");
        assert_eq!(verdicts.len(), 1, "{}", scene.end.stderr);
        let listed = scene.end.lines("512 tokens at 50%: ");
        assert_eq!(listed.len(), 1, "{}", scene.end.stderr);
        for line in [verdicts[0], listed[0]] {
            assert!(line.contains(kind), "no {kind} in: {line}");
            for word in words {
                assert!(line.contains(word), "no '{word}' in: {line}");
            }
        }
        assert_eq!(
            scene.end.lines("✗ 1 of the tests failed:").len(),
            1,
            "{}",
            scene.end.stderr
        );
        scene
    }

    /// Requires a code, and nothing on stderr that only a programmer can read.
    #[track_caller]
    pub(crate) fn exits(mut self, code: i32) -> Self {
        self.end = self.end.exits(code);
        reads_well(&self.end);
        self
    }

    /// Requires that the first rate's results stand as they were when the second one met its fault.
    #[track_caller]
    pub(crate) fn kept_the_first_rate(self) -> Self {
        let output = self.output();
        assert_eq!(output.completed(), ["512_0"]);
        let now = snapshot(output.dir());
        let mut rows = 0;
        for (name, bytes) in self
            .before
            .iter()
            .filter(|(name, _)| name.ends_with(".csv"))
        {
            let kept = now.get(name).unwrap_or_else(|| panic!("{name} is gone"));
            assert!(kept.starts_with(bytes), "{name} was changed");
            rows += bytes.iter().filter(|b| **b == b'\n').count() - 1;
            if name.starts_with("summary_") {
                assert_eq!(kept, bytes, "{name} has more than the first rate");
            }
        }
        // One summary row, one phase, what the client felt in it, and the requests of a second.
        assert!(rows >= 5, "only {rows} rows were there before the fault");
        let cold = output.detail(CONTEXT).matching(&[("cache_hit_rate", "0")]);
        assert_eq!(cold.rows.len() + 3, rows);
        output.assert_valid();
        self.end
            .lines("✓ All tests complete!")
            .is_empty()
            .then_some(())
            .expect("not all tests are complete");
        self
    }

    /// Requires that failed requests of the second rate, at least one, are on file with this kind and status
    /// and a message with these words, and that at most five of them are on stderr.
    #[track_caller]
    pub(crate) fn failed_requests(&self, kind: &str, status: &str, words: &[&str]) {
        let failed = self.output().newest(&format!("failed_requests_{CONTEXT}_"));
        let kinds = failed.distinct("kind");
        assert!(kinds.len() == 1 && kinds.contains(kind), "{kinds:?}");
        let codes = failed.distinct("status");
        assert!(codes.len() == 1 && codes.contains(status), "{codes:?}");
        for message in failed.texts("message") {
            for word in words {
                assert!(message.contains(word), "no '{word}' in: {message}");
            }
        }
        assert_eq!(
            failed
                .distinct("cache_hit_rate")
                .into_iter()
                .collect::<Vec<_>>(),
            ["50"]
        );
        let lines = self.end.lines("Request RAMP_c2_r");
        assert_eq!(lines.len(), failed.rows.len().min(5), "{}", self.end.stderr);
        for line in lines {
            assert!(line.contains(&format!("failed: {kind}: ")), "{line}");
        }
    }
}

/// Requires that stderr is for people: no panic, no debug output, nothing said twice in a row.
#[track_caller]
pub(crate) fn reads_well(end: &Finished) {
    for odd in [
        "panicked",
        "RUST_BACKTRACE",
        "unwrap",
        "Some(",
        "Err(",
        "Os {",
        "Error {",
        "hyper::",
    ] {
        assert!(
            !end.stderr.contains(odd),
            "'{odd}' on stderr:\n{}",
            end.stderr
        );
    }
    assert!(
        !end.stderr.contains('\u{1b}'),
        "colours go to no pipe:\n{}",
        end.stderr
    );
    let texts: Vec<&str> = end
        .stderr
        .lines()
        .filter_map(|line| Some(line.split_once(" - ")?.1))
        .collect();
    for pair in texts.windows(2) {
        let is_rule = pair[0].trim().starts_with(['=', '-']);
        assert!(is_rule || pair[0] != pair[1], "said twice: {}", pair[0]);
    }
}
