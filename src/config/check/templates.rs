//! `[templates]`: whether each approved form belongs to somebody, can be filled from the
//! backend's text, and is of use where it must be.

use std::collections::BTreeMap;

use crate::config::check::checker::ConfigChecker;
use crate::config::raw::{self, RawConfig};
use crate::config::spanned::{ConfigString, NamedTables, in_file_order};
use crate::config::values;
use crate::proxy::{Provider, TextTemplate};

pub(super) fn templates(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> Vec<TextTemplate> {
    let mut templates: Vec<TextTemplate> = Vec::new();
    for (name, raw) in in_file_order(&file.templates) {
        judge.require(name, values::identifier);
        let Some(text) = &raw.text else {
            judge.error(
                name.span(),
                "`text` is missing here",
                "write the text as the backend sends it, its changing part as a hole: \"kod {code}\"",
            );
            continue;
        };
        let holes = judge.parse_or(Some(text), Vec::new(), values::template_holes);
        if let Some(twin) = templates.iter().find(|twin| &twin.text == text.get_ref()) {
            judge.warn(
                text.span(),
                "another template has this text",
                format!("`{}` above always matches first", twin.name),
            );
        }
        for form in raw.texts.values() {
            check_holes(judge, form, &holes);
        }
        check_owners(judge, file, raw);
        templates.push(TextTemplate {
            name: name.get_ref().clone(),
            text: text.get_ref().clone(),
            texts: to_strings(&raw.texts),
            ids: to_strings(&raw.ids),
        });
    }
    templates
}

fn to_strings(named: &NamedTables<ConfigString>) -> BTreeMap<String, String> {
    named
        .iter()
        .map(|(name, word)| (name.get_ref().clone(), word.get_ref().clone()))
        .collect()
}

/// Whether the holes of one form can be filled, and whether it says all that the text says.
fn check_holes(judge: &mut ConfigChecker<'_>, form: &ConfigString, holes: &[String]) {
    let used = match values::holes(form.get_ref()) {
        Ok(used) => used,
        Err((what, help)) => return judge.error(form.span(), what, help),
    };
    if let Some(unknown) = used
        .iter()
        .find(|hole| !holes.iter().any(|known| known == *hole))
    {
        let help =
            "use only holes of `text`: the backend's message is all there is to fill them from";
        judge.error(
            form.span(),
            format!("nothing fills the hole `{{{unknown}}}`"),
            help,
        );
    }
    if let Some(lost) = holes.iter().find(|hole| !used.contains(&hole.as_str())) {
        judge.warn(
            form.span(),
            format!("this form loses `{{{lost}}}`"),
            "a person who gets it does not see what the backend wrote there",
        );
    }
}

/// Every key of `texts` and `ids` names a provider or a dialect.
fn check_owners(judge: &mut ConfigChecker<'_>, file: &RawConfig, raw: &raw::RawTemplate) {
    let catalog = judge.catalog;
    let mut names: Vec<&str> = file
        .providers
        .keys()
        .map(|name| name.get_ref().as_str())
        .collect();
    names.extend(catalog.iter().map(|dialect| dialect.name.as_str()));
    names.sort_unstable();
    names.dedup();
    for key in raw.texts.keys().chain(raw.ids.keys()) {
        judge.check_name(key, &names, "provider or dialect");
    }
}

/// A provider that sends approved texts only needs one.
pub(super) fn check_approved_only(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    providers: &[Provider],
    templates: &[TextTemplate],
) {
    for provider in providers.iter().filter(|provider| provider.templates_only) {
        let names = [provider.id.as_str(), provider.dialect.name.as_str()];
        let has =
            |forms: &BTreeMap<String, String>| names.iter().any(|name| forms.contains_key(*name));
        if templates
            .iter()
            .any(|template| has(&template.texts) || has(&template.ids))
        {
            continue;
        }
        if let Some((name, _)) = file.providers.get_key_value(provider.id.as_str()) {
            let help = format!(
                "add `[templates.NAME]` with `texts = {{ {} = \"…\" }}`",
                provider.id
            );
            judge.warn(
                name.span(),
                "this provider sends approved texts only, and there is none for it",
                help,
            );
        }
    }
}

/// A form that is longer than its service takes, even with short words in its holes.
pub(super) fn check_lengths(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    providers: &[Provider],
) {
    for (owner, form) in file.templates.values().flat_map(|template| &template.texts) {
        let speaks = |provider: &&Provider| {
            [provider.id.as_str(), provider.dialect.name.as_str()]
                .contains(&owner.get_ref().as_str())
        };
        let Some(limit) = providers
            .iter()
            .find(speaks)
            .and_then(|provider| provider.dialect.text_limit())
        else {
            continue;
        };
        let Ok(holes) = values::holes(form.get_ref()) else {
            continue;
        };
        let named: usize = holes.iter().map(|hole| hole.len() + 2).sum();
        let least = form.get_ref().chars().count() - named + holes.len();
        if least > limit {
            let what =
                format!("this text has {least} characters or more, and the service takes {limit}");
            judge.warn(
                form.span(),
                what,
                "shorten it and have it approved again: the provider is skipped as it is",
            );
        }
    }
}
