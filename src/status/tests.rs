//! Tests the texts of the status, situation by situation, and that they depend only on events.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::Registry;

use crate::clock::{Clock, Moment};
use crate::diagnosis::{ClientKind, DenialReason, Diagnosis};
use crate::policy::HealthState;
use crate::secret::Version;
use crate::sms::{
    AttemptKind, Cause, Certainty, Entrypoint, Msisdn, Operation, Outcome, ProviderId,
    RequestResult,
};
use crate::status::{Deliverability, RecentSends, Status, build};
use crate::telemetry::{
    AttemptFinished, AttemptRecord, BalanceReported, BuildInfo, CommandKind, ConfigChange,
    ConfigSummary, ConnectionDenialReason, ConnectionDenied, CredentialLoaded, DenialRecorded,
    FileLimitLow, HealthStateChanged, LastSendOutcome, MetricsSchema, Operator, OperatorCommand,
    ProviderSummary, Reloaded, RequestDenied, RequestFinished, RouteFirstChoice, RouteSummary,
    Started, Telemetry, TunnelClosed, VaultRead, VaultReadResult,
};

/// 2026-11-25T16:20:00Z.
const START: u64 = 1_795_623_600;

/// A clock that a test advances. Its monotonic and its wall-clock time advance together.
#[derive(Debug, Default)]
struct Hands(Mutex<Duration>);

impl Clock for Hands {
    fn now(&self) -> Moment {
        Moment(*self.0.lock().unwrap())
    }
    fn wall_clock(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + *self.0.lock().unwrap()
    }
    fn random_fraction(&self) -> f64 {
        0.5
    }
}

struct StatusFixture {
    telemetry: Telemetry,
    hands: Arc<Hands>,
}

fn shape() -> MetricsSchema {
    let provider = |name: &str| ProviderSummary {
        id: ProviderId::new(name),
        dialect: name.to_owned(),
        base_url: format!("https://{name}.example"),
        credential: Some(format!("local:sms/{name}")),
    };
    let route = |name: &str, providers: &[&str]| RouteSummary {
        name: name.to_owned(),
        providers: providers.iter().map(|name| ProviderId::new(name)).collect(),
        recipients: vec!["+998".to_owned()],
        observe: false,
    };
    let layout = ConfigSummary {
        file: "/etc/sms-sidecar/config.toml".into(),
        providers: vec![provider("a"), provider("b"), provider("c")],
        routes: vec![route("home", &["a", "b"]), route("abroad", &["c"])],
        vaults: vec![("local".into(), "directory")],
        ..ConfigSummary::default()
    };
    let providers = layout
        .providers
        .iter()
        .map(|provider| (provider.id.clone(), provider.dialect.clone()))
        .collect();
    MetricsSchema {
        providers,
        vaults: vec!["local".into()],
        config: layout,
        ..MetricsSchema::default()
    }
}

fn fixture() -> StatusFixture {
    let hands = Arc::new(Hands::default());
    let telemetry = Telemetry::new(&Registry::new(), &shape(), hands.clone()).unwrap();
    Started {
        build: &BuildInfo::default(),
        at: hands.wall_clock(),
        addresses: &[],
    }
    .emit(&telemetry);
    StatusFixture { telemetry, hands }
}

fn quarantined(cause: Cause, recheck_at: Option<u64>) -> HealthState {
    HealthState::Quarantined {
        cause,
        since: Moment::default(),
        recheck_at: recheck_at.map(|seconds| Moment(Duration::from_secs(seconds))),
    }
}

fn cooldown(cause: Cause, until: u64) -> HealthState {
    HealthState::Cooldown {
        until: Moment(Duration::from_secs(until)),
        cause,
    }
}

impl StatusFixture {
    fn pass(&self, seconds: u64) {
        *self.hands.0.lock().unwrap() += Duration::from_secs(seconds);
    }

    fn status(&self) -> Status {
        build(&self.telemetry.snapshot())
    }

    fn set_state(&self, name: &str, state: HealthState) {
        let diagnosis = state.cause().map(|cause| Diagnosis {
            provider: name.to_owned(),
            cause,
            certainty: Certainty::Likely,
            alternatives: vec![Cause::IpNotAllowed],
            evidence: "The send was answered 401".into(),
            remedy: "do this".into(),
        });
        HealthStateChanged {
            provider: &ProviderId::new(name),
            state,
            diagnosis: diagnosis.as_ref(),
        }
        .emit(&self.telemetry);
    }

    /// Emits one send through route `home`, with a single attempt.
    fn send(&self, by: &str, outcome: &Outcome, result: RequestResult) {
        let provider = ProviderId::new(by);
        let took = Duration::from_millis(80);
        AttemptFinished {
            provider: &provider,
            kind: AttemptKind::Send,
            outcome,
            status: Some(200),
            duration: took,
        }
        .emit(&self.telemetry);
        let line = AttemptRecord {
            provider: &provider,
            kind: AttemptKind::Send,
            outcome,
            certainty: None,
            status: Some(200),
            provider_message: Some("said"),
            method: Some("POST"),
            server: None,
            started_after: Duration::ZERO,
            duration: took,
        };
        RequestFinished {
            id: "c-1",
            caller: None,
            entrypoint: Entrypoint::BaseUrl,
            dialect: Some("a"),
            operation: Operation::Send,
            route: Some("home"),
            recipient: Some(&Msisdn::parse("+998901234567").unwrap()),
            attempts: &[line],
            result,
            method: "POST",
            status: 200,
            cause: outcome.cause(),
            certainty: None,
            remedy: None,
            duplicate_age: None,
            duration: took,
            parent: None,
        }
        .emit(&self.telemetry);
    }

    fn accept(&self, by: &str) {
        self.send(
            by,
            &Outcome::Accepted { id: "1".into() },
            RequestResult::Accepted,
        );
    }

    fn says(&self) -> (Deliverability, String) {
        let answer = self.status().headline;
        (answer.deliverability, answer.summary)
    }
}

#[test]
fn the_headline_names_the_providers_and_routes_that_are_out() {
    let fixture = fixture();
    assert_eq!(
        fixture.says(),
        (
            Deliverability::Idle,
            "Ready; no message has come yet.".into()
        )
    );
    fixture.accept("a");
    assert_eq!(
        fixture.says(),
        (Deliverability::Delivering, "Yes, codes arrive.".into())
    );
    fixture.set_state("b", HealthState::Paused);
    assert_eq!(
        fixture.says(),
        (Deliverability::OnBackup, "Yes, but b is out.".into())
    );
    fixture.set_state("b", HealthState::Healthy);
    fixture.set_state("a", quarantined(Cause::BalanceEmpty, Some(60)));
    assert_eq!(
        fixture.says(),
        (
            Deliverability::OnBackup,
            "Yes, by a backup: a is out.".into()
        )
    );
    fixture.set_state("c", quarantined(Cause::CredentialRejected, None));
    assert_eq!(
        fixture.says(),
        (
            Deliverability::Partial,
            "Only in part: route abroad cannot deliver.".into()
        )
    );
    fixture.set_state("b", cooldown(Cause::Timeout, 15));
    assert_eq!(
        fixture.says(),
        (
            Deliverability::Unavailable,
            "No: no route can deliver.".into()
        )
    );
}

#[test]
fn the_status_says_which_sidecar_it_is() {
    let fixture = fixture();
    assert!(!fixture.status().host.is_empty(), "the host has a name");
    assert_eq!(fixture.status().location(), fixture.status().host);
    let mut shape = shape();
    shape.config.instance = Some("otp".into());
    fixture.telemetry.update_schema(&shape);
    let status = Status {
        host: "web-3".into(),
        ..fixture.status()
    };
    assert_eq!(status.location(), "otp on web-3");
}

#[test]
fn a_failed_message_degrades_the_headline_for_five_minutes() {
    let fixture = fixture();
    fixture.accept("a");
    fixture.send(
        "a",
        &Outcome::Unknown(Cause::Timeout),
        RequestResult::InDoubt,
    );
    assert_eq!(
        fixture.says(),
        (
            Deliverability::Failing,
            "Degraded: 1 of the last 2 messages failed.".into()
        )
    );
    fixture.pass(600);
    assert_eq!(
        fixture.says().0,
        Deliverability::Delivering,
        "failures older than five minutes do not count"
    );
    fixture.pass(3_600);
    assert_eq!(
        fixture.says(),
        (
            Deliverability::Idle,
            "Ready; no message came in the last hour.".into()
        )
    );
}

#[test]
fn without_routes_each_dialect_is_a_route_and_without_providers_nothing_can_be_sent() {
    let fixture = fixture();
    let mut shape = shape();
    shape.config.routes.clear();
    fixture.telemetry.update_schema(&shape);
    let names: Vec<String> = fixture
        .status()
        .routes
        .into_iter()
        .map(|route| route.route)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    shape.config.providers.clear();
    fixture.telemetry.update_schema(&shape);
    assert_eq!(
        fixture.says(),
        (
            Deliverability::NotConfigured,
            "Nothing is set up to send.".into()
        )
    );
    let mut watching = self::shape();
    watching
        .config
        .routes
        .iter_mut()
        .for_each(|route| route.observe = true);
    fixture.telemetry.update_schema(&watching);
    assert_eq!(fixture.says().0, Deliverability::Observing);
}

#[test]
fn an_unavailable_provider_comes_first_with_its_diagnosis_and_start_time() {
    let fixture = fixture();
    fixture.pass(5);
    fixture.set_state("b", quarantined(Cause::CredentialRejected, Some(65)));
    fixture.pass(10);
    fixture.set_state("b", quarantined(Cause::CredentialRejected, Some(125)));
    let status = fixture.status();
    let out = &status.providers[0];
    assert_eq!(
        (out.provider.as_str(), out.state.as_str(), out.can_deliver),
        ("b", "quarantined", false)
    );
    assert_eq!(
        out.since.as_deref(),
        Some("2026-11-25T16:20:05Z"),
        "a new recheck time does not change the state"
    );
    assert_eq!(
        out.summary,
        "quarantined; one message may try it at 16:22:05 UTC"
    );
    assert_eq!(
        (out.cause.as_deref(), out.certainty.as_deref()),
        (Some("credential-rejected"), Some("likely"))
    );
    assert_eq!(out.alternatives, ["ip-not-allowed"]);
    assert_eq!(
        (out.evidence.as_deref(), out.remedy.as_deref()),
        (Some("The send was answered 401"), Some("do this"))
    );
    fixture.pass(120);
    assert_eq!(
        fixture.status().providers[0].summary,
        "quarantined; the next message tries it"
    );
    fixture.set_state("b", HealthState::Paused);
    assert_eq!(
        fixture.status().providers[0].remedy.as_deref(),
        Some("`sms-sidecar resume b` puts it back")
    );
}

#[test]
fn a_provider_whose_credential_was_never_read_cannot_deliver_and_a_read_one_stays_in_use() {
    let fixture = fixture();
    let read = |path, result, problem| {
        VaultRead {
            vault: "local",
            path,
            result,
            problem,
        }
        .emit(&fixture.telemetry);
    };
    read("sms/a", VaultReadResult::Failed, Some("no such file"));
    read("sms/b", VaultReadResult::Changed, None);
    CredentialLoaded {
        provider: &ProviderId::new("b"),
        version: Version(1),
        first_seen_at: fixture.hands.wall_clock(),
    }
    .emit(&fixture.telemetry);
    fixture.pass(60);
    read("sms/b", VaultReadResult::Failed, Some("no such file"));
    let status = fixture.status();
    let (a, b) = (status.provider("a").unwrap(), status.provider("b").unwrap());
    assert_eq!(
        (a.can_deliver, a.remedy.as_deref()),
        (false, Some("no such file"))
    );
    assert_eq!(
        (
            b.can_deliver,
            b.credential_version,
            b.credential_age_seconds
        ),
        (true, 1, Some(60))
    );
    assert_eq!(
        status.headline.warnings,
        ["Vault local cannot be read since 16:20:00 UTC; the last good credentials stay in use."]
    );
    let entry = &status.vaults[0].entries[1];
    assert_eq!(
        (entry.path.as_str(), entry.last_success_at.as_deref()),
        ("sms/b", Some("2026-11-25T16:20:00Z"))
    );
    read("sms/a", VaultReadResult::Changed, None);
    read("sms/b", VaultReadResult::Unchanged, None);
    assert!(
        fixture.status().headline.warnings.is_empty(),
        "the failure has ended"
    );
}

#[test]
fn the_last_fifty_requests_are_kept_masked_and_outcomes_are_counted_per_minute() {
    let fixture = fixture();
    for n in 0..60 {
        let outcome = if n % 3 == 0 {
            Outcome::Rejected(Cause::Throttled)
        } else {
            Outcome::Accepted { id: "1".into() }
        };
        fixture.send(
            "a",
            &outcome,
            if n % 3 == 0 {
                RequestResult::NotSent
            } else {
                RequestResult::Accepted
            },
        );
        fixture.pass(1);
    }
    let status = fixture.status();
    assert_eq!(status.requests.len(), 50);
    assert_eq!(
        status.requests[0].at, "2026-11-25T16:20:59Z",
        "newest first"
    );
    assert_eq!(status.requests[0].recipient.as_deref(), Some("+998*****67"));
    assert_eq!(
        status.requests[0].attempts[0].provider_message.as_deref(),
        Some("said")
    );
    assert!(!serde_json::to_string(&status).unwrap().contains("1234567"));
    let a = status.provider("a").unwrap();
    assert_eq!(
        (
            a.hour.accepted.len(),
            a.hour.accepted[58],
            a.hour.rejected[58]
        ),
        (60, 40, 20)
    );
    assert_eq!(a.hour.summary(), "40 accepted, 20 rejected");
    assert_eq!((a.day.accepted, a.day.sent, a.day.seconds), (40, 60, 60));
    assert_eq!(
        (status.messages.accepted, status.messages.not_sent),
        (40, 20)
    );
    assert_eq!(status.routes[0].last_provider.as_deref(), Some("a"));
}

#[test]
fn a_provider_shows_when_it_last_accepted_its_rate_and_its_latency() {
    let fixture = fixture();
    let recent = || {
        let status = fixture.status();
        let provider = status.provider("a").unwrap();
        (provider.last_accepted_at.clone(), provider.recent)
    };
    assert_eq!(recent(), (None, RecentSends::default()));
    assert_eq!(recent().1.summary(), "nothing was sent");
    for _ in 0..3 {
        fixture.accept("a");
    }
    fixture.pass(30);
    let unsent = Outcome::Unsent(Cause::Unreachable);
    fixture.send("a", &unsent, RequestResult::NotSent);
    let (last, counts) = recent();
    assert_eq!(last.as_deref(), Some("2026-11-25T16:20:00Z"));
    assert_eq!(
        counts,
        RecentSends {
            accepted: 3,
            sent: 4,
            seconds: 30,
            per_minute: 4.0,
            p95_ms: Some(80),
        }
    );
    fixture.pass(570);
    assert_eq!(
        recent().1.summary(),
        "3 of 4 accepted, 0.4 per minute, p95 80 ms"
    );
    fixture.pass(600);
    let (last, counts) = recent();
    assert_eq!(last.as_deref(), Some("2026-11-25T16:20:00Z"));
    assert_eq!((counts.sent, counts.seconds, counts.p95_ms), (0, 840, None));
}

#[test]
fn probes_logins_and_passthrough_requests_are_not_messages() {
    let fixture = fixture();
    for kind in [
        AttemptKind::Probe,
        AttemptKind::Login,
        AttemptKind::Passthrough,
    ] {
        let outcome = Outcome::Rejected(Cause::CredentialRejected);
        AttemptFinished {
            provider: &ProviderId::new("a"),
            kind,
            outcome: &outcome,
            status: Some(401),
            duration: Duration::ZERO,
        }
        .emit(&fixture.telemetry);
    }
    TunnelClosed {
        entrypoint: Entrypoint::Connect,
        host: "other.example",
        bytes: 9,
    }
    .emit(&fixture.telemetry);
    let status = fixture.status();
    assert_eq!(
        status.provider("a").unwrap().hour.summary(),
        "nothing was sent"
    );
    assert_eq!(
        (
            status.entrypoints[0].entrypoint.as_str(),
            status.entrypoints[0].requests,
            status.entrypoints[0].tunnelled
        ),
        ("connect", 0, 1)
    );
}

#[test]
fn a_reload_keeps_the_facts_of_an_unchanged_account_and_drops_those_of_a_changed_one() {
    let fixture = fixture();
    for name in ["a", "b"] {
        fixture.accept(name);
        BalanceReported {
            provider: &ProviderId::new(name),
            unit: "UZS",
            value: 12.5,
            daily_spend: Some(2.5),
        }
        .emit(&fixture.telemetry);
    }
    let mut shape = shape();
    shape.config.providers[1].base_url = "https://elsewhere.example".into();
    fixture.telemetry.update_schema(&shape);
    Reloaded {
        at: Some(fixture.hands.wall_clock()),
        problem: None,
    }
    .emit(&fixture.telemetry);
    let status = fixture.status();
    let balance = status.provider("a").unwrap().balance.as_ref();
    assert_eq!(
        balance.map(|balance| (balance.value, balance.daily_spend, balance.days_left())),
        Some((12.5, Some(2.5), Some(5.0)))
    );
    assert_eq!(
        status.provider("b").unwrap().balance,
        None,
        "the new account does not inherit the old balance"
    );
    assert_eq!(status.requests.len(), 2);
    Reloaded {
        at: None,
        problem: Some("2 errors"),
    }
    .emit(&fixture.telemetry);
    let config = fixture.status().config;
    assert_eq!(
        config
            .last_reload
            .map(|reload| (reload.result, reload.problem)),
        Some(("failed".into(), Some("2 errors".into())))
    );
    assert_eq!(config.loaded_at.as_deref(), Some("2026-11-25T16:20:00Z"));
}

#[test]
fn a_route_on_a_backup_shows_since_when_and_through_which_provider() {
    let fixture = fixture();
    fixture.pass(30);
    fixture.accept("b");
    RouteFirstChoice {
        route: "home",
        is_first_choice: false,
    }
    .emit(&fixture.telemetry);
    fixture.pass(30);
    RouteFirstChoice {
        route: "home",
        is_first_choice: false,
    }
    .emit(&fixture.telemetry);
    let route = &fixture.status().routes[0];
    assert_eq!(route.backup_since.as_deref(), Some("2026-11-25T16:20:30Z"));
    assert_eq!(
        route.summary,
        "can deliver; the last message went by a backup, b"
    );
    RouteFirstChoice {
        route: "home",
        is_first_choice: true,
    }
    .emit(&fixture.telemetry);
    assert_eq!(fixture.status().routes[0].backup_since, None);
}

#[test]
fn the_status_can_be_read_back_from_json() {
    let fixture = fixture();
    fixture.accept("a");
    fixture.set_state("b", quarantined(Cause::CredentialRejected, Some(65)));
    let status = fixture.status();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    assert_eq!(
        serde_json::from_str::<Status>("{}").unwrap(),
        Status::default(),
        "an older sidecar writes fewer fields"
    );
}

#[test]
fn a_changed_config_that_is_not_loaded_is_a_warning_with_the_reload_command() {
    let fixture = fixture();
    let at = UNIX_EPOCH + Duration::from_secs(START + 60);
    fixture.pass(120);
    fixture
        .telemetry
        .set_config_change_check(move || Some(change(at)));
    let told = "/etc/sms-sidecar/config.toml was changed at 16:21:00 UTC after it was loaded: `sms-sidecar reload`.";
    assert_eq!(fixture.status().headline.warnings, [told]);
    assert_eq!(
        fixture.status().config.changed_at.as_deref(),
        Some("2026-11-25T16:21:00Z")
    );
    Reloaded {
        at: None,
        problem: Some("2 errors"),
    }
    .emit(&fixture.telemetry);
    let failed = fixture.status().headline.warnings;
    assert!(
        failed.len() == 1 && failed[0].starts_with("The reload of 16:22:00 UTC failed"),
        "{failed:?}"
    );
    fixture
        .telemetry
        .set_config_change_check(|| Some(change(UNIX_EPOCH + Duration::from_secs(START + 180))));
    assert_eq!(
        fixture.status().headline.warnings.len(),
        2,
        "the file was changed again after the failed reload"
    );
    fixture
        .telemetry
        .set_config_change_check(|| Some(change(UNIX_EPOCH)));
    Reloaded {
        at: Some(fixture.hands.wall_clock()),
        problem: None,
    }
    .emit(&fixture.telemetry);
    assert_eq!(
        fixture.status().headline.warnings,
        ["/etc/sms-sidecar/config.toml was changed after it was loaded: `sms-sidecar reload`."]
    );
    fixture.telemetry.set_config_change_check(|| None);
    assert!(fixture.status().headline.warnings.is_empty());
}

fn change(at: SystemTime) -> ConfigChange {
    ConfigChange {
        file: "/etc/sms-sidecar/config.toml".to_owned(),
        at,
    }
}

#[test]
fn a_replaced_ca_is_named_as_the_file_that_waits_for_a_reload() {
    let fixture = fixture();
    fixture.telemetry.set_config_change_check(|| {
        Some(ConfigChange {
            file: "/etc/sms-sidecar/ca.pem".to_owned(),
            at: UNIX_EPOCH,
        })
    });
    assert_eq!(
        fixture.status().headline.warnings,
        ["/etc/sms-sidecar/ca.pem was changed after it was loaded: `sms-sidecar reload`."]
    );
}

#[test]
fn what_waits_for_a_restart_is_a_warning_until_then() {
    let fixture = fixture();
    let waiting = |needs_restart: Option<&str>| {
        let mut shape = shape();
        shape.config.needs_restart = needs_restart.map(str::to_owned);
        fixture.telemetry.update_schema(&shape);
        fixture.status()
    };
    let status = waiting(Some("[listen] takes effect at the next start"));
    assert_eq!(
        status.headline.warnings,
        ["[listen] takes effect at the next start."]
    );
    assert!(status.config.needs_restart.is_some());
    assert!(waiting(None).headline.warnings.is_empty());
}

#[test]
fn denied_requests_of_the_backend_are_the_headline() {
    let fixture = fixture();
    let deny = |client| {
        RequestDenied {
            status: 502,
            why: "it needs a CA",
            denied: DenialRecorded {
                entrypoint: Entrypoint::Connect,
                denial: &DenialReason::CaMissing.about("api.one.test"),
                client,
            },
        }
        .emit(&fixture.telemetry);
        fixture.status()
    };
    let unaffected = deny(ClientKind::Stranger);
    assert_eq!(unaffected.headline.deliverability, Deliverability::Idle);
    assert!(unaffected.denials.is_empty() && unaffected.headline.warnings.is_empty());
    let status = deny(ClientKind::Backend);
    assert_eq!(
        (
            status.headline.deliverability,
            status.headline.summary.as_str()
        ),
        (
            Deliverability::Unavailable,
            "No: the sidecar denied the last request of the backend."
        )
    );
    let text = "1 request was denied at entrypoint connect (ca-missing), at 16:20:00 UTC: CONNECT to api.one.test needs a local CA, and none is in force. To do: run `sms-sidecar ca init`, ";
    assert!(
        status.headline.details.starts_with(text),
        "{}",
        status.headline.details
    );
    assert!(status.headline.warnings.is_empty(), "it is told once");
    fixture.pass(60);
    let status = deny(ClientKind::Backend);
    assert!(status.headline.summary.contains("the last 2 requests"));
    assert!(
        status.headline.details.starts_with(
            "2 requests were denied at entrypoint connect (ca-missing), the last at 16:21:00 UTC"
        ),
        "{}",
        status.headline.details
    );
    assert_eq!(status.entrypoints[0].denied, 3);
    fixture.telemetry.update_schema(&shape());
    assert_eq!(
        fixture.status().headline.deliverability,
        Deliverability::Idle,
        "another config is in force"
    );
}

#[test]
fn denials_beside_accepted_messages_are_a_warning_for_an_hour() {
    let fixture = fixture();
    fixture.accept("a");
    let denial = DenialReason::UnlistedOperation.about("twilio");
    DenialRecorded {
        entrypoint: Entrypoint::BaseUrl,
        denial: &denial,
        client: ClientKind::Backend,
    }
    .emit(&fixture.telemetry);
    let status = fixture.status();
    assert_eq!(status.headline.deliverability, Deliverability::Delivering);
    assert!(
        matches!(status.headline.warnings.as_slice(), [text] if text.contains("(unlisted-operation)")),
        "{:?}",
        status.headline.warnings
    );
    fixture.pass(3_600);
    assert!(fixture.status().headline.warnings.is_empty());
}

#[test]
fn a_failure_is_kept_while_the_provider_is_in_use_and_dropped_when_it_recovers() {
    let fixture = fixture();
    let a = ProviderId::new("a");
    let diagnosis = Diagnosis {
        provider: "a".into(),
        cause: Cause::BalanceEmpty,
        certainty: Certainty::Certain,
        alternatives: Vec::new(),
        evidence: "It said so".into(),
        remedy: "top up".into(),
    };
    let failed = || {
        LastSendOutcome {
            provider: &a,
            diagnosis: Some(&diagnosis),
        }
        .emit(&fixture.telemetry);
    };
    let told = || {
        fixture
            .status()
            .provider("a")
            .map(|it| (it.summary.clone(), it.cause.clone(), it.remedy.clone()))
            .unwrap()
    };
    failed();
    let expected = (
        "in use, but its last message failed at 16:20:00 UTC",
        Some("balance-empty"),
        Some("top up"),
    );
    assert_eq!(
        (told().0.as_str(), told().1.as_deref(), told().2.as_deref()),
        expected
    );
    assert_eq!(
        fixture.status().providers[0].provider,
        "a",
        "it comes first"
    );
    LastSendOutcome {
        provider: &a,
        diagnosis: None,
    }
    .emit(&fixture.telemetry);
    assert_eq!(told(), ("in use".to_owned(), None, None));
    fixture.set_state("a", HealthState::Healthy);
    failed();
    fixture.set_state("a", quarantined(Cause::BalanceEmpty, None));
    assert_eq!(
        told().2.as_deref(),
        Some("do this"),
        "for a quarantined provider, the diagnosis of its state comes first"
    );
    fixture.set_state("a", HealthState::Healthy);
    assert_eq!(told(), ("in use".to_owned(), None, None));
}

#[test]
fn denied_connections_are_counted_and_are_a_warning_for_an_hour() {
    let fixture = fixture();
    let open = fixture.telemetry.open_connections(2);
    let held = [
        open.track(Entrypoint::BaseUrl),
        open.track(Entrypoint::Unix),
    ];
    let denied = |reason| {
        let entrypoint = Entrypoint::BaseUrl;
        ConnectionDenied { entrypoint, reason }.emit(&fixture.telemetry);
    };
    denied(ConnectionDenialReason::Head);
    let status = fixture.status();
    assert_eq!((status.connections.open, status.connections.limit), (2, 2));
    assert_eq!(
        status.connections.denied, 0,
        "another reason is not the limit"
    );
    assert!(status.headline.warnings.is_empty());
    denied(ConnectionDenialReason::Limit);
    assert_eq!(
        fixture.status().headline.warnings,
        [
            "1 connection was denied, at 16:20:00 UTC: all 2 were in use; find out what holds them, or raise `connections` in `[limits]`."
        ]
    );
    drop(held);
    fixture.pass(60);
    denied(ConnectionDenialReason::Limit);
    let status = fixture.status();
    assert_eq!((status.connections.open, status.connections.denied), (0, 2));
    assert_eq!(
        status.entrypoints[0].denied, 2,
        "each one is a denied request"
    );
    assert!(
        status.headline.warnings[0].starts_with("2 connections were denied, last at 16:21:00 UTC"),
        "{:?}",
        status.headline.warnings
    );
    fixture.pass(3_600);
    assert!(fixture.status().headline.warnings.is_empty());
    assert_eq!(fixture.status().connections.denied, 2);
}

#[test]
fn too_few_open_files_are_a_warning_with_the_remedy() {
    let fixture = fixture();
    FileLimitLow {
        problem: "12 files are too few",
        remedy: "set `LimitNOFILE=90`",
    }
    .emit(&fixture.telemetry);
    assert_eq!(
        fixture.status().headline.warnings,
        ["Too few open files: 12 files are too few: set `LimitNOFILE=90`."]
    );
}

#[test]
fn a_command_names_the_user_who_ran_it() {
    let fixture = fixture();
    let deploy = Operator {
        uid: Some(1001),
        name: Some("deploy".into()),
    };
    let run = |command, by: &Operator| {
        OperatorCommand {
            command,
            provider: Some(&ProviderId::new("a")),
            by,
        }
        .emit(&fixture.telemetry);
    };
    let summary = || fixture.status().provider("a").unwrap().summary.clone();
    run(CommandKind::Pause, &deploy);
    fixture.set_state("a", HealthState::Paused);
    fixture.pass(180);
    assert_eq!(summary(), "paused by deploy (uid 1001) at 16:20:00 UTC");
    let status = fixture.status();
    assert!(
        status
            .headline
            .details
            .contains("a is paused by deploy (uid 1001)."),
        "{}",
        status.headline.details
    );
    let last = status.provider("a").unwrap().last_command.clone().unwrap();
    assert_eq!(
        (last.command.as_str(), last.at.as_str()),
        ("pause", "2026-11-25T16:20:00Z")
    );
    let stranger = Operator {
        uid: Some(7),
        name: None,
    };
    run(CommandKind::Resume, &stranger);
    fixture.set_state("a", HealthState::Healthy);
    assert_eq!(summary(), "in use; resumed by uid 7 at 16:23:00 UTC");
    fixture.pass(3601);
    assert_eq!(summary(), "in use");
    for by in [Some(&deploy), None] {
        if let Some(by) = by {
            OperatorCommand {
                command: CommandKind::Reload,
                provider: None,
                by,
            }
            .emit(&fixture.telemetry);
        }
        Reloaded {
            at: None,
            problem: Some("x"),
        }
        .emit(&fixture.telemetry);
        let reload = fixture.status().config.last_reload.unwrap();
        assert_eq!(
            reload.by,
            by.map(ToString::to_string),
            "a signal has no user"
        );
    }
}
