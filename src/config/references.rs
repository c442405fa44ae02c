//! References to the entries of vaults: `credential`, `token`, and `webhook`, which may be a URL instead.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::spanned::{ConfigString, NamedTables};
use crate::config::text_types::IdentifierText;

/// A reference to an entry of a vault; never a value.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["vault"]))]
pub(super) struct RawCredentialRef {
    /// The name of a table in `[vaults]`.
    #[schemars(with = "IdentifierText", extend("examples" = ["local"]))]
    pub(super) vault: Option<ConfigString>,
    /// The entry in that vault. Required for `embedded` and `openbao`.
    #[schemars(with = "String", extend("x-default" = "none", "examples" = ["sms/playmobile"]))]
    pub(super) path: Option<ConfigString>,
    /// The vault's names for the dialect's fields, where they differ.
    #[schemars(with = "BTreeMap<String, String>", extend("x-default" = "the dialect's names", "examples" = [{ "auth_token": "TWILIO_AUTH_TOKEN" }]))]
    pub(super) fields: NamedTables<ConfigString>,
}

/// `webhook` of `[notify]`.
pub(super) enum RawWebhook {
    Url(String),
    Vault(RawCredentialRef),
}

impl<'de> Deserialize<'de> for RawWebhook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WebhookVisitor)
    }
}

struct WebhookVisitor;

impl<'de> Visitor<'de> for WebhookVisitor {
    type Value = RawWebhook;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, url: &str) -> Result<RawWebhook, E> {
        Ok(RawWebhook::Url(url.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawWebhook, A::Error> {
        RawCredentialRef::deserialize(MapAccessDeserializer::new(map)).map(RawWebhook::Vault)
    }
}

/// Stands for the value in the JSON Schema.
pub(super) struct WebhookValue;

impl JsonSchema for WebhookValue {
    fn schema_name() -> Cow<'static, str> {
        "WebhookValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^https?://[^/?#@ ]+([/?][^# ]*)?$" },
                generator.subschema_for::<RawCredentialRef>(),
            ],
            "x-type": "URL or vault entry",
        })
    }
}
