//! Takes our secrets out of a provider's reply before the backend or the log gets it: some services
//! echo a key in an error. Looks for each secret as it is, and as base64, URL encoding and JSON write
//! it. Does not look for secrets shorter than [`MIN_SECRET_LEN`]: ordinary text contains them.

use std::sync::{Arc, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::dialect::{Dialect, LoginToken, Reply};
use crate::policy::CredentialRevision;
use crate::provider::ProviderRuntime;
use crate::provider::auth_context::AuthContext;

const REPLACEMENT: &[u8] = b"***";
/// The least number of bytes of a secret, and of each spelling of it, that is searched for.
const MIN_SECRET_LEN: usize = 8;

/// The redactor of the credential and token that were used last.
#[derive(Debug)]
pub(crate) struct CachedRedactor {
    revision: CredentialRevision,
    redactor: Arc<Redactor>,
}

/// The spellings of secrets, made once and wiped on drop.
pub(crate) struct Redactor {
    needles: Vec<Zeroizing<Vec<u8>>>,
}

impl Redactor {
    /// Looks for these secrets; the short ones are left out.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets
            .into_iter()
            .filter(|secret| secret.len() >= MIN_SECRET_LEN);
        Self {
            needles: secrets.flat_map(spellings).collect(),
        }
    }

    /// Looks for everything secret that an attempt presents: the fields of the credential that the dialect does not
    /// declare `public`, and the token.
    pub(crate) fn for_auth(dialect: &Dialect, auth: &AuthContext) -> Self {
        let is_public = |name: &str| {
            dialect
                .credential_fields()
                .iter()
                .any(|field| field.public && field.name == name)
        };
        let fields = auth
            .credential
            .field_names()
            .filter(|name| !is_public(name))
            .filter_map(|name| auth.credential.expose(name));
        let token = auth.token.as_deref().into_iter();
        Self::new(fields.chain(token.flat_map(LoginToken::exposed_values)))
    }

    /// `reply` with every spelling of the secrets replaced by `***`, in headers and body.
    pub(crate) fn redact_reply(&self, mut reply: Reply) -> Reply {
        for value in reply.headers.values_mut() {
            if let Some(redacted) = self.redact_bytes(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&redacted)
                    .unwrap_or_else(|_| HeaderValue::from_static("***"));
            }
        }
        if let Some(body) = self.redact_bytes(&reply.body) {
            reply.body = Bytes::from(body);
        }
        reply
    }

    /// None if no secret is in `text`.
    fn redact_bytes(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut redacted: Option<Vec<u8>> = None;
        for needle in &self.needles {
            let current = redacted.as_deref().unwrap_or(text);
            if memmem::find(current, needle).is_some() {
                redacted = Some(replace_all(current, needle));
            }
        }
        redacted
    }
}

impl ProviderRuntime {
    /// The provider's reply without our secrets. A new redactor is built only for another credential or token.
    pub(crate) fn redact(&self, reply: Reply, auth: &AuthContext) -> Reply {
        let mut cached = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cached
            .as_ref()
            .filter(|cached| cached.revision == auth.revision)
            .map(|cached| Arc::clone(&cached.redactor));
        let redactor = known.unwrap_or_else(|| {
            let redactor = Arc::new(Redactor::for_auth(&self.provider.dialect, auth));
            *cached = Some(CachedRedactor {
                revision: auth.revision,
                redactor: Arc::clone(&redactor),
            });
            redactor
        });
        drop(cached);
        redactor.redact_reply(reply)
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} spellings)", self.needles.len())
    }
}

/// The ways a service may write `secret`, longest first.
fn spellings(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let json = Zeroizing::new(serde_json::to_string(secret).unwrap_or_default());
    let mut all = vec![
        secret.as_bytes().to_vec(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC)
            .to_string()
            .into_bytes(),
        form_urlencoded::byte_serialize(secret.as_bytes())
            .collect::<String>()
            .into_bytes(),
        json.trim_matches('"').as_bytes().to_vec(),
    ];
    for before in 0..3 {
        all.push(base64_inner(secret, before, &STANDARD_NO_PAD));
        all.push(base64_inner(secret, before, &URL_SAFE_NO_PAD));
    }
    let mut all: Vec<Zeroizing<Vec<u8>>> = all
        .into_iter()
        .map(Zeroizing::new)
        .filter(|needle| needle.len() >= MIN_SECRET_LEN)
        .collect();
    all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    all.dedup();
    all
}

/// The characters of a base64 text that depend on `secret` alone if `before` other bytes (modulo three)
/// precede it, as in `user:secret`.
fn base64_inner(secret: &str, before: usize, engine: &impl Engine) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(secret.as_bytes());
    let text = engine.encode(&padded);
    let first = (before * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    text.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

fn replace_all(text: &[u8], needle: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = memmem::find(rest, needle)
        .and_then(|at| Some((rest.get(..at)?, rest.get(at + needle.len()..)?)))
    {
        out.extend_from_slice(head);
        out.extend_from_slice(REPLACEMENT);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use http::{HeaderMap, StatusCode};

    use crate::dialect::Catalog;
    use crate::secret::{Credential, SecretFields, SecretString, Version};

    #[test]
    fn a_secret_is_redacted_in_every_spelling() {
        let secret = "p+ss/w\"rd&0123=%";
        for echo in [
            secret.to_owned(),
            serde_json::to_string(secret).unwrap(),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("u:{secret}")),
            STANDARD.encode(format!("us:{secret}")),
            STANDARD.encode(format!("use:{secret}")),
            URL_SAFE_NO_PAD.encode(format!("user1:{secret}")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                "x-echo",
                HeaderValue::from_str(&echo.replace('\\', "")).unwrap(),
            );
            let reply = Reply {
                status: StatusCode::OK,
                headers,
                body: format!("before {echo} after {echo}").into(),
            };
            let reply = Redactor::new([secret]).redact_reply(reply);
            let body = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(
                body.contains("***") && body.starts_with("before ") && !body.contains(&echo),
                "{echo} stayed in {body}"
            );
        }
    }

    #[test]
    fn other_text_is_not_changed() {
        let reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: "Request is received".into(),
        };
        assert_eq!(
            Redactor::new(["0123456789"]).redact_reply(reply).body,
            "Request is received"
        );
    }

    fn redact_text(redactor: &Redactor, text: &str) -> String {
        let reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: text.to_owned().into(),
        };
        String::from_utf8(redactor.redact_reply(reply).body.to_vec()).unwrap()
    }

    #[test]
    fn a_secret_of_seven_bytes_stays_in_every_spelling_and_one_of_eight_does_not() {
        for (secret, is_redacted) in [("p+ss/w%", false), ("p+ss/w%0", true)] {
            let redactor = Redactor::new([secret]);
            for spelling in [
                secret.to_owned(),
                STANDARD.encode(secret),
                STANDARD.encode(format!("user:{secret}")),
                utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            ] {
                let body = redact_text(&redactor, &spelling);
                assert_eq!(body.contains("***"), is_redacted, "{secret} as {spelling}");
            }
        }
    }

    #[test]
    fn a_public_field_stays_and_a_secret_field_does_not() {
        let catalog = Catalog::built_in();
        let dialect = catalog.get("twilio").unwrap();
        let fields = [
            ("account_sid", "AC0123456789abcdef"),
            ("auth_token", "secret-0123456789"),
        ];
        let fields = fields
            .map(|(name, value)| (name.to_owned(), SecretString::from(value)))
            .into();
        let auth = AuthContext::for_credential(Arc::new(Credential::new(Version(1), fields)));
        let redactor = Redactor::for_auth(dialect, &auth);
        assert_eq!(
            redact_text(&redactor, "AC0123456789abcdef secret-0123456789"),
            "AC0123456789abcdef ***"
        );
    }

    #[test]
    fn the_values_of_a_token_are_redacted() {
        let catalog = Catalog::built_in();
        let dialect = catalog.get("eskiz").unwrap();
        let reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: r#"{"message":"token_generated","data":{"token":"token-0123456789"}}"#.into(),
        };
        let token = dialect.read_login(&reply, jiff::Timestamp::UNIX_EPOCH);
        let credential = Arc::new(Credential::new(Version(1), SecretFields::new()));
        let auth = AuthContext::for_credential(credential)
            .with_token(Arc::new(token.unwrap()), CredentialRevision::default());
        let redactor = Redactor::for_auth(dialect, &auth);
        assert_eq!(
            redact_text(&redactor, "Bearer token-0123456789"),
            "Bearer ***"
        );
    }
}
