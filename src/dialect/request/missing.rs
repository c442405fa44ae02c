//! Whether a backend's request has a credential at all. A variable that is not set is the commonest
//! cause of a 401 in Node: the request then has no header, an empty value, or the word `undefined`.
//! Read from exactly the places at which the description puts the credential. No value is returned.

use serde_json::Value;

use crate::dialect::expr::filter::is_placeholder;
use crate::dialect::expr::template::{StringTemplate, to_text};
use crate::dialect::model::{FieldMapping, FieldValue, RequestTemplate, SigningScheme};
use crate::dialect::request::recognise::best_effort_fields;
use crate::dialect::request::unset_value::unset_problem;
use crate::dialect::wire::body;
use crate::dialect::{Dialect, Request};
use crate::sms::Operation;

/// What a request has instead of a credential: `the header Authorization is missing`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCredential(String);

impl std::fmt::Display for MissingCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Dialect {
    /// What stands in this request instead of the account's credential; none if it has one, or if it may identify
    /// the account in another way.
    pub fn missing_credential(
        &self,
        operation: Operation,
        request: &Request,
    ) -> Option<MissingCredential> {
        let tree = best_effort_fields(request);
        let problem = match operation {
            Operation::Login => {
                let fields = &self.token.as_ref()?.fields;
                self.missing_in_fields(fields, &tree, request, true)?
            }
            Operation::Send
            | Operation::Status
            | Operation::Local
            | Operation::Passthrough
            | Operation::Other => {
                let is_send = operation == Operation::Send;
                let in_fields = self.missing_in_fields(&self.send.fields, &tree, request, is_send);
                // A service that takes the credential in fields and in a header is content with one of them.
                match (self.sign.as_ref(), self.has_credential_fields()) {
                    (None, _) => in_fields?,
                    (Some(scheme), false) => self.missing_in_signature(scheme, request)?,
                    (Some(scheme), true) => {
                        let in_signature = self.missing_in_signature(scheme, request);
                        in_signature.and(in_fields)?
                    }
                }
            }
        };
        Some(MissingCredential(problem))
    }

    fn has_credential_fields(&self) -> bool {
        let mut fields = self.send.fields.mappings();
        fields.any(|field| self.credential_template(field).is_some())
    }

    fn missing_in_signature(&self, scheme: &SigningScheme, request: &Request) -> Option<String> {
        let authorization = header_text(request, "authorization");
        match scheme {
            SigningScheme::Basic { user, password } => {
                let Some(text) = authorization else {
                    return self.missing_header("Authorization", &[user, password]);
                };
                let Some((user_text, password_text)) = body::decode_basic_auth(text) else {
                    return unset_header("Authorization", text).or_else(|| basic_fault(text));
                };
                self.unset_value(user, &user_text)
                    .or_else(|| self.unset_value(password, &password_text))
            }
            SigningScheme::Bearer(value) => match authorization {
                None => self.missing_header("Authorization", &[value]),
                Some(text) => unset_header("Authorization", text)
                    .or_else(|| self.unset_value(value, after_scheme(text))),
            },
            SigningScheme::Header { name, value } => match header_text(request, name) {
                None if authorization.is_some() => None,
                None => self.missing_header(name, &[value]),
                Some(text) => unset_header(name, text).or_else(|| self.unset_value(value, text)),
            },
            SigningScheme::Sigv4 { .. } => match authorization {
                // The query can carry the signature, too.
                None if request
                    .query
                    .as_deref()
                    .is_some_and(|query| query.contains("X-Amz-")) =>
                {
                    None
                }
                None => Some("the header Authorization is missing".to_owned()),
                Some(text) => unset_header("Authorization", text),
            },
        }
    }

    /// The header is missing, and what it holds is not optional.
    fn missing_header(&self, name: &str, values: &[&StringTemplate]) -> Option<String> {
        let is_needed = values.iter().any(|template| self.is_needed(template));
        is_needed.then(|| format!("the header {} is missing", header_name(name)))
    }

    /// `with_absent`: every one of the fields must be there.
    fn missing_in_fields(
        &self,
        fields: &RequestTemplate,
        tree: &Value,
        request: &Request,
        with_absent: bool,
    ) -> Option<String> {
        let has_other_way = header_text(request, "authorization").is_some()
            || self.send.dropped.iter().any(|path| path.is_in(tree));
        let absent = |name: &str| format!("the field {name} is missing");
        let in_body = fields.query.iter().chain(&fields.body).filter_map(|field| {
            let template = self.credential_template(field)?;
            let values = field.path.find_all(tree);
            if values.is_empty() {
                let is_missing = with_absent && !has_other_way;
                return is_missing.then(|| absent(&field.path.text));
            }
            let mut texts = values.into_iter().map(to_text);
            texts.find_map(|text| self.unset_value(template, &text))
        });
        let in_headers = fields.header.iter().filter_map(|field| {
            let template = self.credential_template(field)?;
            let name = &field.path.text;
            match header_text(request, name) {
                None => (with_absent && !has_other_way)
                    .then(|| format!("the header {} is missing", header_name(name))),
                Some(text) => unset_header(name, text).or_else(|| self.unset_value(template, text)),
            }
        });
        in_body.chain(in_headers).next()
    }

    /// The template of a field without which the service does not know the account.
    fn credential_template<'f>(&self, field: &'f FieldMapping) -> Option<&'f StringTemplate> {
        let FieldValue::Template(template) = &field.value else {
            return None;
        };
        self.is_needed(template).then_some(template)
    }

    /// Whether the template writes a part of the credential that every account has.
    fn is_needed(&self, template: &StringTemplate) -> bool {
        template
            .exprs()
            .any(|hole| match hole.source.kind_and_name() {
                Some(("credential", name)) => self
                    .credential
                    .iter()
                    .any(|spec| spec.required && spec.name == name),
                Some(("token" | "digest", _)) => true,
                Some(_) | None => false,
            })
    }

    /// What is wrong with the first credential in `text`, which `template` wrote.
    fn unset_value(&self, template: &StringTemplate, text: &str) -> Option<String> {
        let values = template.captures(text).unwrap_or_default();
        values.into_iter().find_map(|(hole, value)| {
            let (kind, name) = hole.source.kind_and_name()?;
            let placeholder = self
                .credential
                .iter()
                .filter(|spec| kind == "credential" && spec.name == name)
                .find_map(|spec| spec.placeholder.as_deref());
            match kind {
                "credential" | "token" => {}
                _ => return None,
            }
            let what = if kind == "token" { "the token" } else { name };
            let is_ours = placeholder == Some(value) || is_placeholder(value);
            unset_problem(value)
                .or_else(|| is_ours.then(|| "is the sidecar's own placeholder".to_owned()))
                .map(|problem| format!("{what} {problem}"))
        })
    }
}

fn header_text<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.get(name)?.to_str().ok()
}

/// `Authorization` as people write it; other names as the description has them.
fn header_name(name: &str) -> &str {
    if name.eq_ignore_ascii_case("authorization") {
        "Authorization"
    } else {
        name
    }
}

/// A header that has nothing, or nothing but a word, with or without a scheme before it: `Bearer undefined`.
fn unset_header(name: &str, text: &str) -> Option<String> {
    let problem = unset_problem(text).or_else(|| unset_problem(after_scheme(text)));
    problem.map(|problem| format!("the header {} {problem}", header_name(name)))
}

/// Why a header cannot be a user and a password in the scheme Basic. Another scheme may be one that the service takes, too.
fn basic_fault(text: &str) -> Option<String> {
    const WANTED: &str = "is not `Basic` and the base64 of `user:password`";
    let code = match text.trim().split_once(' ') {
        Some((scheme, code)) if scheme.eq_ignore_ascii_case("basic") => code.trim(),
        Some(_) => return None,
        None => return Some(format!("the header Authorization {WANTED}")),
    };
    let is_pair = body::decode_base64(code).is_some_and(|pair| pair.contains(&b':'));
    (!is_pair).then(|| format!("the header Authorization {WANTED}"))
}

/// What follows the scheme of a header: all of it, if there is no scheme.
fn after_scheme(text: &str) -> &str {
    let text = text.trim();
    let is_scheme_alone = ["basic", "bearer", "app"]
        .iter()
        .any(|scheme| text.eq_ignore_ascii_case(scheme));
    if is_scheme_alone {
        return "";
    }
    text.split_once(' ').map_or(text, |(_, value)| value.trim())
}

#[cfg(test)]
mod tests;
