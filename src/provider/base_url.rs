//! An account's own base URL beside the one its dialect describes, both taken apart once:
//! where the account is, and what a path below it is called in the description.

use http::Uri;

use crate::net::authority::Authority;

/// Two base URLs of one service.
#[derive(Debug)]
pub(crate) struct BaseUrlMapping {
    authority: Option<Authority>,
    account_path: String,
    dialect_path: String,
}

impl BaseUrlMapping {
    /// `own` is where attempts go, `described` what the dialect's paths stand below.
    pub(crate) fn new(own: &str, described: &str) -> Self {
        let path = |url: &str| {
            url.parse::<Uri>()
                .map(|uri| uri.path().trim_end_matches('/').to_owned())
                .unwrap_or_default()
        };
        let authority = own.parse().ok().as_ref().and_then(Authority::from_uri);
        Self {
            authority,
            account_path: path(own),
            dialect_path: path(described),
        }
    }

    /// The account's own host and port.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Whether the account's own host and port are these, whatever the scheme.
    pub(crate) fn is_at(&self, authority: &Authority) -> bool {
        self.authority
            .as_ref()
            .is_some_and(|at| at.host == authority.host && at.port == authority.port)
    }

    /// A path under the account's base URL as the path under its dialect's, which the description knows.
    pub(crate) fn to_dialect_path(&self, path: &str) -> String {
        let Self {
            account_path: own,
            dialect_path: described,
            ..
        } = self;
        match path.strip_prefix(own.as_str()) {
            Some(rest)
                if own != described && !path.starts_with(described)
                    || own.is_empty() && described.is_empty() =>
            {
                format!("{described}{rest}")
            }
            Some(_) | None => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::authority::Scheme;

    #[test]
    fn a_path_under_another_base_is_read_as_the_described_one() {
        let described = "https://send.example/broker-api";
        for (own, path, wanted) in [
            (
                "https://own.example/v9/api",
                "/v9/api/send",
                "/broker-api/send",
            ),
            (
                "https://own.example/broker-api",
                "/broker-api/send",
                "/broker-api/send",
            ),
            ("http://127.0.0.1:1", "/broker-api/send", "/broker-api/send"),
            ("http://127.0.0.1:1", "/send", "/broker-api/send"),
        ] {
            assert_eq!(
                BaseUrlMapping::new(own, described).to_dialect_path(path),
                wanted,
                "{own}"
            );
        }
        assert_eq!(
            BaseUrlMapping::new("http://127.0.0.1:1", "https://rest.example")
                .to_dialect_path("/sms/json"),
            "/sms/json"
        );
    }

    #[test]
    fn an_account_is_at_its_host_and_port_only() {
        let base = BaseUrlMapping::new("https://Own.example/api", "https://send.example");
        let at = |host: &str, port| Authority {
            scheme: Scheme::Http,
            host: host.to_owned(),
            port,
        };
        assert!(base.is_at(&at("own.example", 443)));
        assert!(!base.is_at(&at("own.example", 80)) && !base.is_at(&at("send.example", 443)));
    }
}
