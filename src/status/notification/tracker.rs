//! Decides when a problem is reported: once, not while it only flickers, and at most one for each
//! subject in an interval, besides its end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::status::Status;
use crate::status::notification::conditions::{
    self, ObservedSubject, SubjectCondition, reporting_delay,
};
use crate::status::notification::{Notification, NotificationEvent, NotificationSubject};

/// How long a subject must be without a problem before the end of the problem is reported.
const RECOVERY_DELAY: Duration = Duration::from_secs(5);

/// What was reported about each subject of the config.
#[derive(Clone, Debug, Default)]
pub struct NotificationTracker {
    subjects: BTreeMap<NotificationSubject, SubjectHistory>,
}

/// A problem as far as a notification repeats it: an event and its cause.
type ReportedProblem = (NotificationEvent, Option<String>);

#[derive(Clone, Debug)]
struct SubjectHistory {
    /// The event that is observed now, none if there is no problem; and since when.
    observed: Option<NotificationEvent>,
    observed_since: Moment,
    expires_at: Option<String>,
    expiry_known_since: Moment,
    /// The problem that operators heard of, and not yet of its end.
    reported: Option<ReportedProblem>,
    /// When the reported problem began.
    began_at: Moment,
    last_report_at: Option<Moment>,
    changes: u32,
}

impl NotificationTracker {
    /// The notifications that `status` gives rise to. Of one subject, at most one problem is reported in
    /// each `interval`; one that exists at the end of the interval is reported then. A subject that is no
    /// longer in the config is forgotten.
    pub fn observe(
        &mut self,
        status: &Status,
        now: Moment,
        interval: Duration,
    ) -> Vec<Notification> {
        let mut before = std::mem::take(&mut self.subjects);
        let mut notifications = Vec::new();
        for observed in conditions::observe(status) {
            let history = before.remove(&observed.subject);
            let mut history = history.unwrap_or_else(|| SubjectHistory::new(now));
            notifications.extend(history.record(&observed, &status.at, now, interval));
            self.subjects.insert(observed.subject, history);
        }
        notifications
    }
}

impl SubjectHistory {
    const fn new(now: Moment) -> Self {
        Self {
            observed: None,
            observed_since: now,
            expires_at: None,
            expiry_known_since: now,
            reported: None,
            began_at: now,
            last_report_at: None,
            changes: 0,
        }
    }

    fn record(
        &mut self,
        observed: &ObservedSubject,
        at: &str,
        now: Moment,
        interval: Duration,
    ) -> Option<Notification> {
        if self.expires_at != observed.expires_at {
            self.expires_at.clone_from(&observed.expires_at);
            self.expiry_known_since = now;
        }
        match &observed.condition {
            SubjectCondition::Undecided => None,
            SubjectCondition::Fine => {
                self.note_event(None, now);
                self.report_recovery(&observed.subject, at, now)
            }
            SubjectCondition::Problem(problem) => {
                self.note_event(Some(problem.event), now);
                self.report_problem(problem, now, interval)
            }
        }
    }

    fn note_event(&mut self, event: Option<NotificationEvent>, now: Moment) {
        if self.observed == event {
            return;
        }
        if self.observed.is_none() {
            self.changes = self.changes.saturating_add(1);
            if self.reported.is_none() {
                self.began_at = now;
            }
        }
        self.observed = event;
        self.observed_since = now;
    }

    fn report_problem(
        &mut self,
        problem: &Notification,
        now: Moment,
        interval: Duration,
    ) -> Option<Notification> {
        let reported = (problem.event, problem.cause.clone());
        let since = if problem.event == NotificationEvent::TokenExpiring {
            self.expiry_known_since
        } else {
            self.observed_since
        };
        let is_early = now.since(since) < reporting_delay(problem.event)
            || self
                .last_report_at
                .is_some_and(|last| now.since(last) < interval);
        if is_early || self.reported.as_ref() == Some(&reported) {
            return None;
        }
        self.reported = Some(reported);
        self.last_report_at = Some(now);
        Some(Notification {
            changes: self.take_changes(),
            ..problem.clone()
        })
    }

    fn report_recovery(
        &mut self,
        subject: &NotificationSubject,
        at: &str,
        now: Moment,
    ) -> Option<Notification> {
        if now.since(self.observed_since) < RECOVERY_DELAY {
            return None;
        }
        let event = recovery_of(self.reported.take()?.0);
        Some(Notification {
            lasted_seconds: Some(self.observed_since.since(self.began_at).as_secs()),
            changes: self.take_changes(),
            ..Notification::new(event, subject.clone(), at)
        })
    }

    /// How often a problem began since the last notification, if more than once.
    fn take_changes(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.changes)).filter(|changes| *changes > 1)
    }
}

/// The event that ends a problem.
const fn recovery_of(event: NotificationEvent) -> NotificationEvent {
    match event {
        NotificationEvent::RouteBlocked | NotificationEvent::RouteRecovered => {
            NotificationEvent::RouteRecovered
        }
        NotificationEvent::TokenExpiring | NotificationEvent::TokenRenewed => {
            NotificationEvent::TokenRenewed
        }
        NotificationEvent::CaExpiring | NotificationEvent::CaRenewed => {
            NotificationEvent::CaRenewed
        }
        NotificationEvent::RequestsDenied | NotificationEvent::RequestsAccepted => {
            NotificationEvent::RequestsAccepted
        }
        NotificationEvent::ProviderQuarantined
        | NotificationEvent::ProviderCooldown
        | NotificationEvent::ProviderFailing
        | NotificationEvent::ProviderWithoutCredential
        | NotificationEvent::ProviderRecovered
        | NotificationEvent::Test => NotificationEvent::ProviderRecovered,
    }
}
