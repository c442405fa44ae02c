//! Approved texts. Some services reject every text that they have not approved for the account, so
//! failover needs a text per provider: the text as the backend writes it, with `{holes}`, and its
//! approved form at each provider. The whole text must match: a partial match would send a text
//! that nobody approved.

use std::collections::BTreeMap;

use regex::Regex;

use crate::sms::{ApprovedTemplate, Message, MessageText};

/// One text with its approved forms, as the config defines it.
#[derive(Clone, Debug)]
pub struct TextTemplate {
    /// The template's name.
    pub name: String,
    /// As the backend writes it, with `{holes}`.
    pub text: String,
    /// The approved text, by provider or dialect.
    pub texts: BTreeMap<String, String>,
    /// The id that replaces the text, by provider or dialect.
    pub ids: BTreeMap<String, String>,
}

/// Why a template is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner, or a hole without a valid name.
    #[error(
        "template {template}: {place} has a brace that is no {{hole}}; a hole is a name of letters, digits and _ in braces"
    )]
    UnmatchedBrace {
        /// The template's name.
        template: Box<str>,
        /// `text`, or the provider or dialect of the approved text.
        place: Box<str>,
    },
    /// Two holes with nothing between them: a match could split anywhere.
    #[error(
        "template {template}: {{{first}}} and {{{second}}} touch, so nobody can tell where one ends; put something between them"
    )]
    AdjacentHoles {
        /// The template's name.
        template: Box<str>,
        /// The left one.
        first: Box<str>,
        /// The right one.
        second: Box<str>,
    },
    /// An approved text has a hole that the backend's text does not have.
    #[error("template {template}: the text for {place} has {{{hole}}}, which `text` does not have")]
    UnknownHole {
        /// The template's name.
        template: Box<str>,
        /// The provider or dialect of the approved text.
        place: Box<str>,
        /// The hole.
        hole: Box<str>,
    },
    /// The text has no words.
    #[error(
        "template {template}: `text` is nothing but holes and would match every message; write the words as the backend sends them"
    )]
    OnlyHoles {
        /// The template's name.
        template: Box<str>,
    },
    /// The text is too long to compile.
    #[error("template {template}: `text` is too long to be matched")]
    TooLong {
        /// The template's name.
        template: Box<str>,
    },
}

/// All templates, compiled.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    templates: Vec<CompiledTemplate>,
}

#[derive(Clone, Debug)]
struct CompiledTemplate {
    name: String,
    holes: Vec<String>,
    regex: Regex,
    texts: BTreeMap<String, Vec<TextTemplatePart>>,
    ids: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TextTemplatePart {
    Literal(String),
    Hole(String),
}

/// A message's text, recognised as one of the templates.
#[derive(Clone)]
pub struct TemplateMatch<'a> {
    template: &'a CompiledTemplate,
    fields: Vec<(String, String)>,
}

impl std::fmt::Debug for TemplateMatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "TemplateMatch({}, {} fields)",
            self.template.name,
            self.fields.len()
        )
    }
}

impl Templates {
    /// Compiles the templates; returns every error.
    pub fn new(templates: &[TextTemplate]) -> Result<Self, Vec<TemplateError>> {
        let mut all = Vec::new();
        let mut errors = Vec::new();
        for template in templates {
            match compile(template) {
                Ok(compiled) => all.push(compiled),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() {
            Ok(Self { templates: all })
        } else {
            Err(errors)
        }
    }

    /// The first template that matches the whole text.
    pub fn match_text(&self, text: &MessageText) -> Option<TemplateMatch<'_>> {
        self.templates
            .iter()
            .find_map(|template| template.match_text(text.expose()))
    }
}

impl CompiledTemplate {
    /// A hole that occurs twice must have the same value both times.
    fn match_text(&self, text: &str) -> Option<TemplateMatch<'_>> {
        let found = self.regex.captures(text)?;
        let filled: Vec<_> = self
            .holes
            .iter()
            .zip(found.iter().skip(1).flatten())
            .map(|(hole, value)| (hole, value.as_str()))
            .collect();
        let first = |hole: &String| {
            filled
                .iter()
                .find(|(name, _)| *name == hole)
                .map(|(_, value)| *value)
        };
        let is_consistent = filled
            .iter()
            .all(|(hole, value)| first(hole) == Some(*value));
        let mut fields: Vec<(String, String)> = Vec::new();
        for (hole, value) in &filled {
            if !fields.iter().any(|(name, _)| name == *hole) {
                fields.push(((*hole).clone(), (*value).to_owned()));
            }
        }
        is_consistent.then_some(TemplateMatch {
            template: self,
            fields,
        })
    }
}

impl TemplateMatch<'_> {
    /// The template's name.
    pub fn name(&self) -> &str {
        &self.template.name
    }

    /// The message with the provider's approved text, else its dialect's, else the backend's.
    #[must_use]
    pub fn message_for(&self, message: &Message, provider: &str, dialect: &str) -> Message {
        let texts = &self.template.texts;
        let ids = &self.template.ids;
        let text = texts.get(provider).or_else(|| texts.get(dialect));
        let id = ids.get(provider).or_else(|| ids.get(dialect)).cloned();
        Message {
            text: text.map_or_else(|| message.text.clone(), |parts| self.render(parts)),
            template: Some(ApprovedTemplate {
                name: self.template.name.clone(),
                id,
                fields: self.fields.clone(),
            }),
            ..message.clone()
        }
    }

    fn render(&self, parts: &[TextTemplatePart]) -> MessageText {
        let filled = |name: &String| {
            self.fields
                .iter()
                .find(|(hole, _)| hole == name)
                .map_or("", |(_, value)| value.as_str())
        };
        let pieces = parts.iter().map(|part| match part {
            TextTemplatePart::Literal(text) => text.as_str(),
            TextTemplatePart::Hole(name) => filled(name),
        });
        MessageText::new(pieces.collect::<String>())
    }
}

fn compile(template: &TextTemplate) -> Result<CompiledTemplate, Vec<TemplateError>> {
    let name = &template.name;
    let parts = parse_parts(name, "text", &template.text).map_err(|error| vec![error])?;
    let holes: Vec<String> = parts
        .iter()
        .filter_map(TextTemplatePart::as_hole)
        .map(str::to_owned)
        .collect();
    let mut errors: Vec<_> = adjacent_holes(name, &parts).into_iter().collect();
    if !parts
        .iter()
        .any(|part| matches!(part, TextTemplatePart::Literal(words) if !words.trim().is_empty()))
    {
        errors.push(TemplateError::OnlyHoles {
            template: name.as_str().into(),
        });
    }
    let mut texts = BTreeMap::new();
    for (place, text) in &template.texts {
        match compile_approved_text(name, place, text, &holes) {
            Ok(parts) => drop(texts.insert(place.clone(), parts)),
            Err(error) => errors.push(error),
        }
    }
    match Regex::new(&build_pattern(&parts)) {
        Ok(whole) if errors.is_empty() => Ok(CompiledTemplate {
            name: name.clone(),
            holes,
            regex: whole,
            texts,
            ids: template.ids.clone(),
        }),
        Ok(_) => Err(errors),
        Err(_) => {
            errors.push(TemplateError::TooLong {
                template: name.as_str().into(),
            });
            Err(errors)
        }
    }
}

/// Compiles the approved text of one provider or dialect.
fn compile_approved_text(
    template: &str,
    place: &str,
    text: &str,
    holes: &[String],
) -> Result<Vec<TextTemplatePart>, TemplateError> {
    let parts = parse_parts(template, place, text)?;
    match parts
        .iter()
        .filter_map(TextTemplatePart::as_hole)
        .find(|hole| !holes.iter().any(|known| known == hole))
    {
        None => Ok(parts),
        Some(hole) => Err(TemplateError::UnknownHole {
            template: template.into(),
            place: place.into(),
            hole: hole.into(),
        }),
    }
}

/// A hole matches at least one character and no line break.
fn build_pattern(parts: &[TextTemplatePart]) -> String {
    let piece = |part: &TextTemplatePart| match part {
        TextTemplatePart::Literal(words) => regex::escape(words),
        TextTemplatePart::Hole(_) => "(.+?)".to_owned(),
    };
    format!("^{}$", parts.iter().map(piece).collect::<String>())
}

fn adjacent_holes(template: &str, parts: &[TextTemplatePart]) -> Option<TemplateError> {
    let mut pairs = parts.iter().zip(parts.iter().skip(1));
    pairs
        .find_map(|(left, right)| left.as_hole().zip(right.as_hole()))
        .map(|(first, second)| TemplateError::AdjacentHoles {
            template: template.into(),
            first: first.into(),
            second: second.into(),
        })
}

fn parse_parts(
    template: &str,
    place: &str,
    text: &str,
) -> Result<Vec<TextTemplatePart>, TemplateError> {
    let brace = || TemplateError::UnmatchedBrace {
        template: template.into(),
        place: place.into(),
    };
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((words, after)) = rest.split_once('{') {
        let (hole, next) = after.split_once('}').ok_or_else(brace)?;
        let proper = !hole.is_empty()
            && hole
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if words.contains('}') || !proper {
            return Err(brace());
        }
        if !words.is_empty() {
            parts.push(TextTemplatePart::Literal(words.to_owned()));
        }
        parts.push(TextTemplatePart::Hole(hole.to_owned()));
        rest = next;
    }
    if rest.contains('}') {
        return Err(brace());
    }
    if !rest.is_empty() {
        parts.push(TextTemplatePart::Literal(rest.to_owned()));
    }
    Ok(parts)
}

impl TextTemplatePart {
    fn as_hole(&self) -> Option<&str> {
        match self {
            Self::Hole(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
