//! Tests which changes of a status are reported, how often, and what a receiver gets.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::Moment;
use crate::status::{
    ConfigStatus, DenialStatus, DeniedRequests, ProviderStatus, RecentFailures, RouteStatus,
    SendsLastHour, Status,
};

const INTERVAL: Duration = Duration::from_mins(5);

/// A tracker, the status that it observes, and the time.
struct Watch {
    tracker: NotificationTracker,
    status: Status,
    seconds: u64,
}

fn provider(name: &str) -> ProviderStatus {
    ProviderStatus {
        provider: name.to_owned(),
        state: "healthy".to_owned(),
        can_deliver: true,
        ..ProviderStatus::default()
    }
}

fn watch() -> Watch {
    let route = RouteStatus {
        route: "home".to_owned(),
        can_deliver: true,
        ..RouteStatus::default()
    };
    Watch {
        tracker: NotificationTracker::default(),
        status: Status {
            at: "2026-11-25T16:20:00Z".to_owned(),
            routes: vec![route],
            providers: vec![provider("main"), provider("backup")],
            ..Status::default()
        },
        seconds: 0,
    }
}

impl Watch {
    /// Observes the status each second; returns all events.
    fn pass(&mut self, seconds: u64) -> Vec<Notification> {
        let mut seen = Vec::new();
        for _ in 0..seconds {
            self.seconds += 1;
            let now = Moment(Duration::from_secs(self.seconds));
            seen.extend(self.tracker.observe(&self.status, now, INTERVAL));
        }
        seen
    }

    fn events(&mut self, seconds: u64) -> Vec<&'static str> {
        let seen = self.pass(seconds);
        seen.iter().map(|seen| seen.event.as_str()).collect()
    }

    /// Puts the first provider into this state.
    fn set(&mut self, state: &str, cause: Option<&str>) {
        let provider = &mut self.status.providers[0];
        provider.state = state.to_owned();
        provider.can_deliver = state == "healthy";
        provider.cause = cause.map(str::to_owned);
        provider.certainty = cause.map(|_| "likely".to_owned());
        provider.since = Some("2026-11-25T16:19:58Z".to_owned());
        provider.remedy = cause.map(|_| "put `auth_token` into local:sms/main".to_owned());
    }
}

#[test]
fn a_quarantine_is_reported_at_once_and_once_and_so_is_its_end() {
    let mut watch = watch();
    assert_eq!(watch.events(60), [""; 0]);
    watch.set("quarantined", Some("credential-rejected"));
    let [first] = watch.pass(1).try_into().unwrap();
    assert_eq!(first.event, NotificationEvent::ProviderQuarantined);
    assert_eq!(first.since.as_deref(), Some("2026-11-25T16:19:58Z"));
    assert_eq!(watch.events(3600), [""; 0]);
    watch.set("healthy", None);
    assert_eq!(watch.events(5), [""; 0], "the end is settled first");
    let [end] = watch.pass(600).try_into().unwrap();
    assert_eq!(end.event, NotificationEvent::ProviderRecovered);
    assert_eq!(end.lasted_seconds, Some(3601));
}

#[test]
fn a_short_cooldown_is_not_reported_and_a_long_one_is() {
    let mut watch = watch();
    watch.set("cooldown", Some("timeout"));
    assert_eq!(watch.events(119), [""; 0]);
    watch.set("healthy", None);
    assert_eq!(watch.events(60), [""; 0]);
    watch.set("cooldown", Some("timeout"));
    assert_eq!(watch.events(60), [""; 0]);
    watch.set("cooldown", Some("unreachable"));
    assert_eq!(
        watch.events(61),
        ["provider-cooldown"],
        "another cause is the same cooldown"
    );
}

#[test]
fn a_flapping_provider_is_reported_once_in_an_interval_and_once_for_its_end() {
    let mut watch = watch();
    let mut seen = Vec::new();
    for _ in 0..100 {
        watch.set("quarantined", Some("credential-rejected"));
        seen.extend(watch.pass(10));
        watch.set("healthy", None);
        seen.extend(watch.pass(10));
    }
    let began = seen.iter().filter(|seen| seen.event.severity() == "error");
    let counts: Vec<Option<u32>> = began.clone().map(|seen| seen.changes).collect();
    // 2000 s have seven intervals of 300 s.
    assert_eq!(counts.len(), 7, "{seen:?}");
    assert_eq!((counts[0], counts[1]), (None, Some(15)));
    assert_eq!(seen.len(), 2 * began.count(), "each with its end");
}

#[test]
fn a_problem_that_is_held_back_is_reported_at_the_end_of_the_interval() {
    let mut watch = watch();
    watch.set("quarantined", Some("credential-rejected"));
    assert_eq!(watch.events(1), ["provider-quarantined"]);
    watch.set("healthy", None);
    assert_eq!(watch.events(30), ["provider-recovered"]);
    watch.set("quarantined", Some("balance-empty"));
    assert_eq!(watch.events(269), [""; 0]);
    assert_eq!(watch.events(1), ["provider-quarantined"]);
    watch.set("quarantined", Some("account-suspended"));
    assert_eq!(watch.events(299), [""; 0]);
    assert_eq!(
        watch.events(1),
        ["provider-quarantined"],
        "a new cause is news"
    );
}

#[test]
fn pausing_a_provider_reports_nothing_and_is_not_its_recovery() {
    let mut watch = watch();
    watch.set("paused", None);
    assert_eq!(watch.events(600), [""; 0]);
    watch.set("quarantined", Some("credential-rejected"));
    assert_eq!(watch.events(1), ["provider-quarantined"]);
    watch.set("paused", None);
    assert_eq!(watch.events(600), [""; 0]);
    watch.set("healthy", None);
    assert_eq!(watch.events(6), ["provider-recovered"]);
}

#[test]
fn a_route_that_cannot_deliver_is_reported_and_an_observed_one_is_not() {
    let mut watch = watch();
    watch.status.routes[0].can_deliver = false;
    assert_eq!(watch.events(5), [""; 0], "the vaults are read in this time");
    assert_eq!(watch.events(10), ["route-blocked"]);
    watch.status.routes[0].can_deliver = true;
    assert_eq!(watch.events(10), ["route-recovered"]);
    watch.status.routes[0].can_deliver = false;
    watch.status.routes[0].observe = true;
    assert_eq!(watch.events(600), [""; 0]);
}

#[test]
fn a_provider_in_use_that_fails_or_has_no_credential_is_reported() {
    let mut watch = watch();
    watch.status.providers[1].failing = Some(RecentFailures {
        failed: 9,
        sends: 10,
    });
    assert_eq!(watch.events(120), ["provider-failing"]);
    watch.status.providers[1].failing = None;
    assert_eq!(watch.events(10), ["provider-recovered"]);
    watch.status.providers[0].can_deliver = false;
    assert_eq!(watch.events(60), ["provider-without-credential"]);
}

#[test]
fn a_token_that_messages_do_not_renew_is_reported_and_a_short_lived_one_is_not() {
    let mut watch = watch();
    let used = |accepted| SendsLastHour {
        accepted: vec![accepted],
        ..SendsLastHour::default()
    };
    watch.status.providers[0].token_expires_at = Some("2026-11-26T16:20:00Z".to_owned());
    watch.status.providers[0].hour = used(1);
    assert_eq!(watch.events(23 * 3600), [""; 0]);
    watch.status.at = "2026-11-26T15:20:00Z".to_owned();
    watch.status.providers[0].hour = used(0);
    assert_eq!(watch.events(3600), [""; 0], "nothing used it");
    watch.status.providers[0].hour = used(1);
    assert_eq!(watch.events(60), ["token-expiring"]);
    watch.status.providers[0].hour = used(0);
    assert_eq!(watch.events(60), [""; 0], "that is not its renewal");
    watch.status.providers[0].token_expires_at = Some("2026-11-27T16:20:00Z".to_owned());
    assert_eq!(watch.events(60), ["token-renewed"]);
    watch.status.providers[0].token_expires_at = Some("2026-11-26T16:00:00Z".to_owned());
    watch.status.providers[0].hour = used(1);
    assert_eq!(watch.events(7200), [""; 0], "it lives for less than a day");
}

#[test]
fn a_ca_that_expires_within_three_weeks_is_reported() {
    let mut watch = watch();
    watch.status.config = ConfigStatus {
        file: "/etc/sms-sidecar/config.toml".to_owned(),
        ca_expires_at: Some("2026-12-17T16:20:00Z".to_owned()),
        ..ConfigStatus::default()
    };
    assert_eq!(watch.events(60), [""; 0]);
    watch.status.at = "2026-11-26T16:20:01Z".to_owned();
    let [seen] = watch.pass(60).try_into().unwrap();
    assert_eq!(
        seen.render(&NotificationFormat::Slack, "web-3"),
        json!({ "text": "[sms-sidecar on web-3] The local CA expires at 2026-12-17 16:20:00 UTC.\nWhat to do: `sms-sidecar ca renew`, then restart the backend" })
    );
}

#[test]
fn a_removed_provider_is_forgotten_and_costs_no_memory() {
    let mut watch = watch();
    watch.set("quarantined", Some("credential-rejected"));
    assert_eq!(watch.events(1).len(), 1);
    let removed = watch.status.providers.remove(0);
    assert_eq!(watch.events(60), [""; 0]);
    watch.status.providers.push(removed);
    assert_eq!(watch.events(1), ["provider-quarantined"]);
}

fn quarantine() -> Notification {
    let mut watch = watch();
    watch.set("quarantined", Some("credential-rejected"));
    watch.status.providers[0].alternatives = vec!["ip-not-allowed".to_owned()];
    watch.pass(1).remove(0)
}

#[test]
fn the_json_has_the_facts_and_leaves_out_what_is_empty() {
    assert_eq!(
        quarantine().render(&NotificationFormat::Json, "otp on web-3"),
        json!({
            "event": "provider-quarantined",
            "severity": "error",
            "name": "main",
            "summary": "Provider main is quarantined: credential-rejected (likely, or ip-not-allowed).",
            "cause": "credential-rejected",
            "certainty": "likely",
            "alternatives": ["ip-not-allowed"],
            "remedy": "put `auth_token` into local:sms/main",
            "since": "2026-11-25T16:19:58Z",
            "at": "2026-11-25T16:20:00Z",
            "sidecar": "otp on web-3",
        })
    );
    let test = Notification::test("2026-11-25T16:20:00Z");
    assert_eq!(
        test.render(&NotificationFormat::Json, ""),
        json!({
            "event": "test",
            "severity": "info",
            "summary": "This is a test: notifications arrive here.",
            "at": "2026-11-25T16:20:00Z",
        })
    );
}

#[test]
fn slack_and_telegram_get_lines_for_people() {
    let mut seen = quarantine();
    seen.changes = Some(3);
    seen.remedy = Some("<!channel> & more".to_owned());
    let text = "[sms-sidecar] Provider main is quarantined: credential-rejected (likely, or ip-not-allowed).\nWhat to do: <!channel> & more\nIt began 3 times since the last notification about it.";
    let escaped = text
        .replace('&', "&amp;")
        .replace("<!channel>", "&lt;!channel&gt;");
    assert_eq!(
        seen.render(&NotificationFormat::Slack, ""),
        json!({ "text": escaped })
    );
    let telegram = NotificationFormat::Telegram {
        chat_id: "-100123".to_owned(),
    };
    assert_eq!(
        seen.render(&telegram, ""),
        json!({ "chat_id": "-100123", "text": text, "link_preview_options": { "is_disabled": true } })
    );
}

#[test]
fn a_remedy_is_cut_and_shows_no_phone_number() {
    let mut seen = quarantine();
    seen.remedy = Some(format!(
        "call +998901234567, code 401, at 203.0.113.7 {}",
        "ж".repeat(3000)
    ));
    let body = seen.render(&NotificationFormat::Json, "").to_string();
    assert!(!body.contains("998901234567"), "{body}");
    assert!(
        body.contains("call +…, code 401, at 203.0.113.7 ж"),
        "{body}"
    );
    assert!(body.chars().count() < 2000 && body.contains('…'), "{body}");
    assert!(seen.size() > 6000);
}

#[test]
fn a_backend_whose_requests_are_denied_is_reported_until_a_message_is_accepted() {
    let mut watch = watch();
    assert_eq!(watch.events(60), [""; 0]);
    watch.status.denied = Some(DeniedRequests {
        denied: 3,
        requests: 3,
    });
    watch.status.denials = vec![DenialStatus {
        reason: "ca-missing".to_owned(),
        count: 3,
        summary: "CONNECT to 998901234567.example needs a local CA, and none is in force"
            .to_owned(),
        remedy: "run sms-sidecar init".to_owned(),
        ..DenialStatus::default()
    }];
    assert_eq!(watch.events(30), [""; 0], "one request can be a mistake");
    let [denied] = watch.pass(600).try_into().unwrap();
    let body = denied.render(&NotificationFormat::Json, "web-1");
    assert_eq!(body["event"], "requests-denied");
    assert_eq!(body["severity"], "error");
    assert_eq!(body["cause"], "ca-missing");
    assert_eq!(
        body["summary"],
        "The sidecar denies the backend’s requests (ca-missing): CONNECT to ….example needs a local CA, and none is in force."
    );
    assert_eq!(body["remedy"], "run sms-sidecar init");

    // After an hour, or a reload, the denials are forgotten. That repairs nothing.
    watch.status.denied = None;
    watch.status.denials.clear();
    assert_eq!(watch.events(600), [""; 0]);
    watch.status.providers[0].hour = SendsLastHour {
        accepted: vec![0, 1],
        ..SendsLastHour::default()
    };
    let [end] = watch.pass(600).try_into().unwrap();
    assert_eq!(end.event, NotificationEvent::RequestsAccepted);
}
