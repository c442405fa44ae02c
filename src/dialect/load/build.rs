//! From the tables of a file to a compiled description. Each part compiles on its own, so that
//! all errors are reported at once; then the checks of the whole run.

use toml::Spanned;
use toml::de::DeTable;

use crate::dialect::Dialect;
use crate::dialect::EvidenceBasis;
use crate::dialect::FieldSpec;
use crate::dialect::expr::template::ValueSource;
use crate::dialect::load::build_account::{self, DeclaredField};
use crate::dialect::load::build_probes;
use crate::dialect::load::build_send;
use crate::dialect::load::compile;
use crate::dialect::load::console;
use crate::dialect::load::holes::HolePlace;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::dialect::load::raw;
use crate::dialect::load::validate;
use crate::dialect::model::BodyEncoding;
use crate::dialect::model::OperationSpec;
use crate::dialect::model::endpoint::PathCase;
use crate::dialect::model::host::{BaseUrl, HostPattern};
use crate::sms::Operation;

/// Compiles the merged table; none if an error leaves nothing to work with.
pub(crate) fn compile(table: DeTable<'_>, sink: &mut ProblemSink) -> Option<Dialect> {
    let mut top = Section::new("", table);
    let identity = Identity::take(&mut top, sink);
    let console_urls = console::take_pages(&mut top, sink);
    let declared = build_account::take_credential(&mut top, sink);
    let params = build_account::take_params(&mut top, sink);
    let sign = build_account::take_signing(&mut top, sink);
    let token = build_account::take_token(&mut top, sink);
    let send = build_send::compile_send(&mut top, sink);
    let operations = take_operations(&mut top, sink);
    let probes = build_probes::take_probes(&mut top, sink);
    top.finish(sink);

    let mut dialect = Dialect {
        name: parse_name(identity.name.as_ref(), sink)?,
        extends: identity.extends.map(Spanned::into_inner),
        origin: String::new(),
        built_in: false,
        overrides: None,
        base: parse_base_url(identity.base_url.as_ref(), sink)?,
        facts: identity.facts.map(Spanned::into_inner),
        sources: identity.sources,
        evidence: identity.evidence,
        hosts: parse_hosts(&identity.hosts, sink),
        test_senders: identity.test_senders,
        retired_hosts: identity.retired_hosts,
        console_urls,
        credential: Vec::new(),
        params,
        sign,
        token,
        path_case: identity.path_case,
        send: send.spec?,
        operations,
        probes: probes.probes,
        listing_probes: probes.listing_probes,
    };
    dialect.credential = used_fields(declared, &dialect);
    validate::validate(&dialect, &send.spans, sink);
    Some(dialect)
}

/// The keys at the top of a file that are not tables.
struct Identity {
    name: Option<Spanned<String>>,
    extends: Option<Spanned<String>>,
    base_url: Option<Spanned<String>>,
    facts: Option<Spanned<String>>,
    sources: Vec<String>,
    evidence: EvidenceBasis,
    hosts: Vec<Spanned<String>>,
    test_senders: Vec<String>,
    retired_hosts: Vec<String>,
    path_case: PathCase,
}

impl Identity {
    fn take(top: &mut Section<'_>, sink: &mut ProblemSink) -> Self {
        Self {
            name: top.take("dialect", sink),
            extends: top.take("extends", sink),
            base_url: top.take("base_url", sink),
            facts: top.take("facts", sink),
            sources: top.take_or_default("sources", sink),
            evidence: top
                .take("evidence", sink)
                .map(|word| evidence_basis(*word.get_ref()))
                .unwrap_or_default(),
            hosts: top.take_or_default("hosts", sink),
            test_senders: top.take_or_default("test_senders", sink),
            retired_hosts: top.take_or_default("retired_hosts", sink),
            path_case: if top.take_or_default("ignore_case", sink) {
                PathCase::Ignored
            } else {
                PathCase::Exact
            },
        }
    }
}

/// A file that signs in another way need not list which inherited fields it no longer uses.
fn used_fields(declared: Vec<DeclaredField>, dialect: &Dialect) -> Vec<FieldSpec> {
    let used = validate::used_sources(dialect);
    declared
        .into_iter()
        .filter(|field| {
            !field.inherited || used.contains(&ValueSource::Credential(field.spec.name.clone()))
        })
        .map(|field| field.spec)
        .collect()
}

fn parse_name(name: Option<&Spanned<String>>, sink: &mut ProblemSink) -> Option<String> {
    let Some(name) = name else {
        sink.error(
            None,
            "`dialect` is missing",
            Some("name it: dialect = \"…\"".into()),
        );
        return None;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
        sink.error(
            Some(name.span()),
            "not a valid name for a dialect",
            Some("use a-z, 0-9 and -; the name is a path segment and a metric label".into()),
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
            Some("write where attempts go: base_url = \"https://…\"".into()),
        );
        return None;
    };
    let base = BaseUrl::parse(url.get_ref());
    if base.is_none() {
        sink.error(
            Some(url.span()),
            "not a base URL",
            Some("write it like \"https://api.example.com/v1\", without a query".into()),
        );
    }
    base
}

fn parse_hosts(texts: &[Spanned<String>], sink: &mut ProblemSink) -> Vec<HostPattern> {
    texts
        .iter()
        .filter_map(|text| parse_host_pattern(text, sink))
        .collect()
}

fn parse_host_pattern(text: &Spanned<String>, sink: &mut ProblemSink) -> Option<HostPattern> {
    let host = HostPattern::parse(text.get_ref());
    if host.is_none() {
        sink.error(
            Some(text.span()),
            "not a host pattern",
            Some("write a host name or address; `*` is one whole label, with at least two labels after it".into()),
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

fn take_operations(top: &mut Section<'_>, sink: &mut ProblemSink) -> Vec<OperationSpec> {
    top.take_list("operations", sink)
        .into_iter()
        .filter_map(|raw| compile_operation(&raw, sink))
        .collect()
}

/// Another field can make a request that changes something out of one that reads.
fn check_fields_listed(raw: &Spanned<raw::RawOperation>, sink: &mut ProblemSink) {
    let operation = raw.get_ref();
    let is_forwarded = matches!(
        operation.kind,
        raw::RawOperationKind::Passthrough | raw::RawOperationKind::Status
    );
    let methods = operation.endpoint.get_ref().split(' ').next();
    let only_reads = methods == Some("GET") && operation.required_values.is_empty();
    if is_forwarded && !only_reads && operation.fields.is_none() {
        sink.error(
            Some(operation.endpoint.span()),
            "this operation needs `fields`",
            Some("list what a request may have beside `where`, the id and the credential: fields = [\"…\"], or [] for nothing".into()),
        );
    }
}

/// A local operation is nothing but its answer; what is passed through has the service's.
fn check_answer(raw: &Spanned<raw::RawOperation>, sink: &mut ProblemSink) {
    let operation = raw.get_ref();
    let (message, help) = match (operation.kind, operation.answer.is_some()) {
        (raw::RawOperationKind::Local, false) => (
            "a local operation needs `answer`",
            "write what the backend gets: answer = { status = 200, json = { … } }",
        ),
        (raw::RawOperationKind::Passthrough | raw::RawOperationKind::Deny, true) => (
            "this kind of operation has no `answer`",
            "remove it, or write kind = \"status\" or kind = \"local\"",
        ),
        _ => return,
    };
    sink.error(Some(operation.endpoint.span()), message, Some(help.into()));
}

fn answer_place(operation: Operation) -> HolePlace {
    if operation == Operation::Local {
        HolePlace::LocalAnswer
    } else {
        HolePlace::OperationAnswer
    }
}

fn compile_operation(
    raw: &Spanned<raw::RawOperation>,
    sink: &mut ProblemSink,
) -> Option<OperationSpec> {
    check_fields_listed(raw, sink);
    check_answer(raw, sink);
    let raw = raw.get_ref();
    let operation = match raw.kind {
        raw::RawOperationKind::Passthrough => Operation::Passthrough,
        raw::RawOperationKind::Status => Operation::Status,
        raw::RawOperationKind::Login => Operation::Login,
        raw::RawOperationKind::Local => Operation::Local,
        raw::RawOperationKind::Deny => Operation::Other,
    };
    Some(OperationSpec {
        operation,
        required_values: raw
            .required_values
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        fields: raw.fields.clone().unwrap_or_default(),
        accepts: raw
            .accepts
            .as_ref()
            .map(|listed| compile::accepted_bodies(BodyEncoding::NoBody, listed)),
        id_path: compile::optional_path(raw.id.as_ref(), sink),
        response: raw
            .answer
            .as_ref()
            .map(|answer| compile::answer(answer_place(operation), answer, sink)),
        endpoint: compile::endpoint(HolePlace::OperationEndpoint, &raw.endpoint, sink)?,
    })
}
