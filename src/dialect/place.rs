//! Where in a request or reply a value stands: `messages[].sms.content.text`. Parsed at
//! load; the same steps serve reading, writing, patching and telling what is left over.

use serde_json::{Map, Value};

use crate::dialect::scope::Scope;
use crate::dialect::template::{Fault, Template};

/// Whether a name with dots in it is one field (form, query, header) or a path (JSON).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flat(pub(crate) bool);

/// A compiled place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was written, for messages.
    pub(crate) text: String,
    steps: Vec<Step>,
    /// The field that holds JSON as text, where the place goes into one.
    pub(crate) json_field: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Hole(Template),
    Any,
    Element,
}

/// One step of the way to a leaf.
#[derive(Clone, Copy, Debug)]
enum Leaf<'a> {
    Key(&'a str),
    Index,
}

impl Place {
    pub(crate) fn parse(text: &str, flat: Flat) -> Result<Self, Fault> {
        let mut place = Self { text: text.to_owned(), steps: Vec::new(), json_field: None };
        if text.is_empty() {
            return Err(Fault { at: 0, what: "a place is empty".into(), help: None });
        }
        let mut rest = text;
        if let Some((field, inside)) = text.split_once(":json") {
            place.json_field = Some(field.to_owned());
            place.steps.push(Step::Key(field.to_owned()));
            rest = inside.strip_prefix('.').unwrap_or(inside);
        } else if flat.0 {
            place.steps.push(Step::Key(text.to_owned()));
            return Ok(place);
        }
        let mut at = text.len() - rest.len();
        for segment in segments(rest) {
            place.push(segment, at)?;
            at += segment.len() + 1;
        }
        Ok(place)
    }

    fn push(&mut self, segment: &str, at: usize) -> Result<(), Fault> {
        let mut key = segment;
        let mut elements = 0;
        while let Some(before) = key.strip_suffix("[]") {
            key = before;
            elements += 1;
        }
        match key {
            "" if elements > 0 => {}
            "" => return Err(Fault { at, what: "a place has an empty name between its dots".into(), help: None }),
            "*" => self.steps.push(Step::Any),
            _ if key.contains('{') => {
                let template = Template::parse(key).map_err(|fault| Fault { at: at + fault.at, ..fault })?;
                self.steps.push(Step::Hole(template));
            }
            _ => self.steps.push(Step::Key(key.to_owned())),
        }
        self.steps.extend((0..elements).map(|_| Step::Element));
        Ok(())
    }

    /// Every value that stands there and is not null.
    pub(crate) fn all<'v>(&self, tree: &'v Value) -> Vec<&'v Value> {
        let mut found = Vec::new();
        gather(tree, &self.steps, &mut found);
        found
    }

    /// Whether the list that it goes through is there, empty or not.
    pub(crate) fn is_listed(&self, tree: &Value) -> bool {
        let list = self.steps.iter().position(|step| *step == Step::Element).and_then(|at| self.steps.get(..at));
        let mut found = Vec::new();
        if let Some(steps) = list {
            gather(tree, steps, &mut found);
        }
        found.into_iter().any(Value::is_array) || !self.all(tree).is_empty()
    }

    /// Sets it wherever the way leads, and makes the way where there is none.
    pub(crate) fn put(&self, tree: &mut Value, value: &Value, scope: &Scope<'_>) {
        put(tree, &self.steps, value, scope);
    }

    /// Takes it away wherever it stands.
    pub(crate) fn remove(&self, tree: &mut Value) {
        remove(tree, &self.steps);
    }

    fn covers(&self, leaf: &[Leaf<'_>]) -> bool {
        covers(&self.steps, leaf)
    }
}

/// The places of `tree`'s leaves that none of `known` covers.
pub(crate) fn left_over(tree: &Value, known: &[&Place]) -> Vec<String> {
    let mut out = Vec::new();
    walk(tree, &mut Vec::new(), &mut |leaf| {
        if !known.iter().any(|place| place.covers(leaf)) {
            let name = spell(leaf);
            if !out.contains(&name) {
                out.push(name);
            }
        }
    });
    out
}

/// Splits at dots outside of holes.
fn segments(text: &str) -> Vec<&str> {
    let (mut out, mut from, mut inside) = (Vec::new(), 0, false);
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

fn gather<'v>(tree: &'v Value, steps: &[Step], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = steps.split_first() else {
        if !tree.is_null() {
            found.push(tree);
        }
        return;
    };
    match (step, tree) {
        (Step::Key(key), Value::Object(map)) => {
            if let Some(value) = map.get(key) {
                gather(value, rest, found);
            }
        }
        (Step::Any | Step::Hole(_), Value::Object(map)) => map.values().for_each(|value| gather(value, rest, found)),
        (Step::Element, Value::Array(items)) => items.iter().for_each(|value| gather(value, rest, found)),
        (Step::Element, Value::Object(_) | Value::String(_) | Value::Number(_) | Value::Bool(_)) => gather(tree, rest, found),
        (Step::Key(_) | Step::Any | Step::Hole(_) | Step::Element, _) => {}
    }
}

fn put(tree: &mut Value, steps: &[Step], value: &Value, scope: &Scope<'_>) {
    let Some((step, rest)) = steps.split_first() else {
        tree.clone_from(value);
        return;
    };
    match step {
        Step::Key(key) => put_under(tree, key.clone(), rest, value, scope),
        Step::Hole(template) => {
            if let Some(key) = template.text(scope) {
                put_under(tree, key, rest, value, scope);
            }
        }
        Step::Any => {
            if let Value::Object(fields) = value {
                fields.iter().for_each(|(key, field)| put_under(tree, key.clone(), rest, field, scope));
            }
        }
        Step::Element => match tree {
            Value::Array(items) if !items.is_empty() => items.iter_mut().for_each(|item| put(item, rest, value, scope)),
            Value::Object(_) => put(tree, rest, value, scope),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let mut item = Value::Null;
                put(&mut item, rest, value, scope);
                *tree = Value::Array(vec![item]);
            }
        },
    }
}

fn put_under(tree: &mut Value, key: String, rest: &[Step], value: &Value, scope: &Scope<'_>) {
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    if let Value::Object(map) = tree {
        put(map.entry(key).or_insert(Value::Null), rest, value, scope);
    }
}

fn remove(tree: &mut Value, steps: &[Step]) {
    match (steps, tree) {
        ([Step::Key(key)], Value::Object(map)) => {
            map.shift_remove(key);
        }
        ([Step::Key(key), rest @ ..], Value::Object(map)) => {
            if let Some(value) = map.get_mut(key) {
                remove(value, rest);
            }
        }
        ([Step::Any | Step::Hole(_), rest @ ..], Value::Object(map)) => map.values_mut().for_each(|value| remove(value, rest)),
        ([Step::Element, rest @ ..], Value::Array(items)) => items.iter_mut().for_each(|value| remove(value, rest)),
        ([Step::Element, rest @ ..], tree @ Value::Object(_)) => remove(tree, rest),
        _ => {}
    }
}

fn covers(steps: &[Step], leaf: &[Leaf<'_>]) -> bool {
    match (steps, leaf) {
        ([], _) => true,
        ([Step::Key(key), rest @ ..], [Leaf::Key(name), deeper @ ..]) => key == name && covers(rest, deeper),
        ([Step::Any | Step::Hole(_), rest @ ..], [Leaf::Key(_), deeper @ ..])
        | ([Step::Element, rest @ ..], [Leaf::Index, deeper @ ..]) => covers(rest, deeper),
        ([Step::Element, rest @ ..], _) => covers(rest, leaf),
        _ => false,
    }
}

fn walk<'v>(tree: &'v Value, way: &mut Vec<Leaf<'v>>, visit: &mut impl FnMut(&[Leaf<'v>])) {
    match tree {
        Value::Object(map) => {
            for (key, value) in map {
                way.push(Leaf::Key(key));
                walk(value, way, visit);
                way.pop();
            }
        }
        Value::Array(items) => {
            way.push(Leaf::Index);
            for item in items {
                walk(item, way, visit);
            }
            way.pop();
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => visit(way),
    }
}

fn spell(leaf: &[Leaf<'_>]) -> String {
    leaf.iter().fold(String::new(), |mut out, step| {
        match step {
            Leaf::Index => out.push_str("[]"),
            Leaf::Key(key) => {
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

    fn place(text: &str) -> Place {
        Place::parse(text, Flat(false)).unwrap()
    }

    #[test]
    fn the_same_place_is_written_and_read() {
        for (text, tree) in [
            ("a.b", json!({"a": {"b": 1}})),
            ("messages[].sms.text", json!({"messages": [{"sms": {"text": 1}}]})),
            ("[].id", json!([{"id": 1}])),
            ("a[].b[].c", json!({"a": [{"b": [{"c": 1}]}]})),
            ("data:json[].phone", json!({"data": [{"phone": 1}]})),
        ] {
            let mut written = Value::Null;
            place(text).put(&mut written, &json!(1), &Scope::default());
            assert_eq!(written, tree, "{text}");
            assert_eq!(place(text).all(&tree), [&json!(1)], "{text}");
            assert!(left_over(&tree, &[&place(text)]).is_empty(), "{text}");
        }
    }

    #[test]
    fn reading_takes_a_bare_object_for_the_one_element() {
        assert_eq!(place("messages[].to").all(&json!({"messages": {"to": "1"}})), [&json!("1")]);
        assert_eq!(place("sms.*.id").all(&json!({"sms": {"998": {"id": 1}, "999": {"id": 2}}})).len(), 2);
    }

    #[test]
    fn what_stands_nowhere_is_left_over_by_name() {
        let tree = json!({"a": [{"b": 1, "new": {"x": true}}, {"new": {"x": 1}}], "n": null, "c": 2});
        assert_eq!(left_over(&tree, &[&place("a[].b"), &place("c")]), ["a[].new.x"]);
    }

    #[test]
    fn a_field_of_a_form_is_one_name_dots_or_not() {
        let flat = Place::parse("entry.1.Name", Flat(true)).unwrap();
        assert_eq!(flat.all(&json!({"entry.1.Name": "x"})), [&json!("x")]);
    }

    #[test]
    fn putting_reaches_every_element_and_removing_too() {
        let mut tree = json!({"m": [{"to": 1}, {"to": 2}]});
        place("m[].from").put(&mut tree, &json!("S"), &Scope::default());
        assert_eq!(tree, json!({"m": [{"to": 1, "from": "S"}, {"to": 2, "from": "S"}]}));
        place("m[].to").remove(&mut tree);
        assert_eq!(tree, json!({"m": [{"from": "S"}, {"from": "S"}]}));
    }

    #[test]
    fn broken_places_are_refused() {
        for text in ["", "a..b", "a.", ".a", "a.{to"] {
            assert!(Place::parse(text, Flat(false)).is_err(), "{text}");
        }
    }
}
