//! Reads the tokenizer, listens, says so, and serves until a signal comes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cli::console::{Console, use_color};
use cli::exit::{AppExit, Failure, write_stdout};
use cli::logging::{self, LogOptions, Verbosity};
use cli::secret::Redactor;
use kvcalc::ModelGeometry;
use sim::{SimService, TlsIdentity, TokenizerSource, serve_service};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::plan::{self, Plan};

/// Open files that let a few thousand streams be served; more is better and costs nothing.
const WANTED_FILES: u64 = 1 << 20;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) fn serve(mut plan: Plan) -> Result<AppExit, Failure> {
    let options = LogOptions {
        tool: "kv_cache_sim",
        verbosity: Verbosity::from_flags(false, plan.verbose),
        color: use_color(plan.no_color),
        file: None,
        redactor: Redactor::default(),
        capacity: LogOptions::DEFAULT_CAPACITY,
    };
    let _log = logging::init(options, Console::stderr())?;
    raise_file_limit();
    if let Some(path) = &plan.tokenizer {
        let bytes = read_tokenizer(path)
            .with_context(|| format!("cannot read the tokenizer {}", path.display()))
            .map_err(|error| {
                Failure::run(error)
                    .with_hint("give a tokenizer.json, a directory that holds one, or 'builtin'")
            })?;
        plan.config.tokenizer = TokenizerSource::Bytes(bytes.into());
    }
    if plan.tls {
        plan.config.tls = Some(make_certificate(&plan)?);
    }
    if plan.mean_kv_bytes {
        let bytes = plan.config.engine.kv_bytes_per_token.get();
        tracing::warn!(
            "this model does not keep the same for every token; each is taken for {bytes} bytes, the mean over {}",
            plan::USUAL_SEQUENCE
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let exit = runtime.block_on(listen(plan));
    // Tokenising may still be under way on the blocking pool; nobody waits for it any more.
    runtime.shutdown_background();
    exit
}

async fn listen(plan: Plan) -> Result<AppExit, Failure> {
    // Before the line that says "ready": whoever reads it may send a signal at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = sim::listen(&plan.host, plan.port)
        .await
        .with_context(|| format!("cannot listen on port {} of {}", plan.port, plan.host))
        .map_err(|error| {
            Failure::run(error).with_hint(
                "choose another --port, or 0 for any free one; --host must be an address or name of this machine",
            )
        })?;
    let address = listener.local_addr()?;
    let is_public = !address.ip().is_loopback();
    let service = SimService::in_real_time(plan.config).map_err(Failure::run)?;
    if is_public {
        tracing::warn!(
            "{address} can be reached from other machines; this server trusts everybody who can reach it"
        );
    }
    let template = sim::prompt::template_tokens(service.tokenizer())?;
    tracing::info!("the chat template adds {template} to a prompt of one message");
    let scheme = if plan.tls { "https" } else { "http" };
    write_stdout(&format!("kv_cache_sim listening on {scheme}://{address}\n"))?;
    let (ended, exit) = oneshot::channel();
    let stopped = async move {
        let exit = tokio::select! {
            _ = interrupt.recv() => AppExit::Interrupted,
            _ = terminate.recv() => AppExit::Terminated,
        };
        tracing::info!("stopping");
        // The receiver is read right after serving has ended.
        let _ = ended.send(exit);
    };
    serve_service(listener, service, stopped).await;
    Ok(exit.await.unwrap_or(AppExit::Done))
}

/// The certificate, written where it is wanted.
fn make_certificate(plan: &Plan) -> Result<TlsIdentity, Failure> {
    let identity =
        TlsIdentity::self_signed(std::slice::from_ref(&plan.host)).map_err(Failure::run)?;
    if let Some(path) = &plan.tls_cert {
        fs::write(path, identity.certificate_pem())
            .with_context(|| format!("cannot write the certificate to {}", path.display()))?;
    }
    Ok(identity)
}

fn read_tokenizer(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(file_or_inside(path, "tokenizer.json"))
}

/// The model of `--model-config`.
pub(crate) fn read_model(path: Option<&Path>) -> Result<Option<ModelGeometry>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let file = file_or_inside(path, "config.json");
    let read = || -> anyhow::Result<ModelGeometry> {
        let config: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
        Ok(ModelGeometry::from_config(&config)?)
    };
    let model = read()
        .with_context(|| format!("cannot read the model's config {}", file.display()))
        .map_err(|error| {
            Failure::run(error).with_hint("--kv-bytes-per-token takes the number itself")
        })?;
    Ok(Some(model))
}

/// A file, or the one of this name in a directory.
fn file_or_inside(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() {
        path.join(name)
    } else {
        path.to_owned()
    }
}

/// Each stream takes a file descriptor.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(WANTED_FILES) {
        Ok(limit) => tracing::debug!("open files are limited to {limit}"),
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
}
