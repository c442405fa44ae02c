//! `[console]`: the pages on which people put right what an account is refused for, one a cause.
//! Pages for people only: nothing here is ever asked by the sidecar.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::dialect::load::compile::cause_or;
use crate::dialect::load::parse::ProblemSink;
use crate::sms::{Cause, Concern};

type SpannedString = Spanned<String>;

/// One line: a cause, or `default`, and the page where people put it right.
pub(crate) fn parse_page(
    word: &SpannedString,
    page: &SpannedString,
    sink: &mut ProblemSink,
) -> Option<(Option<Cause>, String)> {
    let address = page.get_ref();
    let plain = !address.chars().any(|c| c.is_whitespace() || c.is_control());
    if !plain
        || !["https://", "http://"]
            .iter()
            .any(|scheme| address.starts_with(scheme))
    {
        sink.error(
            Some(page.span()),
            "no page",
            Some("write its whole address: \"https://…\"".into()),
        );
        return None;
    }
    let cause = if word.get_ref() == "default" {
        None
    } else {
        Some(cause_or(word, &["default"], sink)?)
    };
    Some((cause, address.clone()))
}

/// The page for each cause that an account can be freed of; `default` (no cause) is for all that have none of their own.
pub(crate) fn urls_by_cause(told: Vec<(Option<Cause>, String)>) -> BTreeMap<Cause, String> {
    let otherwise = told
        .iter()
        .find(|(cause, _)| cause.is_none())
        .map(|(_, page)| page.clone());
    let theirs = |cause: &&Cause| {
        matches!(
            cause.concern(),
            Concern::Credential | Concern::Account | Concern::MessageAtAccount | Concern::Throttle
        )
    };
    let rest = Cause::ALL
        .iter()
        .filter(theirs)
        .filter_map(|&cause| Some((cause, otherwise.clone()?)));
    rest.chain(
        told.into_iter()
            .filter_map(|(cause, page)| Some((cause?, page))),
    )
    .collect()
}
