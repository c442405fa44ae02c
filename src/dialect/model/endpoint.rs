//! Method and path of an operation, matched when a request is read and rendered when one is
//! written. A hole in a path is exactly one segment, never a dot segment or an encoded slash.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{
    StringTemplate, SyntaxError, TemplatePart, ValueSource, into_text,
};

/// The characters that are not encoded in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'+')
    .remove(b':')
    .remove(b'@');

/// Whether the service tells upper from lower case in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathCase {
    Exact,
    Ignored,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) methods: Vec<Method>,
    /// `https://verify.example.com`, where it is another host than the dialect's.
    pub(crate) origin: Option<String>,
    segments: Vec<StringTemplate>,
    /// As written, without methods and origin; for listings and comparison.
    pub(crate) path: String,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let Some((methods, target)) = text.split_once(' ') else {
            return Err(endpoint_error(
                0,
                "an endpoint is a method, a blank and a path",
            ));
        };
        let target = target.trim();
        let (origin, path) = split_origin(target);
        let parsed_methods = parse_methods(methods)?;
        if !path.starts_with('/') {
            return Err(endpoint_error(methods.len() + 1, "a path begins with `/`"));
        }
        let path_start = text.len() - target.len() + origin.map_or(0, str::len);
        Ok(Self {
            methods: parsed_methods,
            origin: origin.map(str::to_owned),
            segments: parse_segments(path, path_start)?,
            path: path.to_owned(),
        })
    }

    /// The host that it names, if it is not at the base URL.
    pub(crate) fn host(&self) -> Option<&str> {
        let (_, authority) = self.origin.as_deref()?.split_once("://")?;
        Some(authority.split(':').next().unwrap_or(authority))
    }

    /// The values of the path's holes, if method and path match; `path` is without the base path.
    pub(crate) fn match_path(
        &self,
        method: &Method,
        path: &str,
        case: PathCase,
    ) -> Option<BTreeMap<String, String>> {
        if !self.methods.contains(method) {
            return None;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let given = || path.split('/').filter(|_| !path.is_empty());
        if given().count() != self.segments.len() {
            return None;
        }
        let mut held = BTreeMap::new();
        for (template, segment) in self.segments.iter().zip(given()) {
            if case == PathCase::Ignored && template.is_literal_of(segment) {
                continue;
            }
            for (hole, value) in template.captures(segment)? {
                held.insert(
                    hole.source
                        .kind_and_name()
                        .map_or("", |(_, name)| name)
                        .to_owned(),
                    safe_segment(value)?.to_owned(),
                );
            }
        }
        Some(held)
    }

    /// The path for this account, without the base path; none if a hole has no value.
    pub(crate) fn render_path(&self, scope: &Scope<'_>) -> Option<String> {
        let mut out = String::new();
        for segment in &self.segments {
            out.push('/');
            for part in &segment.parts {
                push_part(&mut out, part, scope)?;
            }
        }
        if self.path.len() > 1 && self.path.ends_with('/') {
            out.push('/');
        }
        Some(if out.is_empty() { "/".to_owned() } else { out })
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &ValueSource> {
        self.segments
            .iter()
            .flat_map(StringTemplate::exprs)
            .map(|hole| &hole.source)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        write!(
            f,
            "{} {}{}",
            methods.join("|"),
            self.origin.as_deref().unwrap_or_default(),
            self.path
        )
    }
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

fn endpoint_error(offset: usize, message: &str) -> SyntaxError {
    SyntaxError {
        offset,
        message: message.to_owned(),
        help: Some("write it like `POST /send` or `POST|GET /send.php`".to_owned()),
    }
}

fn parse_methods(words: &str) -> Result<Vec<Method>, SyntaxError> {
    let parse = |word: &str| {
        Method::from_bytes(word.as_bytes())
            .ok()
            .filter(|_| METHODS.contains(&word))
    };
    words
        .split('|')
        .map(parse)
        .collect::<Option<_>>()
        .ok_or_else(|| SyntaxError {
            offset: 0,
            message: "unknown method".into(),
            help: Some(format!("methods are: {}", METHODS.join(" "))),
        })
}

/// `start` is where the path begins in the endpoint.
fn parse_segments(path: &str, start: usize) -> Result<Vec<StringTemplate>, SyntaxError> {
    let trimmed = path.trim_start_matches('/').trim_end_matches('/');
    let mut at = start + 1;
    let mut segments = Vec::new();
    for segment in trimmed.split('/').filter(|segment| !segment.is_empty()) {
        let template = StringTemplate::parse_path(segment).map_err(|error| SyntaxError {
            offset: at + error.offset,
            ..error
        })?;
        segments.push(template);
        at += segment.len() + 1;
    }
    Ok(segments)
}

fn split_origin(target: &str) -> (Option<&str>, &str) {
    let Some(scheme_end) = target.find("://") else {
        return (None, target);
    };
    let host_end = target
        .get(scheme_end + 3..)
        .and_then(|rest| rest.find('/'))
        .map_or(target.len(), |at| scheme_end + 3 + at);
    target
        .split_at_checked(host_end)
        .map_or((None, target), |(origin, path)| (Some(origin), path))
}

/// What the backend has in the place of a parameter that the provider does not set.
fn own_segment<'s>(source: &ValueSource, scope: &Scope<'s>) -> Option<&'s str> {
    let ValueSource::Param(name) = source else {
        return None;
    };
    let is_set = scope.account?.params.contains_key(name);
    let own = scope.path_params?.get(name)?;
    (!is_set).then_some(own.as_str())
}

/// Adds a part of a path; none if its hole has no value.
fn push_part(out: &mut String, part: &TemplatePart, scope: &Scope<'_>) -> Option<()> {
    match part {
        TemplatePart::Text(text) => out.push_str(text),
        // the backend's value is already encoded
        TemplatePart::Expr(hole) if matches!(hole.source, ValueSource::PathParam(_)) => {
            out.push_str(&into_text(hole.evaluate(scope)?));
        }
        TemplatePart::Expr(hole) => {
            if let Some(own) = own_segment(&hole.source, scope) {
                out.push_str(own);
            } else {
                let value = into_text(hole.evaluate(scope)?);
                out.extend(utf8_percent_encode(&value, SEGMENT));
            }
        }
    }
    Some(())
}

/// The value, if it is still one segment when it is forwarded.
fn safe_segment(value: &str) -> Option<&str> {
    let plain = percent_decode_str(value).decode_utf8().ok()?;
    let hidden = plain.contains(['/', '\\', '?', '#', ';'])
        || plain.contains("..")
        || plain.chars().any(char::is_control);
    (!plain.is_empty() && plain != "." && !hidden).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_by_segment() {
        let call =
            Endpoint::parse("POST /Accounts/{credential.account_sid}/Messages/{id}.json").unwrap();
        let held = call
            .match_path(
                &Method::POST,
                "/Accounts/AC1/Messages/SM2.json",
                PathCase::Exact,
            )
            .unwrap();
        assert_eq!(
            (held["account_sid"].as_str(), held["id"].as_str()),
            ("AC1", "SM2")
        );
        assert!(
            call.match_path(
                &Method::POST,
                "/Accounts/AC1/Messages/SM2.json/",
                PathCase::Exact
            )
            .is_some()
        );
        for path in [
            "/Accounts/AC1/Messages/SM2",
            "/Accounts//Messages/S.json",
            "/Accounts/../Messages/S.json",
            "/Accounts/a%2fb/Messages/S.json",
            "/Accounts/%2e%2e/Messages/S.json",
        ] {
            assert!(
                call.match_path(&Method::POST, path, PathCase::Exact)
                    .is_none(),
                "{path}"
            );
        }
        assert!(
            call.match_path(
                &Method::GET,
                "/Accounts/AC1/Messages/SM2.json",
                PathCase::Exact
            )
            .is_none()
        );
    }

    #[test]
    fn a_call_may_name_another_host_and_two_methods() {
        let call = Endpoint::parse("POST|GET https://verify.example.com/v2/{any}/Check").unwrap();
        assert_eq!(
            (call.host(), call.path.as_str()),
            (Some("verify.example.com"), "/v2/{any}/Check")
        );
        assert!(
            call.match_path(&Method::GET, "/v2/VA1/Check", PathCase::Exact)
                .is_some()
        );
        assert!(
            Endpoint::parse("POST /")
                .unwrap()
                .match_path(&Method::POST, "/", PathCase::Exact)
                .is_some()
        );
    }

    #[test]
    fn broken_calls_are_refused() {
        for text in ["", "POST", "post /a", "FETCH /a", "POST a", "POST /{a"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
