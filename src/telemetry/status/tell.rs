//! Facts into words and times, for people and programs.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::clock::Moment;
use crate::diagnosis::{Diagnosis, span};
use crate::sms::{Cause, Certainty};
use crate::telemetry::memory::{Account, AttemptNote, CallNote, Facts, ProviderLayout, RouteLayout, Stand, Way};
use crate::telemetry::status::{
    Attempt, Balance, Barred, Build, Call, Config, Day, Door, Entry, Hour, Messages, Provider, Reload, Route, Status, Vault, answer, total,
};

const DAY: u64 = 86_400;
const HOUR: Duration = Duration::from_hours(1);

/// What the words are about: the facts and what time it is.
#[derive(Clone, Copy)]
struct Teller<'a> {
    facts: &'a Facts,
    now: Moment,
    wall: SystemTime,
}

/// Puts what is remembered into words.
pub(crate) fn tell(facts: &Facts, now: Moment, wall: SystemTime) -> Status {
    let teller = Teller { facts, now, wall };
    let mut providers: Vec<Provider> = facts.layout.providers.iter().map(|layout| teller.provider(layout)).collect();
    let routes: Vec<Route> = facts.layout.routes().iter().map(|layout| teller.route(layout, &providers)).collect();
    // Who is out stands first, because that is what somebody has to act on.
    providers.sort_by_key(answer::urgency);
    let messages = teller.messages(60);
    let mut status = Status {
        at: time(wall),
        routes,
        providers,
        messages,
        calls: facts.calls.iter().rev().map(|note| call(note)).collect(),
        doors: teller.doors(),
        vaults: teller.vaults(),
        config: teller.config(),
        build: teller.build(),
        answer: answer::Answer::default(),
    };
    let last = facts.ways.values().filter_map(|way| way.accepted.as_ref()).max_by_key(|(_, at)| *at);
    let last = last.map(|(by, at)| format!("the last {} by {by}", ago(wall.duration_since(*at).unwrap_or_default())));
    status.answer = answer::answer(&status, &teller.messages(5), last.as_deref());
    status
}

impl Teller<'_> {
    fn provider(self, layout: &ProviderLayout) -> Provider {
        let account = self.facts.accounts.get(&layout.id);
        let mut told = Provider {
            provider: layout.id.as_str().to_owned(),
            dialect: layout.dialect.clone(),
            base_url: layout.base_url.clone(),
            standing: "open".to_owned(),
            credential: layout.credential.clone(),
            ..Provider::default()
        };
        if let Some(account) = account {
            self.supply(&mut told, account);
        }
        if let Some(stand) = account.and_then(|account| account.stand.as_ref()) {
            self.stand(&mut told, stand);
        }
        told.can_deliver = told.standing == "open";
        if let Some(problem) = self.unread(&told) {
            told.can_deliver = false;
            told.evidence.get_or_insert("nothing of its vault entry was ever read".to_owned());
            told.remedy.get_or_insert(problem);
        }
        if let Some((at, diagnosis)) = account.and_then(|account| account.failed.as_ref()).filter(|_| told.can_deliver) {
            told.failed_at = Some(time(*at));
            told.cause = Some(diagnosis.cause.as_str().to_owned());
            diagnosed(&mut told, diagnosis);
        }
        told.says = answer::standing(&told, &time(self.wall));
        told
    }

    /// Why nothing was ever read of its credential, if nothing was.
    fn unread(self, told: &Provider) -> Option<String> {
        let (vault, path) = told.credential.as_ref().filter(|_| told.credential_version == 0)?.split_once(':')?;
        let entry = self.facts.entries.get(&(vault.to_owned(), path.to_owned())).filter(|entry| entry.failing_since.is_some())?;
        Some(entry.problem.clone().unwrap_or_else(|| "its vault entry cannot be read".to_owned()))
    }

    fn supply(self, told: &mut Provider, account: &Account) {
        if let Some((version, since)) = account.credential {
            told.credential_version = version.0;
            told.credential_since = Some(time(since));
            told.credential_age_seconds = Some(self.wall.duration_since(since).unwrap_or_default().as_secs());
        }
        told.token_expires = account.token_expires.map(time);
        told.balance = account.balance.as_ref().filter(|money| money.left.is_finite()).map(|money| Balance {
            value: money.left,
            unit: money.unit.clone(),
            at: time(money.at),
            spent_a_day: money.spent_a_day,
        });
        let row = |word| account.hour.row(word, self.now);
        told.hour = Hour { accepted: row(0), refused: row(1), unknown: row(2), unsent: row(3) };
        let of_day = |word| total(&account.day.row(word, self.now));
        let (accepted, sent) = (of_day(0), (0..4).map(of_day).sum());
        told.day = Day { accepted, sent, seconds: self.now.0.as_secs().min(DAY) };
    }

    fn stand(self, told: &mut Provider, stand: &Stand) {
        stand.standing.clone_into(&mut told.standing);
        told.since = Some(time(stand.since));
        told.back_at = stand.back.map(|back| time(self.calendar(back)));
        told.cause = stand.cause.map(|cause| cause.as_str().to_owned());
        if let Some(diagnosis) = &stand.diagnosis {
            diagnosed(told, diagnosis);
        } else {
            told.evidence = stand.cause.map(|cause| cause.meaning().to_owned());
            told.remedy = answer::remedy(told);
        }
    }

    /// A moment of the process's own time as the calendar's.
    fn calendar(self, moment: Moment) -> SystemTime {
        let (ahead, ago) = (moment.since(self.now), self.now.since(moment));
        self.wall.checked_add(ahead).and_then(|at| at.checked_sub(ago)).unwrap_or(self.wall)
    }

    fn route(self, layout: &RouteLayout, providers: &[Provider]) -> Route {
        let named = |id: &crate::sms::ProviderId| providers.iter().find(|provider| provider.provider == id.as_str());
        let members: Vec<&Provider> = layout.providers.iter().filter_map(named).collect();
        let way = self.facts.ways.get(&layout.name);
        let last = way.and_then(|way| way.accepted.as_ref());
        let mut told = Route {
            route: layout.name.clone(),
            providers: layout.providers.iter().map(|id| id.as_str().to_owned()).collect(),
            recipients: layout.recipients.clone(),
            can_deliver: layout.observe || members.iter().any(|provider| provider.can_deliver),
            observe: layout.observe,
            backup_since: way.and_then(|way: &Way| way.backup_since).map(time),
            last_by: last.map(|(by, _)| by.as_str().to_owned()),
            last_at: last.map(|(_, at)| time(*at)),
            says: String::new(),
        };
        told.says = answer::route(&told, &members);
        told
    }

    fn messages(self, minutes: usize) -> Messages {
        let of = |word| {
            let row = self.facts.sends.row(word, self.now);
            row.iter().rev().take(minutes).copied().map(u64::from).sum()
        };
        Messages { accepted: of(0), not_sent: of(1), in_doubt: of(2), message_refused: of(3) }
    }

    fn doors(self) -> Vec<Door> {
        let late = |at| self.wall.duration_since(at).unwrap_or_default() < HOUR;
        let door = |(door, seen): (&crate::sms::Door, &crate::telemetry::memory::Seen)| Door {
            door: door.as_str().to_owned(),
            calls: seen.calls,
            tunnelled: seen.tunnelled,
            rejected: seen.rejected,
            last_at: seen.last.map(time),
            barred: seen.barred.as_ref().filter(|barred| late(barred.at)).map(|barred| Barred {
                count: barred.count,
                at: time(barred.at),
                why: barred.why.clone(),
            }),
        };
        self.facts.doors.iter().map(door).collect()
    }

    fn vaults(self) -> Vec<Vault> {
        let of = |vault: &str| {
            let mine = self.facts.entries.iter().filter(|((owner, _), _)| owner == vault);
            let entry = |((_, path), entry): (&(String, String), &crate::telemetry::memory::Entry)| Entry {
                path: path.clone(),
                result: entry.read.map(|(_, result)| result.to_owned()).unwrap_or_default(),
                read_at: entry.read.map(|(at, _)| time(at)),
                failing_since: entry.failing_since.map(time),
                good_at: entry.good_at.map(time),
                problem: entry.problem.clone(),
            };
            mine.map(entry).collect()
        };
        let vaults = self.facts.layout.vaults.iter();
        vaults.map(|(vault, kind)| Vault { vault: vault.clone(), kind: (*kind).to_owned(), entries: of(vault) }).collect()
    }

    fn config(self) -> Config {
        let facts = self.facts;
        let word = |ok| if ok { "ok" } else { "failed" }.to_owned();
        let reload = facts.reload.as_ref();
        Config {
            file: facts.layout.file.clone(),
            loaded_at: facts.loaded.map(time),
            changed_at: facts.changed.map(time),
            mode: if facts.layout.observe { "observe" } else { "act" }.to_owned(),
            reload: reload.map(|reload| Reload { at: time(reload.at), result: word(reload.ok), problem: reload.problem.clone() }),
            ca_expires: facts.ca_expires.map(time),
            listen: facts.layout.listen.iter().map(|(what, address)| format!("{what} {address}")).collect(),
        }
    }

    fn build(self) -> Build {
        let build = &self.facts.build;
        Build {
            version: build.version.clone(),
            commit: build.commit.clone(),
            started_at: self.facts.started.map(time),
            pid: std::process::id(),
        }
    }
}

fn diagnosed(told: &mut Provider, diagnosis: &Diagnosis) {
    told.certainty = Some(diagnosis.certainty.as_str().to_owned());
    told.alternatives = diagnosis.alternatives.iter().map(|cause| cause.as_str().to_owned()).collect();
    told.evidence = Some(diagnosis.evidence.clone());
    told.remedy = Some(diagnosis.remedy.clone());
}

fn call(note: &CallNote) -> Call {
    let some = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
    Call {
        at: note.at.map(time).unwrap_or_default(),
        id: note.id.clone(),
        caller: some(&note.caller),
        door: note.door.map(|door| door.as_str().to_owned()).unwrap_or_default(),
        dialect: some(&note.dialect),
        operation: note.operation.map(|operation| operation.as_str().to_owned()).unwrap_or_default(),
        route: some(&note.route),
        recipient: some(&note.recipient),
        verdict: note.verdict.map(|verdict| verdict.as_str().to_owned()).unwrap_or_default(),
        cause: note.cause.map(|cause| cause.as_str().to_owned()),
        certainty: note.certainty.map(Certainty::as_str).map(str::to_owned),
        repeat: note.repeat,
        took_ms: millis(note.took),
        attempts: note.attempts.iter().map(attempt).collect(),
    }
}

fn attempt(note: &AttemptNote) -> Attempt {
    Attempt {
        provider: note.provider.as_str().to_owned(),
        kind: note.kind.as_str().to_owned(),
        outcome: note.outcome.to_owned(),
        cause: note.cause.map(Cause::as_str).map(str::to_owned),
        status: note.status,
        says: note.says.clone(),
        took_ms: millis(note.took),
    }
}

fn ago(time: Duration) -> String {
    if time < Duration::from_secs(5) { "just now".to_owned() } else { format!("{} ago", span(time)) }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-11-25T16:20:05Z`.
fn time(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
