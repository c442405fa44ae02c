//! Tests what the page shows for a status, and that none of its text becomes markup.

use crate::admin::page::{asset, providers::format_amount, render_page};
use crate::diagnosis::{RemedyStep, remedy_steps};
use crate::status::{
    AttemptStatus, BalanceStatus, ConfigStatus, Deliverability, Headline, ProviderStatus,
    ReloadStatus, RequestStatus, RouteStatus, Status, VaultEntryStatus, VaultStatus,
};

const MARKUP: &str = "\"><script>alert(1)</script>'<img src=x onerror=alert(1)>&amp;";

/// A status in which every text from outside the sidecar is `words`.
fn status(words: &str) -> Status {
    let word = words.to_owned();
    Status {
        at: word.clone(),
        headline: Headline {
            deliverability: Deliverability::Unavailable,
            summary: word.clone(),
            details: word.clone(),
            warnings: vec![word],
        },
        routes: vec![route(words)],
        providers: vec![provider(words)],
        requests: vec![request(words)],
        vaults: vec![vault(words)],
        config: config(words),
        ..Status::default()
    }
}

fn request(words: &str) -> RequestStatus {
    let word = words.to_owned();
    let some = Some(words.to_owned());
    let attempt = AttemptStatus {
        provider: word.clone(),
        outcome: "rejected".into(),
        cause: some.clone(),
        provider_message: some.clone(),
        ..AttemptStatus::default()
    };
    RequestStatus {
        id: word.clone(),
        caller: some.clone(),
        dialect: some.clone(),
        route: some.clone(),
        recipient: some.clone(),
        cause: some,
        result: word,
        attempts: vec![attempt],
        ..RequestStatus::default()
    }
}

fn provider(words: &str) -> ProviderStatus {
    let word = words.to_owned();
    let some = Some(words.to_owned());
    ProviderStatus {
        provider: word.clone(),
        dialect: word.clone(),
        base_url: word.clone(),
        state: "quarantined".into(),
        summary: word.clone(),
        since: some.clone(),
        cause: some.clone(),
        certainty: some.clone(),
        alternatives: vec![word.clone()],
        evidence: some.clone(),
        steps: vec![RemedyStep {
            text: word.clone(),
            command: some.clone(),
        }],
        credential: some,
        balance: Some(BalanceStatus {
            value: 1.0,
            unit: word.clone(),
            at: word,
            daily_spend: Some(1.0),
        }),
        ..ProviderStatus::default()
    }
}

fn route(words: &str) -> RouteStatus {
    let word = words.to_owned();
    RouteStatus {
        route: word.clone(),
        providers: vec![word.clone()],
        recipients: vec![word.clone()],
        summary: word,
        ..RouteStatus::default()
    }
}

fn vault(words: &str) -> VaultStatus {
    let word = words.to_owned();
    let some = Some(words.to_owned());
    let entry = VaultEntryStatus {
        path: word.clone(),
        result: word.clone(),
        failing_since: some.clone(),
        problem: some,
        ..VaultEntryStatus::default()
    };
    VaultStatus {
        vault: word.clone(),
        kind: word,
        entries: vec![entry],
    }
}

fn config(words: &str) -> ConfigStatus {
    let word = words.to_owned();
    ConfigStatus {
        file: word.clone(),
        last_reload: Some(ReloadStatus {
            by: Some(word.clone()),
            at: word.clone(),
            result: "failed".into(),
            problem: Some(word.clone()),
        }),
        listen: vec![word],
        ..ConfigStatus::default()
    }
}

#[test]
fn external_text_is_escaped_everywhere() {
    let plain = render_page(&status("word"), &[]);
    let hostile = render_page(&status(MARKUP), &["config"]);
    assert!(
        !hostile.contains("<script>alert") && !hostile.contains("<img"),
        "{hostile}"
    );
    let shown = |text: &str, what: &str| text.matches(what).count();
    assert!(
        shown(&plain, "word") > 25,
        "the status under test must contain external text"
    );
    assert_eq!(
        shown(&hostile, "&lt;script&gt;alert(1)"),
        shown(&plain, "word") - shown(&plain, "class=\"word"),
        "each external text is rendered as text"
    );
    assert_eq!(shown(&hostile, "<script"), 1, "only the page's own script");
    assert!(
        !hostile.contains("style=") && !hostile.contains("javascript:"),
        "{hostile}"
    );
}

#[test]
fn text_in_backticks_is_shown_as_code() {
    let page = render_page(&status("run `sms-sidecar resume <x>` now"), &[]);
    assert!(
        page.contains("run <code>sms-sidecar resume &lt;x&gt;</code> now"),
        "{page}"
    );
}

#[test]
fn only_the_address_of_a_console_becomes_a_link() {
    let shown = |remedy: &str| {
        let mut shown = status("word");
        shown.providers[0].steps = remedy_steps(remedy);
        shown.providers[0].evidence = Some(remedy.to_owned());
        render_page(&shown, &[])
    };
    let link = |page: &str| {
        format!("the x console (<a href=\"{page}\" rel=\"noopener noreferrer\">{page}</a>)")
    };
    let good = shown(
        "top up at the x console (https://console.x.com/a?b=1&c), then `resume`; or at the y console (https://y.com)",
    );
    assert!(
        good.contains(&link("https://console.x.com/a?b=1&amp;c")),
        "{good}"
    );
    assert_eq!(
        good.matches("<a href=\"https://").count(),
        2,
        "in the remedy, and never in the evidence: {good}"
    );
    for remedy in [
        "at the x console (http://x.com)",
        "at the x console (https://user@evil.com)",
        "at the x console (https://evil.com\" onclick=\"x)",
        "at the x console (https://evil.com<b>)",
        "at the x console (https://evil.com",
        "at the x console (https://)",
        "at the x console (javascript:alert(1))",
        "look up code (https://evil.com) in x's documentation",
        "see https://evil.com",
        "run `curl -v at the console (https://x.com)`",
    ] {
        let page = shown(remedy);
        assert_eq!(
            page.matches("<a href=\"http").count() + page.matches("href=\"java").count(),
            0,
            "{remedy}: {page}"
        );
        assert!(!page.contains("onclick=\"x"), "{page}");
    }
}

#[test]
fn a_remedy_is_numbered_steps_with_their_commands() {
    let mut shown = status("word");
    shown.providers[0].steps =
        remedy_steps("top up at the x console (https://x.com), then `sms-sidecar resume a`");
    let page = render_page(&shown, &[]);
    let link = "<a href=\"https://x.com\" rel=\"noopener noreferrer\">https://x.com</a>";
    let steps = format!(
        "<dt>To do</dt><dd><ol class=\"steps\"><li>top up at the x console ({link})</li>\
         <li>run<div class=\"command\"><pre><code>sms-sidecar resume a</code></pre></div></li></ol></dd>"
    );
    assert!(page.contains(&steps), "{steps} in {page}");
}

#[test]
fn a_state_is_shown_as_an_icon_and_text_with_its_remedy() {
    let mut shown = status("word");
    shown.providers[0].summary = "quarantined until something changes".into();
    shown.providers[0].steps = remedy_steps("top up");
    let page = render_page(&shown, &[]);
    for part in [
        "<svg class=\"sign bad\"",
        "quarantined until something changes",
        "<dt>To do</dt><dd>top up</dd>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(
        page.find("To do") < page.find("Evidence"),
        "the remedy comes first"
    );
}

#[test]
fn head_and_title_name_the_sidecar() {
    let mut shown = status("word");
    (shown.host, shown.instance) = ("web-3".into(), Some("otp".into()));
    let page = render_page(&shown, &[]);
    for part in [
        "<title>word · otp on web-3 · sms-sidecar</title>",
        "sms-sidecar <span class=\"location\">otp on web-3</span>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn times_are_shown_in_utc_and_by_their_distance_also_inside_sentences() {
    let mut shown = status("word");
    shown.at = "2026-11-25T16:20:00Z".into();
    shown.providers[0].since = Some("2026-11-25T16:17:00Z".into());
    shown.providers[0].summary = "one message may try it at 16:20:47 UTC".into();
    shown.headline.warnings = vec!["Vault x cannot be read since 2026-11-24 16:20:00 UTC.".into()];
    shown.providers[0].evidence = Some("it says 16:20:47 UTC".into());
    let page = render_page(&shown, &[]);
    let time = |at: &str, text: &str, distance: &str| {
        format!(
            "<time datetime=\"{at}\" title=\"{at}\">{text}<span class=\"beside\"> ({distance})</span></time>"
        )
    };
    for part in [
        time("2026-11-25T16:17:00Z", "16:17:00 UTC", "3 min ago"),
        format!(
            "try it at {}</strong>",
            time("2026-11-25T16:20:47Z", "16:20:47 UTC", "in 47 s")
        ),
        format!(
            "since {}.</li>",
            time(
                "2026-11-24T16:20:00Z",
                "2026-11-24 16:20:00 UTC",
                "24 h ago"
            )
        ),
        "it says 16:20:47 UTC</dd>".to_owned(),
    ] {
        assert!(page.contains(&part), "{part} in {page}");
    }
}

#[test]
fn the_balance_shows_how_long_it_lasts() {
    let mut shown = status("word");
    shown.providers[0].balance = Some(BalanceStatus {
        value: 12_000.0,
        unit: "UZS".into(),
        at: "word".into(),
        daily_spend: Some(4_000.0),
    });
    let page = render_page(&shown, &[]);
    assert!(
        page.contains("12\u{202f}000 UZS, about 3 days")
            && page.contains("4\u{202f}000 go in a day"),
        "{page}"
    );
}

#[test]
fn amounts_are_formatted_with_thousands_separators() {
    for (value, text) in [
        (0.0, "0"),
        (12_450.5, "12\u{202f}450.5"),
        (1_234_567.0, "1\u{202f}234\u{202f}567"),
        (-1_000.25, "-1\u{202f}000.25"),
        (100.0, "100"),
    ] {
        assert_eq!(format_amount(value), text);
    }
}

#[test]
fn every_file_that_the_page_loads_is_served() {
    let page = render_page(&Status::default(), &[]);
    for path in ["/status.css", "/status.js", "/icon.svg"] {
        assert!(
            page.contains(&format!("\"{path}\"")) && asset(path).is_some(),
            "{path}"
        );
    }
    assert!(asset("/etc/passwd").is_none());
}
