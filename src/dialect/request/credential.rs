//! Checks a credential against its description before anything is sent, and extracts one from a
//! request. No message has a value.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dialect::FieldSpec;
use crate::dialect::expr::template::{Expr, StringTemplate, to_text};
use crate::dialect::model::{FieldMapping, FieldValue, SigningScheme};
use crate::dialect::request::recognise::best_effort_fields;
use crate::dialect::wire::body;
use crate::dialect::{Dialect, MatchedOperation, RecognisedRequest, Request};
use crate::secret::Credential;

/// An error in one field of a vault entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialProblem {
    /// The dialect's name for the field.
    pub field: String,
    /// What is wrong and what to do, without the value.
    pub problem: String,
}

impl Dialect {
    /// The fields a vault entry must have.
    pub fn credential_fields(&self) -> &[FieldSpec] {
        &self.credential
    }

    /// The errors of the entry, field by field.
    pub fn check_credential(&self, credential: &Credential) -> Vec<CredentialProblem> {
        let mut found = Vec::new();
        for spec in &self.credential {
            let what = match credential.expose(&spec.name) {
                None if spec.required => Some("is missing from the vault entry".to_owned()),
                None => None,
                Some(value) => self.format_problem(spec, value, credential),
            };
            found.extend(what.map(|what| CredentialProblem {
                field: spec.name.clone(),
                problem: what,
            }));
        }
        found
    }

    /// What is wrong with the value of a field, without the value.
    fn format_problem(
        &self,
        spec: &FieldSpec,
        value: &str,
        credential: &Credential,
    ) -> Option<String> {
        if let Some(problem) = storage_problem(value) {
            return Some(problem.to_owned());
        }
        if spec.placeholder.as_deref() == Some(value) {
            return Some("is the placeholder for the backend; store the real value".into());
        }
        let pattern = spec
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_match(value))?;
        Some(match self.swapped_with(spec, value, credential) {
            Some(other) => format!("looks swapped with `{}`", other.name),
            None => format!("does not look like one (it should match {pattern})"),
        })
    }

    /// The field whose pattern this value matches, or whose value matches this field's pattern.
    fn swapped_with(
        &self,
        spec: &FieldSpec,
        value: &str,
        credential: &Credential,
    ) -> Option<&FieldSpec> {
        let matches = |of: &FieldSpec, value: &str| {
            of.pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(value))
        };
        self.credential.iter().find(|other| {
            let stored = credential.expose(&other.name);
            other.name != spec.name
                && (matches(other, value) || stored.is_some_and(|value| matches(spec, value)))
        })
    }

    /// The credential fields in a request, by the dialect's names; token values as `token.NAME`.
    pub fn extract_credential(
        &self,
        recognised: &RecognisedRequest,
        request: &Request,
    ) -> BTreeMap<String, String> {
        let mut found: BTreeMap<String, String> = recognised
            .path_params
            .iter()
            .filter(|(name, _)| self.credential.iter().any(|spec| spec.name == **name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let tree = best_effort_fields(request);
        if let Some(scheme) = &self.sign {
            collect_signature(scheme, request, &mut found);
        }
        let login = self
            .token
            .iter()
            .filter(|_| matches!(recognised.matched, MatchedOperation::Login))
            .flat_map(|token| &token.fields.body);
        let fields = &self.send.fields;
        for field in fields.query.iter().chain(&fields.body).chain(login) {
            collect_from_tree(field, &tree, &mut found);
        }
        for field in &fields.header {
            if let (FieldValue::Template(template), Some(value)) =
                (&field.value, header_text(request, &field.path.text))
            {
                collect_captured(template, value, &mut found);
            }
        }
        found
    }
}

/// What is wrong with the way a value is stored.
fn storage_problem(value: &str) -> Option<&'static str> {
    let is_quoted =
        |mark: char| value.len() > 1 && value.starts_with(mark) && value.ends_with(mark);
    if value.trim().is_empty() {
        Some("is empty")
    } else if value.contains(['\n', '\r']) {
        Some("has a line break in it; store the value alone")
    } else if value.trim() != value {
        Some("has a blank at its beginning or end")
    } else if is_quoted('"') || is_quoted('\'') {
        Some("is in quotes; store it without them")
    } else {
        None
    }
}

fn header_text<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.get(name)?.to_str().ok()
}

/// The credential fields in the header of a signature.
fn collect_signature(
    scheme: &SigningScheme,
    request: &Request,
    found: &mut BTreeMap<String, String>,
) {
    match scheme {
        SigningScheme::Basic { user, password } => {
            let pair = header_text(request, "authorization").and_then(body::decode_basic_auth);
            if let Some((user_text, password_text)) = pair {
                collect_captured(user, &user_text, found);
                collect_captured(password, &password_text, found);
            }
        }
        SigningScheme::Bearer(value) => {
            let token = header_text(request, "authorization")
                .and_then(|text| text.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            if let Some((_, token)) = token {
                collect_captured(value, token.trim(), found);
            }
        }
        SigningScheme::Header { name, value } => {
            if let Some(text) = header_text(request, name) {
                collect_captured(value, text, found);
            }
        }
        SigningScheme::Sigv4 { .. } => {}
    }
}

fn collect_from_tree(field: &FieldMapping, tree: &Value, found: &mut BTreeMap<String, String>) {
    if let FieldValue::Template(template) = &field.value {
        for value in field.path.find_all(tree) {
            collect_captured(template, &to_text(value), found);
        }
    }
}

fn collect_captured(template: &StringTemplate, text: &str, found: &mut BTreeMap<String, String>) {
    for (hole, held) in template.captures(text).unwrap_or_default() {
        if let Some(name) = credential_name(hole) {
            found.insert(name, held.to_owned());
        }
    }
}

fn credential_name(hole: &Expr) -> Option<String> {
    match hole.source.kind_and_name()? {
        ("credential", name) => Some(name.to_owned()),
        ("token", name) => Some(format!("token.{name}")),
        _ => None,
    }
}
