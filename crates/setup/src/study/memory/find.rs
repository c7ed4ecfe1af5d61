//! Finds the config of the model that a server serves: a path here, the Hub's cache, the table of public models, and
//! last the Hub.

use std::path::Path;
use std::thread;
use std::time::Duration;

use core_client::ServedModel;
use hub::{HubEnv, TokenizerRef, find_config};
use kvcalc::known;
use serde_json::Value;
use tokio::sync::oneshot;

use super::KvModel;
use crate::tokenizer::SIMULATOR_MODEL;

/// Longest wait for the Hub: an estimate is worth no more.
const HUB_LIMIT: Duration = Duration::from_secs(5);

/// Looks on a thread of its own, so that a stop is heard meanwhile. A model whose config cannot be had is known by
/// name.
pub async fn find_aside(model: &ServedModel) -> KvModel {
    let (reply, found) = oneshot::channel();
    let wanted = model.clone();
    let spawned = thread::Builder::new()
        .name("model-config".to_owned())
        .spawn(move || {
            let env = HubEnv::from_process();
            // Nobody waits any more when the run was stopped.
            drop(reply.send(find(&wanted, &env)));
        });
    match spawned {
        Ok(_) => found.await.unwrap_or_else(|_| KvModel::of_name(&model.id)),
        Err(_) => KvModel::of_name(&model.id),
    }
}

/// The first config that is found and understood, by the name under which the model is served and by what the server
/// says it stands for.
pub(super) fn find(model: &ServedModel, env: &HubEnv) -> KvModel {
    let by_name = KvModel::of_name(&model.id);
    if model.id == SIMULATOR_MODEL {
        return by_name;
    }
    let mut names = vec![model.id.as_str()];
    names.extend(model.root.as_deref().filter(|root| *root != model.id));
    let here = HubEnv {
        offline: true,
        ..env.clone()
    };
    let quick = HubEnv {
        connect_timeout: env.connect_timeout.min(HUB_LIMIT),
        total_timeout: env.total_timeout.min(HUB_LIMIT),
        ..env.clone()
    };
    let nearby = names.iter().find_map(|name| config(&model.id, name, &here));
    let listed = || names.iter().find_map(|name| table(&model.id, name));
    let remote = || {
        let ids = names.iter().filter(|name| may_be_on_the_hub(name));
        (!env.offline)
            .then(|| ids.clone().find_map(|name| config(&model.id, name, &quick)))
            .flatten()
    };
    nearby.or_else(listed).or_else(remote).unwrap_or(by_name)
}

/// `org/name`: what a server was told to call its model is nobody else's business.
fn may_be_on_the_hub(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    matches!(parts[..], [org, model] if !org.is_empty() && !model.is_empty())
        && !Path::new(name).is_absolute()
}

fn config(id: &str, name: &str, env: &HubEnv) -> Option<KvModel> {
    let reference = match TokenizerRef::parse(name) {
        Ok(TokenizerRef::Builtin) | Err(_) => return None,
        Ok(reference) => reference,
    };
    let file = match find_config(&reference, env) {
        Ok(file) => file,
        Err(error) => {
            tracing::debug!("no config for the memory estimate: {error}");
            return None;
        }
    };
    let config: Value = match serde_json::from_slice(&file.bytes) {
        Ok(config) => config,
        Err(error) => {
            tracing::debug!("{} is not JSON: {error}", file.origin);
            return None;
        }
    };
    understood(id, &config, file.origin)
}

fn table(id: &str, name: &str) -> Option<KvModel> {
    let row = known::find(name)?;
    understood(id, &row.config, format!("built-in table, `{name}`"))
}

fn understood(id: &str, config: &Value, origin: String) -> Option<KvModel> {
    KvModel::of_config(id, config, origin)
        .inspect_err(|error| tracing::debug!("no memory estimate from the config: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type": "llama", "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 2, "hidden_size": 512}"#;

    /// A Hub that is not there, and an empty cache.
    fn env(cache: &Path) -> HubEnv {
        HubEnv {
            offline: true,
            ..HubEnv::new(cache, "http://127.0.0.1:1")
        }
    }

    fn served(id: &str, root: Option<&str>) -> ServedModel {
        ServedModel {
            id: id.to_owned(),
            root: root.map(str::to_owned),
        }
    }

    fn origin(model: &KvModel) -> Option<&str> {
        model.geometry.as_ref().map(|known| known.origin.as_str())
    }

    #[test]
    fn an_alias_is_known_by_what_it_stands_for() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join("config.json"), CONFIG).unwrap();
        let root = model.to_str().unwrap();
        let found = find(&served("tiny", Some(root)), &env(dir.path()));
        assert_eq!(
            origin(&found),
            Some(model.join("config.json").to_str().unwrap())
        );
        // 4 layers × 2 × 2 heads × 64 dimensions.
        assert_eq!(found.facts(&[])["source"], "config");
        assert_eq!(
            found.prompts(1, 1, cli::options::KvPrecision::OneByte),
            4 * 2 * 2 * 64
        );
    }

    #[test]
    fn public_models_need_no_network() {
        let dir = tempfile::tempdir().unwrap();
        let found = find(
            &served("meta-llama/Llama-3.3-70B-Instruct", None),
            &env(dir.path()),
        );
        assert_eq!(
            origin(&found),
            Some("built-in table, `meta-llama/Llama-3.3-70B-Instruct`")
        );
        let aliased = find(
            &served("prod", Some("meta-llama/Llama-3.3-70B-Instruct")),
            &env(dir.path()),
        );
        assert!(aliased.geometry.is_some());
    }

    #[test]
    fn what_is_not_found_or_not_understood_is_known_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("config.json"),
            r#"{"model_type": "mystery"}"#,
        )
        .unwrap();
        let root = dir.path().to_str().unwrap();
        for model in [
            served("some/model", None),
            served("tiny", Some("/nowhere/at/all")),
            served("tiny", Some(root)),
            served("builtin", None),
            served("", None),
            served("kv-cache-sim", Some("meta-llama/Llama-3.3-70B-Instruct")),
        ] {
            assert_eq!(origin(&find(&model, &env(dir.path()))), None, "{model:?}");
        }
    }

    #[test]
    fn only_ids_are_asked_for_elsewhere() {
        for (name, is_id) in [
            ("org/name", true),
            ("tiny", false),
            ("/models/llama", false),
            ("a/b/c", false),
            ("org/", false),
        ] {
            assert_eq!(may_be_on_the_hub(name), is_id, "{name}");
        }
    }
}
