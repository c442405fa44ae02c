//! Which of an entry's fields a reference gets, and under which names: the config's mapping first,
//! then the field's own name, then the names that `.env` files have for it.

use crate::secret::SecretFields;
use crate::vault::error::ReadError;
use crate::vault::settings::Reference;
use crate::vault::source::Entry;

/// What `reference` names of `entry`, under the dialect's names; all of it where it names nothing.
pub(super) fn select(mut entry: Entry, reference: &Reference, place: &str) -> Result<Entry, ReadError> {
    if reference.fields.is_empty() && reference.names.is_empty() {
        let unfit = entry.unfit.iter().next();
        return unfit.map_or(Ok(()), |(field, what)| Err(no_text(field, what, reference, place))).map(|()| entry);
    }
    let mut fields = SecretFields::new();
    let mut taken = Vec::new();
    for field in reference.names.keys().chain(reference.fields.keys()) {
        let Some(name) = names(reference, field).find(|name| entry.fields.contains_key(*name) || entry.unfit.contains_key(*name)) else {
            continue;
        };
        if let Some(what) = entry.unfit.get(name) {
            return Err(no_text(name, what, reference, place));
        }
        fields.extend(entry.fields.get(name).map(|value| (field.clone(), value.clone())));
        taken.push(name.clone());
    }
    if fields.is_empty() {
        return Err(ReadError::NoFields { place: place_of(place, &reference.path).into(), names: sought(reference).into() });
    }
    entry.warnings.retain(|warning| taken.contains(&warning.field));
    entry.fields = fields;
    Ok(entry)
}

fn no_text(field: &str, what: &str, reference: &Reference, place: &str) -> ReadError {
    let what = format!("its field `{field}` is {what}, not text").into();
    ReadError::BadReply { path: reference.path.as_str().into(), place: place.into(), what }
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
