//! Tokens: the login written, its reply read, and what the backend's own login gets in
//! its place. There is no refresh: logging in again is enough.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::dialect::filter::whole;
use crate::dialect::judge::{self, Heard};
use crate::dialect::scope::Scope;
use crate::dialect::shape::{ClaimTest, Expires, TokenCall};
use crate::dialect::template::text_of;
use crate::dialect::write::{address, built, not_translatable, with_digests};
use crate::dialect::{Account, Asked, Claim, Dialect, Finding, Outgoing, Recognised, Reply, Token, Untranslatable};
use crate::sms::{Cause, Certainty, Outcome};

impl Dialect {
    /// Whether an attempt needs a login first.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The login request, for dialects with `[token]`.
    pub fn login(&self, account: &Account<'_>, now: Timestamp) -> Option<Result<Outgoing, Untranslatable>> {
        let token = self.token.as_ref()?;
        let missing = self.credential.iter().find(|spec| spec.required && account.credential.expose(&spec.name).is_none_or(str::is_empty));
        if let Some(spec) = missing {
            return Some(Err(Untranslatable {
                cause: Cause::CredentialMissing,
                why: format!("the vault entry has no field `{}`", spec.name),
            }));
        }
        let scope = Scope { account: Some(account), params: &self.params, now: Some(now), ..Scope::default() };
        let base_url = token.base_url.as_deref().unwrap_or(account.base_url);
        Some(with_digests(self, scope, |scope| {
            let method = token.call.methods.first().cloned().unwrap_or(Method::POST);
            let request = address(&token.call, base_url, scope).and_then(|url| built(method, &url, &token.fields, scope));
            request.ok_or_else(|| not_translatable("the login's address cannot be built".into()))
        }))
    }

    /// What a login's reply brought, or why it did not.
    #[expect(clippy::result_large_err, reason = "one login in a token's life; the finding is what every other reply gives too")]
    pub fn read_login(&self, reply: &Reply, now: Timestamp) -> Result<Token, Finding> {
        let heard = Heard::of(reply);
        let Some(token) = &self.token else { return Err(judge::by_status(&heard)) };
        if let Some(finding) = token.judge.decide(&heard, None) {
            return Err(finding);
        }
        let read = token.reads.iter().map(|(name, place)| {
            let text = place.all(&heard.tree).into_iter().map(text_of).find(|text| !text.is_empty())?;
            Some((name.clone(), SecretString::from(text)))
        });
        match read.collect::<Option<crate::secret::Fields>>() {
            Some(values) if reply.status.is_success() => {
                let claims = token.claims_of(&values);
                Ok(Token { values, claims, expires: expiry(&token.expires, &heard.tree, now) })
            }
            Some(_) | None => Err(judge::by_status(&heard)),
        }
    }

    /// A login's reply as an attempt's outcome; success proves nothing about a message, so its id is empty.
    pub(crate) fn judge_login(&self, reply: &Reply) -> Finding {
        match self.read_login(reply, Timestamp::UNIX_EPOCH) {
            Err(finding) => finding,
            Ok(_) => accepted(String::new()),
        }
    }

    /// What the backend's own login gets: a placeholder token, never a real one.
    pub fn answer_login(&self, seen: &Recognised, asked: &Asked, now: Timestamp) -> Reply {
        let told = self.token.as_ref().map(|token| token.answer.clone()).unwrap_or_default();
        let scope = Scope { asked: Some(&asked.tree), path: Some(&seen.path), now: Some(now), status: told.status, ..Scope::default() };
        crate::dialect::answer::render(&told, told.status.unwrap_or(200), &scope)
    }
}

pub(crate) fn accepted(id: String) -> Finding {
    Finding {
        outcome: Outcome::Accepted { id },
        certainty: Certainty::Certain,
        alternatives: Vec::new(),
        code: None,
        says: None,
        retry_after: None,
    }
}

fn expiry(expires: &Expires, tree: &Value, now: Timestamp) -> Option<Timestamp> {
    let first = |place: &crate::dialect::place::Place| place.all(tree).into_iter().next().cloned();
    match expires {
        Expires::Never => None,
        Expires::After(after) => later(now, *after),
        Expires::Field(place) => {
            let seconds = whole(&first(place)?).and_then(|seconds| u64::try_from(seconds).ok())?;
            later(now, Duration::from_secs(seconds))
        }
        Expires::Jwt(place) => {
            let claims = claims(&text_of(&first(place)?))?;
            Timestamp::from_second(claims.get("exp").and_then(whole)?).ok()
        }
    }
}

impl TokenCall {
    /// Of the first value that is a JWT; a claim that is not there says nothing.
    fn claims_of(&self, values: &crate::secret::Fields) -> Vec<Claim> {
        let Some(found) = values.values().find_map(|value| claims(value.expose_secret())) else { return Vec::new() };
        let told = |test: &ClaimTest| {
            let value = found.get(&test.name)?;
            Some(Claim { cause: test.cause, holds: test.is.iter().any(|code| code.fits(value)) })
        };
        self.claims.iter().filter_map(told).collect()
    }
}

/// What a JWT says, its signature unread.
fn claims(token: &str) -> Option<Value> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

fn later(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(by).ok()?).ok()
}
