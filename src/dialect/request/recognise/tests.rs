//! An operation is read from exactly the place that its dialect names: over every bundled dialect.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::dialect::Catalog;

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

/// A request that differs in a field of `where`.
struct Variant {
    method: Method,
    path: String,
    in_query: bool,
    name: String,
    value: String,
}

fn variants() -> Vec<(Arc<Dialect>, Variant)> {
    let catalog = Catalog::built_in();
    let mut all = Vec::new();
    for dialect in catalog.iter() {
        for pattern in dialect.operation_patterns() {
            let methods = &pattern.endpoint.methods;
            let pairs = pattern.required_values.iter();
            let each = pairs.flat_map(|pair| methods.iter().map(move |method| (pair, method)));
            all.extend(each.map(|((name, value), method)| {
                let variant = Variant {
                    method: method.clone(),
                    path: format!("{}{}", dialect.base.path, pattern.endpoint.path),
                    in_query: *method == Method::GET,
                    name: name.clone(),
                    value: value.clone(),
                };
                (Arc::clone(dialect), variant)
            }));
        }
    }
    all
}

impl Variant {
    /// The request with these pairs in the named place, and a query or JSON body beside it.
    fn request(&self, pairs: &str, query: &str) -> Request {
        if self.in_query {
            let all: Vec<&str> = [pairs, query]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect();
            request(&self.method, &self.path, &all.join("&"), FORM, "")
        } else {
            request(&self.method, &self.path, query, FORM, pairs)
        }
    }
}

#[test]
fn a_field_counts_only_once_in_its_place_and_spelling() {
    let all = variants();
    assert!(
        all.len() >= 7,
        "only {} fields select an operation",
        all.len()
    );
    for (dialect, variant) in all {
        let Variant { name, value, .. } = &variant;
        let needs = if value == "Publish" {
            "&PhoneNumber=%2B998901234567"
        } else {
            ""
        };
        let plain = format!("{name}={value}{needs}");
        assert!(
            operation(&dialect, &variant.request(&plain, "")).is_some(),
            "{}: {plain}",
            dialect.name
        );
        let upper = name.to_uppercase();
        let misspelt = [
            format!("{name}=other&{plain}"),
            format!("{plain}&{name}=other"),
            format!("{plain}&{name}%5B%5D=other"),
            format!("{plain}&{upper}x=1&%20{name}=other"),
            format!("%20{plain}"),
            format!("{name}%20={value}"),
            format!("{name}%00={value}"),
            format!("{name}[]={value}"),
            format!("{name}%5B0%5D={value}"),
            format!("{}={value}", name.to_uppercase()),
            format!("x=1;{plain};{name}=other"),
        ];
        for pairs in misspelt {
            if pairs.starts_with(&plain) && upper == *name {
                continue;
            }
            assert_eq!(
                operation(&dialect, &variant.request(&pairs, "")),
                None,
                "{}: {pairs}",
                dialect.name
            );
        }
    }
}

#[test]
fn a_field_in_another_place_is_denied() {
    for (dialect, variant) in variants() {
        let Variant {
            method,
            path,
            name,
            value,
            ..
        } = &variant;
        let pair = format!("{name}={value}");
        let json = format!(r#"{{"{name}":"{value}"}}"#);
        let elsewhere = [
            request(method, path, "", JSON, &json),
            request(method, path, "", "text/plain", &json),
            request(method, path, &pair, JSON, &json),
            variant.request(&pair, &pair),
            variant.request(&pair, &format!("{name}=other")),
            if variant.in_query {
                request(method, path, "", FORM, &pair)
            } else {
                request(method, path, &pair, FORM, "x=1")
            },
        ];
        for request in elsewhere {
            assert_eq!(
                operation(&dialect, &request),
                None,
                "{}: {:?} {}",
                dialect.name,
                request.query,
                String::from_utf8_lossy(&request.body)
            );
        }
    }
}

/// Where only the path decides, no field changes the operation.
#[test]
fn fields_do_not_change_an_operation_of_its_own_path() {
    let catalog = Catalog::built_in();
    for dialect in catalog.iter() {
        let selects = dialect
            .operation_patterns()
            .iter()
            .any(|pattern| !pattern.required_values.is_empty());
        if selects {
            continue;
        }
        for pattern in dialect.operation_patterns() {
            let path = pattern
                .endpoint
                .path
                .replace("{id}", "1")
                .replace("{any}", "VA1");
            let path = path.replace("{credential.account_sid}", "AC1");
            let path = if pattern.endpoint.origin.is_some() {
                path
            } else {
                format!("{}{path}", dialect.base.path)
            };
            for method in &pattern.endpoint.methods {
                let found = ["", "Action=Publish&cost=1", "path=/other&_method=DELETE"]
                    .map(|text| operation(dialect, &request(method, &path, text, FORM, text)));
                let [plain, ..] = &found;
                assert!(plain.is_some(), "{} {path}", dialect.name);
                let is_same = found.iter().all(|found| found == plain);
                assert!(is_same, "{} {path}", dialect.name);
            }
        }
    }
}
