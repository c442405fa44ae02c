//! Tests that each family exists with its labels, starts at zero and is bounded by the config, and
//! that each log entry is one line without numbers, texts or control characters from outside.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::clock::{Clock, Moment};
use crate::diagnosis::{ClientKind, DenialReason, Diagnosis};
use crate::policy::HealthState;
use crate::secret::Version;
use crate::sms::{
    AttemptKind, Cause, Certainty, Entrypoint, Family, Msisdn, Operation, Outcome, ProviderId,
    RequestResult,
};
use crate::telemetry::WarmUpFinished;
use crate::telemetry::log::{Format, InitError, subscriber};
use crate::telemetry::{
    AttemptFinished, AttemptRecord, BalanceReported, BuildInfo, CaExpiry, ConfigSummary,
    ConnectionDenialReason, ConnectionDenied, CredentialLoaded, DenialRecorded,
    DuplicateSuppressed, Failover, HealthStateChanged, MetricsSchema, PossibleDuplicate, Reloaded,
    RequestDenied, RequestFinished, RouteFirstChoice, RouteSummary, SpanId, Started, Telemetry,
    TokenExpiry, TraceId, TraceParent, VaultRead, VaultReadResult,
};

fn quarantined(cause: Cause) -> HealthState {
    HealthState::Quarantined {
        cause,
        since: Moment::default(),
        recheck_at: None,
    }
}

/// A wall clock that a test sets.
#[derive(Debug)]
struct Calendar(Mutex<SystemTime>);

impl Clock for Calendar {
    fn now(&self) -> Moment {
        Moment::default()
    }
    fn wall_clock(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
    fn random_fraction(&self) -> f64 {
        0.5
    }
}

struct TelemetryFixture {
    registry: Registry,
    telemetry: Telemetry,
    calendar: Arc<Calendar>,
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A config with one route through these providers.
fn route(name: &str, providers: &[&str]) -> ConfigSummary {
    let providers = providers.iter().map(|name| ProviderId::new(name)).collect();
    ConfigSummary {
        routes: vec![RouteSummary {
            name: name.into(),
            providers,
            recipients: Vec::new(),
            observe: false,
        }],
        ..ConfigSummary::default()
    }
}

fn shape() -> MetricsSchema {
    MetricsSchema {
        providers: vec![
            (ProviderId::new("main"), "playmobile".into()),
            (ProviderId::new("backup"), "twilio".into()),
        ],
        vaults: vec!["local".into()],
        dialects: vec![
            ("playmobile".into(), "built-in".into()),
            ("twilio".into(), "folder".into()),
        ],
        build: BuildInfo {
            version: "1.2.3".into(),
            commit: "abc".into(),
        },
        config: route("uzbekistan", &["main", "backup"]),
    }
}

fn fixture() -> TelemetryFixture {
    let registry = Registry::new();
    let calendar = Arc::new(Calendar(Mutex::new(at(1_000_000))));
    let telemetry = Telemetry::new(&registry, &shape(), calendar.clone()).unwrap();
    TelemetryFixture {
        registry,
        telemetry,
        calendar,
    }
}

impl TelemetryFixture {
    fn family(&self, name: &str) -> Option<MetricFamily> {
        self.registry
            .gather()
            .into_iter()
            .find(|family| family.name() == format!("sms_sidecar_{name}"))
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = self.family(name)?;
        let metric = family.get_metric().iter().find(|metric| {
            labels
                .iter()
                .all(|(name, word)| label(metric, name) == Some(*word))
        })?;
        Some(match family.get_field_type() {
            MetricType::COUNTER => metric.get_counter().get_value(),
            MetricType::GAUGE => metric.get_gauge().get_value(),
            MetricType::HISTOGRAM => {
                f64::from(u32::try_from(metric.get_histogram().get_sample_count()).unwrap())
            }
            MetricType::SUMMARY | MetricType::UNTYPED => unreachable!(),
        })
    }

    fn words(&self, label_name: &str) -> BTreeSet<String> {
        let families = self.registry.gather();
        let metrics = families.iter().flat_map(MetricFamily::get_metric);
        metrics
            .filter_map(|metric| label(metric, label_name))
            .map(str::to_owned)
            .collect()
    }
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    metric
        .get_label()
        .iter()
        .find(|pair| pair.name() == name)
        .map(prometheus::proto::LabelPair::value)
}

/// Emits every event once, for `provider`, `dialect` and so on.
fn everything(telemetry: &Telemetry, provider: &str, dialect: &str, route: &str, vault: &str) {
    let id = ProviderId::new(provider);
    rejected_send(telemetry, &id, dialect, route);
    account_news(telemetry, &id);
    VaultRead {
        vault,
        path: "sms/x",
        result: VaultReadResult::Failed,
        problem: Some("no such file"),
    }
    .emit(telemetry);
    Reloaded {
        at: Some(at(1_000_001)),
        problem: None,
    }
    .emit(telemetry);
    CaExpiry {
        at: Some(at(3_000_000)),
    }
    .emit(telemetry);
    call(provider, dialect, route, telemetry);
}

/// Emits a rejected send and the events that follow from it.
fn rejected_send(telemetry: &Telemetry, id: &ProviderId, dialect: &str, route: &str) {
    let outcome = Outcome::Rejected(Cause::CredentialRejected);
    AttemptFinished {
        provider: id,
        kind: AttemptKind::Send,
        outcome: &outcome,
        status: Some(401),
        duration: Duration::from_millis(82),
    }
    .emit(telemetry);
    Failover {
        from: id,
        to: id,
        cause: Cause::CredentialRejected,
    }
    .emit(telemetry);
    PossibleDuplicate { provider: id }.emit(telemetry);
    DuplicateSuppressed { dialect }.emit(telemetry);
    HealthStateChanged {
        provider: id,
        state: quarantined(outcome.cause().unwrap_or(Cause::Unexplained)),
        diagnosis: None,
    }
    .emit(telemetry);
    RouteFirstChoice {
        route,
        is_first_choice: false,
    }
    .emit(telemetry);
}

/// Emits the credential, the token and the balance of one account.
fn account_news(telemetry: &Telemetry, id: &ProviderId) {
    CredentialLoaded {
        provider: id,
        version: Version(3),
        first_seen_at: at(999_000),
    }
    .emit(telemetry);
    TokenExpiry {
        provider: id,
        expires_at: Some(at(2_000_000)),
    }
    .emit(telemetry);
    BalanceReported {
        provider: id,
        unit: "UZS",
        value: 12.5,
        daily_spend: None,
    }
    .emit(telemetry);
    WarmUpFinished {
        provider: id,
        failure: None,
    }
    .emit(telemetry);
}

fn call(provider: &str, dialect: &str, route: &str, telemetry: &Telemetry) {
    let remedy = "write the new password to sms/main in vault local";
    accepted_by(
        "backup",
        Some(remedy),
        telemetry,
        [provider, dialect, route],
    );
}

/// A message that the first provider rejected and `carrier` accepted.
fn accepted_by(
    carrier: &str,
    remedy: Option<&str>,
    telemetry: &Telemetry,
    [provider, dialect, route]: [&str; 3],
) {
    let main = ProviderId::new(provider);
    let backup = ProviderId::new(carrier);
    let refused = Outcome::Rejected(Cause::CredentialRejected);
    let accepted = Outcome::Accepted { id: "SM1".into() };
    let took = Duration::from_millis(82);
    let first = AttemptRecord {
        provider: &main,
        kind: AttemptKind::Send,
        outcome: &refused,
        certainty: Some(Certainty::Certain),
        status: Some(401),
        provider_message: Some("105 \u{1b}[31mNo such login\n{\"level\":\"forged\"}"),
        method: Some("POST"),
        server: Some(("main.test", 8443)),
        started_after: Duration::from_millis(2),
        duration: took,
    };
    let second = AttemptRecord {
        provider: &backup,
        kind: AttemptKind::Send,
        outcome: &accepted,
        certainty: None,
        status: Some(200),
        provider_message: None,
        method: Some("POST"),
        server: Some(("api.test", 443)),
        started_after: Duration::from_millis(85),
        duration: took,
    };
    RequestFinished {
        id: "c-1",
        caller: Some("backend"),
        entrypoint: Entrypoint::BaseUrl,
        dialect: Some(dialect),
        operation: Operation::Send,
        route: Some(route),
        recipient: Some(&Msisdn::parse("+998901234567").unwrap()),
        attempts: &[first, second],
        result: RequestResult::Accepted,
        method: "POST",
        status: 200,
        cause: Some(Cause::CredentialRejected),
        certainty: Some(Certainty::Certain),
        remedy,
        duplicate_age: None,
        duration: Duration::from_millis(170),
        parent: Some(&parent()),
    }
    .emit(telemetry);
}

/// The backend's span in which it makes the request.
fn parent() -> TraceParent {
    TraceParent {
        trace_id: TraceId([0x4b; 16]),
        span_id: SpanId([7; 8]),
        sampled: true,
        trace_state: String::new(),
    }
}

#[test]
fn every_family_has_its_name_and_labels() {
    let fixture = fixture();
    everything(
        &fixture.telemetry,
        "main",
        "playmobile",
        "uzbekistan",
        "local",
    );
    for (name, labels) in [
        (
            "requests_total",
            &["entrypoint", "dialect", "operation", "result"][..],
        ),
        ("denied_requests_total", &["reason", "client"]),
        (
            "attempts_total",
            &["provider", "kind", "outcome", "cause", "family"],
        ),
        ("upstream_responses_total", &["provider", "kind", "status"]),
        ("warm_connections_total", &["provider", "result"]),
        ("attempt_duration_seconds", &["provider", "kind"]),
        ("request_duration_seconds", &["dialect", "result"]),
        ("failovers_total", &["from", "to", "cause"]),
        ("possible_duplicates_total", &["provider"]),
        ("duplicates_suppressed_total", &["dialect"]),
        ("provider_state", &["provider", "state"]),
        ("route_first_choice", &["route"]),
        ("credential_version", &["provider"]),
        ("credential_age_seconds", &["provider"]),
        ("credential_expiry_timestamp_seconds", &["provider"]),
        ("balance", &["provider", "unit"]),
        ("route_provider", &["route", "provider"]),
        ("vault_reads_total", &["vault", "result"]),
        ("vault_last_success_timestamp_seconds", &["vault"]),
        ("reloads_total", &["result"]),
        ("config_timestamp_seconds", &[]),
        ("ca_expiry_timestamp_seconds", &[]),
        ("log_lines_dropped_total", &[]),
        ("connections_open", &["entrypoint"]),
        ("connections_limit", &[]),
        ("connections_denied_total", &["entrypoint", "reason"]),
        ("dialect_info", &["dialect", "source"]),
        ("build_info", &["version", "commit"]),
    ] {
        let family = fixture
            .family(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        let found: BTreeSet<&str> = family.get_metric()[0]
            .get_label()
            .iter()
            .map(prometheus::proto::LabelPair::name)
            .collect();
        assert_eq!(found, labels.iter().copied().collect(), "{name}");
    }
    assert_eq!(
        fixture.registry.gather().len(),
        28,
        "there is a family that is not in the contract"
    );
}

/// The sum that an alert takes over the kinds and outcomes of a provider's attempts that failed for `cause`; none if
/// there is no series to add up.
fn failures(
    fixture: &TelemetryFixture,
    provider: &str,
    cause: Cause,
    family: Family,
) -> Option<f64> {
    let wanted = [
        ("provider", provider),
        ("cause", cause.as_str()),
        ("family", family.as_str()),
    ];
    let family = fixture.family("attempts_total")?;
    let counts: Vec<f64> = family
        .get_metric()
        .iter()
        .filter(|metric| {
            wanted
                .iter()
                .all(|(name, word)| label(metric, name) == Some(*word))
        })
        .map(|metric| metric.get_counter().get_value())
        .collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[test]
fn the_first_failure_that_an_alert_reads_is_visible_as_an_increase() {
    let blocking = Cause::ALL.iter().copied().filter(|it| it.blocks_account());
    let read_by_alerts: Vec<(Cause, Family, u16)> = blocking
        .map(|cause| (cause, cause.family(), 400))
        .chain([
            (Cause::Unexplained, Family::Account, 401),
            (Cause::Unexplained, Family::Provider, 400),
        ])
        .collect();
    let main = ProviderId::new("main");
    for kind in AttemptKind::ALL.iter().copied() {
        for outcome in [Outcome::Rejected, Outcome::Unsent, Outcome::Unknown] {
            let fixture = fixture();
            for (cause, family, status) in &read_by_alerts {
                let before = ["main", "backup"].map(|it| failures(&fixture, it, *cause, *family));
                assert_eq!(before, [Some(0.0); 2], "{cause} {family:?}");
                AttemptFinished {
                    provider: &main,
                    kind,
                    outcome: &outcome(*cause),
                    status: Some(*status),
                    duration: Duration::ZERO,
                }
                .emit(&fixture.telemetry);
                let counted = failures(&fixture, "main", *cause, *family);
                assert_eq!(counted, Some(1.0), "{kind} {cause} {family:?}");
            }
        }
    }
}

#[test]
fn the_sends_of_every_outcome_have_a_sum_from_the_start() {
    let fixture = fixture();
    for outcome in ["accepted", "rejected", "unsent", "unknown"] {
        let labels = [
            ("provider", "backup"),
            ("kind", "send"),
            ("outcome", outcome),
        ];
        let first = fixture.value("attempts_total", &labels);
        assert_eq!(first, Some(0.0), "{outcome}");
    }
}

#[test]
fn requests_of_every_result_start_at_zero() {
    let fixture = fixture();
    for result in ["accepted", "not-sent", "in-doubt", "message-rejected"] {
        let labels = [
            ("entrypoint", "connect"),
            ("dialect", "twilio"),
            ("operation", "send"),
            ("result", result),
        ];
        assert_eq!(
            fixture.value("requests_total", &labels),
            Some(0.0),
            "{result}"
        );
    }
}

#[test]
fn series_that_no_alert_and_no_panel_reads_at_zero_begin_when_they_happen() {
    let fixture = fixture();
    for name in [
        "upstream_responses_total",
        "attempt_duration_seconds",
        "request_duration_seconds",
        "failovers_total",
        "vault_reads_total",
        "balance",
    ] {
        assert!(fixture.family(name).is_none(), "{name}");
    }
    for (name, labels) in [
        ("attempts_total", &[("cause", "timeout")][..]),
        ("attempts_total", &[("kind", "login")]),
        ("denied_requests_total", &[("client", "stranger")]),
    ] {
        assert_eq!(fixture.value(name, labels), None, "{name} {labels:?}");
    }
    everything(
        &fixture.telemetry,
        "main",
        "playmobile",
        "uzbekistan",
        "local",
    );
    let literal = [("provider", "main"), ("kind", "send"), ("status", "401")];
    assert_eq!(
        fixture.value("upstream_responses_total", &literal),
        Some(1.0)
    );
}

#[test]
fn the_series_of_config_and_state_exist_from_the_start() {
    let fixture = fixture();
    for (name, labels, value) in [
        (
            "route_provider",
            &[("route", "uzbekistan"), ("provider", "backup")][..],
            2.0,
        ),
        ("possible_duplicates_total", &[("provider", "backup")], 0.0),
        (
            "duplicates_suppressed_total",
            &[("dialect", "playmobile")],
            0.0,
        ),
        ("reloads_total", &[("result", "failed")], 0.0),
        (
            "provider_state",
            &[("provider", "main"), ("state", "healthy")],
            1.0,
        ),
        (
            "provider_state",
            &[("provider", "main"), ("state", "quarantined")],
            0.0,
        ),
        ("route_first_choice", &[("route", "uzbekistan")], 1.0),
        ("credential_version", &[("provider", "main")], 0.0),
        (
            "dialect_info",
            &[("dialect", "twilio"), ("source", "folder")],
            1.0,
        ),
        (
            "build_info",
            &[("version", "1.2.3"), ("commit", "abc")],
            1.0,
        ),
    ] {
        assert_eq!(
            fixture.value(name, labels),
            Some(value),
            "{name} {labels:?}"
        );
    }
    assert!(
        fixture.family("ca_expiry_timestamp_seconds").is_none(),
        "without a CA nothing expires"
    );
}

#[test]
fn names_that_are_not_configured_create_no_series() {
    let fixture = fixture();
    for dialect in ["x1", "x2", "x3"] {
        everything(&fixture.telemetry, dialect, dialect, dialect, dialect);
        BalanceReported {
            provider: &ProviderId::new("main"),
            unit: dialect,
            value: 1.0,
            daily_spend: None,
        }
        .emit(&fixture.telemetry);
    }
    for name in ["provider", "from", "to"] {
        let found = fixture.words(name);
        assert!(
            found.is_subset(&["main", "backup", "other"].map(str::to_owned).into()),
            "{name}: {found:?}"
        );
    }
    assert_eq!(
        fixture.words("dialect"),
        ["other", "playmobile", "twilio"].map(str::to_owned).into()
    );
    assert_eq!(fixture.words("route"), ["uzbekistan".to_owned()].into());
    assert_eq!(fixture.words("vault"), ["other".to_owned()].into());
    assert_eq!(
        fixture.words("unit"),
        ["UZS", "other"].map(str::to_owned).into()
    );
    assert_eq!(
        fixture.value("requests_total", &[("dialect", "other")]),
        Some(3.0)
    );
    for gauge in [
        "provider_state",
        "credential_version",
        "credential_age_seconds",
    ] {
        assert_eq!(
            fixture.value(gauge, &[("provider", "other")]),
            None,
            "{gauge}: unknown names do not share a state"
        );
    }
}

#[test]
fn label_values_of_unknown_statuses_and_units_stay_bounded() {
    let fixture = fixture();
    let (main, outcome) = (
        ProviderId::new("main"),
        Outcome::Unknown(Cause::ReplyUnreadable),
    );
    for status in [999, 0, 601] {
        AttemptFinished {
            provider: &main,
            kind: AttemptKind::Send,
            outcome: &outcome,
            status: Some(status),
            duration: Duration::ZERO,
        }
        .emit(&fixture.telemetry);
    }
    assert_eq!(fixture.words("status"), ["other".to_owned()].into());
    for (unit, shown) in [
        ("UZS", "UZS"),
        ("EUR", "EUR"),
        ("averylongunit", "other"),
        ("$", "other"),
        ("SMS", "SMS"),
    ] {
        BalanceReported {
            provider: &main,
            unit,
            value: 7.0,
            daily_spend: None,
        }
        .emit(&fixture.telemetry);
        assert_eq!(
            fixture.words("unit"),
            [shown.to_owned()].into(),
            "a provider has one unit"
        );
    }
}

/// Telemetry after every event and then a reload in which `third` replaces `backup`.
fn reloaded_bench() -> TelemetryFixture {
    let fixture = fixture();
    everything(
        &fixture.telemetry,
        "main",
        "playmobile",
        "uzbekistan",
        "local",
    );
    everything(
        &fixture.telemetry,
        "backup",
        "twilio",
        "uzbekistan",
        "local",
    );
    let mut later = shape();
    later.providers = vec![
        (ProviderId::new("main"), "playmobile".into()),
        (ProviderId::new("third"), "playmobile".into()),
    ];
    later.dialects = vec![("playmobile".into(), "folder".into())];
    later.config = route("world", &["third"]);
    fixture.telemetry.update_schema(&later);
    fixture
}

#[test]
fn a_reload_removes_the_series_of_removed_names() {
    let fixture = reloaded_bench();
    assert_eq!(
        fixture.words("provider"),
        ["main", "third"].map(str::to_owned).into()
    );
    assert_eq!(fixture.words("from"), ["main".to_owned()].into());
    assert_eq!(fixture.words("dialect"), ["playmobile".to_owned()].into());
    assert_eq!(fixture.words("source"), ["folder".to_owned()].into());
    assert_eq!(fixture.words("route"), ["world".to_owned()].into());
    assert_eq!(
        fixture.value(
            "route_provider",
            &[("route", "world"), ("provider", "main")]
        ),
        None,
        "the old order of the route is removed"
    );
    everything(
        &fixture.telemetry,
        "backup",
        "twilio",
        "uzbekistan",
        "local",
    );
    assert!(
        !fixture.words("provider").contains("backup"),
        "a request that outlives the reload creates no series"
    );
}

#[test]
fn a_reload_adds_the_series_of_new_names_and_keeps_the_counts() {
    let fixture = reloaded_bench();
    for (name, labels, value) in [
        (
            "route_provider",
            &[("route", "world"), ("provider", "third")][..],
            1.0,
        ),
        ("credential_version", &[("provider", "main")], 3.0),
        (
            "provider_state",
            &[("provider", "main"), ("state", "quarantined")],
            1.0,
        ),
        (
            "provider_state",
            &[("provider", "main"), ("state", "healthy")],
            0.0,
        ),
        (
            "provider_state",
            &[("provider", "third"), ("state", "healthy")],
            1.0,
        ),
        (
            "attempts_total",
            &[("provider", "third"), ("cause", "balance-empty")],
            0.0,
        ),
        (
            "upstream_responses_total",
            &[("provider", "main"), ("kind", "send"), ("status", "401")],
            1.0,
        ),
    ] {
        assert_eq!(
            fixture.value(name, labels),
            Some(value),
            "{name} {labels:?}"
        );
    }
}

#[test]
fn a_credentials_age_grows_between_two_scrapes() {
    let fixture = fixture();
    assert!(
        fixture
            .family("credential_age_seconds")
            .is_none_or(|family| family.get_metric().is_empty()),
        "there is no age before a credential was read"
    );
    CredentialLoaded {
        provider: &ProviderId::new("main"),
        version: Version(1),
        first_seen_at: at(999_990),
    }
    .emit(&fixture.telemetry);
    let age = || fixture.value("credential_age_seconds", &[("provider", "main")]);
    assert_eq!(age(), Some(10.0));
    *fixture.calendar.0.lock().unwrap() = at(1_000_050);
    assert_eq!(age(), Some(60.0));
    *fixture.calendar.0.lock().unwrap() = at(900_000);
    assert_eq!(
        age(),
        Some(0.0),
        "a wall clock that is set back gives no negative age"
    );
}

#[test]
fn a_provider_has_exactly_one_state_and_a_token_may_lose_its_expiry() {
    let fixture = fixture();
    let main = ProviderId::new("main");
    let cooldown = HealthState::Cooldown {
        until: Moment::default(),
        cause: Cause::Timeout,
    };
    for state in [
        HealthState::Healthy,
        cooldown,
        quarantined(Cause::BalanceEmpty),
        HealthState::Paused,
    ] {
        HealthStateChanged {
            provider: &main,
            state,
            diagnosis: None,
        }
        .emit(&fixture.telemetry);
        for label in HealthState::LABELS {
            let expected = if *label == state.as_str() { 1.0 } else { 0.0 };
            assert_eq!(
                fixture.value("provider_state", &[("provider", "main"), ("state", label)]),
                Some(expected)
            );
        }
    }
    TokenExpiry {
        provider: &main,
        expires_at: Some(at(2_000_000)),
    }
    .emit(&fixture.telemetry);
    assert_eq!(
        fixture.value(
            "credential_expiry_timestamp_seconds",
            &[("provider", "main")]
        ),
        Some(2_000_000.0)
    );
    TokenExpiry {
        provider: &main,
        expires_at: None,
    }
    .emit(&fixture.telemetry);
    assert_eq!(
        fixture.value(
            "credential_expiry_timestamp_seconds",
            &[("provider", "main")]
        ),
        None
    );
}

/// A second subscriber that lives as long as the tests. With only one, `tracing` lets the first thread
/// that reaches a call site decide from its own default whether the call site is enabled, so that a
/// test that runs in parallel could disable the line.
static OTHER_SUBSCRIBER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Returns the log output of `act`.
fn logged(format: Format, filter: &str, act: impl FnOnce()) -> String {
    LazyLock::force(&OTHER_SUBSCRIBER);
    let lines = CapturedLog::default();
    let copy = lines.clone();
    tracing::subscriber::with_default(
        subscriber(format, filter, move || copy.clone()).unwrap(),
        act,
    );
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_request_is_one_line_with_every_field_and_a_masked_number() {
    let fixture = fixture();
    let text = logged(Format::Json, "info", || {
        call("main", "playmobile", "uzbekistan", &fixture.telemetry);
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (field, value) in [
        ("level", "WARN"),
        ("id", "c-1"),
        ("caller", "backend"),
        ("entrypoint", "base-url"),
        ("dialect", "playmobile"),
        ("operation", "send"),
        ("route", "uzbekistan"),
        ("recipient", "+998*****67"),
        ("result", "accepted"),
        ("cause", "credential-rejected"),
        ("certainty", "certain"),
        (
            "remedy",
            "write the new password to sms/main in vault local",
        ),
        ("trace_id", "4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b"),
    ] {
        assert_eq!(line[field], value, "{field} in {text}");
    }
    assert_eq!(line["took_ms"], 170);
    let attempts = line["attempts"].as_str().unwrap();
    assert!(
        attempts.starts_with(
            "main/send rejected credential-rejected (certain) 401 82ms provider_message=\"105 "
        ),
        "{attempts}"
    );
    assert!(
        attempts.ends_with("; backup/send accepted 200 82ms"),
        "{attempts}"
    );
    assert!(!text.contains("1234567"), "{text}");
}

#[test]
fn a_request_that_healed_is_logged_at_info_as_healed_with_nothing_to_do() {
    let fixture = fixture();
    let line = |carrier: &str| {
        let text = logged(Format::Json, "info", || {
            let labels = ["main", "playmobile", "uzbekistan"];
            accepted_by(carrier, None, &fixture.telemetry, labels);
        });
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let healed = line("main");
    assert_eq!(healed["level"], "INFO", "{healed}");
    assert_eq!(healed["healed"], true, "{healed}");
    assert_eq!(healed["cause"], "credential-rejected", "{healed}");
    assert_eq!(healed["remedy"], serde_json::Value::Null, "{healed}");
    let failed_over = line("backup");
    assert_eq!(failed_over["level"], "WARN", "{failed_over}");
    assert_eq!(
        failed_over["healed"],
        serde_json::Value::Null,
        "{failed_over}"
    );
}

#[test]
fn a_state_change_is_one_line_with_the_whole_diagnosis() {
    let fixture = fixture();
    let diagnosis = Diagnosis {
        provider: "main".into(),
        cause: Cause::CredentialRejected,
        certainty: Certainty::Ambiguous,
        alternatives: vec![Cause::IpNotAllowed, Cause::AccountSuspended],
        evidence: "The send was answered 401".into(),
        remedy: "write the new password to sms/main in vault local".into(),
    };
    let changed = HealthStateChanged {
        provider: &ProviderId::new("main"),
        state: quarantined(diagnosis.cause),
        diagnosis: Some(&diagnosis),
    };
    let line: serde_json::Value = serde_json::from_str(&logged(Format::Json, "info", || {
        changed.emit(&fixture.telemetry);
    }))
    .unwrap();
    for (field, value) in [
        ("state", "quarantined"),
        ("cause", "credential-rejected"),
        ("certainty", "ambiguous"),
        ("alternatives", "ip-not-allowed or account-suspended"),
        ("evidence", "The send was answered 401"),
        (
            "remedy",
            "write the new password to sms/main in vault local",
        ),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
}

#[test]
fn a_provider_message_can_neither_forge_a_line_nor_colour_it() {
    let fixture = fixture();
    let text = logged(Format::Human { colours: false }, "debug", || {
        call("main", "playmobile", "uzbekistan", &fixture.telemetry);
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn colours_are_written_when_they_are_enabled() {
    let fixture = fixture();
    let act = || call("main", "playmobile", "uzbekistan", &fixture.telemetry);
    assert!(logged(Format::Human { colours: true }, "info", act).contains('\u{1b}'));
}

#[test]
fn third_party_crates_are_capped_at_warn_by_every_filter() {
    for filter in ["trace", "hyper=trace,h2=debug,rustls=trace,anything=trace"] {
        let text = logged(Format::Json, filter, || {
            tracing::trace!(target: "hyper::proto::h1::io", "flushed CANARY");
            tracing::debug!(target: "h2::codec", "headers CANARY");
            tracing::debug!(target: "sms_sidecar_but_not_quite", "CANARY");
            let _span = tracing::trace_span!(target: "pingora_core", "CANARY").entered();
            tracing::warn!(target: "anything", "may speak");
        });
        assert!(!text.contains("CANARY"), "{filter}: {text}");
        assert!(text.contains("may speak"), "{filter}: {text}");
    }
    let ours = logged(Format::Json, "trace", || tracing::trace!("our own trace"));
    assert!(ours.contains("our own trace"), "{ours}");
}

#[test]
fn a_vault_failure_is_logged_when_it_begins_and_when_it_ends() {
    let fixture = fixture();
    let read = |result| {
        VaultRead {
            vault: "local",
            path: "sms/main",
            result,
            problem: Some("wrong key"),
        }
        .emit(&fixture.telemetry);
    };
    let text = logged(Format::Json, "info", || {
        for result in [
            VaultReadResult::Failed,
            VaultReadResult::Failed,
            VaultReadResult::Failed,
            VaultReadResult::Unchanged,
            VaultReadResult::Unchanged,
        ] {
            read(result);
        }
    });
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(
        fixture.value(
            "vault_reads_total",
            &[("vault", "local"), ("result", "failed")]
        ),
        Some(3.0)
    );
    assert_eq!(
        fixture.value(
            "vault_reads_total",
            &[("vault", "local"), ("result", "unchanged")]
        ),
        Some(2.0)
    );
}

#[test]
fn the_last_success_of_a_vault_advances_only_while_all_its_entries_can_be_read() {
    let fixture = fixture();
    let read = |path, result| {
        VaultRead {
            vault: "local",
            path,
            result,
            problem: None,
        }
        .emit(&fixture.telemetry);
    };
    let good = || {
        fixture.value(
            "vault_last_success_timestamp_seconds",
            &[("vault", "local")],
        )
    };
    assert_eq!(good(), None, "an unused vault is not stale");
    read("sms/a", VaultReadResult::Failed);
    assert_eq!(good(), Some(0.0));
    read("sms/b", VaultReadResult::Changed);
    assert_eq!(good(), Some(0.0), "one of two entries is not enough");
    read("sms/a", VaultReadResult::Changed);
    assert_eq!(good(), Some(1_000_000.0));
    *fixture.calendar.0.lock().unwrap() = at(1_000_060);
    read("sms/b", VaultReadResult::Failed);
    read("sms/a", VaultReadResult::Unchanged);
    assert_eq!(good(), Some(1_000_000.0));
    fixture.telemetry.update_schema(&shape());
    read("sms/a", VaultReadResult::Unchanged);
    assert_eq!(
        good(),
        Some(1_000_060.0),
        "an entry that is not in the new config no longer counts as failing"
    );
}

#[test]
fn an_invalid_reload_counts_as_failed_and_keeps_the_config_timestamp() {
    let fixture = fixture();
    let build = BuildInfo {
        version: "1.2.3".into(),
        commit: "abc".into(),
    };
    Started {
        build: &build,
        at: at(1_000_000),
        addresses: &[("proxy", "127.0.0.1:8125".into())],
    }
    .emit(&fixture.telemetry);
    Reloaded {
        at: None,
        problem: Some("2 errors; `sms-sidecar check` shows them"),
    }
    .emit(&fixture.telemetry);
    assert_eq!(
        fixture.value("config_timestamp_seconds", &[]),
        Some(1_000_000.0)
    );
    assert_eq!(
        fixture.value("reloads_total", &[("result", "failed")]),
        Some(1.0)
    );
    Reloaded {
        at: Some(at(1_000_700)),
        problem: None,
    }
    .emit(&fixture.telemetry);
    assert_eq!(
        fixture.value("config_timestamp_seconds", &[]),
        Some(1_000_700.0)
    );
}

#[test]
fn the_need_for_an_operator_decides_the_log_level() {
    let fixture = fixture();
    let level = |result, cause| {
        let text = logged(Format::Json, "trace", || {
            RequestFinished {
                id: "c",
                caller: None,
                entrypoint: Entrypoint::Unix,
                dialect: None,
                operation: Operation::Other,
                route: None,
                recipient: None,
                attempts: &[],
                result,
                method: "POST",
                status: 200,
                cause,
                certainty: None,
                remedy: None,
                duplicate_age: None,
                duration: Duration::ZERO,
                parent: None,
            }
            .emit(&fixture.telemetry);
        });
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["level"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(level(RequestResult::Accepted, None), "INFO");
    assert_eq!(
        level(RequestResult::NotSent, Some(Cause::BalanceEmpty)),
        "ERROR"
    );
    assert_eq!(level(RequestResult::InDoubt, Some(Cause::Timeout)), "ERROR");
    assert_eq!(
        level(
            RequestResult::MessageRejected,
            Some(Cause::RecipientInvalid)
        ),
        "INFO"
    );
    assert_eq!(
        level(RequestResult::Denied, Some(Cause::DeniedByPolicy)),
        "WARN"
    );
    assert_eq!(level(RequestResult::Tunnelled, None), "DEBUG");
    assert_eq!(
        fixture.value(
            "requests_total",
            &[
                ("entrypoint", "unix"),
                ("dialect", "none"),
                ("result", "accepted")
            ]
        ),
        Some(1.0)
    );
}

#[test]
fn the_error_names_an_invalid_filter() {
    let error = subscriber(Format::Json, "sms_sidecar=loud", io::sink)
        .err()
        .unwrap();
    assert!(matches!(error, InitError::Filter { .. }), "{error}");
    assert!(error.to_string().contains("sms_sidecar=loud"));
}

#[test]
fn a_crowd_at_the_limit_is_counted_and_logged_once() {
    let fixture = fixture();
    let open = fixture.telemetry.open_connections(7);
    let _held = open.track(Entrypoint::Unix);
    let text = logged(Format::Json, "info", || {
        for _ in 0..20 {
            ConnectionDenied {
                entrypoint: Entrypoint::Unix,
                reason: ConnectionDenialReason::Limit,
            }
            .emit(&fixture.telemetry);
        }
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("\"WARN\"") && text.contains("\"limit\":7"),
        "{text}"
    );
    let unix = ("entrypoint", "unix");
    let value = |name, labels: &[_]| fixture.value(name, labels);
    assert_eq!(
        value("connections_denied_total", &[unix, ("reason", "limit")]),
        Some(20.0)
    );
    assert_eq!(
        value("requests_total", &[unix, ("result", "denied")]),
        Some(20.0)
    );
    assert_eq!(value("connections_open", &[unix]), Some(1.0));
    assert_eq!(value("connections_limit", &[]), Some(7.0));
    assert_eq!(
        value("connections_denied_total", &[("reason", "tls")]),
        Some(0.0),
        "every reason exists from the start"
    );
}

#[test]
fn requests_beyond_the_memory_are_counted_and_logged_once() {
    let fixture = fixture();
    let denial = DenialReason::BytesInFlight.about("");
    let text = logged(Format::Json, "info", || {
        for client in [ClientKind::Stranger, ClientKind::Backend].repeat(10) {
            RequestDenied {
                status: 503,
                why: &denial.reply_text(),
                denied: DenialRecorded {
                    entrypoint: Entrypoint::Unix,
                    denial: &denial,
                    client,
                },
            }
            .emit(&fixture.telemetry);
        }
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("\"WARN\"") && text.contains("in_flight"),
        "{text}"
    );
    let value = |name, labels: &[_]| fixture.value(name, labels);
    for client in ["backend", "stranger"] {
        let labels = [("reason", "bytes-in-flight"), ("client", client)];
        assert_eq!(value("denied_requests_total", &labels), Some(10.0));
    }
    assert_eq!(
        value(
            "requests_total",
            &[("entrypoint", "unix"), ("result", "denied")]
        ),
        Some(20.0)
    );
}
