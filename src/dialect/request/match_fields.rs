//! The fields by which operations at one path differ. A service reads such a field from one place,
//! and a request that has it elsewhere, twice, or in another spelling can mean one operation to us
//! and another to the service. Only the named place counts, and such a request is no operation.

use http::Method;

use crate::dialect::model::BodyEncoding;
use crate::dialect::model::bodies::{AcceptedBodies, BodyKind};
use crate::dialect::wire::body::{ParsedBody, decode_component};
use crate::dialect::wire::format::BodyFormat;
use crate::dialect::wire::multipart;
use crate::dialect::{Request, RequestReadError};

/// Where a field of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldPlace {
    Query,
    Form,
    Json,
    Header,
}

/// One field, as the request has it.
#[derive(Debug)]
pub(super) struct PlacedField {
    place: FieldPlace,
    name: String,
    /// None: a name alone, without `=`.
    value: Option<String>,
    after_semicolon: bool,
}

/// Every field of query and body, with its place.
#[derive(Debug)]
pub(super) struct PlacedFields {
    fields: Vec<PlacedField>,
    /// The format of the body; an error if it is not read, and then has no fields.
    body: Result<BodyFormat, RequestReadError>,
}

/// What a request has for a field of `where`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldMatch {
    Same,
    Different,
    /// Elsewhere, twice, or in another spelling.
    Ambiguous,
}

impl PlacedFields {
    pub(super) fn read(request: &Request) -> Self {
        let query = request.query.as_deref().unwrap_or_default();
        let mut fields = pairs(query, FieldPlace::Query);
        let body = ParsedBody::parse(&request.headers, &request.body);
        let body = body.map(|body| {
            fields.extend(body_fields(&body, request));
            body.format
        });
        let headers = request.headers.iter().map(|(name, value)| PlacedField {
            place: FieldPlace::Header,
            name: name.as_str().to_owned(),
            value: Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
            after_semicolon: false,
        });
        fields.extend(headers.filter(|field| field.name.contains('-')));
        Self { fields, body }
    }

    /// Whether the service reads the body that has these fields.
    pub(super) fn check_body(
        &self,
        request: &Request,
        accepts: &AcceptedBodies,
    ) -> Result<(), RequestReadError> {
        let format = self.body.as_ref().map_err(Clone::clone)?;
        accepts.check(&request.headers, format)
    }

    /// Compares one field of `where` with what the request has in the places of this dialect. A name with a `-` is a
    /// header: a header `Cost` must not turn a message into the question what it costs.
    pub(super) fn compare(&self, name: &str, wanted: &str, places: &[FieldPlace]) -> FieldMatch {
        let is_header = name.contains('-');
        let places = if is_header {
            &[FieldPlace::Header]
        } else {
            places
        };
        let mut found = self.fields.iter().filter(|field| {
            normalized(&field.name) == normalized(name)
                && (field.place != FieldPlace::Header || is_header)
        });
        match (found.next(), found.next()) {
            (None, _) => FieldMatch::Different,
            (Some(field), None) if field.is_named(name, places) => {
                if field.value.as_deref().unwrap_or_default() == wanted {
                    FieldMatch::Same
                } else {
                    FieldMatch::Different
                }
            }
            (Some(_), _) => FieldMatch::Ambiguous,
        }
    }

    /// A field of query or body whose name is not listed. A form's `a[b]` is a field `a`.
    pub(super) fn find_other(&self, is_listed: impl Fn(&str) -> bool) -> Option<&PlacedField> {
        let is_other = |field: &&PlacedField| match field.place {
            FieldPlace::Header => false,
            FieldPlace::Json => !is_listed(&field.name),
            FieldPlace::Query | FieldPlace::Form => {
                let name = field.name.split('[').next().unwrap_or_default();
                !is_listed(name)
            }
        };
        self.fields.iter().find(is_other)
    }

    /// Whether the request has the field in one of these places.
    pub(super) fn has(&self, name: &str, places: &[FieldPlace]) -> bool {
        self.fields
            .iter()
            .any(|field| field.name == name && places.contains(&field.place))
    }
}

impl FieldPlace {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Form => "form",
            Self::Json => "JSON",
            Self::Header => "headers",
        }
    }
}

impl PlacedField {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn has_value(&self) -> bool {
        self.value.is_some()
    }

    pub(super) fn is_after_semicolon(&self) -> bool {
        self.after_semicolon
    }

    fn is_named(&self, name: &str, places: &[FieldPlace]) -> bool {
        // HTTP gives the names of headers no case.
        let is_spelt = self.name == name || self.place == FieldPlace::Header;
        is_spelt && places.contains(&self.place)
    }
}

/// Where a dialect with this encoding has its fields in a request with this method.
pub(super) fn named_places(
    method: &Method,
    encoding: BodyEncoding,
    accepts: &AcceptedBodies,
) -> &'static [FieldPlace] {
    if [Method::GET, Method::DELETE, Method::HEAD].contains(method) {
        return &[FieldPlace::Query];
    }
    if encoding == BodyEncoding::NoBody {
        return &[FieldPlace::Query];
    }
    let takes_form = accepts.contains(BodyKind::Form) || accepts.contains(BodyKind::Multipart);
    match (takes_form, accepts.contains(BodyKind::Json)) {
        (true, true) => &[FieldPlace::Form, FieldPlace::Json],
        (true, false) => &[FieldPlace::Form],
        (false, _) => &[FieldPlace::Json],
    }
}

/// A name as the most generous server reads it: without blanks, brackets and case.
fn normalized(name: &str) -> String {
    let plain = name.split('[').next().unwrap_or_default();
    plain
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control())
        .flat_map(char::to_lowercase)
        .map(|c| if c == '.' { '_' } else { c })
        .collect()
}

/// Urlencoded pairs, those that are not UTF-8 too.
fn pairs(text: &str, place: FieldPlace) -> Vec<PlacedField> {
    let parts = text.split('&').flat_map(|pair| pair.split(';').enumerate());
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(at, part)| {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (part, None),
            };
            PlacedField {
                place,
                name: decode_component(name).unwrap_or_else(|| name.to_owned()),
                value: value.map(|value| decode_component(value).unwrap_or_default()),
                after_semicolon: at > 0,
            }
        })
        .collect()
}

fn body_fields(body: &ParsedBody, request: &Request) -> Vec<PlacedField> {
    match &body.format {
        BodyFormat::Form => {
            let text = String::from_utf8_lossy(&request.body);
            pairs(&text, FieldPlace::Form)
        }
        BodyFormat::Multipart(boundary) => multipart::parts(&request.body, boundary)
            .unwrap_or_default()
            .into_iter()
            .map(|part| PlacedField {
                place: FieldPlace::Form,
                value: Some(String::from_utf8_lossy(part.value).into_owned()),
                name: part.name,
                after_semicolon: false,
            })
            .collect(),
        BodyFormat::Json => match body.tree.fields() {
            Some(fields) => fields
                .into_iter()
                .map(|(name, value)| json_field(name, value))
                .collect(),
            // A list at the top has no names.
            None => vec![json_field("[]".to_owned(), String::new())],
        },
        BodyFormat::Empty | BodyFormat::Other(_) => Vec::new(),
    }
}

fn json_field(name: String, value: String) -> PlacedField {
    PlacedField {
        place: FieldPlace::Json,
        name,
        value: Some(value),
        after_semicolon: false,
    }
}
