//! Facts into words and times, for people and programs.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::clock::Moment;
use crate::diagnosis::{Diagnosis, format_duration};
use crate::sms::{Cause, Certainty};
use crate::status::headline;
use crate::status::{
    AttemptStatus, BalanceStatus, BuildStatus, ConfigStatus, EntrypointStatus, MessageCounts,
    ProviderStatus, ReloadStatus, RequestStatus, RouteStatus, SendsLastDay, SendsLastHour, Status,
    TlsRejectionStatus, VaultEntryStatus, VaultStatus, sum,
};
use crate::telemetry::facts::{
    AccountNote, AttemptNote, HealthNote, ProviderSummary, RequestNote, RouteNote, RouteSummary,
    StatusFacts,
};

const DAY: u64 = 86_400;
const HOUR: Duration = Duration::from_hours(1);

/// What the words are about: the facts and what time it is.
#[derive(Clone, Copy)]
struct StatusBuilder<'a> {
    facts: &'a StatusFacts,
    now: Moment,
    wall: SystemTime,
}

/// Puts what is remembered into words.
pub(crate) fn build(facts: &StatusFacts, now: Moment, wall: SystemTime) -> Status {
    let teller = StatusBuilder { facts, now, wall };
    let mut providers: Vec<ProviderStatus> = facts
        .config
        .providers
        .iter()
        .map(|layout| teller.provider(layout))
        .collect();
    let routes: Vec<RouteStatus> = facts
        .config
        .effective_routes()
        .iter()
        .map(|layout| teller.route(layout, &providers))
        .collect();
    // Who is out stands first, because that is what somebody has to act on.
    providers.sort_by_key(headline::urgency);
    let messages = teller.messages(60);
    let mut status = Status {
        at: format_time(wall),
        routes,
        providers,
        messages,
        requests: facts
            .requests
            .iter()
            .rev()
            .map(|note| request_status(note))
            .collect(),
        entrypoints: teller.entrypoints(),
        vaults: teller.vaults(),
        config: teller.config(),
        build: teller.build_info(),
        headline: headline::Headline::default(),
    };
    let last = facts
        .routes
        .values()
        .filter_map(|way| way.last_accepted.as_ref())
        .max_by_key(|(_, at)| *at);
    let last = last.map(|(by, at)| {
        format!(
            "the last {} by {by}",
            format_ago(wall.duration_since(*at).unwrap_or_default())
        )
    });
    status.headline = headline::headline(&status, &teller.messages(5), last.as_deref());
    status
}

impl StatusBuilder<'_> {
    fn provider(self, layout: &ProviderSummary) -> ProviderStatus {
        let account = self.facts.accounts.get(&layout.id);
        let mut told = ProviderStatus {
            provider: layout.id.as_str().to_owned(),
            dialect: layout.dialect.clone(),
            base_url: layout.base_url.clone(),
            state: "healthy".to_owned(),
            credential: layout.credential.clone(),
            ..ProviderStatus::default()
        };
        if let Some(account) = account {
            self.fill_account(&mut told, account);
        }
        if let Some(stand) = account.and_then(|account| account.health.as_ref()) {
            self.fill_health(&mut told, stand);
        }
        told.can_deliver = told.state == "healthy";
        if let Some(problem) = self.credential_problem(&told) {
            told.can_deliver = false;
            told.evidence
                .get_or_insert("nothing of its vault entry was ever read".to_owned());
            told.remedy.get_or_insert(problem);
        }
        if let Some((at, diagnosis)) = account
            .and_then(|account| account.last_failure.as_ref())
            .filter(|_| told.can_deliver)
        {
            told.failed_at = Some(format_time(*at));
            told.cause = Some(diagnosis.cause.as_str().to_owned());
            fill_diagnosis(&mut told, diagnosis);
        }
        told.summary = headline::provider_summary(&told, &format_time(self.wall));
        told
    }

    /// Why nothing was ever read of its credential, if nothing was.
    fn credential_problem(self, told: &ProviderStatus) -> Option<String> {
        let (vault, path) = told
            .credential
            .as_ref()
            .filter(|_| told.credential_version == 0)?
            .split_once(':')?;
        let entry = self
            .facts
            .vault_entries
            .get(&(vault.to_owned(), path.to_owned()))
            .filter(|entry| entry.failing_since.is_some())?;
        Some(
            entry
                .problem
                .clone()
                .unwrap_or_else(|| "its vault entry cannot be read".to_owned()),
        )
    }

    fn fill_account(self, told: &mut ProviderStatus, account: &AccountNote) {
        if let Some((version, since)) = account.credential {
            told.credential_version = version.0;
            told.credential_since = Some(format_time(since));
            told.credential_age_seconds = Some(
                self.wall
                    .duration_since(since)
                    .unwrap_or_default()
                    .as_secs(),
            );
        }
        told.token_expires_at = account.token_expires_at.map(format_time);
        told.balance = account
            .balance
            .as_ref()
            .filter(|money| money.value.is_finite())
            .map(|money| BalanceStatus {
                value: money.value,
                unit: money.unit.clone(),
                at: format_time(money.at),
                daily_spend: money.daily_spend,
            });
        let row = |word| account.hour.counts(word, self.now);
        told.hour = SendsLastHour {
            accepted: row(0),
            rejected: row(1),
            unknown: row(2),
            unsent: row(3),
        };
        let of_day = |word| sum(&account.day.counts(word, self.now));
        let (accepted, sent) = (of_day(0), (0..4).map(of_day).sum());
        told.day = SendsLastDay {
            accepted,
            sent,
            seconds: self.now.0.as_secs().min(DAY),
        };
    }

    fn fill_health(self, told: &mut ProviderStatus, stand: &HealthNote) {
        stand.state.clone_into(&mut told.state);
        told.since = Some(format_time(stand.since));
        told.next_trial_at = stand
            .next_trial_at
            .map(|back| format_time(self.to_wall_clock(back)));
        told.cause = stand.cause.map(|cause| cause.as_str().to_owned());
        if let Some(diagnosis) = &stand.diagnosis {
            fill_diagnosis(told, diagnosis);
        } else {
            told.evidence = stand.cause.map(|cause| cause.meaning().to_owned());
            told.remedy = headline::default_remedy(told);
        }
    }

    /// A moment of the process's own time as the calendar's.
    fn to_wall_clock(self, moment: Moment) -> SystemTime {
        let (ahead, ago) = (moment.since(self.now), self.now.since(moment));
        self.wall
            .checked_add(ahead)
            .and_then(|at| at.checked_sub(ago))
            .unwrap_or(self.wall)
    }

    fn route(self, layout: &RouteSummary, providers: &[ProviderStatus]) -> RouteStatus {
        let named = |id: &crate::sms::ProviderId| {
            providers
                .iter()
                .find(|provider| provider.provider == id.as_str())
        };
        let members: Vec<&ProviderStatus> = layout.providers.iter().filter_map(named).collect();
        let way = self.facts.routes.get(&layout.name);
        let last = way.and_then(|way| way.last_accepted.as_ref());
        let mut told = RouteStatus {
            route: layout.name.clone(),
            providers: layout
                .providers
                .iter()
                .map(|id| id.as_str().to_owned())
                .collect(),
            recipients: layout.recipients.clone(),
            can_deliver: layout.observe || members.iter().any(|provider| provider.can_deliver),
            observe: layout.observe,
            backup_since: way
                .and_then(|way: &RouteNote| way.backup_since)
                .map(format_time),
            last_provider: last.map(|(by, _)| by.as_str().to_owned()),
            last_at: last.map(|(_, at)| format_time(*at)),
            summary: String::new(),
        };
        told.summary = headline::route_summary(&told, &members);
        told
    }

    fn messages(self, minutes: usize) -> MessageCounts {
        let of = |word| {
            let row = self.facts.sends.counts(word, self.now);
            row.iter().rev().take(minutes).copied().map(u64::from).sum()
        };
        MessageCounts {
            accepted: of(0),
            not_sent: of(1),
            in_doubt: of(2),
            message_rejected: of(3),
        }
    }

    fn entrypoints(self) -> Vec<EntrypointStatus> {
        let late = |at| self.wall.duration_since(at).unwrap_or_default() < HOUR;
        let door = |(door, seen): (
            &crate::sms::Entrypoint,
            &crate::telemetry::facts::EntrypointStats,
        )| EntrypointStatus {
            entrypoint: door.as_str().to_owned(),
            requests: seen.requests,
            tunnelled: seen.tunnelled,
            denied: seen.denied,
            last_at: seen.last_at.map(format_time),
            tls_rejections: seen
                .tls_rejections
                .as_ref()
                .filter(|barred| late(barred.last_at))
                .map(|barred| TlsRejectionStatus {
                    count: barred.count,
                    last_at: format_time(barred.last_at),
                    reason: barred.reason.clone(),
                }),
        };
        self.facts.entrypoints.iter().map(door).collect()
    }

    fn vaults(self) -> Vec<VaultStatus> {
        let of = |vault: &str| {
            let mine = self
                .facts
                .vault_entries
                .iter()
                .filter(|((owner, _), _)| owner == vault);
            let entry = |((_, path), entry): (
                &(String, String),
                &crate::telemetry::facts::VaultEntryNote,
            )| VaultEntryStatus {
                path: path.clone(),
                result: entry
                    .last_read
                    .map(|(_, result)| result.to_owned())
                    .unwrap_or_default(),
                read_at: entry.last_read.map(|(at, _)| format_time(at)),
                failing_since: entry.failing_since.map(format_time),
                last_success_at: entry.last_success_at.map(format_time),
                problem: entry.problem.clone(),
            };
            mine.map(entry).collect()
        };
        let vaults = self.facts.config.vaults.iter();
        vaults
            .map(|(vault, kind)| VaultStatus {
                vault: vault.clone(),
                kind: (*kind).to_owned(),
                entries: of(vault),
            })
            .collect()
    }

    fn config(self) -> ConfigStatus {
        let facts = self.facts;
        let word = |ok| if ok { "ok" } else { "failed" }.to_owned();
        let reload = facts.last_reload.as_ref();
        ConfigStatus {
            file: facts.config.file.clone(),
            loaded_at: facts.loaded_at.map(format_time),
            changed_at: facts.changed_at.map(format_time),
            mode: if facts.config.observe {
                "observe"
            } else {
                "act"
            }
            .to_owned(),
            last_reload: reload.map(|reload| ReloadStatus {
                at: format_time(reload.at),
                result: word(reload.succeeded),
                problem: reload.problem.clone(),
            }),
            ca_expires_at: facts.ca_expires_at.map(format_time),
            listen: facts
                .config
                .listen
                .iter()
                .map(|(what, address)| format!("{what} {address}"))
                .collect(),
        }
    }

    fn build_info(self) -> BuildStatus {
        let build = &self.facts.build;
        BuildStatus {
            version: build.version.clone(),
            commit: build.commit.clone(),
            started_at: self.facts.started_at.map(format_time),
            pid: std::process::id(),
        }
    }
}

fn fill_diagnosis(told: &mut ProviderStatus, diagnosis: &Diagnosis) {
    told.certainty = Some(diagnosis.certainty.as_str().to_owned());
    told.alternatives = diagnosis
        .alternatives
        .iter()
        .map(|cause| cause.as_str().to_owned())
        .collect();
    told.evidence = Some(diagnosis.evidence.clone());
    told.remedy = Some(diagnosis.remedy.clone());
}

fn request_status(note: &RequestNote) -> RequestStatus {
    let some = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
    RequestStatus {
        at: note.at.map(format_time).unwrap_or_default(),
        id: note.id.clone(),
        caller: some(&note.caller),
        entrypoint: note
            .entrypoint
            .map(|door| door.as_str().to_owned())
            .unwrap_or_default(),
        dialect: some(&note.dialect),
        operation: note
            .operation
            .map(|operation| operation.as_str().to_owned())
            .unwrap_or_default(),
        route: some(&note.route),
        recipient: some(&note.recipient),
        result: note
            .result
            .map(|verdict| verdict.as_str().to_owned())
            .unwrap_or_default(),
        cause: note.cause.map(|cause| cause.as_str().to_owned()),
        certainty: note.certainty.map(Certainty::as_str).map(str::to_owned),
        duplicate: note.duplicate,
        took_ms: millis(note.duration),
        attempts: note.attempts.iter().map(attempt_status).collect(),
    }
}

fn attempt_status(note: &AttemptNote) -> AttemptStatus {
    AttemptStatus {
        provider: note.provider.as_str().to_owned(),
        kind: note.kind.as_str().to_owned(),
        outcome: note.outcome.to_owned(),
        cause: note.cause.map(Cause::as_str).map(str::to_owned),
        status: note.status,
        provider_message: note.provider_message.clone(),
        took_ms: millis(note.duration),
    }
}

fn format_ago(time: Duration) -> String {
    if time < Duration::from_secs(5) {
        "just now".to_owned()
    } else {
        format!("{} ago", format_duration(time))
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-11-25T16:20:05Z`.
fn format_time(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}
