//! Wiring: config, geometry, report.

use cli::exit::write_stdout;
use cli::{AppExit, Failure};
use hub::HubEnv;
use kvcalc::{ConfigError, ModelGeometry};

use crate::plan::Plan;
use crate::report::{self, Answer};
use crate::source::{self, Found, Origin, SourceError};

/// Carries out a plan.
///
/// # Errors
/// A config that cannot be had or is not understood, with exit code 1; a number of ranks or a layout that this model
/// does not have, with exit code 2.
pub fn run(plan: &Plan) -> Result<AppExit, Failure> {
    // Only the download takes long enough to be interrupted; nothing has to be saved.
    let is_text = !plan.json;
    let _ = ctrlc::set_handler(move || {
        if is_text {
            let _ = write_stdout("\n\nInterrupted by user\n");
        }
        std::process::exit(i32::from(AppExit::Interrupted.code()));
    });
    if !plan.json {
        write_stdout(&report::opening(&plan.model_id))?;
    }
    let found = match source::find(&plan.model_id, &HubEnv::from_process()) {
        Ok(found) => found,
        Err(error) => return Err(not_found(plan, error)),
    };
    let geometry = match ModelGeometry::from_config(&found.config) {
        Ok(geometry) => geometry,
        Err(error) => return Err(not_understood(plan, error)),
    };
    let answer = answer(plan, geometry, found)?;
    if let Origin::Table { detail, .. } = &answer.origin {
        let warning = format!("warning: {detail}; answered from the built-in table\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), warning.as_bytes());
    }
    write_stdout(&if plan.json {
        report::json(plan, &answer)?
    } else {
        report::text(plan, &answer)
    })?;
    Ok(AppExit::Done)
}

/// Everything the report needs, or why this plan is not for this model.
fn answer(plan: &Plan, geometry: ModelGeometry, found: Found) -> Result<Answer, Failure> {
    let rank = geometry
        .per_rank(plan.ranks)
        .map_err(|error| Failure::usage(anyhow::Error::new(error).context("argument --tp")))?;
    if plan.format.scales() == kvcalc::Scales::DsMla && !geometry.has_latent() {
        return Err(Failure::usage(anyhow::anyhow!(
            "argument --kv-scales: the ds-mla layout is for MLA, which {} does not have",
            plan.model_id
        )));
    }
    let state_bytes = plan.state_bytes.or(geometry.state_bytes).unwrap_or(2);
    Ok(Answer {
        format: plan.format.with_state_bytes(state_bytes),
        geometry,
        rank,
        origin: found.origin,
    })
}

/// The original's lines on stdout, and the error for stderr.
fn not_found(plan: &Plan, error: SourceError) -> Failure {
    let failure = Failure::run(error);
    if !plan.json {
        let _ = write_stdout(&report::not_found(&plan.model_id, &failure.to_string()));
    }
    failure
}

fn not_understood(plan: &Plan, error: ConfigError) -> Failure {
    if !plan.json {
        let _ = write_stdout(&report::not_understood(&plan.model_id, &error));
    }
    Failure::run(error).with_hint("the config.json of the model is needed as it was published")
}
