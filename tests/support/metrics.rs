//! What the sidecar exports, and what is wrong with the series that a text names: shared by the
//! tests of rules, dashboard, runbook and guide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use prometheus::Registry;
use prometheus::proto::MetricType;
use regex::Regex;
use sms_sidecar::clock::SystemClock;
use sms_sidecar::secret::Version;
use sms_sidecar::sms::{
    AttemptKind, Cause, Entrypoint, Operation, Outcome, ProviderId, RequestResult,
};
use sms_sidecar::telemetry::{
    AttemptFinished, BalanceReported, CaExpiry, ConfigSummary, CredentialLoaded, Failover,
    MetricsSchema, RequestFinished, RouteSummary, SpanDropReason, SpansDropped, SpansExported,
    Started, Telemetry, TokenExpiry, VaultRead, VaultReadResult, WarmUpFinished, closed_values,
};

const RECORDING: &str = "deploy/prometheus/recording.rules.yml";
/// What Prometheus itself adds to a series.
const SCRAPED: [&str; 2] = ["job", "instance"];

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static SERIES: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(sms_sidecar_[a-z_]*[a-z])(?:\{([^}]*)\})?"));
static RULE: LazyLock<Regex> = LazyLock::new(|| pattern(r"sms_sidecar:[a-z0-9_:]+"));
static MATCHER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"([a-z_]+) *(?:=~|!~|!=|=) *["']([^"']*)["']"#));
static LABELS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"\b(?:by|on|without|group_left|group_right) *\(([^)]*)\)|\$labels\.([a-z_]+)")
});

/// The names that a query may use.
pub(crate) struct Series {
    /// Every series with its labels, as a running binary exports them.
    exported: BTreeMap<String, BTreeSet<String>>,
    /// The names of the recording rules.
    recorded: BTreeSet<String>,
}

impl Series {
    pub(crate) fn collect() -> Self {
        Self {
            exported: exported(),
            recorded: recorded(),
        }
    }

    /// What is wrong with the series, labels and values that `text` names.
    pub(crate) fn complaints(&self, text: &str) -> Vec<String> {
        let mut found = self.unknown_rules(text);
        for named in SERIES.captures_iter(text) {
            match self.exported_labels(&named[1]) {
                None => found.push(format!("{} is not exported", &named[1])),
                Some(labels) => {
                    let selector = named.get(2).map_or("", |it| it.as_str());
                    found.extend(unknown_selectors(&named[1], selector, &labels));
                }
            }
        }
        found.extend(self.unknown_label_lists(text));
        found
    }

    /// The labels of a series; of all parts of a histogram, if `name` is a histogram's.
    fn exported_labels(&self, name: &str) -> Option<BTreeSet<String>> {
        let bucket = format!("{name}_bucket");
        self.exported
            .get(name)
            .or_else(|| self.exported.get(&bucket))
            .cloned()
    }

    fn unknown_rules(&self, text: &str) -> Vec<String> {
        RULE.find_iter(text)
            .filter(|rule| !self.recorded.contains(rule.as_str()))
            .map(|rule| format!("{} is not recorded", rule.as_str()))
            .collect()
    }

    /// The lists of `by (…)` and its kind, and the labels of alert templates.
    fn unknown_label_lists(&self, text: &str) -> Vec<String> {
        let known: BTreeSet<&str> = self
            .exported
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        LABELS
            .captures_iter(text)
            .filter_map(|list| list.get(1).or(list.get(2)))
            .flat_map(|list| list.as_str().split(',').map(str::trim))
            .filter(|label| !label.is_empty() && !known.contains(label))
            .map(|label| format!("no series has a label {label}"))
            .collect()
    }
}

/// What is wrong between the braces: `a="x"` as in a query, or `a,b` as the docs list labels.
fn unknown_selectors(series: &str, selector: &str, labels: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for pair in MATCHER.captures_iter(selector) {
        if !labels.contains(&pair[1]) {
            found.push(format!("{series} has no label {}", &pair[1]));
        }
        let known = closed_values(series, &pair[1]);
        let unknown = pair[2]
            .split('|')
            .filter(|word| known.as_ref().is_some_and(|known| !known.contains(word)));
        found.extend(unknown.map(|word| format!("{} is never {word}", &pair[1])));
    }
    if !selector.contains('=') {
        let listed = selector.split(',').map(str::trim);
        found.extend(
            listed
                .filter(|label| !label.is_empty() && !labels.contains(*label))
                .map(|label| format!("{series} has no label {label}")),
        );
    }
    found
}

fn recorded() -> BTreeSet<String> {
    std::fs::read_to_string(RECORDING)
        .unwrap()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .map(str::to_owned)
        .collect()
}

fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for family in registry_in_use().gather() {
        let labels = family
            .get_metric()
            .iter()
            .flat_map(|metric| metric.get_label().iter().map(|pair| pair.name().to_owned()));
        let mut labels: BTreeSet<String> = labels.chain(SCRAPED.map(str::to_owned)).collect();
        if family.get_field_type() == MetricType::HISTOGRAM {
            for part in ["count", "sum"] {
                found.insert(format!("{}_{part}", family.name()), labels.clone());
            }
            labels.insert("le".to_owned());
            found.insert(format!("{}_bucket", family.name()), labels);
        } else {
            found.insert(family.name().to_owned(), labels);
        }
    }
    found
}

/// A registry after each event that gives birth to a series has happened once.
fn registry_in_use() -> Registry {
    let registry = Registry::new();
    let a = ProviderId::new("a");
    let b = ProviderId::new("b");
    let schema = schema(&a, &b);
    let telemetry = Telemetry::new(&registry, &schema, Arc::new(SystemClock::start())).unwrap();
    let at = SystemTime::UNIX_EPOCH;
    Failover {
        from: &a,
        to: &b,
        cause: Cause::Timeout,
    }
    .emit(&telemetry);
    emit_account(&a, at, &telemetry);
    emit_request(&a, &telemetry);
    VaultRead {
        vault: "v",
        path: "p",
        result: VaultReadResult::Changed,
        problem: None,
    }
    .emit(&telemetry);
    Started {
        build: &schema.build,
        at,
        addresses: &[],
    }
    .emit(&telemetry);
    CaExpiry { at: Some(at) }.emit(&telemetry);
    telemetry.init_notifications();
    SpansExported {
        count: 1,
        queued: 0,
    }
    .emit(&telemetry);
    SpansDropped {
        count: 1,
        reason: SpanDropReason::QueueFull,
        problem: "",
    }
    .emit(&telemetry);
    registry
}

fn emit_account(provider: &ProviderId, at: SystemTime, telemetry: &Telemetry) {
    CredentialLoaded {
        provider,
        version: Version(1),
        first_seen_at: at,
    }
    .emit(telemetry);
    WarmUpFinished {
        provider,
        failure: None,
    }
    .emit(telemetry);
    TokenExpiry {
        provider,
        expires_at: Some(at),
    }
    .emit(telemetry);
    BalanceReported {
        provider,
        unit: "UZS",
        value: 1.0,
        daily_spend: None,
    }
    .emit(telemetry);
}

/// An attempt with a reply, and the request that it served.
fn emit_request(provider: &ProviderId, telemetry: &Telemetry) {
    AttemptFinished {
        provider,
        kind: AttemptKind::Send,
        outcome: &Outcome::Unknown(Cause::ReplyUnreadable),
        status: Some(200),
        duration: Duration::ZERO,
    }
    .emit(telemetry);
    RequestFinished {
        id: "",
        caller: None,
        entrypoint: Entrypoint::BaseUrl,
        dialect: Some("twilio"),
        operation: Operation::Send,
        route: None,
        recipient: None,
        attempts: &[],
        result: RequestResult::InDoubt,
        method: "POST",
        status: 504,
        cause: None,
        certainty: None,
        remedy: None,
        duplicate_age: None,
        duration: Duration::ZERO,
        parent: None,
    }
    .emit(telemetry);
}

fn schema(a: &ProviderId, b: &ProviderId) -> MetricsSchema {
    let route = RouteSummary {
        name: "r".into(),
        providers: vec![a.clone(), b.clone()],
        recipients: Vec::new(),
        observe: false,
    };
    MetricsSchema {
        providers: vec![(a.clone(), "twilio".into()), (b.clone(), "eskiz".into())],
        vaults: vec!["v".into()],
        dialects: vec![
            ("twilio".into(), "built-in".into()),
            ("eskiz".into(), "built-in".into()),
        ],
        config: ConfigSummary {
            routes: vec![route],
            ..ConfigSummary::default()
        },
        ..MetricsSchema::default()
    }
}
