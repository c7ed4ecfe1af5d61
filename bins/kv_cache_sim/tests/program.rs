//! The real program: the line that says where it listens, its exit codes, its options' effect.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

struct Program {
    child: Child,
    address: String,
    stdout: BufReader<std::process::ChildStdout>,
}

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv_cache_sim"));
    command
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Program {
    fn start(options: &[&str]) -> Self {
        let mut child = command(&[&["--port", "0"], options].concat())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line
            .trim_end()
            .split_once("kv_cache_sim listening on ")
            .and_then(|(_, url)| url.split_once("://"))
            .expect(&line)
            .1
            .to_owned();
        Self {
            child,
            address,
            stdout,
        }
    }

    fn call(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn get(&self, path: &str) -> String {
        self.call(&format!(
            "GET {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n"
        ))
    }

    fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.call(&format!(
            "POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// Sends a signal and gives the exit code, what else was on stdout, and stderr.
    fn stop(mut self, signal: &str) -> (Option<i32>, String, String) {
        testkit::process::signal(self.child.id(), signal);
        let deadline = Instant::now() + LONG;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.child.kill().unwrap();
                    panic!("it did not stop on {signal}");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let (mut rest, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut rest).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (status.code(), rest, stderr)
    }
}

/// A test that does not stop its program leaves none behind.
impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(options: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn it_says_where_it_listens_serves_and_stops_on_ctrl_c_with_130() {
    let program = Program::start(&[]);
    assert!(
        program
            .get("/v1/models")
            .contains("\"id\":\"kv-cache-sim\"")
    );
    let (code, rest, stderr) = program.stop("INT");
    assert_eq!((code, rest.as_str()), (Some(130), ""));
    assert!(!stderr.contains("WARN"), "{stderr}");
}

#[test]
fn sigterm_ends_it_with_143_though_a_request_hangs() {
    let program = Program::start(&["--fault", "hang"]);
    let mut hanging = TcpStream::connect(&program.address).unwrap();
    hanging
        .write_all(b"POST /v1/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    assert_eq!(program.stop("TERM").0, Some(143));
}

#[test]
fn options_reach_the_model() {
    let program = Program::start(&[
        "--model",
        "m",
        "--latency",
        "fixed:0.01",
        "--block-size",
        "8",
        "--kv-capacity",
        "4096",
        "--default-max-tokens",
        "3",
    ]);
    let reply = program.post("/v1/completions", r#"{"prompt":[1,2,3],"model":"m"}"#);
    assert!(reply.contains("\"completion_tokens\":3"), "{reply}");
    let truth = program.get("/sim/truth");
    assert!(
        truth.contains("\"block_size\":8") && truth.contains("\"capacity_blocks\":512"),
        "{truth}"
    );
}

#[test]
fn numbers_are_read_as_python_reads_them_and_names_are_looked_up() {
    let program = Program::start(&[
        "--host=localhost",
        "--kv-cap",
        "1_600",
        "--seed",
        "-5",
        "--max-num-seqs",
        "7",
        "--max-num-seqs",
        "8",
    ]);
    let truth = program.get("/sim/truth");
    assert!(truth.contains("\"capacity_tokens\":1600"), "{truth}");
    assert_eq!(program.stop("TERM").0, Some(143));
}

#[test]
fn a_tokenizer_can_be_given_as_a_file_or_its_directory() {
    let directory = std::env::temp_dir().join(format!("kv_cache_sim-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // The smallest tokenizer there is: three words.
    let vocabulary = r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0,"b":1,"?":2},"unk_token":"?"},
        "pre_tokenizer":{"type":"Whitespace"}}"#;
    std::fs::write(directory.join("tokenizer.json"), vocabulary).unwrap();
    let program = Program::start(&["--tokenizer", directory.to_str().unwrap()]);
    let reply = program.post("/tokenize", r#"{"prompt":"a b b c"}"#);
    assert!(reply.contains("\"tokens\":[0,1,1,2]"), "{reply}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn with_tls_it_says_https_and_writes_its_certificate() {
    let path = std::env::temp_dir().join(format!("kv_cache_sim-cert-{}.pem", std::process::id()));
    let mut child = command(&["--port", "0", "--tls", "--tls-cert", path.to_str().unwrap()])
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        line.starts_with("kv_cache_sim listening on https://127.0.0.1:"),
        "{line}"
    );
    let pem = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
}

#[test]
fn a_models_config_decides_what_a_token_weighs() {
    let directory = std::env::temp_dir().join(format!("kv_cache_sim-model-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let config = r#"{"model_type":"llama","num_hidden_layers":80,"num_attention_heads":64,
        "num_key_value_heads":8,"hidden_size":8192}"#;
    std::fs::write(directory.join("config.json"), config).unwrap();
    let program = Program::start(&["--model-config", directory.to_str().unwrap()]);
    let truth = program.get("/sim/truth");
    assert!(truth.contains("\"kv_bytes_per_token\":327680"), "{truth}");
    std::fs::write(directory.join("config.json"), "{}").unwrap();
    let (code, _, stderr) = run(&["--model-config", directory.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("config.json") && stderr.contains("--kv-bytes-per-token"),
        "{stderr}"
    );
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn forms_and_metric_names_are_chosen_by_options() {
    let program = Program::start(&[
        "--latency",
        "fixed:0.001",
        "--metrics-style",
        "sglang",
        "--stream-form",
        "crlf",
        "--stream-form",
        "reasoning=1",
    ]);
    assert!(program.get("/metrics").contains("sglang:num_running_reqs"));
    let body = r#"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2,"stream":true}"#;
    let reply = program.post("/v1/chat/completions", body);
    assert!(
        reply.contains("\"delta\":{\"reasoning\":") && reply.contains("[DONE]\r\n\r\n"),
        "{reply}"
    );
}

#[test]
fn another_address_than_loopback_is_warned_of() {
    let (_, _, stderr) = Program::start(&["--host", "0.0.0.0"]).stop("TERM");
    assert!(
        stderr.contains("WARN") && stderr.contains("other machines"),
        "{stderr}"
    );
}

#[test]
fn wrong_options_end_it_with_2_and_what_cannot_be_had_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (options, code, word) in [
        (&["--prot", "1"][..], 2, "--port"),
        (
            &["--fault", "fire"],
            2,
            "argument --fault: 'fire' is no fault: unknown fault",
        ),
        (
            &["--stream-form", "loud"],
            2,
            "argument --stream-form: 'loud' is no stream form: unknown",
        ),
        (&["--kv-capacity", "many"], 2, "invalid int value: 'many'"),
        (&["--jitter", "NaN"], 2, "invalid float value: 'NaN'"),
        (
            &["--block-size", "0"],
            2,
            "'0' is too small: at least 1 is needed",
        ),
        (
            &["--port", "0", "--host", "no such host"],
            1,
            "no such host",
        ),
        (&["--tls-cert", "x.pem"], 2, "--tls"),
        (&["--time-scale", "0"], 2, "--time-scale"),
        (&["--port", &port], 1, "--port"),
        (
            &["--port", "0", "--tokenizer", "/nowhere"],
            1,
            "tokenizer.json",
        ),
    ] {
        let (exit, stdout, stderr) = run(options);
        assert_eq!(
            (exit, stdout.as_str()),
            (Some(code), ""),
            "{options:?}: {stderr}"
        );
        assert!(stderr.contains(word), "{options:?}: {stderr}");
    }
    let (exit, help, _) = run(&["--help"]);
    assert_eq!(exit, Some(0));
    assert!(
        help.contains("exit 130") && help.contains("--profile"),
        "{help}"
    );
}
