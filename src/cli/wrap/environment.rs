//! What a Node process must find in its environment so that its SMS clients come to us.
//! Pure: values in, variables out. Which client reads which variable is measured, not
//! remembered; the tests in `tests/node` play those clients.

use std::path::Path;

use crate::node::Release;

/// Hosts that must never come to us, after whatever the user had: the two forms every
/// client understands, whole names and suffixes with a leading dot.
const NO_PROXY_HOSTS: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "::1",
    ".local",
    ".internal",
    ".svc",
];

/// What decides about the variables.
#[derive(Debug)]
pub(crate) struct NodeFacts<'a> {
    /// `http://127.0.0.1:8125`.
    pub(crate) proxy: &'a str,
    /// The local CA's certificate, where there is one.
    pub(crate) ca: Option<&'a Path>,
    /// `NO_PROXY` as the user has it.
    pub(crate) no_proxy: Option<&'a str>,
    /// `process.versions.node`, where a `node` was found.
    pub(crate) node: Option<Release>,
    /// Every axios below `node_modules`.
    pub(crate) axios: &'a [Release],
}

/// The variables to set.
pub(crate) fn variables(facts: &NodeFacts<'_>) -> Vec<(&'static str, String)> {
    let no_proxy = merge_no_proxy(facts.no_proxy.unwrap_or_default());
    let mut all: Vec<(&'static str, String)> =
        ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
            .map(|name| (name, facts.proxy.to_owned()))
            .into();
    all.push(("NO_PROXY", no_proxy.clone()));
    all.push(("no_proxy", no_proxy));
    // global-agent reads its own variable names.
    all.push(("GLOBAL_AGENT_HTTP_PROXY", facts.proxy.to_owned()));
    if let Some(ca) = facts.ca {
        all.push(("NODE_EXTRA_CA_CERTS", ca.display().to_string()));
    }
    if may_use_env_proxy(facts.node, facts.axios) {
        all.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
    }
    all
}

fn merge_no_proxy(theirs: &str) -> String {
    let mut hosts: Vec<&str> = theirs
        .split([',', ' '])
        .map(str::trim)
        .filter(|host| !host.is_empty())
        .collect();
    hosts.extend(NO_PROXY_HOSTS.iter().filter(|host| {
        !theirs
            .split([',', ' '])
            .any(|theirs| theirs.trim() == **host)
    }));
    hosts.join(",")
}

/// Whether Node's own `fetch` and `https` may be told to use the proxy. Node below 22 does
/// not know the variable; above, it proxies axios before 1.18.1 twice: Node 22 then asks for
/// the service's host at the proxy's port, Node 24 throws.
fn may_use_env_proxy(node: Option<Release>, axios: &[Release]) -> bool {
    match node {
        Some(Release(..22, ..)) | None => false,
        Some(_) => axios
            .iter()
            .all(|version| *version >= Release::DEFERS_TO_NODE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(node: &str, axios: &'a [Release]) -> NodeFacts<'a> {
        NodeFacts {
            proxy: "http://127.0.0.1:8125",
            ca: Some(Path::new("/etc/ca.pem")),
            no_proxy: Some("db.example,.svc"),
            node: Release::parse(node),
            axios,
        }
    }

    #[test]
    fn both_cases_and_the_ca_are_set() {
        let all = variables(&facts("v20.20.2", &[]));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            assert!(
                all.contains(&(name, "http://127.0.0.1:8125".to_owned())),
                "{name}"
            );
        }
        assert!(all.contains(&("NODE_EXTRA_CA_CERTS", "/etc/ca.pem".to_owned())));
    }

    #[test]
    fn what_the_user_keeps_away_from_proxies_stays_away() {
        assert_eq!(
            merge_no_proxy("db.example,.svc"),
            "db.example,.svc,localhost,127.0.0.1,::1,.local,.internal"
        );
        assert_eq!(
            merge_no_proxy(""),
            "localhost,127.0.0.1,::1,.local,.internal,.svc"
        );
    }

    #[test]
    fn node_is_not_set_to_proxy_if_that_breaks_axios() {
        let cases = [
            ("20.20.2", vec![], false),
            ("22.23.3", vec![Release(1, 7, 9)], false),
            ("22.23.3", vec![], true),
            ("24.21.0", vec![], true),
            ("24.21.0", vec![Release(1, 21, 1)], true),
            ("24.21.0", vec![Release(1, 21, 1), Release(0, 21, 4)], false),
            ("26.10.0", vec![Release(1, 17, 0)], false),
            ("not a version", vec![], false),
        ];
        for (node, axios, expected) in cases {
            let set = variables(&facts(node, &axios))
                .iter()
                .any(|(name, _)| *name == "NODE_USE_ENV_PROXY");
            assert_eq!(set, expected, "node {node}, axios {axios:?}");
        }
    }
}
