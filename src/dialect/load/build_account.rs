//! The tables about an account: `[credential]`, `[param]`, `[sign]` and `[token]`.

use toml::Spanned;

use crate::dialect::expr::path::FlatKeys;
use crate::dialect::expr::template::to_text;
use crate::dialect::load::compile;
use crate::dialect::load::compile_reply;
use crate::dialect::load::holes::HolePlace;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::dialect::load::raw;
use crate::dialect::model::codes::CodeTable;
use crate::dialect::model::{Classifier, RequestTemplate, SigningScheme, TokenSpec};
use crate::dialect::{FieldSpec, ParamSpec};

/// A credential field, and whether `extends` brought it in.
pub(crate) struct DeclaredField {
    pub(crate) inherited: bool,
    pub(crate) spec: FieldSpec,
}

pub(crate) fn take_credential(top: &mut Section<'_>, sink: &mut ProblemSink) -> Vec<DeclaredField> {
    top.take_entries("credential", sink)
        .into_iter()
        .map(|(name, raw)| DeclaredField {
            inherited: sink.is_inherited(&name.span()),
            spec: field_spec(&name, &raw, sink),
        })
        .collect()
}

pub(crate) fn take_params(top: &mut Section<'_>, sink: &mut ProblemSink) -> Vec<ParamSpec> {
    top.take_entries("param", sink)
        .into_iter()
        .map(|(name, raw): (_, raw::RawParam)| param_spec(&name, &raw))
        .collect()
}

pub(crate) fn take_signing(top: &mut Section<'_>, sink: &mut ProblemSink) -> Option<SigningScheme> {
    let raw: Spanned<raw::RawSigning> = top.take("sign", sink)?;
    compile_signing(raw.get_ref(), sink)
}

pub(crate) fn take_token(top: &mut Section<'_>, sink: &mut ProblemSink) -> Option<TokenSpec> {
    let raw: Spanned<raw::RawTokenSpec> = top.take("token", sink)?;
    compile_token(raw.get_ref(), sink)
}

fn field_spec(
    name: &Spanned<String>,
    raw: &raw::RawCredentialField,
    sink: &mut ProblemSink,
) -> FieldSpec {
    FieldSpec {
        name: name.get_ref().clone(),
        public: raw.public,
        pattern: raw
            .pattern
            .as_ref()
            .and_then(|text| compile::regex(text, sink)),
        placeholder: raw.placeholder.clone(),
        env: raw.env.clone(),
        required: !raw.optional,
    }
}

fn param_spec(name: &Spanned<String>, raw: &raw::RawParam) -> ParamSpec {
    let default = raw
        .default
        .as_ref()
        .map(|value| to_text(&compile::to_json(value)));
    ParamSpec {
        name: name.get_ref().clone(),
        default,
        integer: raw.integer,
    }
}

fn compile_signing(raw: &raw::RawSigning, sink: &mut ProblemSink) -> Option<SigningScheme> {
    let mut template =
        |text: &Spanned<String>| compile::template_in(HolePlace::Signature, text, sink);
    match raw {
        raw::RawSigning::Basic { user, password } => Some(SigningScheme::Basic {
            user: template(user)?,
            password: template(password)?,
        }),
        raw::RawSigning::Bearer(value) => template(value).map(SigningScheme::Bearer),
        raw::RawSigning::Header { name, value } => Some(SigningScheme::Header {
            name: name.get_ref().clone(),
            value: template(value)?,
        }),
        raw::RawSigning::Sigv4 {
            service,
            region,
            access_key,
            secret_key,
        } => Some(SigningScheme::Sigv4 {
            service: template(service)?,
            region: template(region)?,
            access_key: template(access_key)?,
            secret_key: template(secret_key)?,
        }),
    }
}

fn check_login_rules(raw: &raw::RawTokenSpec, sink: &mut ProblemSink) {
    for rule in &raw.rules {
        if rule.get_ref().codes || rule.get_ref().accepted.is_some() {
            sink.error(
                Some(rule.span()),
                "a rule of a login needs `rejected` or `unknown`",
                Some("`reads` proves success, and a login has no table of codes".into()),
            );
        }
    }
}

fn login_fields(raw: &raw::RawTokenSpec, sink: &mut ProblemSink) -> RequestTemplate {
    let none = raw::SpannedTable::new();
    let tables = compile::RequestTables {
        query: &none,
        header: &none,
        form: &raw.form,
        json: &raw.json,
    };
    compile::request_template(HolePlace::Login, &tables, sink)
}

fn compile_token(raw: &raw::RawTokenSpec, sink: &mut ProblemSink) -> Option<TokenSpec> {
    check_login_rules(raw, sink);
    let rules = raw
        .rules
        .iter()
        .filter_map(|rule| compile_reply::rule(rule, sink))
        .collect();
    Some(TokenSpec {
        fields: login_fields(raw, sink),
        base_url: raw.base_url.as_ref().map(|url| url.get_ref().clone()),
        value_paths: raw
            .reads
            .iter()
            .filter_map(|(name, text)| {
                Some((
                    name.clone(),
                    compile::json_path(text, FlatKeys(false), sink)?,
                ))
            })
            .collect(),
        expires: compile_reply::token_lifetime(raw.expires.as_ref(), sink),
        classifier: Classifier {
            rules,
            codes: CodeTable::default(),
        },
        claims: raw
            .claims
            .iter()
            .filter_map(|claim| compile_reply::claim(claim.get_ref(), sink))
            .collect(),
        response: compile::answer(HolePlace::LoginAnswer, &raw.answer, sink),
        endpoint: compile::endpoint(HolePlace::LoginEndpoint, &raw.endpoint, sink)?,
    })
}
