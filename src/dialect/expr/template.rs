//! Strings with holes, `"{source | filter | filter}"`, parsed at load. One grammar serves paths,
//! headers, fields, replies and object keys. A hole without a value removes its whole string; a
//! hole that is the whole string keeps its type.

use serde_json::Value;

use crate::dialect::expr::filter::Filter;
use crate::dialect::expr::scope::Scope;
use crate::problem::renamed_to;

/// The source of a hole's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueSource {
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
    Queried(String),
    Matched(String),
    PathParam(String),
}

/// Every source, for the help line of an error.
const SOURCES: &str = "to text sender reference validity callback alphabet segments template.id template.values template.fields \
    credential.NAME param.NAME token.NAME digest.NAME now id code status reason placeholder queried.PATH matched.NAME";

/// The sources without a name of their own.
const PLAIN_SOURCES: [(&str, ValueSource); 17] = [
    ("to", ValueSource::To),
    ("text", ValueSource::Text),
    ("sender", ValueSource::Sender),
    ("reference", ValueSource::Reference),
    ("validity", ValueSource::Validity),
    ("callback", ValueSource::Callback),
    ("alphabet", ValueSource::Alphabet),
    ("segments", ValueSource::Segments),
    ("template.id", ValueSource::TemplateId),
    ("template.values", ValueSource::TemplateValues),
    ("template.fields", ValueSource::TemplateFields),
    ("now", ValueSource::Now),
    ("id", ValueSource::Id),
    ("code", ValueSource::Code),
    ("status", ValueSource::Status),
    ("reason", ValueSource::Reason),
    ("placeholder", ValueSource::Placeholder),
];

impl ValueSource {
    fn parse(word: &str) -> Option<Self> {
        PLAIN_SOURCES
            .iter()
            .find(|(own, _)| *own == word)
            .map(|(_, source)| source.clone())
            .or_else(|| Self::parse_named(word))
    }

    fn parse_named(word: &str) -> Option<Self> {
        let (kind, name) = word.split_once('.').filter(|(_, name)| !name.is_empty())?;
        let name = name.to_owned();
        match kind {
            "credential" => Some(Self::Credential(name)),
            "param" => Some(Self::Param(name)),
            "token" => Some(Self::Token(name)),
            "digest" => Some(Self::Digest(name)),
            "queried" => Some(Self::Queried(name)),
            "matched" => Some(Self::Matched(name)),
            _ => None,
        }
    }

    /// The kind and name of a named source: `credential`, `password`.
    pub(crate) fn kind_and_name(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Credential(name) => Some(("credential", name)),
            Self::Param(name) => Some(("param", name)),
            Self::Token(name) => Some(("token", name)),
            Self::Digest(name) => Some(("digest", name)),
            Self::Queried(name) => Some(("queried", name)),
            Self::Matched(name) => Some(("matched", name)),
            Self::PathParam(name) => Some(("path", name)),
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

    /// As written in a hole: `to`, `param.region`.
    pub(crate) fn word(&self) -> String {
        match (self, self.kind_and_name()) {
            (Self::PathParam(name), _) => name.clone(),
            (_, Some((kind, name))) => format!("{kind}.{name}"),
            (_, None) => self.plain_word().to_owned(),
        }
    }

    /// The same without the name of its own: `to`, `param.NAME`.
    pub(crate) fn generic_name(&self) -> String {
        match self.kind_and_name() {
            Some(("queried", _)) => "queried.PATH".to_owned(),
            Some((kind, _)) => format!("{kind}.NAME"),
            None => self.plain_word().to_owned(),
        }
    }

    /// The word of a source without a name.
    fn plain_word(&self) -> &'static str {
        PLAIN_SOURCES
            .iter()
            .find(|(_, source)| source == self)
            .map_or("", |(word, _)| word)
    }

    /// Whether it belongs to the account: never taken from the backend's request.
    pub(crate) fn belongs_to_account(&self) -> bool {
        matches!(
            self,
            Self::Credential(_) | Self::Param(_) | Self::Token(_) | Self::Digest(_) | Self::Now
        )
    }

    /// Whether it is a secret or computed from one.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Credential(_) | Self::Token(_) | Self::Digest(_))
    }
}

/// A hole: source and filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expr {
    pub(crate) source: ValueSource,
    pub(crate) filters: Vec<Filter>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplatePart {
    Text(String),
    Expr(Expr),
}

/// A compiled string.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct StringTemplate {
    pub(crate) parts: Vec<TemplatePart>,
}

/// An error in a template or path, and its byte offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl StringTemplate {
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_with(text, &|hole, at| parse_expr(hole, at))
    }

    /// Parses a segment of an endpoint: a hole may have any name, and holds what the backend wrote there.
    pub(crate) fn parse_path(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_with(text, &|hole, at| {
            let own = hole
                .split(['.', '|'])
                .next()
                .is_some_and(|word| matches!(word.trim(), "credential" | "param" | "token"));
            if own {
                parse_expr(hole, at)
            } else {
                Ok(Expr {
                    source: ValueSource::PathParam(hole.trim().to_owned()),
                    filters: Vec::new(),
                })
            }
        })
    }

    fn parse_with(
        text: &str,
        hole: &impl Fn(&str, usize) -> Result<Expr, SyntaxError>,
    ) -> Result<Self, SyntaxError> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut at = 0;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(TemplatePart::Text(before.to_owned()));
            }
            let open = at + before.len();
            let Some((inside, tail)) = after.split_once('}') else {
                return Err(SyntaxError {
                    offset: open,
                    message: "hole not closed".into(),
                    help: Some("close it with `}`".into()),
                });
            };
            parts.push(TemplatePart::Expr(hole(inside, open + 1)?));
            at = open + inside.len() + 2;
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The whole string, if it has no hole.
    pub(crate) fn as_constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [TemplatePart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The hole, if it is the whole string.
    pub(crate) fn as_single_expr(&self) -> Option<&Expr> {
        match self.parts.as_slice() {
            [TemplatePart::Expr(hole)] => Some(hole),
            _ => None,
        }
    }

    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Expr(hole) => Some(hole),
            TemplatePart::Text(_) => None,
        })
    }

    /// The value; none if a hole has none.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Option<Value> {
        if let Some(hole) = self.as_single_expr() {
            return hole.evaluate(scope);
        }
        self.render(scope).map(Value::String)
    }

    /// The value as text.
    pub(crate) fn render(&self, scope: &Scope<'_>) -> Option<String> {
        let mut out = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                TemplatePart::Text(text) => out.push_str(text),
                TemplatePart::Expr(hole) => {
                    let id = scope
                        .id
                        .filter(|_| hole.source == ValueSource::Id)
                        .map(|id| strip_affixes(id, &out, self.parts.get(at + 1)));
                    let value = hole.evaluate(&Scope {
                        id: id.or(scope.id),
                        ..*scope
                    })?;
                    out.push_str(&into_text(value));
                }
            }
        }
        Some(out)
    }

    /// The values of the holes in `text`; none if the text around them does not match.
    pub(crate) fn captures<'t>(&self, text: &'t str) -> Option<Vec<(&Expr, &'t str)>> {
        let mut rest = text;
        let mut found = Vec::new();
        let mut open: Option<&Expr> = None;
        for part in &self.parts {
            match (part, open.take()) {
                (TemplatePart::Text(literal), None) => {
                    rest = rest.strip_prefix(literal.as_str())?;
                }
                (TemplatePart::Text(literal), Some(hole)) => {
                    let (held, tail) = rest.split_once(literal.as_str())?;
                    found.push((hole, held));
                    rest = tail;
                }
                (TemplatePart::Expr(hole), None) => open = Some(hole),
                (TemplatePart::Expr(_), Some(_)) => return None,
            }
        }
        match open {
            Some(hole) => found.push((hole, rest)),
            None if rest.is_empty() => {}
            None => return None,
        }
        Some(found)
    }

    /// Whether the template is this text in any case, without holes.
    pub(crate) fn is_literal_of(&self, text: &str) -> bool {
        match self.parts.as_slice() {
            [TemplatePart::Text(literal)] => literal.eq_ignore_ascii_case(text),
            _ => false,
        }
    }
}

impl Expr {
    /// Whether the value does not depend on the source, only its presence does.
    pub(crate) fn is_constant(&self) -> bool {
        self.filters
            .iter()
            .any(|filter| matches!(filter, Filter::Const(_)))
    }

    /// The source's value after the filters.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Option<Value> {
        let value = scope.resolve(&self.source)?;
        self.filters
            .iter()
            .try_fold(value, |value, filter| filter.apply(value))
    }
}

/// The id without the letters that the template has around its hole (`SM…`).
fn strip_affixes<'a>(id: &'a str, before: &str, after: Option<&TemplatePart>) -> &'a str {
    let letters = before
        .rsplit(|c: char| !c.is_ascii_alphabetic() && c != '_')
        .next()
        .unwrap_or_default();
    let id = id.strip_prefix(letters).unwrap_or(id);
    match after {
        Some(TemplatePart::Text(tail)) => id.strip_suffix(tail.as_str()).unwrap_or(id),
        Some(TemplatePart::Expr(_)) | None => id,
    }
}

/// A value as text.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The same of a value that is not needed any more.
pub(crate) fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            to_text(&value)
        }
    }
}

fn leading_blanks(word: &str) -> usize {
    word.len() - word.trim_start().len()
}

fn parse_expr(inside: &str, at: usize) -> Result<Expr, SyntaxError> {
    let mut words = inside.split('|');
    let word = words.next().unwrap_or_default();
    let Some(source) = ValueSource::parse(word.trim()) else {
        let kind = word.trim().split('.').next().unwrap_or_default();
        let help = renamed_to(kind, &["queried"]).map_or_else(
            || format!("sources are: {SOURCES}"),
            |new| format!("`{kind}` is now `{new}`"),
        );
        return Err(SyntaxError {
            offset: at + leading_blanks(word),
            message: format!("`{}` is not a source", word.trim()),
            help: Some(help),
        });
    };
    let mut filters = Vec::new();
    let mut from = at + word.len() + 1;
    for word in words {
        filters.push(Filter::parse(word.trim()).map_err(|what| SyntaxError {
            offset: from + leading_blanks(word),
            message: what,
            help: Some(format!("filters are: {}", Filter::NAMES)),
        })?);
        from += word.len() + 1;
    }
    Ok(Expr { source, filters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_service_keeps_its_form_and_one_of_ours_takes_it() {
        let text = |template: &str, id: &str| {
            StringTemplate::parse(template)
                .unwrap()
                .render(&Scope {
                    id: Some(id),
                    ..Scope::default()
                })
                .unwrap()
        };
        let theirs = "SM0123456789abcdef0123456789abcdef";
        assert_eq!(text("SM{id | hex 32}", theirs), theirs);
        assert_eq!(
            text("/Messages/SM{id | hex 32}.json", theirs),
            format!("/Messages/{theirs}.json")
        );
        let ours = text("SM{id | hex 32}", "ours");
        assert_eq!(text("SM{id | hex 32}", &ours), ours);
        assert_eq!(text("{id | number}-1", "7-1"), "7-1");
    }

    #[test]
    fn a_hole_keeps_its_type_alone_and_takes_its_string_away_when_empty() {
        let scope = Scope {
            status: Some(503),
            ..Scope::default()
        };
        let value = |template: &str| StringTemplate::parse(template).unwrap().evaluate(&scope);
        assert_eq!(value("{status}"), Some(503.into()));
        assert_eq!(value("s {status}"), Some("s 503".into()));
        assert_eq!(value("{reason}"), None);
        assert_eq!(value("s {reason}"), None);
    }

    #[test]
    fn faults_are_said_with_their_place() {
        for (text, at) in [
            ("ab{to", 2),
            ("{too}", 1),
            ("x{to | digit}", 7),
            ("{credential.}", 1),
        ] {
            assert_eq!(
                StringTemplate::parse(text).unwrap_err().offset,
                at,
                "{text}"
            );
        }
    }
}
