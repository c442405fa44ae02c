//! The page at `/`: what is here, and how each provider stands, read off the same
//! metrics that Prometheus reads.

use std::fmt::Write as _;

use prometheus::proto::{Metric, MetricFamily};

use crate::admin::Readiness;

/// Plain text for a person with curl.
pub(super) fn index(families: &[MetricFamily], readiness: &Readiness) -> String {
    let waiting = readiness.waiting_for();
    let ready = if waiting.is_empty() { "ready".to_owned() } else { format!("not ready, waiting for: {}", waiting.join(", ")) };
    let mut text = format!(
        "sms-sidecar: {ready}\n\n\
         /metrics  numbers for Prometheus\n\
         /live     the process runs\n\
         /ready    listeners are open and the config is loaded\n\n\
         Nothing here changes anything; `sms-sidecar status` says more.\n"
    );
    let providers: Vec<(&str, &str)> = held(families, "sms_sidecar_provider_standing")
        .filter_map(|metric| Some((label(metric, "provider")?, label(metric, "standing")?)))
        .collect();
    section(&mut text, "providers", &providers);
    let backups: Vec<(&str, &str)> = lowered(families, "sms_sidecar_route_first_choice")
        .filter_map(|metric| Some((label(metric, "route")?, "runs on a backup")))
        .collect();
    section(&mut text, "routes", &backups);
    text
}

fn section(text: &mut String, title: &str, lines: &[(&str, &str)]) {
    if lines.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    writeln!(text, "\n{title}").unwrap_or_default();
    for (name, word) in lines {
        writeln!(text, "  {name:<24} {word}").unwrap_or_default();
    }
}

/// The series of a gauge that stand at 1.
fn held<'a>(families: &'a [MetricFamily], name: &'a str) -> impl Iterator<Item = &'a Metric> {
    of(families, name).filter(|metric| metric.get_gauge().get_value() > 0.5)
}

/// Those that stand at 0.
fn lowered<'a>(families: &'a [MetricFamily], name: &'a str) -> impl Iterator<Item = &'a Metric> {
    of(families, name).filter(|metric| metric.get_gauge().get_value() < 0.5)
}

fn of<'a>(families: &'a [MetricFamily], name: &'a str) -> impl Iterator<Item = &'a Metric> {
    families.iter().filter(move |family| family.name() == name).flat_map(MetricFamily::get_metric)
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    metric.get_label().iter().find(|pair| pair.name() == name).map(prometheus::proto::LabelPair::value)
}
