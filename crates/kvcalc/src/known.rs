//! The geometry of public models, for when their configs cannot be had.
//!
//! Facts only, in `data/models.json`: per row the ids that share a geometry and the keys of their published
//! `config.json` that decide it. Beside them stand, for the tests, the bytes per token worked out by hand and, for some
//! rows, what an engine allocated or somebody published, with the source's name.
//!
//! Promise: a row is read by the same rules as any config; nothing here is a formula of its own.

use serde::Deserialize;
use serde_json::Value;

use crate::config::ConfigError;
use crate::geometry::ModelGeometry;

const TABLE: &str = include_str!("../data/models.json");

/// One row of the table.
#[derive(Clone, Debug, Deserialize)]
pub struct KnownModel {
    /// Hub ids with this geometry; the first is the one the facts are best known for.
    pub ids: Vec<String>,
    /// The keys of `config.json` that decide the geometry.
    pub config: Value,
}

impl KnownModel {
    /// What the model keeps.
    ///
    /// # Errors
    /// None for rows of the table, which tests read; the signature is that of any config.
    pub fn geometry(&self) -> Result<ModelGeometry, ConfigError> {
        ModelGeometry::from_config(&self.config)
    }
}

/// All rows, in the order of the table.
#[must_use]
pub fn all() -> Vec<KnownModel> {
    serde_json::from_str(TABLE).expect("the table is part of the program and tests read it")
}

/// The row of a Hub id, in any case.
#[must_use]
pub fn find(id: &str) -> Option<KnownModel> {
    all()
        .into_iter()
        .find(|row| row.ids.iter().any(|known| known.eq_ignore_ascii_case(id)))
}

#[cfg(test)]
mod tests;
