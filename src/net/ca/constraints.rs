//! The name constraints of the CA. They permit the hosts that the config needs and nothing else: no
//! sub-domain that no description and no base URL names, no IP address, no e-mail address, no URI.
//!
//! RFC 5280 constrains each kind of name by itself, so a kind without a constraint is open. OpenSSL does not
//! match an e-mail address with an excluded "everything", so e-mail addresses and URIs are closed by
//! permitting one reserved host. rcgen has no constraint for URIs; the extension is written here.
//! The extended key usage of servers is one more limit: a server on OpenSSL takes no client certificate from the CA.

use rcgen::CustomExtension;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, NameConstraints};
use yasna::{DERWriter, Tag};

use crate::net::ca::CaError;

/// RFC 5280, 4.2.1.10.
const NAME_CONSTRAINTS: [u64; 4] = [2, 5, 29, 30];
/// The only host of e-mail addresses and URIs that is permitted; RFC 6761 reserves it, so nobody has it.
const NO_HOST: &str = "sms-sidecar.invalid";
/// The tags of `GeneralName`.
const EMAIL: u64 = 1;
const DNS: u64 = 2;
const URI: u64 = 6;
const IP: u64 = 7;
/// Every address: base and mask are zero.
const EVERY_ADDRESS: [&[u8]; 2] = [&[0; 8], &[0; 32]];

/// What a CA may sign for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaConstraints {
    /// Each with its sub-domains, unless they are excluded.
    permitted: Vec<String>,
    /// `.host` for the sub-domains alone.
    excluded: Vec<String>,
    /// The kinds of names and certificates that have no constraint; none in a CA of this release.
    open_kinds: Vec<&'static str>,
}

impl CaConstraints {
    /// Those of a new CA for `hosts`. The sub-domains of a host are excluded, unless another host or a pattern
    /// (`*.api.example.com`) lies below it.
    pub fn for_hosts(hosts: &[String], patterns: &[String]) -> Result<Self, CaError> {
        let permitted = validate_hosts(hosts)?;
        let excluded = permitted
            .iter()
            .map(|host| format!(".{host}"))
            .filter(|below| {
                let mut named = permitted.iter().chain(patterns);
                !named.any(|name| name.ends_with(below.as_str()))
            })
            .collect();
        Ok(Self {
            permitted,
            excluded,
            open_kinds: Vec::new(),
        })
    }

    /// Those of a certificate; none if it has no critical constraints that permit a host.
    pub(super) fn from_certificate(certificate: &X509Certificate<'_>) -> Option<Self> {
        let found = certificate.name_constraints().ok().flatten()?;
        let names = found.value;
        let permitted = dns_names(permitted_names(names));
        let mut open_kinds = open_kinds(names);
        if may_sign_clients(certificate) {
            open_kinds.push("client certificates");
        }
        (found.critical && !permitted.is_empty()).then(|| Self {
            permitted,
            excluded: dns_names(excluded_names(names)),
            open_kinds,
        })
    }

    /// The permitted hosts.
    pub fn hosts(&self) -> &[String] {
        &self.permitted
    }

    /// Whether clients accept a certificate for `host`.
    pub fn covers(&self, host: &str) -> bool {
        let is_in = |constraints: &[String]| constraints.iter().any(|base| is_within(host, base));
        is_in(&self.permitted) && !is_in(&self.excluded)
    }

    /// Whether clients accept a certificate for sub-domains of `host`.
    pub fn covers_below(&self, host: &str) -> bool {
        self.covers(&format!("*.{host}"))
    }

    /// What these permit and `needed` do not, as a list of phrases.
    pub fn excess_over(&self, needed: &Self) -> Vec<String> {
        let (known, unknown): (Vec<_>, Vec<_>) = self
            .permitted
            .iter()
            .map(String::as_str)
            .partition(|host| needed.covers(host));
        let below: Vec<_> = known
            .into_iter()
            .filter(|host| self.covers_below(host) && !needed.covers_below(host))
            .collect();
        let open = self.open_kinds.iter();
        let open = open.filter(|kind| !needed.open_kinds.contains(kind));
        let mut excess: Vec<String> = open.map(|kind| (*kind).to_owned()).collect();
        if !below.is_empty() {
            excess.push(format!("sub-domains of {}", below.join(", ")));
        }
        excess.extend(unknown.into_iter().map(str::to_owned));
        excess
    }

    /// The certificate's extension. It closes every kind of name, whatever `open_kinds` says.
    pub(super) fn extension(&self) -> CustomExtension {
        let permitted = self.permitted.iter().map(|host| Subtree::text(DNS, host));
        let closed = [Subtree::text(EMAIL, NO_HOST), Subtree::text(URI, NO_HOST)];
        let permitted: Vec<_> = permitted.chain(closed).collect();
        let excluded = self.excluded.iter().map(|host| Subtree::text(DNS, host));
        let addresses = EVERY_ADDRESS.map(|base| Subtree { kind: IP, base });
        let excluded: Vec<_> = excluded.chain(addresses).collect();
        let content = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                write_subtrees(writer.next(), 0, &permitted);
                write_subtrees(writer.next(), 1, &excluded);
            });
        });
        let mut extension = CustomExtension::from_oid_content(&NAME_CONSTRAINTS, content);
        extension.set_criticality(true);
        extension
    }
}

/// One constraint, as it is encoded.
struct Subtree<'a> {
    kind: u64,
    base: &'a [u8],
}

impl<'a> Subtree<'a> {
    fn text(kind: u64, base: &'a str) -> Self {
        let base = base.as_bytes();
        Self { kind, base }
    }

    /// `SEQUENCE { base }`; `minimum` is zero by default.
    fn write(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            let base = writer.next();
            base.write_tagged_implicit(Tag::context(self.kind), |writer| {
                writer.write_bytes(self.base);
            });
        });
    }
}

/// `[tag] SEQUENCE OF Subtree`.
fn write_subtrees(writer: DERWriter<'_>, tag: u64, subtrees: &[Subtree<'_>]) {
    writer.write_tagged_implicit(Tag::context(tag), |writer| {
        writer.write_sequence_of(|writer| {
            for subtree in subtrees {
                subtree.write(writer.next());
            }
        });
    });
}

/// Whether a DNS constraint holds for the host: a name covers itself and what is below it, `.name` only what is below.
fn is_within(host: &str, base: &str) -> bool {
    match host.strip_suffix(base) {
        Some("") => true,
        Some(below) => base.starts_with('.') || below.ends_with('.'),
        None => false,
    }
}

/// The names that are permitted.
fn permitted_names<'a>(
    names: &'a NameConstraints<'a>,
) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let subtrees = names.permitted_subtrees.iter().flatten();
    subtrees.map(|subtree| &subtree.base)
}

/// The names that are excluded.
fn excluded_names<'a>(names: &'a NameConstraints<'a>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let subtrees = names.excluded_subtrees.iter().flatten();
    subtrees.map(|subtree| &subtree.base)
}

fn dns_names<'a>(names: impl Iterator<Item = &'a GeneralName<'a>>) -> Vec<String> {
    names.filter_map(dns_name).collect()
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(host) = name {
        Some(host.to_ascii_lowercase())
    } else {
        None
    }
}

/// The kinds of names that are not closed as `extension` closes them.
fn open_kinds(names: &NameConstraints<'_>) -> Vec<&'static str> {
    let is_permitted = |wanted: GeneralName<'_>| permitted_names(names).any(|name| *name == wanted);
    let has_no_address = EVERY_ADDRESS
        .iter()
        .all(|base| excluded_names(names).any(|name| *name == GeneralName::IPAddress(base)));
    let kinds = [
        ("IP addresses", has_no_address),
        (
            "e-mail addresses",
            is_permitted(GeneralName::RFC822Name(NO_HOST)),
        ),
        ("URIs", is_permitted(GeneralName::URI(NO_HOST))),
    ];
    let open = kinds.into_iter().filter(|(_, is_closed)| !is_closed);
    open.map(|(kind, _)| kind).collect()
}

/// Whether the extended key usage lets clients have a certificate of this CA. OpenSSL compares it; rustls does not.
fn may_sign_clients(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.extended_key_usage().ok().flatten();
    usage.is_none_or(|usage| usage.value.any || usage.value.client_auth)
}

/// Whether a CA can be limited to `host`: a name with a dot, no address, no wildcard.
pub fn is_literal_host(host: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    // A host name's last label has a letter; an address has none there.
    let named = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.contains(|c: char| c.is_ascii_alphabetic()));
    host.chars().all(known)
        && host.contains('.')
        && host.split('.').all(|label| !label.is_empty())
        && named
}

fn validate_hosts(hosts: &[String]) -> Result<Vec<String>, CaError> {
    if let Some(bad) = hosts.iter().find(|host| !is_literal_host(host)) {
        return Err(CaError::InvalidHost(bad.clone()));
    }
    let mut literal: Vec<String> = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    literal.sort_unstable();
    literal.dedup();
    if literal.is_empty() {
        Err(CaError::NoHosts)
    } else {
        Ok(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn limited_to(hosts: &[&str], patterns: &[&str]) -> CaConstraints {
        CaConstraints::for_hosts(&names(hosts), &names(patterns)).unwrap()
    }

    #[test]
    fn hosts_that_would_constrain_nothing_are_rejected() {
        for bad in [
            "*.test.com",
            "127.0.0.1",
            "localhost",
            "com",
            "a..b",
            ".b.test",
            "::1",
            "b.test.",
            "",
        ] {
            let made = CaConstraints::for_hosts(&names(&[bad]), &[]);
            assert!(matches!(made, Err(CaError::InvalidHost(_))), "{bad}");
        }
        let none = CaConstraints::for_hosts(&[], &[]);
        assert!(matches!(none, Err(CaError::NoHosts)));
    }

    #[test]
    fn sub_domains_are_excluded_where_nothing_names_one() {
        for (hosts, pattern, open) in [
            ("api.a.test", "", ""),
            ("a.test api.a.test", "", "a.test"),
            ("api.a.test xapi.a.test", "", ""),
            ("api.a.test b.test", "*.api.a.test", "api.a.test"),
            // What the pattern names lies beside the host.
            ("api.a.test", "api.*.a.test", ""),
        ] {
            let hosts: Vec<_> = hosts.split(' ').collect();
            let made = limited_to(&hosts, &[pattern]);
            for host in hosts {
                assert!(made.covers(host), "{host} in {made:?}");
                assert_eq!(made.covers_below(host), host == open, "{host} in {made:?}");
            }
        }
    }

    #[test]
    fn a_constraint_with_a_dot_holds_below_only() {
        for (host, base, expected) in [
            ("a.test", "a.test", true),
            ("x.a.test", "a.test", true),
            ("xa.test", "a.test", false),
            ("test", "a.test", false),
            ("a.test", ".a.test", false),
            ("x.a.test", ".a.test", true),
            ("xa.test", ".a.test", false),
        ] {
            assert_eq!(is_within(host, base), expected, "{host} in {base}");
        }
    }

    #[test]
    fn the_excess_is_what_the_config_does_not_need() {
        let old = limited_to(&["api.a.test", "gone.test"], &["*.api.a.test"]);
        let needed = limited_to(&["api.a.test"], &[]);
        assert_eq!(
            old.excess_over(&needed),
            ["sub-domains of api.a.test", "gone.test"]
        );
        assert!(needed.excess_over(&old).is_empty());
        let open = CaConstraints {
            open_kinds: vec!["URIs"],
            ..needed.clone()
        };
        assert_eq!(open.excess_over(&needed), ["URIs"]);
    }
}
