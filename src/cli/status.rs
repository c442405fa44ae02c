//! `status`: the facts of the status page on a terminal. What stands first is what somebody asks at night;
//! colour repeats what sign and word say already, and is there on a terminal only.

use std::fmt::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, bail};
use http::{Method, StatusCode};
use serde::Deserialize as _;
use serde_json::Value;

use crate::cli::control::{Running, word};
use crate::cli::out;
use crate::telemetry::status::{Able, Call, Provider, Route, Status, Vault, clock};

/// Whether codes arrive, and how every route and provider stands in the running sidecar.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 every route can deliver; 1 one cannot, or none; 2 no sidecar answered.")]
pub(crate) struct Args {
    #[command(flatten)]
    running: Running,
    /// How many of the last calls to list, at most 50; `--json` has them all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    calls: usize,
}

/// 0: every route can deliver; 1: one cannot, or none.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (code, answer) = args.running.ask(Method::GET, "/status", &Value::Null)?;
    if code != StatusCode::OK {
        bail!("{}", word(&answer, "error"));
    }
    let status = Status::deserialize(&answer).context("the sidecar answered what this command cannot read; are both of one version?")?;
    if args.running.json {
        out::line(&answer);
    } else {
        out::line(told(&status, args.calls).trim_end());
    }
    let stuck = status.routes.iter().any(|route| !route.can_deliver) || status.answer.able == Able::Nothing;
    Ok(ExitCode::from(u8::from(stuck)))
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// All of it, as people read it.
fn told(status: &Status, calls: usize) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write(&mut text, status, calls).unwrap_or_default();
    text
}

fn write(text: &mut String, status: &Status, calls: usize) -> std::fmt::Result {
    let (sign, style) = answer_sign(status.answer.able);
    writeln!(text, "{style}{sign}{style:#} {BOLD}{}{BOLD:#}", plain(&status.answer.says))?;
    writeln!(text, "  {}", plain(&status.answer.because))?;
    for also in &status.answer.also {
        writeln!(text, "  {WARN}!{WARN:#} {}", plain(also))?;
    }
    head(text, "Routes")?;
    let width = widest(status.routes.iter().map(|route| route.route.as_str()));
    status.routes.iter().try_for_each(|each| route(text, each, width))?;
    head(text, "Providers")?;
    let width = widest(status.providers.iter().map(|provider| provider.provider.as_str()));
    status.providers.iter().try_for_each(|each| provider(text, each, width, &status.at))?;
    if !status.vaults.is_empty() {
        head(text, "Vaults")?;
        status.vaults.iter().try_for_each(|each| vault(text, each, &status.at))?;
    }
    setup(text, status)?;
    listed(text, status, calls)
}

fn head(text: &mut String, title: &str) -> std::fmt::Result {
    writeln!(text, "\n{BOLD}{title}{BOLD:#}")
}

const fn answer_sign(able: Able) -> (&'static str, Style) {
    match able {
        Able::Yes | Able::Idle | Able::Watching => ("●", GOOD),
        Able::Backup | Able::Partly | Able::Failing => ("▲", WARN),
        Able::No | Able::Nothing => ("✕", BAD),
    }
}

fn route(text: &mut String, route: &Route, width: usize) -> std::fmt::Result {
    let (sign, style) = if route.can_deliver { ("●", GOOD) } else { ("✕", BAD) };
    let whom = if route.recipients.is_empty() { String::new() } else { format!("  {DIM}to {}{DIM:#}", plain(&route.recipients.join(" "))) };
    let order = plain(&route.providers.join(" → "));
    writeln!(text, "  {style}{sign}{style:#} {:width$}  {}{whom}  {DIM}{order}{DIM:#}", plain(&route.route), plain(&route.says))
}

fn provider(text: &mut String, provider: &Provider, width: usize, now: &str) -> std::fmt::Result {
    let (sign, style) = standing_sign(provider);
    let since = provider.since.as_deref().filter(|_| provider.standing != "open");
    let since = since.map(|since| format!(" since {}", clock(since, now))).unwrap_or_default();
    let name = plain(&provider.provider);
    writeln!(text, "  {style}{sign}{style:#} {name:width$}  {style}{}{style:#}{DIM}{since}{DIM:#}", plain(&provider.says))?;
    let mut fact = |label: &str, words: &str| writeln!(text, "      {DIM}{label:<10}{DIM:#} {}", plain(words));
    if let Some(cause) = &provider.cause {
        fact("cause", &sure(cause, provider))?;
    }
    if let Some(evidence) = &provider.evidence {
        fact("evidence", evidence)?;
    }
    if let Some(remedy) = &provider.remedy {
        fact("to do", remedy)?;
    }
    fact("last hour", &format!("{}  {}", spark(provider), provider.hour.says()))?;
    if provider.credential.is_some() {
        fact("credential", &credential(provider, now))?;
    }
    match &provider.balance {
        Some(balance) => {
            let days = balance.days().map_or_else(String::new, |days| format!(", about {days:.0} days"));
            let pace = balance.spent_a_day.map_or_else(String::new, |pace| format!("; {pace:.0} go in a day"));
            fact("balance", &format!("{} {}{days}, said at {}{pace}", balance.value, balance.unit, clock(&balance.at, now)))
        }
        None => Ok(()),
    }
}

/// `credential-rejected (ambiguous, or ip-not-allowed)`.
fn sure(cause: &str, provider: &Provider) -> String {
    let certainty = provider.certainty.as_deref().unwrap_or_default();
    match (certainty.is_empty(), provider.alternatives.as_slice()) {
        (true, _) => cause.to_owned(),
        (false, []) => format!("{cause} ({certainty})"),
        (false, others) => format!("{cause} ({certainty}, or {})", others.join(" or ")),
    }
}

fn credential(provider: &Provider, now: &str) -> String {
    let entry = provider.credential.as_deref().unwrap_or_default();
    if provider.credential_version == 0 {
        return format!("{entry}, never read");
    }
    let since = provider.credential_since.as_deref().map(|since| format!(" since {}", clock(since, now))).unwrap_or_default();
    let token = provider.token_expires.as_deref().map(|end| format!(", token until {}", clock(end, now))).unwrap_or_default();
    format!("{entry}, version {}{since}{token}", provider.credential_version)
}

fn standing_sign(provider: &Provider) -> (&'static str, Style) {
    match provider.standing.as_str() {
        "resting" => ("▲", WARN),
        "paused" => ("‖", WARN),
        _ if provider.can_deliver && provider.failed_at.is_some() => ("▲", WARN),
        _ if provider.can_deliver => ("●", GOOD),
        _ => ("✕", BAD),
    }
}

/// The last hour, a sign for two minutes: how much was accepted, and `×` where anything was not.
fn spark(provider: &Provider) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let pairs = |row: &[u32]| row.chunks(2).map(|pair| pair.iter().map(|count| u64::from(*count)).sum()).collect::<Vec<u64>>();
    let accepted = pairs(&provider.hour.accepted);
    let rest = [&provider.hour.refused, &provider.hour.unknown, &provider.hour.unsent].map(|row| pairs(row));
    let most = accepted.iter().copied().max().unwrap_or_default().max(1);
    let sign = |(at, count): (usize, &u64)| {
        if rest.iter().any(|row| row.get(at).is_some_and(|count| *count > 0)) {
            return '×';
        }
        let height = usize::try_from((count * 8).div_ceil(most)).unwrap_or_default();
        height.checked_sub(1).and_then(|height| HEIGHTS.get(height)).copied().unwrap_or('·')
    };
    accepted.iter().enumerate().map(sign).collect()
}

fn vault(text: &mut String, vault: &Vault, now: &str) -> std::fmt::Result {
    writeln!(text, "  {} {DIM}({}){DIM:#}", plain(&vault.vault), plain(&vault.kind))?;
    for entry in &vault.entries {
        let path = if entry.path.is_empty() { "(all of it)" } else { &entry.path };
        let at = entry.read_at.as_deref().map(|at| clock(at, now)).unwrap_or_default();
        match &entry.failing_since {
            None => writeln!(text, "    {GOOD}●{GOOD:#} {}  {} {DIM}at {at}{DIM:#}", plain(path), plain(&entry.result))?,
            Some(since) => {
                let problem = plain(entry.problem.as_deref().unwrap_or_default());
                writeln!(text, "    {BAD}✕{BAD:#} {}  {} since {}: {problem}", plain(path), plain(&entry.result), clock(since, now))?;
            }
        }
    }
    Ok(())
}

fn setup(text: &mut String, status: &Status) -> std::fmt::Result {
    let (config, build) = (&status.config, &status.build);
    head(text, "Config and build")?;
    let loaded = config.loaded_at.as_deref().map(|at| format!(", loaded at {}", clock(at, &status.at))).unwrap_or_default();
    writeln!(text, "  {}{loaded}, mode {}", plain(&config.file), plain(&config.mode))?;
    writeln!(text, "  listens on {}", plain(&config.listen.join(", ")))?;
    if let Some(reload) = &config.reload {
        writeln!(text, "  last reload at {}: {}", clock(&reload.at, &status.at), plain(&reload.result))?;
        for line in reload.problem.iter().flat_map(|problem| problem.lines()) {
            writeln!(text, "    {}", plain(line))?;
        }
    }
    if let Some(end) = &config.ca_expires {
        writeln!(text, "  local CA until {}", clock(end, &status.at))?;
    }
    for door in &status.doors {
        let last = door.last_at.as_deref().map(|at| format!(", the last at {}", clock(at, &status.at))).unwrap_or_default();
        let counts = format!("{} calls, {} tunnelled, {} turned away", door.calls, door.tunnelled, door.rejected);
        writeln!(text, "  door {}: {counts}{last}", plain(&door.door))?;
    }
    let started =
        build.started_at.as_deref().map(|at| format!(", up since {}, PID {}", clock(at, &status.at), build.pid)).unwrap_or_default();
    writeln!(text, "  sms-sidecar {} ({}){started}", plain(&build.version), plain(&build.commit))
}

fn listed(text: &mut String, status: &Status, most: usize) -> std::fmt::Result {
    if status.calls.is_empty() {
        return Ok(());
    }
    head(text, "Last calls")?;
    status.calls.iter().take(most).try_for_each(|each| call(text, each, &status.at))?;
    match status.calls.len().saturating_sub(most) {
        0 => Ok(()),
        more => writeln!(text, "  {DIM}{more} more: --calls {}{DIM:#}", status.calls.len()),
    }
}

fn call(text: &mut String, call: &Call, now: &str) -> std::fmt::Result {
    let (sign, style) = match call.verdict.as_str() {
        "carried" if call.cause.is_some() => ("✕", BAD),
        "accepted" | "carried" | "answered" => ("●", GOOD),
        "message-refused" | "rejected" => ("▲", WARN),
        _ => ("✕", BAD),
    };
    let whom = call.recipient.as_deref().or(call.dialect.as_deref()).unwrap_or(&call.door);
    let cause = call.cause.as_deref().map(|cause| format!(" {cause}")).unwrap_or_default();
    let repeat = call.repeat.then(|| "repeat, not sent again".to_owned());
    let tried: Vec<String> = repeat.into_iter().chain(call.attempts.iter().map(attempt)).collect();
    writeln!(
        text,
        "  {DIM}{}{DIM:#}  {style}{sign}{style:#} {:13} {:9} {}{cause} {DIM}{} ms  {}{DIM:#}",
        clock(&call.at, now),
        plain(whom),
        plain(&call.operation),
        plain(&call.verdict),
        call.took_ms,
        plain(&tried.join(", "))
    )
}

fn attempt(attempt: &crate::telemetry::status::Attempt) -> String {
    let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
    format!("{} {}{status}", attempt.provider, attempt.outcome)
}

fn widest<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    words.map(|word| word.chars().count()).max().unwrap_or_default()
}

/// Foreign words move no cursor here.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::{Answer, Hour};

    fn hour(accepted: &[u32], refused: &[u32]) -> Hour {
        let row = |last: &[u32]| [vec![0; 60 - last.len()], last.to_vec()].concat();
        Hour { accepted: row(accepted), refused: row(refused), unknown: row(&[]), unsent: row(&[]) }
    }

    #[test]
    fn the_strip_shows_how_much_and_where_it_failed() {
        let provider = Provider { hour: hour(&[1, 0, 0, 0, 4, 4], &[1, 0]), ..Provider::default() };
        assert_eq!(spark(&provider), format!("{}▁·×", "·".repeat(27)));
        let steady = Provider { hour: hour(&[1, 0, 0, 0, 4, 4], &[]), ..Provider::default() };
        assert_eq!(spark(&steady), format!("{}▁·█", "·".repeat(27)));
    }

    #[test]
    fn what_somebody_acts_on_is_a_line_of_its_own_and_foreign_words_move_no_cursor() {
        let provider = Provider {
            provider: "main".into(),
            standing: "aside".into(),
            says: "set aside".into(),
            cause: Some("credential-rejected".into()),
            certainty: Some("ambiguous".into()),
            alternatives: vec!["ip-not-allowed".into()],
            evidence: Some("it said \u{1b}[2J\rpwned".into()),
            remedy: Some("put it right".into()),
            ..Provider::default()
        };
        let answer = Answer { able: Able::No, says: "No: no route can deliver.".into(), ..Answer::default() };
        let status = Status { answer, providers: vec![provider], ..Status::default() };
        let text = anstream::adapter::strip_str(&told(&status, 10)).to_string();
        assert!(text.starts_with("✕ No: no route can deliver.\n"), "{text}");
        assert!(text.contains("✕ main  set aside") && text.contains("\n      to do      put it right\n"), "{text}");
        assert!(text.contains("credential-rejected (ambiguous, or ip-not-allowed)"), "{text}");
        assert!(!told(&status, 10).contains("\u{1b}[2J") && !text.contains('\r'), "{text:?}");
    }
}
