//! Bodies to trees and back: JSON, urlencoded and multipart forms, XML replies, all as
//! one `serde_json::Value`. Rejects encoded bodies; reports text that is not UTF-8.

use base64::Engine;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use quick_xml::events::Event;
use serde_json::{Map, Value};

use crate::dialect::expr::path::{self, JsonPath};
use crate::dialect::expr::template::to_text;
use crate::dialect::expr::tree::{Shape, TreeValue};
use crate::dialect::wire::format::{
    BodyFormat, header_text, is_utf8_charset, malformed_multipart, strip_bom,
};
use crate::dialect::wire::json_text::JsonText;
use crate::dialect::wire::multipart;
use crate::dialect::wire::tree::insert_value;
use crate::dialect::wire::unique_names::UniqueNames;
use crate::dialect::{Request, RequestReadError};
use crate::parse_limit::{self, JsonError, ParseLimit, ValueCounter};

impl Request {
    /// The number of values that the query and `body` have together, without making a tree of them; an error if one of
    /// them has more than a tree may. A body that cannot be read at all has none.
    pub fn count_values(&self, body: &[u8]) -> Result<usize, ParseLimit> {
        let query = self.query.as_deref().unwrap_or_default();
        let pairs = parse_limit::count_pairs(query.as_bytes())?;
        match BodyFormat::detect(&self.headers, body) {
            Ok(format) => Ok(pairs + format.count_values(body)?),
            Err(_) => Ok(pairs),
        }
    }
}

/// A parsed body.
#[derive(Clone, Debug)]
pub(crate) struct ParsedBody {
    pub(crate) format: BodyFormat,
    pub(crate) tree: BodyTree,
    /// False: some text in it is not UTF-8, so no message may be read from it.
    pub(crate) is_utf8: bool,
}

impl ParsedBody {
    /// Parses the body by its format.
    pub(crate) fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Self, RequestReadError> {
        let format = BodyFormat::detect(headers, body)?;
        let (tree, utf8) = match &format {
            BodyFormat::Empty | BodyFormat::Other(_) => (BodyTree::default(), true),
            BodyFormat::Json => (BodyTree::read_json(body)?, true),
            BodyFormat::Form => {
                format.count_values(body)?;
                let (tree, utf8) = read_form(body)?;
                (BodyTree::Made(tree), utf8)
            }
            BodyFormat::Multipart(boundary) => {
                format.count_values(body)?;
                let read = multipart::read(body, boundary);
                let (tree, utf8) = read.map_err(malformed_multipart)?;
                (BodyTree::Made(tree), utf8)
            }
        };
        let is_utf8 = utf8 && is_utf8_charset(header_text(headers, CONTENT_TYPE.as_str()));
        Ok(Self {
            format,
            tree,
            is_utf8,
        })
    }
}

fn read_form(body: &[u8]) -> Result<(Value, bool), RequestReadError> {
    // A service's own charset is percent-encoded; raw bytes are not a form.
    let text = std::str::from_utf8(body).map_err(|_| RequestReadError::Malformed {
        format: "form",
        what: "some bytes are not percent-encoded".into(),
    })?;
    Ok(parse_urlencoded(text)?)
}

/// The values of a body.
#[derive(Clone, Debug)]
pub(crate) enum BodyTree {
    /// Parsed into a tree.
    Made(Value),
    /// As spans of the JSON text.
    Json(JsonText),
}

impl Default for BodyTree {
    fn default() -> Self {
        Self::Made(Value::Null)
    }
}

impl BodyTree {
    fn read_json(body: &Bytes) -> Result<Self, RequestReadError> {
        let plain = body.slice_ref(strip_bom(body));
        Ok(match JsonText::read(&plain)? {
            Some(json) => Self::Json(json),
            None => Self::Made(parse_json(body)?),
        })
    }

    /// Copies of the values at a path.
    pub(crate) fn values_at(&self, path: &JsonPath) -> Vec<Value> {
        match self {
            Self::Made(tree) => copies(tree, path),
            Self::Json(json) => copies(json.root(), path),
        }
    }

    /// The paths of its leaves that none of `known` covers.
    pub(crate) fn uncovered_paths(&self, known: &[&JsonPath]) -> Vec<String> {
        match self {
            Self::Made(tree) => path::uncovered_paths(tree, known),
            Self::Json(json) => path::uncovered_paths(json.root(), known),
        }
    }

    /// The names and texts of the fields; none if the body is not an object.
    pub(crate) fn fields(&self) -> Option<Vec<(String, String)>> {
        match self {
            Self::Made(tree) => field_texts(tree),
            Self::Json(json) => field_texts(json.root()),
        }
    }

    /// As a tree.
    pub(crate) fn into_tree(self) -> Value {
        match self {
            Self::Made(tree) => tree,
            Self::Json(json) => json.root().to_value(),
        }
    }
}

fn copies<'t, T: TreeValue<'t>>(tree: T, path: &JsonPath) -> Vec<Value> {
    let mut copies = Vec::new();
    path.for_each(tree, &mut |value| copies.push(value.to_value()));
    copies
}

fn field_texts<'t, T: TreeValue<'t>>(tree: T) -> Option<Vec<(String, String)>> {
    let texts = tree
        .fields()
        .map(|(name, value)| (name.to_owned(), to_text(&value.to_value())));
    (tree.shape() == Shape::Object).then(|| texts.collect())
}

/// JSON without repeated names: a service may read the first value where we read the last.
pub(crate) fn parse_json(body: &Bytes) -> Result<Value, RequestReadError> {
    let body = strip_bom(body);
    let malformed = |error: serde_json::Error| RequestReadError::Malformed {
        format: "JSON",
        what: format!(
            "{}line {}, column {}",
            if error.is_data() {
                "a name is given twice, or is reserved, at "
            } else {
                ""
            },
            error.line(),
            error.column()
        ),
    };
    parse_limit::count_json(body)?;
    serde_json::from_slice::<UniqueNames>(body).map_err(malformed)?;
    serde_json::from_slice(body).map_err(malformed)
}

/// Urlencoded pairs as a flat object; a repeated name becomes a list. False: not UTF-8.
pub(crate) fn parse_urlencoded(text: &str) -> Result<(Value, bool), ParseLimit> {
    parse_limit::count_pairs(text.as_bytes())?;
    let mut map = Map::new();
    let mut utf8 = true;
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (decode_component(name), decode_component(value)) {
            (Some(name), Some(value)) => insert_value(&mut map, name, value.into()),
            _ => utf8 = false,
        }
    }
    Ok((Value::Object(map), utf8))
}

/// Decodes `+` and percent signs; none if the bytes are not UTF-8.
pub(crate) fn decode_component(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// A flat tree as urlencoded pairs.
pub(crate) fn urlencode(tree: &Value) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (name, value) in flat_fields(tree) {
        out.append_pair(name, &value);
    }
    out.finish()
}

/// Name and text of each field of a flat tree; structures become JSON text.
pub(crate) fn flat_fields(tree: &Value) -> impl Iterator<Item = (&str, String)> {
    tree.as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), to_text(value)))
}

/// A reply's body: JSON, XML or neither. One beyond the limits is an error, for a reader that says so; it proves
/// nothing, like any other text.
pub(crate) fn parse_reply(body: &[u8]) -> Result<Value, ParseLimit> {
    let body = strip_bom(body);
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => match parse_limit::read_json(body) {
            Ok(tree) => Ok(tree),
            Err(JsonError::Malformed(_)) => Ok(Value::Null),
            Err(JsonError::Limit(limit)) => Err(limit),
        },
        Some(b'<') => match std::str::from_utf8(body).map(parse_xml) {
            Ok(tree) => Ok(tree?.unwrap_or(Value::Null)),
            Err(_) => Ok(Value::Null),
        },
        _ => Ok(Value::Null),
    }
}

/// An element that is not closed yet.
#[derive(Default)]
struct OpenElement {
    name: String,
    children: Map<String, Value>,
    text: String,
}

impl OpenElement {
    fn named(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    fn close(self) -> (String, Value) {
        let value = if self.children.is_empty() {
            Value::String(self.text.trim().to_owned())
        } else {
            Value::Object(self.children)
        };
        (self.name, value)
    }
}

/// Elements as objects, repeated ones as lists, text as strings; attributes are ignored. None: not XML.
fn parse_xml(text: &str) -> Result<Option<Value>, ParseLimit> {
    check_xml(text)?;
    Ok(xml_tree(text))
}

/// Counts the elements without making anything of them; text that is not XML gets any count.
fn check_xml(text: &str) -> Result<(), ParseLimit> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut counter = ValueCounter::default();
    let mut depth = 0_usize;
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(_) => {
                counter.add()?;
                depth += 1;
                parse_limit::check_depth(depth)?;
            }
            Event::Empty(_) => counter.add()?,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => break,
            Event::Text(_)
            | Event::CData(_)
            | Event::GeneralRef(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
    Ok(())
}

fn xml_tree(text: &str) -> Option<Value> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open = vec![OpenElement::default()];
    loop {
        let current = open.last_mut()?;
        match reader.read_event().ok()? {
            Event::Start(start) => {
                open.push(OpenElement::named(local_name(start.name().as_ref())));
            }
            Event::Empty(start) => insert_value(
                &mut current.children,
                local_name(start.name().as_ref()),
                Value::String(String::new()),
            ),
            Event::Text(part) => current.text.push_str(&part.xml10_content()),
            Event::CData(part) => current.text.push_str(&part.xml10_content()),
            Event::GeneralRef(part) => {
                current
                    .text
                    .push_str(&resolve_entity(&part.xml10_content())?);
            }
            Event::End(_) => {
                let (name, value) = open.pop()?.close();
                insert_value(&mut open.last_mut()?.children, name, value);
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    let document = open.pop().filter(|_| open.is_empty())?;
    Some(Value::Object(document.children))
}

fn local_name(name: &str) -> String {
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

fn resolve_entity(name: &str) -> Option<String> {
    let code = name
        .strip_prefix('#')
        .map(|code| match code.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => code.parse(),
        });
    match (code, name) {
        (Some(code), _) => code.ok().and_then(char::from_u32).map(String::from),
        (None, "lt") => Some("<".into()),
        (None, "gt") => Some(">".into()),
        (None, "amp") => Some("&".into()),
        (None, "quot") => Some("\"".into()),
        (None, "apos") => Some("'".into()),
        (None, _) => None,
    }
}

/// User and password of `Basic …`.
pub(crate) fn decode_basic_auth(authorization: &str) -> Option<(String, String)> {
    let (scheme, code) = authorization.split_once(' ')?;
    let bytes = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| base64::prelude::BASE64_STANDARD.decode(code.trim()).ok())??;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':')
        .map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// The bytes of base64 in either alphabet, with or without padding.
pub(crate) fn decode_base64(code: &str) -> Option<Vec<u8>> {
    let code: String = code
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    base64::prelude::BASE64_STANDARD_NO_PAD.decode(code).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_limit::MAX_VALUES;
    use serde_json::json;

    #[test]
    fn forms_of_every_spelling_become_one_tree() {
        let parse_urlencoded = |text: &str| parse_urlencoded(text).unwrap();
        let (tree, utf8) = parse_urlencoded("To=%2B998&Body=a+b%26c&x=1&x=2&empty=&flag");
        assert_eq!(
            tree,
            json!({"To": "+998", "Body": "a b&c", "x": ["1", "2"], "empty": "", "flag": ""})
        );
        assert!(utf8);
        assert!(
            !parse_urlencoded("mes=%CF%F0").1,
            "windows-1251 is not guessed at"
        );
        assert_eq!(
            parse_urlencoded(&urlencode(&json!({"a b": "ў & +😀", "n": 1}))).0,
            json!({"a b": "ў & +😀", "n": "1"})
        );
    }

    #[test]
    fn xml_replies_become_the_same_tree() {
        let text = r#"<?xml version="1.0"?><R xmlns="u"><A><Code>x &amp; &#1090;</Code></A><B>1</B><B>2</B><C/></R>"#;
        assert_eq!(
            parse_xml(text),
            Ok(Some(
                json!({"R": {"A": {"Code": "x & т"}, "B": ["1", "2"], "C": ""}})
            ))
        );
        assert_eq!(parse_xml("<a><b></a>"), Ok(None));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_what_is_said() {
        let marked = |text: &str| Bytes::from(format!("\u{feff}{text}"));
        assert_eq!(
            ParsedBody::parse(&HeaderMap::new(), &marked(r#"{"a":1}"#))
                .unwrap()
                .tree
                .into_tree(),
            json!({"a": 1})
        );
        assert_eq!(parse_reply(&marked(r#"{"a":1}"#)), Ok(json!({"a": 1})));
        assert_eq!(parse_reply(&marked("<a>1</a>")), Ok(json!({"a": "1"})));
    }

    #[test]
    fn encoded_bodies_and_other_charsets_are_told() {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", "gzip".parse().unwrap());
        assert_eq!(
            ParsedBody::parse(&headers, &Bytes::from_static(b"x")).unwrap_err(),
            RequestReadError::Encoded("gzip".into())
        );
        headers.remove("content-encoding");
        headers.insert(
            "content-type",
            "application/json; charset=windows-1251".parse().unwrap(),
        );
        assert!(
            !ParsedBody::parse(&headers, &Bytes::from_static(b"{}"))
                .unwrap()
                .is_utf8
        );
        assert!(ParsedBody::parse(&headers, &Bytes::from_static(b"{")).is_err());
    }

    /// A request of each format, and a reply of each, one value or level beyond the limits.
    #[test]
    fn no_format_becomes_a_tree_beyond_the_limits() {
        let parse = |media: &str, body: String| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media.parse().unwrap());
            ParsedBody::parse(&headers, &Bytes::from(body)).map(|_| ())
        };
        let too_many = Err(RequestReadError::TooLarge(ParseLimit::Values));
        let too_deep = Err(RequestReadError::TooLarge(ParseLimit::Depth));
        let lists = "[],".repeat(MAX_VALUES);
        let fields = "a=&".repeat(MAX_VALUES);
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n";
        let parts = format!("{}--b--", part.repeat(MAX_VALUES + 1));
        let form = "application/x-www-form-urlencoded";
        for (media, body, expected) in [
            ("application/json", format!("[{lists}1]"), &too_many),
            ("application/json", format!("\u{feff}[{lists}1]"), &too_many),
            ("text/plain", format!("[{lists}1]"), &too_many),
            ("application/json", "[".repeat(1 << 20), &too_deep),
            (form, fields.clone(), &too_many),
            (form, fields.replace('&', ";"), &too_many),
            ("multipart/form-data; boundary=b", parts, &too_many),
        ] {
            assert_eq!(&parse(media, body), expected, "{media}");
        }
        assert_eq!(parse_urlencoded(&fields), Err(ParseLimit::Values));
        for (body, limit) in [
            (format!("[{lists}1]"), ParseLimit::Values),
            (
                format!("<a>{}</a>", "<b/>".repeat(MAX_VALUES)),
                ParseLimit::Values,
            ),
            (
                format!("<a>{}</a>", "<b></b>".repeat(MAX_VALUES)),
                ParseLimit::Values,
            ),
            ("<a>".repeat(1 << 18), ParseLimit::Depth),
        ] {
            assert_eq!(parse_reply(body.as_bytes()), Err(limit));
        }
    }
}
