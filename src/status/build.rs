//! Builds the status from the facts that telemetry keeps: a pure function of one snapshot.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::clock::Moment;
use crate::diagnosis::{Diagnosis, remedy_steps};
use crate::policy::HealthState;
use crate::sms::{Cause, Certainty};
use crate::status::headline;
use crate::status::{
    AttemptStatus, BalanceStatus, BuildStatus, CommandStatus, ConfigStatus, ConnectionsStatus,
    DenialStatus, DeniedRequests, EntrypointStatus, Headline, MessageCounts, ProviderStatus,
    RecentFailures, RecentSends, ReloadStatus, RequestStatus, RouteStatus, SendsLastDay,
    SendsLastHour, Status, VaultEntryStatus, VaultStatus, relative_time, sum,
};
use crate::telemetry::{
    AccountNote, AttemptNote, HealthNote, ProviderSummary, RequestNote, RouteNote, RouteSummary,
    StatusSnapshot, VaultEntryNote,
};

const DAY: u64 = 86_400;
/// The window of rate and latency, and how many minutes it has.
const RECENT: Duration = Duration::from_mins(15);
const RECENT_MINUTES: usize = 15;
const HOUR: Duration = Duration::from_hours(1);

/// Builds each part of the status from one snapshot.
#[derive(Clone, Copy)]
struct StatusBuilder<'a>(&'a StatusSnapshot);

/// Turns the facts into texts and formats their times, for people and programs.
pub fn build(snapshot: &StatusSnapshot) -> Status {
    let builder = StatusBuilder(snapshot);
    let config = &snapshot.facts.config;
    let mut providers: Vec<ProviderStatus> = config
        .providers
        .iter()
        .map(|provider| builder.provider(provider))
        .collect();
    let routes = config
        .effective_routes()
        .iter()
        .map(|route| builder.route(route, &providers))
        .collect();
    // A provider that is out comes first, because it needs an operator.
    providers.sort_by_key(headline::urgency);
    let requests = snapshot.facts.requests.iter().rev();
    let mut status = Status {
        at: format_time(snapshot.wall),
        host: snapshot.facts.host.clone(),
        instance: config.instance.clone(),
        headline: Headline::default(),
        routes,
        providers,
        messages: builder.messages(60),
        requests: requests.map(|note| request_status(note)).collect(),
        entrypoints: builder.entrypoints(),
        connections: builder.connections(),
        denials: builder.denials(),
        denied: builder.denied(),
        vaults: builder.vaults(),
        config: builder.config(),
        build: builder.build_info(),
    };
    let last = builder.last_accepted();
    status.headline = headline::headline(&status, &builder.recent_messages(), last.as_deref());
    status
}

impl StatusBuilder<'_> {
    /// When the last message was accepted, and by which provider.
    fn last_accepted(self) -> Option<String> {
        let routes = self.0.facts.routes.values();
        let accepted = routes.filter_map(|route| route.last_accepted.as_ref());
        let (provider, at) = accepted.max_by_key(|(_, at)| *at)?;
        let ago = relative_time(&format_time(*at), &format_time(self.0.wall))?;
        Some(format!("the last {ago} by {provider}"))
    }

    fn provider(self, config: &ProviderSummary) -> ProviderStatus {
        let account = self.0.facts.accounts.get(&config.id);
        let mut status = ProviderStatus {
            provider: config.id.as_str().to_owned(),
            dialect: config.dialect.clone(),
            base_url: config.base_url.clone(),
            state: HealthState::Healthy.as_str().to_owned(),
            credential: config.credential.clone(),
            ..ProviderStatus::default()
        };
        if let Some(account) = account {
            self.fill_account(&mut status, account);
        }
        if let Some(health) = account.and_then(|account| account.health.as_ref()) {
            self.fill_health(&mut status, health);
        }
        status.can_deliver = status.is_healthy();
        if let Some(problem) = self.credential_problem(&status) {
            status.can_deliver = false;
            status
                .evidence
                .get_or_insert("its vault entry was never read".to_owned());
            status.remedy.get_or_insert(problem);
        }
        if let Some(account) = account.filter(|_| status.can_deliver) {
            self.fill_failure(&mut status, account);
        }
        status.summary = headline::provider_summary(&status, &format_time(self.0.wall));
        status.steps = remedy_steps(status.remedy.as_deref().unwrap_or_default());
        status
    }

    /// Why the provider's credential was never read; none if it was read, or if there is no credential.
    fn credential_problem(self, status: &ProviderStatus) -> Option<String> {
        let (vault, path) = status
            .credential
            .as_ref()
            .filter(|_| status.credential_version == 0)?
            .split_once(':')?;
        let entry = self
            .0
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

    fn fill_account(self, status: &mut ProviderStatus, account: &AccountNote) {
        if let Some((version, since)) = account.credential {
            status.credential_version = version.0;
            status.credential_since = Some(format_time(since));
            status.credential_age_seconds = Some(
                self.0
                    .wall
                    .duration_since(since)
                    .unwrap_or_default()
                    .as_secs(),
            );
        }
        status.token_expires_at = account.token_expires_at.map(format_time);
        status.last_command = account.last_command.as_ref().map(|note| CommandStatus {
            command: note.command.as_str().to_owned(),
            by: note.by.clone(),
            at: format_time(note.at),
        });
        status.balance = account
            .balance
            .as_ref()
            .filter(|money| money.value.is_finite())
            .map(|money| BalanceStatus {
                value: money.value,
                unit: money.unit.clone(),
                at: format_time(money.at),
                daily_spend: money.daily_spend,
            });
        self.fill_traffic(status, account);
    }

    fn fill_traffic(self, status: &mut ProviderStatus, account: &AccountNote) {
        let row = |category| account.hour.counts(category, self.0.now);
        status.hour = SendsLastHour {
            accepted: row(0),
            rejected: row(1),
            unknown: row(2),
            unsent: row(3),
        };
        let of_day = |category| sum(&account.day.counts(category, self.0.now));
        status.day = SendsLastDay {
            accepted: of_day(0),
            sent: (0..4).map(of_day).sum(),
            seconds: self.0.now.0.as_secs().min(DAY),
        };
        status.last_accepted_at = account.last_accepted.map(format_time);
        status.recent = self.recent_sends(account);
    }

    /// The sends of the last 15 periods of a minute; the current one is not over yet.
    fn recent_sends(self, account: &AccountNote) -> RecentSends {
        let uptime = self.0.now.0.as_secs();
        let begun = RECENT.as_secs() - 60 + uptime % 60;
        let of = |category| -> u64 {
            let row = account.hour.counts(category, self.0.now);
            let latest = row.iter().rev().take(RECENT_MINUTES);
            latest.copied().map(u64::from).sum()
        };
        let (accepted, sent) = (of(0), (0..4).map(of).sum());
        let seconds = begun.min(uptime);
        RecentSends {
            accepted,
            sent,
            seconds,
            per_minute: rate_per_minute(sent, seconds),
            p95_ms: account.durations.p95(self.0.now, RECENT).map(millis),
        }
    }

    fn fill_health(self, status: &mut ProviderStatus, health: &HealthNote) {
        health.state.as_str().clone_into(&mut status.state);
        status.since = Some(format_time(health.since));
        status.next_trial_at = health
            .state
            .next_trial_at()
            .map(|at| format_time(self.to_wall_clock(at)));
        let cause = health.state.cause();
        status.cause = cause.map(|cause| cause.as_str().to_owned());
        if let Some(diagnosis) = &health.diagnosis {
            fill_diagnosis(status, diagnosis);
        } else {
            status.evidence = cause.map(|cause| cause.meaning().to_owned());
            status.remedy = headline::default_remedy(status, &self.0.facts.config.file);
        }
    }

    /// Converts a moment of the process's own clock to wall-clock time.
    fn to_wall_clock(self, moment: Moment) -> SystemTime {
        let ahead = moment.since(self.0.now);
        let ago = self.0.now.since(moment);
        self.0
            .wall
            .checked_add(ahead)
            .and_then(|at| at.checked_sub(ago))
            .unwrap_or(self.0.wall)
    }

    fn route(self, config: &RouteSummary, providers: &[ProviderStatus]) -> RouteStatus {
        let named = |id: &crate::sms::ProviderId| {
            providers
                .iter()
                .find(|provider| provider.provider == id.as_str())
        };
        let members: Vec<&ProviderStatus> = config.providers.iter().filter_map(named).collect();
        let note = self.0.facts.routes.get(&config.name);
        let last = note.and_then(|note| note.last_accepted.as_ref());
        let mut status = RouteStatus {
            route: config.name.clone(),
            providers: config
                .providers
                .iter()
                .map(|id| id.as_str().to_owned())
                .collect(),
            recipients: config.recipients.clone(),
            can_deliver: config.observe || members.iter().any(|provider| provider.can_deliver),
            observe: config.observe,
            backup_since: note
                .and_then(|note: &RouteNote| note.backup_since)
                .map(format_time),
            last_provider: last.map(|(provider, _)| provider.as_str().to_owned()),
            last_at: last.map(|(_, at)| format_time(*at)),
            summary: String::new(),
        };
        status.summary = headline::route_summary(&status, &members);
        status
    }

    /// What is wrong with a provider that is in use. A single failure for another reason than the account shows nothing.
    fn fill_failure(self, status: &mut ProviderStatus, account: &AccountNote) {
        let previous = account.previous_credential.as_ref();
        status.previous_version_in_use = previous.map(|note| note.in_use.0);
        status.failing = account
            .recent
            .failures(self.0.now)
            .map(|(failed, sends)| RecentFailures { failed, sends });
        let is_failing = status.failing.is_some();
        let rejected = previous.and_then(|note| Some((&note.at, note.diagnosis.as_ref()?)));
        let failed = account
            .last_failure
            .as_ref()
            .map(|(at, diagnosis)| (at, diagnosis))
            .filter(|(_, diagnosis)| {
                is_failing
                    || diagnosis.cause == Cause::Unexplained
                    || diagnosis.cause.blocks_account()
            });
        if let Some((at, diagnosis)) = rejected.or(failed) {
            status.failed_at = Some(format_time(*at));
            status.cause = Some(diagnosis.cause.as_str().to_owned());
            fill_diagnosis(status, diagnosis);
        }
    }

    /// The messages of the last five minutes, without failures that are over.
    fn recent_messages(self) -> MessageCounts {
        let recent = self.messages(5);
        if self.0.facts.has_recovered(self.0.now) {
            MessageCounts {
                not_sent: 0,
                in_doubt: 0,
                ..recent
            }
        } else {
            recent
        }
    }

    fn messages(self, minutes: usize) -> MessageCounts {
        let of = |category| {
            let row = self.0.facts.sends.counts(category, self.0.now);
            row.iter().rev().take(minutes).copied().map(u64::from).sum()
        };
        MessageCounts {
            accepted: of(0),
            not_sent: of(1),
            in_doubt: of(2),
            message_rejected: of(3),
            passed_through: of(4),
        }
    }

    fn entrypoints(self) -> Vec<EntrypointStatus> {
        let entrypoints = self.0.facts.entrypoints.iter();
        entrypoints
            .map(|(entrypoint, stats)| EntrypointStatus {
                entrypoint: entrypoint.as_str().to_owned(),
                requests: stats.requests,
                tunnelled: stats.tunnelled,
                denied: stats.denied,
                last_at: stats.last_at.map(format_time),
            })
            .collect()
    }

    fn connections(self) -> ConnectionsStatus {
        let stats = &self.0.facts.connections;
        let last = stats.last_denied_at;
        let age = last.map(|at| self.0.wall.duration_since(at).unwrap_or_default());
        ConnectionsStatus {
            open: stats.open,
            limit: stats.limit,
            denied: stats.denied,
            last_denied_at: last.map(format_time),
            denied_lately: age.is_some_and(|age| age < HOUR),
            file_limit_problem: self.0.facts.file_limit.clone(),
        }
    }

    fn denials(self) -> Vec<DenialStatus> {
        let notes = self.0.facts.denials.notes(self.0.now);
        let config = &self.0.facts.config.file;
        notes
            .into_iter()
            .map(|note| DenialStatus {
                reason: note.denial.reason.as_str().to_owned(),
                count: note.count,
                entrypoint: note.entrypoint.as_str().to_owned(),
                last_at: format_time(note.last_at),
                summary: note.denial.sentence(),
                remedy: note.denial.remedy(config),
            })
            .collect()
    }

    fn denied(self) -> Option<DeniedRequests> {
        let share = self.0.facts.denials.outage(self.0.now)?;
        Some(DeniedRequests {
            denied: share.denied,
            requests: share.requests,
        })
    }

    fn vaults(self) -> Vec<VaultStatus> {
        let vaults = self.0.facts.config.vaults.iter();
        vaults
            .map(|(vault, kind)| VaultStatus {
                vault: vault.clone(),
                kind: (*kind).to_owned(),
                entries: self.vault_entries(vault),
            })
            .collect()
    }

    fn vault_entries(self, vault: &str) -> Vec<VaultEntryStatus> {
        let entries = self.0.facts.vault_entries.iter();
        entries
            .filter(|((owner, _), _)| owner == vault)
            .map(|((_, path), entry)| vault_entry_status(path, entry))
            .collect()
    }

    fn config(self) -> ConfigStatus {
        let facts = &self.0.facts;
        let word = |ok| if ok { "ok" } else { "failed" }.to_owned();
        let reload = facts.last_reload.as_ref();
        ConfigStatus {
            file: facts.config.file.clone(),
            digest: facts.config.digest.clone(),
            loaded_at: facts.loaded_at.map(format_time),
            changed_at: facts.change.as_ref().map(|change| format_time(change.at)),
            changed_file: facts.change.as_ref().map(|change| change.file.clone()),
            needs_restart: facts.config.needs_restart.clone(),
            mode: if facts.config.observe {
                "observe"
            } else {
                "act"
            }
            .to_owned(),
            last_reload: reload.map(|reload| ReloadStatus {
                at: format_time(reload.at),
                by: reload.by.clone(),
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
        let build = &self.0.facts.build;
        BuildStatus {
            version: build.version.clone(),
            commit: build.commit.clone(),
            started_at: self.0.facts.started_at.map(format_time),
            pid: self.0.facts.pid,
        }
    }
}

fn vault_entry_status(path: &str, entry: &VaultEntryNote) -> VaultEntryStatus {
    let result = entry.last_read.map(|(_, result)| result.to_owned());
    VaultEntryStatus {
        path: path.to_owned(),
        result: result.unwrap_or_default(),
        read_at: entry.last_read.map(|(at, _)| format_time(at)),
        failing_since: entry.failing_since.map(format_time),
        last_success_at: entry.last_success_at.map(format_time),
        problem: entry.problem.clone(),
    }
}

fn fill_diagnosis(status: &mut ProviderStatus, diagnosis: &Diagnosis) {
    status.certainty = Some(diagnosis.certainty.as_str().to_owned());
    status.alternatives = diagnosis
        .alternatives
        .iter()
        .map(|cause| cause.as_str().to_owned())
        .collect();
    status.evidence = Some(diagnosis.evidence.clone());
    status.remedy = Some(diagnosis.remedy.clone());
}

fn request_status(note: &RequestNote) -> RequestStatus {
    let some = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
    RequestStatus {
        at: note.at.map(format_time).unwrap_or_default(),
        id: note.id.clone(),
        caller: some(&note.caller),
        entrypoint: note
            .entrypoint
            .map(|entrypoint| entrypoint.as_str().to_owned())
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
            .map(|result| result.as_str().to_owned())
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

/// To one decimal. A shorter period than a minute counts as one, because a rate is not known sooner.
fn rate_per_minute(count: u64, seconds: u64) -> f64 {
    let tenths = (count * 600 + seconds.max(60) / 2) / seconds.max(60);
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
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
