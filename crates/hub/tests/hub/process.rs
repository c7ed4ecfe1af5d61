//! The search as a program meets it: https, the system's certificates, and settings from real environment variables.
//!
//! Variables belong to the whole process, so these tests start their own executable again with the ones they need.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;

use hub::{HubEnv, HubError, TokenizerRef, find_tokenizer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fake::{BODY, COMMIT, ETAG, PATH, TOKEN};

/// An https hub that serves one connection and answers with the request's `Authorization` header, if it came to one.
struct HttpsHub {
    url: String,
    authority_pem: String,
    served: JoinHandle<Option<String>>,
}

fn https_hub() -> HttpsHub {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let served = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let tls = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(tls, tcp));
        let mut line = String::new();
        // A client that does not trust the certificate hangs up here.
        stream.read_line(&mut line).ok()?;
        assert!(line.starts_with(&format!("GET {PATH} ")), "{line}");
        let mut authorization = String::new();
        loop {
            line.clear();
            stream.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    authorization = value.to_owned();
                }
                Some(_) => {}
                None => break,
            }
        }
        let stream = stream.get_mut();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{ETAG}\"\r\n\r\n",
            BODY.len()
        )
        .unwrap();
        stream.write_all(BODY).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        Some(authorization)
    });
    HttpsHub {
        url,
        authority_pem,
        served,
    }
}

/// The search of one model in a process whose variables are what its parent chose; prints what it found.
#[test]
#[ignore = "started by the tests below, each in a process of its own"]
fn child() {
    let model = TokenizerRef::parse("org/name").unwrap();
    match find_tokenizer(&model, &HubEnv::from_process()) {
        Ok(found) => println!("found {} bytes: {}", found.bytes.len(), found.origin),
        Err(error) => println!("error: {error}"),
    }
}

fn run_child(hf_home: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process::child", "--ignored", "--nocapture"]);
    for (name, _) in std::env::vars() {
        let name_upper = name.to_uppercase();
        if name_upper.starts_with("HF_")
            || name_upper.starts_with("HUGGING")
            || name_upper.ends_with("_PROXY")
            || name_upper == "TRANSFORMERS_OFFLINE"
        {
            command.env_remove(name);
        }
    }
    command
        .env("HF_HOME", hf_home)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn over_https_the_systems_certificates_count_and_the_variables_are_obeyed() {
    let home = tempfile::tempdir().unwrap();
    let hub = https_hub();
    let roots = home.path().join("roots.pem");
    std::fs::write(&roots, &hub.authority_pem).unwrap();
    let roots = roots.to_str().unwrap();

    let output = run_child(
        home.path(),
        &[
            ("SSL_CERT_FILE", roots),
            ("HF_ENDPOINT", &hub.url),
            ("HF_TOKEN", TOKEN),
        ],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("found {} bytes", BODY.len())),
        "{text}"
    );
    assert!(text.contains("downloaded from https://localhost"), "{text}");
    assert_eq!(hub.served.join().unwrap(), Some(format!("Bearer {TOKEN}")));

    // The hub is gone; its file is in HF_HOME/hub, and a second process needs nothing else.
    let output = run_child(home.path(), &[("HF_HUB_OFFLINE", "1")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("in the cache, commit {COMMIT}")),
        "{text}"
    );
}

#[test]
fn a_hub_whose_certificate_nobody_vouches_for_gets_neither_request_nor_token() {
    let home = tempfile::tempdir().unwrap();
    let hub = https_hub();
    let env = HubEnv {
        token: hub::Token::new(TOKEN, "HF_TOKEN"),
        ..HubEnv::new(home.path(), &hub.url)
    };
    let error = find_tokenizer(&TokenizerRef::parse("org/name").unwrap(), &env).unwrap_err();
    let HubError::Unreachable { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("certificate"), "{source}");
    assert_eq!(hub.served.join().unwrap(), None);
}
