//! What a running sidecar knows: how each provider stands, how long it has known a credential, how fast
//! money goes, whether the backend ever called, which of its calls nobody carried. Only reads, over the control socket and `/metrics`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::control::exchange;
use crate::diagnosis::format_command;
use crate::dialect::ProviderRequest;
use crate::doctor::check::{Check, CheckResult};
use crate::doctor::routes::group_blocked;
use crate::net::Listen;
use crate::net::UpstreamSettings;
use crate::net::upstream::UpstreamClient;
use crate::sms::{Cause, Family};
use crate::status::short_time;

/// A process on this machine answers sooner, or is in trouble.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// More than `/metrics` of hundreds of providers.
const MAX_METRICS_BODY: usize = 8 << 20;

/// What could be read; nothing, if none runs.
#[derive(Debug, Default)]
pub(crate) struct RunningSidecar {
    status: Option<Value>,
    samples: Option<Vec<MetricSample>>,
    /// The config as the operator names it.
    config: String,
}

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq)]
struct MetricSample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Calls of the backend that ended for a cause of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockedRequests {
    pub(crate) cause: Cause,
    /// What was spoken; none: nobody's API was recognised.
    pub(crate) dialect: Option<String>,
    /// What the last one was told, and when.
    pub(crate) result: String,
    pub(crate) at: String,
    pub(crate) count: usize,
}

impl RunningSidecar {
    /// Asks where the config says one would listen.
    pub(crate) async fn query(listen: &Listen, config: &str) -> Self {
        let status = async {
            let socket = listen.control.as_deref()?;
            timeout(
                QUERY_TIMEOUT,
                exchange(socket, Method::GET, "/status", &Value::Null),
            )
            .await
            .ok()?
            .ok()
            .map(|(_, status)| status)
        };
        let (status, samples) = tokio::join!(status, fetch_metrics(listen));
        Self {
            status,
            samples,
            config: config.to_owned(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.status.is_some() || self.samples.is_some()
    }

    /// Whether one runs, and whether it runs with what was judged here.
    pub(crate) fn sidecar_check(&self) -> Check {
        if !self.is_up() {
            return Check::skipped(
                "sidecar",
                "none runs with this config (or this user may not ask it): all was asked from here",
            );
        }
        let config = self.status.as_ref().and_then(|status| status.get("config"));
        let word = |key: &str| {
            config
                .and_then(|config| config.get(key))
                .and_then(Value::as_str)
        };
        match word("changed_at") {
            None => Check::ok("sidecar", "one runs with this config, and was only read"),
            Some(at) => {
                let file = word("file").unwrap_or("its config");
                let now = self
                    .status
                    .as_ref()
                    .and_then(|status| status.get("at"))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let differs = format!(
                    "the one that runs does not have this config yet: {file} was changed at {} after it was loaded",
                    short_time(at, now)
                );
                let take = format_command("reload", word("file").unwrap_or_default());
                Check::warning(
                    "sidecar",
                    differs,
                    format!("{take}; the checks here judge what stands in the file"),
                )
            }
        }
    }

    /// Whether it can be asked to send.
    pub(crate) fn can_send(&self) -> bool {
        self.status.is_some()
    }

    /// Calls that came in by a door of the backend's; none: not known.
    pub(crate) fn backend_requests(&self) -> Option<f64> {
        let samples = self.samples.as_ref()?;
        let of_backend = |sample: &&MetricSample| {
            sample.name == "requests_total"
                && sample
                    .labels
                    .get("entrypoint")
                    .is_some_and(|door| door != "control")
        };
        Some(
            samples
                .iter()
                .filter(of_backend)
                .map(|sample| sample.value)
                .sum(),
        )
    }

    /// How long the credential in use has been known.
    pub(crate) fn credential_age(&self, provider: &str) -> Option<Duration> {
        let seconds = self.provider_metric("credential_age_seconds", provider)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// What is spent in a day.
    pub(crate) fn daily_spend(&self, provider: &str) -> Option<f64> {
        self.provider(provider)?
            .get("balance")?
            .get("daily_spend")?
            .as_f64()
    }

    /// How it stands with the running sidecar; none: nobody runs, or it does not know this provider.
    pub(crate) fn state_check(&self, provider: &str) -> Option<Check> {
        let told = self.provider(provider)?;
        let standing = told.get("state")?.as_str()?;
        let cause = told
            .get("cause")
            .and_then(Value::as_str)
            .and_then(|word| word.parse::<Cause>().ok());
        let resume = format_command(&format!("resume {provider}"), &self.config);
        let check = match standing {
            "healthy" => usage_check(told),
            "paused" => Check::warning("state", "it is paused by hand", resume)
                .with_cause(Cause::DeniedByPolicy),
            other => {
                let word = |key: &str| {
                    told.get(key)
                        .and_then(Value::as_str)
                        .filter(|word| !word.is_empty())
                };
                let seen =
                    word("evidence").map_or_else(String::new, |evidence| format!(". {evidence}"));
                let back = || {
                    format!(
                        "it comes back by itself once that is mended; {resume} makes it at once"
                    )
                };
                let evidence =
                    format!("the running sidecar passes it over: its state is {other}{seen}");
                Check::warning(
                    "state",
                    evidence,
                    word("remedy").map_or_else(back, str::to_owned),
                )
            }
        };
        Some(match cause {
            Some(cause) => check.with_cause(cause),
            None => check,
        })
    }

    /// Why it is sent nothing now; none: it is, or nobody runs who would.
    pub(crate) fn unavailable_check(&self, provider: &str) -> Option<Check> {
        self.state_check(provider)
            .filter(|check| check.result == CheckResult::Warning)
    }

    /// The backend's calls of late, since the config was loaded, that stopped here and at no service. A vault that
    /// could not be read is told by its own checks, a provider that is paused by its standing.
    pub(crate) fn blocked_requests(&self) -> Vec<BlockedRequests> {
        let Some(status) = &self.status else {
            return Vec::new();
        };
        let loaded = status
            .get("config")
            .and_then(|config| config.get("loaded_at"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let calls = status
            .get("requests")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        group_blocked(
            calls
                .filter_map(blocked_request)
                .filter(|stopped| stopped.at.as_str() >= loaded),
        )
    }

    fn provider(&self, name: &str) -> Option<&Value> {
        let all = self.status.as_ref()?.get("providers")?.as_array()?;
        all.iter()
            .find(|one| one.get("provider").and_then(Value::as_str) == Some(name))
    }

    fn provider_metric(&self, name: &str, provider: &str) -> Option<f64> {
        let fits = |sample: &&MetricSample| {
            sample.name == name
                && sample
                    .labels
                    .get("provider")
                    .is_some_and(|label| label == provider)
        };
        self.samples
            .as_ref()?
            .iter()
            .find(fits)
            .map(|sample| sample.value)
    }
}

/// What an open provider was used for.
fn usage_check(told: &Value) -> Check {
    let number = |key: &str| {
        told.get("day")
            .and_then(|day| day.get(key))
            .and_then(Value::as_u64)
    };
    let has_none = told.get("credential_version").and_then(Value::as_u64) == Some(0)
        && told.get("credential").is_some_and(Value::is_string);
    match (has_none, number("sent"), number("seconds")) {
        (true, ..) => Check::skipped(
            "state",
            "the running sidecar has read no credential for it yet, and sends nothing through it",
        ),
        (false, Some(0), Some(86_400..)) => Check::ok(
            "state",
            "it is healthy in the running sidecar, and was not tried in the last day",
        ),
        (false, Some(0), _) => Check::ok(
            "state",
            "it is healthy in the running sidecar, and was not tried since the start",
        ),
        _ => Check::ok("state", "the running sidecar sends through it"),
    }
}

/// One of the last calls, if what ended it is ours.
fn blocked_request(call: &Value) -> Option<BlockedRequests> {
    let word = |key: &str| call.get(key).and_then(Value::as_str);
    let cause = word("cause")?.parse::<Cause>().ok()?;
    let verdict = word("result")?.to_owned();
    let told_elsewhere =
        cause == Cause::VaultUnavailable || cause == Cause::DeniedByPolicy && verdict == "not-sent";
    let counts =
        cause.family() == Family::Ours && !told_elsewhere && word("entrypoint") != Some("control");
    counts.then(|| BlockedRequests {
        cause,
        dialect: word("dialect").map(str::to_owned),
        result: verdict,
        at: word("at").unwrap_or_default().to_owned(),
        count: 1,
    })
}

/// None: nobody answers there, or somebody else does.
async fn fetch_metrics(listen: &Listen) -> Option<Vec<MetricSample>> {
    let mut address = listen.admin.or(listen.metrics)?;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() {
            "127.0.0.1"
        } else {
            "::1"
        };
        address = SocketAddr::new(loopback.parse().ok()?, address.port());
    }
    let url = format!("http://{address}/metrics").parse().ok()?;
    let client = UpstreamClient::new(UpstreamSettings::default(), MAX_METRICS_BODY).ok()?;
    let question = ProviderRequest {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let reply = client
        .exchange_without_credentials(question, QUERY_TIMEOUT)
        .await
        .ok()?;
    let samples = parse_metrics(&String::from_utf8_lossy(&reply.body));
    samples
        .iter()
        .any(|sample| sample.name == "build_info")
        .then_some(samples)
}

/// Our own lines of a page in the text format.
fn parse_metrics(page: &str) -> Vec<MetricSample> {
    page.lines()
        .filter_map(|line| parse_sample(line.strip_prefix("sms_sidecar_")?))
        .collect()
}

fn parse_sample(line: &str) -> Option<MetricSample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(MetricSample {
            name: series.to_owned(),
            labels: BTreeMap::new(),
            value,
        });
    };
    let labels = labels.strip_suffix('}')?.split("\",").filter_map(|pair| {
        let (name, value) = pair.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some(MetricSample {
        name: name.to_owned(),
        labels: labels.collect(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PAGE: &str = "# HELP sms_sidecar_requests_total Calls.\nsms_sidecar_requests_total{dialect=\"a\",entrypoint=\"absolute\",result=\"accepted\"} 3\nsms_sidecar_requests_total{dialect=\"a\",entrypoint=\"control\",result=\"accepted\"} 5\nsms_sidecar_credential_age_seconds{provider=\"alpha\"} 90.5\nother_metric 7\nsms_sidecar_config_timestamp_seconds 1.5e9\n";

    fn running(status: Value) -> RunningSidecar {
        RunningSidecar {
            status: Some(status),
            samples: Some(parse_metrics(PAGE)),
            config: "c.toml".to_owned(),
        }
    }

    #[test]
    fn a_page_of_metrics_is_read() {
        let read = parse_metrics(PAGE);
        assert_eq!(read.len(), 4);
        assert_eq!(
            read.last()
                .map(|sample| (sample.name.as_str(), sample.value)),
            Some(("config_timestamp_seconds", 1.5e9))
        );
    }

    #[test]
    fn our_own_sends_are_no_calls_of_the_backend() {
        let running = running(json!({}));
        assert_eq!(running.backend_requests(), Some(3.0));
        assert_eq!(
            running.credential_age("alpha"),
            Some(Duration::from_millis(90_500))
        );
        assert_eq!(running.credential_age("beta"), None);
        assert_eq!(RunningSidecar::default().backend_requests(), None);
    }

    #[test]
    fn one_that_runs_with_another_config_is_told_with_what_loads_it() {
        assert_eq!(
            running(json!({ "config": { "changed_at": null } }))
                .sidecar_check()
                .result,
            CheckResult::Ok
        );
        let changed = json!({ "at": "2026-11-25T20:50:00Z", "config": { "file": "/c/config.toml", "changed_at": "2026-11-25T20:46:00Z" } });
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
    fn a_standing_is_told_with_its_cause() {
        let told = json!({ "providers": [
            { "provider": "a", "state": "healthy", "cause": null },
            { "provider": "b", "state": "quarantined", "cause": "balance-empty", "balance": { "daily_spend": 2.5 } },
            { "provider": "c", "state": "paused", "cause": null },
        ] });
        let running = running(told);
        assert_eq!(
            running.state_check("a").map(|check| check.result),
            Some(CheckResult::Ok)
        );
        assert_eq!(
            running
                .state_check("b")
                .map(|check| (check.result, check.cause)),
            Some((CheckResult::Warning, Some(Cause::BalanceEmpty)))
        );
        assert_eq!(
            running.state_check("c").map(|check| check.result),
            Some(CheckResult::Warning)
        );
        assert_eq!(
            running.state_check("c").and_then(|check| check.cause),
            Some(Cause::DeniedByPolicy)
        );
        assert_eq!(running.state_check("d"), None);
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| running
                .unavailable_check(name)
                .and_then(|check| check.cause)),
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
    fn a_standing_says_whether_it_was_tried_and_what_to_do() {
        let open = |more: Value| {
            let mut told = json!({ "provider": "a", "state": "healthy", "credential": "v:a", "credential_version": 1 });
            told.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            running(json!({ "providers": [told] }))
                .state_check("a")
                .unwrap()
                .evidence
        };
        assert_eq!(
            open(json!({ "day": { "sent": 3, "seconds": 60 } })),
            "the running sidecar sends through it"
        );
        assert!(
            open(json!({ "day": { "sent": 0, "seconds": 60 } }))
                .ends_with("not tried since the start")
        );
        assert!(
            open(json!({ "day": { "sent": 0, "seconds": 86_400 } }))
                .ends_with("not tried in the last day")
        );
        assert!(
            open(json!({ "credential_version": 0 })).contains("has read no credential for it yet")
        );
        let one = |more: Value| {
            running(json!({ "providers": [more] }))
                .state_check("a")
                .unwrap()
        };
        let aside = one(
            json!({ "provider": "a", "state": "quarantined", "cause": "balance-empty", "evidence": "The send was answered 402", "remedy": "top up" }),
        );
        assert_eq!(aside.remedy.as_deref(), Some("top up"));
        assert!(
            aside
                .evidence
                .ends_with("its state is quarantined. The send was answered 402"),
            "{}",
            aside.evidence
        );
        let paused = one(json!({ "provider": "a", "state": "paused" }));
        assert_eq!(
            paused.remedy.as_deref(),
            Some("`sms-sidecar resume a --config c.toml`")
        );
    }

    #[test]
    fn only_the_backends_calls_that_stopped_here_since_the_load_count() {
        let call = |at: &str, door: &str, dialect: Value, verdict: &str, cause: Value| json!({ "at": at, "entrypoint": door, "dialect": dialect, "result": verdict, "cause": cause });
        let told = json!({ "config": { "loaded_at": "2026-01-01T10:00:00Z" }, "requests": [
            call("2026-01-01T10:00:09Z", "base-url", json!("a"), "accepted", Value::Null),
            call("2026-01-01T10:00:08Z", "base-url", json!("a"), "denied", json!("denied-by-policy")),
            call("2026-01-01T10:00:07Z", "absolute", json!("a"), "denied", json!("denied-by-policy")),
            call("2026-01-01T10:00:06Z", "unix", Value::Null, "denied", json!("denied-by-policy")),
            call("2026-01-01T10:00:05Z", "base-url", json!("a"), "not-sent", json!("denied-by-policy")),
            call("2026-01-01T10:00:04Z", "base-url", json!("a"), "not-sent", json!("vault-unavailable")),
            call("2026-01-01T10:00:03Z", "base-url", json!("a"), "not-sent", json!("balance-empty")),
            call("2026-01-01T10:00:02Z", "control", json!("plain"), "not-sent", json!("no-provider")),
            call("2026-01-01T10:00:00Z", "base-url", json!("a"), "not-sent", json!("no-provider")),
            call("2026-01-01T09:59:59Z", "base-url", json!("a"), "not-sent", json!("not-translatable")),
        ] });
        let told: Vec<_> = running(told)
            .blocked_requests()
            .into_iter()
            .map(|one| (one.cause, one.dialect, one.at, one.count))
            .collect();
        let a = || Some("a".to_owned());
        let expected = [
            (
                Cause::DeniedByPolicy,
                None,
                "2026-01-01T10:00:06Z".to_owned(),
                1,
            ),
            (
                Cause::DeniedByPolicy,
                a(),
                "2026-01-01T10:00:08Z".to_owned(),
                2,
            ),
            (Cause::NoProvider, a(), "2026-01-01T10:00:00Z".to_owned(), 1),
        ];
        assert_eq!(told, expected);
    }
}
