//! Lists in a form whose entries are identified by one of their fields, at any position:
//! `MessageAttributes.entry.2.Name=…`. The description has its own entries at fixed positions. A request's
//! entries are read as the ones that they name, and a native request is patched where it has them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::dialect::expr::filter::Filter;
use crate::dialect::expr::path::{FlatKeys, JsonPath};
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{FieldMapping, FieldValue, KeyedList, SendSpec};
use crate::dialect::wire::body::BodyTree;
use crate::dialect::wire::tree::insert_value;

/// The name of an entry that has none: nothing in the description is called so.
const UNNAMED: &str = "unnamed";
/// The longest name that stands for its entry.
const MAX_NAME: usize = 64;

/// The entries of one request: its position in the request, and what the description calls it.
type EntryNames = BTreeMap<String, String>;

impl KeyedList {
    /// The position and the rest of a field of this list: `2` and `Value.StringValue`.
    fn split<'n>(&self, field: &'n str) -> Option<(&'n str, &'n str)> {
        let entry = field.strip_prefix(self.prefix.as_str())?;
        let (position, rest) = entry.strip_prefix('.')?.split_once('.')?;
        let is_number = !position.is_empty() && position.chars().all(|c| c.is_ascii_digit());
        is_number.then_some((position, rest))
    }

    fn field(&self, entry: &str, rest: &str) -> String {
        format!("{}.{entry}.{rest}", self.prefix)
    }

    /// The positions at which the description has entries, by their names.
    fn own_entries<'s>(&self, fields: &'s [FieldMapping]) -> BTreeMap<&'s str, &'s str> {
        let names = fields.iter().filter_map(|field| {
            let (position, rest) = self.split(&field.path.text)?;
            let name = constant_text(&field.value).filter(|_| rest == self.key)?;
            Some((name, position))
        });
        names.collect()
    }

    fn entry_names(&self, own: &[FieldMapping], request: &Map<String, Value>) -> EntryNames {
        let own = self.own_entries(own);
        let mut names = EntryNames::new();
        for (position, rest, value) in request.iter().filter_map(|(field, value)| {
            let (position, rest) = self.split(field)?;
            Some((position, rest, value))
        }) {
            let name = names
                .entry(position.to_owned())
                .or_insert_with(|| UNNAMED.to_owned());
            if rest == self.key {
                let text = to_text(value);
                *name = match own.get(text.as_str()) {
                    Some(own) => (*own).to_owned(),
                    None if is_name(&text) => text,
                    None => UNNAMED.to_owned(),
                };
            }
        }
        names
    }
}

impl SendSpec {
    /// The fields of a request with its entries as the description has them.
    pub(super) fn name_entries(&self, body: BodyTree) -> BodyTree {
        if self.keyed.is_empty() {
            return body;
        }
        let mut fields = match body.into_tree() {
            Value::Object(fields) => fields,
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => return BodyTree::Made(other),
        };
        for list in &self.keyed {
            let names = list.entry_names(&self.fields.body, &fields);
            let mut out = Map::new();
            for (field, value) in fields {
                let name = list
                    .split(&field)
                    .and_then(|(position, rest)| Some(list.field(names.get(position)?, rest)));
                insert_value(&mut out, name.unwrap_or(field), value);
            }
            fields = out;
        }
        BodyTree::Made(Value::Object(fields))
    }

    /// Where a request has, or could get, the field that the description has at `path`.
    pub(super) fn place_entry<'p>(
        &self,
        path: &'p JsonPath,
        request: &Map<String, Value>,
    ) -> Cow<'p, JsonPath> {
        let placed = self.keyed.iter().find_map(|list| {
            let (own, rest) = list.split(&path.text)?;
            let names = list.entry_names(&self.fields.body, request);
            let at = names.iter().find(|(_, name)| *name == own);
            let position = at.map_or_else(|| next_position(&names), |(at, _)| at.clone());
            JsonPath::parse(&list.field(&position, rest), FlatKeys(true)).ok()
        });
        placed.map_or(Cow::Borrowed(path), Cow::Owned)
    }
}

fn next_position(names: &EntryNames) -> String {
    let numbers = names
        .keys()
        .filter_map(|position| position.parse::<u32>().ok());
    let last = numbers.max().unwrap_or_default();
    last.saturating_add(1).to_string()
}

/// The text that a field always has, if it has one.
fn constant_text(value: &FieldValue) -> Option<&str> {
    match value {
        FieldValue::Constant(value) => value.as_str(),
        FieldValue::Template(template) => {
            let hole = template.as_single_expr()?;
            hole.filters.iter().find_map(const_text)
        }
    }
}

fn const_text(filter: &Filter) -> Option<&str> {
    if let Filter::Const(text) = filter {
        Some(text)
    } else {
        None
    }
}

/// A word, and no position.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_plain)
}
