//! The script of the demo (`config/demo.toml`): accounts, the sidecar's config, scenes.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoScript {
    /// What the demo prints first.
    pub(super) intro: String,
    /// The backend's dialect.
    pub(super) dialect: String,
    /// The text that the backend sends.
    pub(super) text: String,
    /// The sidecar's config, with placeholders for addresses.
    pub(super) sidecar: String,
    pub(super) accounts: BTreeMap<String, DemoAccount>,
    pub(super) scenes: Vec<Scene>,
}

/// One account at one simulated service; its name is that of the dialect and the provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoAccount {
    pub(super) credential: BTreeMap<String, String>,
    /// The credential after its rotation.
    #[serde(default)]
    pub(super) rotated_credential: BTreeMap<String, String>,
}

/// One request, and what goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scene {
    pub(super) title: String,
    pub(super) to: String,
    /// This service accepts the rotated credential only; the vault gets it at the first rejection.
    pub(super) rotate: Option<String>,
    /// These services reject the message, each for a cause.
    #[serde(default)]
    pub(super) reject: BTreeMap<String, String>,
    /// This service accepts the message and closes the connection without a reply.
    pub(super) drop_reply: Option<String>,
    /// These services accept another credential, which is not in the vault.
    #[serde(default)]
    pub(super) revoke: Vec<String>,
    /// The provider that an operator puts back before the request.
    pub(super) resume: Option<String>,
    pub(super) expect: Expectation,
}

/// How the scene must end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    pub(super) status: u16,
    /// The provider that delivers.
    pub(super) via: Option<String>,
    pub(super) attempts: u64,
}

impl DemoScript {
    pub(super) fn built_in() -> anyhow::Result<Self> {
        Ok(toml::from_str(include_str!("../../../config/demo.toml"))?)
    }
}
