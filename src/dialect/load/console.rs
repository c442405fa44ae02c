//! `[console]`: the pages on which people fix what an account is rejected for, one per cause.
//! The pages are for people: the sidecar never requests them.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::dialect::load::compile::cause_or;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::sms::{Cause, Concern};

/// The page for each cause that concerns an account; `default` serves those without a page of
/// their own.
pub(crate) fn take_pages(top: &mut Section<'_>, sink: &mut ProblemSink) -> BTreeMap<Cause, String> {
    let mut pages = BTreeMap::new();
    let mut default = None;
    for (word, page) in top.take_entries("console", sink) {
        let page: Spanned<String> = page;
        if !is_page(page.get_ref()) {
            sink.error(
                Some(page.span()),
                "not a page",
                Some("write its whole address: \"https://…\"".into()),
            );
        } else if word.get_ref() == "default" {
            default = Some(page.into_inner());
        } else if let Some(cause) = cause_or(&word, &["default"], sink) {
            pages.insert(cause, page.into_inner());
        }
    }
    if let Some(default) = default {
        for &cause in Cause::ALL.iter().filter(|cause| concerns_account(**cause)) {
            pages.entry(cause).or_insert_with(|| default.clone());
        }
    }
    pages
}

fn is_page(address: &str) -> bool {
    let is_web = ["https://", "http://"]
        .iter()
        .any(|scheme| address.starts_with(scheme));
    is_web && !address.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn concerns_account(cause: Cause) -> bool {
    matches!(
        cause.concern(),
        Concern::Credential | Concern::Account | Concern::MessageAtAccount | Concern::Throttle
    )
}
