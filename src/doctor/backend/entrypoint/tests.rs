//! Tables: an environment and a release of axios, and the entrypoint that its requests reach.

use super::*;
use crate::doctor::check::CheckResult;

const OURS: &str = "http://127.0.0.1:8125";

/// The checks by name for these variables and releases.
fn judged(
    variables: &[(&str, &str)],
    axios: &[Release],
    change: impl FnOnce(&mut BackendFacts<'_>),
) -> BTreeMap<&'static str, Check> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let hosts = ["sms.example".to_owned(), "api.other.example".to_owned()];
    let mut facts = BackendFacts {
        variables: &variables,
        entrypoint: Some("127.0.0.1:8125".parse().unwrap()),
        hosts: &hosts,
        intercepts: true,
        trusts_ca: None,
        axios,
        unreadable_axios: None,
        node: Release::parse("v20.20.2"),
        uses_dotenv: false,
        requests: None,
    };
    change(&mut facts);
    check_environment(&facts)
        .into_iter()
        .map(|check| (check.name, check))
        .collect()
}

const BOTH: [(&str, &str); 2] = [("HTTP_PROXY", OURS), ("HTTPS_PROXY", OURS)];

#[test]
fn the_entrypoint_follows_what_each_axios_was_measured_to_do() {
    for (axios, entrypoint) in [
        (Release(0, 21, 4), "absolute form"),
        (Release(0, 35, 0), "absolute form"),
        (Release(1, 7, 9), "absolute form"),
        (Release(1, 16, 0), "absolute form"),
        (Release(1, 16, 1), "CONNECT"),
        (Release(1, 21, 1), "CONNECT"),
    ] {
        let check = &judged(&BOTH, &[axios], |_| {})["entrypoint"];
        assert_eq!(check.result, CheckResult::Ok, "{axios}");
        assert!(
            check.evidence.contains(entrypoint) && check.evidence.contains(&axios.to_string()),
            "{}",
            check.evidence
        );
    }
    let none = &judged(&BOTH, &[], |_| {})["entrypoint"];
    assert!(none.evidence.contains("no axios"), "{}", none.evidence);
}

#[test]
fn where_the_variables_lead_is_judged() {
    let old = [Release(1, 7, 9)];
    for (variables, mark, word) in [
        (vec![], CheckResult::Warning, "nothing in the file"),
        (
            vec![("HTTPS_PROXY", OURS)],
            CheckResult::Warning,
            "HTTP_PROXY is not set",
        ),
        (
            vec![("HTTP_PROXY", OURS)],
            CheckResult::Warning,
            "HTTPS_PROXY is not set",
        ),
        (
            vec![("HTTP_PROXY", OURS), ("https_proxy", OURS)],
            CheckResult::Ok,
            "absolute form",
        ),
        (
            vec![
                ("HTTP_PROXY", "localhost:8125"),
                ("HTTPS_PROXY", "http://u:canary@localhost:8125/"),
            ],
            CheckResult::Ok,
            "absolute form",
        ),
        (
            vec![("HTTPS_PROXY", "http://proxy.example:3128")],
            CheckResult::Failed,
            "a proxy that is not the sidecar",
        ),
        (
            vec![
                ("HTTPS_PROXY", "http://127.0.0.1:3128"),
                ("HTTP_PROXY", OURS),
            ],
            CheckResult::Failed,
            "a proxy that is not the sidecar",
        ),
        (
            vec![("SMS_URL", "http://127.0.0.1:8125/alpha/send")],
            CheckResult::Ok,
            "the base-URL entrypoint, by SMS_URL",
        ),
    ] {
        let check = &judged(&variables, &old, |_| {})["entrypoint"];
        assert_eq!(check.result, mark, "{variables:?}: {}", check.evidence);
        assert!(
            check.evidence.contains(word) && !format!("{check:?}").contains("canary"),
            "{check:?}"
        );
    }
    let led = &judged(&[], &old, |facts| facts.requests = Some(3))["entrypoint"];
    assert_eq!(led.result, CheckResult::Ok, "calls come by another way");
}

#[test]
fn no_proxy_may_keep_a_host_away() {
    for (list, kept) in [
        ("localhost,db.example", None),
        ("ms.example", None),
        ("sms.example", Some("sms.example")),
        ("SMS.example:443", Some("sms.example")),
        (".other.example", Some("api.other.example")),
        ("*.other.example", Some("api.other.example")),
        ("example", Some("sms.example, api.other.example")),
        ("*", Some("sms.example, api.other.example")),
    ] {
        let check = &judged(&[BOTH[0], BOTH[1], ("NO_PROXY", list)], &[], |_| {})["no-proxy"];
        assert_eq!(
            check.result,
            if kept.is_some() {
                CheckResult::Failed
            } else {
                CheckResult::Ok
            },
            "{list}"
        );
        assert!(
            kept.is_none_or(|hosts| check.evidence.contains(&format!("keeps {hosts} away"))),
            "{}",
            check.evidence
        );
    }
}

#[test]
fn the_ca_matters_to_clients_that_tunnel() {
    let old = [Release(1, 16, 0)];
    let new = [Release(0, 21, 4), Release(1, 16, 1)];
    assert_eq!(
        judged(&BOTH, &old, |facts| facts.intercepts = false)["ca"].result,
        CheckResult::Ok
    );
    assert_eq!(
        judged(&BOTH, &new, |facts| facts.intercepts = false)["ca"].result,
        CheckResult::Failed
    );
    assert_eq!(
        judged(&BOTH, &new, |_| {})["ca"].result,
        CheckResult::Warning
    );
    assert_eq!(
        judged(&BOTH, &new, |facts| facts.trusts_ca = Some(Ok(true)))["ca"].result,
        CheckResult::Ok
    );
    assert_eq!(
        judged(&BOTH, &new, |facts| facts.trusts_ca = Some(Ok(false)))["ca"].result,
        CheckResult::Failed
    );
    assert_eq!(
        judged(&BOTH, &new, |facts| facts.trusts_ca =
            Some(Err("gone".into())))["ca"]
            .result,
        CheckResult::Failed
    );
    let late = judged(&BOTH, &new, |facts| {
        (facts.trusts_ca, facts.uses_dotenv) = (Some(Ok(true)), true);
    });
    assert_eq!(late["ca"].result, CheckResult::Warning);
    let blind = judged(
        &[BOTH[0], BOTH[1], ("NODE_TLS_REJECT_UNAUTHORIZED", "0")],
        &new,
        |_| {},
    );
    assert_eq!(blind["ca"].result, CheckResult::Warning);
}

#[test]
fn node_and_an_old_axios_must_not_both_proxy() {
    let variables = [BOTH[0], BOTH[1], ("NODE_USE_ENV_PROXY", "1")];
    for (node, axios, mark) in [
        ("v20.20.2", Release(1, 7, 9), CheckResult::Ok),
        ("v22.23.3", Release(1, 7, 9), CheckResult::Failed),
        ("v24.21.0", Release(1, 16, 0), CheckResult::Failed),
        ("v24.21.0", Release(1, 17, 0), CheckResult::Failed),
        ("v24.21.0", Release(1, 18, 1), CheckResult::Ok),
        ("unknown", Release(0, 21, 4), CheckResult::Failed),
    ] {
        let checks = judged(&variables, &[axios], |facts| {
            facts.node = Release::parse(node);
        });
        assert_eq!(
            checks["node-env-proxy"].result, mark,
            "node {node}, axios {axios}"
        );
    }
    assert!(!judged(&BOTH, &[], |_| {}).contains_key("node-env-proxy"));
    let flag = judged(
        &[("NODE_OPTIONS", "--use-env-proxy")],
        &[Release(1, 0, 0)],
        |facts| facts.node = None,
    );
    assert_eq!(flag["node-env-proxy"].result, CheckResult::Failed);
}

#[test]
fn the_number_of_requests_so_far_is_judged() {
    assert_eq!(
        judged(&[], &[], |_| {})["seen"].result,
        CheckResult::Skipped
    );
    assert_eq!(
        judged(&[], &[], |facts| facts.requests = Some(0))["seen"].result,
        CheckResult::Warning
    );
    assert_eq!(
        judged(&[], &[], |facts| facts.requests = Some(2))["seen"].result,
        CheckResult::Ok
    );
}
