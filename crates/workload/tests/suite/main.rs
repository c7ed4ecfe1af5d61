//! All tests of the crate's public face, in one binary.

#[cfg(test)]
mod builtin_training;
#[cfg(test)]
mod coldness;
#[cfg(test)]
mod exact_counts;
#[cfg(test)]
mod families;
#[cfg(test)]
mod fingerprints;
#[cfg(test)]
mod kept_tables;
#[cfg(test)]
mod verification;
