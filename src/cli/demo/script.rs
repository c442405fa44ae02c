//! The story as data (`config/demo.toml`): accounts, the sidecar's config, scenes.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What the demo plays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoScript {
    /// The first line.
    pub(super) intro: String,
    /// The dialect the backend speaks.
    pub(super) dialect: String,
    pub(super) text: String,
    /// The sidecar's config, with holes for addresses.
    pub(super) sidecar: String,
    pub(super) accounts: BTreeMap<String, DemoAccount>,
    pub(super) scenes: Vec<Scene>,
}

/// One account at one simulated service; dialect and provider have its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoAccount {
    pub(super) credential: BTreeMap<String, String>,
    /// What the credential is changed to.
    #[serde(default)]
    pub(super) rotated_credential: BTreeMap<String, String>,
}

/// One call and what happens around it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scene {
    pub(super) title: String,
    pub(super) to: String,
    /// This service takes the renewed credential only, and the vault gets it when it first refuses.
    pub(super) rotate: Option<String>,
    /// These services refuse, each for a cause.
    #[serde(default)]
    pub(super) reject: BTreeMap<String, String>,
    /// This service takes the message and hangs up.
    pub(super) drop_reply: Option<String>,
    /// These services take another credential, which nobody puts into the vault.
    #[serde(default)]
    pub(super) revoke: Vec<String>,
    /// Put back by hand before the call.
    pub(super) resume: Option<String>,
    pub(super) expect: Expectation,
}

/// What must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    pub(super) status: u16,
    pub(super) via: Option<String>,
    pub(super) attempts: u64,
}

impl DemoScript {
    pub(super) fn built_in() -> anyhow::Result<Self> {
        Ok(toml::from_str(include_str!("../../../config/demo.toml"))?)
    }
}
