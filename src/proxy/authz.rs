//! Who may use a door: the uid behind the socket, or a token given as proxy user info or in
//! place of the service's password. Without `[callers]`, whoever reaches a loopback door.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;

use crate::dialect::{Dialect, RecognisedRequest, Recognition, Request};
use crate::net::peer::Peer;
use crate::proxy::answer::plain_error_reply;
use crate::proxy::request::CompletedRequest;
use crate::proxy::snapshot::RoutingSnapshot;
use crate::proxy::{CallerProof, Settings};
use crate::sms::{Cause, Entrypoint, Operation, RequestResult};
use crate::vault::{CredentialCache, CredentialRef};

/// Where callers' tokens are.
pub(super) fn token_references(settings: &Settings) -> impl Iterator<Item = &CredentialRef> {
    settings
        .callers
        .iter()
        .filter_map(|caller| match &caller.proof {
            CallerProof::Token(reference) => Some(reference),
            CallerProof::Uid(_) => None,
        })
}

/// Whether a caller is known by the uid behind its socket.
pub(super) fn needs_peer_uid(settings: &Settings) -> bool {
    settings
        .callers
        .iter()
        .any(|caller| matches!(caller.proof, CallerProof::Uid(_)))
}

/// Reads the tokens that nobody has read yet.
pub(super) async fn load_tokens(world: &RoutingSnapshot) {
    for reference in token_references(&world.settings)
        .filter(|reference| world.keeper.current(reference).is_none())
    {
        // What cannot be read lets nobody in; the read's own event says so.
        world.keeper.get(reference).await.ok();
    }
}

/// Whether this peer may use a door at all.
pub(super) fn is_allowed(world: &RoutingSnapshot, peer: &Peer) -> bool {
    world.settings.callers.is_empty() || caller_name(world, peer, &[]).is_some()
}

/// The name of the caller, where one is configured that this is; `given` stood where the service's password goes.
pub(super) fn caller_name(
    world: &RoutingSnapshot,
    peer: &Peer,
    given: &[String],
) -> Option<String> {
    let proxy = peer.token.as_ref().map(ExposeSecret::expose_secret);
    let shown = || proxy.into_iter().chain(given.iter().map(String::as_str));
    let known = |proof: &CallerProof| match proof {
        CallerProof::Uid(uid) => peer.uid == Some(*uid),
        CallerProof::Token(reference) => {
            shown().any(|token| token_matches(&world.keeper, reference, token))
        }
    };
    world
        .settings
        .callers
        .iter()
        .find(|caller| known(&caller.proof))
        .map(|caller| caller.name.clone())
}

/// What somebody nobody knows is told.
pub(super) fn deny_unknown_caller(door: Entrypoint) -> CompletedRequest {
    let is_proxy = matches!(door, Entrypoint::Absolute | Entrypoint::Connect);
    let status = if is_proxy {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED
    } else {
        StatusCode::FORBIDDEN
    };
    let reason = "only configured callers may use this entrypoint; see [callers] in the config";
    let reply = plain_error_reply(status, Cause::DeniedByPolicy, reason);
    let mut ended =
        CompletedRequest::without_attempts(reply, Operation::Other, "", RequestResult::Denied);
    (ended.dialect, ended.cause) = (None, Some(Cause::DeniedByPolicy));
    ended
}

/// What a request shows in place of the service's password: in `Authorization`, and wherever the dialect has it.
pub(super) fn presented_credentials(recognition: &Recognition, request: &Request) -> Vec<String> {
    match recognition {
        Recognition::Operation(RecognisedRequest { dialect, .. })
        | Recognition::UnlistedOperation(dialect) => presented_in_dialect(dialect, request),
        Recognition::Unrecognised => authorization_secret(request).into_iter().collect(),
    }
}

/// Every secret that a request in this dialect shows.
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

/// Whether the vault's entry holds this token; takes the same time wherever they differ.
fn token_matches(keeper: &CredentialCache, reference: &CredentialRef, token: &str) -> bool {
    let Some(entry) = keeper.current(reference) else {
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
    fn the_password_is_found_in_every_form() {
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
