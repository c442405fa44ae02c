//! What the demo prints: one row for each fact, so that a scene reads from the first attempt to the
//! SMS.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::cli::demo::backend::BackendResponse;
use crate::cli::layout::render_steps;
use crate::cli::output;
use crate::diagnosis::remedy_steps;

/// The metrics that the scenes move.
const SHOWN_METRICS: [&str; 6] = [
    "requests_total",
    "attempts_total",
    "upstream_responses_total",
    "failovers_total",
    "possible_duplicates_total",
    "provider_state",
];

/// The number and the title of a scene.
pub(super) fn title(number: usize, title: &str) {
    let bold = anstyle::Style::new().bold();
    output::line(format_args!("{bold} {number}  {title}{bold:#}"));
}

/// One fact with its label.
pub(super) fn row(label: &str, text: impl Display) {
    output::line(format_args!("    {label:<12} {text}"));
}

/// What the sidecar logged about the request, and what the backend got.
pub(super) fn outcome(response: &BackendResponse, took: Duration, log: &[Value]) {
    for line in log.iter().filter(|line| line.get("attempts").is_some()) {
        let attempts = split_attempts(field(line, "attempts"));
        let labels = std::iter::once("attempts").chain(std::iter::repeat(""));
        labels
            .zip(attempts)
            .for_each(|(label, attempt)| row(label, attempt));
        row("result", field(line, "result"));
    }
    let is_diagnosed = |line: &&Value| line.get("state").is_some() && line.get("cause").is_some();
    for line in log.iter().filter(is_diagnosed) {
        let provider = field(line, "provider");
        let cause = field(line, "cause");
        row(
            field(line, "state"),
            format_args!("{provider}, for {cause}"),
        );
        let labels = std::iter::once("what to do").chain(std::iter::repeat(""));
        for (label, step) in labels.zip(render_steps(&remedy_steps(field(line, "remedy")))) {
            row(label, step);
        }
    }
    let retry_after = response
        .retry_after
        .as_ref()
        .map(|seconds| format!(", Retry-After {seconds}"))
        .unwrap_or_default();
    let status = response.status;
    let took = took.as_millis();
    row(
        "backend gets",
        format_args!("{status}{retry_after} in {took} ms: {}", response.body),
    );
}

fn field<'a>(line: &'a Value, key: &str) -> &'a str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The attempts of a log line. An attempt begins with `provider/kind`; a provider's message may
/// contain the separator.
fn split_attempts(attempts: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in attempts.split("; ") {
        let is_attempt = piece
            .split(' ')
            .next()
            .is_some_and(|word| word.contains('/'));
        match found.last_mut() {
            Some(last) if !is_attempt => {
                last.push_str("; ");
                last.push_str(piece);
            }
            _ => found.push(piece.to_owned()),
        }
    }
    found
}

/// The metrics that the scenes moved.
pub(super) fn metrics(admin: SocketAddr, page: &str) {
    let bold = anstyle::Style::new().bold();
    output::line(format_args!(
        "{bold}    The metrics of these scenes (http://{admin}/metrics){bold:#}"
    ));
    let is_shown = |line: &&str| {
        let name = line.strip_prefix("sms_sidecar_").unwrap_or_default();
        SHOWN_METRICS.iter().any(|shown| name.starts_with(shown)) && !line.ends_with(" 0")
    };
    for line in page.lines().filter(is_shown) {
        output::line(format_args!("    {line}"));
    }
    output::line("");
}

/// The addresses and the request of a demo that keeps running.
pub(super) struct TryIt<'a> {
    pub(super) proxy: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) config: &'a Path,
    pub(super) path: &'a str,
    pub(super) body: &'a str,
}

/// What to try while the demo keeps running.
pub(super) fn try_it(demo: &TryIt<'_>) {
    let TryIt {
        proxy,
        admin,
        path,
        body,
        ..
    } = demo;
    let config = demo.config.display();
    output::line("\nStill up, with every account working.");
    row("status page", format_args!("http://{admin}/"));
    row("config", config.to_string());
    output::line(format_args!(
        "Try:\n  curl -i http://{proxy}{path} -H 'Content-Type: application/json' -d '{body}'\n  sms-sidecar status --config {config}\nCtrl-C ends it."
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_split_where_the_next_one_begins() {
        let line = "a/send rejected 401 provider_message=\"no; closed\"; b/send accepted 200 1ms";
        assert_eq!(
            split_attempts(line),
            [
                "a/send rejected 401 provider_message=\"no; closed\"",
                "b/send accepted 200 1ms"
            ]
        );
    }
}
