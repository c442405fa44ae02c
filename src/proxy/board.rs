//! How the providers stand, behind one lock: the question to `policy` and what follows from
//! its answer (a trial taken, a retry paid) are one step, so no two calls take the same trial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::policy::{Admission, Attempt, Event, Held, LastResort, Plan, Record, Standing, Step, View, cause, next};
use crate::proxy::link::Link;
use crate::sms::{Cause, Certainty, Concern, ProviderId, Verdict};
use crate::telemetry::{StandingChanged, Telemetry};

/// Every provider's record.
#[derive(Debug)]
pub(super) struct Board {
    telemetry: Arc<Telemetry>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<ProviderId, Record>,
    /// What was said last, so that only a change is told.
    told: BTreeMap<ProviderId, Told>,
    /// Why whoever is not open is not: outlives the moment of the refusal, for whoever asks later.
    diagnoses: BTreeMap<ProviderId, Diagnosis>,
    resorts: BTreeMap<String, LastResort>,
}

/// A standing in words, its cause, how sure that is (a later answer may settle what was ambiguous), and when it may
/// be tried.
type Told = (&'static str, Option<Cause>, Option<Certainty>, Option<Moment>);

/// The question of one call at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) route: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) links: &'a [Arc<Link>],
    pub(super) tried: &'a [Attempt],
    pub(super) elapsed: std::time::Duration,
    pub(super) now: Moment,
    pub(super) dice: f64,
}

impl Board {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry, state: Mutex::default() }
    }

    /// The next step, with whatever it takes from the records taken.
    pub(super) fn step(&self, question: &Question<'_>) -> Step {
        let mut state = self.lock();
        let views = state.views(question);
        let mut step = next(question.plan, question.tried, |account| view(&views, account), question.elapsed, question.dice);
        if step == Step::Answer(Verdict::NotSent) && question.tried.iter().all(|attempt| attempt.inherited) {
            let resort = state.resorts.entry(question.route.to_owned()).or_default();
            if let Some(account) = resort.admit(question.plan, |account| view(&views, account), question.now) {
                step = Step::Send { account, after: std::time::Duration::ZERO, trial: true, retry: false };
            }
        }
        if let Step::Send { account, trial, retry, .. } = step
            && let Some(link) = question.links.get(account)
        {
            state.record(link).observe(&Event::Begun { trial, retry }, question.now);
        }
        step
    }

    /// Whether an account that was open when the question was asked has been closed since.
    pub(super) fn is_closed(&self, question: &Question<'_>, account: usize) -> bool {
        let views = self.lock().views(question);
        matches!(view(&views, account).admission, Admission::Closed { .. })
    }

    /// Why a call ended as it did.
    pub(super) fn cause(&self, question: &Question<'_>) -> Option<Cause> {
        let views = self.lock().views(question);
        cause(question.plan, question.tried, |account| view(&views, account))
    }

    /// An attempt at this provider came to its end.
    pub(super) fn ended(&self, link: &Link, attempt: &Attempt, diagnosis: Option<Diagnosis>, now: Moment) {
        let event = Event::Ended { outcome: attempt.outcome.clone(), credential: attempt.credential, wait: attempt.wait };
        self.observe(link, &event, diagnosis, now);
    }

    /// Takes in what happened, and tells if the standing is another one now.
    pub(super) fn observe(&self, link: &Link, event: &Event, diagnosis: Option<Diagnosis>, now: Moment) {
        let mut state = self.lock();
        state.record(link).observe(event, now);
        self.tell(&mut state, link, diagnosis, now);
    }

    /// A refusal that was followed is explained better now: the provider stands aside for that and no more for what it
    /// `was`, unless it came back meanwhile.
    pub(super) fn settled(&self, link: &Link, (was, credential): (Cause, Held), diagnosis: Diagnosis, now: Moment) {
        let mut state = self.lock();
        let holds = match state.record(link).standing(now, link.newest()) {
            Standing::Aside { cause, .. } => cause == was,
            Standing::Open | Standing::Resting { .. } => !matches!(was.concern(), Concern::Credential | Concern::Account),
            Standing::Paused => false,
        };
        if holds {
            state.record(link).observe(&Event::Probed { cause: Some(diagnosis.cause), credential }, now);
            self.tell(&mut state, link, Some(diagnosis), now);
        }
    }

    /// The credential that would be used was refused: a call that nobody asked to try it does not.
    pub(super) fn dead(&self, link: &Link, now: Moment) -> Option<Cause> {
        self.standing(link, now).cause().filter(|cause| cause.concern() == Concern::Credential)
    }

    /// These are other accounts now, whatever their names: what is known is of the old ones.
    pub(super) fn forget<'a>(&self, providers: impl Iterator<Item = &'a ProviderId>) {
        let mut state = self.lock();
        for id in providers {
            state.records.remove(id);
            state.diagnoses.remove(id);
        }
    }

    /// How a provider stands.
    pub(super) fn standing(&self, link: &Link, now: Moment) -> Standing {
        self.lock().record(link).standing(now, link.newest())
    }

    /// Has everything told anew: somebody may have had no ear for it before.
    pub(super) fn forget_told(&self) {
        self.lock().told.clear();
    }

    /// Tells of changes that time or a new credential made.
    pub(super) fn refresh<'a>(&self, links: impl Iterator<Item = &'a Arc<Link>>, now: Moment) {
        let mut state = self.lock();
        for link in links {
            self.tell(&mut state, link, None, now);
        }
    }

    fn tell(&self, state: &mut State, link: &Link, news: Option<Diagnosis>, now: Moment) {
        link.tell_credential();
        let id = &link.provider.id;
        let standing = state.record(link).standing(now, link.newest());
        state.explain(id, standing, news);
        let diagnosis = state.diagnoses.get(id);
        let told = (standing.as_str(), standing.cause(), diagnosis.map(|diagnosis| diagnosis.certainty), standing.back());
        if state.told.get(id) != Some(&told) {
            StandingChanged { provider: id, standing: told.0, cause: told.1, diagnosis, back: told.3 }.emit(&self.telemetry);
            state.told.insert(id.clone(), told);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, link: &Link) -> &mut Record {
        self.records.entry(link.provider.id.clone()).or_insert_with(|| Record::new(link.provider.recheck))
    }

    /// Keeps what explains a standing; a failure of another kind meanwhile (a trial that timed out) does not.
    fn explain(&mut self, id: &ProviderId, standing: Standing, news: Option<Diagnosis>) {
        let cause = standing.cause();
        if let Some(news) = news.filter(|news| cause == Some(news.cause)) {
            self.diagnoses.insert(id.clone(), news);
        } else if self.diagnoses.get(id).is_some_and(|kept| cause != Some(kept.cause)) {
            self.diagnoses.remove(id);
        }
    }

    fn views(&mut self, question: &Question<'_>) -> Vec<View> {
        question.links.iter().map(|link| self.record(link).view(question.now, link.newest())).collect()
    }
}

fn view(views: &[View], account: usize) -> View {
    let nobody = View { admission: Admission::Closed { cause: Cause::NoProvider, wait: None }, credential: Held::default(), retry: false };
    views.get(account).copied().unwrap_or(nobody)
}
