//! `status`: the facts of the status page on a terminal. What stands first is what somebody asks at night;
//! colour repeats what sign and word say already, and is there on a terminal only.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use http::Method;

use crate::cli::control::ControlArgs;
use crate::cli::layout::render_steps;
use crate::diagnosis::remedy_steps;
use crate::sms::Cause;
use crate::status::{
    BalanceStatus, BuildStatus, ConfigStatus, ConnectionsStatus, Deliverability, EntrypointStatus,
    ProviderStatus, ReloadStatus, RequestStatus, RouteStatus, Status, VaultStatus, add_distances,
    cause_phrase, full_time, short_time,
};

/// The alternatives have lines of their own.
const NO_ALTERNATIVES: [&str; 0] = [];

/// Whether codes arrive, and the state of every route and provider in the running sidecar.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 every route can deliver; 1 one cannot, or none; 2 no sidecar answered."
)]
pub(crate) struct Args {
    #[command(flatten)]
    sidecar: ControlArgs,
    /// How many of the last requests to list, at most 50; `--json` has them all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    requests: usize,
}

impl Args {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        self.sidecar.config()
    }
}

/// 0: every route can deliver; 1: one cannot, or none, or the sidecar itself denies the backend's requests.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status: Status = args.sidecar.request(Method::GET, "/status", Vec::new())?;
    args.sidecar.print(&status, |status| {
        render(status, args.requests).trim_end().to_owned()
    })?;
    let stuck = status.routes.iter().any(|route| !route.can_deliver)
        || matches!(
            status.headline.deliverability,
            Deliverability::NotConfigured | Deliverability::Unavailable
        );
    Ok(ExitCode::from(u8::from(stuck)))
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// All of it, as people read it.
fn render(status: &Status, calls: usize) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write_status(&mut text, status, calls).unwrap_or_default();
    text
}

fn write_status(text: &mut String, status: &Status, calls: usize) -> std::fmt::Result {
    write_headline(text, status)?;
    write_heading(text, "Routes")?;
    let width = max_width(status.routes.iter().map(|route| route.route.as_str()));
    status
        .routes
        .iter()
        .try_for_each(|each| write_route(text, each, width))?;
    write_heading(text, "Providers")?;
    let width = max_width(
        status
            .providers
            .iter()
            .map(|provider| provider.provider.as_str()),
    );
    status
        .providers
        .iter()
        .try_for_each(|each| write_provider(text, each, width, &status.at))?;
    if !status.vaults.is_empty() {
        write_heading(text, "Vaults")?;
        status
            .vaults
            .iter()
            .try_for_each(|each| write_vault(text, each, &status.at))?;
    }
    write_config(text, status)?;
    write_requests(text, status, calls)
}

/// Whether codes arrive, at which sidecar, and what else needs attention.
fn write_headline(text: &mut String, status: &Status) -> std::fmt::Result {
    let (sign, style) = headline_icon(status.headline.deliverability);
    writeln!(
        text,
        "{style}{sign}{style:#} {BOLD}{}{BOLD:#}",
        replace_control_chars(&status.headline.summary)
    )?;
    let location = status.location();
    if !location.is_empty() {
        writeln!(
            text,
            "  {DIM}{}, {}{DIM:#}",
            replace_control_chars(&location),
            short_time(&status.at, &status.at)
        )?;
    }
    writeln!(
        text,
        "  {}",
        replace_control_chars(&status.headline.details)
    )?;
    for also in &status.headline.warnings {
        let also = add_distances(also, &status.at);
        writeln!(text, "  {WARN}!{WARN:#} {}", replace_control_chars(&also))?;
    }
    Ok(())
}

fn write_heading(text: &mut String, title: &str) -> std::fmt::Result {
    writeln!(text, "\n{BOLD}{title}{BOLD:#}")
}

const fn headline_icon(able: Deliverability) -> (&'static str, Style) {
    match able {
        Deliverability::Delivering | Deliverability::Idle | Deliverability::Observing => {
            ("●", GOOD)
        }
        Deliverability::OnBackup | Deliverability::Partial | Deliverability::Failing => ("▲", WARN),
        Deliverability::Unavailable | Deliverability::NotConfigured => ("✕", BAD),
    }
}

fn write_route(text: &mut String, route: &RouteStatus, width: usize) -> std::fmt::Result {
    let (sign, style) = if route.can_deliver {
        ("●", GOOD)
    } else {
        ("✕", BAD)
    };
    let whom = if route.recipients.is_empty() {
        String::new()
    } else {
        format!(
            "  {DIM}to {}{DIM:#}",
            replace_control_chars(&route.recipients.join(" "))
        )
    };
    let order = replace_control_chars(&route.providers.join(" → "));
    writeln!(
        text,
        "  {style}{sign}{style:#} {:width$}  {}{whom}  {DIM}{order}{DIM:#}",
        replace_control_chars(&route.route),
        replace_control_chars(&route.summary)
    )
}

fn write_provider(
    text: &mut String,
    provider: &ProviderStatus,
    width: usize,
    now: &str,
) -> std::fmt::Result {
    write_provider_state(text, provider, width, now)?;
    if let Some(cause) = &provider.cause {
        let phrase = cause_phrase(cause, provider.certainty.as_deref(), &NO_ALTERNATIVES);
        write_fact(text, "cause", &phrase)?;
        write_candidates(text, cause, &provider.alternatives)?;
    }
    if let Some(evidence) = &provider.evidence {
        write_fact(text, "evidence", evidence)?;
    }
    if let Some(remedy) = &provider.remedy {
        let labels = std::iter::once("to do").chain(std::iter::repeat(""));
        for (label, line) in labels.zip(render_steps(&remedy_steps(remedy))) {
            write_fact(text, label, &line)?;
        }
    }
    if provider.last_accepted_at.is_some() || provider.recent.sent > 0 {
        write_fact(text, "recent", &traffic_label(provider, now))?;
    }
    let hour = format!("{}  {}", sparkline(provider), provider.hour.summary());
    write_fact(text, "last hour", &hour)?;
    if provider.credential.is_some() {
        write_fact(text, "credential", &credential_label(provider, now))?;
    }
    if let Some(balance) = &provider.balance {
        write_fact(text, "balance", &balance_label(balance, now))?;
    }
    Ok(())
}

/// The possible causes, in the order in which to check them.
fn write_candidates(text: &mut String, cause: &str, alternatives: &[String]) -> std::fmt::Result {
    if alternatives.is_empty() {
        return Ok(());
    }
    let labels = std::iter::once("check").chain(std::iter::repeat(""));
    let causes = std::iter::once(cause).chain(alternatives.iter().map(String::as_str));
    for ((label, cause), place) in labels.zip(causes).zip(1..) {
        let meaning = cause.parse().map(Cause::meaning);
        let meaning = meaning.map(|meaning| format!(": {meaning}"));
        let line = format!("{place}. {cause}{}", meaning.unwrap_or_default());
        write_fact(text, label, &line)?;
    }
    Ok(())
}

/// The first line of a provider: its name, its state, and since when it is not healthy.
fn write_provider_state(
    text: &mut String,
    provider: &ProviderStatus,
    width: usize,
    now: &str,
) -> std::fmt::Result {
    let (sign, style) = state_icon(provider);
    let since = provider
        .since
        .as_deref()
        .filter(|_| provider.state != "healthy")
        .map(|since| format!(" since {}", full_time(since, now)))
        .unwrap_or_default();
    let name = replace_control_chars(&provider.provider);
    writeln!(
        text,
        "  {style}{sign}{style:#} {name:width$}  {style}{}{style:#}{DIM}{since}{DIM:#}",
        replace_control_chars(&add_distances(&provider.summary, now))
    )
}

/// One fact of a provider, on a line of its own.
fn write_fact(text: &mut String, label: &str, words: &str) -> std::fmt::Result {
    writeln!(
        text,
        "      {DIM}{label:<10}{DIM:#}  {}",
        replace_control_chars(words)
    )
}

/// `last accepted 16:20:05 UTC (3 min ago); in 15 min 7 of 8 accepted, 0.5 per minute, p95 240 ms`.
fn traffic_label(provider: &ProviderStatus, now: &str) -> String {
    let last = match &provider.last_accepted_at {
        Some(at) => format!("last accepted {}", full_time(at, now)),
        None => "none accepted yet".to_owned(),
    };
    format!("{last}; in 15 min {}", provider.recent.summary())
}

fn balance_label(balance: &BalanceStatus, now: &str) -> String {
    let days = balance
        .days_left()
        .map_or_else(String::new, |days| format!(", about {days:.0} days"));
    let pace = balance
        .daily_spend
        .map_or_else(String::new, |pace| format!("; {pace:.0} go in a day"));
    format!(
        "{} {}{days}, said at {}{pace}",
        balance.value,
        balance.unit,
        full_time(&balance.at, now)
    )
}

fn credential_label(provider: &ProviderStatus, now: &str) -> String {
    let entry = provider.credential.as_deref().unwrap_or_default();
    if provider.credential_version == 0 {
        return format!("{entry}, never read");
    }
    let since = provider
        .credential_since
        .as_deref()
        .map(|since| format!(" since {}", full_time(since, now)))
        .unwrap_or_default();
    let token = provider
        .token_expires_at
        .as_deref()
        .map(|end| format!(", token until {}", full_time(end, now)))
        .unwrap_or_default();
    format!(
        "{entry}, version {}{since}{token}",
        provider.credential_version
    )
}

fn state_icon(provider: &ProviderStatus) -> (&'static str, Style) {
    match provider.state.as_str() {
        "cooldown" => ("▲", WARN),
        "paused" => ("‖", WARN),
        _ if provider.can_deliver && provider.failed_at.is_some() => ("▲", WARN),
        _ if provider.can_deliver => ("●", GOOD),
        _ => ("✕", BAD),
    }
}

/// The last hour, a sign for two minutes: how much was accepted, and `×` where anything was not.
fn sparkline(provider: &ProviderStatus) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let pairs = |row: &[u32]| {
        row.chunks(2)
            .map(|pair| pair.iter().map(|count| u64::from(*count)).sum())
            .collect::<Vec<u64>>()
    };
    let accepted = pairs(&provider.hour.accepted);
    let rest = [
        &provider.hour.rejected,
        &provider.hour.unknown,
        &provider.hour.unsent,
    ]
    .map(|row| pairs(row));
    let most = accepted.iter().copied().max().unwrap_or_default().max(1);
    let sign = |(at, count): (usize, &u64)| {
        if rest
            .iter()
            .any(|row| row.get(at).is_some_and(|count| *count > 0))
        {
            return '×';
        }
        let height = usize::try_from((count * 8).div_ceil(most)).unwrap_or_default();
        height
            .checked_sub(1)
            .and_then(|height| HEIGHTS.get(height))
            .copied()
            .unwrap_or('·')
    };
    accepted.iter().enumerate().map(sign).collect()
}

fn write_vault(text: &mut String, vault: &VaultStatus, now: &str) -> std::fmt::Result {
    writeln!(
        text,
        "  {} {DIM}({}){DIM:#}",
        replace_control_chars(&vault.vault),
        replace_control_chars(&vault.kind)
    )?;
    for entry in &vault.entries {
        let path = if entry.path.is_empty() {
            "(all of it)"
        } else {
            &entry.path
        };
        let at = entry
            .read_at
            .as_deref()
            .map(|at| full_time(at, now))
            .unwrap_or_default();
        match &entry.failing_since {
            None => writeln!(
                text,
                "    {GOOD}●{GOOD:#} {}  {} {DIM}at {at}{DIM:#}",
                replace_control_chars(path),
                replace_control_chars(&entry.result)
            )?,
            Some(since) => {
                let problem = replace_control_chars(entry.problem.as_deref().unwrap_or_default());
                writeln!(
                    text,
                    "    {BAD}✕{BAD:#} {}  {} since {}: {problem}",
                    replace_control_chars(path),
                    replace_control_chars(&entry.result),
                    full_time(since, now)
                )?;
            }
        }
    }
    Ok(())
}

fn write_config(text: &mut String, status: &Status) -> std::fmt::Result {
    let config = &status.config;
    let now = &status.at;
    write_heading(text, "Config and build")?;
    write_config_file(text, config, now)?;
    if let Some(reload) = &config.last_reload {
        write_reload(text, reload, now)?;
    }
    if let Some(end) = &config.ca_expires_at {
        writeln!(text, "  local CA until {}", full_time(end, now))?;
    }
    status
        .entrypoints
        .iter()
        .try_for_each(|each| write_entrypoint(text, each, now))?;
    write_connections(text, &status.connections, now)?;
    write_build(text, &status.build, now)
}

/// The config file, its mode, and where the sidecar listens.
fn write_config_file(text: &mut String, config: &ConfigStatus, now: &str) -> std::fmt::Result {
    let loaded = config
        .loaded_at
        .as_deref()
        .map(|at| format!(", loaded at {}", full_time(at, now)))
        .unwrap_or_default();
    writeln!(
        text,
        "  {}{loaded}, mode {}",
        replace_control_chars(&config.file),
        replace_control_chars(&config.mode)
    )?;
    writeln!(
        text,
        "  listens on {}",
        replace_control_chars(&config.listen.join(", "))
    )
}

fn write_reload(text: &mut String, reload: &ReloadStatus, now: &str) -> std::fmt::Result {
    writeln!(
        text,
        "  last reload at {}{}: {}",
        full_time(&reload.at, now),
        reload.by.as_ref().map_or_else(String::new, |by| format!(
            " by {}",
            replace_control_chars(by)
        )),
        replace_control_chars(&reload.result)
    )?;
    for line in reload.problem.iter().flat_map(|problem| problem.lines()) {
        writeln!(text, "    {}", replace_control_chars(line))?;
    }
    Ok(())
}

fn write_entrypoint(
    text: &mut String,
    entrypoint: &EntrypointStatus,
    now: &str,
) -> std::fmt::Result {
    let last = entrypoint
        .last_at
        .as_deref()
        .map(|at| format!(", the last at {}", full_time(at, now)))
        .unwrap_or_default();
    let counts = format!(
        "{} requests, {} tunnelled, {} denied",
        entrypoint.requests, entrypoint.tunnelled, entrypoint.denied
    );
    writeln!(
        text,
        "  entrypoint {}: {counts}{last}",
        replace_control_chars(&entrypoint.entrypoint)
    )
}

/// How many connections are open, and whether any were denied. A sidecar before this version does not report it.
fn write_connections(
    text: &mut String,
    connections: &ConnectionsStatus,
    now: &str,
) -> std::fmt::Result {
    if connections.limit == 0 {
        return Ok(());
    }
    let denied = match &connections.last_denied_at {
        Some(at) => format!(
            ", {} denied, the last at {}",
            connections.denied,
            short_time(at, now)
        ),
        None => String::new(),
    };
    writeln!(
        text,
        "  connections: {} of {} open{denied}",
        connections.open, connections.limit
    )
}

fn write_build(text: &mut String, build: &BuildStatus, now: &str) -> std::fmt::Result {
    let started = build
        .started_at
        .as_deref()
        .map(|at| format!(", up since {}, PID {}", full_time(at, now), build.pid))
        .unwrap_or_default();
    writeln!(
        text,
        "  sms-sidecar {} ({}){started}",
        replace_control_chars(&build.version),
        replace_control_chars(&build.commit)
    )
}

fn write_requests(text: &mut String, status: &Status, most: usize) -> std::fmt::Result {
    if status.requests.is_empty() {
        return Ok(());
    }
    write_heading(text, "Last requests")?;
    status
        .requests
        .iter()
        .take(most)
        .try_for_each(|each| write_request(text, each, &status.at))?;
    match status.requests.len().saturating_sub(most) {
        0 => Ok(()),
        more => writeln!(
            text,
            "  {DIM}{more} more: --requests {}{DIM:#}",
            status.requests.len()
        ),
    }
}

fn write_request(text: &mut String, call: &RequestStatus, now: &str) -> std::fmt::Result {
    let (sign, style) = match call.result.as_str() {
        "passed-through" if call.cause.is_some() => ("✕", BAD),
        "accepted" | "passed-through" | "answered-locally" => ("●", GOOD),
        "message-rejected" | "denied" => ("▲", WARN),
        _ => ("✕", BAD),
    };
    let whom = call
        .recipient
        .as_deref()
        .or(call.dialect.as_deref())
        .unwrap_or(&call.entrypoint);
    let cause = call
        .cause
        .as_deref()
        .map(|cause| format!(" {cause}"))
        .unwrap_or_default();
    let repeat = call
        .duplicate
        .then(|| "duplicate, not sent again".to_owned());
    let tried: Vec<String> = repeat
        .into_iter()
        .chain(call.attempts.iter().map(attempt_label))
        .collect();
    writeln!(
        text,
        "  {DIM}{}{DIM:#}  {style}{sign}{style:#} {:13} {:9} {}{cause} {DIM}{} ms  {}{DIM:#}",
        short_time(&call.at, now),
        replace_control_chars(whom),
        replace_control_chars(&call.operation),
        replace_control_chars(&call.result),
        call.took_ms,
        replace_control_chars(&tried.join(", "))
    )
}

fn attempt_label(attempt: &crate::status::AttemptStatus) -> String {
    let status = attempt
        .status
        .map(|status| format!(" {status}"))
        .unwrap_or_default();
    format!("{} {}{status}", attempt.provider, attempt.outcome)
}

fn max_width<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    words
        .map(|word| word.chars().count())
        .max()
        .unwrap_or_default()
}

/// Foreign words move no cursor here.
fn replace_control_chars(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Headline, SendsLastHour};

    fn hour(accepted: &[u32], refused: &[u32]) -> SendsLastHour {
        let row = |last: &[u32]| [vec![0; 60 - last.len()], last.to_vec()].concat();
        SendsLastHour {
            accepted: row(accepted),
            rejected: row(refused),
            unknown: row(&[]),
            unsent: row(&[]),
        }
    }

    #[test]
    fn the_strip_shows_how_much_and_where_it_failed() {
        let provider = ProviderStatus {
            hour: hour(&[1, 0, 0, 0, 4, 4], &[1, 0]),
            ..ProviderStatus::default()
        };
        assert_eq!(sparkline(&provider), format!("{}▁·×", "·".repeat(27)));
        let steady = ProviderStatus {
            hour: hour(&[1, 0, 0, 0, 4, 4], &[]),
            ..ProviderStatus::default()
        };
        assert_eq!(sparkline(&steady), format!("{}▁·█", "·".repeat(27)));
    }

    #[test]
    fn connections_are_one_line() {
        let line = |connections| {
            let mut text = String::new();
            write_connections(&mut text, &connections, "2026-11-25T20:50:00Z").unwrap();
            text
        };
        let open = ConnectionsStatus {
            open: 3,
            limit: 1024,
            ..ConnectionsStatus::default()
        };
        assert_eq!(line(open.clone()), "  connections: 3 of 1024 open\n");
        let denied = ConnectionsStatus {
            denied: 12,
            last_denied_at: Some("2026-11-25T20:46:00Z".into()),
            ..open
        };
        assert_eq!(
            line(denied),
            "  connections: 3 of 1024 open, 12 denied, the last at 20:46:00 UTC\n"
        );
        assert_eq!(line(ConnectionsStatus::default()), "");
    }

    #[test]
    fn what_somebody_acts_on_is_a_line_of_its_own_and_foreign_words_move_no_cursor() {
        let provider = ProviderStatus {
            provider: "main".into(),
            state: "quarantined".into(),
            summary: "quarantined".into(),
            cause: Some("credential-rejected".into()),
            certainty: Some("ambiguous".into()),
            alternatives: vec!["ip-not-allowed".into()],
            evidence: Some("it said \u{1b}[2J\rpwned".into()),
            remedy: Some("put it right".into()),
            ..ProviderStatus::default()
        };
        let answer = Headline {
            deliverability: Deliverability::Unavailable,
            summary: "No: no route can deliver.".into(),
            ..Headline::default()
        };
        let status = Status {
            headline: answer,
            providers: vec![provider],
            ..Status::default()
        };
        let text = anstream::adapter::strip_str(&render(&status, 10)).to_string();
        assert!(text.starts_with("✕ No: no route can deliver.\n"), "{text}");
        assert!(
            text.contains("✕ main  quarantined")
                && text.contains("\n      to do       put it right\n"),
            "{text}"
        );
        assert!(
            text.contains("cause       credential-rejected (ambiguous)\n")
                && text.contains("      check       1. credential-rejected: The service does ")
                && text.contains("\n                  2. ip-not-allowed: The "),
            "{text}"
        );
        assert!(
            !render(&status, 10).contains("\u{1b}[2J") && !text.contains('\r'),
            "{text:?}"
        );
    }
}
