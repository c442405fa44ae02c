//! Holds what `deploy/` promises to what the binary does: every cause has its heading in the
//! runbook, every link leads to one, every heading can be reached, what a service's reply looks
//! like is what its description says, and rules and dashboard name only series that exist.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a file that cannot be read is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus::Registry;
use prometheus::proto::MetricType;
use regex::Regex;
use sms_sidecar::clock::SystemClock;
use sms_sidecar::secret::Version;
use sms_sidecar::sms::{
    AttemptKind, Cause, Entrypoint, Family, Operation, ProviderId, RequestResult,
};
use sms_sidecar::telemetry::{
    BalanceReported, CaExpiry, ConfigSummary, CredentialLoaded, Failover, HEALTH_STATES,
    MetricsSchema, RouteSummary, Started, Telemetry, TokenExpiry, VaultRead, VaultReadResult,
};

const RUNBOOK: &str = "deploy/runbook.md";
const ALERTS: &str = "deploy/prometheus/alerts.rules.yml";
const RECORDING: &str = "deploy/prometheus/recording.rules.yml";
const DASHBOARD: &str = "deploy/grafana/dashboards/sms-sidecar.json";
/// What Prometheus itself adds to a series.
const SCRAPED: [&str; 2] = ["job", "instance"];

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Heading and text of each section of the runbook, in order.
fn sections() -> Vec<(String, String)> {
    let text = read(RUNBOOK);
    let parts = text.split("\n## ").skip(1);
    parts
        .map(|part| part.split_once('\n').unwrap())
        .map(|(head, body)| (head.to_owned(), body.to_owned()))
        .collect()
}

fn headings() -> BTreeSet<String> {
    sections().into_iter().map(|(head, _)| head).collect()
}

/// Name and whole text of each alert.
fn alerts() -> Vec<(String, String)> {
    let text = read(ALERTS);
    let parts = text.split("- alert: ").skip(1);
    parts
        .map(|part| part.split_once('\n').unwrap())
        .map(|(name, body)| (name.trim().to_owned(), body.to_owned()))
        .collect()
}

fn anchor(alert: &str) -> String {
    let link = Regex::new(
        r#"(?m)^ +runbook_url: "https://runbooks\.example/sms-sidecar/runbook\.md#(.+)"$"#,
    )
    .unwrap();
    link.captures(alert)
        .unwrap_or_else(|| panic!("no runbook_url of the usual form in {alert}"))[1]
        .to_owned()
}

#[test]
fn every_cause_has_its_heading_in_order_and_every_section_its_four_parts() {
    let sections = sections();
    let first: Vec<&str> = sections
        .iter()
        .take(Cause::ALL.len())
        .map(|(head, _)| head.as_str())
        .collect();
    assert_eq!(
        first,
        Cause::ALL
            .iter()
            .map(|cause| cause.as_str())
            .collect::<Vec<_>>()
    );
    for (head, body) in &sections {
        let parts = [
            "**What users notice.**",
            "**What it looks like.**",
            "**What to do.**\n\n1. ",
            "**How to see that it is over.**",
        ];
        let places: Vec<_> = parts
            .iter()
            .map(|part| {
                body.find(part)
                    .unwrap_or_else(|| panic!("{head} lacks {part}"))
            })
            .collect();
        assert!(
            places.is_sorted(),
            "{head}: the parts stand in another order"
        );
    }
    assert_eq!(headings().len(), sections.len(), "a heading stands twice");
}

#[test]
fn every_link_of_an_alert_leads_to_a_heading_and_every_heading_is_linked() {
    let headings = headings();
    let mut reached = BTreeSet::new();
    for (name, body) in alerts() {
        match anchor(&body).as_str() {
            "{{ $labels.cause }}" => {
                assert!(
                    body.contains("sms_sidecar:account_rejections"),
                    "{name}: which causes can it name?"
                );
                reached.extend(
                    Cause::ALL
                        .iter()
                        .filter(|cause| cause.family() == Family::Account)
                        .map(|cause| cause.as_str().to_owned()),
                );
            }
            fixed => assert!(
                reached.insert(fixed.to_owned()) || fixed.contains("not-delivered"),
                "{name}: {fixed} is another alert's"
            ),
        }
    }
    assert!(
        reached.is_subset(&headings),
        "links that lead nowhere: {:?}",
        reached.difference(&headings).collect::<Vec<_>>()
    );
    let dashboard = read(DASHBOARD);
    for link in Regex::new(r"\$\{runbook\}#([a-z-]+)")
        .unwrap()
        .captures_iter(&dashboard)
    {
        assert!(
            headings.contains(&link[1]),
            "the dashboard links {}, which is no heading",
            &link[1]
        );
    }
    // The dashboard's table of causes links each to its heading.
    assert!(
        dashboard.contains("${runbook}#${__data.fields.cause}"),
        "the dashboard links no cause"
    );
    reached.extend(Cause::ALL.iter().map(|cause| cause.as_str().to_owned()));
    assert_eq!(
        headings.difference(&reached).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "headings that nothing leads to"
    );
}

#[test]
fn the_heading_of_an_alert_names_it() {
    for (name, body) in alerts() {
        let anchor = anchor(&body);
        let Some((_, section)) = sections().into_iter().find(|(head, _)| *head == anchor) else {
            continue;
        };
        let is_cause = Cause::ALL.iter().any(|cause| cause.as_str() == anchor);
        assert!(
            is_cause || section.contains(&format!("`{name}`")),
            "{anchor} does not name {name}"
        );
    }
    let known: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    for found in Regex::new("SmsSidecar[A-Za-z]+")
        .unwrap()
        .find_iter(&read(RUNBOOK))
    {
        assert!(
            known.contains(found.as_str()),
            "the runbook names {}, which is no alert",
            found.as_str()
        );
    }
}

#[test]
fn what_a_reply_looks_like_is_what_the_description_says() {
    let mut dialects = 0;
    let sections: BTreeMap<_, _> = sections().into_iter().collect();
    for file in fs::read_dir("config/dialects")
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        dialects += 1;
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let described: toml::Table = toml::from_str(&read(file.to_str().unwrap())).unwrap();
        for cause in Cause::ALL.iter().map(|cause| cause.as_str()) {
            let shown = sections[cause]
                .lines()
                .find_map(|line| line.strip_prefix(&format!("- `{name}`: ")));
            let told = told(&described, cause);
            match shown {
                Some(shown) => {
                    assert!(!told.is_empty(), "{cause}: {name} never says so");
                    let missing: Vec<_> = told
                        .iter()
                        .filter(|word| !shown.contains(word.as_str()))
                        .collect();
                    assert!(missing.is_empty(), "{cause}: {name} also says {missing:?}");
                    let stray: Vec<_> = quoted(shown)
                        .filter(|word| !told.contains(*word) && !is_place(word))
                        .collect();
                    assert!(stray.is_empty(), "{cause}: {name} does not say {stray:?}");
                }
                None => assert!(told.is_empty(), "{cause}: {name} says so by {told:?}"),
            }
        }
    }
    assert_eq!(dialects, 9);
}

/// Every code, status and pattern by which a description arrives at `cause`, alone or among others.
fn told(described: &toml::Table, cause: &str) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    let send = &described["send"];
    let login = described
        .get("token")
        .and_then(|token| token.get("rules"))
        .and_then(toml::Value::as_array);
    let dead = described
        .get("probes")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|probe| probe.get("cause_when"));
    let dead = dead.flat_map(|list| list.as_array().unwrap());
    let rules = send["rules"]
        .as_array()
        .unwrap()
        .iter()
        .chain(login.into_iter().flatten())
        .chain(dead);
    for rule in rules {
        let is = |key: &str| rule.get(key).and_then(toml::Value::as_str) == Some(cause);
        let or = rule
            .get("alternatives")
            .and_then(toml::Value::as_array)
            .is_some_and(|or| or.iter().any(|it| it.as_str() == Some(cause)));
        if is("rejected") || is("unknown") || is("cause") || or {
            told.extend(words(rule.get("status")).map(|status| format!("HTTP {status}")));
            told.extend(
                ["equals", "matches", "body_matches"]
                    .into_iter()
                    .flat_map(|key| words(rule.get(key))),
            );
        }
    }
    told.extend(words(send.get("codes").and_then(|codes| codes.get(cause))));
    told
}

fn words(value: Option<&toml::Value>) -> impl Iterator<Item = String> {
    let one = |value: &toml::Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match value {
        Some(toml::Value::Array(list)) => list.iter().map(one).collect::<Vec<_>>().into_iter(),
        Some(value) => vec![one(value)].into_iter(),
        None => Vec::new().into_iter(),
    }
}

/// What stands in back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Where in a reply, not what.
fn is_place(word: &str) -> bool {
    const PLACES: [&str; 12] = [
        "ErrorResponse.Error.Code",
        "ErrorResponse.Error.Message",
        "GetSMSSandboxAccountStatusResponse.GetSMSSandboxAccountStatusResult.IsInSandbox",
        "code",
        "data.role",
        "error",
        "error-code",
        "error_code",
        "errorCode",
        "message",
        "message.mobile_phone",
        "status",
    ];
    PLACES.contains(&word) || word.starts_with("messages[].")
}

/// Every family with its labels, as a running binary has them once each thing happened.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let registry = Registry::new();
    let (a, b) = (ProviderId::new("a"), ProviderId::new("b"));
    let route = RouteSummary {
        name: "r".into(),
        providers: vec![a.clone(), b.clone()],
        recipients: Vec::new(),
        observe: false,
    };
    let shape = MetricsSchema {
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
    };
    let telemetry = Telemetry::new(&registry, &shape, Arc::new(SystemClock::start())).unwrap();
    let at = SystemTime::UNIX_EPOCH;
    Failover {
        from: &a,
        to: &b,
        cause: Cause::Timeout,
    }
    .emit(&telemetry);
    CredentialLoaded {
        provider: &a,
        version: Version(1),
        first_seen_at: at,
    }
    .emit(&telemetry);
    TokenExpiry {
        provider: &a,
        expires_at: Some(at),
    }
    .emit(&telemetry);
    BalanceReported {
        provider: &a,
        unit: "UZS",
        value: 1.0,
        daily_spend: None,
    }
    .emit(&telemetry);
    VaultRead {
        vault: "v",
        path: "p",
        result: VaultReadResult::Changed,
        problem: None,
    }
    .emit(&telemetry);
    Started {
        build: &shape.build,
        at,
        addresses: &[],
    }
    .emit(&telemetry);
    CaExpiry { at }.emit(&telemetry);
    let mut found = BTreeMap::new();
    for family in registry.gather() {
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

/// The closed lists that labels take their values from; other labels are names of the config.
fn values(label: &str) -> Option<Vec<&'static str>> {
    Some(match label {
        "operation" => Operation::ALL.iter().map(|it| it.as_str()).collect(),
        "entrypoint" => Entrypoint::ALL.iter().map(|it| it.as_str()).collect(),
        "kind" => AttemptKind::ALL.iter().map(|it| it.as_str()).collect(),
        "cause" => Cause::ALL
            .iter()
            .map(|it| it.as_str())
            .chain(["none"])
            .collect(),
        "family" => ["account", "message", "provider", "ours", "none"].to_vec(),
        "outcome" => ["accepted", "rejected", "unsent", "unknown"].to_vec(),
        "state" => HEALTH_STATES.to_vec(),
        "result" => {
            let requests = RequestResult::ALL.iter().map(|it| it.as_str());
            requests
                .chain(VaultReadResult::ALL.iter().map(|it| it.as_str()))
                .chain(["ok", "failed"])
                .collect()
        }
        _ => return None,
    })
}

/// What is wrong with the series, labels and values that `text` names.
fn strangers(
    text: &str,
    exported: &BTreeMap<String, BTreeSet<String>>,
    recorded: &BTreeSet<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for found in Regex::new(r"sms_sidecar:[a-z0-9_:]+")
        .unwrap()
        .find_iter(text)
    {
        if !recorded.contains(found.as_str()) {
            wrong.push(format!("{} is not recorded", found.as_str()));
        }
    }
    let matcher = Regex::new(r#"([a-z_]+) *(?:=~|!~|!=|=) *["']([^"']*)["']"#).unwrap();
    for found in Regex::new(r"\b(sms_sidecar_[a-z_]+)(?:\{([^}]*)\})?")
        .unwrap()
        .captures_iter(text)
    {
        let Some(labels) = exported.get(&found[1]) else {
            wrong.push(format!("{} is not exported", &found[1]));
            continue;
        };
        let matchers = found.get(2).map_or("", |it| it.as_str());
        for pair in matcher.captures_iter(matchers) {
            if !labels.contains(&pair[1]) {
                wrong.push(format!("{} has no label {}", &found[1], &pair[1]));
            }
            let known = values(&pair[1]);
            let unknown = pair[2]
                .split('|')
                .filter(|word| known.as_ref().is_some_and(|known| !known.contains(word)));
            wrong.extend(unknown.map(|word| format!("{} is never {word}", &pair[1])));
        }
    }
    let all: BTreeSet<&str> = exported.values().flatten().map(String::as_str).collect();
    let lists =
        Regex::new(r"\b(?:by|on|without|group_left|group_right) *\(([^)]*)\)|\$labels\.([a-z_]+)")
            .unwrap();
    for found in lists.captures_iter(text) {
        let list = found.get(1).or(found.get(2)).map_or("", |it| it.as_str());
        let names = list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        wrong.extend(
            names
                .filter(|name| !all.contains(name))
                .map(|name| format!("no series has a label {name}")),
        );
    }
    wrong
}

fn recorded() -> BTreeSet<String> {
    read(RECORDING)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_and_dashboard_name_only_what_is_exported() {
    let (exported, recorded) = (exported(), recorded());
    for file in [RECORDING, ALERTS, RUNBOOK] {
        assert_eq!(
            strangers(&read(file), &exported, &recorded),
            Vec::<String>::new(),
            "{file}"
        );
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut texts = Vec::new();
    strings(&dashboard, &mut texts);
    assert_eq!(
        strangers(&texts.join("\n"), &exported, &recorded),
        Vec::<String>::new(),
        "{DASHBOARD}"
    );
}

fn strings<'a>(value: &'a serde_json::Value, into: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::String(text) => into.push(text),
        serde_json::Value::Array(list) => list.iter().for_each(|item| strings(item, into)),
        serde_json::Value::Object(map) => map.values().for_each(|item| strings(item, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[test]
fn a_stranger_is_seen() {
    let (exported, recorded) = (exported(), recorded());
    for (text, said) in [
        (
            "rate(sms_sidecar_call_total[5m])",
            "sms_sidecar_call_total is not exported",
        ),
        (
            "sms_sidecar_balance{cause=\"timeout\"}",
            "sms_sidecar_balance has no label cause",
        ),
        (
            "sms_sidecar_requests_total{result=~\"accepted|lost\"}",
            "result is never lost",
        ),
        (
            "sum by (provder) (sms_sidecar_balance)",
            "no series has a label provder",
        ),
        (
            "sms_sidecar:nothing:rate5m",
            "sms_sidecar:nothing:rate5m is not recorded",
        ),
        ("{{ $labels.who }}", "no series has a label who"),
    ] {
        assert_eq!(strangers(text, &exported, &recorded), [said], "{text}");
    }
}
