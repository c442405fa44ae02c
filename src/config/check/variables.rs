//! Warns of `$NAME` and `${NAME}` in values: the file does not expand variables, so the value is
//! used as it is.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::checker::ConfigChecker;

/// The whole value, or `${NAME}` anywhere in it. Every other `$` may be meant.
#[expect(
    clippy::expect_used,
    reason = "a constant; the goldens of the configs compile it"
)]
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\$[A-Za-z_][A-Za-z0-9_]*$|\$\{[A-Za-z_][A-Za-z0-9_]*\}").expect("a pattern")
});

/// The table whose values are texts for people, in which a `$` is a `$`.
const TEXTS: &str = "templates";

pub(super) fn warn_of_variables(checker: &mut ConfigChecker<'_>) {
    let (root, _) = DeTable::parse_recoverable(checker.text());
    let mut found = Vec::new();
    for (key, value) in root.get_ref() {
        if key.get_ref() != TEXTS {
            find_variables(value, &mut found);
        }
    }
    for (name, span) in found {
        checker.warn(
            span,
            format!("`{name}` is not expanded: this file has no variables"),
            "write the value itself; put a secret into a vault, such as `[vaults.NAME] env = {}`, which reads the environment",
        );
    }
}

fn find_variables(value: &Spanned<DeValue<'_>>, found: &mut Vec<(String, Range<usize>)>) {
    match value.get_ref() {
        DeValue::String(text) => {
            let name = VARIABLE.find(text);
            found.extend(name.map(|name| (name.as_str().to_owned(), value.span())));
        }
        DeValue::Array(items) => items.iter().for_each(|item| find_variables(item, found)),
        DeValue::Table(table) => table
            .iter()
            .for_each(|(_, inner)| find_variables(inner, found)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}
