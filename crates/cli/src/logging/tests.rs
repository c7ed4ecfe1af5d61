//! The log as a reader of stderr and of the file sees it.

use std::fs;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender as Gate};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::subscriber::with_default;
use tracing::{debug, error, info, warn};

use super::*;

/// A stderr that can be read back.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
        .unwrap()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal stopped by its user: says when it is reached, then waits for leave.
struct Stopped {
    reached: Gate<()>,
    leave: Receiver<()>,
    screen: Screen,
}

impl Write for Stopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.reached.send(());
        let _ = self.leave.recv();
        self.screen.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options() -> LogOptions {
    LogOptions {
        tool: "cli",
        verbosity: Verbosity::Normal,
        color: false,
        file: None,
        redactor: Redactor::default(),
        capacity: LogOptions::DEFAULT_CAPACITY,
    }
}

/// What stands on stderr after `events` were logged and the guard was dropped.
fn logged(options: LogOptions, events: impl FnOnce()) -> String {
    let screen = Screen::default();
    let (subscriber, guard) = build(options, Console::with_writer(Box::new(screen.clone())));
    with_default(subscriber, events);
    drop(guard);
    screen.text()
}

/// Lines without their stamps; panics when a stamp has not the shape it should have.
fn without_stamps(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let (stamp, rest) = line.split_at(26);
            let shape: String = stamp
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            assert_eq!(shape, "[0000-00-00 00:00:00,000] ", "{line}");
            rest.to_owned()
        })
        .collect()
}

#[test]
fn lines_have_the_documented_shape() {
    let text = logged(options(), || {
        debug!("hidden");
        info!("one {}", 1);
        warn!(n = 3, "two");
        error!("three");
    });
    assert_eq!(
        without_stamps(&text),
        ["INFO - one 1", "WARNING - two n=3", "ERROR - three"]
    );
}

#[test]
fn brief_keeps_warnings_and_verbose_adds_debug_lines() {
    let events = || {
        debug!("d");
        info!("i");
        warn!("w");
    };
    let at = |verbosity| {
        without_stamps(&logged(
            LogOptions {
                verbosity,
                ..options()
            },
            events,
        ))
    };
    assert_eq!(at(Verbosity::from_flags(true, false)), ["WARNING - w"]);
    assert_eq!(
        at(Verbosity::from_flags(true, true)),
        ["DEBUG - d", "INFO - i", "WARNING - w"]
    );
    assert_eq!(
        at(Verbosity::from_flags(false, false)),
        ["INFO - i", "WARNING - w"]
    );
}

#[test]
fn other_crates_are_heard_from_warning_on() {
    let text = logged(
        LogOptions {
            verbosity: Verbosity::Verbose,
            ..options()
        },
        || {
            debug!(target: "hyper::proto", "noise");
            info!(target: "h2", "noise");
            warn!(target: "hyper", "trouble");
            debug!(target: "engine::window", "ours");
        },
    );
    assert_eq!(without_stamps(&text), ["WARNING - trouble", "DEBUG - ours"]);
}

#[test]
fn several_lines_of_text_become_several_lines_of_log() {
    let text = logged(options(), || {
        warn!("first\r\nsecond\n\nfourth\n");
        info!("");
    });
    assert_eq!(
        without_stamps(&text),
        [
            "WARNING - first",
            "WARNING - second",
            "WARNING -",
            "WARNING - fourth",
            "INFO -"
        ]
    );
}

#[test]
fn control_characters_and_secrets_do_not_get_through() {
    let redactor = Redactor::new(["sk-very-secret"]);
    let text = logged(
        LogOptions {
            redactor,
            ..options()
        },
        || {
            warn!("server said: \u{1b}[2Jinvalid key sk-very-secret\u{7}");
        },
    );
    assert_eq!(
        without_stamps(&text),
        [r"WARNING - server said: \u{1b}[2Jinvalid key ***\u{7}"]
    );
}

#[test]
fn colours_follow_level_and_style_on_the_terminal_and_never_reach_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tool.log");
    let text = logged(
        LogOptions {
            color: true,
            file: Some(file.clone()),
            ..options()
        },
        || {
            log_lines(&[
                Line::styled(Style::Heading, "h"),
                Line::styled(Style::Sub, "s"),
                Line::styled(Style::Success, "ok"),
                Line::styled(Style::Config, "c"),
                Line::plain("p"),
                Line::warning("w"),
                Line::error("e"),
            ]);
        },
    );
    assert_eq!(
        without_stamps(&text),
        [
            "\u{1b}[35mINFO - h\u{1b}[0m",
            "\u{1b}[36mINFO - s\u{1b}[0m",
            "\u{1b}[32mINFO - ok\u{1b}[0m",
            "\u{1b}[34mINFO - c\u{1b}[0m",
            "INFO - p",
            "\u{1b}[33mWARNING - w\u{1b}[0m",
            "\u{1b}[31mERROR - e\u{1b}[0m",
        ]
    );
    let written = fs::read_to_string(file).unwrap();
    assert!(!written.contains('\u{1b}'), "{written}");
    assert_eq!(without_stamps(&written).len(), 7);
}

#[test]
fn the_file_is_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tool.log");
    fs::write(&file, "[2026-01-01 00:00:00,000] INFO - earlier\n").unwrap();
    logged(
        LogOptions {
            file: Some(file.clone()),
            ..options()
        },
        || info!("later"),
    );
    assert_eq!(
        without_stamps(&fs::read_to_string(file).unwrap()),
        ["INFO - earlier", "INFO - later"]
    );
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning_only() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        file: Some(dir.path().join("no/such/dir/tool.log")),
        ..options()
    };
    let screen = Screen::default();
    let (subscriber, guard) = build(options, Console::with_writer(Box::new(screen.clone())));
    with_default(subscriber, || {
        guard.report_file_error(|text| warn!("{text}"));
        info!("still here");
    });
    drop(guard);
    let lines = without_stamps(&screen.text());
    assert!(
        lines[0].starts_with("WARNING - cannot write the log file"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "INFO - still here");
}

#[test]
fn a_stopped_terminal_loses_lines_and_says_how_many() {
    let (reached, is_reached) = mpsc::channel();
    let (go, leave) = mpsc::channel();
    let screen = Screen::default();
    let stopped = Stopped {
        reached,
        leave,
        screen: screen.clone(),
    };
    let capacity = 4;
    let (subscriber, guard) = build(
        LogOptions {
            capacity,
            ..options()
        },
        Console::with_writer(Box::new(stopped)),
    );
    with_default(subscriber, || {
        info!("first");
        is_reached.recv().unwrap();
        // The writer is stuck; four lines find room, the other six do not, and nobody waits.
        for n in 0..10 {
            info!("line {n}");
        }
    });
    assert_eq!(guard.n_dropped(), 6);
    drop(go);
    drop(guard);
    let lines = without_stamps(&screen.text());
    assert_eq!(
        lines[..5],
        [
            "INFO - first",
            "INFO - line 0",
            "INFO - line 1",
            "INFO - line 2",
            "INFO - line 3"
        ]
    );
    assert_eq!(
        lines[5],
        "WARNING - 6 log lines were lost because they came faster than they could be written"
    );
}

#[test]
fn flushing_waits_until_the_lines_are_written() {
    let screen = Screen::default();
    let (subscriber, guard) = build(options(), Console::with_writer(Box::new(screen.clone())));
    with_default(subscriber, || info!("before the report"));
    guard.flush();
    assert_eq!(without_stamps(&screen.text()), ["INFO - before the report"]);
}
