//! The file's shape: which keys there are, of which TOML type, and for the JSON Schema and the
//! reference what each means, its default and an example. The meaning of the values is checked in
//! `check`, so that its errors can point at them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::choices::{
    LOG_FORMATS, LOG_LEVELS, MODES, NOTIFICATION_FORMATS, ON_UNKNOWN, OTHER_HOSTS, PREFERENCES,
    TEMPLATES, words,
};
use crate::config::references::{RawCredentialRef, RawWebhook, WebhookValue};
use crate::config::spanned::{ConfigString, NamedTables};
use crate::config::text_types::{
    CountryCodeText, DurationOrNeverText, DurationText, FilePathText, HttpUrlText, IdentifierText,
    IpAddressText, ListenAddressText, OperationText, PhonePrefixText, PositiveDurationText,
    ProxyUrlText, ServiceNameText, SizeText,
};
use crate::config::vaults::RawVault;

/// The keys at the top of the file.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    /// The name of this sidecar on the status page and in `status`, beside the name of its host.
    #[schemars(with = "ServiceNameText", extend("x-default" = "none", "examples" = ["otp"]))]
    pub(super) instance: Option<ConfigString>,
    /// `observe`: pass every request on unchanged and only watch. A route can set its own.
    #[schemars(with = "String", extend("enum" = words(MODES), "default" = "act"))]
    pub(super) mode: Option<ConfigString>,
    /// A folder with descriptions of your own; they extend or replace the built-in ones.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/etc/sms-sidecar/dialects"]))]
    pub(super) dialects: Option<ConfigString>,
    /// Give a provider's own 401 to the backend instead of an answer of the sidecar.
    pub(super) pass_401: bool,
    /// The addresses and sockets that the sidecar listens on.
    pub(super) listen: RawListen,
    /// End TLS for the hosts of the configured providers, with a local CA that `sms-sidecar ca`
    /// makes; also what happens to requests for other hosts.
    #[schemars(with = "RawIntercept")]
    pub(super) intercept: Option<Spanned<RawIntercept>>,
    /// Sizes, times and counts at the entrypoints.
    pub(super) limits: RawLimits,
    /// The log on standard error.
    pub(super) log: RawLog,
    /// Export spans by OTLP over HTTP. Without this table there are none.
    #[schemars(with = "RawTraces")]
    pub(super) traces: Option<Spanned<RawTraces>>,
    /// Post a notification when a provider or a route changes its state. Without this table nothing is posted.
    #[schemars(with = "RawNotify")]
    pub(super) notify: Option<Spanned<RawNotify>>,
    /// Where credentials come from. Each vault has exactly one kind.
    #[schemars(with = "BTreeMap<IdentifierText, RawVault>")]
    pub(super) vaults: NamedTables<RawVault>,
    /// The accounts: one table for each. The name is a metric label and the first segment of a base URL.
    #[schemars(with = "BTreeMap<IdentifierText, RawProvider>")]
    pub(super) providers: NamedTables<RawProvider>,
    /// Who may use an entrypoint. One that is reachable from other hosts requires a caller with a token.
    #[schemars(with = "BTreeMap<IdentifierText, RawCaller>")]
    pub(super) callers: NamedTables<RawCaller>,
    /// Texts that services must approve, and their approved forms.
    #[schemars(with = "BTreeMap<IdentifierText, RawTemplate>")]
    pub(super) templates: NamedTables<RawTemplate>,
    /// Which messages go to which providers. The first match wins. Without routes every message may
    /// go to every provider, in the file's order.
    #[schemars(with = "Vec<RawRoute>")]
    pub(super) routes: Vec<Spanned<RawRoute>>,
}

/// The addresses and sockets that the sidecar listens on.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawListen {
    /// The backend's way in: base URL (`http://ADDRESS/<provider or dialect>/…`), absolute form and `CONNECT`.
    #[schemars(with = "ListenAddressText", extend("default" = "127.0.0.1:8125"))]
    pub(super) proxy: Option<ConfigString>,
    /// Host names that backends may use in their base URL, beside IP addresses and `localhost`.
    #[schemars(with = "Vec<String>", extend("x-default" = "none", "examples" = [["sms-sidecar.internal"]]))]
    pub(super) names: Vec<ConfigString>,
    /// A Unix socket for the backend, or `"off"`.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/run/sms-sidecar/proxy.sock"]))]
    pub(super) unix: Option<ConfigString>,
    /// Not supported yet; `check` says so.
    #[schemars(skip)]
    pub(super) transparent: Option<ConfigString>,
    /// Serves `/metrics`, `/live`, `/ready` and the status page. Nothing here changes state.
    #[schemars(with = "ListenAddressText", extend("default" = "127.0.0.1:9125"))]
    pub(super) admin: Option<ConfigString>,
    /// Serves only `/metrics`, `/live` and `/ready`, for a Prometheus on another host.
    #[schemars(with = "ListenAddressText", extend("x-default" = "none", "examples" = ["0.0.0.0:9126"]))]
    pub(super) metrics: Option<ConfigString>,
    /// The socket that `pause`, `resume`, `send`, `status` and `reload` connect to. Without it these
    /// commands do not work; so with `"off"`.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/run/sms-sidecar/control.sock"]))]
    pub(super) control: Option<ConfigString>,
}

/// End TLS for the hosts of the configured providers, with a local CA that `sms-sidecar ca` makes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIntercept {
    /// The local CA. Without it a `CONNECT` to a provider's host is denied.
    #[schemars(with = "RawCa")]
    pub(super) ca: Option<Spanned<RawCa>>,
    /// What happens to `CONNECT` and absolute-form requests for all other hosts.
    #[schemars(with = "String", extend("enum" = words(OTHER_HOSTS), "default" = "tunnel"))]
    pub(super) other_hosts: Option<ConfigString>,
}

/// The files of the local CA.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["cert_file", "key_file"]))]
pub(super) struct RawCa {
    /// The certificate, in PEM.
    #[schemars(with = "FilePathText", extend("examples" = ["/etc/sms-sidecar/ca.pem"]))]
    pub(super) cert_file: Option<ConfigString>,
    /// Its key, readable by the sidecar's user only.
    #[schemars(with = "FilePathText", extend("examples" = ["/etc/sms-sidecar/ca.key"]))]
    pub(super) key_file: Option<ConfigString>,
}

/// Sizes, times and counts at the entrypoints.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    /// The largest body of a request or a reply.
    #[schemars(with = "SizeText", extend("default" = "1MiB"))]
    pub(super) body: Option<ConfigString>,
    /// How much memory the bodies of all requests and replies may take at once, with what is read from them: half for
    /// requests, half for replies. The first 16 KiB of each do not count. A request beyond it gets 503 and is safe to
    /// repeat.
    #[schemars(with = "SizeText", extend("default" = "64MiB"))]
    pub(super) in_flight: Option<ConfigString>,
    /// The largest head of a request.
    #[schemars(with = "SizeText", extend("default" = "32KiB"))]
    pub(super) headers: Option<ConfigString>,
    /// How long a client may take to send its head, and again its body, and not read on in its response.
    #[schemars(with = "PositiveDurationText", extend("default" = "10s"))]
    pub(super) client: Option<ConfigString>,
    /// How many connections may be open at once. A request whose client has left counts until it ends.
    #[schemars(with = "u32", range(min = 1), extend("default" = 1024))]
    pub(super) connections: Option<Spanned<u32>>,
    /// How long a kept-alive connection or a tunnel may be idle. Node does not repeat a POST on a reused connection
    /// that was closed, so keep this long.
    #[schemars(with = "PositiveDurationText", extend("default" = "10m"))]
    pub(super) idle: Option<ConfigString>,
    /// How long a host of no provider may take to begin its answer to a forwarded request or in a tunnel,
    /// and pause while it answers a forwarded request.
    #[schemars(with = "PositiveDurationText", extend("default" = "1m"))]
    pub(super) forward: Option<ConfigString>,
    /// How long requests in flight may take to finish when the process stops.
    #[schemars(with = "DurationText", extend("default" = "10s"))]
    pub(super) drain: Option<ConfigString>,
}

/// The log on standard error.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// One JSON object per line, or text for people.
    #[schemars(with = "String", extend("enum" = words(LOG_FORMATS), "default" = "json"))]
    pub(super) format: Option<ConfigString>,
    /// The least severe level that is written.
    #[schemars(with = "String", extend("enum" = words(LOG_LEVELS), "default" = "info"))]
    pub(super) level: Option<ConfigString>,
}

/// Export spans by OTLP over HTTP.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["endpoint"]))]
pub(super) struct RawTraces {
    /// The base URL of a collector; `/v1/traces` is appended.
    #[schemars(with = "HttpUrlText", extend("examples" = ["http://127.0.0.1:4318"]))]
    pub(super) endpoint: Option<ConfigString>,
    /// The share of requests that is traced where the backend sends no `traceparent`: 0.0 none, 1.0 all.
    #[schemars(with = "f64", range(min = 0.0, max = 1.0), extend("default" = 1.0))]
    pub(super) sample: Option<Spanned<f64>>,
    /// The name of this service in the traces.
    #[schemars(with = "ServiceNameText", extend("default" = "sms-sidecar"))]
    pub(super) service_name: Option<ConfigString>,
    /// One more root certificate to trust.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/etc/ssl/private-ca.pem"]))]
    pub(super) ca_file: Option<ConfigString>,
}

/// Post a notification when a provider or a route changes its state.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["webhook"]))]
pub(super) struct RawNotify {
    /// The URL that notifications are posted to, or the vault entry whose field `webhook` holds it. A chat's
    /// URL is a secret.
    #[schemars(with = "WebhookValue", extend("examples" = [{ "vault": "local", "path": "notify/webhook" }]))]
    pub(super) webhook: Option<Spanned<RawWebhook>>,
    /// The body that the receiver expects.
    #[schemars(with = "String", extend("enum" = words(NOTIFICATION_FORMATS), "default" = "json"))]
    pub(super) format: Option<ConfigString>,
    /// The chat that gets the messages; required for `telegram`, and only there.
    #[schemars(with = "String", extend("x-default" = "none", "examples" = ["@oncall"]))]
    pub(super) chat_id: Option<ConfigString>,
    /// In this time at most one problem of each provider or route is reported, and its end.
    #[schemars(with = "DurationText", extend("default" = "5m"))]
    pub(super) interval: Option<ConfigString>,
    /// Allow a URL without TLS that is not on this host.
    pub(super) insecure_http: bool,
    /// One more root certificate to trust.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/etc/ssl/private-ca.pem"]))]
    pub(super) ca_file: Option<ConfigString>,
    /// How connections to the receiver leave the host.
    pub(super) outbound: RawOutbound,
}

/// One account at one SMS service.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["dialect"]))]
pub(super) struct RawProvider {
    /// The API of the service; `sms-sidecar dialects` lists them.
    #[schemars(with = "IdentifierText", extend("examples" = ["plain"]))]
    pub(super) dialect: Option<ConfigString>,
    /// Where the account's credential is kept. Required unless every route to the provider observes.
    #[schemars(with = "RawCredentialRef")]
    pub(super) credential: Option<Spanned<RawCredentialRef>>,
    /// The sender of every message through this account.
    #[schemars(with = "String", extend("x-default" = "what the backend wrote", "examples" = ["3700"]))]
    pub(super) sender: Option<ConfigString>,
    /// The country calling code of numbers that the backend writes without one, for routes that set no `country`.
    #[schemars(with = "CountryCodeText", extend("x-default" = "none: every number has its country code", "examples" = ["998"]))]
    pub(super) country: Option<ConfigString>,
    /// How long one attempt may take.
    #[schemars(with = "PositiveDurationText", extend("default" = "3s"))]
    pub(super) timeout: Option<ConfigString>,
    /// How long each step of opening a connection may take: TCP, the outbound proxy, TLS. Nothing is sent before, so a
    /// message goes to the next provider at once.
    #[schemars(with = "PositiveDurationText", extend("default" = "1s"))]
    pub(super) connect_timeout: Option<ConfigString>,
    /// How long a connection is used for new requests; then the name is resolved again.
    #[schemars(with = "PositiveDurationText", extend("default" = "10m"))]
    pub(super) max_connection_age: Option<ConfigString>,
    /// Keep one TLS connection open in advance while messages are accepted, so that a lone message waits for no handshake.
    #[schemars(with = "bool", extend("default" = true))]
    pub(super) warm_connection: Option<bool>,
    /// When a quarantined provider is tried again for the first time; the interval doubles up to 15 minutes.
    #[schemars(with = "DurationOrNeverText", extend("default" = "1m"))]
    pub(super) recheck: Option<ConfigString>,
    /// `only`: skip this provider for a message that matches no template.
    #[schemars(with = "String", extend("enum" = words(TEMPLATES), "default" = "any"))]
    pub(super) templates: Option<ConfigString>,
    /// More operations that may pass, with the credential added. A path is below the base URL.
    #[schemars(with = "Vec<OperationText>", extend("examples" = [["GET /Accounts/{sid}/Usage/Records.json"]]))]
    pub(super) operations: Vec<ConfigString>,
    /// Use a dialect that no source or test confirms.
    pub(super) experimental: bool,
    /// Where attempts go.
    #[schemars(with = "HttpUrlText", extend("x-default" = "the dialect's base URL", "examples" = ["https://sms.example.com/api"]))]
    pub(super) base_url: Option<ConfigString>,
    /// One more root certificate to trust.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/etc/ssl/private-ca.pem"]))]
    pub(super) ca_file: Option<ConfigString>,
    /// Allow a `base_url` without TLS. The credential travels unencrypted.
    pub(super) insecure_http: bool,
    /// How connections to this provider leave the host.
    pub(super) outbound: RawOutbound,
    /// What the dialect requires of an account besides its credential.
    #[schemars(with = "BTreeMap<String, String>", extend("x-default" = "the dialect's defaults", "examples" = [{ "region": "eu-central-1" }]))]
    pub(super) param: NamedTables<ConfigString>,
}

/// How connections to a provider leave the host.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutbound {
    /// An HTTP proxy on the way out.
    #[schemars(with = "ProxyUrlText", extend("x-default" = "none", "examples" = ["http://proxy.internal:3128"]))]
    pub(super) proxy: Option<ConfigString>,
    /// The local address that connections come from.
    #[schemars(with = "IpAddressText", extend("x-default" = "the system's choice", "examples" = ["192.0.2.1"]))]
    pub(super) source_address: Option<ConfigString>,
}

/// A client of the entrypoints, identified by exactly one of these keys.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawCaller {
    /// The user that owns the client's socket; on this host only.
    #[schemars(with = "u32", extend("examples" = [1001]))]
    pub(super) uid: Option<Spanned<u32>>,
    /// Where the token is kept that the client sends.
    #[schemars(with = "RawCredentialRef")]
    pub(super) token: Option<Spanned<RawCredentialRef>>,
}

/// A text that services must approve, and its approved forms.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["text"]))]
pub(super) struct RawTemplate {
    /// The text as the backend writes it, with `{holes}`. The whole text must match.
    #[schemars(with = "String", extend("examples" = ["1port: kod {code}"]))]
    pub(super) text: Option<ConfigString>,
    /// The approved text of each provider or dialect.
    #[schemars(with = "BTreeMap<String, String>", extend("x-default" = "`text`", "examples" = [{ "backup": "code for 1port: {code}" }]))]
    pub(super) texts: NamedTables<ConfigString>,
    /// The id of the approved text, where the service expects one.
    #[schemars(with = "BTreeMap<String, String>", extend("x-default" = "none", "examples" = [{ "backup": "1877" }]))]
    pub(super) ids: NamedTables<ConfigString>,
}

/// Which messages go to which providers.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRoute {
    /// The route's name, a metric label.
    #[schemars(with = "IdentifierText", extend("x-default" = "`route-N`, N its place in the file", "examples" = ["uzbekistan"]))]
    pub(super) name: Option<ConfigString>,
    /// Prefixes of the recipient's number.
    #[schemars(with = "Vec<PhonePrefixText>", extend("x-default" = "every recipient", "examples" = [["+998"]]))]
    pub(super) recipients: Vec<ConfigString>,
    /// The country calling code of numbers that the backend writes without one: `901234567` becomes `998901234567`. A
    /// number that cannot be one is answered at once.
    #[schemars(with = "CountryCodeText", extend("x-default" = "that of the first of its providers that sets one", "examples" = ["998"]))]
    pub(super) country: Option<ConfigString>,
    /// Names of `[callers]`.
    #[schemars(with = "Vec<IdentifierText>", extend("x-default" = "every caller", "examples" = [["backend"]]))]
    pub(super) callers: Vec<ConfigString>,
    /// What the backend speaks.
    #[schemars(with = "Vec<IdentifierText>", extend("x-default" = "every dialect", "examples" = [["plain"]]))]
    pub(super) dialects: Vec<ConfigString>,
    /// Names of `[providers]`, in the order of preference.
    #[schemars(with = "Vec<IdentifierText>", extend("x-default" = "all, in the file's order", "examples" = [["main", "backup"]]))]
    pub(super) providers: Option<Vec<ConfigString>>,
    /// How long the whole request may take.
    #[schemars(with = "PositiveDurationText", extend("default" = "8s"))]
    pub(super) deadline: Option<ConfigString>,
    /// How many attempts one provider gets.
    #[schemars(with = "u32", range(min = 1, max = 10), extend("default" = 2))]
    pub(super) attempts: Option<Spanned<u32>>,
    /// What follows an attempt that may have been sent: try another provider, or end the request.
    #[schemars(with = "String", extend("enum" = words(ON_UNKNOWN), "default" = "failover"))]
    pub(super) on_unknown: Option<ConfigString>,
    /// How long the same text to the same number counts as the same message after its answer. `0s`: never.
    #[schemars(with = "DurationText", extend("default" = "10s"))]
    pub(super) duplicate_window: Option<ConfigString>,
    /// `native`: providers of the backend's dialect come first. `listed`: the listed order alone.
    #[schemars(with = "String", extend("enum" = words(PREFERENCES), "default" = "native"))]
    pub(super) prefer: Option<ConfigString>,
    /// `observe`: pass requests on unchanged and only watch.
    #[schemars(with = "String", extend("enum" = words(MODES), "x-default" = "the top-level `mode`"))]
    pub(super) mode: Option<ConfigString>,
}
