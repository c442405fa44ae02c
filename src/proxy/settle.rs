//! An ambiguous refusal is followed in the background, at once: the dialect's free calls are asked
//! until one cause is left or none of them can tell. Never by repeating the send, never in the call's
//! way, once for each doubt about each version of a credential, and within a budget. This is the one
//! place where a credential that is known dead is sent again, in one question; the next is asked only
//! if the answer shows that the service knows it. Which question, and what is left, `diagnosis` says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::diagnosis::{Answer, Learned, Question, Suspects, Witness};
use crate::dialect::{Asks, Finding, Probe, Probed};
use crate::policy::Held;
use crate::proxy::Proxy;
use crate::proxy::attempt::Tried;
use crate::proxy::explain::{about, evidence};
use crate::proxy::link::Link;
use crate::proxy::probe::Brought;
use crate::proxy::session::EVERY_LOGIN;
use crate::sms::{Cause, Kind, Outcome};
use crate::telemetry::RefusalFollowed;

/// More than ever wait: each provider has an hourly budget.
const MOST: usize = 256;

/// A refusal that can mean several things.
#[derive(Debug)]
pub struct Suspicion {
    link: Arc<Link>,
    held: Held,
    kind: Kind,
    finding: Finding,
    /// What was known at once.
    learned: Vec<Learned>,
    status: Option<u16>,
}

/// Refusals that wait to be followed.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    waiting: Mutex<VecDeque<Suspicion>>,
    bell: Notify,
}

impl Suspicions {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Suspicion>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, suspicion: Suspicion) {
        let mut waiting = self.waiting();
        if waiting.len() < MOST {
            waiting.push_back(suspicion);
        }
        drop(waiting);
        self.bell.notify_one();
    }

    async fn next(&self) -> Suspicion {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some(suspicion) => return suspicion,
                None => self.bell.notified().await,
            }
        }
    }
}

impl Proxy {
    /// Waits for the next refusal that is to be followed.
    pub async fn suspicion(&self) -> Suspicion {
        self.suspicions.next().await
    }

    /// Notes a refusal, if it is ambiguous and something can tell.
    pub(super) fn suspect(&self, tried: &Tried) {
        let (link, finding) = (&tried.link, &tried.finding);
        let Outcome::Refused(cause) = finding.outcome else { return };
        if finding.alternatives.is_empty() || link.provider.credential.is_none() {
            return;
        }
        let suspicion = Suspicion {
            link: Arc::clone(link),
            held: tried.attempt.credential,
            kind: tried.kind,
            finding: finding.clone(),
            learned: tried.learned.clone(),
            status: tried.status,
        };
        let suspects = Suspects::new(cause, finding.certainty, &finding.alternatives);
        let can_tell = suspicion.fresh_token().is_some() || suspicion.asks_of(&suspects) && next_question(link, &suspects, &[]).is_some();
        if can_tell && link.follows(suspicion.held.version, &suspects, self.now()) {
            self.suspicions.push(suspicion);
        }
    }

    /// Follows it to its end, and tells what is left.
    pub async fn settle(&self, suspicion: Suspicion) {
        let began = self.now();
        let mut learned: Vec<Learned> = suspicion.fresh_token().into_iter().collect();
        let mut asked = Vec::new();
        while let Some(suspects) = suspicion.suspects(&learned).filter(|suspects| !suspects.is_settled() && suspicion.asks_of(suspects)) {
            let Some(probe) = next_question(&suspicion.link, &suspects, &asked) else { break };
            // The credential itself was sent once and is not known: no second question with it.
            if !asked.is_empty() && suspects.suspects_credential() {
                break;
            }
            asked.push(probe);
            let Some(brought) = self.question_of(&suspicion, probe).await else { break };
            learned.push(Learned { witness: witness(asks(&suspicion.link, probe)), answer: answer(brought.probed.as_ref()) });
            let left = suspicion.suspects(&learned).filter(Suspects::is_settled).map(|left| Outcome::Refused(left.cause));
            self.tell_probe(&suspicion.link, &brought, left.as_ref().unwrap_or(&brought.outcome));
        }
        let doubt = suspicion.suspects(&[]);
        if let Some(doubt) = doubt {
            suspicion.link.followed().remember(suspicion.held.version, &doubt, learned.clone());
        }
        self.settled(&suspicion, &learned, began);
    }

    async fn question_of(&self, suspicion: &Suspicion, probe: usize) -> Option<Brought> {
        let link = &suspicion.link;
        let pass = link.pass(false, link.provider.timeout).await.ok()?;
        // A newer version is another matter: it is tried by the next message.
        let probe = link.provider.dialect.probes().get(probe).filter(|_| pass.held.version == suspicion.held.version)?;
        self.asked(link, probe, &pass).await
    }

    fn settled(&self, suspicion: &Suspicion, learned: &[Learned], began: crate::clock::Moment) {
        let (link, now) = (&suspicion.link, self.now());
        let all = [suspicion.learned.as_slice(), learned].concat();
        let Some(evidence) = evidence(suspicion.kind, &suspicion.finding, suspicion.status, &all) else { return };
        let diagnosis = about(link, suspicion.held.version, &evidence, now);
        RefusalFollowed { provider: &link.provider.id, diagnosis: &diagnosis, took: now.since(began) }.emit();
        let current = self.world.load();
        if current.links.get(&link.provider.id).is_some_and(|current| current.is_account_of(link)) {
            self.board.settled(link, (evidence.cause, suspicion.held), diagnosis, now);
        }
    }
}

impl Suspicion {
    fn suspects(&self, learned: &[Learned]) -> Option<Suspects> {
        Some(evidence(self.kind, &self.finding, self.status, learned)?.suspects())
    }

    /// Whether a free call may be asked. Where a login comes first, a credential that is suspected is not used for one:
    /// what its logins brought is known already.
    fn asks_of(&self, suspects: &Suspects) -> bool {
        !(self.link.provider.dialect.has_token() && suspects.suspects_credential())
    }

    /// A login of this version was accepted, and its token was refused within its life like the one before.
    fn fresh_token(&self) -> Option<Learned> {
        let twice = self.kind != Kind::Login && self.link.provider.dialect.has_token() && self.held.logins == EVERY_LOGIN;
        let expired = self.suspects(&[]).is_some_and(|suspects| suspects.all().contains(&Cause::CredentialExpired));
        (twice && expired).then(|| Learned { witness: Witness::FreshToken, answer: Answer::RulesOut(vec![Cause::CredentialExpired]) })
    }
}

/// The place of the probe that tells most, of those that were seen to work and not asked yet.
fn next_question(link: &Link, suspects: &Suspects, asked: &[usize]) -> Option<usize> {
    let probes = link.provider.dialect.probes().iter().enumerate().filter(|(at, probe)| !probe.guess && !asked.contains(at));
    let (places, questions): (Vec<usize>, Vec<Question>) = probes.map(|(at, probe)| (at, question(probe))).unzip();
    suspects.best(&questions).and_then(|best| places.get(best).copied())
}

/// What a probe's answers could be.
pub fn question(probe: &Probe) -> Question {
    Question { in_order: probe.rules_out(true), wrong: probe.tells() }
}

fn asks(link: &Link, probe: usize) -> Asks {
    link.provider.dialect.probes().get(probe).map_or(Asks::Credential, |probe| probe.asks)
}

fn witness(asks: Asks) -> Witness {
    match asks {
        Asks::Credential => Witness::CredentialCall,
        Asks::Account | Asks::Sender | Asks::Template => Witness::AccountCall,
        Asks::Balance => Witness::BalanceCall,
    }
}

/// What a probe's reply says of the suspects.
fn answer(probed: Option<&Probed>) -> Answer {
    match probed {
        Some(Probed { alive: Some(true), rules_out, .. }) => Answer::RulesOut(rules_out.clone()),
        Some(Probed { cause: Some(cause), certainty, alternatives, .. }) => {
            Answer::Says(std::iter::once(*cause).chain(alternatives.iter().copied()).collect(), *certainty)
        }
        Some(_) | None => Answer::Nothing,
    }
}
