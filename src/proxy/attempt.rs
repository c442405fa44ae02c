//! One attempt: a credential, the request written or patched, the exchange, the finding.
//! It always comes to an outcome; what it could not do is an outcome, too.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::Method;

use crate::clock::Moment;
use crate::diagnosis::Learned;
use crate::dialect::{Finding, Outgoing, Recognised, Reply, Request, Untranslatable};
use crate::net::authority::Authority;
use crate::policy::{Attempt, Held};
use crate::proxy::link::{Link, lost_finding, unsent};
use crate::proxy::login::{NoPass, Pass};
use crate::proxy::mask::Mask;
use crate::sms::{Cause, Concern, Kind, Message, Outcome};
use crate::telemetry::AttemptEnded;

/// What is to be sent, seen from one provider.
#[derive(Clone, Copy, Debug)]
pub(super) enum Say<'a> {
    /// The backend's own request, in the provider's own dialect.
    Native(&'a Recognised, &'a Request),
    /// The message, written anew.
    Anew(&'a Message),
}

/// One attempt and all that is known of it.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) link: Arc<Link>,
    pub(super) kind: Kind,
    pub(super) attempt: Attempt,
    pub(super) finding: Finding,
    /// What else was known of it at once.
    pub(super) learned: Vec<Learned>,
    pub(super) status: Option<u16>,
    /// What the provider said in the backend's own dialect, our secrets masked.
    pub(super) native: Option<Reply>,
    /// How it was asked; none: it came to no request.
    pub(super) method: Option<Method>,
    /// Where, if not at the account's own address: only what is observed goes elsewhere.
    pub(super) elsewhere: Option<Authority>,
    pub(super) began: Moment,
    pub(super) took: Duration,
}

/// One attempt to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<'a> {
    pub(super) account: usize,
    pub(super) kind: Kind,
    pub(super) say: Say<'a>,
    /// The message, where it is one: its reference stands for services that give no id of their own, and its words are
    /// for no log.
    pub(super) said: Option<&'a Message>,
    /// What the call has left; a send that would begin with too little of it does not.
    pub(super) left: Duration,
    pub(super) trial: bool,
}

impl<'a> Task<'a> {
    fn reference(&self) -> &'a str {
        self.said.map_or("", |message| message.reference.as_str())
    }
}

/// No send begins with less than this left, unless its own time limit is shorter.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// What came of an attempt before it is measured.
struct Came {
    finding: Finding,
    learned: Vec<Learned>,
    held: Held,
    reply: Option<Reply>,
    status: Option<u16>,
    method: Option<Method>,
}

impl Link {
    /// Makes the attempt, counts it, and renews what was refused so that the next may heal.
    pub(super) async fn attempt(self: &Arc<Self>, task: &Task<'_>) -> Tried {
        let began = self.around.now();
        let mut came = match self.pass_undoubted(task.trial, task.left).await {
            Err(none) => {
                let NoPass { mut finding, held, detail } = *none;
                finding.says = finding.says.or(detail);
                Came { finding, learned: Vec::new(), held, reply: None, status: None, method: None }
            }
            Ok(pass) => self.exchange(task, &pass, self.around.now().since(began)).await,
        };
        let took = self.around.now().since(began);
        AttemptEnded { provider: &self.provider.id, kind: task.kind, outcome: &came.finding.outcome, status: came.status, took }
            .emit(&self.around.telemetry);
        match came.finding.outcome.cause().map(Cause::concern) {
            Some(Concern::Credential) => {
                if came.status.is_some() {
                    self.session().doubt(came.held.version, came.finding.clone(), self.around.now());
                }
                came.held = self.refused(came.held).await;
            }
            None => came.held = self.accepted(came.held, task.trial),
            Some(_) => {}
        }
        let attempt = Attempt {
            account: task.account,
            credential: came.held,
            outcome: came.finding.outcome.clone(),
            wait: came.finding.retry_after,
            ended: Duration::ZERO,
            inherited: false,
        };
        let Came { finding, learned, reply: native, status, method, .. } = came;
        let (link, elsewhere) = (Arc::clone(self), None);
        Tried { link, kind: task.kind, attempt, finding, learned, status, native, method, elsewhere, began, took }
    }

    async fn exchange(&self, task: &Task<'_>, pass: &Pass, gone: Duration) -> Came {
        let came = |finding, method| Came { finding, learned: Vec::new(), held: pass.held, reply: None, status: None, method };
        let (timeout, left) = (self.provider.timeout, task.left.saturating_sub(gone));
        if !gone.is_zero() && left < timeout.min(LEAST_TIME) {
            let mut finding = unsent(Cause::Timeout);
            finding.says = Some("getting its credential or token took the time that was left".to_owned());
            return came(finding, None);
        }
        let outgoing = match self.written(task, pass) {
            Ok(outgoing) => outgoing,
            Err(Untranslatable { cause, why }) => {
                let mut finding = unsent(cause);
                finding.says = Some(why);
                return came(finding, None);
            }
        };
        let method = Some(outgoing.method.clone());
        match self.client.exchange(outgoing, timeout.min(left.max(LEAST_TIME))).await {
            Err(lost) => came(lost_finding(&lost), method),
            Ok(reply) => {
                // First of all: its words go to the log, too.
                let reply = self.without_secrets(reply, pass);
                let mut finding = self.provider.dialect.classify(task.kind, &reply, task.reference());
                if let Some(message) = task.said {
                    finding.conceal(message.text.expose());
                }
                let (learned, status) = (self.narrow(&mut finding, &reply, pass), Some(reply.status.as_u16()));
                Came { finding, learned, held: pass.held, status, method, reply: matches!(task.say, Say::Native(..)).then_some(reply) }
            }
        }
    }

    fn written(&self, task: &Task<'_>, pass: &Pass) -> Result<Outgoing, Untranslatable> {
        let (account, now) = (self.account(pass), self.around.wall());
        match task.say {
            Say::Native(seen, request) => self.provider.dialect.patch(seen, request, &account, now),
            Say::Anew(message) => self.provider.dialect.write(message, &account, now),
        }
    }

    /// What a provider says, our secrets masked. One mask serves until another credential or token is used.
    pub(super) fn without_secrets(&self, reply: Reply, pass: &Pass) -> Reply {
        let mut kept = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = match kept.as_ref().filter(|(held, _)| *held == pass.held) {
            Some((_, mask)) => Arc::clone(mask),
            None => Arc::clone(&kept.insert((pass.held, Arc::new(self.mask_for(pass)))).1),
        };
        drop(kept);
        mask.over(reply)
    }

    fn mask_for(&self, pass: &Pass) -> Mask {
        let public = |name: &str| self.provider.dialect.credential_fields().iter().any(|field| field.public && field.name == name);
        let secrets = pass.credential.names().filter(|name| !public(name)).filter_map(|name| pass.credential.expose(name));
        let token = pass.token.iter().flat_map(|token| token.maskable());
        Mask::of(secrets.filter(|value| value.len() >= 8).chain(token))
    }

    /// Whether what it would say of a message is known not to fit, before a credential is touched.
    pub(super) fn skips(&self, message: Option<&Message>, speaks: bool) -> Option<Cause> {
        match message {
            None if !speaks => Some(Cause::NotTranslatable),
            None => None,
            Some(message) if self.provider.templates_only && message.template.is_none() => Some(Cause::TemplateNotApproved),
            Some(message) => self.provider.dialect.fits(message).err().map(|problem| problem.cause),
        }
    }
}

impl Tried {
    pub(super) fn outcome(&self) -> &Outcome {
        &self.attempt.outcome
    }
}
