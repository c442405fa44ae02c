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
        let stripped = scope.id.map(|id| self.own_id(id));
        let scope = Scope { id: stripped, ..*scope };
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => out.push_str(&text_of(&hole.value(&scope)?)),
            }
        }
        Some(out)
    }

    /// An id that already has the text around the hole (`SM…`) goes in without it.
    fn own_id<'a>(&self, id: &'a str) -> &'a str {
        match self.parts.as_slice() {
            [Part::Text(head), Part::Hole(hole), ..] if hole.source == Source::Id => {
                let tail = match self.parts.get(2) {
                    Some(Part::Text(tail)) => tail.as_str(),
                    Some(Part::Hole(_)) | None => "",
                };
                id.strip_prefix(head.as_str()).and_then(|id| id.strip_suffix(tail)).unwrap_or(id)
            }
            _ => id,
        }
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
    /// The source through the filters.
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Option<Value> {
        let value = scope.source(&self.source)?;
        self.filters.iter().try_fold(value, |value, filter| filter.apply(value))
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

fn parse_hole(inside: &str, at: usize) -> Result<Hole, Fault> {
    let mut words = inside.split('|');
    let word = words.next().unwrap_or_default();
    let Some(source) = Source::parse(word.trim()) else {
        let what = format!("`{}` is no source", word.trim());
        return Err(Fault { at, what, help: Some(format!("sources are: {SOURCES}")) });
    };
    let mut filters = Vec::new();
    let mut from = at + word.len() + 1;
    for word in words {
        filters.push(Filter::parse(word.trim()).map_err(|what| Fault {
            at: from,
            what,
            help: Some(format!("filters are: {}", Filter::NAMES)),
        })?);
        from += word.len() + 1;
    }
    Ok(Hole { source, filters })
}
