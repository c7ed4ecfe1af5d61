//! The response cache behind `/generate`: whole answers by prompt and length, as small serving layers keep
//! them in front of an engine.
//!
//! Promises: an answer is kept when its last token was generated, so that equal requests in flight at the
//! same time are all misses; the one kept longest goes first. Knows nothing of the prefix cache below it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Answers kept.
const CAPACITY: usize = 4096;

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResponseKey {
    pub(super) prompt: Arc<str>,
    pub(super) max_tokens: Option<u32>,
}

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptResponse {
    pub(super) text: Arc<str>,
    /// Tokens that it took to generate.
    pub(super) tokens: u32,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<ResponseKey, KeptResponse>,
    /// Oldest first.
    order: VecDeque<ResponseKey>,
}

/// All kept answers; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseCache {
    kept: Arc<Mutex<Kept>>,
}

impl ResponseCache {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &ResponseKey) -> Option<KeptResponse> {
        self.lock().by_key.get(key).cloned()
    }

    pub(super) fn keep(&self, key: ResponseKey, response: KeptResponse) {
        let mut kept = self.lock();
        if kept.by_key.insert(key.clone(), response).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > CAPACITY
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_key.remove(&oldest);
        }
    }

    pub(super) fn clear(&self) {
        *self.lock() = Kept::default();
    }
}

/// An answer on its way into the cache, put together word by word.
#[derive(Debug)]
pub(super) struct Keeper {
    cache: ResponseCache,
    key: ResponseKey,
    text: String,
    tokens: u32,
}

impl Keeper {
    pub(super) fn new(cache: ResponseCache, key: ResponseKey) -> Self {
        Self {
            cache,
            key,
            text: String::new(),
            tokens: 0,
        }
    }

    pub(super) fn push(&mut self, word: &str) {
        self.text.push_str(word);
        self.tokens += 1;
    }

    /// The answer is complete.
    pub(super) fn keep(self) {
        let response = KeptResponse {
            text: self.text.into(),
            tokens: self.tokens,
        };
        self.cache.keep(self.key, response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prompt: &str) -> ResponseKey {
        ResponseKey {
            prompt: prompt.into(),
            max_tokens: Some(4),
        }
    }

    #[test]
    fn an_answer_is_found_once_it_is_complete_and_for_its_own_length_only() {
        let cache = ResponseCache::default();
        let mut keeper = Keeper::new(cache.clone(), key("a"));
        keeper.push(" one");
        keeper.push(" two");
        assert_eq!(cache.get(&key("a")), None);
        keeper.keep();
        let found = cache.get(&key("a")).unwrap();
        assert_eq!((&*found.text, found.tokens), (" one two", 2));
        let longer = ResponseKey {
            max_tokens: Some(5),
            ..key("a")
        };
        assert_eq!(cache.get(&longer), None);
        cache.clear();
        assert_eq!(cache.get(&key("a")), None);
    }

    #[test]
    fn the_answer_kept_longest_goes_first() {
        let cache = ResponseCache::default();
        let response = KeptResponse {
            text: "x".into(),
            tokens: 1,
        };
        for n in 0..=CAPACITY {
            cache.keep(key(&n.to_string()), response.clone());
        }
        assert_eq!(cache.get(&key("0")), None);
        assert!(cache.get(&key("1")).is_some());
        assert!(cache.get(&key(&CAPACITY.to_string())).is_some());
        assert_eq!(cache.lock().by_key.len(), CAPACITY);
    }
}
