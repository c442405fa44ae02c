//! Decides which requests may see the pages. The pages cannot change anything, but provider names and
//! message counts must not leak to other sites: a page of another site must not read ours through the
//! browser of a user on this host. Pure: a request's head goes in, a denial comes out.

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::{StatusCode, Uri};

use crate::net::authority::is_local_host_header;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// A status code, and a text with what to do, for the reader of the response.
pub(super) type AccessDenial = (StatusCode, &'static str);

const MULTIPLE_HOSTS: AccessDenial = (StatusCode::BAD_REQUEST, "A request names one host.\n");
const FOREIGN_HOST: AccessDenial = (
    StatusCode::MISDIRECTED_REQUEST,
    "This address is asked by an IP address or as localhost, so that no name of somebody else's can be pointed at it. \
     A Prometheus that uses a name gets an address of its own: `[listen] metrics`.\n",
);
const CROSS_SITE: AccessDenial = (
    StatusCode::FORBIDDEN,
    "A page of another site asked for this; open the address itself, here nothing is shown to other sites.\n",
);

/// Returns why this request is denied; `None` if it is allowed.
pub(super) fn access_denial(uri: &Uri, headers: &HeaderMap) -> Option<AccessDenial> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
    if hosts.next().is_some() {
        return Some(MULTIPLE_HOSTS);
    }
    // A client that sends no host is not a browser.
    let named = [host, uri.authority().map(http::uri::Authority::as_str)];
    if named
        .into_iter()
        .flatten()
        .any(|host| !is_local_host_header(host))
    {
        return Some(FOREIGN_HOST);
    }
    let origin = headers
        .get(ORIGIN)
        .map(|origin| origin.to_str().unwrap_or_default());
    let own_origin = origin.is_none_or(|origin| {
        origin
            .strip_prefix("http://")
            .is_some_and(|from| Some(from) == host)
    });
    (!own_origin || !is_same_site(headers)).then_some(CROSS_SITE)
}

/// A link on another site (a dashboard, a runbook) may open the page; other cross-site requests are denied.
fn is_same_site(headers: &HeaderMap) -> bool {
    let word = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match word(SEC_FETCH_SITE) {
        None | Some("same-origin" | "none") => true,
        Some(_) => {
            word(SEC_FETCH_MODE) == Some("navigate") && word(SEC_FETCH_DEST) == Some("document")
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(uri: &str, headers: &[(HeaderName, &'static str)]) -> Option<StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        access_denial(&uri.parse().unwrap(), &map).map(|(status, _)| status)
    }

    #[test]
    fn ip_addresses_and_localhost_are_allowed_and_other_names_are_denied() {
        for host in [
            "127.0.0.1:9125",
            "127.0.0.1",
            "[::1]:9125",
            "10.1.2.3:9125",
            "localhost:9125",
            "LOCALHOST.",
            "ops.localhost:80",
        ] {
            assert_eq!(asked("/", &[(HOST, host)]), None, "{host}");
        }
        let strange = [
            "evil.example",
            "evil.example:9125",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "",
            "127.0.0.1:x",
            "::1:9125:a",
        ];
        for host in strange {
            assert_eq!(
                asked("/", &[(HOST, host)]),
                Some(StatusCode::MISDIRECTED_REQUEST),
                "{host}"
            );
        }
        assert_eq!(
            asked("http://evil.example/", &[(HOST, "127.0.0.1")]),
            Some(StatusCode::MISDIRECTED_REQUEST),
            "absolute form"
        );
        assert_eq!(
            asked("/", &[(HOST, "127.0.0.1"), (HOST, "127.0.0.1")]),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(asked("/", &[]), None, "not a browser");
    }

    #[test]
    fn another_site_can_link_to_the_page_but_cannot_read_it() {
        let host = (HOST, "localhost:9125");
        let from = |site, mode, dest| {
            asked(
                "/status.json",
                &[
                    host.clone(),
                    (SEC_FETCH_SITE, site),
                    (SEC_FETCH_MODE, mode),
                    (SEC_FETCH_DEST, dest),
                ],
            )
        };
        assert_eq!(from("same-origin", "cors", "empty"), None);
        assert_eq!(
            from("none", "navigate", "document"),
            None,
            "a typed address"
        );
        assert_eq!(
            from("cross-site", "navigate", "document"),
            None,
            "followed a link"
        );
        for (site, mode, dest) in [
            ("cross-site", "cors", "empty"),
            ("same-site", "no-cors", "script"),
            ("cross-site", "navigate", "iframe"),
            ("cross-site", "no-cors", "image"),
        ] {
            assert_eq!(
                from(site, mode, dest),
                Some(StatusCode::FORBIDDEN),
                "{site} {mode} {dest}"
            );
        }
        assert_eq!(
            asked("/", &[host.clone(), (ORIGIN, "http://localhost:9125")]),
            None
        );
        for origin in [
            "http://localhost:3000",
            "https://localhost:9125",
            "null",
            "http://evil.example",
        ] {
            assert_eq!(
                asked("/", &[host.clone(), (ORIGIN, origin)]),
                Some(StatusCode::FORBIDDEN),
                "{origin}"
            );
        }
    }
}
