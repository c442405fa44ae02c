//! An operation is read from exactly the place that its dialect names: over every bundled dialect.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::dialect::Catalog;
use crate::dialect::model::BodyEncoding;
use crate::dialect::model::bodies::BodyKind;
use serde_json::Value;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// A request with these parts; the path has a value for every hole.
fn request(method: &Method, path: &str, query: &str, content_type: &str, body: &str) -> Request {
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    }
    Request {
        method: method.clone(),
        path: path.to_owned(),
        query: (!query.is_empty()).then(|| query.to_owned()),
        headers,
        body: Bytes::from(body.to_owned()),
    }
}

/// What the request is: the operation, or none if it is denied.
fn operation(dialect: &Arc<Dialect>, request: &Request) -> Option<String> {
    let all = [Arc::clone(dialect)];
    match recognise(&all, RequestTarget::Named(dialect), request, &[]) {
        Recognition::Operation(found) => Some(format!("{:?} {:?}", found.operation, found.matched)),
        Recognition::UnlistedOperation(_) | Recognition::Unrecognised => None,
    }
}

/// How fields are written into a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Writing {
    Query,
    Form,
    Json,
}

/// An operation that is selected by fields, and one of these fields.
struct Variant {
    dialect: Arc<Dialect>,
    method: Method,
    path: String,
    writing: Writing,
    /// What is fine beside the field.
    others: Vec<(String, String)>,
    name: String,
    value: String,
}

fn variants() -> Vec<Variant> {
    let catalog = Catalog::built_in();
    let mut all = Vec::new();
    for dialect in catalog.iter() {
        for pattern in dialect.operation_patterns() {
            all.extend(variants_of(dialect, &pattern));
        }
    }
    all
}

fn variants_of(dialect: &Arc<Dialect>, pattern: &OperationPattern<'_>) -> Vec<Variant> {
    let base = if pattern.endpoint.origin.is_some() {
        ""
    } else {
        dialect.base.path.as_str()
    };
    let path = format!("{base}{}", pattern.endpoint.path);
    let needed = pattern
        .required_fields
        .iter()
        .map(|name| (name.clone(), "1".to_owned()));
    let fields: Vec<(String, String)> = pattern.required_values.to_vec();
    let with_needed: Vec<_> = fields.iter().cloned().chain(needed).collect();
    let variant = |method: &Method, (name, value): &(String, String)| Variant {
        dialect: Arc::clone(dialect),
        method: method.clone(),
        path: path.clone(),
        writing: match dialect.send.fields.encoding {
            _ if *method == Method::GET => Writing::Query,
            BodyEncoding::Json => Writing::Json,
            BodyEncoding::NoBody => Writing::Query,
            BodyEncoding::Form | BodyEncoding::Multipart => Writing::Form,
        },
        others: with_needed
            .iter()
            .filter(|(other, _)| other != name)
            .cloned()
            .collect(),
        name: name.clone(),
        value: value.clone(),
    };
    let methods = &pattern.endpoint.methods;
    methods
        .iter()
        .flat_map(|method| {
            fields
                .iter()
                .map(|field| variant(method, field))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn form(fields: &[(String, String)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn json(fields: &[(String, String)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            format!(
                "{}:{}",
                Value::from(name.as_str()),
                Value::from(value.as_str())
            )
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

impl Variant {
    /// The operation of a request with these fields in this place, beside a query.
    fn operation(
        &self,
        fields: &[(String, String)],
        writing: Writing,
        query: &str,
    ) -> Option<String> {
        let text = form(fields);
        let request = match writing {
            Writing::Query => {
                let query: Vec<&str> = [text.as_str(), query]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect();
                request(&self.method, &self.path, &query.join("&"), FORM, "")
            }
            Writing::Form => request(&self.method, &self.path, query, FORM, &text),
            Writing::Json => request(&self.method, &self.path, query, JSON, &json(fields)),
        };
        operation(&self.dialect, &request)
    }

    /// The fields of the operation, with these in place of the one.
    fn fields(&self, own: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = own
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        own.chain(self.others.iter().cloned()).collect()
    }
}

fn by_field() -> impl Iterator<Item = Variant> {
    variants()
        .into_iter()
        .filter(|variant| !variant.name.contains('-'))
}

#[test]
fn a_field_counts_only_once_in_its_spelling() {
    assert!(
        by_field().count() >= 12,
        "too few fields for this to be a test"
    );
    for variant in by_field() {
        let (name, value) = (variant.name.as_str(), variant.value.as_str());
        let plain = variant.fields(&[(name, value)]);
        let found = variant.operation(&plain, variant.writing, "");
        assert!(found.is_some(), "{} {plain:?}", variant.dialect.name);
        let upper = name.to_uppercase();
        let (bracket, indexed) = (format!("{name}[]"), format!("{name}[0]"));
        let blank = if variant.writing == Writing::Json {
            " "
        } else {
            "%20"
        };
        let (before, after) = (format!("{blank}{name}"), format!("{name}{blank}"));
        for own in [
            vec![(name, "other"), (name, value)],
            vec![(name, value), (name, "other")],
            vec![(name, value), (name, value)],
            vec![(name, value), (bracket.as_str(), "other")],
            vec![(name, value), (before.as_str(), "other")],
            vec![(bracket.as_str(), value)],
            vec![(indexed.as_str(), value)],
            vec![(before.as_str(), value)],
            vec![(after.as_str(), value)],
            vec![(upper.as_str(), value)],
        ] {
            let fields = variant.fields(&own);
            let found = variant.operation(&fields, variant.writing, "");
            assert_eq!(found, None, "{} {fields:?}", variant.dialect.name);
        }
    }
}

#[test]
fn a_field_in_another_place_is_denied() {
    for variant in by_field() {
        let fields = variant.fields(&[(variant.name.as_str(), variant.value.as_str())]);
        let pair = format!("{}={}", variant.name, variant.value);
        for writing in [Writing::Query, Writing::Form, Writing::Json] {
            if writing != variant.writing {
                let found = variant.operation(&fields, writing, "");
                assert_eq!(
                    found, None,
                    "{} {fields:?} as {writing:?}",
                    variant.dialect.name
                );
            }
        }
        for query in [pair, format!("{}=other", variant.name)] {
            let found = variant.operation(&fields, variant.writing, &query);
            assert_eq!(
                found, None,
                "{} {fields:?} and {query}",
                variant.dialect.name
            );
        }
    }
}

/// A multipart form with one field in a part of its own headers.
fn parts(fields: &[(String, String)], disposition: &str) -> String {
    let part = |(name, value): &(String, String)| {
        format!(
            "--b\r\n{}\r\n\r\n{value}\r\n",
            disposition.replace("NAME", name)
        )
    };
    let parts: Vec<String> = fields.iter().map(part).collect();
    format!("{}--b--\r\n", parts.concat())
}

/// No other encoding than those of the description selects an operation, and no part that a service reads otherwise.
#[test]
fn a_field_in_a_body_that_the_service_does_not_read_is_denied() {
    const MULTIPART: &str = "multipart/form-data; boundary=b";
    let mut multipart_count = 0;
    for variant in by_field().filter(|variant| variant.method == Method::POST) {
        let dialect = &variant.dialect;
        let fields = variant.fields(&[(variant.name.as_str(), variant.value.as_str())]);
        let found = |content_type: &str, body: &str| {
            let request = request(&variant.method, &variant.path, "", content_type, body);
            operation(dialect, &request)
        };
        let body = match variant.writing {
            Writing::Json => json(&fields),
            Writing::Form | Writing::Query => form(&fields),
        };
        for content_type in [
            "text/plain",
            "text/plain;charset=UTF-8",
            "",
            "text/xml",
            "text/html",
        ] {
            assert_eq!(
                found(content_type, &body),
                None,
                "{} {content_type}",
                dialect.name
            );
        }
        let plain = "Content-Disposition: form-data; name=\"NAME\"";
        let is_taken = dialect.send.accepts.contains(BodyKind::Multipart);
        let is_found = found(MULTIPART, &parts(&fields, plain)).is_some();
        assert_eq!(is_found, is_taken, "{}", dialect.name);
        multipart_count += usize::from(is_taken);
        for smuggled in [
            "Content-Disposition: form-data; name=\"NAME\"; filename=\"a\"",
            "Content-Disposition: form-data; name=\"NAME\"; filename*=utf-8''a",
            "Content-Disposition: form-data; x=\"; name=NAME; \"; name=\"y\"",
            "Content-Disposition: form-data; name=\"NAME\"; name=\"y\"",
            "Content-Disposition: attachment; name=\"NAME\"",
            "Content-Disposition: form-data; name=\"NAME\"\r\nContent-Disposition: form-data; name=\"y\"",
            "Content-Disposition: form-data; name=\"NAME\"\r\nContent-Transfer-Encoding: base64",
            "Content-Disposition: form-data; name=\"NAME\"\r\nContent-Type: text/plain; charset=utf-16",
        ] {
            let body = parts(&fields, smuggled);
            assert_eq!(found(MULTIPART, &body), None, "{} {smuggled}", dialect.name);
        }
        let junk = format!("junk{}", parts(&fields, plain));
        assert_eq!(found(MULTIPART, &junk), None, "{}", dialect.name);
    }
    assert!(multipart_count > 0, "no dialect takes multipart here");
}

#[test]
fn a_header_that_selects_an_operation_counts_only_as_a_header() {
    let by_header = variants()
        .into_iter()
        .filter(|variant| variant.name.contains('-'));
    let mut count = 0;
    for variant in by_header {
        count += 1;
        let name: http::HeaderName = variant.name.parse().unwrap();
        let value = HeaderValue::from_str(&variant.value).unwrap();
        let body = json(&variant.others);
        let mut request = request(&variant.method, &variant.path, "", JSON, &body);
        request.headers.insert(name.clone(), value.clone());
        assert!(operation(&variant.dialect, &request).is_some());
        request
            .headers
            .append(name.clone(), HeaderValue::from_static("other"));
        assert_eq!(operation(&variant.dialect, &request), None, "twice");
        request.headers.insert(name.clone(), value);
        request.query = Some(form(&variant.fields(&[(variant.name.as_str(), "other")])));
        assert_eq!(
            operation(&variant.dialect, &request),
            None,
            "also in the query"
        );
        let fields = variant.fields(&[(variant.name.as_str(), variant.value.as_str())]);
        for writing in [Writing::Query, Writing::Form, Writing::Json] {
            assert_eq!(variant.operation(&fields, writing, ""), None, "{writing:?}");
        }
    }
    assert!(count > 0, "no dialect selects by a header");
}

/// The path of a pattern with a value in every hole.
fn path_of(dialect: &Dialect, pattern: &OperationPattern<'_>) -> String {
    let mut path = String::new();
    let mut rest = pattern.endpoint.path.as_str();
    while let Some((before, hole)) = rest.split_once('{') {
        path.push_str(before);
        path.push('1');
        rest = hole.split_once('}').map_or("", |(_, after)| after);
    }
    let base = if pattern.endpoint.origin.is_some() {
        ""
    } else {
        dialect.base.path.as_str()
    };
    format!("{base}{path}{rest}")
}

/// The operations that are forwarded by their path alone, with each of their methods.
fn forwarded_by_path(dialect: &Dialect) -> Vec<(OperationPattern<'_>, Method)> {
    let is_forwarded = |kind: Operation| matches!(kind, Operation::Passthrough | Operation::Status);
    let patterns = dialect
        .operation_patterns()
        .filter(|pattern| is_forwarded(pattern.operation) && pattern.required_values.is_empty());
    patterns
        .flat_map(|pattern| {
            let methods = pattern.endpoint.methods.clone();
            methods
                .into_iter()
                .map(move |method| (pattern.clone(), method))
        })
        .collect()
}

/// What an operation that is forwarded does not name is denied, wherever it is.
#[test]
fn a_field_that_an_operation_does_not_name_is_denied() {
    let mut count = 0;
    let catalog = Catalog::built_in();
    let operations = catalog.iter().flat_map(|dialect| {
        let named = forwarded_by_path(dialect).into_iter();
        named.map(move |(pattern, method)| (dialect, pattern, method))
    });
    for (dialect, pattern, method) in operations {
        let path = path_of(dialect, &pattern);
        let found = |query: &str, media: &str, body: &str| {
            operation(dialect, &request(&method, &path, query, media, body))
        };
        let own = format!("{:?} {:?}", pattern.operation, pattern.matched);
        if found("", FORM, "") != Some(own) {
            // An operation that comes first has the same path.
            continue;
        }
        for (query, media, body) in [
            ("add=1", FORM, ""),
            ("_method=DELETE", FORM, ""),
            ("", FORM, "add=1"),
            ("add=1", FORM, "add=1"),
            ("", JSON, "{\"add\":1}"),
            ("", JSON, "[{\"add\":1}]"),
            ("", "text/xml", "<add/>"),
        ] {
            let found = found(query, media, body);
            assert_eq!(found, None, "{} {path} {query} {body}", dialect.name);
            count += 1;
        }
    }
    assert!(count >= 300, "only {count}");
}

fn fault(dialect: &Arc<Dialect>, request: &Request) -> Option<OperationFault> {
    let all = [Arc::clone(dialect)];
    match recognise(&all, RequestTarget::Named(dialect), request, &[]) {
        Recognition::UnlistedOperation(unlisted) => unlisted.fault,
        Recognition::Operation(_) | Recognition::Unrecognised => None,
    }
}

#[test]
fn a_denied_field_is_named_and_its_value_is_not() {
    let catalog = Catalog::built_in();
    let smsc = catalog.get("smsc").unwrap();
    let said = |query: &str, body: &str| {
        let request = request(&Method::POST, "/sys/senders.php", query, FORM, body);
        fault(smsc, &request).map(|fault| fault.to_string())
    };
    let own = "login=x&psw=y&get=1&fmt=3";
    assert_eq!(said("", own), None);
    assert_eq!(said("fmt=3", "apikey=x&get=1&charset=utf-8"), None);
    for (query, body, named) in [
        ("", "get=1&add=1&sender=EVIL", "not `add`"),
        ("", "get=1&del=1", "not `del`"),
        ("sender=EVIL", "get=1", "not `sender`"),
        ("", "get=1&add%00=1", "whose name is not shown"),
        ("", "get=1&ADD=1", "not `ADD`"),
        ("", "get=1&fmt.x=1", "not `fmt.x`"),
        ("", "get=1&add[]=1", "not `add[]`"),
        ("", "get=1&hunter2", "whose name is not shown"),
        ("", "get=1&998901234567=1", "whose name is not shown"),
        ("", "get=1;add=1", "%3B"),
        ("", "get=1&fmt=3;x", "%3B"),
    ] {
        let said = said(query, body).expect(body);
        assert!(said.contains(named), "{body}: {said}");
        for value in ["EVIL", "hunter2", "998901234567"] {
            assert!(!said.contains(value), "{said}");
        }
    }
    let said = said("", "get=1&add=1").unwrap();
    assert_eq!(
        said,
        "`POST|GET /senders.php` takes get, charset, fmt, and not `add`; leave it out"
    );
}
