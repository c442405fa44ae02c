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

/// Why a template cannot be used, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {template}, {}: {fault}", self.location())]
pub struct TemplateError {
    /// The template's name.
    pub template: Box<str>,
    /// The provider or dialect whose approved text is wrong; none: `text` itself.
    pub owner: Option<Box<str>>,
    /// What is wrong there.
    pub fault: TemplateFault,
}

impl TemplateError {
    fn location(&self) -> String {
        self.owner.as_ref().map_or_else(
            || "`text`".to_owned(),
            |owner| format!("the text for {owner}"),
        )
    }
}

/// What is wrong with one text of a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// A brace without its partner, or a hole without a proper name.
    #[error("a brace in this text does not belong to a hole")]
    UnmatchedBrace,
    /// Where one hole ends and the next begins cannot be decided.
    #[error("no text between the holes `{{{left}}}` and `{{{right}}}`")]
    AdjacentHoles {
        /// The left one.
        left: Box<str>,
        /// The right one.
        right: Box<str>,
    },
    /// An approved text uses a hole that the backend's text does not have.
    #[error("nothing fills the hole `{{{hole}}}`")]
    UnknownHole {
        /// The hole.
        hole: Box<str>,
    },
    /// Without fixed words the text would match every message.
    #[error("this text consists of holes only and would match every message")]
    OnlyHoles,
    /// Longer than can be compiled.
    #[error("this text is too long to be matched")]
    TooLong,
}

impl TemplateFault {
    /// What to write instead.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::UnmatchedBrace => "a hole is `{name}`, its name of letters, digits and `_`",
            Self::AdjacentHoles { .. } => "put some text between them, so that each ends somewhere",
            Self::UnknownHole { .. } => {
                "use only holes of `text`: they are filled from the backend's message"
            }
            Self::OnlyHoles => "write the words as the backend sends them",
            Self::TooLong => "shorten it",
        }
    }
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
    texts: BTreeMap<String, ParsedTemplate>,
    ids: BTreeMap<String, String>,
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
    fn render(&self, text: &ParsedTemplate) -> MessageText {
        let value = |name: &str| {
            self.fields
                .iter()
                .find(|(hole, _)| hole == name)
                .map_or("", |(_, value)| value.as_str())
        };
        MessageText::new(text.fill(value))
    }

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
            text: text.map_or_else(|| message.text.clone(), |parsed| self.render(parsed)),
            template: Some(ApprovedTemplate {
                name: self.template.name.clone(),
                id,
                fields: self.fields.clone(),
            }),
            ..message.clone()
        }
    }
}

fn compile(template: &TextTemplate) -> Result<CompiledTemplate, Vec<TemplateError>> {
    let error = |owner: Option<&str>, fault| TemplateError {
        template: template.name.as_str().into(),
        owner: owner.map(Into::into),
        fault,
    };
    let text = ParsedTemplate::parse(&template.text).map_err(|fault| vec![error(None, fault)])?;
    let mut errors: Vec<_> = text
        .matching_faults()
        .into_iter()
        .map(|fault| error(None, fault))
        .collect();
    let mut texts = BTreeMap::new();
    for (owner, approved) in &template.texts {
        match approved_text(approved, &text) {
            Ok(parsed) => drop(texts.insert(owner.clone(), parsed)),
            Err(fault) => errors.push(error(Some(owner), fault)),
        }
    }
    let Ok(regex) = Regex::new(&text.pattern()) else {
        errors.push(error(None, TemplateFault::TooLong));
        return Err(errors);
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(CompiledTemplate {
        name: template.name.clone(),
        holes: text.holes().map(str::to_owned).collect(),
        regex,
        texts,
        ids: template.ids.clone(),
    })
}

/// One provider's approved text; it is filled from what the backend's text matched.
fn approved_text(approved: &str, text: &ParsedTemplate) -> Result<ParsedTemplate, TemplateFault> {
    let parsed = ParsedTemplate::parse(approved)?;
    let unknown = parsed
        .holes()
        .find(|hole| !text.holes().any(|known| known == *hole));
    match unknown {
        None => Ok(parsed),
        Some(hole) => Err(TemplateFault::UnknownHole { hole: hole.into() }),
    }
}

/// The text of a template: words and `{holes}`. The only reader of this grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedTemplate {
    parts: Vec<TextTemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TextTemplatePart {
    Literal(String),
    Hole(String),
}

impl ParsedTemplate {
    /// Reads a text. Fails only with [`TemplateFault::UnmatchedBrace`].
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((words, after)) = rest.split_once('{') {
            let (hole, next) = after.split_once('}').ok_or(TemplateFault::UnmatchedBrace)?;
            if words.contains('}') || !is_hole_name(hole) {
                return Err(TemplateFault::UnmatchedBrace);
            }
            if !words.is_empty() {
                parts.push(TextTemplatePart::Literal(words.to_owned()));
            }
            parts.push(TextTemplatePart::Hole(hole.to_owned()));
            rest = next;
        }
        if rest.contains('}') {
            return Err(TemplateFault::UnmatchedBrace);
        }
        if !rest.is_empty() {
            parts.push(TextTemplatePart::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The names of its holes, in the text's order, repeated as they are there.
    pub fn holes(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(TextTemplatePart::as_hole)
    }

    /// The number of characters outside its holes.
    pub fn literal_len(&self) -> usize {
        self.literals().map(|words| words.chars().count()).sum()
    }

    /// The text with each hole replaced by its value.
    pub fn fill<'a>(&'a self, value: impl Fn(&'a str) -> &'a str) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                TextTemplatePart::Literal(words) => words.as_str(),
                TextTemplatePart::Hole(name) => value(name),
            })
            .collect()
    }

    /// What keeps it from recognising the backend's messages.
    fn matching_faults(&self) -> Vec<TemplateFault> {
        let mut pairs = self.parts.iter().zip(self.parts.iter().skip(1));
        let adjacent = pairs.find_map(|(left, right)| left.as_hole().zip(right.as_hole()));
        let mut faults = Vec::new();
        if let Some((left, right)) = adjacent {
            faults.push(TemplateFault::AdjacentHoles {
                left: left.into(),
                right: right.into(),
            });
        }
        if self.literals().all(|words| words.trim().is_empty()) {
            faults.push(TemplateFault::OnlyHoles);
        }
        faults
    }

    /// The regex of the whole text. A hole is filled by at least one character and never by a line's end.
    fn pattern(&self) -> String {
        let piece = |part: &TextTemplatePart| match part {
            TextTemplatePart::Literal(words) => regex::escape(words),
            TextTemplatePart::Hole(_) => "(.+?)".to_owned(),
        };
        format!("^{}$", self.parts.iter().map(piece).collect::<String>())
    }

    fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TextTemplatePart::Literal(words) => Some(words.as_str()),
            TextTemplatePart::Hole(_) => None,
        })
    }
}

fn is_hole_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
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
