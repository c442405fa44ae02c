//! One entry of a vault: its fields, and what of a value is sent.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::secret::characters::is_invisible;
use crate::secret::{SecretFields, SecretString};

/// The fields of an entry that are not text: name → what they hold.
pub(in crate::vault) type NonTextFields = BTreeMap<String, &'static str>;

/// One entry, as read.
#[derive(Clone, Default)]
pub struct VaultEntry {
    /// Its fields, under the vault's names.
    pub fields: SecretFields,
    /// When the newest of the files that it was read from was changed; `None`: it is not read from files, or their
    /// file system does not say.
    pub modified: Option<SystemTime>,
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

/// A value that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsableValue<'a> {
    /// What is sent: the value without the blanks and invisible characters around it.
    pub text: &'a str,
    /// What looks like a mistake in it, as a predicate.
    pub warning: Option<&'static str>,
}

/// What of a value is sent, whichever vault it comes from. An error says, as a predicate, why it cannot be a
/// credential. One newline at the end, which editors add, is not a mistake.
pub fn usable_value(value: &str) -> Result<UsableValue<'_>, &'static str> {
    let line = value
        .strip_suffix("\r\n")
        .or(value.strip_suffix('\n'))
        .unwrap_or(value);
    let text = line.trim_matches(is_blank);
    if text.is_empty() {
        return Err("is empty");
    }
    if let Some(found) = text.chars().find_map(unusable_char) {
        return Err(found);
    }
    let is_quoted = ['"', '\'', '`']
        .iter()
        .any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote));
    let warning = if is_quoted {
        Some("is in quotes, which are sent as part of it")
    } else if text != line {
        Some("begins or ends with a blank, a newline or a byte order mark, which is not sent")
    } else {
        None
    };
    Ok(UsableValue { text, warning })
}

/// Looks like nothing around a value.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || draws_nothing(char)
}

/// What copies from web pages and editors bring along: the invisible characters, and a byte order mark read in the
/// wrong order.
fn draws_nothing(char: char) -> bool {
    is_invisible(char) || char == '\u{fffe}'
}

/// Why no credential has this character inside. A space may be part of a password.
fn unusable_char(char: char) -> Option<&'static str> {
    match char {
        '\0' => Some("contains a NUL byte"),
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some("contains a newline"),
        ' ' => None,
        _ if char.is_whitespace() => Some("contains a blank that is not a space"),
        _ if char.is_control() || draws_nothing(char) => Some("contains an invisible character"),
        _ => None,
    }
}

/// A JSON object as an entry. Values that are not text go to `non_text`.
pub(in crate::vault) fn entry_from_object(object: Map<String, Value>) -> VaultEntry {
    let mut entry = VaultEntry::default();
    for (name, value) in object {
        let held = match value {
            Value::String(text) => {
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
        write!(f, "VaultEntry({} fields)", self.fields.len())
    }
}

#[cfg(test)]
mod tests;
