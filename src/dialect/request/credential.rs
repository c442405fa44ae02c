//! Checks a credential against its description before anything is sent, and extracts one from a
//! request. No message has a value.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dialect::FieldSpec;
use crate::dialect::expr::template::{Expr, StringTemplate, to_text};
use crate::dialect::model::{FieldMapping, FieldValue, SigningScheme};
use crate::dialect::request::recognise::best_effort_fields;
use crate::dialect::request::unset_value::unset_problem;
use crate::dialect::wire::body;
use crate::dialect::{Dialect, MatchedOperation, RecognisedRequest, Request};
use crate::secret::Credential;

/// What is wrong with one field of a vault entry, or looks wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialProblem {
    /// The dialect's name for the field.
    pub field: String,
    /// What is wrong and what to do, without the value.
    pub problem: String,
    /// The value cannot be a credential, so it is not sent. Otherwise it only looks wrong, and is used: a service may
    /// change the shape of its keys.
    pub is_unusable: bool,
}

impl std::fmt::Display for CredentialProblem {
    /// `` `auth_token` is empty ``.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.field, self.problem)
    }
}

impl Dialect {
    /// The fields a vault entry must have.
    pub fn credential_fields(&self) -> &[FieldSpec] {
        &self.credential
    }

    /// What is wrong or looks wrong in the entry, field by field.
    pub fn check_credential(&self, credential: &Credential) -> Vec<CredentialProblem> {
        let of_field = |spec: &FieldSpec| {
            let problem = |problem: String, is_unusable| CredentialProblem {
                field: spec.name.clone(),
                problem,
                is_unusable,
            };
            let Some(value) = credential.expose(&spec.name) else {
                let missing = "is missing from the vault entry".to_owned();
                return spec.required.then(|| problem(missing, true));
            };
            let fault = self.value_fault(spec, value);
            fault
                .map(|fault| problem(fault, true))
                .or_else(|| Some(problem(suspicion(spec, value)?, false)))
        };
        self.credential.iter().filter_map(of_field).collect()
    }

    /// Why a value cannot be the credential, without the value.
    fn value_fault(&self, spec: &FieldSpec, value: &str) -> Option<String> {
        let is_placeholder = spec.placeholder.as_deref() == Some(value);
        storage_fault(value)
            .or_else(|| {
                let placeholder = "is the placeholder for the backend; store the real value";
                is_placeholder.then(|| placeholder.to_owned())
            })
            .or_else(|| {
                let other = self.swapped_with(spec, value)?;
                Some(format!("looks swapped with `{}`", other.name))
            })
    }

    /// The other field whose pattern this value matches, while it does not match its own.
    fn swapped_with(&self, spec: &FieldSpec, value: &str) -> Option<&FieldSpec> {
        let matches = |of: &FieldSpec| {
            let pattern = of.pattern.as_ref();
            pattern.map(|pattern| pattern.is_match(value))
        };
        let fits_itself = matches(spec).unwrap_or(true);
        self.credential
            .iter()
            .filter(|other| !fits_itself && other.name != spec.name)
            .find(|other| matches(other) == Some(true))
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

/// What makes a value look wrong. The shapes of credentials come from samples: a value that does not fit may be right.
fn suspicion(spec: &FieldSpec, value: &str) -> Option<String> {
    let is_quoted =
        |mark: char| value.len() > 1 && value.starts_with(mark) && value.ends_with(mark);
    if is_quoted('"') || is_quoted('\'') || is_quoted('`') {
        return Some("is in quotes, which are sent as part of it".to_owned());
    }
    let pattern = spec.pattern.as_ref()?;
    (!pattern.is_match(value))
        .then(|| format!("does not look like one (it should match {pattern})"))
}

/// What is wrong with the way a value is stored, so that it cannot be the credential.
fn storage_fault(value: &str) -> Option<String> {
    if let Some(problem) = unset_problem(value) {
        Some(problem)
    } else if value.contains(['\n', '\r']) {
        Some("contains a line break; store the value alone".to_owned())
    } else if value.trim() != value {
        Some("has a blank at its beginning or end".to_owned())
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
