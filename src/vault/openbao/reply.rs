//! Parses a vault server's JSON: pure functions, so that every odd response is a case of a table.
//! Errors never quote the response: even a wrong one may hold the secret.

use std::time::Duration;

use serde_json::Value;

use crate::parse_limit::{JsonError, read_json};
use crate::secret::SecretString;
use crate::secret::redact::Redactor;
use crate::vault::entry::{VaultEntry, entry_from_object};
use crate::vault::openbao::settings::KvVersion;

/// The result of a read of an entry.
#[derive(Debug)]
pub(super) struct EntryReply {
    pub(super) entry: VaultEntry,
    pub(super) lease: Option<LeaseTerms>,
}

/// How long an entry is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaseTerms {
    /// Empty if there is nothing to renew and the server only sets the time of the next read.
    pub(super) id: String,
    pub(super) ttl: Duration,
    pub(super) renewable: bool,
}

/// The result of a login, a renewal or a token lookup.
pub(super) struct TokenGrant {
    /// None in responses that do not repeat it.
    pub(super) token: Option<SecretString>,
    /// None if it does not expire.
    pub(super) ttl: Option<Duration>,
    pub(super) renewable: bool,
}

/// The entry in a response with status 200.
pub(super) fn parse_entry(kv: KvVersion, body: &[u8]) -> Result<EntryReply, String> {
    let mut whole: Value = read_json(body).map_err(|error| match error {
        JsonError::Limit(limit) => limit.to_string(),
        JsonError::Malformed(_) => "the answer is not JSON".to_owned(),
    })?;
    let lease = lease_terms(&whole);
    let outer = whole.get_mut("data").map(Value::take).unwrap_or_default();
    let fields = match (kv, outer) {
        (KvVersion::V1, Value::Object(fields)) => fields,
        (KvVersion::V2, Value::Object(mut outer)) => match outer.get_mut("data").map(Value::take) {
            Some(Value::Object(fields)) => fields,
            Some(_) | None => {
                return Err("the answer has no `data` in its `data`, as KV v2 has; set `kv = 1` if the mount is of version 1".to_owned());
            }
        },
        (
            _,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        ) => {
            return Err("the answer has no `data`".to_owned());
        }
    };
    Ok(EntryReply {
        entry: entry_from_object(fields),
        lease,
    })
}

/// Whether a 404 is about a deleted version; otherwise there never was an entry.
pub(super) fn is_deleted(body: Option<&Value>) -> bool {
    body.is_some_and(|body| body.pointer("/data/metadata").is_some())
}

/// The KV version of a mount, as `sys/internal/ui/mounts/…` reports it.
pub(super) fn mount_kv_version(body: &Value) -> KvVersion {
    let version = body
        .pointer("/data/options/version")
        .and_then(Value::as_str);
    if version == Some("2") {
        KvVersion::V2
    } else {
        KvVersion::V1
    }
}

/// The `auth` of a login or a renewal.
pub(super) fn token_grant(body: Option<Value>) -> Option<TokenGrant> {
    let mut auth = body?.get_mut("auth").map(Value::take)?;
    let token = auth
        .get_mut("client_token")
        .map(Value::take)
        .and_then(non_empty_text);
    auth.is_object().then(|| TokenGrant {
        token,
        ttl: positive_seconds(auth.get("lease_duration")),
        renewable: bool_or_false(auth.get("renewable")),
    })
}

/// The `data` of a token lookup.
pub(super) fn token_lookup(body: Option<&Value>) -> TokenGrant {
    let data = body.and_then(|body| body.get("data"));
    let of = |key| data.and_then(|data: &Value| data.get(key));
    TokenGrant {
        token: None,
        ttl: positive_seconds(of("ttl")),
        renewable: bool_or_false(of("renewable")),
    }
}

/// The lease terms of a response; none if nothing expires.
pub(super) fn lease_terms(body: &Value) -> Option<LeaseTerms> {
    let lasts = positive_seconds(body.get("lease_duration"))?;
    let id = body
        .get("lease_id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    Some(LeaseTerms {
        renewable: bool_or_false(body.get("renewable")) && !id.is_empty(),
        id,
        ttl: lasts,
    })
}

/// The secret id in the response of `sys/wrapping/unwrap`.
pub(super) fn unwrapped_secret_id(body: Option<Value>) -> Option<SecretString> {
    body?
        .pointer_mut("/data/secret_id")
        .map(Value::take)
        .and_then(non_empty_text)
}

/// The errors of a response in one line, cleaned, truncated, and without the values that the sidecar sent.
pub(super) fn error_summary(body: Option<&Value>, secrets: &[&str]) -> String {
    let errors = body
        .and_then(|body| body.get("errors"))
        .and_then(Value::as_array);
    let words: Vec<&str> = errors
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    sanitize(&words.join("; "), secrets)
}

/// Untrusted text as one short line. A short secret is found only as it is.
fn sanitize(words: &str, secrets: &[&str]) -> String {
    let redacted = Redactor::new(secrets.iter().copied()).redact_text(words.to_owned());
    let masked = secrets
        .iter()
        .filter(|secret| secret.len() >= 4)
        .fold(redacted, |words, secret| words.replace(secret, "***"));
    let plain: String = masked
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(160).collect()
}

fn non_empty_text(value: Value) -> Option<SecretString> {
    match value {
        Value::String(text) if !text.is_empty() => Some(SecretString::from(text)),
        Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

fn positive_seconds(value: Option<&Value>) -> Option<Duration> {
    value
        .and_then(Value::as_u64)
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

fn bool_or_false(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests;
