//! Selects the fields that a reference gets, and their names: the config's mapping first, then the
//! field's own name, then its names in `.env` files.

use crate::secret::SecretFields;
use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;
use crate::vault::reference::CredentialRef;

/// The fields of `entry` that `reference` names, under the dialect's names; the whole entry if it names none.
pub(super) fn select_fields(
    mut entry: VaultEntry,
    reference: &CredentialRef,
    place: &str,
) -> Result<VaultEntry, ReadError> {
    if reference.fields.is_empty() && reference.aliases.is_empty() {
        return match entry.non_text.iter().next() {
            Some((field, what)) => Err(non_text_error(field, what, reference, place)),
            None => Ok(entry),
        };
    }
    let mut fields = SecretFields::new();
    for field in reference.aliases.keys().chain(reference.fields.keys()) {
        let Some(name) = candidate_names(reference, field)
            .find(|name| entry.fields.contains_key(*name) || entry.non_text.contains_key(*name))
        else {
            continue;
        };
        if let Some(what) = entry.non_text.get(name) {
            return Err(non_text_error(name, what, reference, place));
        }
        let value = entry.fields.get(name);
        fields.extend(value.map(|value| (field.clone(), value.clone())));
    }
    if fields.is_empty() {
        return Err(ReadError::MissingFields {
            location: entry_location(place, &reference.path).into(),
            names: searched_names(reference).into(),
        });
    }
    entry.fields = fields;
    Ok(entry)
}

fn non_text_error(field: &str, what: &str, reference: &CredentialRef, place: &str) -> ReadError {
    let what = format!("its field `{field}` is {what}, not text").into();
    ReadError::InvalidReply {
        path: reference.path.as_str().into(),
        location: place.into(),
        what,
    }
}

/// The names that `field` may have in the vault, in the order of the search. A mapped field has its mapped name
/// only, because the config sets it explicitly.
fn candidate_names<'a>(
    reference: &'a CredentialRef,
    field: &'a str,
) -> impl Iterator<Item = &'a String> {
    let mapped = reference.fields.get(field);
    let own = reference
        .aliases
        .get_key_value(field)
        .filter(|_| mapped.is_none());
    mapped.into_iter().chain(
        own.into_iter()
            .flat_map(|(own, others)| std::iter::once(own).chain(others)),
    )
}

fn searched_names(reference: &CredentialRef) -> String {
    let all = reference.aliases.keys().chain(
        reference
            .fields
            .keys()
            .filter(|field| !reference.aliases.contains_key(*field)),
    );
    let all: Vec<&str> = all
        .flat_map(|field| candidate_names(reference, field))
        .map(String::as_str)
        .collect();
    all.join(", ")
}

pub(super) fn entry_location(place: &str, path: &str) -> String {
    if path.is_empty() {
        place.to_owned()
    } else {
        format!("`{path}` in {place}")
    }
}
