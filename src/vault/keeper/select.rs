//! Which of an entry's fields a reference gets, and under which names: the config's mapping first,
//! then the field's own name, then the names that `.env` files have for it.

use crate::secret::Fields;
use crate::vault::error::ReadError;
use crate::vault::settings::Reference;
use crate::vault::source::Entry;

/// What `reference` names of `entry`, under the dialect's names; all of it where it names nothing.
pub(super) fn select(mut entry: Entry, reference: &Reference, place: &str) -> Result<Entry, ReadError> {
    if reference.fields.is_empty() && reference.names.is_empty() {
        return Ok(entry);
    }
    let mut fields = Fields::new();
    let mut taken = Vec::new();
    for field in reference.names.keys().chain(reference.fields.keys()) {
        if let Some((name, value)) = names(reference, field).find_map(|name| entry.fields.get_key_value(name)) {
            fields.insert(field.clone(), value.clone());
            taken.push(name.clone());
        }
    }
    if fields.is_empty() {
        return Err(ReadError::NoFields { place: place_of(place, &reference.path).into(), names: sought(reference).into() });
    }
    entry.warnings.retain(|warning| taken.contains(&warning.field));
    entry.fields = fields;
    Ok(entry)
}

/// What `field` may be called in the vault, in the order to look. A mapped field is called what the mapping says
/// and nothing else: somebody meant that.
fn names<'a>(reference: &'a Reference, field: &'a str) -> impl Iterator<Item = &'a String> {
    let mapped = reference.fields.get(field);
    let own = reference.names.get_key_value(field).filter(|_| mapped.is_none());
    mapped.into_iter().chain(own.into_iter().flat_map(|(own, others)| std::iter::once(own).chain(others)))
}

fn sought(reference: &Reference) -> String {
    let all = reference.names.keys().chain(reference.fields.keys().filter(|field| !reference.names.contains_key(*field)));
    let all: Vec<&str> = all.flat_map(|field| names(reference, field)).map(String::as_str).collect();
    all.join(", ")
}

fn place_of(place: &str, path: &str) -> String {
    if path.is_empty() { place.to_owned() } else { format!("`{path}` in {place}") }
}
