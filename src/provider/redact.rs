//! Takes our secrets out of a provider's reply before the backend or the log gets it: some services
//! echo a key in an error. A JSON body is redacted in its decoded tree, so that it stays JSON; every
//! other text by the same function in its place.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::dialect::{Dialect, LoginToken, Reply};
use crate::parse_limit::read_json;
use crate::policy::CredentialRevision;
use crate::provider::ProviderRuntime;
use crate::provider::auth_context::AuthContext;
use crate::secret::redact::Redactor;
use crate::secret::search::TooMuchWork;

/// The redactor of the credential and token that were used last.
#[derive(Debug)]
pub(crate) struct CachedRedactor {
    revision: CredentialRevision,
    redactor: Arc<Redactor>,
}

/// Searching a shorter body takes about a millisecond at most.
const MAX_INLINE_BYTES: usize = 16 << 10;
/// How many long bodies are searched at once: a search takes many times the memory of its body.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// Takes the place of a body that could not be searched.
const UNSEARCHED: &[u8] =
    b"*** (the sidecar removed this reply: it takes too much work to search it for \
secrets)";

impl Redactor {
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

    /// `reply` with everything that stands for a secret replaced by `***`, in headers and body. What is read from it
    /// afterwards has none.
    pub(crate) fn redact_reply(&self, mut reply: Reply) -> Reply {
        for value in reply.headers.values_mut() {
            if let Some(redacted) = self.redacted(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&redacted)
                    .unwrap_or_else(|_| HeaderValue::from_static("***"));
            }
        }
        match self.redact_bytes(&reply.body) {
            Ok(None) => {}
            Ok(Some(redacted)) => {
                let json = self.redact_json(&reply.body);
                reply.body = Bytes::from(json.unwrap_or(redacted));
            }
            Err(TooMuchWork) => reply.body = Bytes::from_static(UNSEARCHED),
        }
        reply
    }

    /// The same, and a long body is searched beside the threads that serve requests, within `limit`: searches wait for
    /// each other. One that takes longer ends at its work limit, and its result is not used.
    pub(crate) async fn redact_reply_aside(&self, reply: Reply, limit: Duration) -> Reply {
        if reply.body.len() <= MAX_INLINE_BYTES {
            return self.redact_reply(reply);
        }
        let status = reply.status;
        let redactor = self.clone();
        let search = async {
            // Held by the search itself. Nobody closes the semaphore.
            let permit = SEARCHES.acquire().await.ok();
            let search = move || {
                let redacted = redactor.redact_reply(reply);
                drop(permit);
                redacted
            };
            tokio::task::spawn_blocking(search).await.ok()
        };
        // Without a result nothing of the reply is shown.
        let redacted = timeout(limit, search).await.ok().flatten();
        redacted.unwrap_or_else(|| Reply {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(UNSEARCHED),
        })
    }

    /// The text without secrets, if it has any; one that needs too much work is replaced as a whole.
    fn redacted(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.redact_bytes(text)
            .unwrap_or_else(|TooMuchWork| Some(b"***".to_vec()))
    }

    /// The body with redacted strings; none if it is not JSON, has too many values, or has a secret in what is no
    /// string: split over a list, for example.
    fn redact_json(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut tree: Value = read_json(body).ok()?;
        let json = self
            .redact_tree(&mut tree)
            .then(|| tree.to_string().into_bytes())?;
        Some(self.redacted(&json).unwrap_or(json))
    }

    /// Whether anything in the tree was replaced. A number becomes a string.
    fn redact_tree(&self, tree: &mut Value) -> bool {
        let redacted = match tree {
            Value::Null | Value::Bool(_) => None,
            Value::Number(number) => self.redacted(number.to_string().as_bytes()),
            Value::String(text) => self.redacted(text.as_bytes()),
            Value::Array(items) => {
                let changed = items
                    .iter_mut()
                    .filter_map(|item| self.redact_tree(item).then_some(()));
                return changed.count() > 0;
            }
            Value::Object(fields) => return self.redact_fields(fields),
        };
        let Some(redacted) = redacted else {
            return false;
        };
        *tree = Value::String(String::from_utf8_lossy(&redacted).into_owned());
        true
    }

    fn redact_fields(&self, fields: &mut Map<String, Value>) -> bool {
        let mut changed = false;
        let redacted = std::mem::take(fields).into_iter().map(|(name, mut value)| {
            changed |= self.redact_tree(&mut value);
            match self.redacted(name.as_bytes()) {
                Some(redacted) => {
                    changed = true;
                    (String::from_utf8_lossy(&redacted).into_owned(), value)
                }
                None => (name, value),
            }
        });
        *fields = redacted.collect();
        changed
    }
}

impl ProviderRuntime {
    /// The provider's reply without our secrets.
    pub(crate) async fn redact(&self, reply: Reply, auth: &AuthContext, limit: Duration) -> Reply {
        self.redactor(auth).redact_reply_aside(reply, limit).await
    }

    /// Finds what this attempt presents. A new redactor is built only for another credential or token.
    pub(crate) fn redactor(&self, auth: &AuthContext) -> Arc<Redactor> {
        let mut cached = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cached
            .as_ref()
            .filter(|cached| cached.revision == auth.revision)
            .map(|cached| Arc::clone(&cached.redactor));
        known.unwrap_or_else(|| {
            let redactor = Arc::new(Redactor::for_auth(&self.provider.dialect, auth));
            *cached = Some(CachedRedactor {
                revision: auth.revision,
                redactor: Arc::clone(&redactor),
            });
            redactor
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    use crate::dialect::Catalog;
    use crate::secret::{Credential, SecretFields, SecretString, Version};
    use crate::sms::AttemptKind;

    fn reply(body: &str) -> Reply {
        Reply {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    fn redact_text(redactor: &Redactor, text: &str) -> String {
        String::from_utf8(redactor.redact_reply(reply(text)).body.to_vec()).unwrap()
    }

    #[test]
    fn a_json_body_stays_json() {
        let redactor = Redactor::new(["0123456789", "key\"of/x"]);
        for (body, redacted) in [
            (
                r#"{"id":1234567,"key":10123456789}"#,
                r#"{"id":1234567,"key":"1***"}"#,
            ),
            (r#"[{"0123456789":null}]"#, r#"[{"***":null}]"#),
            (
                r#"{"a":"key\u0022of\/x","b":"key&quot;of%2fx!"}"#,
                r#"{"a":"***","b":"***!"}"#,
            ),
            (r#"{"a":"0123456789","a":1}"#, r#"{"a":"***","a":1}"#),
            (
                r#"{"n":1.50,"text":"Request is received"}"#,
                r#"{"n":1.50,"text":"Request is received"}"#,
            ),
            // Without a secret it stays as it is, blanks included.
            (r#"{ "list": [ 1, "x" ] }"#, r#"{ "list": [ 1, "x" ] }"#),
        ] {
            assert_eq!(redact_text(&redactor, body), redacted);
        }
    }

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_search_that_waits_for_others_ends_in_time() {
        let others = SEARCHES.acquire_many(2).await.unwrap();
        let body = "x".repeat(MAX_INLINE_BYTES + 1);
        let redactor = Redactor::new(["Zq7Rw2Xk9LmT4vBn"]);
        let redacted = redactor.redact_reply_aside(reply(&body), LIMIT).await;
        drop(others);
        assert_eq!(redacted.status, StatusCode::BAD_REQUEST);
        assert_eq!(redacted.body, UNSEARCHED);
    }

    /// Long and short bodies, and one that takes too much work: its place says so.
    #[tokio::test]
    async fn a_long_body_is_redacted_too() {
        let secret = "Zq7Rw2Xk9LmT4vBn";
        let redactor = Redactor::new([secret]);
        for length in [10, MAX_INLINE_BYTES, MAX_INLINE_BYTES * 2] {
            let body = format!("{}{secret}!", "- ".repeat(length / 2));
            let redacted = redactor.redact_reply_aside(reply(&body), LIMIT).await;
            assert!(redacted.body.ends_with(b"- ***!"), "{length}");
        }
        let costly = "Zq7R<a %2525&amp;".repeat(4000);
        let redacted = redactor.redact_reply_aside(reply(&costly), LIMIT).await;
        assert_eq!(redacted.body, UNSEARCHED);
    }

    #[test]
    fn headers_are_redacted_too() {
        let mut echo = reply("");
        echo.headers
            .insert("x-echo", HeaderValue::from_static("key=0123%34567%38%39"));
        let redacted = Redactor::new(["0123456789"]).redact_reply(echo);
        assert_eq!(redacted.headers.get("x-echo").unwrap(), "key=***");
    }

    /// What a log line, a page and `doctor` show of a reply: its words and its code.
    #[test]
    fn what_a_classification_quotes_has_no_secret() {
        let catalog = Catalog::built_in();
        let secret = "se/cr\"et&0123%41";
        let redactor = Redactor::new([secret]);
        let bodies = [
            r#"{"message":"no se\/cr\u0022et&amp;0123%2541","code":"se\/cr\u0022et&0123%41"}"#,
            r#"{"error":"no se/cr&quot;et&amp;0123&percnt;41","error-description":"se\/cr\"e<b>t</b>&0123%41"}"#,
            r"<ErrorResponse><Error><Code>se/cr&quot;et&amp;0123%41</Code><Message>se/cr&#34;et<![CDATA[&0123]]>%41</Message></Error></ErrorResponse>",
        ];
        let kinds = [
            AttemptKind::Send,
            AttemptKind::Login,
            AttemptKind::Passthrough,
        ];
        let shown = catalog.iter().flat_map(|dialect| {
            let redacted = bodies.map(|body| redactor.redact_reply(reply(body)));
            let found = redacted
                .iter()
                .flat_map(|reply| kinds.map(|kind| dialect.classify(kind, reply, "r")));
            found
                .map(|found| format!("{:?} {:?}", found.code, found.provider_message))
                .collect::<Vec<_>>()
        });
        for shown in shown {
            assert!(!shown.contains("0123") && !shown.contains("cr"), "{shown}");
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
