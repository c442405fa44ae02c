//! The words of the status: pure functions from what is known to sentences somebody reads at night.

use serde::{Deserialize, Serialize};

use crate::diagnosis::command;
pub(super) use crate::telemetry::status::Answer;
use crate::telemetry::status::{Config, Door, Messages, Provider, Route, Status};

/// Whether codes arrive, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Able {
    /// Nothing is set up to send.
    #[default]
    Nothing,
    /// Every route can deliver, and messages went.
    Yes,
    /// Every route can deliver; no message came in the last hour.
    Idle,
    /// Every route can deliver, but not by every provider.
    Backup,
    /// Every route could deliver, but of the latest messages at least half were not.
    Failing,
    /// Some routes cannot deliver.
    Partly,
    /// No route can.
    No,
    /// The backend's own requests pass unchanged.
    Watching,
}

impl Able {
    /// As JSON has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Yes => "yes",
            Self::Idle => "idle",
            Self::Backup => "backup",
            Self::Failing => "failing",
            Self::Partly => "partly",
            Self::No => "no",
            Self::Watching => "watching",
        }
    }
}

/// Whether codes arrive. `recent` is of the last five minutes; `last` says when and by whom one went.
pub(super) fn answer(status: &Status, recent: &Messages, last: Option<&str>) -> Answer {
    let (able, says) = verdict(status, recent, last);
    let mut because: Vec<String> = status.providers.iter().filter(|provider| !provider.can_deliver).map(out).collect();
    because.push(went(&status.messages, last));
    Answer { able, says, because: because.join(" "), also: also(status) }
}

fn verdict(status: &Status, recent: &Messages, last: Option<&str>) -> (Able, String) {
    let acting: Vec<&Route> = status.routes.iter().filter(|route| !route.observe).collect();
    let stuck: Vec<&str> = acting.iter().filter(|route| !route.can_deliver).map(|route| route.route.as_str()).collect();
    let missing: Vec<&str> = out_of(status, &acting);
    let first = acting.iter().any(|route| route.providers.first().is_some_and(|first| missing.contains(&first.as_str())));
    let (failed, all) = (recent.failed(), recent.failed() + recent.accepted);
    match (stuck.as_slice(), missing.as_slice()) {
        _ if status.routes.is_empty() => (Able::Nothing, "Nothing is set up to send.".to_owned()),
        _ if acting.is_empty() => (Able::Watching, "Only watching: the backend’s own requests pass unchanged.".to_owned()),
        ([one], _) if acting.len() == 1 => (Able::No, format!("No: route {one} cannot deliver.")),
        (stuck, _) if stuck.len() == acting.len() => (Able::No, "No: no route can deliver.".to_owned()),
        ([one], _) => (Able::Partly, format!("Only in part: route {one} cannot deliver.")),
        ([_, ..], _) => (Able::Partly, format!("Only in part: routes {} cannot deliver.", and(&stuck))),
        _ if failed > 0 && failed * 2 >= all => {
            (Able::Failing, format!("Hardly: {failed} of the last {} not delivered.", failing(all, failed)))
        }
        ([], [_, ..]) if first => (Able::Backup, format!("Yes, by a backup: {} out.", are(&missing))),
        ([], [_, ..]) => (Able::Backup, format!("Yes, but {} out.", are(&missing))),
        ([], []) if status.messages.all() > 0 => (Able::Yes, "Yes, codes arrive.".to_owned()),
        ([], []) if last.is_some() => (Able::Idle, "Ready; no message came in the last hour.".to_owned()),
        ([], []) => (Able::Idle, "Ready; no message has come yet.".to_owned()),
    }
}

/// Providers of these routes that cannot be used now.
fn out_of<'a>(status: &'a Status, routes: &[&Route]) -> Vec<&'a str> {
    let used = |provider: &&Provider| routes.iter().any(|route| route.providers.contains(&provider.provider));
    let out = status.providers.iter().filter(used).filter(|provider| !provider.can_deliver);
    out.map(|provider| provider.provider.as_str()).collect()
}

fn out(provider: &Provider) -> String {
    let why = provider.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{} {}{why}.", provider.provider, state(provider))
}

/// `is set aside`.
fn state(provider: &Provider) -> &'static str {
    match provider.standing.as_str() {
        "resting" => "is resting",
        "aside" => "is set aside",
        "paused" => "is paused by hand",
        _ => "has no credential",
    }
}

/// How the last hour went.
fn went(messages: &Messages, last: Option<&str>) -> String {
    let last = last.map(|last| format!(", {last}")).unwrap_or_default();
    let (all, accepted) = (messages.all(), messages.accepted);
    match all {
        0 => format!("No message came in the last hour{last}."),
        1 => format!("In the last hour the one message was {}accepted{last}.", if accepted == 1 { "" } else { "not " }),
        all if all == accepted => format!("In the last hour all {all} messages were accepted{last}."),
        all => format!("In the last hour {accepted} of {all} messages were accepted{last}."),
    }
}

/// What does not stop a code now and may stop one later.
fn also(status: &Status) -> Vec<String> {
    let mut also: Vec<String> = status.doors.iter().filter_map(|door| barred(door, &status.at)).collect();
    also.extend(status.providers.iter().filter_map(|provider| {
        let (at, cause) = provider.failed_at.as_ref().zip(provider.cause.as_ref())?;
        Some(format!("The last message to {} failed at {} ({cause}).", provider.provider, clock(at, &status.at)))
    }));
    for vault in &status.vaults {
        let failing: Vec<_> = vault.entries.iter().filter(|entry| entry.failing_since.is_some()).collect();
        let since = failing.iter().filter_map(|entry| entry.failing_since.as_deref()).min();
        if let Some(since) = since {
            let kept = failing.iter().any(|entry| entry.good_at.is_some());
            let kept = if kept { "; the last good credentials stay in use" } else { "" };
            also.push(format!("Vault {} cannot be read since {}{kept}.", vault.vault, clock(since, &status.at)));
        }
    }
    if let Some(reload) = status.config.reload.as_ref().filter(|reload| reload.result != "ok") {
        also.push(format!("The reload of {} failed; the config before it stays in force.", clock(&reload.at, &status.at)));
    }
    also.extend(unloaded(&status.config, &status.at));
    also
}

/// That calls for our own hosts do not get in.
fn barred(door: &Door, now: &str) -> Option<String> {
    let barred = door.barred.as_ref()?;
    let (were, last) = if barred.count == 1 { ("1 call was".to_owned(), "") } else { (format!("{} calls were", barred.count), "last ") };
    Some(format!("{were} turned away at door {}, {last}at {}: {}", door.door, clock(&barred.at, now), barred.why))
}

/// That another config stands on the disk than the one in force; a reload that failed with it says so already.
fn unloaded(config: &Config, now: &str) -> Option<String> {
    let changed = config.changed_at.as_deref()?;
    let failed = config.reload.as_ref().filter(|reload| reload.result != "ok");
    if failed.is_some_and(|reload| reload.at.as_str() >= changed) {
        return None;
    }
    // A file that was moved into place can be older than the load.
    let later = config.loaded_at.as_deref().is_none_or(|loaded| loaded <= changed);
    let at = if later { format!("at {} ", clock(changed, now)) } else { String::new() };
    Some(format!("{} was changed {at}after it was loaded: {}.", config.file, command("reload", &config.file)))
}

/// How a provider stands, in a few words; `now` as the status has it.
pub(super) fn standing(provider: &Provider, now: &str) -> String {
    let back = provider.back_at.as_deref();
    let due = back.is_some_and(|back| back <= now);
    match (provider.standing.as_str(), back) {
        ("resting", Some(back)) if !due => format!("rests until {}", clock(back, now)),
        ("resting", _) => "rests; the next message tries it".to_owned(),
        ("aside", Some(back)) if !due => format!("set aside; one message may try it at {}", clock(back, now)),
        ("aside", Some(_)) => "set aside; the next message tries it".to_owned(),
        ("aside", None) => "set aside until something changes".to_owned(),
        ("paused", _) => "paused by hand".to_owned(),
        _ if provider.can_deliver => match &provider.failed_at {
            Some(at) => format!("in use, but its last message failed at {}", clock(at, now)),
            None => "in use".to_owned(),
        },
        _ => "not usable: its credential was never read".to_owned(),
    }
}

/// What to do where no diagnosis says it.
pub(super) fn remedy(provider: &Provider) -> Option<String> {
    match provider.standing.as_str() {
        "paused" => Some(format!("`sms-sidecar resume {}` puts it back", provider.provider)),
        "aside" => Some(format!("when that is in order: `sms-sidecar resume {}`", provider.provider)),
        "resting" => Some("nothing to do: it comes back by itself".to_owned()),
        _ => None,
    }
}

/// How a route stands, in one sentence.
pub(super) fn route(route: &Route, members: &[&Provider]) -> String {
    let names = |able: bool| members.iter().filter(|member| member.can_deliver == able).map(|member| member.provider.as_str()).collect();
    let (able, out): (Vec<&str>, Vec<&str>) = (names(true), names(false));
    let last = route.last_by.as_deref().unwrap_or("another");
    match (able.as_slice(), out.as_slice()) {
        _ if route.observe => "only watched; the backend’s own requests pass unchanged".to_owned(),
        ([], [_]) => "CANNOT deliver: its only provider is out".to_owned(),
        ([], _) => "CANNOT deliver: all its providers are out".to_owned(),
        (able, [_, ..]) => format!("can deliver by {}; {} out", and(able), are(&out)),
        (_, []) if route.backup_since.is_some() => format!("can deliver; the last message went by a backup, {last}"),
        (_, []) => "can deliver".to_owned(),
    }
}

/// How much somebody has to do about it; the least stands last.
pub(super) fn urgency(provider: &Provider) -> u8 {
    match provider.standing.as_str() {
        "aside" => 0,
        "resting" => 2,
        "paused" => 3,
        _ if provider.can_deliver && provider.failed_at.is_none() => 4,
        _ => 1,
    }
}

impl Messages {
    /// Those that a person waited for in vain, or may have.
    fn failed(self) -> u64 {
        self.not_sent + self.in_doubt
    }

    /// A message that is at fault itself counts too: it came.
    fn all(self) -> u64 {
        self.accepted + self.failed() + self.message_refused
    }
}

/// `16:20:05 UTC`, with the day in front if it is another one.
pub fn clock(at: &str, now: &str) -> String {
    let parts = |text: &str| text.split_once('T').map(|(day, time)| (day.to_owned(), time.trim_end_matches('Z').to_owned()));
    match (parts(at), parts(now)) {
        (Some((day, time)), Some((today, _))) if day == today => format!("{time} UTC"),
        (Some((day, time)), _) => format!("{day} {time} UTC"),
        (None, _) => at.to_owned(),
    }
}

/// `1 message was`, `3 messages were`.
fn failing(all: u64, failed: u64) -> String {
    format!("{all} message{} {}", if all == 1 { "" } else { "s" }, if failed == 1 { "was" } else { "were" })
}

/// `a is`, `a and b are`.
fn are(names: &[&str]) -> String {
    format!("{} {}", and(names), if names.len() == 1 { "is" } else { "are" })
}

/// `a`, `a and b`, `a, b and c`.
fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}
