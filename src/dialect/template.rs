//! Strings with holes, `"{source | filter | filter}"`, parsed once at load. One grammar
//! serves paths, headers, fields, replies and object keys. A hole without a value takes
//! its whole string away; a hole that stands alone keeps its type.

use serde_json::Value;

use crate::dialect::filter::Filter;
use crate::dialect::scope::Scope;

/// What a hole is filled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    To,
    Text,
    Sender,
    Reference,
    Validity,
    Callback,
    Alphabet,
    Segments,
    TemplateId,
    TemplateValues,
    TemplateFields,
    Credential(String),
    Param(String),
    Token(String),
    Digest(String),
    Now,
    Id,
    Code,
    Status,
    Reason,
    Placeholder,
    Asked(String),
    Matched(String),
    Path(String),
}

/// Every source, for the help line of an error.
const SOURCES: &str = "to text sender reference validity callback alphabet segments template.id template.values template.fields \
    credential.X param.X token.X digest.X now id code status reason placeholder asked.PLACE matched.NAME";

impl Source {
    fn parse(word: &str) -> Option<Self> {
        let source = match word {
            "to" => Self::To,
            "text" => Self::Text,
            "sender" => Self::Sender,
            "reference" => Self::Reference,
            "validity" => Self::Validity,
            "callback" => Self::Callback,
            "alphabet" => Self::Alphabet,
            "segments" => Self::Segments,
            "template.id" => Self::TemplateId,
            "template.values" => Self::TemplateValues,
            "template.fields" => Self::TemplateFields,
            "now" => Self::Now,
            "id" => Self::Id,
            "code" => Self::Code,
            "status" => Self::Status,
            "reason" => Self::Reason,
            "placeholder" => Self::Placeholder,
            _ => return Self::parse_named(word),
        };
        Some(source)
    }

    fn parse_named(word: &str) -> Option<Self> {
        let (kind, name) = word.split_once('.').filter(|(_, name)| !name.is_empty())?;
        let name = name.to_owned();
        match kind {
            "credential" => Some(Self::Credential(name)),
            "param" => Some(Self::Param(name)),
            "token" => Some(Self::Token(name)),
            "digest" => Some(Self::Digest(name)),
            "asked" => Some(Self::Asked(name)),
            "matched" => Some(Self::Matched(name)),
            _ => None,
        }
    }

    /// The kind and name of one that has a name: `credential`, `password`.
    pub(crate) fn named(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Credential(name) => Some(("credential", name)),
            Self::Param(name) => Some(("param", name)),
            Self::Token(name) => Some(("token", name)),
            Self::Digest(name) => Some(("digest", name)),
            Self::Asked(name) => Some(("asked", name)),
            Self::Matched(name) => Some(("matched", name)),
            Self::Path(name) => Some(("path", name)),
            Self::To
            | Self::Text
            | Self::Sender
            | Self::Reference
            | Self::Validity
            | Self::Callback
            | Self::Alphabet
            | Self::Segments
            | Self::TemplateId
            | Self::TemplateValues
            | Self::TemplateFields
            | Self::Now
            | Self::Id
            | Self::Code
            | Self::Status
            | Self::Reason
            | Self::Placeholder => None,
        }
    }

    /// Whether it belongs to the account: never carried from the backend's request.
    pub(crate) fn is_account(&self) -> bool {
        matches!(self, Self::Credential(_) | Self::Param(_) | Self::Token(_) | Self::Digest(_) | Self::Now)
    }

    /// Whether it holds a secret or what a secret made.
    pub(crate) fn is_credential(&self) -> bool {
        matches!(self, Self::Credential(_) | Self::Token(_) | Self::Digest(_))
    }
}

/// One hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) source: Source,
    pub(crate) filters: Vec<Filter>,
}

/// Text or hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Hole(Hole),
}

/// A string, compiled.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

/// What is wrong with a template or place, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: String,
    pub(crate) help: Option<String>,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        Self::parse_with(text, &|hole, at| parse_hole(hole, at))
    }

    /// In a path a hole may have any name: it stands for what the backend wrote there.
    pub(crate) fn parse_path(text: &str) -> Result<Self, Fault> {
        Self::parse_with(text, &|hole, at| {
            let own = hole.split(['.', '|']).next().is_some_and(|word| matches!(word.trim(), "credential" | "param" | "token"));
            if own { parse_hole(hole, at) } else { Ok(Hole { source: Source::Path(hole.trim().to_owned()), filters: Vec::new() }) }
        })
    }

    fn parse_with(text: &str, hole: &impl Fn(&str, usize) -> Result<Hole, Fault>) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let (mut rest, mut at) = (text, 0);
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let open = at + before.len();
            let Some((inside, tail)) = after.split_once('}') else {
                return Err(Fault {
                    at: open,
                    what: "a hole is opened with `{` and not closed".into(),
                    help: Some("close it with `}`".into()),
                });
            };
            parts.push(Part::Hole(hole(inside, open + 1)?));
            at = open + inside.len() + 2;
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The whole string, if it has no hole.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The hole, if nothing stands beside it.
    pub(crate) fn lone(&self) -> Option<&Hole> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    pub(crate) fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// Filled; none where a hole has no value.
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Option<Value> {
        if let Some(hole) = self.lone() {
            return hole.value(scope);
        }
        self.text(scope).map(Value::String)
    }

    /// Filled, as text.
    pub(crate) fn text(&self, scope: &Scope<'_>) -> Option<String> {
        let mut out = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => {
                    let id = scope.id.filter(|_| hole.source == Source::Id).map(|id| own_id(id, &out, self.parts.get(at + 1)));
                    out.push_str(&text_of(&hole.value(&Scope { id: id.or(scope.id), ..*scope })?));
                }
            }
        }
        Some(out)
    }

    /// What the holes held in `text`; none if the text around them is not there.
    pub(crate) fn matches<'t>(&self, text: &'t str) -> Option<Vec<(&Hole, &'t str)>> {
        let (mut rest, mut found) = (text, Vec::new());
        let mut open: Option<&Hole> = None;
        for part in &self.parts {
            match (part, open.take()) {
                (Part::Text(literal), None) => rest = rest.strip_prefix(literal.as_str())?,
                (Part::Text(literal), Some(hole)) => {
                    let (held, tail) = rest.split_once(literal.as_str())?;
                    found.push((hole, held));
                    rest = tail;
                }
                (Part::Hole(hole), None) => open = Some(hole),
                (Part::Hole(_), Some(_)) => return None,
            }
        }
        match open {
            Some(hole) => found.push((hole, rest)),
            None if rest.is_empty() => {}
            None => return None,
        }
        Some(found)
    }
}

impl Hole {
    /// What it writes does not depend on the source, only whether it writes.
    pub(crate) fn is_constant(&self) -> bool {
        self.filters.iter().any(|filter| matches!(filter, Filter::Const(_)))
    }

    /// The source through the filters.
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Option<Value> {
        let value = scope.source(&self.source)?;
        self.filters.iter().try_fold(value, |value, filter| filter.apply(value))
    }
}

/// An id that already has the letters around the hole (`SM…`) goes in without them.
fn own_id<'a>(id: &'a str, before: &str, after: Option<&Part>) -> &'a str {
    let letters = before.rsplit(|c: char| !c.is_ascii_alphabetic() && c != '_').next().unwrap_or_default();
    let id = id.strip_prefix(letters).unwrap_or(id);
    match after {
        Some(Part::Text(tail)) => id.strip_suffix(tail.as_str()).unwrap_or(id),
        Some(Part::Hole(_)) | None => id,
    }
}

/// A value as it stands inside other text.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn blanks(word: &str) -> usize {
    word.len() - word.trim_start().len()
}

fn parse_hole(inside: &str, at: usize) -> Result<Hole, Fault> {
    let mut words = inside.split('|');
    let word = words.next().unwrap_or_default();
    let Some(source) = Source::parse(word.trim()) else {
        let what = format!("`{}` is no source", word.trim());
        return Err(Fault { at: at + blanks(word), what, help: Some(format!("sources are: {SOURCES}")) });
    };
    let mut filters = Vec::new();
    let mut from = at + word.len() + 1;
    for word in words {
        filters.push(Filter::parse(word.trim()).map_err(|what| Fault {
            at: from + blanks(word),
            what,
            help: Some(format!("filters are: {}", Filter::NAMES)),
        })?);
        from += word.len() + 1;
    }
    Ok(Hole { source, filters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_service_keeps_its_form_and_one_of_ours_takes_it() {
        let text = |template: &str, id: &str| Template::parse(template).unwrap().text(&Scope { id: Some(id), ..Scope::default() }).unwrap();
        let theirs = "SM0123456789abcdef0123456789abcdef";
        assert_eq!(text("SM{id | hex 32}", theirs), theirs);
        assert_eq!(text("/Messages/SM{id | hex 32}.json", theirs), format!("/Messages/{theirs}.json"));
        let ours = text("SM{id | hex 32}", "ours");
        assert_eq!(text("SM{id | hex 32}", &ours), ours);
        assert_eq!(text("{id | number}-1", "7-1"), "7-1");
    }

    #[test]
    fn a_hole_keeps_its_type_alone_and_takes_its_string_away_when_empty() {
        let scope = Scope { status: Some(503), ..Scope::default() };
        let value = |template: &str| Template::parse(template).unwrap().value(&scope);
        assert_eq!(value("{status}"), Some(503.into()));
        assert_eq!(value("s {status}"), Some("s 503".into()));
        assert_eq!(value("{reason}"), None);
        assert_eq!(value("s {reason}"), None);
    }

    #[test]
    fn faults_are_said_with_their_place() {
        for (text, at) in [("ab{to", 2), ("{too}", 1), ("x{to | digit}", 7), ("{credential.}", 1)] {
            assert_eq!(Template::parse(text).unwrap_err().at, at, "{text}");
        }
    }
}
