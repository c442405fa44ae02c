//! Tokens: the login written, its reply read, and what the backend's own login gets in
//! its place. There is no refresh: logging in again is enough.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::dialect::expr::filter::to_integer;
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{ClaimTest, TokenLifetime, TokenSpec};
use crate::dialect::reply::classify::{self, ParsedReply};
use crate::dialect::request::write::{build_request, endpoint_url, not_translatable, with_digests};
use crate::dialect::{
    Account, Claim, Classification, Dialect, LoginToken, ProviderRequest, RecognisedRequest, Reply,
    RequestFields, Untranslatable,
};
use crate::sms::{Cause, Certainty, Outcome};

impl Dialect {
    /// Whether an attempt needs a login first.
    pub fn requires_login(&self) -> bool {
        self.token.is_some()
    }

    /// The login request, for dialects with `[token]`.
    pub fn login_request(
        &self,
        account: &Account<'_>,
        now: Timestamp,
    ) -> Option<Result<ProviderRequest, Untranslatable>> {
        let token = self.token.as_ref()?;
        let missing = self.credential.iter().find(|spec| {
            spec.required
                && account
                    .credential
                    .expose(&spec.name)
                    .is_none_or(str::is_empty)
        });
        if let Some(spec) = missing {
            return Some(Err(Untranslatable {
                cause: Cause::CredentialMissing,
                reason: format!("the vault entry has no field `{}`", spec.name),
            }));
        }
        let scope = Scope {
            account: Some(account),
            params: &self.params,
            now: Some(now),
            ..Scope::default()
        };
        let base_url = token.base_url.as_deref().unwrap_or(account.base_url);
        Some(with_digests(self, scope, |scope| {
            let method = token
                .endpoint
                .methods
                .first()
                .cloned()
                .unwrap_or(Method::POST);
            let request = endpoint_url(&token.endpoint, base_url, scope)
                .and_then(|url| build_request(method, &url, &token.fields, scope));
            request.ok_or_else(|| not_translatable("the login's address cannot be built".into()))
        }))
    }

    /// What a login's reply brought, or why it did not.
    #[expect(
        clippy::result_large_err,
        reason = "one login in a token's life; the finding is what every other reply gives too"
    )]
    pub fn read_login(&self, reply: &Reply, now: Timestamp) -> Result<LoginToken, Classification> {
        let heard = ParsedReply::parse(reply);
        let Some(token) = &self.token else {
            return Err(classify::classify_by_status(&heard));
        };
        if let Some(finding) = token.classifier.classify(&heard, None) {
            return Err(finding);
        }
        let read = token.value_paths.iter().map(|(name, place)| {
            let text = place
                .find_all(&heard.tree)
                .into_iter()
                .map(to_text)
                .find(|text| !text.is_empty())?;
            Some((name.clone(), SecretString::from(text)))
        });
        match read.collect::<Option<crate::secret::SecretFields>>() {
            Some(values) if reply.status.is_success() => {
                let claims = token.read_claims(&values);
                Ok(LoginToken {
                    values,
                    claims,
                    expires_at: expiry(&token.expires, &heard.tree, now),
                })
            }
            Some(_) | None => Err(classify::classify_by_status(&heard)),
        }
    }

    /// A login's reply as an attempt's outcome; success proves nothing about a message, so its id is empty.
    pub(crate) fn classify_login(&self, reply: &Reply) -> Classification {
        match self.read_login(reply, Timestamp::UNIX_EPOCH) {
            Err(finding) => finding,
            Ok(_) => accepted_classification(String::new()),
        }
    }

    /// What the backend's own login gets: a placeholder token, never a real one.
    pub fn render_login(
        &self,
        seen: &RecognisedRequest,
        asked: &RequestFields,
        now: Timestamp,
    ) -> Reply {
        let told = self
            .token
            .as_ref()
            .map(|token| token.response.clone())
            .unwrap_or_default();
        let scope = Scope {
            request_fields: Some(&asked.tree),
            path_params: Some(&seen.path_params),
            now: Some(now),
            status: told.status,
            ..Scope::default()
        };
        crate::dialect::reply::render::render(&told, told.status.unwrap_or(200), &scope)
    }
}

pub(crate) fn accepted_classification(id: String) -> Classification {
    Classification {
        outcome: Outcome::Accepted { id },
        certainty: Certainty::Certain,
        alternatives: Vec::new(),
        code: None,
        provider_message: None,
        retry_after: None,
    }
}

fn expiry(expires: &TokenLifetime, tree: &Value, now: Timestamp) -> Option<Timestamp> {
    let first = |place: &crate::dialect::expr::path::JsonPath| {
        place.find_all(tree).into_iter().next().cloned()
    };
    match expires {
        TokenLifetime::Never => None,
        TokenLifetime::After(after) => add_duration(now, *after),
        TokenLifetime::Field(place) => {
            let seconds =
                to_integer(&first(place)?).and_then(|seconds| u64::try_from(seconds).ok())?;
            add_duration(now, Duration::from_secs(seconds))
        }
        TokenLifetime::Jwt(place) => {
            let claims = decode_jwt_claims(&to_text(&first(place)?))?;
            Timestamp::from_second(claims.get("exp").and_then(to_integer)?).ok()
        }
    }
}

impl TokenSpec {
    /// Of the first value that is a JWT; a claim that is not there says nothing.
    fn read_claims(&self, values: &crate::secret::SecretFields) -> Vec<Claim> {
        let Some(found) = values
            .values()
            .find_map(|value| decode_jwt_claims(value.expose_secret()))
        else {
            return Vec::new();
        };
        let told = |test: &ClaimTest| {
            let value = found.get(&test.name)?;
            Some(Claim {
                cause: test.cause,
                holds: test.equals.iter().any(|code| code.is_match(value)),
            })
        };
        self.claims.iter().filter_map(told).collect()
    }
}

/// What a JWT says, its signature unread.
fn decode_jwt_claims(token: &str) -> Option<Value> {
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&claims).ok()
}

fn add_duration(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(by).ok()?).ok()
}
