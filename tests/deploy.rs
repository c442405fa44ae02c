//! Compares `deploy/` with the binary: every cause has a heading in the runbook, every link leads
//! to a heading, every heading can be reached, the replies of each service are those of its
//! description, and rules and dashboard name only series that exist.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a file that cannot be read is a failed test"
)]

#[path = "support/metrics.rs"]
mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regex::Regex;
use sms_sidecar::diagnosis::{DenialReason, DenialScope};
use sms_sidecar::net::{Limits, file_limit};
use sms_sidecar::sms::{Cause, Family};

use crate::metrics::Series;

const RUNBOOK: &str = "deploy/runbook.md";
const ALERTS: &str = "deploy/prometheus/alerts.rules.yml";
const RECORDING: &str = "deploy/prometheus/recording.rules.yml";
const DASHBOARD: &str = "deploy/grafana/dashboards/sms-sidecar.json";

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
fn causes_are_the_first_headings_and_every_section_has_four_parts() {
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
        let positions: Vec<_> = parts
            .iter()
            .map(|part| {
                body.find(part)
                    .unwrap_or_else(|| panic!("{head} lacks {part}"))
            })
            .collect();
        assert!(
            positions.is_sorted(),
            "{head}: the parts are in another order"
        );
    }
    assert_eq!(headings().len(), sections.len(), "a heading occurs twice");
}

#[test]
fn alerts_link_headings_and_every_heading_is_linked() {
    let headings = headings();
    let mut reached = BTreeSet::new();
    for (name, body) in alerts() {
        match anchor(&body).as_str() {
            "{{ $labels.cause }}" => {
                assert!(
                    body.contains("sms_sidecar:account_rejections"),
                    "{name}: its causes are unknown"
                );
                reached.extend(
                    Cause::ALL
                        .iter()
                        .filter(|cause| cause.family() == Family::Account)
                        .map(|cause| cause.as_str().to_owned()),
                );
            }
            fixed => assert!(
                reached.insert(fixed.to_owned())
                    || fixed.contains("not-delivered")
                    || fixed == "requests-denied",
                "{name}: another alert links {fixed}"
            ),
        }
    }
    assert!(
        reached.is_subset(&headings),
        "links without a heading: {:?}",
        reached.difference(&headings).collect::<Vec<_>>()
    );
    let dashboard = read(DASHBOARD);
    for link in Regex::new(r"\$\{runbook\}#([a-z-]+)")
        .unwrap()
        .captures_iter(&dashboard)
    {
        assert!(
            headings.contains(&link[1]),
            "the dashboard links {}, which is not a heading",
            &link[1]
        );
    }
    // The dashboard's table of causes links each to its heading.
    assert!(
        dashboard.contains("${runbook}#${__data.fields.cause}"),
        "the dashboard does not link causes"
    );
    reached.extend(Cause::ALL.iter().map(|cause| cause.as_str().to_owned()));
    assert_eq!(
        headings.difference(&reached).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "headings without a link"
    );
}

#[test]
fn the_runbook_has_every_reason_for_which_the_backend_can_be_denied() {
    let (_, text) = sections()
        .into_iter()
        .find(|(heading, _)| heading == "requests-denied")
        .expect("a heading");
    let listed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let reasons: Vec<&str> = DenialReason::ALL
        .iter()
        .filter(|reason| reason.scope() != DenialScope::Other)
        .map(|reason| reason.as_str())
        .collect();
    assert_eq!(listed, reasons);
}

#[test]
fn the_section_of_an_alert_names_the_alert() {
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
            "the runbook names {}, which is not an alert",
            found.as_str()
        );
    }
}

#[test]
fn the_replies_in_the_runbook_are_those_of_the_descriptions() {
    let sections: BTreeMap<_, _> = sections().into_iter().collect();
    for entry in fs::read_dir("config/dialects").unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let description: toml::Table = toml::from_str(&read(file.to_str().unwrap())).unwrap();
        for cause in Cause::ALL.iter().map(|cause| cause.as_str()) {
            let shown = sections[cause]
                .lines()
                .find_map(|line| line.strip_prefix(&format!("- `{name}`: ")));
            let complaint = compare_replies(
                shown,
                &replies_with(&description, cause),
                &reply_paths(&description),
            );
            assert_eq!(complaint, None, "{cause}, {name}");
        }
    }
}

/// What the runbook's line `shown` lacks of `described`, or has beyond it.
fn compare_replies(
    shown: Option<&str>,
    described: &BTreeSet<String>,
    paths: &BTreeSet<String>,
) -> Option<String> {
    let Some(shown) = shown else {
        return (!described.is_empty()).then(|| format!("no line has {described:?}"));
    };
    let missing: Vec<_> = described
        .iter()
        .filter(|reply| !shown.contains(reply.as_str()))
        .collect();
    let extra: Vec<_> = code_spans(shown)
        .filter(|span| !described.contains(*span) && !paths.contains(*span))
        .collect();
    if described.is_empty() {
        Some("the description has no such reply".to_owned())
    } else if missing.is_empty() && extra.is_empty() {
        None
    } else {
        Some(format!("missing {missing:?}, not described {extra:?}"))
    }
}

/// Every code, status and pattern by which a description classifies a reply as `cause`, alone or as an alternative.
fn replies_with(description: &toml::Table, cause: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rule in rules(description) {
        let names = |key: &str| rule.get(key).and_then(toml::Value::as_str) == Some(cause);
        let is_alternative = rule
            .get("alternatives")
            .and_then(toml::Value::as_array)
            .is_some_and(|list| list.iter().any(|it| it.as_str() == Some(cause)));
        if names("rejected") || names("unknown") || names("cause") || is_alternative {
            found.extend(listed(rule.get("status")).map(|status| format!("HTTP {status}")));
            for key in ["equals", "matches", "body_matches"] {
                found.extend(listed(rule.get(key)));
            }
        }
    }
    let codes = description["send"]
        .get("codes")
        .and_then(|codes| codes.get(cause));
    found.extend(listed(codes));
    found
}

/// The rules of the send, the login and the probes.
fn rules(description: &toml::Table) -> impl Iterator<Item = &toml::Value> {
    let send = description["send"]["rules"].as_array();
    let login = description
        .get("token")
        .and_then(|token| token.get("rules"))
        .and_then(toml::Value::as_array);
    let probes = description
        .get("probes")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|probe| probe.get("cause_when")?.as_array());
    send.into_iter().chain(login).chain(probes).flatten()
}

/// A value or the values of a list, as text.
fn listed(value: Option<&toml::Value>) -> impl Iterator<Item = String> {
    let as_text = |value: &toml::Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match value {
        Some(toml::Value::Array(list)) => list.iter().map(as_text).collect::<Vec<_>>().into_iter(),
        Some(value) => vec![as_text(value)].into_iter(),
        None => Vec::new().into_iter(),
    }
}

fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The paths of a reply that the rules of a description name.
fn reply_paths(description: &toml::Table) -> BTreeSet<String> {
    rules(description)
        .flat_map(|rule| listed(rule.get("path")).chain(listed(rule.get("with"))))
        .collect()
}

#[test]
fn rules_dashboard_and_runbook_name_only_exported_series() {
    let series = Series::collect();
    for file in [RECORDING, ALERTS, RUNBOOK] {
        assert_eq!(
            series.complaints(&read(file)),
            Vec::<String>::new(),
            "{file}"
        );
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut texts = Vec::new();
    collect_strings(&dashboard, &mut texts);
    assert_eq!(
        series.complaints(&texts.join("\n")),
        Vec::<String>::new(),
        "{DASHBOARD}"
    );
}

fn collect_strings<'a>(value: &'a serde_json::Value, into: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::String(text) => into.push(text),
        serde_json::Value::Array(list) => list.iter().for_each(|item| collect_strings(item, into)),
        serde_json::Value::Object(map) => map.values().for_each(|item| collect_strings(item, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[test]
fn an_unknown_series_label_or_value_is_found() {
    let series = Series::collect();
    for (text, complaint) in [
        (
            "rate(sms_sidecar_call_total[5m])",
            "sms_sidecar_call_total is not exported",
        ),
        (
            "sms_sidecar_balance{cause=\"timeout\"}",
            "sms_sidecar_balance has no label cause",
        ),
        (
            "sms_sidecar_balance{provider,currency}",
            "sms_sidecar_balance has no label currency",
        ),
        (
            "sms_sidecar_requests_total{result=~\"accepted|lost\"}",
            "result is never lost",
        ),
        (
            "sms_sidecar_notifications_total{result=\"accepted\"}",
            "result is never accepted",
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
        assert_eq!(series.complaints(text), [complaint], "{text}");
    }
}

/// The unit hides /home, where the examples' `.env` lies: whoever copies both must find the directive.
#[test]
fn an_example_below_home_names_the_directive_of_the_unit() {
    let unit = read("deploy/sms-sidecar.service");
    assert!(unit.contains("\nProtectHome=yes\n") && unit.contains("ProtectHome=read-only"));
    for file in [
        "config/minimal.toml",
        "config/sms-sidecar.toml",
        "deploy/guide/vaults.md",
        "deploy/guide/getting-started.md",
    ] {
        let text = read(file);
        assert!(
            text.contains("/home/"),
            "{file} has no such example any more"
        );
        assert!(text.contains("ProtectHome=read-only"), "{file}");
    }
}

#[test]
fn the_unit_allows_enough_open_files_for_the_default_config() {
    let unit = read("deploy/sms-sidecar.service");
    let allowed = unit
        .lines()
        .find_map(|line| line.strip_prefix("LimitNOFILE="))
        .unwrap();
    let required = file_limit::required(&Limits::default());
    assert!(allowed.parse::<u64>().unwrap() >= required, "{required}");
}
