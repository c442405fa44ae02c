//! Ambiguous rejections: free probes run once in the background, and their result becomes
//! the provider's cause.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::fake::{Fake, Got, Say, say, takes};
use crate::stage::{Lines, Stage, header, provider, route};

const SEND: &str = "/Messages.json";
const ACCOUNT: &str = ".json";

/// One code for many causes on a send; the account and its balance as given.
fn one_code(account: &'static str, balance: &'static str) -> impl Fn(&Got, usize) -> Say {
    move |got, _| match &got.line {
        line if line.contains(SEND) => say(
            401,
            r#"{"code":20003,"message":"Authenticate","status":401}"#,
        ),
        line if line.contains("/Balance.json") => say(
            200,
            &format!(r#"{{"balance":"{balance}","currency":"USD"}}"#),
        ),
        line if line.contains(ACCOUNT) && account.starts_with('{') => say(403, account),
        line if line.contains(ACCOUNT) && !account.is_empty() => {
            say(200, &format!(r#"{{"status":"{account}"}}"#))
        }
        _ => say(
            401,
            r#"{"code":20003,"message":"Authenticate","status":401}"#,
        ),
    }
}

async fn twilio(
    script: impl Fn(&Got, usize) -> Say + Send + Sync + 'static,
) -> (Fake, Fake, Stage) {
    let (a, b) = (Fake::open(script).await, Fake::open(|_, _| takes()).await);
    let stage = Stage::open(
        &(provider("a", "twilio", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("a b", "prefer = \"listed\"")),
    );
    (a, b, stage)
}

fn probes(stage: &Stage, outcome: &str, cause: &str) -> f64 {
    stage.metric(
        "attempts_total",
        &[
            ("provider", "a"),
            ("kind", "probe"),
            ("outcome", outcome),
            ("cause", cause),
        ],
    )
}

#[tokio::test]
async fn a_free_probe_resolves_an_ambiguous_code() {
    let (a, _b, stage) = twilio(one_code("closed", "1")).await;
    assert_eq!(
        header(&stage.send("one").await, "x-sms-sidecar-provider"),
        "b"
    );
    assert_eq!(stage.cause("a").await, "credential-rejected");
    assert_eq!(stage.settle().await, 1);
    assert_eq!(
        (stage.cause("a").await.as_str(), stage.standing("a")),
        ("account-suspended", "quarantined".to_owned())
    );
    assert_eq!((a.at(SEND), a.count()), (1, 2), "the send is not repeated");
    assert_eq!(probes(&stage, "rejected", "account-suspended"), 1.0);
}

#[tokio::test]
async fn a_second_probe_runs_only_if_the_service_recognises_the_credential() {
    // An account probe that reports a suspension settles the cause.
    for (balance, cause, told) in [
        ("0.00", "balance-empty", 1.0),
        ("12.30", "account-suspended", 1.0),
    ] {
        let (a, _b, stage) = twilio(one_code("suspended", balance)).await;
        stage.send("one").await;
        stage.settle().await;
        assert_eq!(
            (
                stage.cause("a").await.as_str(),
                a.at("/Balance.json"),
                a.count()
            ),
            (cause, 1, 3)
        );
        assert_eq!(probes(&stage, "rejected", cause), told);
    }
}

#[tokio::test]
async fn an_unrecognised_credential_is_probed_once_by_each_probe() {
    let (a, _b, stage) = twilio(one_code("", "")).await;
    for text in ["one", "two"] {
        stage.send(text).await;
        stage.settle().await;
    }
    assert_eq!(
        (a.at(SEND), a.at("/Balance.json"), a.count()),
        (1, 1, 3),
        "one question about the account, one about the balance"
    );
    assert_eq!(stage.cause("a").await, "credential-rejected");
    stage.pass(Duration::from_mins(2));
    stage.send("three").await;
    assert_eq!(
        (a.at(SEND), stage.settle().await, a.count()),
        (2, 0, 4),
        "a recheck that fails in the same way asks nothing anew"
    );
    stage.put("a", &[("auth_token", "ffffffffffffffffffffffffffffffff")]);
    stage.looked("a").await;
    stage.send("four").await;
    assert_eq!(
        (stage.settle().await, a.at(SEND), a.count()),
        (1, 3, 7),
        "a newer version is another matter"
    );
}

#[tokio::test]
async fn the_account_probe_identifies_test_credentials_on_production() {
    let (_a, _b, stage) = twilio(one_code(r#"{"code":20008,"status":403}"#, "1")).await;
    stage.send("one").await;
    stage.settle().await;
    assert_eq!(
        (stage.cause("a").await.as_str(), stage.standing("a")),
        ("sandbox-mismatch", "quarantined".to_owned())
    );
}

#[tokio::test]
async fn a_rejection_wakes_the_task_that_probes() {
    let (_a, _b, stage) = twilio(one_code("active", "0.00")).await;
    let proxy = Arc::clone(&stage.proxy);
    let prober = tokio::spawn(async move {
        let suspicion = proxy.next_pending_probe().await;
        proxy.disambiguate(suspicion).await;
    });
    tokio::task::yield_now().await;
    stage.send("one").await;
    let woken = tokio::time::timeout(Duration::from_secs(20), prober).await;
    woken.expect("nobody woke it").unwrap();
    assert_eq!(stage.cause("a").await, "balance-empty");
}

#[tokio::test]
async fn an_active_account_without_money_is_balance_empty_everywhere() {
    let log = Lines::of_this_thread();
    let (a, _b, stage) = twilio(one_code("active", "0.00")).await;
    stage.send("one").await;
    let sends = |cause| stage.metric("attempts_total", &[("kind", "send"), ("cause", cause)]);
    assert_eq!(
        sends("credential-rejected"),
        0.0,
        "it is counted when its cause is settled"
    );
    assert_eq!((stage.settle().await, a.count()), (1, 3));
    let own = stage.provider_status("a").await;
    assert_eq!(
        (
            own["cause"].as_str(),
            own["certainty"].as_str(),
            own["state"].as_str()
        ),
        (Some("balance-empty"), Some("certain"), Some("quarantined"))
    );
    let evidence = own["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("its account probe found no fault")
            && evidence.contains("its balance probe reports balance-empty"),
        "{evidence}"
    );
    assert_eq!(
        (sends("balance-empty"), sends("credential-rejected")),
        (1.0, 0.0)
    );
    assert_eq!(probes(&stage, "accepted", "none"), 1.0);
    assert_eq!(probes(&stage, "rejected", "balance-empty"), 1.0);
    let log = log.text();
    let told = log
        .lines()
        .find(|line| line.contains("a rejected for balance-empty"))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(
        told.contains("its balance probe reports balance-empty") && told.contains("remedy"),
        "{told}"
    );
}

#[tokio::test]
async fn a_rejection_of_an_account_in_order_is_unexplained() {
    let (a, _b, stage) = twilio(one_code("active", "12.30")).await;
    stage.send("one").await;
    assert_eq!((stage.settle().await, a.count()), (1, 3));
    let own = stage.provider_status("a").await;
    assert_eq!(
        (
            own["state"].as_str(),
            own["cause"].as_str(),
            own["certainty"].as_str()
        ),
        (Some("healthy"), Some("unexplained"), Some("likely")),
        "{own}"
    );
    let evidence = own["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("its account probe found no fault")
            && evidence.contains("its balance probe found no fault"),
        "{evidence}"
    );
    let unexplained = [("kind", "send"), ("cause", "unexplained")];
    assert_eq!(stage.metric("attempts_total", &unexplained), 1.0);
    let family = [("kind", "send"), ("family", "account")];
    assert_eq!(stage.metric("attempts_total", &family), 1.0, "still a 401");
    stage.send("two").await;
    assert_eq!(
        (
            stage.settle().await,
            a.at(SEND),
            stage.metric("attempts_total", &unexplained)
        ),
        (0, 2, 2.0),
        "the evidence is kept"
    );
    let own = stage.provider_status("a").await;
    let evidence = own["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("its account probe found no fault")
            && evidence.contains("its balance probe found no fault"),
        "{evidence}"
    );
}

#[tokio::test]
async fn an_account_that_was_healthy_again_is_probed_anew() {
    let (a, _b, stage) = twilio(one_code("active", "0.00")).await;
    stage.send("one").await;
    assert_eq!(stage.settle().await, 1);
    assert_eq!(stage.cause("a").await, "balance-empty");
    a.now(one_code("active", "12.30"));
    stage.pass(Duration::from_secs(30));
    stage.proxy.run_due_probes().await;
    assert_eq!(stage.standing("a"), "healthy");
    a.now(one_code("closed", "12.30"));
    stage.send("two").await;
    assert_eq!(
        (stage.settle().await, stage.cause("a").await.as_str()),
        (1, "account-suspended"),
        "what the earlier probes said is past"
    );
}

#[tokio::test]
async fn rejections_during_the_probes_are_counted_with_their_result() {
    let gate = crate::fake::Gate::closed();
    let shut = gate.clone();
    let (a, _b, stage) = twilio(move |got, nth| {
        let answer = one_code("active", "0.00")(got, nth);
        if got.line.contains(SEND) {
            answer.behind(&shut)
        } else {
            answer
        }
    })
    .await;
    let both = async {
        a.wait_for_requests(2).await;
        gate.open();
    };
    tokio::join!(stage.send("one"), stage.send("two"), both);
    assert_eq!((stage.settle().await, a.at(SEND)), (1, 2));
    let empty = [("kind", "send"), ("cause", "balance-empty")];
    assert_eq!(stage.metric("attempts_total", &empty), 2.0);
}

#[tokio::test]
async fn an_unresolvable_ambiguity_is_not_probed() {
    let a = Fake::open(|_, _| say(200, r#"{"error":"forbidden","error_code":6}"#)).await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "") + &route("a", "")));
    stage.send("one").await;
    assert_eq!((stage.settle().await, a.count()), (0, 1));
}

#[tokio::test]
async fn an_answered_probe_rules_out_the_login() {
    let a = Fake::open(|got, _| {
        let balance = got.line.contains("balance.php");
        if balance {
            say(200, r#"{"balance":"10","currency":"RUR"}"#)
        } else {
            say(200, r#"{"error":"no such login","error_code":2}"#)
        }
    })
    .await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "") + &route("a", "")));
    stage.send("one").await;
    stage.settle().await;
    assert_eq!(
        (
            stage.cause("a").await.as_str(),
            a.at("balance.php"),
            a.at("send.php")
        ),
        ("ip-not-allowed", 1, 1)
    );
    assert_eq!(probes(&stage, "accepted", "none"), 1.0);
}

#[tokio::test]
async fn an_unknown_provider_message_may_mean_an_empty_balance() {
    let a = Fake::open(|got, _| match &got.line {
        line if line.contains("/auth/login") => say(
            200,
            r#"{"message":"token_generated","data":{"token":"a.b.c"}}"#,
        ),
        line if line.contains("get-limit") => {
            say(200, r#"{"data":{"balance":0},"status":"success"}"#)
        }
        _ => say(400, r#"{"status":"error","message":"something new"}"#),
    })
    .await;
    let stage = Stage::open(&(provider("a", "eskiz", &a, "") + &route("a", "")));
    stage.send("one").await;
    assert_eq!(stage.standing("a"), "healthy");
    stage.settle().await;
    assert_eq!(
        (
            stage.cause("a").await.as_str(),
            stage.standing("a"),
            a.at("/auth/login")
        ),
        ("balance-empty", "quarantined".to_owned(), 1)
    );
}

#[tokio::test]
async fn a_rejected_fresh_token_is_sufficient_evidence() {
    let a = Fake::open(|got, nth| {
        let login = got.line.contains("/auth/login");
        if login {
            say(200, &format!(r#"{{"data":{{"token":"token-{nth}"}}}}"#))
        } else {
            say(
                401,
                r#"{"status":"token-invalid","message":"Token invalid"}"#,
            )
        }
    })
    .await;
    let stage = Stage::open(&(provider("a", "eskiz", &a, "") + &route("a", "")));
    stage.send("one").await;
    let before = a.count();
    assert_eq!(stage.cause("a").await, "credential-rejected");
    assert_eq!(
        (stage.settle().await, a.count()),
        (0, before),
        "nobody is asked"
    );
}

#[tokio::test]
async fn a_newer_version_is_left_to_the_next_message() {
    let (a, _b, stage) = twilio(one_code("closed", "1")).await;
    stage.send("one").await;
    stage.put("a", &[("auth_token", "ffffffffffffffffffffffffffffffff")]);
    stage.looked("a").await;
    stage.settle().await;
    assert_eq!((a.count(), stage.standing("a")), (1, "healthy".to_owned()));
}

#[tokio::test]
async fn a_hanging_probe_stays_ambiguous_and_delays_no_request() {
    let gate = crate::fake::Gate::closed();
    let shut = gate.clone();
    let (a, _b, stage) = twilio(move |got, nth| {
        let answer = one_code("closed", "1")(got, nth);
        if got.line.contains(SEND) {
            answer
        } else {
            answer.behind(&shut)
        }
    })
    .await;
    assert_eq!(stage.send("one").await.status.as_u16(), 202);
    tokio::join!(stage.settle(), async {
        a.wait_for_requests(2).await;
        assert_eq!(
            stage.send("two").await.status.as_u16(),
            202,
            "calls go on while the question hangs"
        );
    });
    assert_eq!(
        (stage.cause("a").await.as_str(), a.count()),
        ("credential-rejected", 3)
    );
    assert_eq!(probes(&stage, "unknown", "timeout"), 2.0);
}

#[tokio::test]
async fn an_inferred_probe_is_not_used() {
    let a = Fake::open(|_, _| say(403, "")).await;
    let stage = Stage::open(&(provider("a", "playmobile", &a, "") + &route("a", "")));
    stage.send("one").await;
    assert_eq!(
        (
            stage.cause("a").await.as_str(),
            stage.settle().await,
            a.count()
        ),
        ("ip-not-allowed", 0, 1)
    );
}

#[tokio::test]
async fn a_recheck_keeps_the_resolved_cause() {
    let (a, _b, stage) = twilio(one_code("closed", "1")).await;
    stage.send("one").await;
    stage.settle().await;
    stage.pass(Duration::from_mins(2));
    stage.send("two").await;
    assert_eq!(
        (stage.cause("a").await.as_str(), a.at(SEND), a.count()),
        ("account-suspended", 2, 3)
    );
    let counted = [
        ("provider", "a"),
        ("kind", "send"),
        ("cause", "account-suspended"),
    ];
    assert_eq!(
        (
            stage.settle().await,
            stage.metric("attempts_total", &counted)
        ),
        (0, 2.0)
    );
}

/// A digest over a time: the secret or the clock is wrong.
async fn sayqal(date: jiff::SignedDuration, words: &'static str) -> Stage {
    let a = Fake::open(move |_, _| {
        let date = jiff::Timestamp::now().saturating_add(date).unwrap();
        say(403, words).with(
            "date",
            &jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&date)
                .unwrap(),
        )
    })
    .await;
    let credential =
        "credential = { vault = \"v\", path = \"a\", fields = { secret = \"password\" } }";
    let stage = Stage::open(&(provider("a", "sayqal", &a, credential) + &route("a", "")));
    stage.send("one").await;
    stage
}

#[tokio::test]
async fn the_reply_date_resolves_an_ambiguous_time_digest() {
    for (apart, cause) in [
        (0, "credential-rejected"),
        (-600, "clock-skew"),
        (600, "clock-skew"),
        (-120, "credential-rejected"),
    ] {
        let stage = sayqal(
            jiff::SignedDuration::from_secs(apart),
            r#"{"errMsg":"bad access token"}"#,
        )
        .await;
        assert_eq!(
            (stage.cause("a").await.as_str(), stage.standing("a")),
            (cause, "quarantined".to_owned()),
            "{apart}"
        );
        assert_eq!(
            stage.metric("attempts_total", &[("kind", "send"), ("cause", cause)]),
            1.0,
            "{apart}"
        );
    }
}

#[tokio::test]
async fn an_address_in_a_rejection_is_the_one_the_service_checks() {
    let a = Fake::open(|_, _| {
        say(
            401,
            r#"{"errorCode":"E401","description":"Unauthorized from 203.0.113.7"}"#,
        )
    })
    .await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
    stage.send("one").await;
    assert_eq!(
        (stage.cause("a").await.as_str(), stage.settle().await),
        ("ip-not-allowed", 0)
    );
}

#[tokio::test]
async fn a_new_version_that_never_worked_is_not_the_address() {
    let a = Fake::open(|got, _| {
        let known = got.body.contains("psw=password-1");
        if got.line.contains("balance.php") || !known {
            say(200, r#"{"error":"no such login","error_code":2}"#)
        } else {
            say(200, r#"{"id":7,"cnt":1}"#)
        }
    })
    .await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "") + &route("a", "")));
    stage.send("one").await;
    stage.put("a", &[("password", "mistyped")]);
    stage.looked("a").await;
    stage.send("two").await;
    assert_eq!(
        (
            stage.cause("a").await.as_str(),
            stage.settle().await,
            a.at("balance.php")
        ),
        ("credential-rejected", 0, 0)
    );
}

/// Its tokens name an account of this role; it forbids every message.
fn forbids(role: &str) -> impl Fn(&Got, usize) -> Say {
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(format!(r#"{{"exp":4102444800,"role":"{role}"}}"#));
    move |got, _| {
        let login = got.line.contains("/auth/login");
        let token = || {
            say(
                200,
                &format!(r#"{{"data":{{"token":"head.{claims}.sign"}}}}"#),
            )
        };
        if login {
            token()
        } else {
            say(403, r#"{"message":"forbidden"}"#)
        }
    }
}

#[tokio::test]
async fn a_test_account_token_is_weak_evidence() {
    for (role, cause) in [("test", "sandbox-mismatch"), ("user", "permission-denied")] {
        let a = Fake::open(forbids(role)).await;
        let stage = Stage::open(&(provider("a", "eskiz", &a, "") + &route("a", "")));
        stage.send("one").await;
        assert_eq!(
            stage.metric("attempts_total", &[("kind", "send"), ("cause", cause)]),
            1.0,
            "{role}"
        );
        assert_eq!((stage.settle().await, a.count()), (0, 2), "nobody is asked");
    }
}

#[tokio::test]
async fn dns_failures_and_non_tls_replies_are_reported_as_such() {
    let clear = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = clear.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = clear.accept().await {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
                .await
                .unwrap_or_default();
        }
    });
    let at = |name: &str, url: &str| {
        format!(
            "[providers.{name}]\ndialect = \"plain\"\nbase_url = \"{url}\"\ncredential = {{ vault = \"v\", path = \"{name}\" }}\ntimeout = \"5s\"\n"
        )
    };
    for (url, told) in [
        (
            "https://no-such-service.invalid".to_owned(),
            "the name no-such-service.invalid does not exist in DNS",
        ),
        (format!("https://{address}"), "the TLS handshake with"),
    ] {
        let stage = Stage::open(&(at("a", &url) + &route("a", "")));
        let header = stage
            .control("POST /send", r#"{"to":"+998901234567","text":"one"}"#)
            .await;
        assert!(
            header.contains("unreachable") && header.contains(told),
            "{header}"
        );
        assert!(
            header.contains("curl -v"),
            "the remedy says how to look: {header}"
        );
    }
}

#[tokio::test]
async fn a_token_rejected_within_its_lifetime_was_revoked() {
    use base64::Engine;
    let exp = jiff::Timestamp::now().as_second() + 30 * 24 * 3600;
    let claims =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#));
    let a = Fake::open(move |got, _| {
        let login = got.line.contains("/auth/login");
        let token = || {
            say(
                200,
                &format!(r#"{{"data":{{"token":"head.{claims}.sign"}}}}"#),
            )
        };
        if login {
            token()
        } else {
            say(
                401,
                r#"{"status":"token-invalid","message":"Token invalid"}"#,
            )
        }
    })
    .await;
    let stage = Stage::open(&(provider("a", "eskiz", &a, "") + &route("a", "")));
    stage.send("one").await;
    assert_eq!(
        (stage.cause("a").await.as_str(), stage.settle().await),
        ("credential-rejected", 0)
    );
    let header = stage.metric(
        "attempts_total",
        &[("kind", "send"), ("cause", "credential-rejected")],
    );
    assert!(header >= 1.0, "{header}");
}
