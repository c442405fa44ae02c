//! OpenBao and HashiCorp Vault: entries of a KV mount (either version), or of any engine that answers
//! a read with fields, over HTTP. Logs in by itself, keeps its token and leases alive, and waits with
//! doubling pauses for a server in trouble. Holds everything in memory and nothing on disk.

mod http;
mod lease;
mod pace;
pub(in crate::vault) mod reply;
mod server;
mod session;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock::Clock;
use crate::vault::error::ReadError;
use crate::vault::openbao::http::{Answer, Ask, Http};
use crate::vault::openbao::lease::Leases;
use crate::vault::openbao::server::Server;
use crate::vault::openbao::session::{Session, Token};
use crate::vault::settings::{Auth, OpenBaoSettings};
use crate::vault::source::{Due, Entry, Source, Watched};

pub use reply::Kv;

/// What a path may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A mount of a server.
#[derive(Clone, Debug)]
pub(crate) struct OpenBao(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: Server,
    session: Session,
    mount: String,
    kv: Option<Kv>,
    /// What the mount was found to be.
    found: Mutex<Option<Kv>>,
    leases: Leases,
    poll: Duration,
}

impl OpenBao {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: &OpenBaoSettings, clock: &Arc<dyn Clock>) -> Self {
        let http = Http::new(&settings.address, settings.ca_file.clone(), settings.namespace.as_deref());
        Self(Arc::new(Inner {
            server: Server::new(http, settings.timeout, Arc::clone(clock)),
            session: Session::new(settings.auth.clone(), Arc::clone(clock)),
            mount: settings.mount.trim_matches('/').to_owned(),
            kv: settings.kv,
            found: Mutex::default(),
            leases: Leases::new(Arc::clone(clock)),
            poll: settings.poll,
        }))
    }
}

impl Inner {
    async fn entry(&self, path: &str) -> Result<Entry, ReadError> {
        if !leads_down(path) {
            let why = "name the entry below the mount, as \"sms/playmobile\", without a leading `/`, `.`, `..` or `data/`";
            return Err(ReadError::BadPath { path: path.into(), place: self.place().into(), why });
        }
        let mut token = self.session.token(&self.server).await?;
        let mut answer = self.ask(path, &token).await?;
        if answer.status == 403 && !self.session.is_known(&self.server, &token).await? {
            token = self.session.token_after(&self.server, &token).await?;
            answer = self.ask(path, &token).await?;
        }
        self.read(path, &answer, &token)
    }

    async fn ask(&self, path: &str, token: &Token) -> Result<Answer, ReadError> {
        let (mount, path) = (encoded(&self.mount), encoded(path));
        let whole = match self.version(&mount, token).await? {
            Kv::One => format!("{mount}/{path}"),
            Kv::Two => format!("{mount}/data/{path}"),
        };
        self.server.ask(&Ask::get(whole, &token.secret)).await
    }

    /// Which kind the mount is: as configured, or as the server says. One that does not tell us is of version 2.
    async fn version(&self, mount: &str, token: &Token) -> Result<Kv, ReadError> {
        let known = self.kv.or_else(|| *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = self.server.ask(&Ask::get(format!("sys/internal/ui/mounts/{mount}"), &token.secret)).await?;
        let Some(told) = answer.json().filter(|_| answer.status.is_success()) else { return Ok(Kv::Two) };
        let kv = reply::mounted(&told);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(kv);
        Ok(kv)
    }

    fn read(&self, path: &str, answer: &Answer, token: &Token) -> Result<Entry, ReadError> {
        let place = || self.place().into();
        let bad = |what: String| ReadError::BadReply { path: path.into(), place: place(), what: what.into() };
        match answer.status.as_u16() {
            200 => {
                let kv = self.kv.or_else(|| *self.found.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or(Kv::Two);
                let found = reply::entry(kv, &answer.body).map_err(bad)?;
                self.leases.note(path, found.lease, token);
                Ok(found.entry)
            }
            403 => Err(ReadError::Forbidden { path: path.into(), place: place() }),
            404 => {
                let why = if reply::is_deleted(answer.json().as_ref()) {
                    "its newest version was deleted; bring it back (`bao kv undelete`, `bao kv rollback`) or write a new one"
                } else {
                    "nothing was ever written there, or all of it was deleted; compare `path` and `mount` with `bao kv list`"
                };
                Err(ReadError::Gone { path: path.into(), place: place(), why })
            }
            status => Err(bad(format!("the answer's status is {status}"))),
        }
    }

    fn place(&self) -> String {
        format!("mount `{}` of {}", self.mount, self.server.place())
    }
}

impl Source for OpenBao {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<Entry, ReadError>> {
        let (inner, path) = (Arc::clone(&self.0), path.to_owned());
        Box::pin(async move { inner.server.within(inner.entry(&path)).await })
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn piecewise(&self) -> bool {
        false
    }

    fn watched(&self) -> Watched {
        Watched::Files(match self.0.session.auth() {
            Auth::TokenFile(file) | Auth::Jwt { jwt_file: file, .. } => vec![file.clone()],
            Auth::AppRole { role_id_file, secret_id_file, .. } => vec![role_id_file.clone(), secret_id_file.clone()],
        })
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.0.poll)
    }

    fn due(&self, path: &str) -> Due {
        self.0.leases.due(path)
    }

    fn tend(&self) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            inner.session.tend(&inner.server).await;
            inner.leases.tend(&inner.server, &inner.session).await;
        })
    }
}

fn encoded(path: &str) -> String {
    utf8_percent_encode(path, PLAIN).to_string()
}

/// Whether a path can mean nothing but an entry below its mount.
fn leads_down(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(char::is_control))
}

#[cfg(test)]
mod tests;
