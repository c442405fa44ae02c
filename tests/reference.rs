//! The JSON Schema and the generated pages of the guide: both come from the types that read the
//! config and from the registered metrics, and are held to the examples here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail where it stands"
)]

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use sms_sidecar::config::{check_text, reference, schema};
use sms_sidecar::dialect::Catalog;
use sms_sidecar::telemetry::metrics_reference;

/// The demo's script; only its `sidecar` text is a config.
const NO_CONFIG: &str = "demo.toml";

/// The compiled schema.
struct ConfigSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl ConfigSchema {
    fn compile() -> Self {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource("config.json", schema()).unwrap();
        let index = compiler.compile("config.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn validate(&self, toml: &str) -> Result<(), String> {
        let table: toml::Table = toml.parse().unwrap();
        self.schemas
            .validate(&serde_json::to_value(table).unwrap(), self.index)
            .map_err(|error| error.to_string())
    }
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter(|file| !file.ends_with(NO_CONFIG))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no files");
    files
}

/// Compares a generated page with the guide's, or writes it with `UPDATE_GOLDENS=1`.
#[expect(
    clippy::disallowed_methods,
    reason = "UPDATE_GOLDENS writes the goldens"
)]
fn assert_current(page: &str, generated: &str) {
    let file = Path::new("deploy/guide").join(page);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::create_dir_all("deploy/guide").unwrap();
        fs::write(&file, generated).unwrap();
    }
    let current = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        current == generated,
        "{} is stale; refresh it with `UPDATE_GOLDENS=1 cargo test --test reference`",
        file.display()
    );
}

#[test]
fn the_configuration_reference_is_current() {
    assert_current("configuration.md", &reference(&schema()));
}

#[test]
fn the_metrics_reference_is_current() {
    assert_current("metrics.md", &metrics_reference().unwrap());
}

#[test]
fn the_command_prints_the_reference_and_the_schema() {
    let print = |what: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["config", what])
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(print("reference"), reference(&schema()));
    assert_eq!(
        serde_json::from_str::<Value>(&print("schema")).unwrap(),
        schema()
    );
}

#[test]
fn every_example_conforms_to_the_schema() {
    let schema = ConfigSchema::compile();
    for file in toml_files("config")
        .iter()
        .chain(&toml_files("tests/config/valid"))
    {
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(schema.validate(&text), Ok(()), "{}", file.display());
    }
}

#[test]
fn the_full_example_has_every_key() {
    let text = fs::read_to_string("config/sms-sidecar.toml").unwrap();
    let mut missing = Vec::new();
    for_each_key(&schema(), &mut |key, _| {
        let is_there = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|word| word == key);
        if !is_there {
            missing.push(key.to_owned());
        }
    });
    assert!(
        missing.is_empty(),
        "config/sms-sidecar.toml lacks {missing:?}"
    );
}

#[test]
fn the_schema_rejects_what_check_rejects() {
    let schema = ConfigSchema::compile();
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let sound = "mode = \"observe\"\n[providers.twilio]\ndialect = \"twilio\"\n";
    assert_eq!(schema.validate(sound), Ok(()));
    for wrong in [
        "colour = \"blue\"\n",
        "[listen]\nproxi = \"127.0.0.1:1\"\n",
        "[listen]\nproxy = 8125\n",
        "[listen]\nproxy = \"8125\"\n",
        "[listen]\ntransparent = \"127.0.0.1:1\"\n",
        "[limits]\nbody = \"1MB\"\n",
        "[limits]\nclient = \"0s\"\n",
        "[limits]\nconnections = 0\n",
        "[log]\nlevel = \"loud\"\n",
        "[traces]\n",
        "[notify]\n",
        "[notify]\nwebhook = \"hooks.example\"\n",
        "[notify]\nwebhook = 7\n",
        "[notify]\nwebhook = { path = \"x\" }\n",
        "[vaults.none]\n",
        "[vaults.two]\nenv = {}\ndirectory = { path = \"x\" }\n",
        "[vaults.Up]\nenv = {}\n",
        "[callers.nobody]\n",
        "[templates.login]\n",
        "[providers.vonage]\nretries = 3\ndialect = \"vonage\"\n",
        "[providers.vonage]\nsender = \"x\"\n",
        "[[routes]]\nrecipients = [\"00998\"]\n",
        "[[routes]]\nattempts = 11\n",
        "[[routes]]\nrepeat_window = \"1s\"\n",
    ] {
        let text = if wrong.starts_with('[') {
            format!("{sound}{wrong}")
        } else {
            format!("{wrong}{sound}")
        };
        assert!(
            schema.validate(&text).is_err(),
            "the schema accepts\n{text}"
        );
        let (loaded, _) = check_text("c.toml", &text, &catalog);
        assert!(loaded.is_none(), "check accepts\n{text}");
    }
}

#[test]
fn every_key_of_the_schema_has_a_meaning() {
    for_each_key(&schema(), &mut |key, schema| {
        let meaning = schema["description"].as_str().unwrap_or_default();
        assert!(meaning.ends_with('.'), "`{key}`: {meaning:?}");
    });
}

/// A config with every default written out has the settings of one that leaves all keys out.
#[test]
fn every_default_of_the_schema_is_the_one_that_is_used() {
    let (catalog, _) = Catalog::load(&Catalog::built_in_sources());
    let settings = |text: &str| {
        let (loaded, problems) = check_text("c.toml", text, &catalog);
        let loaded = loaded.unwrap_or_else(|| panic!("{problems:?}\n{text}"));
        // Only the lines of the tables differ.
        let mut proxy = loaded.proxy;
        for provider in &mut proxy.providers {
            provider.line = 0;
        }
        format!(
            "{proxy:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}",
            loaded.vault,
            loaded.listen,
            loaded.ca,
            loaded.limits,
            loaded.log,
            loaded.traces,
            loaded.notify
        )
    };
    let given = least_config();
    let mut full = given.clone();
    let count = write_defaults(&schema(), &mut full);
    assert!(count > 30, "{count} defaults");
    let given = toml::to_string(&to_toml(&given)).unwrap();
    let full = toml::to_string(&to_toml(&full)).unwrap();
    assert_eq!(settings(&full), settings(&given), "{full}");
}

/// A config that has each table once and in it only what is required.
fn least_config() -> Value {
    json!({
        "intercept": { "ca": { "cert_file": "ca.pem", "key_file": "ca.key" } },
        "notify": { "webhook": "https://hooks.example/x" },
        "traces": { "endpoint": "http://127.0.0.1:4318" },
        "vaults": {
            "embedded": { "embedded": { "file": "v.age", "key_file": "v.key" } },
            "env": { "env": {} },
            "directory": { "directory": { "path": "secrets" } },
            "token": { "openbao": { "address": "https://v.example", "token_file": "token" } },
            "approle": { "openbao": { "address": "https://v.example",
                "approle": { "role_id_file": "r", "secret_id_file": "s" } } },
            "kubernetes": { "openbao": { "address": "https://v.example", "kubernetes": { "role": "sms" } } },
            "jwt": { "openbao": { "address": "https://v.example", "jwt": { "role": "sms", "jwt_file": "j" } } },
            "exec": { "exec": { "command": ["/bin/true"] } },
        },
        "providers": { "twilio": {
            "dialect": "twilio",
            "credential": { "vault": "embedded", "path": "sms/twilio" },
        } },
        "callers": { "backend": { "uid": 1001 } },
        "templates": { "login": { "text": "kod {code}" } },
        "routes": [{ "name": "all" }],
    })
}

/// The same as TOML: the numbers of `serde_json` keep their digits and are no TOML numbers.
fn to_toml(value: &Value) -> toml::Value {
    match value {
        Value::Null => panic!("TOML has no null"),
        Value::Bool(it) => toml::Value::Boolean(*it),
        Value::Number(number) => number.as_i64().map_or_else(
            || toml::Value::Float(number.as_f64().unwrap()),
            toml::Value::Integer,
        ),
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(list) => toml::Value::Array(list.iter().map(to_toml).collect()),
        Value::Object(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.clone(), to_toml(value)))
                .collect(),
        ),
    }
}

/// Adds every default of the schema that the config leaves out; returns how many.
fn write_defaults(schema: &Value, config: &mut Value) -> usize {
    let mut count = 0;
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let config = config.as_object_mut().unwrap();
        count += write_default(key, schema, config);
        if let Some(inner) = config.get_mut(key) {
            count += write_defaults(schema, inner);
        }
    }
    let entries = schema["patternProperties"].as_object();
    for entry in entries.into_iter().flat_map(|patterns| patterns.values()) {
        for inner in config.as_object_mut().unwrap().values_mut() {
            count += write_defaults(entry, inner);
        }
    }
    if let (Some(items), Some(list)) = (schema.get("items"), config.as_array_mut()) {
        for inner in list {
            count += write_defaults(items, inner);
        }
    }
    count
}

/// Adds the default of one key, or an empty table for the defaults in it; returns how many.
fn write_default(key: &str, schema: &Value, config: &mut serde_json::Map<String, Value>) -> usize {
    let default = schema.get("default");
    let is_table = default.is_none() && schema.get("properties").is_some();
    if config.contains_key(key) {
        return 0;
    }
    if is_table && !is_alternative(key) {
        config.insert(key.to_owned(), json!({}));
    }
    let added = default.map(|default| config.insert(key.to_owned(), default.clone()));
    usize::from(added.is_some())
}

/// A table of which only one of several may be given.
fn is_alternative(key: &str) -> bool {
    let kinds = ["embedded", "env", "directory", "openbao", "exec"];
    let logins = ["approle", "kubernetes", "jwt"];
    kinds.contains(&key) || logins.contains(&key) || key == "token"
}

fn for_each_key(schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        visit(key, inner);
        for_each_key(inner, visit);
    }
    for inner in schema["patternProperties"]
        .as_object()
        .into_iter()
        .flat_map(|it| it.values())
    {
        for_each_key(inner, visit);
    }
    if let Some(items) = schema.get("items") {
        for_each_key(items, visit);
    }
}
