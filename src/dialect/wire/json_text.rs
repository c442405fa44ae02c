//! A JSON body as a flat list of its values, each a span of the body's own text. A value that nobody asks for is never
//! copied, and an edit leaves every other byte as the backend wrote it. Only plain JSON becomes such a list; what needs
//! a closer look (a name with an escape, or twice in one object) is read as a tree, as is everything that is not valid.

use std::ops::Range;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::dialect::expr::tree::{Shape, TreeValue};
use crate::dialect::wire::unique_names::NUMBER_MARK;
use crate::parse_limit::{ParseLimit, ValueCounter, check_depth};

/// The values of a JSON text, each before those inside it.
#[derive(Clone, Debug)]
pub(crate) struct JsonText {
    text: Bytes,
    values: Vec<ValueSpan>,
}

/// One value. A text whose positions do not fit into 32 bits is read as a tree.
#[derive(Clone, Copy, Debug)]
struct ValueSpan {
    kind: ValueKind,
    /// Its name without the quotes, if it is in an object.
    name: TextRange,
    span: TextRange,
    /// The number of the list or object that it is in; its own for the outermost.
    parent: u32,
    /// The number of the first value after those inside it.
    end: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TextRange {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    Null,
    /// A number, `true` or `false`.
    Bare,
    Text,
    /// A text with escapes.
    EscapedText,
    List,
    Object,
}

/// One value of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonValue<'t> {
    json: &'t JsonText,
    number: usize,
}

impl JsonText {
    /// The values of `text`, or none if it has to be read as a tree.
    pub(crate) fn read(text: &Bytes) -> Result<Option<Self>, ParseLimit> {
        if u32::try_from(text.len()).is_err() {
            return Ok(None);
        }
        let Some(values) = SpanScanner::new(text).scan()? else {
            return Ok(None);
        };
        let is_valid =
            std::str::from_utf8(text).is_ok() && serde_json::from_slice::<IgnoredAny>(text).is_ok();
        let json = Self {
            text: text.clone(),
            values,
        };
        Ok((is_valid && json.has_unique_names()).then_some(json))
    }

    /// The outermost value.
    pub(crate) const fn root(&self) -> JsonValue<'_> {
        self.value(0)
    }

    /// The text with other values in some places, in the order of the text.
    pub(crate) fn replace(&self, edits: &[(Range<usize>, String)]) -> Bytes {
        if edits.is_empty() {
            return self.text.clone();
        }
        let added: usize = edits.iter().map(|(_, value)| value.len()).sum();
        let mut out = Vec::with_capacity(self.text.len() + added);
        let mut at = 0;
        for (span, value) in edits {
            out.extend_from_slice(self.text.get(at..span.start).unwrap_or_default());
            out.extend_from_slice(value.as_bytes());
            at = span.end;
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default());
        out.into()
    }

    /// Whether no object has a name twice.
    fn has_unique_names(&self) -> bool {
        let mut names: Vec<&str> = Vec::new();
        (0..self.values.len()).all(|number| {
            names.clear();
            names.extend(self.value(number).fields().map(|(name, _)| name));
            names.sort_unstable();
            names.windows(2).all(|pair| pair.first() != pair.last())
        })
    }

    const fn value(&self, number: usize) -> JsonValue<'_> {
        JsonValue { json: self, number }
    }

    fn slice(&self, span: TextRange) -> &str {
        let bytes = self.text.get(span.range()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// A position in a text that is short enough for it.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl TextRange {
    const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl<'t> JsonValue<'t> {
    /// Its byte range in the text.
    pub(crate) fn span(self) -> Range<usize> {
        self.spans().map_or(0..0, |value| value.span.range())
    }

    fn spans(self) -> Option<&'t ValueSpan> {
        self.json.values.get(self.number)
    }

    fn children(self) -> impl Iterator<Item = Self> {
        let end = self.spans().map_or(0, |value| value.end as usize);
        let mut next = self.number + 1;
        std::iter::from_fn(move || {
            let child = Self {
                number: next,
                ..self
            };
            let found = (next < end).then(|| child.spans())?;
            next = found.map_or(end, |value| value.end as usize);
            Some(child)
        })
    }

    fn is_in(self, kind: ValueKind) -> bool {
        self.spans().is_some_and(|value| value.kind == kind)
    }
}

impl<'t> TreeValue<'t> for JsonValue<'t> {
    fn shape(self) -> Shape {
        match self.spans().map(|value| value.kind) {
            None | Some(ValueKind::Null) => Shape::Null,
            Some(ValueKind::Bare | ValueKind::Text | ValueKind::EscapedText) => Shape::Scalar,
            Some(ValueKind::List) => Shape::List,
            Some(ValueKind::Object) => Shape::Object,
        }
    }

    fn fields(self) -> impl Iterator<Item = (&'t str, Self)> {
        let is_object = self.is_in(ValueKind::Object);
        let children = is_object.then(|| self.children());
        children.into_iter().flatten().map(|child| {
            let name = child
                .spans()
                .map_or("", |value| child.json.slice(value.name));
            (name, child)
        })
    }

    fn items(self) -> impl Iterator<Item = Self> {
        let is_list = self.is_in(ValueKind::List);
        is_list.then(|| self.children()).into_iter().flatten()
    }

    fn to_value(self) -> Value {
        let text = self.spans().map_or("", |value| self.json.slice(value.span));
        if self.is_in(ValueKind::Text) {
            let inside = text.get(1..text.len().saturating_sub(1));
            return Value::from(inside.unwrap_or_default());
        }
        // Part of a text that was read as JSON.
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// Finds the values of a text that is JSON. Of another text it makes some list or none; whether it is JSON is checked
/// by the library.
struct SpanScanner<'t> {
    text: &'t [u8],
    at: usize,
    values: Vec<ValueSpan>,
    /// The list or object that is open, and how many are around it.
    open: Option<u32>,
    depth: usize,
    name: Option<TextRange>,
    counter: ValueCounter,
}

impl<'t> SpanScanner<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            at: 0,
            values: Vec::new(),
            open: None,
            depth: 0,
            name: None,
            counter: ValueCounter::default(),
        }
    }

    fn scan(mut self) -> Result<Option<Vec<ValueSpan>>, ParseLimit> {
        self.values.reserve(32);
        while let Some(&byte) = self.text.get(self.at) {
            let start = self.at;
            self.at += 1;
            let is_odd = match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => false,
                b'{' => self.open(ValueKind::Object, start)?,
                b'[' => self.open(ValueKind::List, start)?,
                b'}' | b']' => self.close(),
                b'"' => self.text_value(start)?,
                _ => self.bare_value(start)?,
            };
            if is_odd {
                return Ok(None);
            }
        }
        let is_complete = self.open.is_none() && self.name.is_none() && !self.values.is_empty();
        Ok(is_complete.then_some(self.values))
    }

    fn open(&mut self, kind: ValueKind, start: usize) -> Result<bool, ParseLimit> {
        let number = self.push(kind, start)?;
        self.depth += 1;
        check_depth(self.depth)?;
        self.open = Some(number);
        Ok(false)
    }

    fn close(&mut self) -> bool {
        let end = position(self.at);
        let after = position(self.values.len());
        let open = self
            .open
            .and_then(|open| Some((open, self.values.get_mut(open as usize)?)));
        let Some((number, value)) = open else {
            return true;
        };
        value.span.end = end;
        value.end = after;
        self.open = (value.parent != number).then_some(value.parent);
        self.depth = self.depth.saturating_sub(1);
        false
    }

    fn text_value(&mut self, start: usize) -> Result<bool, ParseLimit> {
        let mut has_escape = false;
        loop {
            match self.text.get(self.at) {
                None => return Ok(true),
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escape = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let is_in_object = self.open_kind() == Some(ValueKind::Object);
        if is_in_object && self.name.is_none() {
            let name = TextRange {
                start: position(start + 1),
                end: position(self.at - 1),
            };
            self.name = Some(name);
            let text = self.text.get(name.range()).unwrap_or_default();
            return Ok(has_escape || text == NUMBER_MARK.as_bytes());
        }
        let kind = if has_escape {
            ValueKind::EscapedText
        } else {
            ValueKind::Text
        };
        self.push(kind, start)?;
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(has_escape && serde_json::from_slice::<String>(text).is_err())
    }

    fn bare_value(&mut self, start: usize) -> Result<bool, ParseLimit> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| b" \t\n\r,:{}[]\"".contains(byte));
        self.at += length.unwrap_or(rest.len());
        let is_null = self.text.get(start..self.at) == Some(b"null");
        let kind = if is_null {
            ValueKind::Null
        } else {
            ValueKind::Bare
        };
        self.push(kind, start).map(|_| false)
    }

    /// Adds a value that ends here, or that is closed later.
    fn push(&mut self, kind: ValueKind, start: usize) -> Result<u32, ParseLimit> {
        self.counter.add()?;
        let number = position(self.values.len());
        self.values.push(ValueSpan {
            kind,
            name: self.name.take().unwrap_or_default(),
            span: TextRange {
                start: position(start),
                end: position(self.at),
            },
            parent: self.open.unwrap_or(number),
            end: number + 1,
        });
        Ok(number)
    }

    fn open_kind(&self) -> Option<ValueKind> {
        let open = self.values.get(self.open? as usize)?;
        Some(open.kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::expr::path::{FlatKeys, JsonPath, uncovered_paths};
    use crate::dialect::wire::body::parse_json;
    use crate::parse_limit::MAX_VALUES;

    fn read(text: &str) -> Option<JsonText> {
        JsonText::read(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn plain_json_of_every_spelling_is_a_list_of_its_values() {
        for text in [
            r#"{"a":[1,-2.5e300,"x"],"b":{"c":null,"d":true},"e":"","f":[],"g":{}}"#,
            " [ { \"a\" :\n\t1 } , [ ] ] ",
            r#"{"a":"\u0441\"\\\/","b":"ў 😀"}"#,
            "123456789012345678901234567890",
            "null",
            r#""""#,
        ] {
            let json = read(text).unwrap_or_else(|| panic!("{text}"));
            let tree: Value = serde_json::from_str(text).unwrap();
            assert_eq!(json.root().to_value(), tree, "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_or_not_valid_is_read_as_a_tree() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"[{"x":{"a":1,"b":2,"a":3}}]"#,
            r#"{"\u0061":1}"#,
            r#"{"$serde_json::private::Number":"1"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":1"#,
            r#"{"a":}"#,
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            r#"["a":1]"#,
            "[1}",
            "1 2",
            "nul",
            "01",
            "\"a\nb\"",
            "\"a",
            "",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let not_utf8 = Bytes::from_static(b"{\"a\":\"\xff\"}");
        assert!(JsonText::read(&not_utf8).unwrap().is_none());
    }

    #[test]
    fn the_limits_are_those_of_a_tree() {
        let lists = "[],".repeat(MAX_VALUES);
        for (text, limit) in [
            (format!("[{lists}1]"), ParseLimit::Values),
            ("[".repeat(1 << 20), ParseLimit::Depth),
        ] {
            assert_eq!(JsonText::read(&Bytes::from(text)).unwrap_err(), limit);
        }
    }

    #[test]
    fn a_replaced_value_leaves_every_other_byte() {
        let text = "{ \"from\" : \"old\",\n\t\"text\": \"a\\/b\", \"n\": 1.0e0 }";
        let json = read(text).unwrap();
        let from = json.root().field("from").unwrap().span();
        let edited = json.replace(&[(from, "\"new\"".to_owned())]);
        assert_eq!(edited, text.replace("old", "new"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\[{,\"\\\\}\\]: aў\n/]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[\\[{,\\}: abўc]{0,2}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The list has the values of the tree, and a path finds the same in both.
        #[test]
        fn the_list_is_the_tree(tree in any_json(), path in "(a|b|c|\\*)(\\[\\])?(\\.(a|b|\\*)(\\[\\])?){0,2}") {
            let path = JsonPath::parse(&path, FlatKeys(false)).unwrap();
            for text in [tree.to_string(), format!("{tree:#}")] {
                let json = read(&text).unwrap();
                let found: Vec<Value> = path.find_all(json.root()).into_iter().map(TreeValue::to_value).collect();
                prop_assert_eq!(json.root().to_value(), tree.clone());
                prop_assert_eq!(found, path.find_all(&tree).into_iter().cloned().collect::<Vec<_>>());
                prop_assert_eq!(uncovered_paths(json.root(), &[&path]), uncovered_paths(&tree, &[&path]));
            }
        }

        /// A text that is cut, or has a byte of another, is a list only if the library reads the same from it.
        #[test]
        fn a_damaged_text_is_a_list_only_if_it_is_json(
            tree in any_json(),
            at in any::<prop::sample::Index>(),
            byte in prop::sample::select(b"{}[]:,\"\\ 0e-.nu\x00\xff".to_vec()),
            cut in any::<bool>(),
        ) {
            let mut text = tree.to_string().into_bytes();
            let at = at.index(text.len());
            if cut {
                text.truncate(at);
            } else {
                text[at] = byte;
            }
            let text = Bytes::from(text);
            if let Some(json) = JsonText::read(&text).unwrap() {
                prop_assert_eq!(json.root().to_value(), parse_json(&text).unwrap());
            }
        }
    }
}
