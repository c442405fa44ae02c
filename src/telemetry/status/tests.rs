//! The words somebody reads at night, situation by situation, and that they come from events alone.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::Registry;

use crate::clock::{Clock, Moment};
use crate::diagnosis::Diagnosis;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Door, Kind, Msisdn, Operation, Outcome, ProviderId, Verdict};
use crate::telemetry::status::{Able, Status};
use crate::telemetry::{
    AttemptEnded, AttemptLine, Balance, Build, CallEnded, CredentialSeen, LastHeard, Layout, ProviderLayout, ReadResult, Reloaded,
    RouteFirstChoice, RouteLayout, Shape, StandingChanged, Started, Telemetry, TunnelEnded, TurnedAway, VaultRead,
};

/// 2026-11-25T16:20:00Z.
const START: u64 = 1_795_623_600;

/// A clock that a test turns; both its hands go together.
#[derive(Debug, Default)]
struct Hands(Mutex<Duration>);

impl Clock for Hands {
    fn now(&self) -> Moment {
        Moment(*self.0.lock().unwrap())
    }
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + *self.0.lock().unwrap()
    }
    fn dice(&self) -> f64 {
        0.5
    }
}

struct Bench {
    telemetry: Telemetry,
    hands: Arc<Hands>,
}

fn shape() -> Shape {
    let provider = |name: &str| ProviderLayout {
        id: ProviderId::new(name),
        dialect: name.to_owned(),
        base_url: format!("https://{name}.example"),
        credential: Some(format!("local:sms/{name}")),
    };
    let route = |name: &str, providers: &[&str]| RouteLayout {
        name: name.to_owned(),
        providers: providers.iter().map(|name| ProviderId::new(name)).collect(),
        recipients: vec!["+998".to_owned()],
        observe: false,
    };
    let layout = Layout {
        file: "/etc/sms-sidecar/config.toml".into(),
        providers: vec![provider("a"), provider("b"), provider("c")],
        routes: vec![route("home", &["a", "b"]), route("abroad", &["c"])],
        vaults: vec![("local".into(), "directory")],
        ..Layout::default()
    };
    let providers = layout.providers.iter().map(|provider| (provider.id.clone(), provider.dialect.clone())).collect();
    Shape { providers, vaults: vec!["local".into()], layout, ..Shape::default() }
}

fn bench() -> Bench {
    let hands = Arc::new(Hands::default());
    let telemetry = Telemetry::new(&Registry::new(), &shape(), hands.clone()).unwrap();
    Started { build: &Build::default(), at: hands.wall(), addresses: &[] }.emit(&telemetry);
    Bench { telemetry, hands }
}

impl Bench {
    fn pass(&self, seconds: u64) {
        *self.hands.0.lock().unwrap() += Duration::from_secs(seconds);
    }

    fn status(&self) -> Status {
        self.telemetry.status()
    }

    fn stands(&self, name: &str, standing: &'static str, cause: Option<Cause>, back: Option<u64>) {
        let diagnosis = cause.map(|cause| Diagnosis {
            provider: name.to_owned(),
            cause,
            certainty: Certainty::Likely,
            alternatives: vec![Cause::IpNotAllowed],
            evidence: "The send was answered 401".into(),
            remedy: "do this".into(),
        });
        let back = back.map(|seconds| Moment(Duration::from_secs(seconds)));
        StandingChanged { provider: &ProviderId::new(name), standing, cause, diagnosis: diagnosis.as_ref(), back }.emit(&self.telemetry);
    }

    /// One send by route `home`, with its one attempt.
    fn send(&self, by: &str, outcome: &Outcome, verdict: Verdict) {
        let (provider, took) = (ProviderId::new(by), Duration::from_millis(80));
        AttemptEnded { provider: &provider, kind: Kind::Send, outcome, status: Some(200), took }.emit(&self.telemetry);
        let line = AttemptLine {
            provider: &provider,
            kind: Kind::Send,
            outcome,
            certainty: None,
            status: Some(200),
            says: Some("said"),
            method: Some("POST"),
            server: None,
            after: Duration::ZERO,
            took,
        };
        CallEnded {
            id: "c-1",
            caller: None,
            door: Door::BaseUrl,
            dialect: Some("a"),
            operation: Operation::Send,
            route: Some("home"),
            recipient: Some(&Msisdn::parse("+998901234567").unwrap()),
            attempts: &[line],
            verdict,
            method: "POST",
            status: 200,
            cause: outcome.cause(),
            certainty: None,
            remedy: None,
            repeat: None,
            took,
            parent: None,
        }
        .emit(&self.telemetry);
    }

    fn accept(&self, by: &str) {
        self.send(by, &Outcome::Accepted { id: "1".into() }, Verdict::Accepted);
    }

    fn says(&self) -> (Able, String) {
        let answer = self.status().answer;
        (answer.able, answer.says)
    }
}

#[test]
fn the_answer_comes_in_the_words_of_each_situation() {
    let bench = bench();
    assert_eq!(bench.says(), (Able::Idle, "Ready; no message has come yet.".into()));
    bench.accept("a");
    assert_eq!(bench.says(), (Able::Yes, "Yes, codes arrive.".into()));
    bench.stands("b", "paused", None, None);
    assert_eq!(bench.says(), (Able::Backup, "Yes, but b is out.".into()));
    bench.stands("b", "open", None, None);
    bench.stands("a", "aside", Some(Cause::BalanceEmpty), Some(60));
    assert_eq!(bench.says(), (Able::Backup, "Yes, by a backup: a is out.".into()));
    bench.stands("c", "aside", Some(Cause::CredentialRejected), None);
    assert_eq!(bench.says(), (Able::Partly, "Only in part: route abroad cannot deliver.".into()));
    bench.stands("b", "resting", Some(Cause::Timeout), Some(15));
    assert_eq!(bench.says(), (Able::No, "No: no route can deliver.".into()));
    for name in ["a", "b", "c"] {
        bench.stands(name, "open", None, None);
    }
    bench.send("a", &Outcome::Unknown(Cause::Timeout), Verdict::InDoubt);
    assert_eq!(bench.says(), (Able::Failing, "Hardly: 1 of the last 2 messages was not delivered.".into()));
    bench.pass(600);
    assert_eq!(bench.says().0, Able::Yes, "five minutes later that is past");
    bench.pass(3_600);
    assert_eq!(bench.says(), (Able::Idle, "Ready; no message came in the last hour.".into()));
}

#[test]
fn without_routes_each_dialect_is_one_and_without_providers_nothing_can_be_sent() {
    let (bench, mut shape) = (bench(), shape());
    shape.layout.routes.clear();
    bench.telemetry.reshape(&shape);
    let names: Vec<String> = bench.status().routes.into_iter().map(|route| route.route).collect();
    assert_eq!(names, ["a", "b", "c"]);
    shape.layout.providers.clear();
    bench.telemetry.reshape(&shape);
    assert_eq!(bench.says(), (Able::Nothing, "Nothing is set up to send.".into()));
    let mut watching = self::shape();
    watching.layout.routes.iter_mut().for_each(|route| route.observe = true);
    bench.telemetry.reshape(&watching);
    assert_eq!(bench.says().0, Able::Watching);
}

#[test]
fn a_provider_that_is_out_stands_first_with_cause_certainty_evidence_remedy_and_since_when() {
    let bench = bench();
    bench.pass(5);
    bench.stands("b", "aside", Some(Cause::CredentialRejected), Some(65));
    bench.pass(10);
    bench.stands("b", "aside", Some(Cause::CredentialRejected), Some(125));
    let status = bench.status();
    let out = &status.providers[0];
    assert_eq!((out.provider.as_str(), out.standing.as_str(), out.can_deliver), ("b", "aside", false));
    assert_eq!(out.since.as_deref(), Some("2026-11-25T16:20:05Z"), "another recheck is no other standing");
    assert_eq!(out.says, "set aside; one message may try it at 16:22:05 UTC");
    assert_eq!((out.cause.as_deref(), out.certainty.as_deref()), (Some("credential-rejected"), Some("likely")));
    assert_eq!(out.alternatives, ["ip-not-allowed"]);
    assert_eq!((out.evidence.as_deref(), out.remedy.as_deref()), (Some("The send was answered 401"), Some("do this")));
    bench.pass(120);
    assert_eq!(bench.status().providers[0].says, "set aside; the next message tries it");
    bench.stands("b", "paused", None, None);
    assert_eq!(bench.status().providers[0].remedy.as_deref(), Some("`sms-sidecar resume b` puts it back"));
}

#[test]
fn a_credential_that_was_never_read_delivers_nothing_and_one_that_was_goes_on() {
    let bench = bench();
    let read = |path, result, problem| VaultRead { vault: "local", path, result, problem }.emit(&bench.telemetry);
    read("sms/a", ReadResult::Failed, Some("no such file"));
    read("sms/b", ReadResult::Changed, None);
    CredentialSeen { provider: &ProviderId::new("b"), version: Version(1), since: bench.hands.wall() }.emit(&bench.telemetry);
    bench.pass(60);
    read("sms/b", ReadResult::Failed, Some("no such file"));
    let status = bench.status();
    let (a, b) = (status.provider("a").unwrap(), status.provider("b").unwrap());
    assert_eq!((a.can_deliver, a.remedy.as_deref()), (false, Some("no such file")));
    assert_eq!((b.can_deliver, b.credential_version, b.credential_age_seconds), (true, 1, Some(60)));
    assert_eq!(status.answer.also, ["Vault local cannot be read since 16:20:00 UTC; the last good credentials stay in use."]);
    let entry = &status.vaults[0].entries[1];
    assert_eq!((entry.path.as_str(), entry.good_at.as_deref()), ("sms/b", Some("2026-11-25T16:20:00Z")));
    read("sms/a", ReadResult::Changed, None);
    read("sms/b", ReadResult::Unchanged, None);
    assert!(bench.status().answer.also.is_empty(), "it is over");
}

#[test]
fn the_last_fifty_calls_are_kept_masked_and_outcomes_counted_by_the_minute() {
    let bench = bench();
    for n in 0..60 {
        let outcome = if n % 3 == 0 { Outcome::Refused(Cause::Throttled) } else { Outcome::Accepted { id: "1".into() } };
        bench.send("a", &outcome, if n % 3 == 0 { Verdict::NotSent } else { Verdict::Accepted });
        bench.pass(1);
    }
    let status = bench.status();
    assert_eq!(status.calls.len(), 50);
    assert_eq!(status.calls[0].at, "2026-11-25T16:20:59Z", "newest first");
    assert_eq!(status.calls[0].recipient.as_deref(), Some("+998*****67"));
    assert_eq!(status.calls[0].attempts[0].says.as_deref(), Some("said"));
    assert!(!serde_json::to_string(&status).unwrap().contains("1234567"));
    let a = status.provider("a").unwrap();
    assert_eq!((a.hour.accepted.len(), a.hour.accepted[58], a.hour.refused[58]), (60, 40, 20));
    assert_eq!(a.hour.says(), "40 accepted, 20 refused");
    assert_eq!((a.day.accepted, a.day.sent, a.day.seconds), (40, 60, 60));
    assert_eq!((status.messages.accepted, status.messages.not_sent), (40, 20));
    assert_eq!(status.routes[0].last_by.as_deref(), Some("a"));
}

#[test]
fn probes_logins_and_carried_calls_are_no_messages() {
    let bench = bench();
    for kind in [Kind::Probe, Kind::Login, Kind::Carry] {
        let outcome = Outcome::Refused(Cause::CredentialRejected);
        AttemptEnded { provider: &ProviderId::new("a"), kind, outcome: &outcome, status: Some(401), took: Duration::ZERO }
            .emit(&bench.telemetry);
    }
    TunnelEnded { door: Door::Connect, host: "other.example", bytes: 9 }.emit(&bench.telemetry);
    let status = bench.status();
    assert_eq!(status.provider("a").unwrap().hour.says(), "nothing was sent");
    assert_eq!((status.doors[0].door.as_str(), status.doors[0].calls, status.doors[0].tunnelled), ("connect", 0, 1));
}

#[test]
fn a_reload_keeps_what_is_known_of_the_same_account_and_forgets_another() {
    let bench = bench();
    for name in ["a", "b"] {
        bench.accept(name);
        Balance { provider: &ProviderId::new(name), unit: "UZS", value: 12.5, spent_a_day: Some(2.5) }.emit(&bench.telemetry);
    }
    let mut shape = shape();
    shape.layout.providers[1].base_url = "https://elsewhere.example".into();
    bench.telemetry.reshape(&shape);
    Reloaded { at: Some(bench.hands.wall()), problem: None }.emit(&bench.telemetry);
    let status = bench.status();
    let balance = status.provider("a").unwrap().balance.as_ref();
    assert_eq!(balance.map(|balance| (balance.value, balance.spent_a_day, balance.days())), Some((12.5, Some(2.5), Some(5.0))));
    assert_eq!(status.provider("b").unwrap().balance, None, "what the old account had is not the new one's");
    assert_eq!(status.calls.len(), 2);
    Reloaded { at: None, problem: Some("2 errors") }.emit(&bench.telemetry);
    let config = bench.status().config;
    assert_eq!(config.reload.map(|reload| (reload.result, reload.problem)), Some(("failed".into(), Some("2 errors".into()))));
    assert_eq!(config.loaded_at.as_deref(), Some("2026-11-25T16:20:00Z"));
}

#[test]
fn a_route_on_a_backup_says_since_when_and_by_whom() {
    let bench = bench();
    bench.pass(30);
    bench.accept("b");
    RouteFirstChoice { route: "home", first: false }.emit(&bench.telemetry);
    bench.pass(30);
    RouteFirstChoice { route: "home", first: false }.emit(&bench.telemetry);
    let route = &bench.status().routes[0];
    assert_eq!(route.backup_since.as_deref(), Some("2026-11-25T16:20:30Z"));
    assert_eq!(route.says, "can deliver; the last message went by a backup, b");
    RouteFirstChoice { route: "home", first: true }.emit(&bench.telemetry);
    assert_eq!(bench.status().routes[0].backup_since, None);
}

#[test]
fn what_is_told_can_be_read_back() {
    let bench = bench();
    bench.accept("a");
    bench.stands("b", "aside", Some(Cause::CredentialRejected), Some(65));
    let status = bench.status();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    assert_eq!(serde_json::from_str::<Status>("{}").unwrap(), Status::default(), "an older sidecar says less");
}

#[test]
fn a_config_that_was_changed_and_not_loaded_is_told_with_what_loads_it() {
    let bench = bench();
    let at = UNIX_EPOCH + Duration::from_secs(START + 60);
    bench.pass(120);
    bench.telemetry.follow_config(move || Some(at));
    let told = "/etc/sms-sidecar/config.toml was changed at 16:21:00 UTC after it was loaded: `sms-sidecar reload`.";
    assert_eq!(bench.status().answer.also, [told]);
    assert_eq!(bench.status().config.changed_at.as_deref(), Some("2026-11-25T16:21:00Z"));
    Reloaded { at: None, problem: Some("2 errors") }.emit(&bench.telemetry);
    let failed = bench.status().answer.also;
    assert!(failed.len() == 1 && failed[0].starts_with("The reload of 16:22:00 UTC failed"), "{failed:?}");
    bench.telemetry.follow_config(|| Some(UNIX_EPOCH + Duration::from_secs(START + 180)));
    assert_eq!(bench.status().answer.also.len(), 2, "it was changed again since");
    bench.telemetry.follow_config(|| Some(UNIX_EPOCH));
    Reloaded { at: Some(bench.hands.wall()), problem: None }.emit(&bench.telemetry);
    assert_eq!(bench.status().answer.also, ["/etc/sms-sidecar/config.toml was changed after it was loaded: `sms-sidecar reload`."]);
    bench.telemetry.follow_config(|| None);
    assert!(bench.status().answer.also.is_empty());
}

#[test]
fn calls_for_our_own_hosts_that_do_not_get_in_are_told_for_an_hour() {
    let bench = bench();
    let away = |ours| TurnedAway { door: Door::Connect, status: 502, why: "it must trust the CA", ours }.emit(&bench.telemetry);
    away(false);
    assert!(bench.status().answer.also.is_empty(), "another host's is nobody's loss");
    away(true);
    assert_eq!(bench.status().answer.also, ["1 call was turned away at door connect, at 16:20:00 UTC: it must trust the CA"]);
    bench.pass(60);
    away(true);
    assert_eq!(bench.status().answer.also, ["2 calls were turned away at door connect, last at 16:21:00 UTC: it must trust the CA"]);
    assert_eq!(bench.status().doors[0].rejected, 3);
    bench.pass(3_600);
    assert!(bench.status().answer.also.is_empty());
}

#[test]
fn a_failure_is_kept_while_the_provider_is_in_use_and_forgotten_when_it_came_back() {
    let bench = bench();
    let a = ProviderId::new("a");
    let diagnosis = Diagnosis {
        provider: "a".into(),
        cause: Cause::BalanceEmpty,
        certainty: Certainty::Certain,
        alternatives: Vec::new(),
        evidence: "It said so".into(),
        remedy: "top up".into(),
    };
    let failed = || LastHeard { provider: &a, diagnosis: Some(&diagnosis) }.emit(&bench.telemetry);
    let told = || bench.status().provider("a").map(|it| (it.says.clone(), it.cause.clone(), it.remedy.clone())).unwrap();
    failed();
    let expected = ("in use, but its last message failed at 16:20:00 UTC", Some("balance-empty"), Some("top up"));
    assert_eq!((told().0.as_str(), told().1.as_deref(), told().2.as_deref()), expected);
    assert_eq!(bench.status().providers[0].provider, "a", "it stands first");
    LastHeard { provider: &a, diagnosis: None }.emit(&bench.telemetry);
    assert_eq!(told(), ("in use".to_owned(), None, None));
    bench.stands("a", "open", None, None);
    failed();
    bench.stands("a", "aside", Some(Cause::BalanceEmpty), None);
    assert_eq!(told().2.as_deref(), Some("do this"), "where it is out, that says why");
    bench.stands("a", "open", None, None);
    assert_eq!(told(), ("in use".to_owned(), None, None));
}
