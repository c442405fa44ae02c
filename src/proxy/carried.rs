//! Calls that are no message: a login (answered here), a status of an id of ours (answered
//! from memory), everything else a dialect names (passed with the credential in, one
//! attempt), and whatever observe mode passes as it came.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::diagnosis::Diagnosis;
use crate::dialect::{Asked, Dialect, Outgoing, Recognised, Reply};
use crate::net::authority::Authority;
use crate::policy::Attempt;
use crate::proxy::Proxy;
use crate::proxy::answer::{passed, refused};
use crate::proxy::attempt::{Say, Task, Tried};
use crate::proxy::call::{Call, Ended};
use crate::proxy::callers::shown;
use crate::proxy::link::{Link, lost_finding};
use crate::proxy::mask::Mask;
use crate::proxy::sending::Sending;
use crate::sms::{Cause, Concern, Family, Kind, Operation, Outcome, Verdict};
use crate::telemetry::{AttemptEnded, LastHeard};

/// How long a call that is no message of ours may take, its login included.
const CARRIED: Duration = Duration::from_secs(30);

impl Proxy {
    /// The backend's own login gets a placeholder: it never holds a real token.
    pub(super) fn login(&self, seen: &Recognised) -> Ended {
        let reply = seen.dialect.answer_login(seen, &Asked::default(), self.wall());
        Ended::at_once(reply, Operation::Login, &seen.dialect.name, Verdict::Answered)
    }

    /// A status question: about an id of ours it is answered here, about theirs it is carried.
    pub(super) async fn status(&self, call: &Call, seen: &Recognised) -> Ended {
        let asked = seen.dialect.read(seen, &call.request, "").map(|reading| reading.asked).unwrap_or_default();
        let Some(real) = seen.dialect.asked_id(seen, &asked).and_then(|id| self.desk.find(&id)) else {
            return self.carry_on(call, seen).await;
        };
        let reply = seen.dialect.answer_status(seen, &asked, &real.id, self.wall()).unwrap_or_else(|| {
            let reason = "another service delivered this message, and this dialect has no words for what became of it";
            refused(&seen.dialect, StatusCode::NOT_FOUND, Cause::NotTranslatable, reason)
        });
        Ended::at_once(reply, Operation::Status, &seen.dialect.name, Verdict::Answered)
    }

    /// One attempt through one account; a failure that is not the call's own is a 502.
    pub(super) async fn carry_on(&self, call: &Call, seen: &Recognised) -> Ended {
        let Some(link) = call.world.carrier(call.named.as_ref(), &seen.dialect, |link| seen.is_allowed_by(&link.provider.operations))
        else {
            return Self::nobody(&seen.dialect, seen.operation);
        };
        if let Some(cause) = self.board.dead(&link, self.now()) {
            return Self::not_carried(seen, cause);
        }
        let say = Say::Native(seen, &call.request);
        let task = Task { account: 0, kind: Kind::Carry, say, said: None, left: CARRIED, trial: false };
        let tried = link.attempt(&task).await;
        let cause = tried.outcome().cause();
        self.learn(&tried);
        let theirs = cause.is_none_or(|cause| !matches!(cause.family(), Family::Account | Family::Ours));
        let reply = match tried
            .native
            .clone()
            .filter(|reply| theirs && !reply.status.is_server_error() && reply.status != StatusCode::UNAUTHORIZED)
        {
            Some(reply) => passed(reply),
            None => Self::bad_gateway(&seen.dialect, cause.unwrap_or(Cause::Unexplained)),
        };
        let mut ended = Ended::at_once(reply, seen.operation, &seen.dialect.name, Verdict::Carried);
        ended.cause = cause;
        ended.diagnosis = self.diagnose(&tried);
        ended.tried = vec![tried];
        ended
    }

    /// What a carried call says of the credential holds for every other call; what it says of this one operation
    /// (a right that the key lacks, a balance nobody may read) does not.
    fn learn(&self, tried: &Tried) {
        if tried.outcome().cause().is_some_and(|cause| cause.concern() == Concern::Credential) {
            self.board.ended(&tried.link, &tried.attempt, self.diagnose(tried), self.now());
            self.suspect(tried);
        }
    }

    fn not_carried(seen: &Recognised, cause: Cause) -> Ended {
        let reply = Self::bad_gateway(&seen.dialect, cause);
        let mut ended = Ended::at_once(reply, seen.operation, &seen.dialect.name, Verdict::Carried);
        ended.cause = Some(cause);
        ended
    }

    /// The backend's own request to the host it named, once, and the reply back as it is.
    pub(super) async fn observe(&self, call: &Call, dialect: &Dialect, operation: Operation, sending: Option<&Sending<'_>>) -> Ended {
        let Some(link) = call.world.carrier(call.named.as_ref(), dialect, |_| true) else {
            return Self::nobody(dialect, operation);
        };
        let kind = if operation == Operation::Send { Kind::Send } else { Kind::Carry };
        let said = sending.and_then(|sending| sending.message.as_ref());
        let (mut tried, reply) = self.watched(call, &link, kind, said.map_or("", |message| &message.reference)).await;
        if let Some(message) = said {
            tried.finding.conceal(message.text.expose());
        }
        let reply = reply.unwrap_or_else(|| Self::lost(dialect, tried.outcome()));
        let verdict = if kind == Kind::Send { observed(tried.outcome()) } else { Verdict::Carried };
        let mut ended = Ended::at_once(reply, operation, &dialect.name, verdict);
        ended.cause = tried.outcome().cause();
        ended.diagnosis = self.diagnose(&tried).map(|diagnosis| Self::placed(diagnosis, call, dialect, operation));
        // Another request than a message says nothing of messages, unless it was to be one.
        let message = kind == Kind::Send && ended.cause.is_none_or(|cause| cause.family() != Family::Message);
        let misplaced = operation == Operation::Other && ended.cause == Some(Cause::EndpointWrong);
        if message || misplaced {
            LastHeard { provider: &link.provider.id, diagnosis: ended.diagnosis.as_ref() }.emit(&self.telemetry);
        }
        ended.route = sending.and_then(|sending| sending.route).map(|route| route.name.clone());
        ended.recipient = said.map(|message| message.recipient.clone());
        ended.tried = vec![tried];
        ended
    }

    /// What the backend asks at another path than the dialect's is no fault of the config: `base_url` is right, and
    /// the backend's own is not.
    fn placed(diagnosis: Diagnosis, call: &Call, dialect: &Dialect, operation: Operation) -> Diagnosis {
        if operation != Operation::Other || diagnosis.cause != Cause::EndpointWrong {
            return diagnosis;
        }
        let send = dialect.whole_send();
        let asked = format!("{} {}", call.request.method, known_words(&call.request.path, &send));
        let remedy = format!("the backend asked {asked}; {}'s message is {send}: correct the backend's base URL", diagnosis.provider);
        Diagnosis { remedy, ..diagnosis }
    }

    async fn watched(&self, call: &Call, link: &Arc<Link>, kind: Kind, reference: &str) -> (Tried, Option<Reply>) {
        let began = self.now();
        let outgoing = as_it_came(call, link);
        let method = outgoing.as_ref().map(|outgoing| outgoing.method.clone());
        let (finding, reply) = match outgoing {
            None => (crate::proxy::link::unsent(Cause::EndpointWrong), None),
            Some(outgoing) => match link.client.exchange_theirs(outgoing, CARRIED).await {
                Err(lost) => (lost_finding(&lost), None),
                Ok(reply) => {
                    let given = shown(&link.provider.dialect, &call.request);
                    let seen = Mask::of(given.iter().map(String::as_str).filter(|value| value.len() >= 8)).over(reply.clone());
                    (link.provider.dialect.classify(kind, &seen, reference), Some(reply))
                }
            },
        };
        let took = self.now().since(began);
        let status = reply.as_ref().map(|reply| reply.status.as_u16());
        AttemptEnded { provider: &link.provider.id, kind, outcome: &finding.outcome, status, took }.emit(&self.telemetry);
        let outcome = finding.outcome.clone();
        let (credential, wait) = (link.newest(), finding.retry_after);
        let attempt = Attempt { account: 0, credential, outcome, wait, ended: took, inherited: false };
        let (link, learned, elsewhere) = (Arc::clone(link), Vec::new(), call.authority().cloned());
        (Tried { link, kind, attempt, finding, learned, status, native: None, method, elsewhere, began, took }, reply)
    }

    fn nobody(dialect: &Dialect, operation: Operation) -> Ended {
        let reason = format!("no provider of dialect {} is configured", dialect.name);
        let reply = refused(dialect, StatusCode::SERVICE_UNAVAILABLE, Cause::NoProvider, &reason);
        let mut ended = Ended::at_once(reply, operation, &dialect.name, Verdict::Rejected);
        ended.cause = Some(Cause::NoProvider);
        ended
    }

    /// The backend's own request went out, and no reply came back.
    fn lost(dialect: &Dialect, outcome: &Outcome) -> Reply {
        let cause = outcome.cause().unwrap_or(Cause::Unexplained);
        match outcome {
            Outcome::Unknown(_) => {
                let reason = "the service may have taken it, but its answer was lost; the sidecar's log says why";
                refused(dialect, StatusCode::GATEWAY_TIMEOUT, cause, reason)
            }
            Outcome::Accepted { .. } | Outcome::Refused(_) | Outcome::Unsent(_) => Self::bad_gateway(dialect, cause),
        }
    }

    fn bad_gateway(dialect: &Dialect, cause: Cause) -> Reply {
        let reason = "the service could not be asked; the sidecar's log says why";
        refused(dialect, StatusCode::BAD_GATEWAY, cause, reason)
    }
}

/// A path of the backend's for the log: what the dialect does not say itself may be a number or a secret.
fn known_words(path: &str, send: &str) -> String {
    let own = |word: &&str| send.split(['/', ' ']).any(|own| own == *word);
    path.split('/').map(|word| Some(word).filter(own).or(word.is_empty().then_some("")).unwrap_or("…")).collect::<Vec<_>>().join("/")
}

fn observed(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Accepted { .. } => Verdict::Accepted,
        Outcome::Refused(cause) if cause.family() == Family::Message => Verdict::MessageRefused,
        Outcome::Refused(_) | Outcome::Unsent(_) => Verdict::NotSent,
        Outcome::Unknown(_) => Verdict::InDoubt,
    }
}

/// To the host and path the backend named; at the base URL door, to the provider's own.
fn as_it_came(call: &Call, link: &Link) -> Option<Outgoing> {
    let address = match call.authority() {
        Some(Authority { scheme, host, port }) => format!("{}://{}:{port}{}", scheme.label(), bracketed(host), call.came),
        None => at_home(&call.request.path, link)?,
    };
    let query = call.request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{address}{query}").parse().ok()?;
    let (method, headers, body) = (call.request.method.clone(), call.request.headers.clone(), call.request.body.clone());
    Some(Outgoing { method, url, headers, body })
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The path, which may be under the description's base, under the provider's own.
fn at_home(path: &str, link: &Link) -> Option<String> {
    let own = &link.provider.base_url;
    match path.strip_prefix(path_of(link.provider.dialect.base_url())?.as_str()) {
        Some(rest) => Some(format!("{}{rest}", own.trim_end_matches('/'))),
        None => Some(format!("{}{path}", origin(own)?)),
    }
}

fn path_of(url: &str) -> Option<String> {
    Some(url.parse::<http::Uri>().ok()?.path().trim_end_matches('/').to_owned())
}

fn origin(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}
