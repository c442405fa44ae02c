//! Paths of values in a request or reply: `messages[].sms.content.text`. Parsed at load; the same
//! steps serve reading, writing, patching and finding unmapped fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{StringTemplate, SyntaxError};
use crate::dialect::expr::tree::{Shape, TreeValue};

/// Whether a name with dots in it is one field (form, query, header) or a path (JSON).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlatKeys(pub(crate) bool);

/// A compiled path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath {
    /// As in the file, for messages.
    pub(crate) text: String,
    steps: Vec<PathStep>,
    /// The field that holds JSON as text, if the path goes into one.
    pub(crate) json_field: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathStep {
    Key(String),
    TemplateKey(StringTemplate),
    AnyKey,
    Element,
}

/// One step from the root to a leaf.
#[derive(Clone, Copy, Debug)]
enum LeafStep<'a> {
    Key(&'a str),
    Index,
}

impl JsonPath {
    pub(crate) fn parse(text: &str, flat: FlatKeys) -> Result<Self, SyntaxError> {
        let mut path = Self {
            text: text.to_owned(),
            steps: Vec::new(),
            json_field: None,
        };
        if text.is_empty() {
            return Err(SyntaxError {
                offset: 0,
                message: "a path is empty".into(),
                help: None,
            });
        }
        let mut rest = text;
        if let Some((field, inside)) = text.split_once(":json") {
            path.json_field = Some(field.to_owned());
            path.steps.push(PathStep::Key(field.to_owned()));
            rest = inside.strip_prefix('.').unwrap_or(inside);
        } else if flat.0 {
            path.steps.push(PathStep::Key(text.to_owned()));
            return Ok(path);
        }
        let mut at = text.len() - rest.len();
        for segment in split_segments(rest) {
            path.push_segment(segment, at)?;
            at += segment.len() + 1;
        }
        Ok(path)
    }

    fn push_segment(&mut self, segment: &str, at: usize) -> Result<(), SyntaxError> {
        let mut key = segment;
        let mut elements = 0;
        while let Some(before) = key.strip_suffix("[]") {
            key = before;
            elements += 1;
        }
        match key {
            "" if elements > 0 => {}
            "" => {
                return Err(SyntaxError {
                    offset: at,
                    message: "a path has an empty name between its dots".into(),
                    help: None,
                });
            }
            "*" => self.steps.push(PathStep::AnyKey),
            _ if key.contains('{') => {
                let template = StringTemplate::parse(key).map_err(|fault| SyntaxError {
                    offset: at + fault.offset,
                    ..fault
                })?;
                self.steps.push(PathStep::TemplateKey(template));
            }
            _ => self.steps.push(PathStep::Key(key.to_owned())),
        }
        self.steps.extend((0..elements).map(|_| PathStep::Element));
        Ok(())
    }

    /// Every value at the path that is not null.
    pub(crate) fn find_all<'v, T: TreeValue<'v>>(&self, tree: T) -> Vec<T> {
        let mut found = Vec::new();
        self.for_each(tree, &mut |value| found.push(value));
        found
    }

    /// Passes on every value at the path that is not null.
    pub(crate) fn for_each<'v, T: TreeValue<'v>>(&self, tree: T, visit: &mut impl FnMut(T)) {
        visit_values(tree, &self.steps, visit);
    }

    /// Whether there is a value at the path that is not null.
    pub(crate) fn is_in<'v, T: TreeValue<'v>>(&self, tree: T) -> bool {
        let mut is_there = false;
        self.for_each(tree, &mut |_| is_there = true);
        is_there
    }

    /// Whether the list in the path exists, empty or not.
    pub(crate) fn has_list(&self, tree: &Value) -> bool {
        let list = self
            .steps
            .iter()
            .position(|step| *step == PathStep::Element)
            .and_then(|at| self.steps.get(..at));
        let mut found = Vec::new();
        if let Some(steps) = list {
            visit_values(tree, steps, &mut |value: &Value| found.push(value));
        }
        found.into_iter().any(Value::is_array) || self.is_in(tree)
    }

    /// The values that [`set`](Self::set) would replace; none if it would create one.
    pub(crate) fn find_replaced<'v, T: TreeValue<'v>>(&self, tree: T) -> Option<Vec<T>> {
        let mut found = Vec::new();
        collect_set(tree, &self.steps, &mut found)?;
        Some(found)
    }

    /// Sets the value everywhere that the path leads, and creates missing objects and lists.
    pub(crate) fn set(&self, tree: &mut Value, value: &Value, scope: &Scope<'_>) {
        set_value(tree, &self.steps, value, scope);
    }

    /// Changes every value at the path that is not null.
    pub(crate) fn update(&self, tree: &mut Value, change: &mut impl FnMut(&mut Value)) {
        update_values(tree, &self.steps, change);
    }

    /// Removes the value everywhere that the path leads.
    pub(crate) fn remove(&self, tree: &mut Value) {
        remove_value(tree, &self.steps);
    }

    fn covers(&self, leaf: &[LeafStep<'_>]) -> bool {
        covers(&self.steps, leaf)
    }
}

/// The paths of `tree`'s leaves that none of `known` covers.
pub(crate) fn uncovered_paths<'v, T: TreeValue<'v>>(tree: T, known: &[&JsonPath]) -> Vec<String> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    walk_leaves(tree, &mut Vec::new(), &mut |leaf, value| {
        let is_covered = known.iter().any(|path| path.covers(leaf));
        // An empty text is what a client writes for no value.
        if !is_covered && value.to_value().as_str() != Some("") {
            let name = format_path(leaf);
            if seen.insert(name.clone()) {
                out.push(name);
            }
        }
    });
    out
}

/// Splits at dots outside of holes.
fn split_segments(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut inside = false;
    for (at, c) in text.char_indices() {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            '.' if !inside => {
                out.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    out.extend(text.get(from..).filter(|rest| !rest.is_empty() || from > 0));
    out
}

fn visit_values<'v, T: TreeValue<'v>>(tree: T, steps: &[PathStep], visit: &mut impl FnMut(T)) {
    let Some((step, rest)) = steps.split_first() else {
        if tree.shape() != Shape::Null {
            visit(tree);
        }
        return;
    };
    match (step, tree.shape()) {
        (PathStep::Key(key), Shape::Object) => {
            if let Some(value) = tree.field(key) {
                visit_values(value, rest, visit);
            }
        }
        (PathStep::AnyKey | PathStep::TemplateKey(_), Shape::Object) => tree
            .fields()
            .for_each(|(_, value)| visit_values(value, rest, visit)),
        (PathStep::Element, Shape::List) => tree
            .items()
            .for_each(|value| visit_values(value, rest, visit)),
        (PathStep::Element, Shape::Object | Shape::Scalar) => visit_values(tree, rest, visit),
        (PathStep::Key(_) | PathStep::AnyKey | PathStep::TemplateKey(_) | PathStep::Element, _) => {
        }
    }
}

fn update_values(tree: &mut Value, steps: &[PathStep], change: &mut impl FnMut(&mut Value)) {
    let Some((step, rest)) = steps.split_first() else {
        if !tree.is_null() {
            change(tree);
        }
        return;
    };
    match (step, tree) {
        (PathStep::Key(key), Value::Object(map)) => {
            if let Some(value) = map.get_mut(key) {
                update_values(value, rest, change);
            }
        }
        (PathStep::AnyKey | PathStep::TemplateKey(_), Value::Object(map)) => map
            .values_mut()
            .for_each(|value| update_values(value, rest, change)),
        (PathStep::Element, Value::Array(items)) => items
            .iter_mut()
            .for_each(|value| update_values(value, rest, change)),
        (PathStep::Element, tree) => update_values(tree, rest, change),
        (PathStep::Key(_) | PathStep::AnyKey | PathStep::TemplateKey(_), _) => {}
    }
}

/// Where a value stands that is to be set; none if it is not there everywhere that the path leads, so that something
/// would have to be created.
fn collect_set<'v, T: TreeValue<'v>>(
    tree: T,
    steps: &[PathStep],
    found: &mut Vec<T>,
) -> Option<()> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(tree);
        return Some(());
    };
    match (step, tree.shape()) {
        (PathStep::Key(key), Shape::Object) => collect_set(tree.field(key)?, rest, found),
        (PathStep::Element, Shape::List) => {
            let before = found.len();
            for item in tree.items() {
                collect_set(item, rest, found)?;
            }
            (found.len() > before).then_some(())
        }
        (PathStep::Element, Shape::Object) => collect_set(tree, rest, found),
        _ => None,
    }
}

fn set_value(tree: &mut Value, steps: &[PathStep], value: &Value, scope: &Scope<'_>) {
    let Some((step, rest)) = steps.split_first() else {
        tree.clone_from(value);
        return;
    };
    match step {
        PathStep::Key(key) => set_key(tree, key.clone(), rest, value, scope),
        PathStep::TemplateKey(template) => {
            if let Some(key) = template.render(scope) {
                set_key(tree, key, rest, value, scope);
            }
        }
        PathStep::AnyKey => {
            if let Value::Object(fields) = value {
                fields
                    .iter()
                    .for_each(|(key, field)| set_key(tree, key.clone(), rest, field, scope));
            }
        }
        PathStep::Element => match tree {
            Value::Array(items) if !items.is_empty() => items
                .iter_mut()
                .for_each(|item| set_value(item, rest, value, scope)),
            Value::Object(_) => set_value(tree, rest, value, scope),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let mut item = Value::Null;
                set_value(&mut item, rest, value, scope);
                *tree = Value::Array(vec![item]);
            }
        },
    }
}

fn set_key(tree: &mut Value, key: String, rest: &[PathStep], value: &Value, scope: &Scope<'_>) {
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    if let Value::Object(map) = tree {
        set_value(map.entry(key).or_insert(Value::Null), rest, value, scope);
    }
}

fn remove_value(tree: &mut Value, steps: &[PathStep]) {
    match (steps, tree) {
        ([PathStep::Key(key)], Value::Object(map)) => {
            map.shift_remove(key);
        }
        ([PathStep::Key(key), rest @ ..], Value::Object(map)) => {
            if let Some(value) = map.get_mut(key) {
                remove_value(value, rest);
            }
        }
        ([PathStep::AnyKey | PathStep::TemplateKey(_), rest @ ..], Value::Object(map)) => {
            map.values_mut().for_each(|value| remove_value(value, rest));
        }
        ([PathStep::Element, rest @ ..], Value::Array(items)) => {
            for value in items.iter_mut() {
                remove_value(value, rest);
            }
        }
        ([PathStep::Element, rest @ ..], tree @ Value::Object(_)) => remove_value(tree, rest),
        _ => {}
    }
}

fn covers(steps: &[PathStep], leaf: &[LeafStep<'_>]) -> bool {
    match (steps, leaf) {
        ([], _) => true,
        ([PathStep::Key(key), rest @ ..], [LeafStep::Key(name), deeper @ ..]) => {
            key == name && covers(rest, deeper)
        }
        (
            [PathStep::AnyKey | PathStep::TemplateKey(_), rest @ ..],
            [LeafStep::Key(_), deeper @ ..],
        )
        | ([PathStep::Element, rest @ ..], [LeafStep::Index, deeper @ ..]) => covers(rest, deeper),
        ([PathStep::Element, rest @ ..], _) => covers(rest, leaf),
        _ => false,
    }
}

fn walk_leaves<'v, T: TreeValue<'v>>(
    tree: T,
    way: &mut Vec<LeafStep<'v>>,
    visit: &mut impl FnMut(&[LeafStep<'v>], T),
) {
    match tree.shape() {
        Shape::Object => {
            for (key, value) in tree.fields() {
                way.push(LeafStep::Key(key));
                walk_leaves(value, way, visit);
                way.pop();
            }
        }
        Shape::List => {
            way.push(LeafStep::Index);
            for item in tree.items() {
                walk_leaves(item, way, visit);
            }
            way.pop();
        }
        Shape::Null => {}
        Shape::Scalar => visit(way, tree),
    }
}

fn format_path(leaf: &[LeafStep<'_>]) -> String {
    leaf.iter().fold(String::new(), |mut out, step| {
        match step {
            LeafStep::Index => out.push_str("[]"),
            LeafStep::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.extend(key.chars().filter(|c| !c.is_control()).take(64));
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(text: &str) -> JsonPath {
        JsonPath::parse(text, FlatKeys(false)).unwrap()
    }

    #[test]
    fn the_same_place_is_written_and_read() {
        for (text, tree) in [
            ("a.b", json!({"a": {"b": 1}})),
            (
                "messages[].sms.text",
                json!({"messages": [{"sms": {"text": 1}}]}),
            ),
            ("[].id", json!([{"id": 1}])),
            ("a[].b[].c", json!({"a": [{"b": [{"c": 1}]}]})),
            ("data:json[].phone", json!({"data": [{"phone": 1}]})),
        ] {
            let mut written = Value::Null;
            place(text).set(&mut written, &json!(1), &Scope::default());
            assert_eq!(written, tree, "{text}");
            assert_eq!(place(text).find_all(&tree), [&json!(1)], "{text}");
            assert!(uncovered_paths(&tree, &[&place(text)]).is_empty(), "{text}");
            let mut updated = tree.clone();
            place(text).update(&mut updated, &mut |value| *value = json!(2));
            assert_eq!(place(text).find_all(&updated), [&json!(2)], "{text}");
        }
    }

    #[test]
    fn reading_takes_a_bare_object_for_the_one_element() {
        assert_eq!(
            place("messages[].to").find_all(&json!({"messages": {"to": "1"}})),
            [&json!("1")]
        );
        assert_eq!(
            place("sms.*.id")
                .find_all(&json!({"sms": {"998": {"id": 1}, "999": {"id": 2}}}))
                .len(),
            2
        );
    }

    #[test]
    fn what_stands_nowhere_is_left_over_by_name() {
        let tree =
            json!({"a": [{"b": 1, "new": {"x": true}}, {"new": {"x": 1}}], "n": null, "c": 2});
        assert_eq!(
            uncovered_paths(&tree, &[&place("a[].b"), &place("c")]),
            ["a[].new.x"]
        );
    }

    #[test]
    fn a_field_of_a_form_is_one_name_dots_or_not() {
        let flat = JsonPath::parse("entry.1.Name", FlatKeys(true)).unwrap();
        assert_eq!(flat.find_all(&json!({"entry.1.Name": "x"})), [&json!("x")]);
    }

    #[test]
    fn putting_reaches_every_element_and_removing_too() {
        let mut tree = json!({"m": [{"to": 1}, {"to": 2}]});
        place("m[].from").set(&mut tree, &json!("S"), &Scope::default());
        assert_eq!(
            tree,
            json!({"m": [{"to": 1, "from": "S"}, {"to": 2, "from": "S"}]})
        );
        place("m[].to").remove(&mut tree);
        assert_eq!(tree, json!({"m": [{"from": "S"}, {"from": "S"}]}));
    }

    #[test]
    fn broken_places_are_refused() {
        for text in ["", "a..b", "a.", ".a", "a.{to"] {
            assert!(JsonPath::parse(text, FlatKeys(false)).is_err(), "{text}");
        }
    }
}
