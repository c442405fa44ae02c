//! Tables: an environment and an axios → the door, and what stands in the way.

use super::*;
use crate::cli::doctor::check::Mark;

const OURS: &str = "http://127.0.0.1:8125";

/// The checks by name for these variables and releases.
fn judged(variables: &[(&str, &str)], axios: &[Release], change: impl FnOnce(&mut Facts<'_>)) -> BTreeMap<&'static str, Check> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let hosts = ["sms.example".to_owned(), "api.other.example".to_owned()];
    let mut facts = Facts {
        variables: &variables,
        door: Some("127.0.0.1:8125".parse().unwrap()),
        hosts: &hosts,
        intercepts: true,
        trusts: None,
        axios,
        node: Release::parse("v20.20.2"),
        reads_late: false,
        calls: None,
    };
    change(&mut facts);
    judge(&facts).into_iter().map(|check| (check.name, check)).collect()
}

const BOTH: [(&str, &str); 2] = [("HTTP_PROXY", OURS), ("HTTPS_PROXY", OURS)];

#[test]
fn the_door_is_told_by_what_axios_was_measured_to_do() {
    for (axios, door) in [
        (Release(0, 21, 4), "absolute form"),
        (Release(0, 35, 0), "absolute form"),
        (Release(1, 7, 9), "absolute form"),
        (Release(1, 16, 0), "absolute form"),
        (Release(1, 16, 1), "CONNECT"),
        (Release(1, 21, 1), "CONNECT"),
    ] {
        let check = &judged(&BOTH, &[axios], |_| {})["door"];
        assert_eq!(check.mark, Mark::Ok, "{axios}");
        assert!(check.evidence.contains(door) && check.evidence.contains(&axios.to_string()), "{}", check.evidence);
    }
    let none = &judged(&BOTH, &[], |_| {})["door"];
    assert!(none.evidence.contains("no axios"), "{}", none.evidence);
}

#[test]
fn where_the_variables_lead_is_judged() {
    let old = [Release(1, 7, 9)];
    for (variables, mark, word) in [
        (vec![], Mark::Warning, "nothing in the file"),
        (vec![("HTTPS_PROXY", OURS)], Mark::Warning, "HTTP_PROXY is not set"),
        (vec![("HTTP_PROXY", OURS)], Mark::Warning, "HTTPS_PROXY is not set"),
        (vec![("HTTP_PROXY", OURS), ("https_proxy", OURS)], Mark::Ok, "absolute form"),
        (vec![("HTTP_PROXY", "localhost:8125"), ("HTTPS_PROXY", "http://u:canary@localhost:8125/")], Mark::Ok, "absolute form"),
        (vec![("HTTPS_PROXY", "http://proxy.example:3128")], Mark::Failed, "another proxy"),
        (vec![("HTTPS_PROXY", "http://127.0.0.1:3128"), ("HTTP_PROXY", OURS)], Mark::Failed, "another proxy"),
        (vec![("SMS_URL", "http://127.0.0.1:8125/alpha/send")], Mark::Ok, "the base URL door, by SMS_URL"),
    ] {
        let check = &judged(&variables, &old, |_| {})["door"];
        assert_eq!(check.mark, mark, "{variables:?}: {}", check.evidence);
        assert!(check.evidence.contains(word) && !format!("{check:?}").contains("canary"), "{check:?}");
    }
    let led = &judged(&[], &old, |facts| facts.calls = Some(3.0))["door"];
    assert_eq!(led.mark, Mark::Ok, "calls come by another way");
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
        assert_eq!(check.mark, if kept.is_some() { Mark::Failed } else { Mark::Ok }, "{list}");
        assert!(kept.is_none_or(|hosts| check.evidence.contains(&format!("keeps {hosts} away"))), "{}", check.evidence);
    }
}

#[test]
fn the_ca_matters_to_whoever_tunnels() {
    let (old, new) = ([Release(1, 16, 0)], [Release(0, 21, 4), Release(1, 16, 1)]);
    assert_eq!(judged(&BOTH, &old, |facts| facts.intercepts = false)["ca"].mark, Mark::Ok);
    assert_eq!(judged(&BOTH, &new, |facts| facts.intercepts = false)["ca"].mark, Mark::Failed);
    assert_eq!(judged(&BOTH, &new, |_| {})["ca"].mark, Mark::Warning);
    assert_eq!(judged(&BOTH, &new, |facts| facts.trusts = Some(Ok(true)))["ca"].mark, Mark::Ok);
    assert_eq!(judged(&BOTH, &new, |facts| facts.trusts = Some(Ok(false)))["ca"].mark, Mark::Failed);
    assert_eq!(judged(&BOTH, &new, |facts| facts.trusts = Some(Err("gone".into())))["ca"].mark, Mark::Failed);
    let late = judged(&BOTH, &new, |facts| (facts.trusts, facts.reads_late) = (Some(Ok(true)), true));
    assert_eq!(late["ca"].mark, Mark::Warning);
    let blind = judged(&[BOTH[0], BOTH[1], ("NODE_TLS_REJECT_UNAUTHORIZED", "0")], &new, |_| {});
    assert_eq!(blind["ca"].mark, Mark::Warning);
}

#[test]
fn node_and_an_old_axios_must_not_both_proxy() {
    let said = [BOTH[0], BOTH[1], ("NODE_USE_ENV_PROXY", "1")];
    for (node, axios, mark) in [
        ("v20.20.2", Release(1, 7, 9), Mark::Ok),
        ("v22.23.3", Release(1, 7, 9), Mark::Failed),
        ("v24.21.0", Release(1, 16, 0), Mark::Failed),
        ("v24.21.0", Release(1, 17, 0), Mark::Failed),
        ("v24.21.0", Release(1, 18, 1), Mark::Ok),
        ("unknown", Release(0, 21, 4), Mark::Failed),
    ] {
        let checks = judged(&said, &[axios], |facts| facts.node = Release::parse(node));
        assert_eq!(checks["node-env-proxy"].mark, mark, "node {node}, axios {axios}");
    }
    assert!(!judged(&BOTH, &[], |_| {}).contains_key("node-env-proxy"));
    let flag = judged(&[("NODE_OPTIONS", "--use-env-proxy")], &[Release(1, 0, 0)], |facts| facts.node = None);
    assert_eq!(flag["node-env-proxy"].mark, Mark::Failed);
}

#[test]
fn whether_a_call_ever_came_is_told() {
    assert_eq!(judged(&[], &[], |_| {})["seen"].mark, Mark::Skipped);
    assert_eq!(judged(&[], &[], |facts| facts.calls = Some(0.0))["seen"].mark, Mark::Warning);
    assert_eq!(judged(&[], &[], |facts| facts.calls = Some(2.0))["seen"].mark, Mark::Ok);
}
