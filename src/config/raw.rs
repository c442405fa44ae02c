//! The file's shape and nothing else: which keys there are and of which TOML type. What the
//! words mean is `check`'s business, so that its complaints can be ours and point at them.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A string and where it stands.
pub(super) type Word = Spanned<String>;
/// `[kind.NAME]` tables. Their order in the file is that of the keys' spans.
pub(super) type Named<T> = BTreeMap<Word, T>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) mode: Option<Word>,
    pub(super) dialects: Option<Word>,
    pub(super) pass_401: bool,
    pub(super) listen: Listen,
    pub(super) intercept: Option<Spanned<Intercept>>,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) traces: Option<Spanned<Traces>>,
    pub(super) vaults: Named<Vault>,
    pub(super) providers: Named<Provider>,
    pub(super) callers: Named<Caller>,
    pub(super) templates: Named<Template>,
    pub(super) routes: Vec<Spanned<Route>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listen {
    pub(super) proxy: Option<Word>,
    pub(super) unix: Option<Word>,
    pub(super) transparent: Option<Word>,
    pub(super) admin: Option<Word>,
    pub(super) metrics: Option<Word>,
    pub(super) control: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Intercept {
    pub(super) ca: Option<Spanned<Ca>>,
    pub(super) other_hosts: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ca {
    pub(super) cert_file: Option<Word>,
    pub(super) key_file: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) body: Option<Word>,
    pub(super) headers: Option<Word>,
    pub(super) client: Option<Word>,
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) idle: Option<Word>,
    pub(super) drain: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Option<Word>,
    pub(super) level: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Traces {
    pub(super) endpoint: Option<Word>,
    pub(super) sample: Option<Spanned<f64>>,
    pub(super) service_name: Option<Word>,
    pub(super) ca_file: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Vault {
    pub(super) embedded: Option<Spanned<Embedded>>,
    pub(super) env: Option<Spanned<Env>>,
    pub(super) directory: Option<Spanned<Directory>>,
    pub(super) openbao: Option<Spanned<OpenBao>>,
    pub(super) exec: Option<Spanned<Exec>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Embedded {
    pub(super) file: Option<Word>,
    pub(super) key_file: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Env {
    pub(super) file: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Directory {
    pub(super) path: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OpenBao {
    pub(super) address: Option<Word>,
    pub(super) mount: Option<Word>,
    pub(super) kv: Option<Spanned<u32>>,
    pub(super) namespace: Option<Word>,
    pub(super) ca_file: Option<Word>,
    pub(super) insecure_http: bool,
    pub(super) timeout: Option<Word>,
    pub(super) poll: Option<Word>,
    pub(super) token_file: Option<Word>,
    pub(super) approle: Option<Spanned<AppRole>>,
    pub(super) kubernetes: Option<Spanned<Jwt>>,
    pub(super) jwt: Option<Spanned<Jwt>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AppRole {
    pub(super) role_id_file: Option<Word>,
    pub(super) secret_id_file: Option<Word>,
    pub(super) wrapped: bool,
    pub(super) mount: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the keys as they stand in the file")]
pub(super) struct Jwt {
    pub(super) role: Option<Word>,
    pub(super) jwt_file: Option<Word>,
    pub(super) mount: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exec {
    pub(super) command: Vec<Word>,
    pub(super) timeout: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Provider {
    pub(super) dialect: Option<Word>,
    pub(super) credential: Option<Spanned<Entry>>,
    pub(super) sender: Option<Word>,
    pub(super) timeout: Option<Word>,
    pub(super) recheck: Option<Word>,
    pub(super) templates: Option<Word>,
    pub(super) operations: Vec<Word>,
    pub(super) experimental: bool,
    pub(super) base_url: Option<Word>,
    pub(super) ca_file: Option<Word>,
    pub(super) insecure_http: bool,
    pub(super) outbound: Outbound,
    pub(super) param: Named<Word>,
}

/// A reference into a vault; never a value.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    pub(super) vault: Option<Word>,
    pub(super) path: Option<Word>,
    pub(super) fields: Named<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Outbound {
    pub(super) proxy: Option<Word>,
    pub(super) source_address: Option<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Caller {
    pub(super) uid: Option<Spanned<u32>>,
    pub(super) token: Option<Spanned<Entry>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Template {
    pub(super) text: Option<Word>,
    pub(super) texts: Named<Word>,
    pub(super) ids: Named<Word>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Route {
    pub(super) name: Option<Word>,
    pub(super) recipients: Vec<Word>,
    pub(super) callers: Vec<Word>,
    pub(super) dialects: Vec<Word>,
    pub(super) providers: Option<Vec<Word>>,
    pub(super) deadline: Option<Word>,
    pub(super) attempts: Option<Spanned<u32>>,
    pub(super) on_unknown: Option<Word>,
    pub(super) repeat_window: Option<Word>,
    pub(super) prefer: Option<Word>,
    pub(super) mode: Option<Word>,
}

/// The entries of a `[kind.NAME]` table as they stand in the file.
pub(super) fn in_order<T>(named: &Named<T>) -> Vec<(&Word, &T)> {
    let mut entries: Vec<_> = named.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}
