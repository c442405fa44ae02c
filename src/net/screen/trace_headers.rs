//! The trace context headers of a backend. They are for the sidecar only: they would show a
//! provider which requests belong together, and `baggage` may hold anything. They are removed
//! last, right before any request is written.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

/// The W3C headers first, then older ones and those that some tracing systems send in addition.
const TRACE_HEADERS: [&str; 6] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "uber-trace-id",
    "sentry-trace",
];
const TRACE_HEADER_PREFIXES: [&str; 3] = ["x-b3-", "uberctx-", "x-datadog-"];

/// Removes them, except for those that the backend's own signature covers (only observe mode lets a signature
/// through): the provider would reject a good request without them, and observing must not change the result.
pub fn strip_trace_headers(headers: &mut HeaderMap) {
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_trace_header(name.as_str()))
        .cloned()
        .collect();
    if gone.is_empty() {
        return;
    }
    let signed = signed_headers(headers);
    for name in gone
        .into_iter()
        .filter(|name| !signed.iter().any(|signed| name == signed.as_str()))
    {
        headers.remove(name);
    }
}

fn is_trace_header(name: &str) -> bool {
    TRACE_HEADERS.contains(&name)
        || TRACE_HEADER_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The header names in `SignedHeaders=a;b` of an AWS signature.
fn signed_headers(headers: &HeaderMap) -> Vec<String> {
    let authorization = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let list = authorization
        .split([',', ' '])
        .find_map(|part| part.strip_prefix("SignedHeaders="));
    list.into_iter()
        .flat_map(|list| list.split(';'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        strip_trace_headers(&mut headers);
        let mut left: Vec<String> = headers.keys().map(ToString::to_string).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn trace_headers_are_removed() {
        let all = [
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            ),
            ("tracestate", "congo=1"),
            ("baggage", "user=17"),
            ("b3", "0"),
            ("x-b3-traceid", "463ac35c9f6413ad"),
            ("x-b3-sampled", "1"),
            ("uber-trace-id", "1:2:0:1"),
            ("uberctx-user", "17"),
            ("sentry-trace", "1-2-1"),
            ("x-datadog-trace-id", "1"),
            ("content-type", "application/json"),
            ("authorization", "Basic eDp5"),
            ("x-trace", "the service's own"),
        ];
        assert_eq!(left(&all), ["authorization", "content-type", "x-trace"]);
    }

    #[test]
    fn signed_headers_stay() {
        let by = |authorization| {
            left(&[
                ("traceparent", "00-1-2-01"),
                ("baggage", "a=1"),
                ("authorization", authorization),
            ])
        };
        let covering = "AWS4-HMAC-SHA256 Credential=A/20260101/eu/sns/aws4_request, SignedHeaders=host;traceparent;x-amz-date, Signature=0";
        assert_eq!(by(covering), ["authorization", "traceparent"]);
        let tight = "AWS4-HMAC-SHA256 Credential=A/20260101/eu/sns/aws4_request,SignedHeaders=baggage;host,Signature=0";
        assert_eq!(by(tight), ["authorization", "baggage"]);
        assert_eq!(
            by("AWS4-HMAC-SHA256 Credential=A, SignedHeaders=host;x-amz-date, Signature=0"),
            ["authorization"]
        );
        assert_eq!(by("Bearer traceparent"), ["authorization"]);
    }
}
