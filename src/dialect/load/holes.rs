//! Which holes can have a value where: a hole that nothing fills would leave out its field for ever, or leave
//! every delivered message in doubt. One table; `Scope` is filled accordingly.

use std::ops::Range;

use crate::dialect::expr::template::{StringTemplate, ValueSource};
use crate::dialect::load::parse::ProblemSink;
use crate::problem::suggest;

/// A part of a description that takes templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HolePlace {
    Send,
    SendEndpoint,
    Digest,
    Signature,
    Login,
    LoginEndpoint,
    LoginAnswer,
    Probe,
    ProbeEndpoint,
    OperationEndpoint,
    OperationAnswer,
    LocalAnswer,
    Success,
    Failure,
}

const ACCOUNT: [&str; 2] = ["credential.NAME", "param.NAME"];
const MESSAGE: [&str; 10] = [
    "to",
    "text",
    "sender",
    "reference",
    "validity",
    "callback",
    "alphabet",
    "segments",
    "template.id",
    "template.values",
];
const FIELDS: [&str; 1] = ["template.fields"];
const REPLY: [&str; 5] = ["status", "queried.PATH", "param.NAME", "placeholder", "now"];
const LOGIN: [&str; 2] = ["token.NAME", "now"];

impl HolePlace {
    /// The part as it is written in a file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "a field of [send]",
            Self::SendEndpoint => "the endpoint of [send]",
            Self::Digest => "[send.digest.NAME]",
            Self::Signature => "[sign]",
            Self::Login => "a field of [token]",
            Self::LoginEndpoint => "the endpoint of [token]",
            Self::LoginAnswer => "the answer of [token]",
            Self::Probe => "a field of [[probes]]",
            Self::ProbeEndpoint => "the endpoint of [[probes]]",
            Self::OperationEndpoint => "the endpoint of [[operations]]",
            Self::OperationAnswer => "the answer of [[operations]]",
            Self::LocalAnswer => "the answer of a local operation",
            Self::Success => "[[send.success]]",
            Self::Failure => "[send.failure]",
        }
    }

    /// The holes that can have a value here.
    pub(crate) fn holes(self) -> Vec<&'static str> {
        let groups: &[&[&'static str]] = match self {
            Self::Send => &[&MESSAGE, &FIELDS, &ACCOUNT, &LOGIN, &["digest.NAME"]],
            Self::Digest => &[&MESSAGE, &ACCOUNT, &LOGIN],
            Self::Signature => &[&ACCOUNT, &LOGIN],
            Self::Probe => &[&ACCOUNT, &LOGIN, &["sender"]],
            Self::SendEndpoint | Self::ProbeEndpoint => &[&ACCOUNT, &["token.NAME"]],
            Self::OperationEndpoint => &[&ACCOUNT, &["token.NAME", "ANY NAME"]],
            Self::Login => &[&ACCOUNT, &["now"]],
            Self::LoginEndpoint => &[&ACCOUNT],
            Self::LoginAnswer | Self::LocalAnswer => {
                &[&["queried.PATH", "placeholder", "status", "now"]]
            }
            Self::OperationAnswer => &[&["queried.PATH", "placeholder", "id", "status", "now"]],
            Self::Success => &[&["id"], &REPLY, &MESSAGE, &FIELDS],
            Self::Failure => &[&["code", "reason"], &REPLY, &MESSAGE, &FIELDS],
        };
        groups.concat()
    }

    fn fills(self, source: &ValueSource) -> bool {
        // A name without a dot is a part of the backend's path; with one it is a mistyped source.
        let is_path_part = matches!(source, ValueSource::PathParam(name) if !name.contains('.'));
        let kind = if is_path_part {
            "ANY NAME".to_owned()
        } else {
            source.generic_name()
        };
        self.holes().contains(&kind.as_str())
    }

    /// Reports each hole of a template that can have no value here.
    pub(crate) fn check(
        self,
        template: &StringTemplate,
        span: &Range<usize>,
        sink: &mut ProblemSink,
    ) {
        self.check_sources(template.exprs().map(|hole| &hole.source), span, sink);
    }

    /// The same for sources.
    pub(crate) fn check_sources<'s>(
        self,
        sources: impl Iterator<Item = &'s ValueSource>,
        span: &Range<usize>,
        sink: &mut ProblemSink,
    ) {
        for source in sources.filter(|source| !self.fills(source)) {
            let word = source.word();
            sink.error(
                Some(span.clone()),
                format!("nothing can fill `{{{word}}}` in {}", self.name()),
                Some(suggest(&word, &self.holes())),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [HolePlace; 14] = [
        HolePlace::Send,
        HolePlace::SendEndpoint,
        HolePlace::Digest,
        HolePlace::Signature,
        HolePlace::Login,
        HolePlace::LoginEndpoint,
        HolePlace::LoginAnswer,
        HolePlace::Probe,
        HolePlace::ProbeEndpoint,
        HolePlace::OperationEndpoint,
        HolePlace::OperationAnswer,
        HolePlace::LocalAnswer,
        HolePlace::Success,
        HolePlace::Failure,
    ];

    #[test]
    fn the_language_page_has_this_table() {
        let page = include_str!("../../../deploy/guide/dialect-language.md");
        for place in ALL {
            let holes: Vec<String> = place
                .holes()
                .iter()
                .map(|hole| format!("`{hole}`"))
                .collect();
            let row = format!("| {} | {} |", place.name(), holes.join(" "));
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn each_hole_of_the_table_is_one_that_a_template_has() {
        for place in ALL {
            for hole in place.holes().into_iter().filter(|hole| *hole != "ANY NAME") {
                let template = StringTemplate::parse(&format!("{{{hole}}}")).unwrap();
                let mut sink = ProblemSink::new("a.toml", "{}");
                place.check(&template, &(0..1), &mut sink);
                assert!(sink.problems.is_empty(), "{hole} in {}", place.name());
            }
        }
    }
}
