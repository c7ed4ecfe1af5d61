//! Typed access to a config with its model type's defaults behind it.
//!
//! Promises: the first alias that is present and not null wins; defaults answer only where no alias is present at all,
//! because an explicit null means "none" or "derive" in transformers; every default that was used is on record.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::{ConfigProblem, defaults};

/// Larger counts are typing errors or attacks; no product of the formulas overflows 64 bits below it.
const MOST: u64 = 1 << 20;
/// Longest window that is believed.
const LONGEST_WINDOW: u64 = 1 << 40;

/// Parts of keys that announce something other than one plain cache per layer.
const HINTS: &[&str] = &[
    "mamba",
    "ssm",
    "rwkv",
    "lru",
    "linear_attn",
    "linear_num",
    "linear_key",
    "linear_value",
    "state_size",
    "conv_kernel",
    "sliding",
    "window",
    "chunk",
    "hybrid",
    "block_type",
    "layer_type",
    "attn_type",
    "attention_type",
    "kv_share",
    "shared_kv",
    "share_kv",
    "cla_",
    "compress",
    "latent",
    "lora_rank",
];

/// Families without a class in transformers whose caches are plain, and words of theirs that look like hints.
const PLAIN_FAMILIES: &[&str] = &[
    "chatglm",
    "qwen",
    "baichuan",
    "internlm",
    "internlm2",
    "internlm3",
    "yi",
    "aquila",
    "xverse",
    "orion",
    "telechat",
    "RefinedWeb",
    "RefinedWebModel",
];

/// Reads one object.
pub(super) struct Reader<'a> {
    object: &'a Map<String, Value>,
    model_type: Option<String>,
    defaults: Option<Map<String, Value>>,
    defaulted: RefCell<Vec<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, model_type: Option<String>) -> Self {
        let defaults = model_type.as_deref().and_then(defaults::of);
        Self {
            object,
            model_type,
            defaults,
            defaulted: RefCell::default(),
        }
    }

    /// Whether the model type is one of these.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        let own = self.model_type.as_deref();
        own.is_some_and(|own| names.contains(&own))
    }

    /// Whether the model type begins with this.
    pub(super) fn is_like(&self, prefix: &str) -> bool {
        let own = self.model_type.as_deref();
        own.is_some_and(|own| own.starts_with(prefix))
    }

    /// Whether transformers has a class for the model type.
    pub(super) fn has_class(&self) -> bool {
        self.defaults.is_some()
    }

    /// The model type, for messages.
    pub(super) fn model_type(&self) -> Option<String> {
        self.model_type.clone()
    }

    /// What the model type's class makes of a config that does not list its layers, a letter per layer: `F` full, `S`
    /// window, `C` chunk, `I` full with an indexer, `L` state, `H` both, `-` neither, `X` anything else. `None` when
    /// all are full or the class says nothing.
    pub(super) fn class_layers(&self) -> Option<&str> {
        self.defaults.as_ref()?.get("_layers")?.as_str()
    }

    /// Keys whose default was used.
    pub(super) fn defaulted(&self) -> Vec<String> {
        self.defaulted.borrow().clone()
    }

    /// The value in the config itself; dots descend.
    fn own(&self, key: &str) -> Option<&'a Value> {
        let (last, path) = match key.rsplit_once('.') {
            Some((path, last)) => (last, Some(path)),
            None => (key, None),
        };
        let object = match path {
            Some(path) => path
                .split('.')
                .try_fold(self.object, |object, key| object.get(key)?.as_object())?,
            None => self.object,
        };
        object.get(last)
    }

    fn value(&self, keys: &[&str]) -> Option<(String, Value)> {
        let mut is_present = false;
        for key in keys {
            match self.own(key) {
                Some(Value::Null) => is_present = true,
                Some(value) => return Some(((*key).to_owned(), value.clone())),
                None => {}
            }
        }
        if is_present {
            return None;
        }
        let defaults = self.defaults.as_ref()?;
        let (key, value) = keys
            .iter()
            .find_map(|key| Some((*key, defaults.get(*key)?)))?;
        let mut used = self.defaulted.borrow_mut();
        if !used.iter().any(|known| known == key) {
            used.push(key.to_owned());
        }
        Some((key.to_owned(), value.clone()))
    }

    /// Whether any of these keys is there and not null, defaults aside.
    pub(super) fn has(&self, keys: &[&str]) -> bool {
        let mut values = keys.iter().filter_map(|key| self.own(key));
        values.any(|value| !value.is_null())
    }

    /// Whether any of these keys is there, null included, defaults aside.
    pub(super) fn names(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.own(key).is_some())
    }

    /// A whole number from 0 to about a million.
    pub(super) fn count(&self, keys: &[&str]) -> Result<Option<u64>, ConfigProblem> {
        self.number(keys, MOST)
    }

    /// A number of tokens; 0 is none.
    pub(super) fn window(&self, keys: &[&str]) -> Result<Option<u64>, ConfigProblem> {
        let window = self.number(keys, LONGEST_WINDOW)?;
        Ok(window.filter(|tokens| *tokens > 0))
    }

    fn number(&self, keys: &[&str], most: u64) -> Result<Option<u64>, ConfigProblem> {
        match self.value(keys) {
            // A list is read by whoever expects one; "auto" means derive.
            None | Some((_, Value::Array(_))) => Ok(None),
            Some((_, Value::String(word))) if word == "auto" => Ok(None),
            Some((key, value)) => number(&key, &value, most).map(Some),
        }
    }

    /// An object in the config itself.
    pub(super) fn object(&self, key: &str) -> Option<&'a Map<String, Value>> {
        self.own(key)?.as_object()
    }

    pub(super) fn flag(&self, keys: &[&str]) -> Option<bool> {
        self.value(keys)?.1.as_bool()
    }

    pub(super) fn text(&self, keys: &[&str]) -> Option<String> {
        self.value(keys)?.1.as_str().map(str::to_owned)
    }

    pub(super) fn list(&self, keys: &[&str]) -> Option<Vec<Value>> {
        keys.iter()
            .find_map(|key| self.own(key)?.as_array())
            .cloned()
    }

    /// A list of whole numbers.
    pub(super) fn counts(&self, keys: &[&str]) -> Result<Option<Vec<u64>>, ConfigProblem> {
        let found = keys
            .iter()
            .find_map(|key| Some((*key, self.own(key)?.as_array()?)));
        let Some((key, list)) = found else {
            return Ok(None);
        };
        let counts = list.iter().map(|value| match value {
            Value::Null => Ok(0),
            value => number(key, value, MOST),
        });
        counts.collect::<Result<_, _>>().map(Some)
    }

    /// The error for keys that are needed and not there.
    pub(super) fn missing(&self, keys: &[&str]) -> ConfigProblem {
        ConfigProblem::Missing {
            model_type: self.model_type.clone(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        }
    }

    /// Refuses an unknown model type that is about to be read as plain attention although some key says otherwise.
    pub(super) fn refuse_unread(&self) -> Result<(), ConfigProblem> {
        let Some(model_type) = &self.model_type else {
            return self.refuse_hints("");
        };
        if self.defaults.is_some() || PLAIN_FAMILIES.contains(&model_type.as_str()) {
            return Ok(());
        }
        self.refuse_hints(model_type)
    }

    fn refuse_hints(&self, model_type: &str) -> Result<(), ConfigProblem> {
        let slides = self.flag(&["use_sliding_window"]) != Some(false);
        let is_read = |key: &str| {
            // Understood whatever the family: MLA, a list that names the layers, a window that is switched off.
            matches!(
                key,
                "kv_lora_rank"
                    | "q_lora_rank"
                    | "layer_types"
                    | "layers_block_type"
                    | "max_window_layers"
            ) || key == "use_sliding_window"
                || (key == "sliding_window" && !slides)
        };
        let says_something = |value: &Value| {
            !matches!(value, Value::Null | Value::Bool(false)) && value.as_u64() != Some(0)
        };
        let keys: Vec<String> = self
            .object
            .iter()
            .filter(|(key, value)| {
                let key = key.as_str();
                HINTS.iter().any(|hint| key.contains(hint))
                    && !is_read(key)
                    && says_something(value)
            })
            .map(|(key, _)| key.clone())
            .collect();
        if keys.is_empty() {
            Ok(())
        } else {
            Err(ConfigProblem::Unread {
                model_type: model_type.to_owned(),
                keys,
            })
        }
    }
}

/// A whole number up to `most`.
pub(super) fn number(key: &str, value: &Value, most: u64) -> Result<u64, ConfigProblem> {
    let bad = |wanted| ConfigProblem::BadValue {
        key: key.to_owned(),
        value: value.to_string().chars().take(40).collect(),
        wanted,
    };
    let whole = value.as_u64().or_else(|| {
        // Some tools write 128.0.
        let float = value.as_f64()?;
        ((0.0..=1e15).contains(&float) && float.fract() == 0.0).then_some(float as u64)
    });
    match whole {
        None => Err(bad("a whole number")),
        Some(n) if n > most => Err(bad("of a believable size")),
        Some(n) => Ok(n),
    }
}
