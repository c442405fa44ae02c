//! From pieces to a compiled description, with every complaint at once: the pieces
//! compile one by one, then the whole is held against the rules no piece can break alone.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use crate::dialect::Dialect;
use crate::dialect::expr::path::FlatKeys;
use crate::dialect::expr::template::ValueSource;
use crate::dialect::load::build_send;
use crate::dialect::load::compile;
use crate::dialect::load::console;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::dialect::load::raw;
use crate::dialect::load::validate;
use crate::dialect::model::codes::CodeTable;
use crate::dialect::model::host::{BaseUrl, HostPattern};
use crate::dialect::model::{
    BodyEncoding, Classifier, OperationSpec, Probe, ProbeSubject, RequestTemplate,
    ResponseTemplate, SigningScheme, TokenSpec,
};
use crate::dialect::{EvidenceBasis, FieldSpec, ParamSpec};
use crate::sms::{Cause, Operation};

/// Compiles the laid-over table; none if the sink has a complaint that leaves nothing to work with.
pub(crate) fn compile(table: DeTable<'_>, sink: &mut ProblemSink) -> Option<Dialect> {
    let mut top = Section::new("", table);
    let name: Option<Spanned<String>> = top.take("dialect", sink);
    let like: Option<Spanned<String>> = top.take("extends", sink);
    let base_url: Option<Spanned<String>> = top.take("base_url", sink);
    let facts: Option<Spanned<String>> = top.take("facts", sink);
    let sources: Option<Spanned<Vec<String>>> = top.take("sources", sink);
    let evidence: Option<Spanned<raw::RawEvidenceBasis>> = top.take("evidence", sink);
    let hosts: Option<Spanned<Vec<Spanned<String>>>> = top.take("hosts", sink);
    let test_senders: Option<Spanned<Vec<String>>> = top.take("test_senders", sink);
    let left: Option<Spanned<Vec<Spanned<String>>>> = top.take("retired_hosts", sink);
    let console = top
        .take_entries("console", sink)
        .into_iter()
        .filter_map(|(cause, page)| console::parse_page(&cause, &page, sink))
        .collect();
    let credential: Vec<_> = top
        .take_entries("credential", sink)
        .into_iter()
        .map(|(name, raw)| {
            (
                sink.is_inherited(&name.span()),
                field_spec(&name, &raw, sink),
            )
        })
        .collect();
    let params = top
        .take_entries("param", sink)
        .into_iter()
        .map(|(name, raw): (_, raw::RawParam)| param_spec(&name, &raw))
        .collect();
    let sign = top
        .take("sign", sink)
        .and_then(|raw: Spanned<raw::RawSigning>| compile_signing(raw.get_ref(), sink));
    let token = top
        .take("token", sink)
        .and_then(|raw: Spanned<raw::RawTokenSpec>| compile_token(raw.get_ref(), sink));
    let (send, spans) = build_send::compile_send(&mut top, sink);
    let operations = top
        .take_list("operations", sink)
        .into_iter()
        .filter_map(|raw| compile_operation(&raw, sink))
        .collect();
    let probes: Vec<Probe> = top
        .take_list("probes", sink)
        .into_iter()
        .filter_map(|raw| compile_probe(&raw, sink))
        .collect();
    let (lists, probes) = probes
        .into_iter()
        .partition(|probe| matches!(probe.about, ProbeSubject::Sender | ProbeSubject::Template));
    let _report: Option<Spanned<raw::RawDeliveryReport>> = top.take("report", sink);
    top.finish(sink);

    let mut dialect = Dialect {
        name: parse_name(name.as_ref(), sink)?,
        extends: like.map(Spanned::into_inner),
        origin: String::new(),
        built_in: false,
        overrides: None,
        base: parse_base_url(base_url.as_ref(), sink)?,
        facts: facts.map(Spanned::into_inner),
        sources: sources.map(Spanned::into_inner).unwrap_or_default(),
        evidence: evidence
            .map(|word| evidence_basis(*word.get_ref()))
            .unwrap_or_default(),
        hosts: hosts
            .map(Spanned::into_inner)
            .unwrap_or_default()
            .iter()
            .filter_map(|text| parse_host_pattern(text, sink))
            .collect(),
        test_senders: test_senders.map(Spanned::into_inner).unwrap_or_default(),
        retired_hosts: left
            .map(Spanned::into_inner)
            .unwrap_or_default()
            .into_iter()
            .map(Spanned::into_inner)
            .collect(),
        console_urls: console::urls_by_cause(console),
        credential: Vec::new(),
        params,
        sign,
        token,
        send: send?,
        operations,
        probes,
        listing_probes: lists,
    };
    // A file that signs in another way needs not say which of the inherited fields it leaves.
    let used = validate::used_sources(&dialect);
    let kept = |inherited: bool, spec: &FieldSpec| {
        !inherited || used.contains(&ValueSource::Credential(spec.name.clone()))
    };
    dialect.credential = credential
        .into_iter()
        .filter(|(inherited, spec)| kept(*inherited, spec))
        .map(|(_, spec)| spec)
        .collect();
    validate::validate(&dialect, &spans, sink);
    Some(dialect)
}

fn parse_name(name: Option<&Spanned<String>>, sink: &mut ProblemSink) -> Option<String> {
    let Some(name) = name else {
        sink.error(
            None,
            "`dialect` is missing",
            Some("name the description: dialect = \"…\"".into()),
        );
        return None;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
        sink.error(
            Some(name.span()),
            "a dialect's name is made of a-z, 0-9 and -",
            Some("it is a path segment and a metric label".into()),
        );
        return None;
    }
    Some(name.get_ref().clone())
}

fn parse_base_url(url: Option<&Spanned<String>>, sink: &mut ProblemSink) -> Option<BaseUrl> {
    let Some(url) = url else {
        sink.error(
            None,
            "`base_url` is missing",
            Some(
                "where attempts go, unless the provider says otherwise: base_url = \"https://…\""
                    .into(),
            ),
        );
        return None;
    };
    let base = BaseUrl::parse(url.get_ref());
    if base.is_none() {
        sink.error(
            Some(url.span()),
            "no base URL",
            Some("like \"https://api.example.com/v1\", without query".into()),
        );
    }
    base
}

fn parse_host_pattern(text: &Spanned<String>, sink: &mut ProblemSink) -> Option<HostPattern> {
    let host = HostPattern::parse(text.get_ref());
    if host.is_none() {
        sink.error(
            Some(text.span()),
            "no host pattern",
            Some("a host name or address; `*` stands for one whole label, at least two labels follow it".into()),
        );
    }
    host
}

fn evidence_basis(raw: raw::RawEvidenceBasis) -> EvidenceBasis {
    match raw {
        raw::RawEvidenceBasis::Vendor => EvidenceBasis::Vendor,
        raw::RawEvidenceBasis::Clients => EvidenceBasis::Clients,
        raw::RawEvidenceBasis::Memory => EvidenceBasis::Memory,
    }
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
        .map(|value| crate::dialect::expr::template::to_text(&compile::to_json(value)));
    ParamSpec {
        name: name.get_ref().clone(),
        default,
        integer: raw.integer,
    }
}

fn compile_signing(raw: &raw::RawSigning, sink: &mut ProblemSink) -> Option<SigningScheme> {
    let mut template = |text: &Spanned<String>| compile::template(text, sink);
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

fn compile_token(raw: &raw::RawTokenSpec, sink: &mut ProblemSink) -> Option<TokenSpec> {
    let rules = raw
        .rules
        .iter()
        .filter_map(|rule| compile::rule(rule, sink))
        .collect();
    Some(TokenSpec {
        fields: request_template(
            &raw::SpannedTable::new(),
            &raw::SpannedTable::new(),
            &raw.form,
            &raw.json,
            sink,
        ),
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
        expires: compile::token_lifetime(raw.expires.as_ref(), sink),
        classifier: Classifier {
            rules,
            codes: CodeTable::default(),
        },
        claims: raw
            .claims
            .iter()
            .filter_map(|claim| compile::claim(claim.get_ref(), sink))
            .collect(),
        response: compile::response(&raw.answer, sink),
        endpoint: compile::endpoint(&raw.endpoint, sink)?,
    })
}

pub(crate) fn request_template(
    query: &raw::SpannedTable,
    header: &raw::SpannedTable,
    form: &raw::SpannedTable,
    json: &raw::SpannedTable,
    sink: &mut ProblemSink,
) -> RequestTemplate {
    if let (false, Some((key, _))) = (form.is_empty(), json.first_key_value()) {
        sink.error(Some(key.span()), "a body is a form or JSON, not both", None);
    }
    let (body, encode) = match (form.is_empty(), json.is_empty()) {
        (false, _) => (
            compile::fields(form, FlatKeys(true), true, sink),
            BodyEncoding::Form,
        ),
        (true, false) => (
            compile::fields(json, FlatKeys(false), true, sink),
            BodyEncoding::Json,
        ),
        (true, true) => (Vec::new(), BodyEncoding::NoBody),
    };
    let (query, header) = (
        compile::fields(query, FlatKeys(true), true, sink),
        compile::fields(header, FlatKeys(true), true, sink),
    );
    RequestTemplate {
        query,
        header,
        body,
        encoding: encode,
    }
}

fn compile_operation(
    raw: &Spanned<raw::RawOperation>,
    sink: &mut ProblemSink,
) -> Option<OperationSpec> {
    let raw = raw.get_ref();
    let does = match raw.kind {
        raw::RawOperationKind::Passthrough => Operation::Passthrough,
        raw::RawOperationKind::Status => Operation::Status,
        raw::RawOperationKind::Login => Operation::Login,
        raw::RawOperationKind::Deny => Operation::Other,
    };
    Some(OperationSpec {
        operation: does,
        required_values: raw
            .required_values
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        id_path: raw
            .id
            .as_ref()
            .and_then(|text| compile::json_path(text, FlatKeys(false), sink)),
        response: raw
            .answer
            .as_ref()
            .map(|told| compile::response(told, sink)),
        endpoint: compile::endpoint(&raw.endpoint, sink)?,
    })
}

fn compile_probe(raw: &Spanned<raw::RawProbe>, sink: &mut ProblemSink) -> Option<Probe> {
    let span = raw.span();
    let raw = raw.get_ref();
    let dead = raw
        .cause_when
        .iter()
        .filter_map(|dead| compile::cause_condition(dead, &span, sink))
        .collect();
    check_listing(raw, &span, sink);
    Some(Probe {
        about: match raw.about {
            raw::RawProbeSubject::Credential => ProbeSubject::Credential,
            raw::RawProbeSubject::Account => ProbeSubject::Account,
            raw::RawProbeSubject::Balance => ProbeSubject::Balance,
            raw::RawProbeSubject::Sender => ProbeSubject::Sender,
            raw::RawProbeSubject::Template => ProbeSubject::Template,
        },
        inferred: raw.inferred,
        fields: request_template(&raw.query, &raw.header, &raw.form, &raw.json, sink),
        healthy_when: raw
            .healthy_when
            .as_ref()
            .map(|test| compile::reply_test(test, sink)),
        cause_when: dead,
        balance_path: raw
            .balance
            .as_ref()
            .and_then(|text| compile::json_path(text, FlatKeys(false), sink)),
        unit: raw.unit.clone(),
        senders_path: raw
            .senders
            .as_ref()
            .and_then(|text| compile::json_path(text, FlatKeys(false), sink)),
        shared_senders: raw.shared.clone(),
        numbers_only: matches!(raw.only, Some(raw::RawSenderFilter::Numbers)),
        templates: raw
            .templates
            .as_ref()
            .and_then(|texts| compile::template_listing(texts, sink)),
        endpoint: compile::endpoint(&raw.endpoint, sink)?,
    })
}

/// What a question about a list must say, and may say only there.
fn check_listing(raw: &raw::RawProbe, span: &Range<usize>, sink: &mut ProblemSink) {
    let mut goes = |holds: bool, what: &str| {
        if !holds {
            sink.error(Some(span.clone()), what, None);
        }
    };
    goes(
        matches!(raw.about, raw::RawProbeSubject::Sender) == raw.senders.is_some(),
        "`about = \"sender\"` and `senders`, the place that lists them, go together",
    );
    goes(
        matches!(raw.about, raw::RawProbeSubject::Template) == raw.templates.is_some(),
        "`about = \"template\"` and `templates`, which says where they are listed, go together",
    );
    let about_senders = !raw.shared.is_empty() || raw.only.is_some();
    goes(
        raw.senders.is_some() || !about_senders,
        "`shared` and `only` say something about a list of `senders`",
    );
    let lists = [
        raw.senders.as_ref(),
        raw.templates.as_ref().map(|texts| &texts.path),
    ];
    for place in lists
        .into_iter()
        .flatten()
        .filter(|place| !place.get_ref().contains("[]"))
    {
        sink.error(
            Some(place.span()),
            "this is no list",
            Some("a place in a list has `[]` in it, like \"result[].name\"".into()),
        );
    }
}

/// The causes of a table's lines, for the laws.
pub(crate) fn may_have_failure_code(cause: Cause) -> bool {
    use crate::sms::Family;
    matches!(cause.family(), Family::Message) || cause == Cause::Throttled
}

/// An empty reply is none.
pub(crate) fn is_empty_response(told: &ResponseTemplate) -> bool {
    told.json.is_empty() && told.text.is_none()
}
