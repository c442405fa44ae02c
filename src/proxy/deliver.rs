//! One message: the loop around `policy::next`. Everything judged here is judged by pure
//! functions below; this file only asks, waits and does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::clock::Moment;
use crate::dialect::{RecognisedRequest, Reply};
use crate::policy::{Attempt, NextStep, PastAttempt, inherit_attempts};
use crate::provider::ProviderRuntime;
use crate::provider::attempt::{AttemptResult, AttemptSpec};
use crate::proxy::answer::{CachedResponse, native_reply, translated_reply};
use crate::proxy::dedup::{DedupDecision, InFlight};
use crate::proxy::delivery::Delivery;
use crate::proxy::health::DecisionInput;
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::proxy::{Mode, Proxy};
use crate::sms::{AttemptKind, Cause, Family, Operation, Outcome, ProviderId, RequestResult};
use crate::telemetry::{
    DuplicateSuppressed, Failover, LastSendOutcome, PossibleDuplicate, RouteFirstChoice,
};

impl Proxy {
    /// Reads a send and carries it, or tells what is known of it already.
    pub(super) async fn send(
        &self,
        call: &RequestContext,
        seen: &RecognisedRequest,
    ) -> CompletedRequest {
        let own = self.generate_reference();
        let reading = match seen.dialect.read(seen, &call.request, &own) {
            Ok(reading) => reading,
            Err(_) if call.snapshot.observes(&seen.dialect) => {
                return self
                    .observe(call, &seen.dialect, Operation::Send, None)
                    .await;
            }
            Err(error) => return Self::reject_unreadable(seen, &error),
        };
        let mut sending = Delivery::new(call, seen, reading, &own);
        if sending
            .route
            .map_or(call.snapshot.settings.mode, |route| route.mode)
            == Mode::Observe
        {
            return self
                .observe(call, &seen.dialect, Operation::Send, Some(&sending))
                .await;
        }
        let mut ended = match self.deduplicator.begin(&sending, self.clock.as_ref()).await {
            DedupDecision::Cached(told) => {
                DuplicateSuppressed {
                    dialect: &seen.dialect.name,
                }
                .emit(&self.telemetry);
                told.replay(&sending, self.wall(), self.now())
            }
            // The call it waited for runs on: what became of the message is not known yet.
            DedupDecision::WaitAbandoned => sending.complete(
                self,
                Vec::new(),
                RequestResult::InDoubt,
                Some(Cause::Timeout),
            ),
            DedupDecision::Proceed(mut open, history) => {
                sending.inherit_history(&history);
                let ended = self.deliver(&sending, &history, &mut open).await;
                self.deduplicator.finish(open, &sending, &ended, self.now());
                ended
            }
        };
        ended.route = sending.route.map(|route| route.name.clone());
        ended.recipient = sending.message.map(|message| message.recipient);
        ended
    }

    /// The loop: ask what is next, do it, until there is an answer.
    async fn deliver(
        &self,
        sending: &Delivery<'_>,
        history: &[PastAttempt],
        open: &mut InFlight<'_>,
    ) -> CompletedRequest {
        let order: Vec<ProviderId> = sending
            .providers
            .iter()
            .map(|link| link.provider.id.clone())
            .collect();
        let mut past = inherit_attempts(history, &order);
        let mut tried: Vec<AttemptResult> = Vec::new();
        let verdict = loop {
            let (account, after, trial) =
                match self.health.next_step(&self.decision_input(sending, &past)) {
                    NextStep::Answer(verdict) => break verdict,
                    NextStep::Send {
                        account,
                        delay: after,
                        trial,
                        ..
                    } => (account, after, trial),
                };
            let Some(link) = sending.providers.get(account) else {
                break RequestResult::NotSent;
            };
            if !self.wait_before_attempt(sending, after).await {
                break crate::policy::request_result(&sending.plan, &past);
            }
            // Other calls were answered in the meantime: the provider may stand aside now.
            if !after.is_zero()
                && !trial
                && self
                    .health
                    .is_closed(&self.decision_input(sending, &past), account)
            {
                continue;
            }
            sending.emit_failover(self, &past, link);
            open.attempt_started(link, sending.reference(account));
            let one = self.run_attempt(sending, account, link, trial).await;
            open.attempt_finished(one.to_past_attempt(sending.reference(account)));
            sending.emit_possible_duplicate(self, &past, &one);
            past.push(one.attempt.clone());
            tried.push(one);
        };
        let cause = self.health.cause(&self.decision_input(sending, &past));
        sending.complete(self, tried, verdict, cause)
    }

    async fn run_attempt(
        &self,
        sending: &Delivery<'_>,
        account: usize,
        link: &Arc<ProviderRuntime>,
        trial: bool,
    ) -> AttemptResult {
        let Some(say) = sending.request_body(account, link) else {
            return AttemptResult::skipped(link, account);
        };
        let left = sending
            .plan
            .deadline
            .saturating_sub(self.now().since(sending.context.started_at));
        let said = sending.messages.get(account).and_then(Option::as_ref);
        let mut tried = link
            .attempt(&AttemptSpec {
                account,
                kind: AttemptKind::Send,
                body: say,
                message: said,
                time_left: left,
                trial,
            })
            .await;
        tried.attempt.ended = self.now().since(sending.context.started_at);
        let diagnosis = self.diagnose(&tried);
        let of_account = |cause: Cause| cause.family() == Family::Account;
        if tried.outcome().cause().is_none_or(of_account) {
            LastSendOutcome {
                provider: &link.provider.id,
                diagnosis: diagnosis.as_ref(),
            }
            .emit(&self.telemetry);
        }
        self.health
            .record_attempt(link, &tried.attempt, diagnosis, self.now());
        self.queue_if_ambiguous(&tried);
        tried
    }

    /// Waits before an attempt. False: nobody waits for the answer any more, or we are told to end.
    async fn wait_before_attempt(&self, sending: &Delivery<'_>, after: Duration) -> bool {
        if after.is_zero() {
            return !sending.context.connection.is_disconnected();
        }
        tokio::select! {
            () = tokio::time::sleep(after) => !sending.context.connection.is_disconnected(),
            () = sending.context.connection.disconnected_or_draining() => false,
        }
    }

    pub(super) fn decision_input<'a>(
        &self,
        sending: &'a Delivery<'_>,
        tried: &'a [Attempt],
    ) -> DecisionInput<'a> {
        let now = self.now();
        let (route, plan, links) = (
            sending.last_resort_key.as_ref(),
            &sending.plan,
            &sending.providers,
        );
        DecisionInput {
            route,
            plan,
            providers: links,
            attempts: tried,
            elapsed: now.since(sending.context.started_at),
            now,
            jitter: self.clock.random_fraction(),
        }
    }
}

impl Delivery<'_> {
    /// Counts what it means that this provider is asked after those.
    fn emit_failover(&self, proxy: &Proxy, past: &[Attempt], to: &ProviderRuntime) {
        let Some(last) = past.last() else { return };
        let from = self
            .providers
            .get(last.account)
            .map(|link| &link.provider.id);
        if let Some((from, cause)) = from
            .zip(last.outcome.cause())
            .filter(|(from, _)| **from != to.provider.id)
        {
            Failover {
                from,
                to: &to.provider.id,
                cause,
            }
            .emit(&proxy.telemetry);
        }
    }

    /// Counts a message that two providers may have taken.
    fn emit_possible_duplicate(&self, proxy: &Proxy, past: &[Attempt], one: &AttemptResult) {
        let id = &one.runtime.provider.id;
        let elsewhere = |attempt: &&Attempt| {
            self.providers
                .get(attempt.account)
                .is_none_or(|link| link.provider.id != *id)
        };
        let doubted = past
            .iter()
            .filter(elsewhere)
            .any(|attempt| matches!(attempt.outcome, Outcome::Unknown(_)));
        if doubted
            && matches!(
                one.outcome(),
                Outcome::Accepted { .. } | Outcome::Unknown(_)
            )
        {
            PossibleDuplicate { provider: id }.emit(&proxy.telemetry);
        }
    }

    /// The reply, in the backend's dialect, and what ops are told.
    fn complete(
        &self,
        proxy: &Proxy,
        tried: Vec<AttemptResult>,
        verdict: RequestResult,
        cause: Option<Cause>,
    ) -> CompletedRequest {
        let tells = |tried: &&AttemptResult| {
            tried.outcome().cause().is_some()
                && (cause.is_none() || tried.outcome().cause() == cause)
        };
        let about = tried
            .iter()
            .rev()
            .filter(tells)
            .min_by_key(|tried| tried.attempt.account);
        let diagnosis = about.and_then(|tried| proxy.diagnose(tried));
        let unanswered = Reply {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let mut ended = CompletedRequest::without_attempts(
            unanswered,
            Operation::Send,
            &self.recognised.dialect.name,
            verdict,
        );
        ended.cause = cause.or_else(|| about.and_then(|tried| tried.outcome().cause()));
        ended.diagnosis = diagnosis.or_else(|| {
            ended
                .cause
                .filter(|_| verdict != RequestResult::Accepted)
                .map(|cause| proxy.diagnose_without_attempt(self, cause))
        });
        ended.attempts = tried;
        self.emit_route_first_choice(proxy, &ended);
        ended.reply =
            native_reply(self, &ended).unwrap_or_else(|| translated_reply(self, &ended, proxy));
        ended
    }

    fn emit_route_first_choice(&self, proxy: &Proxy, ended: &CompletedRequest) {
        let first = self.providers.first().map(|link| &link.provider.id);
        if let (Some(route), Some(carrier)) = (self.route, ended.accepted_attempt()) {
            RouteFirstChoice {
                route: &route.name,
                is_first_choice: Some(&carrier.runtime.provider.id) == first,
            }
            .emit(&proxy.telemetry);
        }
    }
}

impl AttemptResult {
    /// As a later call needs it.
    fn to_past_attempt(&self, reference: &str) -> PastAttempt {
        let (credential, outcome) = (self.attempt.credential, self.attempt.outcome.clone());
        PastAttempt {
            provider: self.runtime.provider.id.clone(),
            credential,
            outcome,
            reference: reference.to_owned(),
        }
    }

    fn skipped(link: &Arc<ProviderRuntime>, account: usize) -> Self {
        let classification = crate::provider::unsent_classification(Cause::NotTranslatable);
        let outcome = classification.outcome.clone();
        let attempt = Attempt {
            account,
            credential: link.newest_revision(),
            outcome,
            retry_after: None,
            ended: Duration::ZERO,
            inherited: false,
        };
        let (started_at, duration) = (link.deps.now(), Duration::ZERO);
        let (runtime, kind, evidence) = (Arc::clone(link), AttemptKind::Send, Vec::new());
        Self {
            runtime,
            kind,
            attempt,
            classification,
            evidence,
            status: None,
            native_reply: None,
            method: None,
            other_authority: None,
            started_at,
            duration,
        }
    }
}

/// What a repeat of the message is told.
impl CachedResponse {
    fn replay(
        &self,
        sending: &Delivery<'_>,
        wall: jiff::Timestamp,
        now: Moment,
    ) -> CompletedRequest {
        let mut ended = CompletedRequest::without_attempts(
            self.reply_for(sending, wall),
            Operation::Send,
            &sending.recognised.dialect.name,
            self.result,
        );
        (ended.cause, ended.duplicate_age) = (self.cause, Some(now.since(self.answered_at)));
        ended
    }
}
