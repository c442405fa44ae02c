//! `[templates]`: whether each approved text belongs to a provider or dialect, can be filled from
//! the backend's text, and exists where a provider sends nothing else.

use std::collections::BTreeMap;
use std::slice;

use crate::config::checker::{ConfigChecker, Reference};
use crate::config::raw::{self, RawConfig};
use crate::config::spanned::{ConfigString, in_file_order, string_map};
use crate::config::values;
use crate::policy::{ParsedTemplate, Templates};
use crate::provider::Provider;
use crate::proxy::{Settings, TextTemplate};

pub(super) fn templates(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Vec<TextTemplate> {
    let mut templates: Vec<TextTemplate> = Vec::new();
    for (name, raw) in in_file_order(&file.templates) {
        checker.require(name, values::identifier);
        let Some(text) = &raw.text else {
            checker.error(
                name.span(),
                "`text` is missing here",
                "write the text as the backend sends it, its changing part as a hole: \"kod {code}\"",
            );
            continue;
        };
        if let Some(twin) = templates.iter().find(|twin| &twin.text == text.get_ref()) {
            checker.warn(
                text.span(),
                "another template has this text",
                format!("`{}` above always matches first", twin.name),
            );
        }
        let template = TextTemplate {
            name: name.get_ref().clone(),
            text: text.get_ref().clone(),
            texts: string_map(&raw.texts),
            ids: string_map(&raw.ids),
        };
        check_texts(checker, raw, text, &template);
        check_owners(checker, file, raw);
        templates.push(template);
    }
    templates
}

/// Reports all that the pipeline would reject, and approved texts that lose a part of the message.
fn check_texts(
    checker: &mut ConfigChecker<'_>,
    raw: &raw::RawTemplate,
    text: &ConfigString,
    template: &TextTemplate,
) {
    for error in Templates::new(slice::from_ref(template))
        .err()
        .unwrap_or_default()
    {
        let owner = error.owner.as_deref();
        let form = owner.and_then(|owner| raw.texts.get(owner)).unwrap_or(text);
        checker.error(form.span(), error.fault.to_string(), error.fault.help());
    }
    let Ok(parsed) = ParsedTemplate::parse(text.get_ref()) else {
        return;
    };
    for form in raw.texts.values() {
        let Ok(approved) = ParsedTemplate::parse(form.get_ref()) else {
            continue;
        };
        if let Some(lost) = parsed
            .holes()
            .find(|hole| !approved.holes().any(|used| used == *hole))
        {
            checker.warn(
                form.span(),
                format!("this text does not contain `{{{lost}}}`"),
                "its recipient does not see what the backend wrote there",
            );
        }
    }
}

/// Every key of `texts` and `ids` names a provider or a dialect.
fn check_owners(checker: &mut ConfigChecker<'_>, file: &RawConfig, raw: &raw::RawTemplate) {
    let catalog = checker.catalog;
    let mut names: Vec<&str> = file
        .providers
        .keys()
        .map(|name| name.get_ref().as_str())
        .collect();
    names.extend(catalog.names());
    names.sort_unstable();
    names.dedup();
    for key in raw.texts.keys().chain(raw.ids.keys()) {
        checker.check_name(key, &names, Reference::ProviderOrDialect);
    }
}

/// Warns of a provider that sends approved texts only and has none.
pub(super) fn check_approved_only(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    settings: &Settings,
) {
    let approving = settings.providers.iter();
    for provider in approving.filter(|provider| provider.templates_only) {
        let names = [provider.id.as_str(), provider.dialect.name.as_str()];
        let has =
            |forms: &BTreeMap<String, String>| names.iter().any(|name| forms.contains_key(*name));
        if settings
            .templates
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
            checker.warn(
                name.span(),
                "this provider sends approved texts only and has none",
                help,
            );
        }
    }
}

/// Warns of a text that is longer than its service accepts, even with one character in each hole.
pub(super) fn check_lengths(
    checker: &mut ConfigChecker<'_>,
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
        let Ok(parsed) = ParsedTemplate::parse(form.get_ref()) else {
            continue;
        };
        let least = parsed.literal_len() + parsed.holes().count();
        if least > limit {
            let what = format!(
                "this text has at least {least} characters, and the service accepts {limit}"
            );
            checker.warn(
                form.span(),
                what,
                "shorten it and have it approved again; until then the provider is skipped",
            );
        }
    }
}
