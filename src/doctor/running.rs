//! What a running sidecar reports: the state of each provider, how long it has known a credential,
//! how fast the balance falls, whether the backend ever called it, and which requests it rejected
//! itself. Pure: the command line fetches the status.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::diagnosis::format_command;
use crate::doctor::check::{Check, CheckResult};
use crate::policy::HealthState;
use crate::sms::{Cause, RequestResult};
use crate::status::{DenialStatus, ProviderStatus, RequestStatus, Status, short_time};

/// One day, in seconds.
const DAY: u64 = 86_400;

/// What could be fetched from a sidecar that runs with the examined config.
#[derive(Debug, Default)]
pub(crate) struct RunningSidecar {
    pub(crate) answer: SidecarAnswer,
    /// It answers on its control socket, so it can be asked to send.
    pub(crate) has_control: bool,
    /// The config file, as the operator names it.
    pub(crate) config: String,
}

/// How a sidecar answered.
#[derive(Debug, Default)]
pub(crate) enum SidecarAnswer {
    /// None answers.
    #[default]
    Absent,
    /// One serves its metrics, but no status.
    MetricsOnly,
    /// One answers with a status that this version cannot read.
    Unreadable,
    /// One runs with another config, from this file.
    OtherConfig(String),
    /// Its status.
    Status(Box<Status>),
}

/// Requests of the backend that the sidecar rejected for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RejectedRequests {
    pub(crate) cause: Cause,
    /// The dialect of the requests; none: no API was recognised.
    pub(crate) dialect: Option<String>,
    /// The result of the last one, and when.
    pub(crate) result: String,
    pub(crate) at: String,
    pub(crate) count: usize,
}

impl RunningSidecar {
    fn status(&self) -> Option<&Status> {
        match &self.answer {
            SidecarAnswer::Status(status) => Some(status),
            SidecarAnswer::Absent
            | SidecarAnswer::MetricsOnly
            | SidecarAnswer::Unreadable
            | SidecarAnswer::OtherConfig(_) => None,
        }
    }

    /// Forgets the status of a sidecar that runs with another config than the one with this digest. A file that was
    /// changed after the sidecar loaded it is not another config.
    #[must_use]
    pub(crate) fn without_other_config(self, digest: &str) -> Self {
        let other = self
            .status()
            .map(|status| &status.config)
            .filter(|config| !config.digest.is_empty() && config.digest != digest)
            .filter(|config| config.file != self.config || config.changed_at.is_none())
            .map(|config| config.file.clone());
        match other {
            Some(file) => Self {
                answer: SidecarAnswer::OtherConfig(file),
                has_control: false,
                ..self
            },
            None => self,
        }
    }

    /// Whether a sidecar runs, and whether it runs with the config that is examined here.
    pub(crate) fn sidecar_check(&self) -> Check {
        let unknown = match &self.answer {
            SidecarAnswer::Status(status) => return loaded_config_check(status),
            SidecarAnswer::OtherConfig(file) => return self.other_config_check(file),
            SidecarAnswer::Absent => {
                "no sidecar runs with this config, or this user may not open its socket; checks ran locally"
            }
            SidecarAnswer::MetricsOnly => {
                "one runs, but it serves only metrics here, which do not show whether it uses this config"
            }
            SidecarAnswer::Unreadable => {
                "one runs, but its status cannot be read; compare `sms-sidecar --version` with the running one"
            }
        };
        Check::skipped("sidecar", unknown)
    }

    fn other_config_check(&self, file: &str) -> Check {
        let doctor = format_command("doctor", file);
        Check::warning(
            "sidecar",
            format!(
                "the sidecar that answers here runs with another config, {file}; the checks below do not use its reports"
            ),
            format!(
                "{doctor} examines that one; or start the sidecar with {}",
                self.config
            ),
        )
    }

    /// How many requests came in through the backend's entrypoints; none: not known.
    pub(crate) fn backend_requests(&self) -> Option<u64> {
        self.status().map(Status::backend_requests)
    }

    /// How long the credential in use has been known; none: not known.
    pub(crate) fn credential_age(&self, provider: &str) -> Option<Duration> {
        let seconds = self.provider(provider)?.credential_age_seconds?;
        Some(Duration::from_secs(seconds))
    }

    /// How much of the balance is spent in a day, in its own unit; none: not known.
    pub(crate) fn daily_spend(&self, provider: &str) -> Option<f64> {
        self.provider(provider)?.balance.as_ref()?.daily_spend
    }

    /// The provider's state; none: no sidecar runs, or it does not have this provider.
    pub(crate) fn state_check(&self, provider: &str) -> Option<Check> {
        let status = self.provider(provider)?;
        let check = if status.is_healthy() {
            usage_check(status)
        } else if status.state == HealthState::Paused.as_str() {
            let resume = format_command(&format!("resume {provider}"), &self.config);
            let last = status.last_command.as_ref();
            let by = last.map_or("an operator", |last| last.by.as_str());
            Check::warning("state", format!("{by} has paused it"), resume)
                .with_cause(Cause::DeniedByPolicy)
        } else {
            self.outage_check(status)
        };
        Some(match status.parsed_cause() {
            Some(cause) => check.with_cause(cause),
            None => check,
        })
    }

    fn outage_check(&self, status: &ProviderStatus) -> Check {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let evidence =
            filled(&status.evidence).map_or_else(String::new, |text| format!(". {text}"));
        let evidence = format!(
            "the running sidecar skips it: its state is {}{evidence}",
            status.state
        );
        let remedy = filled(&status.remedy).unwrap_or_else(|| {
            let resume = format_command(&format!("resume {}", status.provider), &self.config);
            format!("it recovers by itself once the cause is fixed; {resume} puts it back at once")
        });
        Check::warning("state", evidence, remedy)
    }

    /// Why the running sidecar sends nothing through it now; none: it does, or no sidecar runs.
    pub(crate) fn unavailable_check(&self, provider: &str) -> Option<Check> {
        self.provider(provider)
            .filter(|status| !status.is_healthy())?;
        self.state_check(provider)
            .filter(|check| check.result == CheckResult::Warning)
    }

    /// The backend's requests of the last hour that the sidecar itself denied: a failed check for each reason, a warning
    /// if a message was accepted after the last one.
    pub(crate) fn denial_checks(&self) -> Vec<Check> {
        let Some(status) = self.status() else {
            return Vec::new();
        };
        let routes = status.routes.iter();
        let accepted = routes.filter_map(|route| route.last_at.as_deref()).max();
        let denials = status.denials.iter();
        denials
            .map(|denial| denial_check(denial, accepted, &status.at))
            .collect()
    }

    /// The backend's latest messages, since the config was loaded, that no provider of the config can take.
    pub(crate) fn rejected_requests(&self) -> Vec<RejectedRequests> {
        let Some(status) = self.status() else {
            return Vec::new();
        };
        let loaded = status.config.loaded_at.as_deref().unwrap_or_default();
        let rejected = status.requests.iter().filter_map(rejected_request);
        group_by_cause(rejected.filter(|request| request.at.as_str() >= loaded))
    }

    fn provider(&self, name: &str) -> Option<&ProviderStatus> {
        self.status()?.provider(name)
    }
}

/// Requests that the sidecar denied for one reason.
fn denial_check(denial: &DenialStatus, accepted: Option<&str>, now: &str) -> Check {
    let evidence = format!(
        "the sidecar denied {} of the backend's requests ({}), the last one at {} at entrypoint {}: {}",
        denial.count,
        denial.reason,
        short_time(&denial.last_at, now),
        denial.entrypoint,
        denial.summary
    );
    let is_over = accepted.is_some_and(|accepted| accepted > denial.last_at.as_str());
    let check = if is_over {
        Check::warning("requests", evidence, &denial.remedy)
    } else {
        Check::failed("requests", evidence, &denial.remedy)
    };
    check.with_cause(Cause::DeniedByPolicy)
}

/// Whether the sidecar has put the file in force as it is on the disk.
fn loaded_config_check(status: &Status) -> Check {
    let Some(changed) = &status.config.changed_at else {
        return match &status.config.needs_restart {
            None => Check::ok("sidecar", "one runs with this config"),
            Some(restart) => Check::warning(
                "sidecar",
                format!("one runs with this config, except that {restart}"),
                "restart the sidecar",
            ),
        };
    };
    let file = &status.config.file;
    let changed_file = status.config.changed_file();
    let name = if changed_file.is_empty() {
        "its config"
    } else {
        changed_file
    };
    let at = short_time(changed, &status.at);
    let reload = format_command("reload", file);
    Check::warning(
        "sidecar",
        format!(
            "the running sidecar does not use this config yet: {name} was changed at {at} after it was loaded"
        ),
        format!("{reload}; the checks examine the file"),
    )
}

/// What a healthy provider was used for.
fn usage_check(status: &ProviderStatus) -> Check {
    if status.credential_version == 0 && status.credential.is_some() {
        return Check::skipped(
            "state",
            "the running sidecar has not read a credential for it yet, and sends nothing through it",
        );
    }
    if status.failed_at.is_some() {
        let evidence = format!("the running sidecar reports: {}", status.summary);
        let evidence = match &status.evidence {
            Some(found) => format!("{evidence}. {found}"),
            None => evidence,
        };
        let remedy = status.remedy.clone().unwrap_or_default();
        return Check::warning("state", evidence, remedy);
    }
    let evidence = match status.day.sent {
        0 if status.day.seconds >= DAY => "it is healthy, and was not tried in the last day",
        0 => "it is healthy, and was not tried since the sidecar started",
        _ => "the running sidecar sends through it",
    };
    Check::ok("state", evidence)
}

/// A request of the backend, if no provider of the config can take it. Denied ones have checks of their own.
fn rejected_request(request: &RequestStatus) -> Option<RejectedRequests> {
    let cause = request.parsed_cause()?;
    let is_denied = request.result == RequestResult::Denied.as_str();
    let is_ours = matches!(cause, Cause::NotTranslatable | Cause::NoProvider) && !is_denied;
    (is_ours && request.is_from_backend()).then(|| RejectedRequests {
        cause,
        dialect: request.dialect.clone(),
        result: request.result.clone(),
        at: request.at.clone(),
        count: 1,
    })
}

/// One entry for each cause and dialect, with the newest request of it.
fn group_by_cause(rejected: impl Iterator<Item = RejectedRequests>) -> Vec<RejectedRequests> {
    let mut groups: BTreeMap<(Cause, Option<String>), RejectedRequests> = BTreeMap::new();
    for request in rejected {
        groups
            .entry((request.cause, request.dialect.clone()))
            .and_modify(|group| group.count += request.count)
            .or_insert(request);
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{BalanceStatus, ConfigStatus, EntrypointStatus, RouteStatus, SendsLastDay};

    fn running(status: Status) -> RunningSidecar {
        RunningSidecar {
            answer: SidecarAnswer::Status(Box::new(status)),
            has_control: true,
            config: "c.toml".to_owned(),
        }
    }

    fn running_with(providers: Vec<ProviderStatus>) -> RunningSidecar {
        running(Status {
            providers,
            ..Status::default()
        })
    }

    fn provider(name: &str, state: &str, cause: Option<Cause>) -> ProviderStatus {
        ProviderStatus {
            provider: name.to_owned(),
            state: state.to_owned(),
            cause: cause.map(|cause| cause.as_str().to_owned()),
            credential: Some(format!("v:{name}")),
            credential_version: 1,
            ..ProviderStatus::default()
        }
    }

    #[test]
    fn only_requests_through_the_backends_entrypoints_are_counted() {
        let entrypoint_status = |entrypoint: &str, requests, tunnelled, denied| EntrypointStatus {
            entrypoint: entrypoint.to_owned(),
            requests,
            tunnelled,
            denied,
            ..EntrypointStatus::default()
        };
        let facts = Status {
            entrypoints: vec![
                entrypoint_status("absolute", 3, 2, 1),
                entrypoint_status("control", 5, 0, 0),
            ],
            ..Status::default()
        };
        assert_eq!(running(facts).backend_requests(), Some(6));
        assert_eq!(RunningSidecar::default().backend_requests(), None);
    }

    #[test]
    fn the_credential_age_is_known_for_providers_of_the_status() {
        let alpha = ProviderStatus {
            credential_age_seconds: Some(90),
            ..provider("alpha", "healthy", None)
        };
        let running = running_with(vec![alpha]);
        assert_eq!(
            running.credential_age("alpha"),
            Some(Duration::from_secs(90))
        );
        assert_eq!(running.credential_age("beta"), None);
    }

    #[test]
    fn a_config_that_is_not_loaded_yet_is_a_warning_with_the_command_that_loads_it() {
        assert_eq!(
            running(Status::default()).sidecar_check().result,
            CheckResult::Ok
        );
        let changed = Status {
            at: "2026-11-25T20:50:00Z".into(),
            config: ConfigStatus {
                file: "/c/config.toml".into(),
                changed_at: Some("2026-11-25T20:46:00Z".into()),
                ..ConfigStatus::default()
            },
            ..Status::default()
        };
        let check = running(changed).sidecar_check();
        assert_eq!(check.result, CheckResult::Warning);
        assert!(
            check
                .evidence
                .contains("/c/config.toml was changed at 20:46:00 UTC after it was loaded"),
            "{}",
            check.evidence
        );
        assert!(check.remedy.is_some_and(|remedy| {
            remedy.starts_with("`sms-sidecar reload --config /c/config.toml`")
        }));
    }

    #[test]
    fn a_change_that_waits_for_a_restart_is_a_warning_until_then() {
        let waiting = Status {
            config: ConfigStatus {
                needs_restart: Some("[listen] takes effect at the next start".into()),
                ..ConfigStatus::default()
            },
            ..Status::default()
        };
        let check = running(waiting).sidecar_check();
        assert_eq!(
            (check.result, check.remedy.as_deref()),
            (CheckResult::Warning, Some("restart the sidecar"))
        );
        assert!(check.evidence.contains("except that [listen]"));
    }

    #[test]
    fn denied_requests_fail_until_a_message_is_accepted() {
        let checked = |last_accepted: Option<&str>| {
            let denial = DenialStatus {
                reason: "ca-missing".into(),
                count: 3,
                entrypoint: "connect".into(),
                last_at: "2026-11-25T20:46:00Z".into(),
                summary: "CONNECT needs a local CA".into(),
                remedy: "run `sms-sidecar ca init`".into(),
            };
            let route = RouteStatus {
                last_at: last_accepted.map(str::to_owned),
                ..RouteStatus::default()
            };
            let status = Status {
                at: "2026-11-25T20:50:00Z".into(),
                denials: vec![denial],
                routes: vec![route],
                ..Status::default()
            };
            running(status).denial_checks().remove(0)
        };
        for (accepted, result) in [
            (None, CheckResult::Failed),
            (Some("2026-11-25T20:45:00Z"), CheckResult::Failed),
            (Some("2026-11-25T20:47:00Z"), CheckResult::Warning),
        ] {
            let check = checked(accepted);
            assert_eq!(check.result, result);
            assert_eq!(check.remedy.as_deref(), Some("run `sms-sidecar ca init`"));
            assert_eq!(
                check.evidence,
                "the sidecar denied 3 of the backend's requests (ca-missing), the last one at 20:46:00 UTC at entrypoint connect: CONNECT needs a local CA"
            );
        }
        assert!(RunningSidecar::default().denial_checks().is_empty());
    }

    #[test]
    fn a_status_of_another_version_is_not_a_missing_sidecar() {
        let check = |answer| {
            RunningSidecar {
                answer,
                ..RunningSidecar::default()
            }
            .sidecar_check()
        };
        let unreadable = check(SidecarAnswer::Unreadable);
        assert_eq!(unreadable.result, CheckResult::Skipped);
        assert!(
            unreadable
                .evidence
                .contains("compare `sms-sidecar --version` with the running one")
        );
        assert_eq!(
            check(SidecarAnswer::MetricsOnly).result,
            CheckResult::Skipped
        );
        assert_eq!(check(SidecarAnswer::Absent).result, CheckResult::Skipped);
    }

    #[test]
    fn a_provider_in_use_that_fails_is_a_warning_with_its_remedy() {
        let failing = ProviderStatus {
            failed_at: Some("2026-11-25T20:46:00Z".into()),
            summary: "in use, but 5 of its last 5 messages failed".into(),
            evidence: Some("The send was answered 400".into()),
            remedy: Some("register the sender".into()),
            ..provider("a", "healthy", Some(Cause::SenderNotAllowed))
        };
        let running = running_with(vec![failing]);
        let check = running.state_check("a").unwrap();
        assert_eq!(
            (check.result, check.cause),
            (CheckResult::Warning, Some(Cause::SenderNotAllowed))
        );
        assert_eq!(
            check.evidence,
            "the running sidecar reports: in use, but 5 of its last 5 messages failed. The send was answered 400"
        );
        assert_eq!(check.remedy.as_deref(), Some("register the sender"));
        assert!(running.unavailable_check("a").is_none(), "it is in use");
    }

    #[test]
    fn a_sidecar_with_another_config_is_not_taken_for_this_one() {
        let with = |file: &str, digest: &str| {
            let status = Status {
                config: ConfigStatus {
                    file: file.to_owned(),
                    digest: digest.to_owned(),
                    ..ConfigStatus::default()
                },
                providers: vec![provider("a", "quarantined", Some(Cause::BalanceEmpty))],
                ..Status::default()
            };
            running(status).without_other_config("0123")
        };
        let other = with("/other.toml", "4567");
        let check = other.sidecar_check();
        assert_eq!(check.result, CheckResult::Warning);
        assert!(check.evidence.contains("another config, /other.toml"));
        assert!(
            check
                .remedy
                .unwrap()
                .contains("`sms-sidecar doctor --config /other.toml`")
        );
        assert!(other.state_check("a").is_none() && !other.has_control);
        assert!(
            !with("c.toml", "4567").has_control,
            "the same path in another container"
        );
        for (file, digest) in [
            ("c.toml", "0123"),
            ("/copy.toml", "0123"),
            ("/older.toml", ""),
        ] {
            let same = with(file, digest);
            assert!(
                same.state_check("a").is_some() && same.has_control,
                "{file} {digest}"
            );
        }
    }

    #[test]
    fn a_state_is_shown_with_its_cause() {
        let beta = ProviderStatus {
            balance: Some(BalanceStatus {
                daily_spend: Some(2.5),
                ..BalanceStatus::default()
            }),
            ..provider("b", "quarantined", Some(Cause::BalanceEmpty))
        };
        let running = running_with(vec![
            provider("a", "healthy", None),
            beta,
            provider("c", "paused", None),
        ]);
        let results = ["a", "b", "c"]
            .map(|name| running.state_check(name).map(|check| check.result).unwrap());
        assert_eq!(
            results,
            [CheckResult::Ok, CheckResult::Warning, CheckResult::Warning]
        );
        assert_eq!(running.state_check("d"), None);
        let causes = ["a", "b", "c", "d"].map(|name| {
            running
                .unavailable_check(name)
                .and_then(|check| check.cause)
        });
        assert_eq!(
            causes,
            [
                None,
                Some(Cause::BalanceEmpty),
                Some(Cause::DeniedByPolicy),
                None
            ]
        );
        assert_eq!(running.daily_spend("b"), Some(2.5));
    }

    #[test]
    fn a_healthy_provider_shows_whether_it_was_tried() {
        let evidence = |sent, seconds, credential_version| {
            let alpha = ProviderStatus {
                day: SendsLastDay {
                    accepted: 0,
                    sent,
                    seconds,
                },
                credential_version,
                ..provider("a", "healthy", None)
            };
            running_with(vec![alpha]).state_check("a").unwrap().evidence
        };
        assert_eq!(evidence(3, 60, 1), "the running sidecar sends through it");
        assert!(evidence(0, 60, 1).ends_with("not tried since the sidecar started"));
        assert!(evidence(0, DAY, 1).ends_with("not tried in the last day"));
        assert!(evidence(0, 60, 0).contains("has not read a credential for it yet"));
    }

    #[test]
    fn a_provider_that_is_out_shows_evidence_and_remedy() {
        let quarantined = ProviderStatus {
            evidence: Some("The send was answered 402".into()),
            remedy: Some("top up".into()),
            ..provider("a", "quarantined", Some(Cause::BalanceEmpty))
        };
        let check = running_with(vec![quarantined]).state_check("a").unwrap();
        assert_eq!(check.remedy.as_deref(), Some("top up"));
        assert!(
            check
                .evidence
                .ends_with("its state is quarantined. The send was answered 402"),
            "{}",
            check.evidence
        );
        let paused = running_with(vec![provider("a", "paused", None)]).state_check("a");
        assert_eq!(
            paused.unwrap().remedy.as_deref(),
            Some("`sms-sidecar resume a --config c.toml`")
        );
    }

    #[test]
    fn only_requests_that_the_sidecar_rejected_since_the_load_are_grouped() {
        let request = |at: &str, entrypoint: &str, dialect, result: &str, cause| RequestStatus {
            at: format!("2026-01-01T{at}Z"),
            entrypoint: entrypoint.to_owned(),
            dialect: Some(dialect)
                .filter(|name: &&str| !name.is_empty())
                .map(str::to_owned),
            result: result.to_owned(),
            cause: Some(cause)
                .filter(|cause: &&str| !cause.is_empty())
                .map(str::to_owned),
            ..RequestStatus::default()
        };
        let requests = vec![
            request("10:00:09", "base-url", "a", "accepted", ""),
            request("10:00:08", "base-url", "a", "denied", "denied-by-policy"),
            request("10:00:07", "absolute", "a", "denied", "denied-by-policy"),
            request("10:00:06", "unix", "", "denied", "denied-by-policy"),
            request("10:00:05", "base-url", "a", "not-sent", "denied-by-policy"),
            request("10:00:04", "base-url", "a", "not-sent", "vault-unavailable"),
            request("10:00:03", "base-url", "a", "not-sent", "balance-empty"),
            request("10:00:02", "control", "plain", "not-sent", "no-provider"),
            request("10:00:01", "unix", "a", "not-sent", "not-translatable"),
            request("10:00:00", "base-url", "a", "not-sent", "no-provider"),
            request("09:59:59", "base-url", "a", "not-sent", "not-translatable"),
        ];
        let status = Status {
            config: ConfigStatus {
                loaded_at: Some("2026-01-01T10:00:00Z".into()),
                ..ConfigStatus::default()
            },
            requests,
            ..Status::default()
        };
        let groups: Vec<_> = running(status)
            .rejected_requests()
            .into_iter()
            .map(|group| (group.cause, group.dialect, group.at, group.count))
            .collect();
        let group = |cause, dialect: Option<&str>, at: &str, count| {
            (
                cause,
                dialect.map(str::to_owned),
                format!("2026-01-01T{at}Z"),
                count,
            )
        };
        assert_eq!(
            groups,
            [
                group(Cause::NotTranslatable, Some("a"), "10:00:01", 1),
                group(Cause::NoProvider, Some("a"), "10:00:00", 1),
            ]
        );
    }
}
