//! Who may use a door: the uid behind the socket, or a token given as proxy user info or in
//! place of the service's password. Without `[callers]`, whoever reaches a loopback door.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;

use crate::net::peer::Peer;
use crate::proxy::CallerProof;
use crate::proxy::answer::plain_refusal;
use crate::proxy::call::Ended;
use crate::proxy::world::World;
use crate::sms::{Cause, Door, Operation, Verdict};
use crate::vault::{Keeper, Reference};

/// Whether this peer may use a door at all.
pub(super) fn allows(world: &World, peer: &Peer, headers: Option<&HeaderMap>) -> bool {
    world.settings.callers.is_empty() || name(world, peer, headers).is_some()
}

/// The name of the caller, where one is configured that this is.
pub(super) fn name(world: &World, peer: &Peer, headers: Option<&HeaderMap>) -> Option<String> {
    let known = |proof: &CallerProof| match proof {
        CallerProof::Uid(uid) => peer.uid == Some(*uid),
        CallerProof::Token(reference) => shown(peer, headers).iter().any(|token| is(&world.keeper, reference, token)),
    };
    world.settings.callers.iter().find(|caller| known(&caller.proof)).map(|caller| caller.name.clone())
}

/// What somebody nobody knows is told.
pub(super) fn stranger(door: Door) -> Ended {
    let is_proxy = matches!(door, Door::Absolute | Door::Connect);
    let status = if is_proxy { StatusCode::PROXY_AUTHENTICATION_REQUIRED } else { StatusCode::FORBIDDEN };
    let reason = "only configured callers may use this door; see [callers] in the config";
    let reply = plain_refusal(status, Cause::RefusedByPolicy, reason);
    let mut ended = Ended::at_once(reply, Operation::Other, "", Verdict::Rejected);
    (ended.dialect, ended.cause) = (None, Some(Cause::RefusedByPolicy));
    ended
}

/// Every token this request shows.
fn shown(peer: &Peer, headers: Option<&HeaderMap>) -> Vec<String> {
    let proxy = peer.token.as_ref().map(|token| token.expose_secret().to_owned());
    let given = headers.and_then(|headers| headers.get(AUTHORIZATION)).and_then(|value| value.to_str().ok()).and_then(password);
    proxy.into_iter().chain(given).collect()
}

/// The secret half of an Authorization header.
fn password(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(rest.trim().to_owned());
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// Whether the vault's entry holds this token; takes the same time wherever they differ.
fn is(keeper: &Keeper, reference: &Reference, token: &str) -> bool {
    let Some(entry) = keeper.current(reference) else { return false };
    let same =
        |value: &str| value.len() == token.len() && value.bytes().zip(token.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
    !token.is_empty() && entry.names().filter_map(|name| entry.expose(name)).any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_found_in_every_form() {
        assert_eq!(password(&format!("Basic {}", STANDARD.encode("user:to:ken"))).as_deref(), Some("to:ken"));
        assert_eq!(password("Bearer token ").as_deref(), Some("token"));
        assert_eq!(password("App key").as_deref(), Some("key"));
        assert_eq!(password("Basic %%%"), None);
        assert_eq!(password("nothing"), None);
    }
}
