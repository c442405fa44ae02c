//! The JSON Schema of the config file, from the types in `raw`. Editors use it to complete and
//! check keys; `check` remains the judge of the values.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use crate::config::raw::RawConfig;

/// The JSON Schema (draft 7, which every editor reads) of the config file.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings
            .transforms
            .push(Box::new(RecursiveTransform(remove_empty_defaults)));
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<RawConfig>();
    schema.insert("title".to_owned(), "sms-sidecar configuration".into());
    schema.to_value()
}

/// A key without a default has none in the schema either.
fn remove_empty_defaults(schema: &mut Schema) {
    let is_empty = |default: &Value| match default {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if schema.get("default").is_some_and(is_empty) {
        schema.remove("default");
    }
}
