//! The law over every rule and every code of the built-in descriptions, and the words in three languages.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use super::*;
use crate::dialect::expr::scope::Scope;
use crate::dialect::model::codes::CodeTest;
use crate::dialect::{Catalog, Dialect, Reply};
use crate::sms::AttemptKind;

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_owned().into(),
    }
}

fn bare(status: u16, body: &str) -> Classification {
    classify_bare_denial(&ParsedReply::parse(&reply(status, body))).unwrap()
}

/// A reply for every rule and every code of a dialect, with a message at every path it reads one from.
fn replies(dialect: &Dialect, status: u16) -> Vec<Reply> {
    let login = dialect.token.iter().map(|token| &token.classifier);
    let classifiers: Vec<&Classifier> = [&dialect.send.classifier]
        .into_iter()
        .chain(login)
        .collect();
    let mut all = vec![
        reply(status, ""),
        reply(status, "<html><h1>Forbidden</h1></html>"),
    ];
    for classifier in classifiers {
        let codes: Vec<String> = classifier
            .codes
            .0
            .iter()
            .map(|entry| entry.test.example())
            .collect();
        for rule in &classifier.rules {
            let words = rule.pattern.iter().map(|regex| {
                let text = regex.as_str().trim_start_matches("(?i)");
                text.split('|').next().unwrap_or_default().to_owned()
            });
            let own = rule.equals.iter().map(CodeTest::example).chain(words);
            for value in own.chain(codes.iter().cloned()).chain(["x".to_owned()]) {
                all.extend(
                    typed(&value)
                        .iter()
                        .map(|value| reply_with(rule, status, value)),
                );
            }
        }
    }
    all
}

/// As a string, and as a number if it is one.
fn typed(text: &str) -> Vec<Value> {
    let number = text.parse::<i64>().ok().map(Value::from);
    number.into_iter().chain([Value::from(text)]).collect()
}

fn reply_with(rule: &ReplyRule, status: u16, value: &Value) -> Reply {
    let mut tree = Value::Null;
    let message = Value::from("The service says no");
    for path in &rule.message_paths {
        path.set(&mut tree, &message, &Scope::default());
    }
    if let Some(path) = rule.paths.first() {
        path.set(&mut tree, value, &Scope::default());
    }
    let body = match (&rule.body, &rule.body_pattern, tree.is_null()) {
        (Some(body), _, _) => body.clone(),
        (_, Some(_), true) => format!("ERROR = {} (no)", value.to_string().trim_matches('"')),
        (_, _, true) => String::new(),
        (_, _, false) => tree.to_string(),
    };
    reply(status, &body)
}

const KINDS: [AttemptKind; 4] = [
    AttemptKind::Send,
    AttemptKind::Login,
    AttemptKind::Probe,
    AttemptKind::Passthrough,
];

#[test]
fn under_401_and_403_no_rule_and_no_code_leaves_the_family_account() {
    let mut checked = 0;
    for dialect in Catalog::built_in().iter() {
        let denials = [401, 403]
            .into_iter()
            .flat_map(|status| replies(dialect, status));
        for reply in denials {
            for kind in KINDS {
                assert_account(dialect, kind, &reply);
            }
            assert_not_healthy(dialect, &reply);
            checked += 1;
        }
    }
    assert!(checked > 700, "{checked}");
}

fn assert_account(dialect: &Dialect, kind: AttemptKind, reply: &Reply) {
    let found = dialect.classify(kind, reply, "reference");
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    let shown = format!("{} {kind} {} {body}: {found:?}", dialect.name, reply.status);
    let cause = found.outcome.cause().unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(cause.family(), Family::Account, "{shown}");
    let is_all_account = found.alternatives.iter().all(|cause| is_account(*cause));
    assert!(
        is_all_account || found.certainty == Certainty::Ambiguous,
        "{shown}"
    );
    assert!(!found.alternatives.contains(&cause), "{shown}");
    let is_worded = body.contains("The service says no") && kind == AttemptKind::Send;
    assert!(
        !is_worded || found.provider_message.is_some(),
        "the service's words are kept: {shown}"
    );
}

fn assert_not_healthy(dialect: &Dialect, reply: &Reply) {
    for probe in dialect.probes() {
        let found = dialect.read_probe(probe, reply);
        let shown = format!("{} {} {found:?}", dialect.name, reply.status);
        assert!(found.cause.is_none_or(is_account), "{shown}");
        let is_401 = reply.status == StatusCode::UNAUTHORIZED;
        assert!(!is_401 || found.healthy != Some(true), "{shown}");
    }
}

#[test]
fn the_code_of_another_cause_becomes_an_alternative() {
    for dialect in Catalog::built_in().iter() {
        let classifier = &dialect.send.classifier;
        let lookups = classifier
            .rules
            .iter()
            .filter(|rule| matches!(rule.action, RuleAction::LookUpCode) && !rule.paths.is_empty());
        for rule in lookups {
            let codes = classifier.codes.0.iter().map(|entry| entry.test.example());
            codes
                .flat_map(|code| typed(&code))
                .for_each(|value| assert_alternative(dialect, rule, &value));
        }
    }
}

fn assert_alternative(dialect: &Dialect, rule: &ReplyRule, value: &Value) {
    let denied = reply_with(rule, 401, value);
    let parsed = ParsedReply::parse(&denied);
    let classifier = &dialect.send.classifier;
    let first = classifier.classify_with_rule(&parsed, Some("r"));
    let first = first.and_then(|(index, _)| classifier.rules.get(index));
    if first.is_none_or(|first| !matches!(first.action, RuleAction::LookUpCode)) {
        // Another rule decides under this status.
        return;
    }
    let under = |status| dialect.classify(AttemptKind::Send, &reply_with(rule, status, value), "r");
    let (plain, found) = (under(400), under(401));
    let Some(meant) = plain.outcome.cause().filter(|cause| !is_account(*cause)) else {
        return;
    };
    let shown = format!("{} {value}: {plain:?} {found:?}", dialect.name);
    assert!(
        meant == Cause::Unexplained || found.alternatives.contains(&meant),
        "{shown}"
    );
    assert_eq!(found.code, plain.code, "{shown}");
}

#[test]
fn a_bare_401_has_the_alternatives_that_services_are_known_for() {
    let found = bare(401, "");
    assert_eq!(causes_in(&found), CAUSES_OF_401);
    assert_eq!(found.certainty, Certainty::Ambiguous);
    assert_eq!(causes_in(&bare(403, "")), CAUSES_OF_403);
}

#[test]
fn the_words_of_the_service_order_the_causes_in_three_languages() {
    for (body, cause) in [
        (r#"{"message":"Insufficient balance"}"#, Cause::BalanceEmpty),
        ("Your balance is 0. Please top up.", Cause::BalanceEmpty),
        (
            r#"{"error":{"msg":"Недостаточно средств на счёте"}}"#,
            Cause::BalanceEmpty,
        ),
        (r#"{"message":"Пополните баланс"}"#, Cause::BalanceEmpty),
        (
            r#"{"message":"Hisobingizda mablag‘ yetarli emas"}"#,
            Cause::BalanceEmpty,
        ),
        (
            r#"{"message":"Ҳисобингизда маблағ етарли эмас"}"#,
            Cause::BalanceEmpty,
        ),
        (
            r#"{"error-description":"IP address is not allowed"}"#,
            Cause::IpNotAllowed,
        ),
        (
            "Host is not whitelisted: whitelist your address",
            Cause::IpNotAllowed,
        ),
        (
            r#"{"message":"Ваш IP-адрес не в белом списке"}"#,
            Cause::IpNotAllowed,
        ),
        (
            r#"{"message":"Bu IP manzilga ruxsat yo'q"}"#,
            Cause::IpNotAllowed,
        ),
        (
            r#"{"message":"The token has expired"}"#,
            Cause::CredentialExpired,
        ),
        (
            r#"{"message":"Срок действия токена истёк"}"#,
            Cause::CredentialExpired,
        ),
        (
            r#"{"message":"Token muddati tugagan"}"#,
            Cause::CredentialExpired,
        ),
        (
            r#"{"message":"Токен муддати тугаган"}"#,
            Cause::CredentialExpired,
        ),
        (
            "<html><body>Account suspended</body></html>",
            Cause::AccountSuspended,
        ),
        (
            r#"{"message":"Аккаунт заблокирован"}"#,
            Cause::AccountSuspended,
        ),
        (
            r#"{"message":"Akkaunt bloklangan"}"#,
            Cause::AccountSuspended,
        ),
        (
            r#"{"message":"Аккаунт блокланган"}"#,
            Cause::AccountSuspended,
        ),
        (
            r#"{"message":"This is a sandbox key"}"#,
            Cause::SandboxMismatch,
        ),
        (r#"{"message":"Тестовый ключ"}"#, Cause::SandboxMismatch),
        (
            r#"{"message":"Invalid username or password"}"#,
            Cause::CredentialRejected,
        ),
        (
            r#"{"description":"The request lacks valid authentication credentials."}"#,
            Cause::CredentialRejected,
        ),
        (
            r#"{"message":"Wrong shipping address in description, tip: block letters"}"#,
            Cause::CredentialRejected,
        ),
        (
            r#"{"expired":true,"ip":"x","balance":1}"#,
            Cause::CredentialRejected,
        ),
    ] {
        let found = bare(401, body);
        assert_eq!(found.outcome, Outcome::Rejected(cause), "{body}");
        assert_eq!(found.certainty, Certainty::Ambiguous, "{body}");
        assert_eq!(causes_in(&found).len(), CAUSES_OF_401.len(), "{body}");
    }
}

#[test]
fn the_words_of_a_challenge_count_and_are_kept() {
    let mut denied = reply(401, "");
    denied.headers.insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static(
            r#"Bearer error="invalid_token", error_description="The access token expired""#,
        ),
    );
    let found = classify_bare_denial(&ParsedReply::parse(&denied)).unwrap();
    assert_eq!(found.outcome, Outcome::Rejected(Cause::CredentialExpired));
    assert!(
        found
            .provider_message
            .unwrap()
            .contains("The access token expired")
    );
}

#[test]
fn the_words_are_kept_wherever_they_stand() {
    for (body, message) in [
        (r#"{"error":{"errorDescription":"No funds"}}"#, "No funds"),
        (r#"{"errors":[{"Message":"No funds"}]}"#, "No funds"),
        ("No funds", "No funds"),
        (
            "<html><head><title>401</title></head><body>No funds</body></html>",
            "No funds",
        ),
    ] {
        let kept = bare(401, body).provider_message.unwrap_or_default();
        assert!(kept.contains(message), "{body}: {kept}");
    }
    assert_eq!(bare(401, "{}").provider_message, None);
}

#[test]
fn every_line_of_the_table_is_read() {
    let lines = CAUSE_WORDS.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let (name, phrases) = line.split_once(':').unwrap();
        let cause = Cause::from_str(name).unwrap();
        assert!(CAUSES_OF_401.contains(&cause), "{line}");
        for phrase in phrases.split(',').map(str::trim) {
            let sample = phrase.replace('*', "");
            assert_eq!(
                split_words(&sample).join(" "),
                sample,
                "{phrase} can be found"
            );
            let causes = suggested_causes(&split_words(&sample));
            assert_eq!(causes, [cause], "{phrase} is of one cause only");
        }
    }
    let named: Vec<Cause> = cause_phrases().map(|(cause, _)| cause).collect();
    for cause in CAUSES_OF_401.iter().skip(1) {
        assert!(named.contains(cause), "{cause} has no words");
    }
}

#[test]
fn the_code_of_a_body_is_no_http_status() {
    let catalog = Catalog::built_in();
    let dialect = catalog.get("playmobile").unwrap();
    let denied = reply(
        401,
        r#"{"error-code":403,"error-description":"IP address is not allowed"}"#,
    );
    let found = dialect.classify(AttemptKind::Send, &denied, "r");
    assert_eq!(found.outcome, Outcome::Rejected(Cause::IpNotAllowed));
    assert_eq!(found.certainty, Certainty::Ambiguous);
    assert_eq!(found.alternatives.last(), Some(&Cause::MessageInvalid));
    assert_eq!(found.code.as_deref(), Some("403"));
    assert_eq!(
        found.provider_message.as_deref(),
        Some("IP address is not allowed")
    );
}
