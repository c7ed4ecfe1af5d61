//! Words of a choice.

use clap::ValueEnum;

/// Requires of every value that the word that is parsed is the word that is written.
///
/// # Panics
/// When one is not, or there is no value.
#[track_caller]
pub fn assert_agree<T: ValueEnum + ToString>() {
    assert!(!T::value_variants().is_empty(), "no value");
    for value in T::value_variants() {
        let parsed = value.to_possible_value().expect("no value is skipped");
        assert_eq!(value.to_string(), parsed.get_name());
    }
}
