//! A credential held against its description before anything is sent, and found again
//! in a request that carries one. Nothing here says a value.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dialect::expr::template::{Expr, StringTemplate, to_text};
use crate::dialect::model::{FieldMapping, SigningScheme};
use crate::dialect::request::recognise::best_effort_fields;
use crate::dialect::wire::body;
use crate::dialect::{Dialect, MatchedOperation, RecognisedRequest, Request};
use crate::dialect::{EvidenceBasis, FieldSpec, ParamSpec};
use crate::secret::Credential;

/// Something about one field of a vault entry that cannot be right.
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

    /// Account parameters that are no secret.
    pub fn params(&self) -> &[ParamSpec] {
        &self.params
    }

    /// What the description rests on.
    pub fn evidence(&self) -> EvidenceBasis {
        self.evidence
    }

    /// A description from memory only: a provider must say `experimental = true`.
    pub fn requires_experimental(&self) -> bool {
        self.evidence == EvidenceBasis::Memory
    }

    /// Everything about the entry that cannot be right, field by field.
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

    fn format_problem(
        &self,
        spec: &FieldSpec,
        value: &str,
        credential: &Credential,
    ) -> Option<String> {
        let quoted =
            |mark: char| value.len() > 1 && value.starts_with(mark) && value.ends_with(mark);
        if value.trim().is_empty() {
            return Some("is empty".into());
        }
        if value.contains(['\n', '\r']) {
            return Some("has a line break in it; store the value alone".into());
        }
        if value.trim() != value {
            return Some("has a blank at its beginning or end".into());
        }
        if quoted('"') || quoted('\'') {
            return Some("is in quotes; store it without them".into());
        }
        let placeholder = spec.placeholder.as_deref() == Some(value);
        if placeholder {
            return Some(
                "is the placeholder meant for the backend; the vault needs the real value".into(),
            );
        }
        let pattern = spec
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_match(value))?;
        let other = self.credential.iter().find(|other| {
            let fits = other
                .pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(value));
            let back = credential
                .expose(&other.name)
                .is_some_and(|value| pattern.is_match(value));
            other.name != spec.name && (fits || back)
        });
        Some(match other {
            Some(other) => format!("looks swapped with `{}`", other.name),
            None => format!("does not look like one (it should match {pattern})"),
        })
    }

    /// The credential fields a request carries, by the dialect's names, wherever it carries them; token values as `token.NAME`.
    pub fn extract_credential(
        &self,
        seen: &RecognisedRequest,
        request: &Request,
    ) -> BTreeMap<String, String> {
        let mut found: BTreeMap<String, String> = seen
            .path_params
            .iter()
            .filter(|(name, _)| self.credential.iter().any(|spec| spec.name == **name))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect();
        let tree = best_effort_fields(request);
        let header = |name: &str| {
            request
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        match &self.sign {
            Some(SigningScheme::Basic { user, password }) => {
                if let Some((one, two)) = header("authorization").and_then(body::decode_basic_auth)
                {
                    collect_captured(user, &one, &mut found);
                    collect_captured(password, &two, &mut found);
                }
            }
            Some(SigningScheme::Bearer(value)) => {
                let given = header("authorization")
                    .and_then(|value| value.split_once(' '))
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                if let Some((_, given)) = given {
                    collect_captured(value, given.trim(), &mut found);
                }
            }
            Some(SigningScheme::Header { name, value }) => header(name)
                .into_iter()
                .for_each(|given| collect_captured(value, given, &mut found)),
            Some(SigningScheme::Sigv4 { .. }) | None => {}
        }
        let login = self
            .token
            .iter()
            .filter(|_| matches!(seen.matched, MatchedOperation::Login))
            .flat_map(|token| &token.fields.body);
        let fields = &self.send.fields;
        for field in fields.query.iter().chain(&fields.body).chain(login) {
            collect_from_tree(field, &tree, &mut found);
        }
        for field in &fields.header {
            if let (crate::dialect::model::FieldValue::Template(template), Some(given)) =
                (&field.value, header(&field.path.text))
            {
                collect_captured(template, given, &mut found);
            }
        }
        found
    }
}

fn collect_from_tree(field: &FieldMapping, tree: &Value, found: &mut BTreeMap<String, String>) {
    if let crate::dialect::model::FieldValue::Template(template) = &field.value {
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
