//! `openbao`: a mount of an OpenBao or HashiCorp Vault server, and the login to it.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::checker::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::config::text_types::{FilePathText, HttpUrlText, MountPathText, PositiveDurationText};
use crate::config::values;
use crate::vault::{KvVersion, OpenBaoAuth, OpenBaoSettings, SourceSettings};

/// The time limit of one read, its login included: a request that waits for it must have time left
/// for another provider.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum age of an entry before it is read again.
const DEFAULT_POLL: Duration = Duration::from_mins(1);
/// Where Kubernetes mounts a pod's own token.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A mount of an OpenBao or HashiCorp Vault server. It has exactly one of `token_file`, `approle`, `kubernetes` and `jwt`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["address"]))]
pub(super) struct RawOpenBao {
    /// The server.
    #[schemars(with = "HttpUrlText", extend("examples" = ["https://vault.internal:8200"]))]
    address: Option<ConfigString>,
    /// The mount of the secrets engine.
    #[schemars(with = "MountPathText", extend("default" = "secret"))]
    mount: Option<ConfigString>,
    /// The version of its key-value engine, 1 or 2.
    #[schemars(with = "u32", range(min = 1, max = 2), extend("x-default" = "the server is queried", "examples" = [2]))]
    kv: Option<Spanned<u32>>,
    /// The namespace on the server.
    #[schemars(with = "MountPathText", extend("x-default" = "none", "examples" = ["team"]))]
    namespace: Option<ConfigString>,
    /// One more root certificate to trust.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/etc/ssl/private-ca.pem"]))]
    ca_file: Option<ConfigString>,
    /// Allow an address without TLS that is not on this host.
    insecure_http: bool,
    /// How long one read may take, including a login.
    #[schemars(with = "PositiveDurationText", extend("default" = "3s"))]
    timeout: Option<ConfigString>,
    /// How old a copy of an entry may become before it is read again.
    #[schemars(with = "PositiveDurationText", extend("default" = "1m"))]
    poll: Option<ConfigString>,
    /// Log in with the token in this file, which may also be a Vault agent's sink. Changes are followed.
    #[schemars(with = "FilePathText", extend("x-default" = "none", "examples" = ["/run/vault-agent/token"]))]
    token_file: Option<ConfigString>,
    /// Log in with an `AppRole`.
    #[schemars(with = "RawAppRole")]
    approle: Option<Spanned<RawAppRole>>,
    /// Log in with the pod's service account.
    #[schemars(with = "RawKubernetes")]
    kubernetes: Option<Spanned<RawKubernetes>>,
    /// Log in with a JWT.
    #[schemars(with = "RawJwt")]
    jwt: Option<Spanned<RawJwt>>,
}

/// A login with an `AppRole`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["role_id_file", "secret_id_file"]))]
struct RawAppRole {
    /// The file with the role id.
    #[schemars(with = "FilePathText", extend("examples" = ["/etc/sms-sidecar/role-id"]))]
    role_id_file: Option<ConfigString>,
    /// The file with the secret id. It is read again at every login.
    #[schemars(with = "FilePathText", extend("examples" = ["/etc/sms-sidecar/secret-id"]))]
    secret_id_file: Option<ConfigString>,
    /// The file holds a wrapping token instead, which is unwrapped once.
    wrapped: bool,
    /// The mount of the auth method.
    #[schemars(with = "MountPathText", extend("default" = "approle"))]
    mount: Option<ConfigString>,
}

/// A login with the pod's service account.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["role"]))]
struct RawKubernetes {
    /// The server's role to log in as.
    #[schemars(with = "String", extend("examples" = ["sms"]))]
    role: Option<ConfigString>,
    /// The file with the service account's token.
    #[schemars(with = "FilePathText", extend("default" = SERVICE_ACCOUNT_TOKEN))]
    jwt_file: Option<ConfigString>,
    /// The mount of the auth method.
    #[schemars(with = "MountPathText", extend("default" = "kubernetes"))]
    mount: Option<ConfigString>,
}

/// A login with a JWT.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["role", "jwt_file"]))]
struct RawJwt {
    /// The server's role to log in as.
    #[schemars(with = "String", extend("examples" = ["sms"]))]
    role: Option<ConfigString>,
    /// The file with the JWT. It is read again at every login.
    #[schemars(with = "FilePathText", extend("examples" = ["/run/tokens/vault.jwt"]))]
    jwt_file: Option<ConfigString>,
    /// The mount of the auth method.
    #[schemars(with = "MountPathText", extend("default" = "jwt"))]
    mount: Option<ConfigString>,
}

/// None: the login is missing.
pub(super) fn parse(
    checker: &mut ConfigChecker<'_>,
    table: &Spanned<RawOpenBao>,
) -> Option<SourceSettings> {
    let raw = table.get_ref();
    let address = address(checker, table);
    let mount = mount_or(checker, raw.mount.as_ref(), "secret");
    let kv = raw.kv.as_ref().and_then(|kv| kv_version(checker, kv));
    let namespace = raw.namespace.as_ref().map(|word| mount_path(checker, word));
    let ca_file = raw.ca_file.as_ref().map(|word| checker.path(word));
    let timeout = checker.parse_or(
        raw.timeout.as_ref(),
        DEFAULT_TIMEOUT,
        values::positive_duration,
    );
    let poll = checker.parse_or(raw.poll.as_ref(), DEFAULT_POLL, values::positive_duration);
    let auth = auth(checker, table)?;
    Some(SourceSettings::OpenBao(Box::new(OpenBaoSettings {
        address,
        mount,
        kv,
        namespace,
        ca_file,
        timeout,
        poll,
        auth,
    })))
}

/// The server's URL. The token travels with every request, so plain HTTP needs a loopback host or
/// `insecure_http`.
fn address(checker: &mut ConfigChecker<'_>, table: &Spanned<RawOpenBao>) -> String {
    let Some(word) = &table.get_ref().address else {
        checker.error(
            table.span(),
            "`address` is missing here",
            "add `address = \"https://vault.internal:8200\"`",
        );
        return String::new();
    };
    let url = checker.parse_or(Some(word), None, |url| values::base_url(url).map(Some));
    let is_clear = url.is_some_and(|url| {
        url.scheme_str() == Some("http") && !url.host().is_some_and(is_loopback_host)
    });
    if is_clear && !table.get_ref().insecure_http {
        checker.error(
            word.span(),
            "the vault's token and entries would travel unencrypted to this URL",
            "use https, or set `insecure_http = true` if you trust the network in between",
        );
    }
    word.get_ref().trim_end_matches('/').to_owned()
}

fn is_loopback_host(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn kv_version(checker: &mut ConfigChecker<'_>, kv: &Spanned<u32>) -> Option<KvVersion> {
    match kv.get_ref() {
        1 => Some(KvVersion::V1),
        2 => Some(KvVersion::V2),
        _ => {
            checker.error(
                kv.span(),
                "unknown KV version",
                "write 1 or 2, or remove the key: the sidecar then queries the server",
            );
            None
        }
    }
}

fn mount_or(checker: &mut ConfigChecker<'_>, word: Option<&ConfigString>, default: &str) -> String {
    word.map_or_else(|| default.to_owned(), |word| mount_path(checker, word))
}

fn mount_path(checker: &mut ConfigChecker<'_>, word: &ConfigString) -> String {
    checker.require(word, values::mount_path);
    word.get_ref().trim_matches('/').to_owned()
}

fn auth(checker: &mut ConfigChecker<'_>, table: &Spanned<RawOpenBao>) -> Option<OpenBaoAuth> {
    let raw = table.get_ref();
    let methods = [
        raw.token_file.is_some(),
        raw.approle.is_some(),
        raw.kubernetes.is_some(),
        raw.jwt.is_some(),
    ];
    if methods.iter().filter(|is_set| **is_set).count() != 1 {
        checker.error(
            table.span(),
            "a vault server must have exactly one login method",
            "set one of `token_file` (also a Vault agent's sink), `approle`, `kubernetes`, `jwt`",
        );
    }
    if let Some(file) = &raw.token_file {
        return Some(OpenBaoAuth::TokenFile(checker.path(file)));
    }
    if let Some(table) = &raw.approle {
        return Some(approle(checker, table));
    }
    if let Some(table) = &raw.kubernetes {
        return Some(kubernetes(checker, table));
    }
    raw.jwt.as_ref().map(|table| jwt(checker, table))
}

fn approle(checker: &mut ConfigChecker<'_>, table: &Spanned<RawAppRole>) -> OpenBaoAuth {
    let raw = table.get_ref();
    let span = table.span();
    OpenBaoAuth::AppRole {
        role_id_file: checker.required_path(raw.role_id_file.as_ref(), &span, "role_id_file"),
        secret_id_file: checker.required_path(raw.secret_id_file.as_ref(), &span, "secret_id_file"),
        wrapped: raw.wrapped,
        mount: mount_or(checker, raw.mount.as_ref(), "approle"),
    }
}

fn kubernetes(checker: &mut ConfigChecker<'_>, table: &Spanned<RawKubernetes>) -> OpenBaoAuth {
    let raw = table.get_ref();
    OpenBaoAuth::Jwt {
        role: role(checker, raw.role.as_ref(), &table.span()),
        jwt_file: raw.jwt_file.as_ref().map_or_else(
            || PathBuf::from(SERVICE_ACCOUNT_TOKEN),
            |word| checker.path(word),
        ),
        mount: mount_or(checker, raw.mount.as_ref(), "kubernetes"),
        kubernetes: true,
    }
}

fn jwt(checker: &mut ConfigChecker<'_>, table: &Spanned<RawJwt>) -> OpenBaoAuth {
    let raw = table.get_ref();
    let span = table.span();
    OpenBaoAuth::Jwt {
        role: role(checker, raw.role.as_ref(), &span),
        jwt_file: checker.required_path(raw.jwt_file.as_ref(), &span, "jwt_file"),
        mount: mount_or(checker, raw.mount.as_ref(), "jwt"),
        kubernetes: false,
    }
}

fn role(
    checker: &mut ConfigChecker<'_>,
    word: Option<&ConfigString>,
    span: &Range<usize>,
) -> String {
    let Some(word) = word else {
        checker.error(
            span.clone(),
            "`role` is missing here",
            "add `role = \"…\"`: the server's role that this sidecar logs in as",
        );
        return String::new();
    };
    word.get_ref().clone()
}
