//! Objects that are built name by name.

use serde_json::{Map, Value};

/// Adds a value under a name; a repeated name becomes a list.
pub(crate) fn insert_value(map: &mut Map<String, Value>, name: String, value: Value) {
    match map.get_mut(&name) {
        None => {
            map.insert(name, value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}
