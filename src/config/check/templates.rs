//! `[templates]`: whether each approved form belongs to somebody, can be filled from the
//! backend's text, and is of use where it must be.

use std::collections::BTreeMap;

use crate::config::check::judge::Judge;
use crate::config::raw::{self, File, Named, Word, in_order};
use crate::config::words;
use crate::proxy::{Provider, TextTemplate};

pub(super) fn templates(judge: &mut Judge<'_>, file: &File) -> Vec<TextTemplate> {
    let mut templates: Vec<TextTemplate> = Vec::new();
    for (name, raw) in in_order(&file.templates) {
        judge.must(name, words::name);
        let Some(text) = &raw.text else {
            judge.error(
                name.span(),
                "`text` is missing here",
                "write the text as the backend sends it, its changing part as a hole: \"kod {code}\"",
            );
            continue;
        };
        let holes = judge.value(Some(text), Vec::new(), words::pattern);
        if let Some(twin) = templates.iter().find(|twin| &twin.text == text.get_ref()) {
            judge.warn(text.span(), "another template has this text", format!("`{}` above always matches first", twin.name));
        }
        for form in raw.texts.values() {
            filled(judge, form, &holes);
        }
        owners(judge, file, raw);
        templates.push(TextTemplate {
            name: name.get_ref().clone(),
            text: text.get_ref().clone(),
            texts: plain(&raw.texts),
            ids: plain(&raw.ids),
        });
    }
    templates
}

fn plain(named: &Named<Word>) -> BTreeMap<String, String> {
    named.iter().map(|(name, word)| (name.get_ref().clone(), word.get_ref().clone())).collect()
}

/// Whether the holes of one form can be filled, and whether it says all that the text says.
fn filled(judge: &mut Judge<'_>, form: &Word, holes: &[String]) {
    let used = match words::holes(form.get_ref()) {
        Ok(used) => used,
        Err((what, help)) => return judge.error(form.span(), what, help),
    };
    if let Some(unknown) = used.iter().find(|hole| !holes.iter().any(|known| known == *hole)) {
        let help = "use only holes of `text`: the backend's message is all there is to fill them from";
        judge.error(form.span(), format!("nothing fills the hole `{{{unknown}}}`"), help);
    }
    if let Some(lost) = holes.iter().find(|hole| !used.contains(&hole.as_str())) {
        judge.warn(form.span(), format!("this form loses `{{{lost}}}`"), "a person who gets it does not see what the backend wrote there");
    }
}

/// Every key of `texts` and `ids` names a provider or a dialect.
fn owners(judge: &mut Judge<'_>, file: &File, raw: &raw::Template) {
    let catalog = judge.catalog;
    let mut names: Vec<&str> = file.providers.keys().map(|name| name.get_ref().as_str()).collect();
    names.extend(catalog.iter().map(|dialect| dialect.name.as_str()));
    names.sort_unstable();
    names.dedup();
    for key in raw.texts.keys().chain(raw.ids.keys()) {
        judge.known_name(key, &names, "provider or dialect");
    }
}

/// A provider that sends approved texts only needs one.
pub(super) fn fit(judge: &mut Judge<'_>, file: &File, providers: &[Provider], templates: &[TextTemplate]) {
    for provider in providers.iter().filter(|provider| provider.templates_only) {
        let names = [provider.id.as_str(), provider.dialect.name.as_str()];
        let has = |forms: &BTreeMap<String, String>| names.iter().any(|name| forms.contains_key(*name));
        if templates.iter().any(|template| has(&template.texts) || has(&template.ids)) {
            continue;
        }
        if let Some((name, _)) = file.providers.get_key_value(provider.id.as_str()) {
            let help = format!("add `[templates.NAME]` with `texts = {{ {} = \"…\" }}`", provider.id);
            judge.warn(name.span(), "this provider sends approved texts only, and there is none for it", help);
        }
    }
}

/// A form that is longer than its service takes, even with short words in its holes.
pub(super) fn length(judge: &mut Judge<'_>, file: &File, providers: &[Provider]) {
    for (owner, form) in file.templates.values().flat_map(|template| &template.texts) {
        let speaks = |provider: &&Provider| [provider.id.as_str(), provider.dialect.name.as_str()].contains(&owner.get_ref().as_str());
        let Some(limit) = providers.iter().find(speaks).and_then(|provider| provider.dialect.text_limit()) else { continue };
        let Ok(holes) = words::holes(form.get_ref()) else { continue };
        let named: usize = holes.iter().map(|hole| hole.len() + 2).sum();
        let least = form.get_ref().chars().count() - named + holes.len();
        if least > limit {
            let what = format!("this text has {least} characters or more, and the service takes {limit}");
            judge.warn(form.span(), what, "shorten it and have it approved again: the provider is skipped as it is");
        }
    }
}
