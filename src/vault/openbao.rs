//! OpenBao and HashiCorp Vault over HTTP: entries of a KV mount (either version), or of any engine
//! whose reads return fields. Logs in by itself, keeps its token and leases alive, and backs off
//! exponentially while the server fails. Keeps everything in memory and nothing on disk.

mod backoff;
mod http;
mod lease;
mod reply;
mod server;
mod session;
mod settings;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock::Clock;
use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;
use crate::vault::kind::{VaultKind, WriteTarget};
use crate::vault::openbao::http::{VaultHttpClient, VaultRequest, VaultResponse};
use crate::vault::openbao::lease::LeaseTable;
use crate::vault::openbao::server::VaultServer;
use crate::vault::openbao::session::{VaultSession, VaultToken};
use crate::vault::source::{ReadSchedule, VaultSource, WatchPaths};

pub use settings::{KvVersion, OpenBaoAuth, OpenBaoSettings};

/// The characters that stay unescaped in a path.
const PATH_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

impl OpenBaoSettings {
    /// Its key under `[vaults.NAME]`.
    pub const KIND: &str = "openbao";
}

impl VaultKind for OpenBaoSettings {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn required_files(&self) -> Vec<&Path> {
        let mut files = self.auth.files();
        files.extend(self.ca_file.as_deref());
        files
    }

    fn missing_file_help(&self, _: &str) -> String {
        "the operator of the vault server, or its agent, provides this file".to_owned()
    }

    fn write_instructions(&self, target: &WriteTarget<'_>) -> String {
        let namespace = self
            .namespace
            .as_ref()
            .map_or_else(String::new, |namespace| format!("-namespace={namespace} "));
        let entry = format!("{namespace}-mount={} {}", self.mount, target.path);
        // `-` reads standard input, which serves one field only.
        let patch = |field: &String| format!("`bao kv patch {entry} {field}=-`");
        let patches: Vec<String> = target.fields.iter().map(patch).collect();
        if patches.is_empty() || self.kv == Some(KvVersion::V1) {
            format!("`bao kv put {entry} @FILE` with all of its fields as JSON in FILE")
        } else {
            format!(
                "{} (reads the value from standard input)",
                patches.join(", then ")
            )
        }
    }

    fn path_problem(&self, path: &str) -> Option<&'static str> {
        path_problem(path)
    }

    fn open(&self, clock: &Arc<dyn Clock>) -> Arc<dyn VaultSource> {
        Arc::new(OpenBao::new(self, clock))
    }
}

/// A mount of a server.
#[derive(Clone, Debug)]
pub(crate) struct OpenBao(Arc<OpenBaoInner>);

#[derive(Debug)]
struct OpenBaoInner {
    server: VaultServer,
    session: VaultSession,
    mount: String,
    kv: Option<KvVersion>,
    /// The detected KV version of the mount.
    detected_kv: Mutex<Option<KvVersion>>,
    leases: LeaseTable,
    poll: Duration,
}

impl OpenBao {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: &OpenBaoSettings, clock: &Arc<dyn Clock>) -> Self {
        let http = VaultHttpClient::new(
            &settings.address,
            settings.ca_file.clone(),
            settings.namespace.as_deref(),
        );
        Self(Arc::new(OpenBaoInner {
            server: VaultServer::new(http, settings.timeout, Arc::clone(clock)),
            session: VaultSession::new(settings.auth.clone(), Arc::clone(clock)),
            mount: settings.mount.trim_matches('/').to_owned(),
            kv: settings.kv,
            detected_kv: Mutex::default(),
            leases: LeaseTable::new(Arc::clone(clock)),
            poll: settings.poll,
        }))
    }
}

impl OpenBaoInner {
    async fn read_entry(&self, path: &str) -> Result<VaultEntry, ReadError> {
        if let Some(why) = path_problem(path) {
            return Err(ReadError::InvalidPath {
                path: path.into(),
                location: self.location().into(),
                why,
            });
        }
        let mut token = self.session.token(&self.server).await?;
        let mut answer = self.request_entry(path, &token).await?;
        if answer.status == 403 && !self.session.is_known(&self.server, &token).await? {
            token = self.session.replace_token(&self.server, &token).await?;
            answer = self.request_entry(path, &token).await?;
        }
        self.parse_answer(path, &answer, &token)
    }

    async fn request_entry(
        &self,
        path: &str,
        token: &VaultToken,
    ) -> Result<VaultResponse, ReadError> {
        let mount = encode_path(&self.mount);
        let path = encode_path(path);
        let whole = match self.kv_version(&mount, token).await? {
            KvVersion::V1 => format!("{mount}/{path}"),
            KvVersion::V2 => format!("{mount}/data/{path}"),
        };
        self.server
            .send(&VaultRequest::get(whole, &token.secret))
            .await
    }

    /// The KV version of the mount: configured, or reported by the server; version 2 if the server does not report one.
    async fn kv_version(&self, mount: &str, token: &VaultToken) -> Result<KvVersion, ReadError> {
        let known = self.kv.or_else(|| {
            *self
                .detected_kv
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = self
            .server
            .send(&VaultRequest::get(
                format!("sys/internal/ui/mounts/{mount}"),
                &token.secret,
            ))
            .await?;
        let Some(mount_reply) = answer.json().filter(|_| answer.status.is_success()) else {
            return Ok(KvVersion::V2);
        };
        let kv = reply::mount_kv_version(&mount_reply);
        *self
            .detected_kv
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(kv);
        Ok(kv)
    }

    fn parse_answer(
        &self,
        path: &str,
        answer: &VaultResponse,
        token: &VaultToken,
    ) -> Result<VaultEntry, ReadError> {
        let place = || self.location().into();
        let bad = |what: String| ReadError::InvalidReply {
            path: path.into(),
            location: place(),
            what: what.into(),
        };
        match answer.status.as_u16() {
            200 => {
                let found =
                    reply::parse_entry(self.known_kv_version(), &answer.body).map_err(bad)?;
                self.leases.record(path, found.lease, token);
                Ok(found.entry)
            }
            403 => Err(ReadError::Forbidden {
                path: path.into(),
                location: place(),
            }),
            404 => {
                let why = if reply::is_deleted(answer.json().as_ref()) {
                    "its newest version was deleted; bring it back (`bao kv undelete`, `bao kv rollback`) or write a new one"
                } else {
                    "nothing was ever written there, or all of it was deleted; compare `path` and `mount` with `bao kv list`"
                };
                Err(ReadError::EntryNotFound {
                    path: path.into(),
                    location: place(),
                    why,
                })
            }
            status => Err(bad(format!("the answer's status is {status}"))),
        }
    }

    /// The configured version, else the detected one, else 2.
    fn known_kv_version(&self) -> KvVersion {
        let detected = || {
            let detected = self.detected_kv.lock();
            *detected.unwrap_or_else(PoisonError::into_inner)
        };
        self.kv.or_else(detected).unwrap_or(KvVersion::V2)
    }

    fn location(&self) -> String {
        format!("mount `{}` of {}", self.mount, self.server.location())
    }
}

impl VaultSource for OpenBao {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        let inner = Arc::clone(&self.0);
        let path = path.to_owned();
        Box::pin(async move { inner.server.with_timeout(inner.read_entry(&path)).await })
    }

    fn location(&self) -> String {
        self.0.location()
    }

    fn allows_torn_reads(&self) -> bool {
        false
    }

    fn watch_paths(&self) -> WatchPaths {
        let files = self.0.session.auth().files();
        WatchPaths::Files(files.into_iter().map(Path::to_owned).collect())
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(self.0.poll)
    }

    fn read_schedule(&self, path: &str) -> ReadSchedule {
        self.0.leases.read_schedule(path)
    }

    fn keep_alive(&self) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            inner.session.renew_due(&inner.server).await;
            inner.leases.renew_due(&inner.server, &inner.session).await;
        })
    }
}

fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH_ENCODE_SET).to_string()
}

fn path_problem(path: &str) -> Option<&'static str> {
    let why = "name the entry below the mount, as \"sms/playmobile\", without a leading `/`, `.`, `..` or `data/`";
    (!is_entry_path(path)).then_some(why)
}

/// Whether a path can only name an entry below its mount.
fn is_entry_path(path: &str) -> bool {
    !path.is_empty()
        && path
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains(char::is_control))
}

#[cfg(test)]
mod tests;
