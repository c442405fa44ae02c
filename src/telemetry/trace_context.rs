//! The place of a request in the backend's own trace: the W3C headers `traceparent` and
//! `tracestate`, read as strictly as the recommendation requires. An invalid context is treated as
//! absent, because half a context would join requests that have nothing to do with each other. The
//! headers are only read and never passed on, because the backend's traces do not concern a provider.

use std::fmt;

use http::HeaderMap;

/// Longer values are left out, because the recommendation does not require keeping more.
const MAX_TRACESTATE_LEN: usize = 512;

/// One trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// One span of a trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// The backend's span in which it makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span itself.
    pub span_id: SpanId,
    /// Whether the backend records it; if so, we do too.
    pub sampled: bool,
    /// The additional state of tracing systems, unchanged; often empty.
    pub trace_state: String,
}

impl TraceParent {
    /// Reads it from a request. None if there is no `traceparent`, more than one, or an invalid one.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut found = headers.get_all("traceparent").iter();
        let (Some(only), None) = (found.next(), found.next()) else {
            return None;
        };
        let parent = Self::parse(only.to_str().ok()?)?;
        Some(Self {
            trace_state: read_tracestate(headers).unwrap_or_default(),
            ..parent
        })
    }

    /// `00-<32 hex digits>-<16>-<2>`; a later version may add more after a further dash.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let [version] = parse_hex(parts.next()?)?;
        let trace = parse_hex(parts.next()?)?;
        let span = parse_hex(parts.next()?)?;
        let [flags] = parse_hex(parts.next()?)?;
        let known = version == 0 && parts.next().is_none() || (1..0xff).contains(&version);
        let named = trace != [0; 16] && span != [0; 8];
        (known && named).then(|| Self {
            trace_id: TraceId(trace),
            span_id: SpanId(span),
            sampled: flags & 1 == 1,
            trace_state: String::new(),
        })
    }
}

/// All `tracestate` headers as one; none if one of them is not text, or if together they are too long.
fn read_tracestate(headers: &HeaderMap) -> Option<String> {
    let parts: Result<Vec<&str>, _> = headers
        .get_all("tracestate")
        .iter()
        .map(http::HeaderValue::to_str)
        .collect();
    let whole = parts.ok()?.join(",");
    (whole.len() <= MAX_TRACESTATE_LEN).then_some(whole)
}

/// Exactly `N` bytes in lowercase hex digits.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(lines: &[(&'static str, &str)]) -> Option<TraceParent> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        TraceParent::from_headers(&headers)
    }

    #[test]
    fn contexts_that_the_recommendation_allows_are_read() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            // Flags of later levels (02: the id is random) are not checked.
            (format!("00-{TRACE}-{SPAN}-03"), true),
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            // Of a later version, only the known part is read.
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (
                format!("cc-{TRACE}-{SPAN}-01-what-the-future-is-like"),
                true,
            ),
            (format!("fe-{TRACE}-{SPAN}-00-"), false),
        ] {
            let parent = read(&[("traceparent", &text)]).expect(&text);
            assert_eq!(
                (
                    parent.trace_id.to_string().as_str(),
                    parent.span_id.0[7],
                    parent.sampled
                ),
                (TRACE, 0xb7, sampled),
                "{text}"
            );
            assert_eq!(parent.trace_state, "");
        }
    }

    #[test]
    fn invalid_contexts_are_treated_as_absent() {
        let zero = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("+0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("0A-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("00-{}-{SPAN}-01", TRACE.replace('4', "g")),
            format!("00-{}-{SPAN}-01", TRACE.trim_start_matches('4')),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-ü{}-01", SPAN.trim_start_matches("00")),
        ] {
            assert_eq!(read(&[("traceparent", &text)]), None, "{text}");
        }
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(
            read(&[("traceparent", &good), ("traceparent", &good)]),
            None,
            "two headers may name two parents"
        );
        assert_eq!(read(&[("tracestate", "a=1")]), None);
    }

    #[test]
    fn the_state_is_kept_as_a_whole_or_not_at_all() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let state = |lines: &[&str]| {
            let all: Vec<_> = [("traceparent", good.as_str())]
                .into_iter()
                .chain(lines.iter().map(|line| ("tracestate", *line)))
                .collect();
            read(&all).unwrap().trace_state
        };
        assert_eq!(state(&["congo=t61rcWkgMzE"]), "congo=t61rcWkgMzE");
        assert_eq!(state(&["congo=1", "rojo=2"]), "congo=1,rojo=2");
        assert_eq!(state(&[&format!("a={}", "x".repeat(511))]), "");
        assert_eq!(state(&["a=ü"]), "", "it is not text, but the trace is kept");
    }
}
