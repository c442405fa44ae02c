//! The names in the config, which bound every label that no enum bounds.

use std::collections::BTreeSet;

use crate::telemetry::MetricsSchema;

/// The label value for a name that is not in the config.
pub(super) const OTHER: &str = "other";
/// The label value if there is nothing to name.
pub(super) const NONE: &str = "none";

/// The names of one config.
#[derive(Debug)]
pub(super) struct LabelSet {
    pub(super) providers: BTreeSet<String>,
    pub(super) routes: BTreeSet<String>,
    pub(super) vaults: BTreeSet<String>,
    pub(super) dialects: BTreeSet<String>,
}

impl LabelSet {
    pub(super) fn from_schema(shape: &MetricsSchema) -> Self {
        Self {
            providers: shape
                .providers
                .iter()
                .map(|(id, _)| id.as_str().to_owned())
                .collect(),
            routes: shape
                .config
                .routes
                .iter()
                .map(|route| route.name.clone())
                .collect(),
            vaults: shape.vaults.iter().cloned().collect(),
            dialects: shape
                .dialects
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }
}

/// `name` if it is in the config, otherwise `other`.
pub(super) fn label_or_other<'a>(name: &'a str, names: &BTreeSet<String>) -> &'a str {
    if names.contains(name) { name } else { OTHER }
}
