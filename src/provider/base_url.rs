//! An account's own base URL beside the one its dialect describes: where the account is, and how a
//! path below one is called below the other. Both are parsed once.

use http::Uri;

use crate::net::authority::Authority;

/// The base URL of an account and that of its dialect.
#[derive(Debug)]
pub(crate) struct BaseUrlMapping {
    authority: Option<Authority>,
    /// `https://host:port` of the account.
    account_origin: Option<String>,
    account_path: String,
    dialect_path: String,
}

impl BaseUrlMapping {
    /// `account_url` is where attempts go; the dialect's paths are below `dialect_url`.
    pub(crate) fn new(account_url: &str, dialect_url: &str) -> Self {
        let account: Option<Uri> = account_url.parse().ok();
        let dialect: Option<Uri> = dialect_url.parse().ok();
        let path = |url: Option<&Uri>| {
            url.map(|url| url.path().trim_end_matches('/').to_owned())
                .unwrap_or_default()
        };
        Self {
            authority: account.as_ref().and_then(Authority::from_uri),
            account_origin: account.as_ref().and_then(origin),
            account_path: path(account.as_ref()),
            dialect_path: path(dialect.as_ref()),
        }
    }

    /// The account's host and port.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// A path below the account's base URL as the dialect knows it.
    pub(crate) fn to_dialect_path(&self, path: &str) -> String {
        let account = self.account_path.as_str();
        let dialect = self.dialect_path.as_str();
        match path.strip_prefix(account) {
            Some(rest)
                if account != dialect && !path.starts_with(dialect)
                    || account.is_empty() && dialect.is_empty() =>
            {
                format!("{dialect}{rest}")
            }
            Some(_) | None => path.to_owned(),
        }
    }

    /// The URL at the account for a path that may be below the dialect's base URL; none if the account's base URL is
    /// not valid.
    pub(crate) fn to_account_url(&self, path: &str) -> Option<String> {
        let origin = self.account_origin.as_ref()?;
        Some(match path.strip_prefix(self.dialect_path.as_str()) {
            Some(rest) => format!("{origin}{}{rest}", self.account_path),
            None => format!("{origin}{path}"),
        })
    }
}

fn origin(url: &Uri) -> Option<String> {
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::authority::Scheme;

    #[test]
    fn a_path_below_another_base_url_is_mapped_to_the_dialects() {
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
    fn an_account_is_only_at_its_own_host_and_port() {
        let base = BaseUrlMapping::new("https://Own.example/api", "https://send.example");
        let own = Authority {
            scheme: Scheme::Https,
            host: "own.example".to_owned(),
            port: 443,
        };
        assert_eq!(base.authority(), Some(&own));
    }

    #[test]
    fn a_dialect_path_is_mapped_to_the_account_url() {
        let mapping = BaseUrlMapping::new("https://own.example/v9/", "https://send.example/api");
        assert_eq!(
            mapping.to_account_url("/api/send").as_deref(),
            Some("https://own.example/v9/send")
        );
        assert_eq!(
            mapping.to_account_url("/other").as_deref(),
            Some("https://own.example/other")
        );
    }
}
