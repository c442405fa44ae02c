//! One message, from the backend's request to the answer: [`Proxy::send`] reads and guards it,
//! [`Proxy::deliver`] is the loop around `policy::next`, [`Proxy::complete`] answers. The decisions are
//! pure functions of `policy`; this file waits and acts.

use std::sync::Arc;
use std::time::Duration;

use crate::dialect::RecognisedRequest;
use crate::policy::{Attempt, NextStep, PastAttempt, request_result};
use crate::provider::ProviderRuntime;
use crate::provider::attempt::{AttemptResult, AttemptSpec};
use crate::proxy::Proxy;
use crate::proxy::answer::result_reply;
use crate::proxy::dedup::{DedupDecision, InFlight};
use crate::proxy::delivery::Delivery;
use crate::proxy::health::DecisionInput;
use crate::proxy::recipients::{RecipientError, RoutedSend};
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::sms::{AttemptKind, Cause, Operation, Outcome, RequestResult};
use crate::telemetry::{
    DuplicateSuppressed, Failover, LastSendOutcome, PossibleDuplicate, RouteFirstChoice,
};

/// A send that `policy` decided on.
#[derive(Clone, Copy)]
struct SendStep<'a> {
    account: usize,
    runtime: &'a Arc<ProviderRuntime>,
    delay: Duration,
    trial: bool,
}

impl Proxy {
    /// Reads a message, and delivers it unless it is a duplicate or only observed.
    pub(super) async fn send(
        &self,
        context: &RequestContext,
        recognised: &RecognisedRequest,
    ) -> CompletedRequest {
        let dialect = &recognised.dialect;
        let own_reference = self.generate_reference();
        let decoded = match dialect.read(recognised, &context.request, &own_reference) {
            Ok(decoded) => decoded,
            Err(_) if context.snapshot.observes(dialect) => {
                return self.observe(context, dialect, Operation::Send, None).await;
            }
            Err(error) => return Self::reject_unreadable(recognised, &error),
        };
        let fields = decoded.fields.clone();
        let send = match RoutedSend::new(context, recognised, decoded, &own_reference) {
            Ok(send) => send,
            Err(RecipientError::Unreadable(error)) => {
                return Self::reject_unreadable(recognised, &error);
            }
            Err(RecipientError::Recipient { fault, route }) => {
                let completed = self.reject_recipient(recognised, &fields, &fault);
                return CompletedRequest { route, ..completed };
            }
        };
        let mut delivery = Delivery::new(context, recognised, send, &own_reference);
        if delivery.is_observed() {
            return self
                .observe(context, dialect, Operation::Send, Some(&delivery))
                .await;
        }
        let mut completed = self.deliver_once(&mut delivery).await;
        completed.route = delivery.route.map(|route| route.name.clone());
        completed.recipient = delivery.message.map(|message| message.recipient);
        completed
    }

    /// Delivers the message, or answers it as the duplicate of another.
    async fn deliver_once(&self, delivery: &mut Delivery<'_>) -> CompletedRequest {
        let clock = self.clock.as_ref();
        match self.deduplicator.begin(delivery, clock).await {
            DedupDecision::Cached(response) => {
                DuplicateSuppressed {
                    dialect: &delivery.recognised.dialect.name,
                }
                .emit(&self.telemetry);
                response.replay(delivery, clock.timestamp(), self.now())
            }
            // The request it waited for still runs: its result is not known yet.
            DedupDecision::WaitAbandoned => {
                let cause = Some(Cause::Timeout);
                self.complete(delivery, Vec::new(), RequestResult::InDoubt, cause)
            }
            DedupDecision::Proceed(mut in_flight, history) => {
                delivery.inherit_history(&history);
                let completed = self.deliver(delivery, &history, &mut in_flight).await;
                self.deduplicator
                    .finish(in_flight, delivery, &completed, self.now());
                completed
            }
        }
    }

    /// The loop: decide the next step, make the attempt, until there is a result.
    async fn deliver(
        &self,
        delivery: &Delivery<'_>,
        history: &[PastAttempt],
        in_flight: &mut InFlight<'_>,
    ) -> CompletedRequest {
        let mut past = delivery.inherited_attempts(history);
        let mut results: Vec<AttemptResult> = Vec::new();
        let result = loop {
            let step = match self.next_send(delivery, &past) {
                Ok(step) => step,
                Err(result) => break result,
            };
            if !wait_before_attempt(delivery, step.delay).await {
                break request_result(&delivery.plan, &past);
            }
            if self.was_blocked_meanwhile(delivery, &past, step) {
                continue;
            }
            self.emit_failover(delivery, &past, step.runtime);
            let reference = delivery.reference(step.account);
            in_flight.attempt_started(step.runtime, reference);
            let attempt = self.run_attempt(delivery, step).await;
            in_flight.attempt_finished(past_attempt(&attempt, reference));
            self.emit_possible_duplicate(delivery, &past, &attempt);
            past.push(attempt.attempt.clone());
            results.push(attempt);
        };
        let cause = self.health.cause(&self.decision_input(delivery, &past));
        self.complete(delivery, results, result, cause)
    }

    /// The next send, or the request's result.
    fn next_send<'a>(
        &self,
        delivery: &'a Delivery<'_>,
        past: &[Attempt],
    ) -> Result<SendStep<'a>, RequestResult> {
        match self.health.next_step(&self.decision_input(delivery, past)) {
            NextStep::Answer(result) => Err(result),
            NextStep::Send {
                account,
                delay,
                trial,
                ..
            } => Ok(SendStep {
                account,
                runtime: delivery
                    .providers
                    .get(account)
                    .ok_or(RequestResult::NotSent)?,
                delay,
                trial,
            }),
        }
    }

    /// Whether the provider became unavailable during the delay, through the results of other requests.
    fn was_blocked_meanwhile(
        &self,
        delivery: &Delivery<'_>,
        past: &[Attempt],
        step: SendStep<'_>,
    ) -> bool {
        !step.delay.is_zero()
            && !step.trial
            && self
                .health
                .is_blocked(&self.decision_input(delivery, past), step.account)
    }

    /// Makes the attempt and records what it says about the provider.
    async fn run_attempt(&self, delivery: &Delivery<'_>, step: SendStep<'_>) -> AttemptResult {
        let SendStep {
            account, runtime, ..
        } = step;
        let Some(body) = delivery.request_body(account, runtime) else {
            return AttemptResult::skipped(runtime, account);
        };
        let started_at = delivery.context.started_at;
        let elapsed = self.now().since(started_at);
        let spec = AttemptSpec {
            account,
            kind: AttemptKind::Send,
            body,
            message: delivery.messages.get(account).and_then(Option::as_deref),
            recipients: Some(&delivery.recipients),
            time_left: delivery.plan.deadline.saturating_sub(elapsed),
            trial: step.trial,
            choice: self.health.credential_choice(runtime, step.trial),
            backend: &delivery.context.connection,
        };
        let began = self.now();
        self.health.begin_attempt(runtime, began);
        let mut result = runtime.attempt(&spec).await;
        let now = self.now();
        self.health
            .end_attempt(runtime, began, result.outcome(), now);
        result.attempt.ended = now.since(started_at);
        let diagnosis = self.diagnose(&result);
        if result.outcome().shows_working().is_some() {
            LastSendOutcome {
                provider: &runtime.provider.id,
                diagnosis: diagnosis.as_ref(),
            }
            .emit(&self.telemetry);
        }
        self.health
            .record_attempt(runtime, &result.attempt, diagnosis, self.now());
        self.count_when_settled(&result);
        result
    }

    pub(super) fn decision_input<'a>(
        &self,
        delivery: &'a Delivery<'_>,
        attempts: &'a [Attempt],
    ) -> DecisionInput<'a> {
        let now = self.now();
        DecisionInput {
            route: delivery.last_resort_key.as_ref(),
            plan: &delivery.plan,
            providers: &delivery.providers,
            attempts,
            elapsed: now.since(delivery.context.started_at),
            now,
            jitter: self.clock.random_fraction(),
        }
    }

    /// Diagnoses the result and renders the reply in the backend's dialect.
    fn complete(
        &self,
        delivery: &Delivery<'_>,
        attempts: Vec<AttemptResult>,
        result: RequestResult,
        cause: Option<Cause>,
    ) -> CompletedRequest {
        let decisive = decisive_attempt(&attempts, cause);
        let cause = cause.or_else(|| decisive.and_then(|attempt| attempt.outcome().cause()));
        let diagnosis = decisive
            .and_then(|attempt| self.diagnose(attempt))
            .or_else(|| {
                cause
                    .filter(|_| result != RequestResult::Accepted)
                    .map(|cause| self.diagnose_without_attempt(delivery, cause))
            });
        let mut completed = CompletedRequest::unanswered(
            Operation::Send,
            &delivery.recognised.dialect.name,
            result,
        );
        completed.cause = cause;
        completed.diagnosis = diagnosis;
        completed.attempts = attempts;
        self.emit_route_first_choice(delivery, &completed);
        completed.reply = result_reply(delivery, &completed, self);
        completed
    }

    /// Counts that this provider is tried after another one failed.
    fn emit_failover(&self, delivery: &Delivery<'_>, past: &[Attempt], to: &ProviderRuntime) {
        let Some(last) = past.last() else { return };
        let from = delivery
            .providers
            .get(last.account)
            .map(|runtime| &runtime.provider.id);
        if let Some((from, cause)) = from
            .zip(last.outcome.cause())
            .filter(|(from, _)| **from != to.provider.id)
        {
            Failover {
                from,
                to: &to.provider.id,
                cause,
            }
            .emit(&self.telemetry);
        }
    }

    /// Counts a message that two providers may have taken.
    fn emit_possible_duplicate(
        &self,
        delivery: &Delivery<'_>,
        past: &[Attempt],
        result: &AttemptResult,
    ) {
        let id = &result.runtime.provider.id;
        let is_elsewhere = |attempt: &&Attempt| {
            delivery
                .providers
                .get(attempt.account)
                .is_none_or(|runtime| runtime.provider.id != *id)
        };
        let was_in_doubt = past
            .iter()
            .filter(is_elsewhere)
            .any(|attempt| matches!(attempt.outcome, Outcome::Unknown(_)));
        let may_have_taken = matches!(
            result.outcome(),
            Outcome::Accepted { .. } | Outcome::Unknown(_)
        );
        if was_in_doubt && may_have_taken {
            PossibleDuplicate { provider: id }.emit(&self.telemetry);
        }
    }

    fn emit_route_first_choice(&self, delivery: &Delivery<'_>, completed: &CompletedRequest) {
        let first = delivery
            .providers
            .first()
            .map(|runtime| &runtime.provider.id);
        if let (Some(route), Some(accepted)) = (delivery.route, completed.accepted_attempt()) {
            RouteFirstChoice {
                route: &route.name,
                is_first_choice: Some(&accepted.runtime.provider.id) == first,
            }
            .emit(&self.telemetry);
        }
    }
}

/// Waits before an attempt. False: the backend has hung up, or the process is draining.
async fn wait_before_attempt(delivery: &Delivery<'_>, delay: Duration) -> bool {
    let connection = &delivery.context.connection;
    if delay.is_zero() {
        return !connection.is_disconnected();
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => !connection.is_disconnected(),
        () = connection.disconnected_or_draining() => false,
    }
}

/// The attempt that explains the result: the one with its cause, or with any cause if the result has none; of several
/// the last one at the first provider of the plan that did not accept the message in the end.
fn decisive_attempt(attempts: &[AttemptResult], cause: Option<Cause>) -> Option<&AttemptResult> {
    let explains = |attempt: &&AttemptResult| {
        let own = attempt.outcome().cause();
        own.is_some() && (cause.is_none() || own == cause)
    };
    let is_healed = |attempt: &AttemptResult| {
        let accepted = attempts
            .iter()
            .filter(|other| matches!(other.outcome(), Outcome::Accepted { .. }));
        accepted
            .map(|other| other.attempt.account)
            .any(|account| account == attempt.attempt.account)
    };
    attempts
        .iter()
        .rev()
        .filter(explains)
        .min_by_key(|attempt| (is_healed(attempt), attempt.attempt.account))
}

/// The attempt as a later request for the same message needs it.
fn past_attempt(result: &AttemptResult, reference: &str) -> PastAttempt {
    PastAttempt {
        provider: result.runtime.provider.id.clone(),
        credential: result.attempt.credential,
        outcome: result.attempt.outcome.clone(),
        reference: reference.to_owned(),
    }
}
