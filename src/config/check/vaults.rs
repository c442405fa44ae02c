//! `[vaults]`: where what opens the accounts is kept, and who we are to whoever keeps it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::config::ConfigKey;
use crate::config::check::checker::ConfigChecker;
use crate::config::raw::{self, ConfigString, RawConfig, in_file_order};
use crate::config::values;
use crate::vault::{KvVersion, OpenBaoAuth, OpenBaoSettings, Settings, SourceSettings};

/// One read of a vault server, its login included: a call that waits for it must have time left for another provider.
const DEFAULT_SERVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How old a look at an entry may get.
const DEFAULT_POLL: Duration = Duration::from_mins(1);
/// One run of a command.
const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Where Kubernetes puts a pod's own token.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) fn vaults(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> Settings {
    let mut sources = BTreeMap::new();
    for (name, vault) in in_file_order(&file.vaults) {
        judge.require(name, values::identifier);
        let kinds = [
            vault.embedded.is_some(),
            vault.env.is_some(),
            vault.directory.is_some(),
            vault.openbao.is_some(),
            vault.exec.is_some(),
        ];
        if kinds.iter().filter(|there| **there).count() != 1 {
            let help = "give it one of `embedded`, `openbao`, `directory`, `env`, `exec`";
            judge.error(name.span(), "a vault is of exactly one kind", help);
        }
        judge.record_span(ConfigKey::Vault(name.get_ref().clone()), name.span());
        if let Some(source) = source(judge, vault) {
            sources.insert(name.get_ref().clone(), source);
        }
    }
    Settings { sources }
}

fn source(judge: &mut ConfigChecker<'_>, vault: &raw::RawVault) -> Option<SourceSettings> {
    if let Some(table) = &vault.embedded {
        return Some(SourceSettings::Embedded {
            file: judge.required_path(table.get_ref().file.as_ref(), &table.span(), "file"),
            key_file: judge.required_path(
                table.get_ref().key_file.as_ref(),
                &table.span(),
                "key_file",
            ),
        });
    }
    if let Some(table) = &vault.directory {
        return Some(SourceSettings::Directory {
            path: judge.required_path(table.get_ref().path.as_ref(), &table.span(), "path"),
        });
    }
    if let Some(table) = &vault.openbao {
        return openbao(judge, table);
    }
    if let Some(table) = &vault.exec {
        return Some(exec(judge, table));
    }
    let table = vault.env.as_ref()?;
    Some(SourceSettings::Env {
        file: table.get_ref().file.as_ref().map(|word| judge.path(word)),
    })
}

fn exec(judge: &mut ConfigChecker<'_>, table: &Spanned<raw::RawExec>) -> SourceSettings {
    let raw = table.get_ref();
    let program = raw.command.first();
    match program {
        None => judge.error(
            table.span(),
            "`command` is missing here",
            "add `command = [\"/usr/local/bin/…\", \"{path}\"]`; it is run without a shell",
        ),
        Some(word) if !word.get_ref().starts_with('/') => {
            judge.error(
                word.span(),
                "a program without its whole path is looked for nowhere",
                "write its whole path, from `/` on; it is run without a shell",
            );
        }
        Some(_) => {}
    }
    let command = raw
        .command
        .iter()
        .map(|word| word.get_ref().clone())
        .collect();
    SourceSettings::Exec {
        command,
        timeout: judge.parse_or(
            raw.timeout.as_ref(),
            DEFAULT_COMMAND_TIMEOUT,
            values::positive_duration,
        ),
    }
}

fn openbao(
    judge: &mut ConfigChecker<'_>,
    table: &Spanned<raw::RawOpenBao>,
) -> Option<SourceSettings> {
    let raw = table.get_ref();
    let address = address(judge, table);
    let mount = mount_or(judge, raw.mount.as_ref(), "secret");
    let kv = raw.kv.as_ref().and_then(|kv| kv_version(judge, kv));
    let namespace = raw.namespace.as_ref().map(|word| mount_path(judge, word));
    let ca_file = raw.ca_file.as_ref().map(|word| judge.path(word));
    let timeout = judge.parse_or(
        raw.timeout.as_ref(),
        DEFAULT_SERVER_TIMEOUT,
        values::positive_duration,
    );
    let poll = judge.parse_or(raw.poll.as_ref(), DEFAULT_POLL, values::positive_duration);
    let auth = auth(judge, table)?;
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

/// The token travels with every request: in clear only where the way never leaves this host, or by an express word.
fn address(judge: &mut ConfigChecker<'_>, table: &Spanned<raw::RawOpenBao>) -> String {
    let Some(word) = &table.get_ref().address else {
        judge.error(
            table.span(),
            "`address` is missing here",
            "add `address = \"https://vault.internal:8200\"`",
        );
        return String::new();
    };
    let url = judge.parse_or(Some(word), None, |url| values::base_url(url).map(Some));
    let local = |host: &str| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    };
    let clear =
        url.is_some_and(|url| url.scheme_str() == Some("http") && !url.host().is_some_and(local));
    if clear && !table.get_ref().insecure_http {
        let help = "use https, or set `insecure_http = true` where the way there is yours";
        judge.error(
            word.span(),
            "the vault's token and entries would travel in clear to this URL",
            help,
        );
    }
    word.get_ref().trim_end_matches('/').to_owned()
}

fn kv_version(judge: &mut ConfigChecker<'_>, kv: &Spanned<u32>) -> Option<KvVersion> {
    match kv.get_ref() {
        1 => Some(KvVersion::V1),
        2 => Some(KvVersion::V2),
        _ => {
            judge.error(
                kv.span(),
                "there is no such version of KV",
                "write 1 or 2, or leave it out: the server is asked then",
            );
            None
        }
    }
}

fn mount_or(judge: &mut ConfigChecker<'_>, word: Option<&ConfigString>, default: &str) -> String {
    word.map_or_else(|| default.to_owned(), |word| mount_path(judge, word))
}

fn mount_path(judge: &mut ConfigChecker<'_>, word: &ConfigString) -> String {
    judge.require(word, values::mount_path);
    word.get_ref().trim_matches('/').to_owned()
}

fn auth(judge: &mut ConfigChecker<'_>, table: &Spanned<raw::RawOpenBao>) -> Option<OpenBaoAuth> {
    let raw = table.get_ref();
    let ways = [
        raw.token_file.is_some(),
        raw.approle.is_some(),
        raw.kubernetes.is_some(),
        raw.jwt.is_some(),
    ];
    if ways.iter().filter(|there| **there).count() != 1 {
        let help = "give it one of `token_file` (also a Vault agent's sink), `approle`, `kubernetes`, `jwt`";
        judge.error(
            table.span(),
            "a vault server is logged in to in exactly one way",
            help,
        );
    }
    if let Some(file) = &raw.token_file {
        return Some(OpenBaoAuth::TokenFile(judge.path(file)));
    }
    if let Some(table) = &raw.approle {
        let (raw, span) = (table.get_ref(), table.span());
        return Some(OpenBaoAuth::AppRole {
            role_id_file: judge.required_path(raw.role_id_file.as_ref(), &span, "role_id_file"),
            secret_id_file: judge.required_path(
                raw.secret_id_file.as_ref(),
                &span,
                "secret_id_file",
            ),
            wrapped: raw.wrapped,
            mount: mount_or(judge, raw.mount.as_ref(), "approle"),
        });
    }
    let kubernetes = raw.kubernetes.is_some();
    let table = raw.kubernetes.as_ref().or(raw.jwt.as_ref())?;
    let (raw, span) = (table.get_ref(), table.span());
    let jwt_file = if kubernetes && raw.jwt_file.is_none() {
        PathBuf::from(SERVICE_ACCOUNT_TOKEN)
    } else {
        judge.required_path(raw.jwt_file.as_ref(), &span, "jwt_file")
    };
    Some(OpenBaoAuth::Jwt {
        role: role(judge, raw, &span),
        jwt_file,
        mount: mount_or(
            judge,
            raw.mount.as_ref(),
            if kubernetes { "kubernetes" } else { "jwt" },
        ),
        kubernetes,
    })
}

fn role(judge: &mut ConfigChecker<'_>, raw: &raw::RawJwt, span: &Range<usize>) -> String {
    let Some(word) = &raw.role else {
        judge.error(
            span.clone(),
            "`role` is missing here",
            "add `role = \"…\"`: the server's role that this sidecar logs in as",
        );
        return String::new();
    };
    word.get_ref().clone()
}
