//! What can go wrong, each by name. A failed request ends neither the run nor its size; it is told once, has its row,
//! and makes the exit code 1.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::mock::{Asked, Do, Mock, STREAM_HEAD, answer, event, refusal, stream, usage};
use crate::tool::{Finished, Place, binary, quick};

fn good(asked: &Asked<'_>) -> Vec<Do> {
    stream(0.005, &["Once", " upon"], Some(usage(asked.body, None)))
}

/// A run of two sizes with two iterations whose second measured prompt (its first sending) is answered like this.
fn with_one_bad(
    bad: impl Fn(&Asked<'_>) -> Vec<Do> + Send + Sync + 'static,
    more: &str,
) -> (Place, Finished) {
    let server = Mock::start(move |asked| {
        if asked.n == 2 {
            bad(asked)
        } else {
            good(asked)
        }
    });
    let place = Place::new();
    let more = format!("--context-sizes 100 200 --num-iterations 2 {more}");
    let run = place.quick(&server.url(), &more).exits(1);
    // Two sizes of two iterations, less the prompt that failed and its repetition, which was not sent.
    assert_eq!(place.rows().rows.len(), 6, "{}", run.stderr);
    assert_eq!(server.seen().bodies.len(), 1 + 7);
    assert!(place.names("out").contains(&"index.html".to_owned()));
    let metadata = place.json("metadata.json");
    assert_eq!(
        (&metadata["failed_requests"], &metadata["unsent_requests"]),
        (&1.into(), &1.into())
    );
    place.assert_valid();
    let run = run.says("✗ 1 request failed, 1 not sent for that reason; results are missing");
    (place, run.never_says("Testing complete"))
}

fn kind_of(place: &Place) -> (String, String) {
    let failed = place.failed(100);
    assert_eq!(failed.rows.len(), 1);
    assert_eq!(failed.texts("request_id"), ["CTX100_I1_UNIQUE_r0"]);
    (
        failed.texts("kind")[0].to_owned(),
        failed.texts("message")[0].to_owned(),
    )
}

#[test]
fn a_500_is_a_failed_request() {
    let (place, run) = with_one_bad(
        |_| refusal("500 Internal Server Error", "CUDA out of memory"),
        "",
    );
    let (kind, message) = kind_of(&place);
    assert_eq!(kind, "status");
    assert!(message.contains("CUDA out of memory"), "{message}");
    run.says("Request failed: status: ")
        .says("CUDA out of memory");
}

#[test]
fn a_refusal_of_one_try_is_no_refusal_of_the_size() {
    let (place, _) = with_one_bad(|_| refusal("429 Too Many Requests", "slow down"), "");
    assert_eq!(kind_of(&place).0, "status");
    assert_eq!(place.failed(100).texts("status"), ["429"]);
}

#[test]
fn a_stream_that_is_cut_is_truncated() {
    let (place, _) = with_one_bad(
        |_| {
            vec![
                Do::Send(STREAM_HEAD.into()),
                event(r#"{"choices":[{"index":0,"delta":{"content":"Once"}}]}"#),
                Do::Close,
            ]
        },
        "",
    );
    assert_eq!(kind_of(&place).0, "truncated");
}

#[test]
fn an_error_event_is_a_failure_in_the_servers_words() {
    let (place, _) = with_one_bad(
        |_| {
            vec![
                Do::Send(STREAM_HEAD.into()),
                event(r#"{"error":{"message":"engine is dead","code":500}}"#),
                Do::Send(b"0\r\n\r\n".to_vec()),
            ]
        },
        "",
    );
    let (kind, message) = kind_of(&place);
    assert_eq!(kind, "protocol");
    assert!(message.contains("engine is dead"), "{message}");
}

#[test]
fn garbage_in_the_stream_is_a_protocol_failure() {
    let (place, _) = with_one_bad(
        |_| {
            vec![
                Do::Send(STREAM_HEAD.into()),
                event("{\"choices\": [nonsense"),
                Do::Send(b"0\r\n\r\n".to_vec()),
            ]
        },
        "",
    );
    assert_eq!(kind_of(&place).0, "protocol");
}

#[test]
fn a_page_in_place_of_a_stream_is_a_protocol_failure() {
    let (place, _) = with_one_bad(
        |_| vec![answer("200 OK", "text/html", "<h1>Welcome to nginx</h1>")],
        "",
    );
    assert_eq!(kind_of(&place).0, "protocol");
}

#[test]
fn an_answer_without_text_is_empty_and_no_time_of_zero() {
    let (place, _) = with_one_bad(
        |asked| stream(0.005, &[], Some(usage(asked.body, None))),
        "",
    );
    assert_eq!(kind_of(&place).0, "empty");
    assert!(place.rows().numbers("ttft").iter().all(|ttft| *ttft > 0.0));
}

#[test]
fn silence_is_a_timeout() {
    let (place, run) = with_one_bad(
        |_| vec![Do::Wait(Duration::from_secs(100))],
        "--request-timeout 1.5",
    );
    assert_eq!(kind_of(&place).0, "timeout");
    assert!(run.took < Duration::from_secs(60), "{:?}", run.took);
}

#[test]
fn a_connection_that_is_closed_before_the_answer_is_told_and_never_retried() {
    let (place, _) = with_one_bad(|_| vec![Do::Close], "");
    assert!(["truncated", "connect"].contains(&kind_of(&place).0.as_str()));
}

#[test]
fn a_server_that_dies_costs_what_it_had_not_answered() {
    let server = Mock::start(|asked| {
        if asked.n < 3 {
            good(asked)
        } else {
            vec![Do::Die]
        }
    });
    let place = Place::new();
    let run = place
        .quick(
            &server.url(),
            "--context-sizes 100 200 300 --num-iterations 5 --brief",
        )
        .exits(1);
    assert_eq!(place.rows().rows.len(), 3);
    assert!(run.took < Duration::from_secs(60), "{:?}", run.took);
    assert!(
        run.stdout
            .contains("\n[300] unique=n/a cached=n/a speedup=n/a\n"),
        "{}",
        run.stdout
    );
    let metadata = place.json("metadata.json");
    let missing = metadata["failed_requests"].as_u64().unwrap()
        + metadata["unsent_requests"].as_u64().unwrap();
    assert_eq!(missing, 30 - 3);
    // Refused connections are told by their cause, not as a wall of lines.
    assert!(
        run.stderr.matches("Request failed").count() <= 10,
        "{}",
        run.stderr
    );
}

#[test]
fn a_first_request_that_fails_is_a_warning() {
    let server = Mock::start_with(|| refusal("503 Service Unavailable", "warming up"), good);
    let place = Place::new();
    let run = place.quick(&server.url(), "").exits(0);
    run.says("The first request, which is not measured, failed (status: ");
    assert_eq!(place.rows().rows.len(), 2);
}

#[test]
fn a_repetition_that_fails_leaves_its_cold_row() {
    let server = Mock::start(|asked| {
        if asked.is_known {
            refusal("500 Internal Server Error", "no")
        } else {
            good(asked)
        }
    });
    let place = Place::new();
    let run = place.quick(&server.url(), "--brief").exits(1);
    assert_eq!(place.rows().texts("prompt_type"), ["unique"]);
    assert!(run.stdout.starts_with("[200] unique=0.0"), "{}", run.stdout);
    assert!(
        run.stdout
            .lines()
            .next()
            .unwrap()
            .ends_with("s cached=n/a speedup=n/a"),
        "{}",
        run.stdout
    );
    run.says("Cannot tell whether caching works: no prompt was answered both cold and repeated");
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let place = Place::new();
    let run = place
        .quick(&format!("http://127.0.0.1:{port}"), "")
        .exits(1);
    let run = run.says(&format!(
        "Could not detect model from http://127.0.0.1:{port}/v1/models"
    ));
    run.says("hint: check that the server runs");
    assert!(!place.names("out").iter().any(|name| name.ends_with(".csv")));
}

#[test]
fn a_tokenizer_that_cannot_be_had_is_named() {
    let server = Mock::caching();
    let place = Place::new();
    place
        .quick(&server.url(), "--tokenizer ./nowhere")
        .exits(1)
        .says("nowhere")
        .says("hint: pass --tokenizer");
    assert!(server.seen().bodies.is_empty());
}

#[test]
fn a_place_that_cannot_be_written_is_found_before_the_server_is_asked() {
    let place = Place::new();
    fs::write(place.path().join("taken"), "here already").unwrap();
    for dir in ["taken", "taken/below", "/proc/self/task"] {
        let run = place
            .quick("http://127.0.0.1:1", &format!("--output-dir {dir}"))
            .exits(1);
        run.says(dir)
            .says("--output-dir")
            .never_says("Auto-detecting");
    }
    assert_eq!(
        fs::read_to_string(place.path().join("taken")).unwrap(),
        "here already"
    );
}

/// A limit on the size of files stands for a full disk: a write beyond it fails in the same way.
#[test]
fn a_full_disk_ends_the_run_and_keeps_every_whole_row() {
    let server = Mock::start(good);
    let place = Place::new();
    let args = quick(&server.url(), "--num-iterations 200");
    let mut command = Command::new("sh");
    // Units of 512 or of 1024 bytes, as the shell counts; 400 rows take some 30 kB.
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(binary());
    command.args(args.split_whitespace());
    let run = place.spawn(command).finish().exits(1);
    let run = run
        .says("Results cannot be written any more, the run ends here: ")
        .says("File too large");
    assert_eq!(run.stderr.matches("the run ends here").count(), 1);
    let rows = place.rows();
    assert!((10..399).contains(&rows.rows.len()), "{}", rows.rows.len());
    let sent = server.seen().bodies.len();
    assert!(sent < 300, "{sent} requests were sent into nowhere");
    // What was measured is told all the same.
    run.says("Avg Unique TTFT: 0.0")
        .says("Final Summary")
        .never_says("Testing complete");
}

#[test]
fn a_directory_that_is_removed_ends_the_run() {
    let place = Place::new();
    let dir = place.path().join("out");
    let server = Mock::start(move |asked| {
        if asked.n == 2 {
            fs::remove_dir_all(&dir).unwrap();
        }
        good(asked)
    });
    let run = place.quick(&server.url(), "--num-iterations 50").exits(1);
    run.says("Results cannot be written any more")
        .says("No such file or directory")
        .says("Final Summary");
    assert!(server.seen().bodies.len() < 10);
}

#[test]
fn pages_that_cannot_be_written_are_warnings_and_no_rows_are_lost() {
    let place = Place::new();
    let out = place.path().join("out");
    fs::create_dir_all(out.join("single_prompt_performance.html")).unwrap();
    fs::create_dir_all(out.join("index.html")).unwrap();
    let server = Mock::caching();
    let run = place.quick(&server.url(), "").exits(0);
    run.says("Failed to generate the graphs: ")
        .says("Failed to generate index.html: ");
    assert_eq!(place.rows().rows.len(), 2);
}

#[test]
fn names_from_the_server_are_escaped_on_every_page() {
    let server = Mock::caching();
    let place = Place::new();
    let mut command = place.command(&quick(&server.url(), ""));
    command.args(["--model", "<script>alert(1)</script>&\u{1b}[31m"]);
    place.spawn(command).finish().exits(0);
    for page in [
        "index.html",
        "single_prompt_performance.html",
        "summary_table.html",
    ] {
        assert!(!place.read(page).contains("<script>alert"), "{page}");
    }
    assert!(
        place.read("index.html").contains("&lt;script&gt;")
            || place.read("index.html").contains("&#60;script&#62;")
    );
}

#[test]
fn secrets_are_in_no_file_and_no_line() {
    let server = Mock::start(|asked| {
        if asked.is_known {
            refusal("401 Unauthorized", "invalid key sk-verysecretkey")
        } else {
            good(asked)
        }
    });
    let place = Place::new();
    let mut command = place.command(&quick(&server.url(), "--api-key sk-verysecretkey"));
    command.args(["--header", "X-Auth: abcdefghijkl"]);
    let run = place.spawn(command).finish().exits(1);
    assert!(
        server
            .seen()
            .heads
            .iter()
            .all(|head| head.contains("sk-verysecretkey"))
    );
    let mut texts = vec![run.stderr.clone(), run.stdout.clone()];
    let mut n_files = 0;
    for dir in [place.path().to_owned(), place.path().join("out")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                texts.push(fs::read_to_string(path).unwrap());
                n_files += 1;
            }
        }
    }
    assert!(n_files >= 7, "{n_files}");
    for text in texts {
        assert!(
            !text.contains("verysecret") && !text.contains("abcdefghijkl"),
            "{text}"
        );
    }
}

#[test]
fn what_the_script_repeats_is_this_run() {
    let server = Mock::caching();
    let place = Place::new();
    place.quick(&server.url(), "-n 2 --seed 7").exits(0);
    let script = place
        .names("out")
        .into_iter()
        .find(|name| name.ends_with(".sh"))
        .unwrap();
    let mut command = Command::new("bash");
    command
        .arg(Path::new("out").join(script))
        .args(["--output-dir", "again"]);
    place.spawn(command).finish().exits(0);
    let seen = server.seen();
    let half = seen.bodies.len() / 2;
    assert_eq!(half, 1 + 4);
    let sorted = |part: &[Vec<u8>]| {
        let mut part = part.to_vec();
        part.sort();
        part
    };
    assert_eq!(sorted(&seen.bodies[..half]), sorted(&seen.bodies[half..]));
}
