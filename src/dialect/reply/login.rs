//! Tokens: writes the login, reads its reply, and renders what the backend's own login gets.
//! There is no refresh: the sidecar logs in again.

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
use crate::dialect::reply::classify;
use crate::dialect::reply::parsed_reply::ParsedReply;
use crate::dialect::reply::render::{quoted_fields, render};
use crate::dialect::request::write::{build_request, endpoint_url, not_translatable, with_digests};
use crate::dialect::{
    Account, Claim, Classification, Dialect, LoginToken, ProviderRequest, RecognisedRequest, Reply,
    RequestFields, Untranslatable,
};
use crate::parse_limit::read_json;

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
        if let Err(missing) = self.check_credential_fields(account) {
            return Some(Err(missing));
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
            request
                .ok_or_else(|| not_translatable("the address of the login cannot be built".into()))
        }))
    }

    /// The token of a login's reply, or why there is none.
    #[expect(
        clippy::result_large_err,
        reason = "one login per token; the classification is the one of every other reply"
    )]
    pub fn read_login(&self, reply: &Reply, now: Timestamp) -> Result<LoginToken, Classification> {
        let parsed = ParsedReply::parse(reply);
        let Some(token) = &self.token else {
            return Err(classify::classify_by_status(&parsed));
        };
        if let Some(classification) = token.classifier.classify(&parsed, None) {
            return Err(classification);
        }
        let read = token.value_paths.iter().map(|(name, place)| {
            let text = place
                .find_all(&parsed.tree)
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
                    issued_at: now,
                    expires_at: expiry(&token.expires, &parsed.tree, now),
                })
            }
            Some(_) | None => Err(classify::classify_by_status(&parsed)),
        }
    }

    /// A login's reply as an attempt's outcome; its success is not about a message, so the id is empty.
    pub(crate) fn classify_login(&self, reply: &Reply) -> Classification {
        match self.read_login(reply, Timestamp::UNIX_EPOCH) {
            Err(classification) => classification,
            Ok(_) => Classification::accepted(String::new()),
        }
    }

    /// What the backend's own login gets: a placeholder token, never a real one.
    pub fn render_login(
        &self,
        recognised: &RecognisedRequest,
        fields: &RequestFields,
        now: Timestamp,
    ) -> Reply {
        let response = self
            .token
            .as_ref()
            .map(|token| token.response.clone())
            .unwrap_or_default();
        let scope = Scope {
            request_fields: quoted_fields(&response, fields),
            path_params: Some(&recognised.path_params),
            now: Some(now),
            status: response.status,
            ..Scope::default()
        };
        render(&response, response.status.unwrap_or(200), &scope)
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
    /// The claims of the first value that is a JWT; an absent claim shows nothing.
    fn read_claims(&self, values: &crate::secret::SecretFields) -> Vec<Claim> {
        let Some(found) = values
            .values()
            .find_map(|value| decode_jwt_claims(value.expose_secret()))
        else {
            return Vec::new();
        };
        let claim = |test: &ClaimTest| {
            let value = found.get(&test.name)?;
            Some(Claim {
                cause: test.cause,
                holds: test.equals.iter().any(|code| code.is_match(value)),
            })
        };
        self.claims.iter().filter_map(claim).collect()
    }
}

/// The claims of a JWT; the signature is not checked.
fn decode_jwt_claims(token: &str) -> Option<Value> {
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?.trim_end_matches('='))
        .ok()?;
    read_json(&claims).ok()
}

fn add_duration(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(by).ok()?).ok()
}
