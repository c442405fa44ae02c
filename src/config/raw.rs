//! The file's shape and nothing else: which keys there are and of which TOML type. What the
//! words mean is `check`'s business, so that its complaints can be ours and point at them.

use serde::Deserialize;
use toml::Spanned;

use crate::config::spanned::{ConfigString, NamedTables};
use crate::config::vaults::RawVault;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) mode: Option<ConfigString>,
    pub(super) dialects: Option<ConfigString>,
    pub(super) pass_401: bool,
    pub(super) listen: RawListen,
    pub(super) intercept: Option<Spanned<RawIntercept>>,
    pub(super) limits: RawLimits,
    pub(super) log: RawLog,
    pub(super) traces: Option<Spanned<RawTraces>>,
    pub(super) vaults: NamedTables<RawVault>,
    pub(super) providers: NamedTables<RawProvider>,
    pub(super) callers: NamedTables<RawCaller>,
    pub(super) templates: NamedTables<RawTemplate>,
    pub(super) routes: Vec<Spanned<RawRoute>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawListen {
    pub(super) proxy: Option<ConfigString>,
    pub(super) unix: Option<ConfigString>,
    pub(super) transparent: Option<ConfigString>,
    pub(super) admin: Option<ConfigString>,
    pub(super) metrics: Option<ConfigString>,
    pub(super) control: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIntercept {
    pub(super) ca: Option<Spanned<RawCa>>,
    pub(super) other_hosts: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCa {
    pub(super) cert_file: Option<ConfigString>,
    pub(super) key_file: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) body: Option<ConfigString>,
    pub(super) headers: Option<ConfigString>,
    pub(super) client: Option<ConfigString>,
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) idle: Option<ConfigString>,
    pub(super) drain: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) format: Option<ConfigString>,
    pub(super) level: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTraces {
    pub(super) endpoint: Option<ConfigString>,
    pub(super) sample: Option<Spanned<f64>>,
    pub(super) service_name: Option<ConfigString>,
    pub(super) ca_file: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProvider {
    pub(super) dialect: Option<ConfigString>,
    pub(super) credential: Option<Spanned<RawCredentialRef>>,
    pub(super) sender: Option<ConfigString>,
    pub(super) timeout: Option<ConfigString>,
    pub(super) recheck: Option<ConfigString>,
    pub(super) templates: Option<ConfigString>,
    pub(super) operations: Vec<ConfigString>,
    pub(super) experimental: bool,
    pub(super) base_url: Option<ConfigString>,
    pub(super) ca_file: Option<ConfigString>,
    pub(super) insecure_http: bool,
    pub(super) outbound: RawOutbound,
    pub(super) param: NamedTables<ConfigString>,
}

/// A reference into a vault; never a value.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCredentialRef {
    pub(super) vault: Option<ConfigString>,
    pub(super) path: Option<ConfigString>,
    pub(super) fields: NamedTables<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutbound {
    pub(super) proxy: Option<ConfigString>,
    pub(super) source_address: Option<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCaller {
    pub(super) uid: Option<Spanned<u32>>,
    pub(super) token: Option<Spanned<RawCredentialRef>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTemplate {
    pub(super) text: Option<ConfigString>,
    pub(super) texts: NamedTables<ConfigString>,
    pub(super) ids: NamedTables<ConfigString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRoute {
    pub(super) name: Option<ConfigString>,
    pub(super) recipients: Vec<ConfigString>,
    pub(super) callers: Vec<ConfigString>,
    pub(super) dialects: Vec<ConfigString>,
    pub(super) providers: Option<Vec<ConfigString>>,
    pub(super) deadline: Option<ConfigString>,
    pub(super) attempts: Option<Spanned<u32>>,
    pub(super) on_unknown: Option<ConfigString>,
    pub(super) duplicate_window: Option<ConfigString>,
    pub(super) prefer: Option<ConfigString>,
    pub(super) mode: Option<ConfigString>,
}
