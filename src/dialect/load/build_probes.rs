//! `[[probes]]`: free requests about the account, and what their replies mean.

use std::ops::Range;

use toml::Spanned;

use crate::dialect::load::compile;
use crate::dialect::load::compile_reply;
use crate::dialect::load::holes::HolePlace;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::dialect::load::raw;
use crate::dialect::model::{BalanceUnit, Probe, ProbeSubject};

/// The probes that settle a cause, and those that list senders or texts.
pub(crate) struct CompiledProbes {
    pub(crate) probes: Vec<Probe>,
    pub(crate) listing_probes: Vec<Probe>,
}

pub(crate) fn take_probes(top: &mut Section<'_>, sink: &mut ProblemSink) -> CompiledProbes {
    let all: Vec<Probe> = top
        .take_list("probes", sink)
        .into_iter()
        .filter_map(|raw| compile_probe(&raw, sink))
        .collect();
    let (listing_probes, probes) = all
        .into_iter()
        .partition(|probe| matches!(probe.about, ProbeSubject::Sender | ProbeSubject::Template));
    CompiledProbes {
        probes,
        listing_probes,
    }
}

fn compile_probe(raw: &Spanned<raw::RawProbe>, sink: &mut ProblemSink) -> Option<Probe> {
    let span = raw.span();
    let raw = raw.get_ref();
    let cause_when = raw
        .cause_when
        .iter()
        .filter_map(|condition| compile_reply::cause_condition(condition, &span, sink))
        .collect();
    check_listing(raw, &span, sink);
    let tables = compile::RequestTables {
        query: &raw.query,
        header: &raw.header,
        form: &raw.form,
        json: &raw.json,
    };
    Some(Probe {
        about: probe_subject(raw.about),
        inferred: raw.inferred,
        fields: compile::request_template(HolePlace::Probe, &tables, sink),
        healthy_when: raw
            .healthy_when
            .as_ref()
            .map(|test| compile_reply::reply_test(test, sink)),
        cause_when,
        balance_path: compile::optional_path(raw.balance.as_ref(), sink),
        unit: raw.unit.as_deref().map(BalanceUnit::parse),
        senders_path: compile::optional_path(raw.senders.as_ref(), sink),
        shared_senders: raw.shared.clone(),
        numbers_only: matches!(raw.only, Some(raw::RawSenderFilter::Numbers)),
        templates: raw
            .templates
            .as_ref()
            .and_then(|texts| compile_reply::template_listing(texts, sink)),
        endpoint: compile::endpoint(HolePlace::ProbeEndpoint, &raw.endpoint, sink)?,
    })
}

fn probe_subject(raw: raw::RawProbeSubject) -> ProbeSubject {
    match raw {
        raw::RawProbeSubject::Credential => ProbeSubject::Credential,
        raw::RawProbeSubject::Account => ProbeSubject::Account,
        raw::RawProbeSubject::Balance => ProbeSubject::Balance,
        raw::RawProbeSubject::Sender => ProbeSubject::Sender,
        raw::RawProbeSubject::Template => ProbeSubject::Template,
    }
}

/// Checks that a probe has the keys of a listing exactly if it lists something.
fn check_listing(raw: &raw::RawProbe, span: &Range<usize>, sink: &mut ProblemSink) {
    let mut require = |holds: bool, what: &str, help: &str| {
        if !holds {
            sink.error(Some(span.clone()), what, Some(help.into()));
        }
    };
    require(
        matches!(raw.about, raw::RawProbeSubject::Sender) == raw.senders.is_some(),
        "`about = \"sender\"` and `senders` go together",
        "`senders` is the path of the senders in the reply",
    );
    require(
        matches!(raw.about, raw::RawProbeSubject::Template) == raw.templates.is_some(),
        "`about = \"template\"` and `templates` go together",
        "`[probes.templates]` says where the reply lists the texts",
    );
    require(
        raw.senders.is_some() || (raw.shared.is_empty() && raw.only.is_none()),
        "`shared` and `only` belong to a list of `senders`",
        "remove them, or add `senders`",
    );
    let lists = [
        raw.senders.as_ref(),
        raw.templates.as_ref().map(|texts| &texts.path),
    ];
    for path in lists
        .into_iter()
        .flatten()
        .filter(|path| !path.get_ref().contains("[]"))
    {
        sink.error(
            Some(path.span()),
            "not the path of a list",
            Some("a path into a list has `[]`, like \"result[].name\"".into()),
        );
    }
}
