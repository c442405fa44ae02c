//! Requests that are not a message, observe mode, rejected requests, and which callers may use an entrypoint.

use std::time::Duration;

use http::Method;
use sms_sidecar::dialect::Request;
use sms_sidecar::net::drain::ClientConnection;
use sms_sidecar::net::entrypoint::{
    Authority, EntrypointTarget, HostAdmission, RequestHandler, Scheme,
};
use sms_sidecar::net::peer::Peer;
use sms_sidecar::secret::SecretString;

use crate::fake::{Fake, Gate, refuses, say, takes};
use crate::stage::{Stage, body, get, header, host, message, post, provider, route, with};

const KEY: &str = "0123456789abcdef0123456789abcdef-01234567-0123-0123-0123-0123456789ab";

async fn infobip() -> (Fake, Stage) {
    let a = Fake::open(|_, _| say(200, r#"{"balance":12,"currency":"EUR"}"#)).await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
    (a, stage)
}

fn balance() -> Request {
    with(
        get("/infobip/account/1/balance"),
        "authorization",
        "App of-the-backend",
    )
}

#[tokio::test]
async fn a_named_operation_is_passed_through_with_our_credential() {
    let (a, stage) = infobip().await;
    let reply = stage.ask(balance()).await;
    assert_eq!(
        (reply.status.as_u16(), body(&reply).as_str()),
        (200, r#"{"balance":12,"currency":"EUR"}"#)
    );
    let got = &a.got()[0];
    assert_eq!(
        (got.line.as_str(), got.header("authorization")),
        (
            "GET /account/1/balance HTTP/1.1",
            Some(format!("App {KEY}").as_str())
        )
    );
    let counted = [
        ("provider", "a"),
        ("kind", "passthrough"),
        ("outcome", "accepted"),
    ];
    assert_eq!(stage.metric("attempts_total", &counted), 1.0);
}

/// A change of any of them is seen, also before the first request.
#[tokio::test]
async fn every_entry_of_the_config_is_watched_from_the_start() {
    let a = Fake::open(|_, _| takes()).await;
    let callers = "[callers.two]\ntoken = { vault = \"v\", path = \"callers/two\" }\n";
    let stage = Stage::open(&(provider("a", "plain", &a, "") + callers + &route("a", "")));
    stage.put("callers/two", &[("token", "caller-token-2")]);
    assert_eq!(stage.watched_entries(2).await, ["a", "callers/two"]);
}

#[tokio::test]
async fn a_failed_passthrough_request_is_502_and_never_401() {
    let (a, stage) = infobip().await;
    for (status, text) in [
        (500, "{}"),
        (503, "{}"),
        (401, r#"{"errorCode":"E401","description":"no"}"#),
    ] {
        a.now(move |_, _| say(status, text));
        let reply = stage.ask(balance()).await;
        assert_eq!(reply.status.as_u16(), 502, "{status}");
        assert!(
            body(&reply).contains("errorCode"),
            "in the dialect: {}",
            body(&reply)
        );
    }
    assert_eq!(a.count(), 3, "one attempt each");
}

#[tokio::test]
async fn passthrough_requests_do_not_send_a_dead_credential() {
    let (a, stage) = infobip().await;
    a.now(|_, _| say(401, r#"{"errorCode":"E401","description":"no"}"#));
    assert_eq!(stage.ask(balance()).await.status.as_u16(), 502);
    assert_eq!(
        stage.standing("a"),
        "quarantined",
        "what it says of the credential holds for every call"
    );
    let reply = stage.ask(balance()).await;
    assert_eq!(
        (
            reply.status.as_u16(),
            header(&reply, "x-sms-sidecar-cause"),
            a.count()
        ),
        (502, "credential-rejected", 1)
    );
    stage.put("a", &[("api_key", &KEY.replace("ab", "ba"))]);
    stage.looked("a").await;
    a.now(|_, _| say(200, "{}"));
    assert_eq!(
        (
            stage.ask(balance()).await.status.as_u16(),
            stage.standing("a").as_str()
        ),
        (200, "healthy")
    );
}

#[tokio::test]
async fn a_missing_right_for_one_operation_does_not_affect_messages() {
    let (a, stage) = infobip().await;
    a.now(|_, _| say(403, r#"{"errorCode":"E403","description":"no"}"#));
    assert_eq!(stage.ask(balance()).await.status.as_u16(), 502);
    assert_eq!(stage.standing("a"), "healthy");
}

#[tokio::test]
async fn unnamed_operations_are_rejected() {
    let (a, stage) = infobip().await;
    let reply = stage.ask(get("/infobip/sms/1/logs")).await;
    assert_eq!(
        (
            reply.status.as_u16(),
            header(&reply, "x-sms-sidecar-cause"),
            a.count()
        ),
        (403, "denied-by-policy", 0)
    );
    assert!(body(&reply).contains("errorCode"));
    assert_eq!(stage.ask(get("/nobody/x")).await.status.as_u16(), 404);
}

/// A common mistake: the service's path without the part that belongs to its base URL.
#[tokio::test]
async fn a_path_without_its_prefix_gets_a_hint_with_the_full_path() {
    let a = Fake::open(|_, _| say(200, "Request is received")).await;
    let stage = Stage::open(&(provider("play", "playmobile", &a, "") + &route("play", "")));
    let reply = stage.ask(post("/playmobile/send", "{}")).await;
    assert_eq!((reply.status.as_u16(), a.count()), (403, 0));
    assert!(
        body(&reply).contains("`POST /broker-api/send`"),
        "{}",
        body(&reply)
    );
}

#[tokio::test]
async fn an_operation_that_one_account_adds_goes_through_no_other() {
    let (a, b) = (
        Fake::open(|_, _| say(200, "{}")).await,
        Fake::open(|_, _| say(200, "{}")).await,
    );
    let added = "operations = [\"GET /sms/1/reports\"]\n";
    let stage = Stage::open(
        &(provider("a", "infobip", &a, "")
            + &provider("b", "infobip", &b, added)
            + &route("a b", "")),
    );
    assert_eq!(
        (
            stage.ask(get("/b/sms/1/reports")).await.status.as_u16(),
            b.count()
        ),
        (200, 1)
    );
    assert_eq!(
        stage.ask(get("/a/sms/1/reports")).await.status.as_u16(),
        403
    );
    assert_eq!(
        stage
            .ask(get("/infobip/sms/1/reports"))
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!((a.count(), b.count()), (0, 2));
}

#[tokio::test]
async fn a_login_gets_a_placeholder_and_an_id_of_ours_is_answered_from_memory() {
    let (a, b) = (
        Fake::open(|_, _| refuses("balance-empty")).await,
        Fake::open(|_, _| takes()).await,
    );
    let stage = Stage::open(
        &(provider("a", "eskiz", &a, "") + &provider("b", "plain", &b, "") + &route("b", "")),
    );
    let login = stage
        .ask(post(
            "/eskiz/api/auth/login",
            r#"{"email":"x","password":"y"}"#,
        ))
        .await;
    assert_eq!((login.status.as_u16(), a.count()), (200, 0));
    assert!(body(&login).contains("token_generated"));
    let sent = stage
        .ask(post(
            "/eskiz/api/message/sms/send",
            r#"{"mobile_phone":"998901234567","message":"kod 1","from":"4546"}"#,
        ))
        .await;
    assert_eq!((sent.status.as_u16(), b.count()), (200, 1));
    let tree: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    let id = tree["id"].as_str().unwrap();
    assert_ne!(id, "id-1", "an id of the shape that the dialect has");
    let status = stage
        .ask(get(&format!("/eskiz/api/message/sms/status_by_id/{id}")))
        .await;
    assert_eq!((status.status.as_u16(), a.count(), b.count()), (200, 0, 1));
    assert!(body(&status).contains(id) && body(&status).contains("ACCEPTED"));
    stage
        .ask(get("/eskiz/api/message/sms/status_by_id/77"))
        .await;
    assert_eq!(a.at("/auth/login"), 1, "theirs are carried");
}

#[tokio::test]
async fn observe_passes_the_request_and_the_401_unchanged() {
    let (a, b) = (
        Fake::open(|_, _| refuses("credential-rejected").with("x-own", "1")).await,
        Fake::open(|_, _| takes()).await,
    );
    let config = "mode = \"observe\"\n".to_owned()
        + &provider("a", "plain", &a, "")
        + &provider("b", "plain", &b, "")
        + &route("a b", "");
    let stage = Stage::open(&config);
    let request = with(
        with(message("kod 1"), "authorization", "Bearer of-the-backend"),
        "x-custom",
        "kept",
    );
    let raw = request.body.clone();
    let reply = stage.ask(request).await;
    assert_eq!(
        (reply.status.as_u16(), body(&reply).as_str()),
        (401, r#"{"error":"credential-rejected","message":"no"}"#)
    );
    assert_eq!(
        (
            header(&reply, "x-own"),
            header(&reply, "x-sms-sidecar-cause")
        ),
        ("1", "")
    );
    let got = &a.got()[0];
    assert_eq!(
        (got.line.as_str(), got.body.as_bytes()),
        ("POST /v1/messages HTTP/1.1", &raw[..])
    );
    assert_eq!(
        (got.header("authorization"), got.header("x-custom")),
        (Some("Bearer of-the-backend"), Some("kept"))
    );
    assert_eq!((a.count(), b.count()), (1, 0), "once, and no failover");
    let labels = [
        ("provider", "a"),
        ("kind", "send"),
        ("cause", "credential-rejected"),
        ("family", "account"),
    ];
    assert_eq!(stage.metric("attempts_total", &labels), 1.0);
    assert_eq!(stage.standing("a"), "healthy");
    assert_eq!(
        stage.cause("a").await,
        "credential-rejected",
        "the status explains the last message, though nothing is quarantined"
    );
    stage.ask(get("/plain/anything/else")).await;
    assert_eq!(
        a.got()[1].line,
        "GET /anything/else HTTP/1.1",
        "unnamed operations pass as well"
    );
}

#[tokio::test]
async fn observe_tells_a_missing_credential_from_a_wrong_one() {
    let a = Fake::open(|_, _| say(401, "")).await;
    let config =
        "mode = \"observe\"\n".to_owned() + &provider("a", "playmobile", &a, "") + &route("a", "");
    let stage = Stage::open(&config);
    let counted = |cause: &str| {
        let labels = [("cause", cause), ("family", "account"), ("kind", "send")];
        stage.metric("attempts_total", &labels)
    };
    // A variable that is not set, as Node sends it; our own placeholder; nothing at all.
    let basic = |pair: &str| {
        use base64::Engine;
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
    };
    let unset = [
        "undefined:undefined",
        "login:",
        "sms-sidecar:sms-sidecar",
        "login:${PASS}",
    ];
    for (at, pair) in unset.iter().enumerate() {
        let request = crate::stage::playmobile(&format!("m{at}"), "t");
        let reply = stage
            .ask(with(request, "authorization", &basic(pair)))
            .await;
        assert_eq!(reply.status.as_u16(), 401, "the reply is unchanged");
    }
    let mut bare = crate::stage::playmobile("none", "t");
    bare.headers.remove("authorization");
    stage.ask(bare).await;
    assert_eq!(
        (
            counted("credential-missing"),
            counted("credential-rejected")
        ),
        (5.0, 0.0)
    );
    let wrong = crate::stage::playmobile("wrong", "t");
    stage
        .ask(with(wrong, "authorization", &basic("login:wrong")))
        .await;
    assert_eq!(
        (
            counted("credential-missing"),
            counted("credential-rejected")
        ),
        (5.0, 1.0)
    );
    a.now(|_, _| say(200, "Request is received"));
    let accepted = crate::stage::playmobile("undefined", "t");
    stage
        .ask(with(
            accepted,
            "authorization",
            &basic("undefined:undefined"),
        ))
        .await;
    assert_eq!(
        counted("credential-missing"),
        5.0,
        "what is accepted is not missing"
    );
    let results = |result: &str| stage.metric("requests_total", &[("result", result)]);
    assert_eq!(
        (
            results("passed-through"),
            results("not-sent"),
            results("accepted")
        ),
        (6.0, 0.0, 1.0),
        "a rejection that the backend got is not a message that the sidecar did not send"
    );
}

#[tokio::test]
async fn observe_keeps_the_path_that_the_backend_named() {
    let a = Fake::open(|_, _| say(200, "Request is received")).await;
    let own = provider("a", "playmobile", &a, "").replace(
        &format!("{}\"", a.address),
        &format!("{}/v9/api\"", a.address),
    );
    let stage = Stage::open(&format!("mode = \"observe\"\n{own}{}", route("a", "")));
    let mut at_host = crate::stage::playmobile("m", "t");
    at_host.path = "/v9/api/send".into();
    stage
        .call(
            at_host,
            host(&a),
            Peer::default(),
            ClientConnection::always_connected(),
        )
        .await;
    let mut at_base = crate::stage::playmobile("m", "t");
    at_base.path = "/a/v9/api/send".into();
    stage.ask(at_base).await;
    stage.ask(crate::stage::playmobile("m", "t")).await;
    let lines: Vec<String> = a.got().iter().map(|got| got.line.clone()).collect();
    assert_eq!(lines, ["POST /v9/api/send HTTP/1.1"; 3]);
}

/// What the backend requested is named without what may be a number or a secret.
#[tokio::test]
async fn a_wrong_path_is_the_backends_to_correct() {
    let a = Fake::open(|_, _| say(404, "")).await;
    let config =
        "mode = \"observe\"\n".to_owned() + &provider("a", "playmobile", &a, "") + &route("a", "");
    let stage = Stage::open(&config);
    let shown = async || {
        let own = stage.provider_status("a").await;
        [own["cause"].clone(), own["remedy"].clone()]
    };
    let mut request = crate::stage::playmobile("m", "t");
    request.path = "/playmobile/998907654321/send".into();
    stage.ask(request).await;
    assert_eq!(
        shown().await,
        [
            "endpoint-wrong",
            "the backend requested POST /…/send; a's message is POST /broker-api/send: \
             correct the backend's base URL"
        ]
    );
    stage.ask(crate::stage::playmobile("m", "t")).await;
    let [cause, remedy] = shown().await;
    assert_eq!(cause, "endpoint-wrong");
    assert!(
        !remedy.to_string().contains("the backend requested"),
        "the path is right, so it is the config's URL: {remedy}"
    );
}

#[tokio::test]
async fn a_request_whose_login_took_its_time_is_not_sent() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let a = Fake::open(move |got, _| {
        if got.line.contains("/auth/login") {
            say(200, r#"{"data":{"token":"a.b.c"}}"#).behind(&shut)
        } else {
            say(200, r#"{"data":{"balance":1},"status":"success"}"#)
        }
    })
    .await;
    let stage = Stage::open(&(provider("a", "eskiz", &a, "") + &route("a", "")));
    let limit = || stage.ask(get("/eskiz/api/user/get-limit"));
    let late = async {
        a.wait_for_requests(1).await;
        stage.pass(Duration::from_secs(30));
        gate.open();
    };
    let (reply, ()) = tokio::join!(limit(), late);
    assert_eq!(
        (
            reply.status.as_u16(),
            header(&reply, "x-sms-sidecar-cause"),
            a.at("/user/get-limit")
        ),
        (502, "timeout", 0)
    );
    assert_eq!(limit().await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_secret_that_a_provider_echoes_is_masked() {
    let (a, stage) = infobip().await;
    a.now(|got, _| {
        say(
            400,
            &format!(
                r#"{{"errorCode":"E400","description":"bad {}"}}"#,
                got.header("authorization").unwrap()
            ),
        )
    });
    let reply = stage.ask(balance()).await;
    assert!(
        body(&reply).contains("***") && !body(&reply).contains(KEY),
        "{}",
        body(&reply)
    );
    let newer = KEY.replace("ab", "ba");
    stage.put("a", &[("api_key", &newer)]);
    stage.looked("a").await;
    let reply = stage.ask(balance()).await;
    assert!(
        a.got()
            .iter()
            .any(|got| got.header("authorization") == Some(&format!("App {newer}"))),
        "the newer one is used"
    );
    assert!(
        body(&reply).contains("***") && !body(&reply).contains(&newer),
        "{}",
        body(&reply)
    );
}

#[tokio::test]
async fn callers_are_identified_by_uid_or_token_in_any_password_field() {
    let (a, b) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| say(200, r#"{"id":1}"#)).await,
    );
    let callers = "[callers.one]\nuid = 4242\n[callers.two]\ntoken = { vault = \"v\", path = \"callers/two\" }\n";
    let stage = Stage::open(
        &(provider("a", "plain", &a, "")
            + &provider("b", "smsc", &b, "")
            + callers
            + &route("a", "")),
    );
    assert!(stage.proxy.needs_peer_uid());
    stage.put("callers/two", &[("token", "caller-token-2")]);
    let ask = |request: Request, peer: Peer| {
        stage.call(
            request,
            EntrypointTarget::BaseUrl,
            peer,
            ClientConnection::always_connected(),
        )
    };
    let status = |reply: sms_sidecar::dialect::Reply| reply.status.as_u16();
    assert_eq!(status(ask(message("1"), Peer::default()).await), 403);
    assert_eq!(
        status(
            ask(
                with(message("2"), "authorization", "Bearer wrong"),
                Peer::default()
            )
            .await
        ),
        403
    );
    assert_eq!(
        status(
            ask(
                with(message("3"), "authorization", "Bearer caller-token-2"),
                Peer::default()
            )
            .await
        ),
        202
    );
    assert_eq!(
        status(
            ask(
                message("4"),
                Peer {
                    uid: Some(4242),
                    ..Peer::default()
                }
            )
            .await
        ),
        202
    );
    assert_eq!(
        status(
            ask(
                message("5"),
                Peer {
                    uid: Some(1),
                    ..Peer::default()
                }
            )
            .await
        ),
        403
    );
    let token = Some(SecretString::from("caller-token-2"));
    assert_eq!(
        status(
            ask(
                message("6"),
                Peer {
                    token,
                    ..Peer::default()
                }
            )
            .await
        ),
        202
    );
    let form = |password: &str| {
        let mut request = post(
            "/smsc/sys/send.php",
            &format!(
                "login=x&psw={password}&phones=998901234567&mes=hello{}&fmt=3",
                password.len()
            ),
        );
        request.headers.insert(
            "content-type",
            "application/x-www-form-urlencoded".parse().unwrap(),
        );
        request
    };
    assert_eq!(status(ask(form("wrong"), Peer::default()).await), 403);
    assert_eq!(
        status(ask(form("caller-token-2"), Peer::default()).await),
        200
    );
    let query = Request {
        method: Method::GET,
        ..get("/smsc/sys/send.php?login=x&psw=caller-token-2&phones=998901234567&mes=q&fmt=3")
    };
    assert_eq!(status(ask(query, Peer::default()).await), 200);
    assert!(
        a.got()
            .iter()
            .chain(&b.got())
            .all(|got| !got.body.contains("caller-token-2")
                && got.header("authorization") != Some("Bearer caller-token-2"))
    );
}

/// A tunnel to another host is for the config's callers; a provider's host is intercepted, and asks for the caller then.
#[tokio::test]
async fn a_host_is_admitted_by_its_name_and_its_caller() {
    let a = Fake::open(|_, _| takes()).await;
    let callers = "[callers.one]\nuid = 4242\n[callers.two]\ntoken = { vault = \"v\", path = \"callers/two\" }\n";
    let account = provider("a", "plain", &a, "") + &route("a", "");
    let with_uid = |uid| Peer {
        uid: Some(uid),
        ..Peer::default()
    };
    let with_token = |token: &str| Peer {
        token: Some(SecretString::from(token)),
        ..Peer::default()
    };
    for (config, peer, elsewhere) in [
        (account.clone(), Peer::default(), "tunnel"),
        (account.clone() + callers, Peer::default(), "407"),
        (account.clone() + callers, with_uid(1), "407"),
        (account.clone() + callers, with_uid(4242), "tunnel"),
        (account.clone() + callers, with_token("wrong"), "407"),
        (account.clone() + callers, with_token(""), "407"),
        (
            account.clone() + callers,
            with_token("caller-token-2"),
            "tunnel",
        ),
    ] {
        let stage = Stage::open(&config);
        stage.put("callers/two", &[("token", "caller-token-2")]);
        // The tokens are read with the first request.
        stage.ask(message("one")).await;
        let admitted = |host: &str, port| {
            let authority = Authority {
                scheme: Scheme::Https,
                host: host.to_owned(),
                port,
            };
            match stage.proxy.admit(&authority, &peer) {
                HostAdmission::Intercept => "intercept".to_owned(),
                HostAdmission::Tunnel => "tunnel".to_owned(),
                HostAdmission::Deny(status, _) => status.as_str().to_owned(),
            }
        };
        let own = a.address;
        assert_eq!(admitted("elsewhere.test", 443), elsewhere, "{peer:?}");
        assert_eq!(admitted(&own.ip().to_string(), own.port()), "intercept");
    }
}

#[tokio::test]
async fn a_reload_keeps_the_health_of_unchanged_accounts_only() {
    let (a, b) = (
        Fake::open(|_, _| refuses("credential-rejected")).await,
        Fake::open(|_, _| takes()).await,
    );
    let config =
        provider("a", "plain", &a, "") + &provider("b", "plain", &b, "") + &route("a b", "");
    let mut stage = Stage::open(&config);
    stage.send("one").await;
    stage.reload(&config);
    stage.send("two").await;
    assert_eq!(
        (a.count(), stage.standing("a")),
        (1, "quarantined".to_owned())
    );
    a.now(|_, _| takes());
    stage.put("elsewhere", &[("token", "token-number-9")]);
    stage.reload(&config.replace("path = \"a\"", "path = \"elsewhere\""));
    assert_eq!(
        header(&stage.send("three").await, "x-sms-sidecar-provider"),
        "a",
        "another entry is another account"
    );
}

/// The account is who pays: another service, address or dialect, or another credential.
#[tokio::test]
async fn an_account_that_a_reload_changes_starts_anew() {
    let (a, b) = (
        Fake::open(|_, _| refuses("credential-rejected")).await,
        Fake::open(|_, _| takes()).await,
    );
    let (at_a, at_b) = (a.address.to_string(), b.address.to_string());
    for (dialect, from, to, state) in [
        (
            "plain",
            "timeout = \"2s\"",
            "timeout = \"3s\"",
            "quarantined",
        ),
        ("plain", at_a.as_str(), at_b.as_str(), "healthy"),
        ("plain", "path = \"a\"", "path = \"elsewhere\"", "healthy"),
        // Their credentials have the same fields.
        ("infobip", "\"infobip\"", "\"infobip-v2\"", "healthy"),
    ] {
        let config = provider("a", dialect, &a, "") + &route("a", "");
        let mut stage = Stage::open(&config);
        stage.put("elsewhere", &[("token", "token-number-9")]);
        stage.send("one").await;
        assert_eq!(stage.standing("a"), "quarantined");
        stage.reload(&config.replace(from, to));
        assert_eq!(stage.standing("a"), state, "{to}");
    }
}

#[tokio::test]
async fn a_reload_keeps_the_token() {
    let a = Fake::open(|got, nth| {
        let login = got.line.contains("/auth/login");
        if login {
            say(200, &format!(r#"{{"data":{{"token":"a.b.c{nth}"}}}}"#))
        } else {
            say(200, r#"{"id":"e-1","status":"waiting"}"#)
        }
    })
    .await;
    let config = provider("a", "eskiz", &a, "") + &route("a", "");
    let mut stage = Stage::open(&config);
    assert_eq!(stage.send("one").await.status.as_u16(), 202);
    stage.reload(&config);
    assert_eq!(stage.send("two").await.status.as_u16(), 202);
    assert_eq!(a.at("/auth/login"), 1);
    // A token rejected before a reload does not make the next one look rejected.
    a.now(|got, nth| match (got.line.contains("/auth/login"), nth) {
        (true, _) => say(200, &format!(r#"{{"data":{{"token":"a.b.c{nth}"}}}}"#)),
        (false, 3) => say(401, r#"{"message":"no"}"#),
        (false, _) => say(200, r#"{"id":"e-1","status":"waiting"}"#),
    });
    assert_eq!(stage.send("three").await.status.as_u16(), 202);
    stage.reload(&config);
    assert_eq!(
        (
            stage.send("four").await.status.as_u16(),
            stage.standing("a").as_str()
        ),
        (202, "healthy")
    );
}

#[tokio::test]
async fn an_account_can_be_paused_and_resumed() {
    let (a, b) = (
        Fake::open(|_, _| refuses("credential-rejected")).await,
        Fake::open(|_, _| takes()).await,
    );
    let stage = Stage::open(
        &(provider("a", "plain", &a, "") + &provider("b", "plain", &b, "") + &route("a b", "")),
    );
    stage.send("one").await;
    assert_eq!(stage.standing("a"), "quarantined");
    a.now(|_, _| takes());
    assert!(
        stage
            .control("POST /resume/a", "")
            .await
            .contains("\"state\":\"healthy\"")
    );
    assert_eq!(
        header(&stage.send("two").await, "x-sms-sidecar-provider"),
        "a"
    );
    assert!(
        stage
            .control("POST /pause/a", "")
            .await
            .contains("\"state\":\"paused\"")
    );
    stage.pass(Duration::from_hours(1));
    assert_eq!(
        header(&stage.send("three").await, "x-sms-sidecar-provider"),
        "b"
    );
    stage.control("POST /resume/a", "").await;
    a.now(|got, _| {
        say(
            400,
            &format!(
                r#"{{"error":"balance-empty","message":"for {}"}}"#,
                got.header("authorization").unwrap()
            ),
        )
    });
    let shown = stage
        .control(
            "POST /send",
            std::str::from_utf8(&message("four").body).unwrap(),
        )
        .await;
    assert!(
        shown.contains("\"result\":\"accepted\"") && shown.contains("for Bearer ***"),
        "{shown}"
    );
    assert!(
        !shown.contains("token-number-1") && !shown.contains("998901234567"),
        "{shown}"
    );
}

#[tokio::test]
async fn observe_accepts_plain_http_and_reports_losses() {
    let a = Fake::open(|_, _| takes()).await;
    let secure = provider("a", "plain", &a, "")
        .replace("insecure_http = true", "")
        .replace("http://", "https://");
    let stage = Stage::open(&format!("mode = \"observe\"\n{secure}{}", route("a", "")));
    let mut request = message("one");
    request.path = "/v1/messages".into();
    let named = |request: &Request| {
        stage.call(
            request.clone(),
            host(&a),
            Peer::default(),
            ClientConnection::always_connected(),
        )
    };
    assert_eq!((named(&request).await.status.as_u16(), a.count()), (202, 1));
    a.now(|_, _| crate::fake::loses());
    assert_eq!(named(&request).await.status.as_u16(), 504);
}

#[tokio::test]
async fn the_socket_owner_is_looked_up_only_if_a_caller_has_a_uid() {
    let a = Fake::open(|_, _| takes()).await;
    let callers = "[callers.two]\ntoken = { vault = \"v\", path = \"callers/two\" }\n";
    for callers in ["", callers] {
        let stage = Stage::open(&(provider("a", "plain", &a, "") + callers + &route("a", "")));
        assert!(!stage.proxy.needs_peer_uid(), "{callers}");
    }
}

/// Every request that the pipeline denies, whatever the reason, ends its connection: it may come from a stranger.
#[tokio::test]
async fn a_denied_request_says_so_to_its_entrypoint_and_another_one_does_not() {
    let a = Fake::open(|_, _| takes()).await;
    let callers = "[callers.one]\nuid = 4242\n";
    let open = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    let closed = Stage::open(&(provider("a", "plain", &a, "") + callers + &route("a", "")));
    let unlisted = |method, path: &str| Request {
        method,
        path: path.to_owned(),
        ..message("x")
    };
    let table = [
        (&open, message("1"), 202, false),
        (
            &open,
            unlisted(Method::DELETE, "/plain/v1/messages"),
            403,
            true,
        ),
        (&open, unlisted(Method::GET, "/nobody/here"), 404, true),
        (&closed, message("2"), 403, true),
        (
            &closed,
            with(message("3"), "authorization", "Bearer x"),
            403,
            true,
        ),
    ];
    for (stage, request, status, denied) in table {
        let what = format!("{} {}", request.method, request.path);
        let handled = stage
            .handle(
                request,
                EntrypointTarget::BaseUrl,
                Peer::default(),
                ClientConnection::always_connected(),
            )
            .await;
        assert_eq!(handled.is_denied, denied, "{what}");
        assert_eq!(handled.reply.status.as_u16(), status, "{what}");
    }
}
