//! Calls that end before any service is asked, because of what they ask for: the backend gets a sentence with
//! what would do, and so does the log, in words of ours, of the config's and of the dialect's alone.

use http::StatusCode;

use crate::dialect::{Dialect, ReadError, Recognised};
use crate::problem;
use crate::proxy::Proxy;
use crate::proxy::answer::{plain_refusal, refused, unreadable};
use crate::proxy::call::{Call, Ended};
use crate::sms::{Cause, Operation, ProviderId, Verdict};

impl Proxy {
    pub(super) fn not_named(dialect: &Dialect) -> Ended {
        let reason = format!(
            "this operation is not among those the sidecar lets through with its credentials: a message is `{}`, \
             `sms-sidecar dialects show {}` lists the others, `operations = [\"GET /…\"]` at the provider adds one",
            dialect.whole_send(),
            dialect.name
        );
        let reply = refused(dialect, StatusCode::FORBIDDEN, Cause::RefusedByPolicy, &reason);
        let mut ended = Ended::at_once(reply, Operation::Other, &dialect.name, Verdict::Rejected);
        (ended.cause, ended.remedy) = (Some(Cause::RefusedByPolicy), Some(reason));
        ended
    }

    /// Only the base URL and unix doors get here: at the others a foreign host is tunnelled or refused before.
    pub(super) fn foreign(call: &Call) -> Ended {
        let names: Vec<&str> = call.world.links.keys().map(ProviderId::as_str).collect();
        let spoken = call.world.links.values().map(|link| link.provider.dialect.name.as_str());
        // Told by a name of the config's own: the path itself may hold a number.
        let meant = problem::meant(call.came.split('/').nth(1).unwrap_or_default(), names.iter().copied().chain(spoken));
        let meant = meant.map(|name| format!("; did the backend mean /{name}/?")).unwrap_or_default();
        let reason = format!(
            "nobody here is called by this path; it begins with /<provider or dialect>/, and the providers are {}{meant}",
            names.join(", ")
        );
        let reply = plain_refusal(StatusCode::NOT_FOUND, Cause::RefusedByPolicy, &reason);
        let mut ended = Ended::at_once(reply, Operation::Other, "", Verdict::Rejected);
        (ended.dialect, ended.cause, ended.remedy) = (None, Some(Cause::RefusedByPolicy), Some(reason));
        ended
    }

    pub(super) fn unreadable(seen: &Recognised, error: &ReadError) -> Ended {
        let reply = unreadable(&seen.dialect, error);
        let mut ended = Ended::at_once(reply, Operation::Send, &seen.dialect.name, Verdict::Rejected);
        ended.cause = Some(Cause::MessageInvalid);
        ended
    }
}
