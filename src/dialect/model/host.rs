//! Hosts a backend may name, and the base URL attempts go to.

/// `api.*.example.com`: `*` is one whole label, never a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPattern(pub(crate) String);

impl HostPattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let labels: Vec<&str> = text.split('.').collect();
        let plain = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | '[' | ']')
        };
        let label = |label: &&str| *label == "*" || (!label.is_empty() && label.chars().all(plain));
        let fixed_tail = labels.iter().rev().take(2).all(|label| *label != "*");
        (labels.iter().all(label) && (fixed_tail || labels.len() == 1 && text != "*"))
            .then(|| Self(text.to_owned()))
    }

    pub(crate) fn is_match(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut wanted = self.0.split('.');
        let mut given = host.split('.');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some("*"), Some(label)) if !label.is_empty() => {}
                (Some(want), Some(label)) if want.eq_ignore_ascii_case(label) => {}
                _ => return false,
            }
        }
    }

    pub(crate) fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }
}

/// A base URL, split once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    pub(crate) text: String,
    pub(crate) host: String,
    /// `/broker-api`, or nothing.
    pub(crate) path: String,
}

impl BaseUrl {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let scheme = uri
            .scheme_str()
            .filter(|scheme| matches!(*scheme, "http" | "https"));
        let host = uri.host()?.to_ascii_lowercase();
        // The library reads a port that is not a number as no port.
        let has_sound_port = uri.port_u16().map_or_else(
            || {
                uri.authority()
                    .is_some_and(|own| own.as_str() == own.host())
            },
            |port| port > 0,
        );
        let sound = scheme.is_some()
            && has_sound_port
            && uri.query().is_none()
            && !text.contains(['#', '@']);
        sound.then(|| Self {
            text: text.trim_end_matches('/').to_owned(),
            host,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// A path without the base path; none if it does not begin with it.
    pub(crate) fn strip_base_path<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.path.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        let pattern = HostPattern::parse("api.*.twilio.com").unwrap();
        assert!(pattern.is_match("api.ie1.twilio.com") && pattern.is_match("API.IE1.TWILIO.COM."));
        assert!(
            !pattern.is_match("api.twilio.com")
                && !pattern.is_match("api.a.b.twilio.com")
                && !pattern.is_match("api..twilio.com")
        );
        for text in ["*", "*.com", "a.*", "", "a..b", "https://a.b"] {
            assert!(HostPattern::parse(text).is_none(), "{text}");
        }
        assert!(HostPattern::parse("91.204.239.44").unwrap().is_literal());
    }

    #[test]
    fn a_base_path_is_taken_off_whole_segments() {
        let base = BaseUrl::parse("https://send.example.uz/broker-api/").unwrap();
        assert_eq!(
            (base.host.as_str(), base.path.as_str()),
            ("send.example.uz", "/broker-api")
        );
        assert_eq!(base.strip_base_path("/broker-api/send"), Some("/send"));
        assert_eq!(base.strip_base_path("/broker-apis/send"), None);
        assert!(
            BaseUrl::parse("ftp://x").is_none()
                && BaseUrl::parse("x").is_none()
                && BaseUrl::parse("https://x/?a").is_none()
                && BaseUrl::parse("https://x:99999").is_none()
                && BaseUrl::parse("https://x:a").is_none()
        );
    }
}
