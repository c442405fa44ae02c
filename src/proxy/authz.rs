//! Which client may use an entrypoint. A caller is identified by the uid behind its socket, or by a token
//! that it sends as proxy user info or in place of the service's password. Without `[callers]` every
//! client that reaches a loopback entrypoint may use it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;

use crate::diagnosis::DenialReason;
use crate::dialect::{Dialect, RecognisedRequest, Recognition, Request, UnlistedRequest};
use crate::net::peer::Peer;
use crate::proxy::answer::plain_error_reply;
use crate::proxy::request::CompletedRequest;
use crate::proxy::snapshot::RoutingSnapshot;
use crate::proxy::{CallerProof, Settings};
use crate::sms::{Cause, Entrypoint};
use crate::vault::{CredentialCache, CredentialRef};

/// The vault entries of the callers' tokens.
pub(super) fn token_references(settings: &Settings) -> impl Iterator<Item = &CredentialRef> {
    settings
        .callers
        .iter()
        .filter_map(|caller| match &caller.proof {
            CallerProof::Token(reference) => Some(reference),
            CallerProof::Uid(_) => None,
        })
}

/// Whether a caller is identified by the uid behind its socket.
pub(super) fn needs_peer_uid(settings: &Settings) -> bool {
    settings
        .callers
        .iter()
        .any(|caller| matches!(caller.proof, CallerProof::Uid(_)))
}

/// Reads the tokens that were not read yet.
pub(super) async fn load_tokens(snapshot: &RoutingSnapshot) {
    for reference in token_references(&snapshot.settings)
        .filter(|reference| snapshot.credential_cache.current(reference).is_none())
    {
        // A token that cannot be read admits no caller; the read's own event reports the error.
        snapshot.credential_cache.get(reference).await.ok();
    }
}

/// Whether this peer may use an entrypoint, by what it showed before its request.
pub(super) fn is_allowed(snapshot: &RoutingSnapshot, peer: &Peer) -> bool {
    snapshot.settings.callers.is_empty() || caller_name(snapshot, peer, &[]).is_some()
}

/// The name of the configured caller, if this is one. `presented` are the values in place of the service's password.
pub(super) fn caller_name(
    snapshot: &RoutingSnapshot,
    peer: &Peer,
    presented: &[String],
) -> Option<String> {
    let proxy = peer.token.as_ref().map(ExposeSecret::expose_secret);
    let tokens = || {
        proxy
            .into_iter()
            .chain(presented.iter().map(String::as_str))
    };
    let matches_proof = |proof: &CallerProof| match proof {
        CallerProof::Uid(uid) => peer.uid == Some(*uid),
        CallerProof::Token(reference) => {
            tokens().any(|token| token_matches(&snapshot.credential_cache, reference, token))
        }
    };
    snapshot
        .settings
        .callers
        .iter()
        .find(|caller| matches_proof(&caller.proof))
        .map(|caller| caller.name.clone())
}

/// The answer to a client that is not a configured caller.
pub(super) fn deny_unknown_caller(entrypoint: Entrypoint) -> CompletedRequest {
    let is_proxy = matches!(entrypoint, Entrypoint::Absolute | Entrypoint::Connect);
    let status = if is_proxy {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED
    } else {
        StatusCode::FORBIDDEN
    };
    let denial = DenialReason::UnknownCaller.about("");
    let reply = plain_error_reply(status, Cause::DeniedByPolicy, &denial.reply_text());
    CompletedRequest::denied(reply, denial)
}

/// The values in place of the service's password: in `Authorization`, and in the fields of the dialect.
pub(super) fn presented_credentials(recognition: &Recognition, request: &Request) -> Vec<String> {
    match recognition {
        Recognition::Operation(RecognisedRequest { dialect, .. })
        | Recognition::UnlistedOperation(UnlistedRequest { dialect, .. }) => {
            presented_in_dialect(dialect, request)
        }
        Recognition::Unrecognised => authorization_secret(request).into_iter().collect(),
    }
}

/// Every secret in a request of this dialect.
pub(super) fn presented_in_dialect(dialect: &Dialect, request: &Request) -> Vec<String> {
    authorization_secret(request)
        .into_iter()
        .chain(dialect.presented_credentials(request))
        .collect()
}

fn authorization_secret(request: &Request) -> Option<String> {
    request
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_authorization_secret)
}

/// The secret half of an Authorization header.
fn parse_authorization_secret(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(rest.trim().to_owned());
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded
        .split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Whether the vault's entry holds this token; takes the same time wherever the two differ.
fn token_matches(
    credential_cache: &CredentialCache,
    reference: &CredentialRef,
    token: &str,
) -> bool {
    let Some(entry) = credential_cache.current(reference) else {
        return false;
    };
    let same = |value: &str| {
        value.len() == token.len()
            && value
                .bytes()
                .zip(token.bytes())
                .fold(0, |differs, (a, b)| differs | (a ^ b))
                == 0
    };
    !token.is_empty()
        && entry
            .field_names()
            .filter_map(|name| entry.expose(name))
            .any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_found_in_every_form_of_the_header() {
        assert_eq!(
            parse_authorization_secret(&format!("Basic {}", STANDARD.encode("user:to:ken")))
                .as_deref(),
            Some("to:ken")
        );
        assert_eq!(
            parse_authorization_secret("Bearer token ").as_deref(),
            Some("token")
        );
        assert_eq!(
            parse_authorization_secret("App key").as_deref(),
            Some("key")
        );
        assert_eq!(parse_authorization_secret("Basic %%%"), None);
        assert_eq!(parse_authorization_secret("nothing"), None);
    }
}
