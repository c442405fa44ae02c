//! One entry of a vault: its fields, and what looks like a mistake in them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::secret::{SecretFields, SecretString};

/// The fields of an entry that are not text: name → what they hold.
pub(in crate::vault) type NonTextFields = BTreeMap<String, &'static str>;

/// One entry, as read.
#[derive(Clone, Default)]
pub struct VaultEntry {
    /// Its fields, under the vault's names.
    pub fields: SecretFields,
    /// Values that look like a mistake; they are passed on unchanged.
    pub warnings: Vec<FieldWarning>,
    /// Fields that are not text. A reference that names one fails.
    pub non_text: NonTextFields,
}

/// A value that looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWarning {
    /// The vault's name of the field.
    pub field: String,
    /// The mistake, as a predicate: "is empty".
    pub problem: &'static str,
}

/// What makes a value look like a mistake, as a predicate: "is empty". None for other values.
pub fn suspicious_value(value: &str) -> Option<&'static str> {
    let quoted = ['"', '\'', '`']
        .iter()
        .any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote));
    if value.is_empty() {
        Some("is empty")
    } else if quoted {
        Some("is in quotes, which are sent as part of it")
    } else if value.trim() != value {
        Some("begins or ends with a blank or a further newline")
    } else {
        None
    }
}

/// Why a value cannot be a credential, whatever the service; a value that is being written begins so.
pub(in crate::vault) fn unusable_value(value: &str) -> Option<&'static str> {
    if value.trim().is_empty() {
        Some("is empty")
    } else if value.contains('\0') {
        Some("contains a NUL byte")
    } else {
        None
    }
}

/// A JSON object as an entry. Values that are not text go to `non_text`.
pub(in crate::vault) fn entry_from_object(object: Map<String, Value>) -> VaultEntry {
    let mut entry = VaultEntry::default();
    for (name, value) in object {
        let held = match value {
            Value::String(text) => {
                entry
                    .warnings
                    .extend(suspicious_value(&text).map(|problem| FieldWarning {
                        field: name.clone(),
                        problem,
                    }));
                entry.fields.insert(name, SecretString::from(text));
                continue;
            }
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Array(_) => "a list",
            Value::Object(_) => "a nested object",
        };
        entry.non_text.insert(name, held);
    }
    entry
}

impl std::fmt::Debug for VaultEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "VaultEntry({} fields, {} warnings)",
            self.fields.len(),
            self.warnings.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_text_are_listed_by_field() {
        let body = r#"{"a":1,"b":true,"c":null,"d":[],"e":{},"f":"text"}"#;
        let entry = entry_from_object(serde_json::from_str(body).unwrap());
        assert_eq!(entry.fields.keys().collect::<Vec<_>>(), ["f"]);
        let non_text: Vec<_> = entry
            .non_text
            .iter()
            .map(|(field, held)| (field.as_str(), *held))
            .collect();
        assert_eq!(
            non_text,
            [
                ("a", "a number"),
                ("b", "true or false"),
                ("c", "null"),
                ("d", "a list"),
                ("e", "a nested object")
            ]
        );
    }
}
