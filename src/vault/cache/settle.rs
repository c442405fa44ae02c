//! When content that was read counts as complete, and which of it is used. Pure: times and values in, a
//! decision out.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::secret::{Credential, SecretFields, SecretString};
use crate::vault::cache::select;
use crate::vault::entry::{FieldWarning, VaultEntry, usable_value};
use crate::vault::error::ReadError;
use crate::vault::reference::CredentialRef;

/// A file that nobody changed for this long is complete. Writers that empty a file first, and then fill it, take
/// less.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// The shortest pause between two reads of an entry that may be incomplete.
const MIN_DELAY: Duration = Duration::from_millis(50);

/// Whether to use what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Use it.
    Settled,
    /// Read again after this time.
    Wait(Duration),
}

/// `unchanged_for`: how long the reads of now have returned the same. `age`: the time since the newest of the files
/// was changed; `None`: no file system says it. A file from the future, or one that is touched again and again, has
/// settled by its content.
pub(super) fn settlement(unchanged_for: Duration, age: Option<Duration>) -> Settlement {
    let needed = match age {
        Some(age) if age >= SETTLE_TIME => Duration::ZERO,
        Some(_) => SETTLE_TIME,
        None => MIN_DELAY,
    };
    if unchanged_for >= needed {
        return Settlement::Settled;
    }
    let until_old = SETTLE_TIME.saturating_sub(age.unwrap_or_default());
    Settlement::Wait(until_old.min(needed).max(MIN_DELAY))
}

/// An entry as it is used.
pub(super) struct UsableEntry {
    pub(super) fields: SecretFields,
    pub(super) warnings: Vec<FieldWarning>,
}

/// Fails if a field has a value that cannot be sent. A field that is empty or gone fails only if an earlier credential
/// has it, which then stays: the file is being written in place, or was emptied. In a first read it is the use that
/// fails, with the cause of a missing credential.
pub(super) fn usable_entry(
    entry: &VaultEntry,
    known: Option<&Credential>,
    reference: &CredentialRef,
    place: &str,
) -> Result<UsableEntry, ReadError> {
    let unusable = |field: &str, what: &'static str| ReadError::UnusableField {
        field: field.into(),
        location: select::entry_location(place, &reference.path).into(),
        what,
        is_kept: known.is_some(),
    };
    let gone = known.and_then(|known| {
        let is_gone =
            |field: &&String| known.expose(field).is_some() && !entry.fields.contains_key(*field);
        reference.aliases.keys().find(is_gone)
    });
    if let Some(field) = gone {
        return Err(unusable(field, "is gone"));
    }
    let mut usable = UsableEntry {
        fields: SecretFields::new(),
        warnings: Vec::new(),
    };
    for (field, value) in &entry.fields {
        let (text, warning) = match usable_value(value.expose_secret()) {
            Ok(value) => (value.text, value.warning),
            Err("is empty") if known.is_none() => ("", Some("is empty")),
            Err(what) => return Err(unusable(field, what)),
        };
        let warning = warning.map(|problem| FieldWarning {
            field: field.clone(),
            problem,
        });
        usable.warnings.extend(warning);
        let text = SecretString::from(text);
        usable.fields.insert(field.clone(), text);
    }
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_used_when_it_has_settled() {
        let ms = Duration::from_millis;
        for (unchanged, age, expected) in [
            (0, Some(500), Settlement::Settled),
            (0, Some(0), Settlement::Wait(ms(500))),
            (0, Some(480), Settlement::Wait(ms(50))),
            (0, Some(100), Settlement::Wait(ms(400))),
            // Touched all the time, or dated in the future.
            (450, Some(0), Settlement::Wait(ms(500))),
            (500, Some(0), Settlement::Settled),
            // No time is known: two reads that agree.
            (0, None, Settlement::Wait(ms(50))),
            (50, None, Settlement::Settled),
        ] {
            let settled = settlement(ms(unchanged), age.map(ms));
            assert_eq!(settled, expected, "{unchanged} {age:?}");
        }
    }
}
