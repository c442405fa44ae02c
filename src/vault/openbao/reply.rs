//! What a vault server's JSON means: pure functions, so that every odd answer is a case of a table.
//! Refuses to quote what it read: a wrong answer may hold the secret.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::secret::SecretString;
use crate::vault::source::{Entry, Warning, odd};

/// How a mount keeps its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kv {
    /// Unversioned; so are the answers of every other engine.
    One,
    /// Versioned: one level deeper.
    Two,
}

/// What a read of an entry brought.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) lease: Option<Terms>,
}

/// For how long an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Empty: nothing to renew, the server only says how soon to look again.
    pub(super) id: String,
    pub(super) lasts: Duration,
    pub(super) renewable: bool,
}

/// What a login, a renewal or a look at a token brought.
pub(super) struct Granted {
    /// None in answers that do not repeat it.
    pub(super) token: Option<SecretString>,
    /// None: it does not end.
    pub(super) lasts: Option<Duration>,
    pub(super) renewable: bool,
}

/// The entry in an answer of 200.
pub(super) fn entry(kv: Kv, body: &[u8]) -> Result<Found, String> {
    let mut whole: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
    let lease = terms(&whole);
    let outer = whole.get_mut("data").map(Value::take).unwrap_or_default();
    let fields = match (kv, outer) {
        (Kv::One, Value::Object(fields)) => fields,
        (Kv::Two, Value::Object(mut outer)) => match outer.get_mut("data").map(Value::take) {
            Some(Value::Object(fields)) => fields,
            Some(_) | None => {
                return Err("the answer has no `data` in its `data`, as KV v2 has; set `kv = 1` if the mount is of version 1".to_owned());
            }
        },
        (_, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err("the answer has no `data`".to_owned());
        }
    };
    Ok(Found { entry: fields_of(fields), lease })
}

/// A JSON object as an entry: what is no text is kept out, and said to whoever names it.
pub(in crate::vault) fn fields_of(object: Map<String, Value>) -> Entry {
    let mut entry = Entry::default();
    for (name, value) in object {
        let unfit = match value {
            Value::String(text) => {
                entry.warnings.extend(odd(&text).map(|what| Warning { field: name.clone(), what }));
                entry.fields.insert(name, SecretString::from(text));
                continue;
            }
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Array(_) => "a list",
            Value::Object(_) => "a nested object",
        };
        entry.unfit.insert(name, unfit);
    }
    entry
}

/// Whether an answer of 404 is about a version that was deleted; else nothing was ever there.
pub(super) fn is_deleted(body: Option<&Value>) -> bool {
    body.is_some_and(|body| body.pointer("/data/metadata").is_some())
}

/// What a mount is, as `sys/internal/ui/mounts/…` tells.
pub(super) fn mounted(body: &Value) -> Kv {
    let version = body.pointer("/data/options/version").and_then(Value::as_str);
    if version == Some("2") { Kv::Two } else { Kv::One }
}

/// The `auth` of a login or a renewal.
pub(super) fn granted(body: Option<Value>) -> Option<Granted> {
    let mut auth = body?.get_mut("auth").map(Value::take)?;
    let token = auth.get_mut("client_token").map(Value::take).and_then(text);
    auth.is_object().then(|| Granted { token, lasts: lasting(auth.get("lease_duration")), renewable: flag(auth.get("renewable")) })
}

/// The `data` of a look at a token.
pub(super) fn looked_up(body: Option<&Value>) -> Granted {
    let data = body.and_then(|body| body.get("data"));
    let of = |key| data.and_then(|data: &Value| data.get(key));
    Granted { token: None, lasts: lasting(of("ttl")), renewable: flag(of("renewable")) }
}

/// The terms at the head of an answer; none where nothing ends.
pub(super) fn terms(body: &Value) -> Option<Terms> {
    let lasts = lasting(body.get("lease_duration"))?;
    let id = body.get("lease_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Terms { renewable: flag(body.get("renewable")) && !id.is_empty(), id, lasts })
}

/// What `sys/wrapping/unwrap` gave back of a secret id.
pub(super) fn unwrapped(body: Option<Value>) -> Option<SecretString> {
    body?.pointer_mut("/data/secret_id").map(Value::take).and_then(text)
}

/// The errors of an answer in one line, cleaned and cut, and without what we ourselves had said.
pub(super) fn complaint(body: Option<&Value>, secrets: &[&str]) -> String {
    let errors = body.and_then(|body| body.get("errors")).and_then(Value::as_array);
    let words: Vec<&str> = errors.into_iter().flatten().filter_map(Value::as_str).collect();
    cleaned(&words.join("; "), secrets)
}

/// Foreign words as one short line.
fn cleaned(words: &str, secrets: &[&str]) -> String {
    let masked = secrets.iter().filter(|secret| secret.len() >= 4).fold(words.to_owned(), |words, secret| words.replace(secret, "***"));
    let plain: String = masked.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(160).collect()
}

fn text(value: Value) -> Option<SecretString> {
    match value {
        Value::String(text) if !text.is_empty() => Some(SecretString::from(text)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn lasting(value: Option<&Value>) -> Option<Duration> {
    value.and_then(Value::as_u64).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn flag(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool).unwrap_or_default()
}

/// What of an entry is no text, by field.
pub(in crate::vault) type Unfit = BTreeMap<String, &'static str>;

#[cfg(test)]
mod tests;
