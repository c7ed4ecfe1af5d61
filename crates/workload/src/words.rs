//! The vocabulary of the text generator: our own word lists, and nothing else.
//!
//! Promise: every word is `[a-z]+`, there are more than 3,000 distinct ones over twenty topics, and the order of
//! every list is fixed, so a seed keeps meaning the same text. Refuses to know tokenizers: which words are usable is
//! decided when a [`crate::PieceTable`] is built.

mod common;
mod shared;
mod topics;

use std::collections::HashSet;

/// One subject area: its share of the text and its own words.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Name as in the original's topic table.
    pub name: &'static str,
    /// Relative share of text blocks drawn from this topic.
    pub weight: u32,
    nouns: &'static str,
    verbs: &'static str,
}

impl Topic {
    /// The nouns of the topic, each once, in list order.
    pub fn nouns(&self) -> Vec<&'static str> {
        distinct(self.nouns)
    }

    /// The verbs of the topic, each once, in list order.
    pub fn verbs(&self) -> Vec<&'static str> {
        distinct(self.verbs)
    }
}

/// The twenty topics.
pub fn topics() -> &'static [Topic] {
    &topics::TOPICS
}

/// Words that tie clauses together, each once.
pub fn connectors() -> Vec<&'static str> {
    distinct(shared::CONNECTORS)
}

/// Verbs that fit every topic, each once.
pub fn shared_verbs() -> Vec<&'static str> {
    distinct(shared::VERBS)
}

/// Adjectives that fit every topic, each once.
pub fn adjectives() -> Vec<&'static str> {
    distinct(shared::ADJECTIVES)
}

/// Everyday words, each once.
pub fn common() -> Vec<&'static str> {
    distinct(common::COMMON)
}

/// Every word of every list exactly once, in a fixed order: everyday words first, then shared lists, then topics.
pub fn all() -> Vec<&'static str> {
    let mut seen = HashSet::new();
    let mut words = Vec::with_capacity(8192);
    let topic_words = topics().iter().flat_map(|t| [t.nouns, t.verbs]);
    for list in [
        common::COMMON,
        shared::CONNECTORS,
        shared::VERBS,
        shared::ADJECTIVES,
    ]
    .into_iter()
    .chain(topic_words)
    {
        words.extend(list.split_ascii_whitespace().filter(|w| seen.insert(*w)));
    }
    words
}

fn distinct(list: &'static str) -> Vec<&'static str> {
    let mut seen = HashSet::new();
    list.split_ascii_whitespace()
        .filter(|w| seen.insert(*w))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabulary_is_broad_lower_case_ascii_and_distinct() {
        let words = all();
        assert!(words.len() >= 3000, "{} words", words.len());
        assert!(
            words
                .iter()
                .all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
        );
        let set: HashSet<_> = words.iter().collect();
        assert_eq!(set.len(), words.len());
    }

    #[test]
    fn every_topic_has_breadth_and_the_weights_are_a_distribution() {
        assert_eq!(topics().len(), 20);
        for t in topics() {
            assert!(
                t.nouns().len() >= 50,
                "{}: {} nouns",
                t.name,
                t.nouns().len()
            );
            assert!(
                t.verbs().len() >= 20,
                "{}: {} verbs",
                t.name,
                t.verbs().len()
            );
            assert!(t.weight > 0);
        }
        assert!(connectors().len() >= 65 && shared_verbs().len() >= 50 && adjectives().len() >= 40);
    }
}
