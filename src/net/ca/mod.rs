//! The local CA, which terminates TLS for the configured hosts and for nothing else: critical
//! name constraints, path length 0, and a key that only the sidecar can read. It does not sign for
//! a host outside its constraints. Names without a dot and wildcards are never among its hosts.

mod constraints;
mod files;
mod info;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::clock::Clock;
use crate::file_error::{describe_read_error, describe_write_error};
use crate::net::ca::info::load_pair;
use crate::net::settings::CaSettings;
use crate::tls;

pub use constraints::{CaConstraints, is_literal_host};
pub use info::{CaInfo, inspect, inspect_certificate};

const BACKDATE: Duration = Duration::from_hours(24);
/// How long a leaf is valid; the CA issues a new one after half of it.
const LEAF_LIFETIME: Duration = Duration::from_hours(14 * 24);
/// The most leaves to keep: where sub-domains are permitted, their number is not limited.
const MAX_LEAVES: usize = 256;

/// Why the CA cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file does not exist.
    #[error("{0} does not exist; `sms-sidecar ca init` makes a new CA")]
    Missing(PathBuf),
    /// A file exists and cannot be read, or its folder cannot be entered.
    #[error("{}", describe_read_error(file, source))]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{}", describe_write_error(file, source))]
    Unwritable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The CA exists already.
    #[error("{0} already exists; `sms-sidecar ca renew` keeps its key, or remove both files first")]
    AlreadyExists(PathBuf),
    /// The key file's mode lets others read it.
    #[error(
        "{file} can be read by others (mode {mode:03o}); run `chmod 600` on it, and if others may have read it make a new CA"
    )]
    KeyExposed {
        /// The key file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file has the wrong content.
    #[error(
        "{file} contains no usable {what}; restore both files of the CA, or remove both and run `sms-sidecar ca init`"
    )]
    InvalidContent {
        /// Which.
        file: PathBuf,
        /// CA certificate, private key, key that belongs to the certificate.
        what: &'static str,
    },
    /// No host is given: a CA without constraints would cover every host.
    #[error("a CA needs at least one host; configure a provider first")]
    NoHosts,
    /// Not a literal host name.
    #[error(
        "a CA cannot be constrained to {0}: use literal host names with a dot, not addresses or wildcards"
    )]
    InvalidHost(String),
    /// The host is outside the constraints.
    #[error(
        "the CA does not cover {0}; unless its description names it in full, set a provider's `base_url` to https://{0}/…, then run `sms-sidecar ca renew` and `sms-sidecar reload`, and restart the backend"
    )]
    NotCovered(String),
    /// The cryptography library failed.
    #[error("a certificate for {host} cannot be made: {why}")]
    Signing {
        /// The host of the certificate.
        host: String,
        /// Why.
        why: String,
    },
}

impl CaError {
    /// Why `file` could not be read.
    fn from_read(file: &Path, source: io::Error) -> Self {
        let file = file.to_path_buf();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing(file)
        } else if source.kind() == io::ErrorKind::InvalidData {
            let what = "PEM text";
            Self::InvalidContent { file, what }
        } else {
            Self::Unreadable { file, source }
        }
    }
}

/// The CA, loaded.
pub struct Ca {
    constraints: CaConstraints,
    expires: SystemTime,
    cert: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    leaves: Mutex<BTreeMap<String, Leaf>>,
    clock: Arc<dyn Clock>,
}

/// The CA that is in force, which a reload replaces.
#[derive(Debug, Default)]
pub struct ActiveCa(ArcSwapOption<Ca>);

impl ActiveCa {
    /// The CA in force; none: TLS cannot be terminated.
    pub fn current(&self) -> Option<Arc<Ca>> {
        self.0.load_full()
    }

    /// Puts another CA in force. One with the same certificate stays, and keeps its leaves.
    pub fn replace(&self, ca: Option<Ca>) {
        let is_same = match (&*self.0.load(), &ca) {
            (Some(old), Some(new)) => old.cert == new.cert,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_same {
            self.0.store(ca.map(Arc::new));
        }
    }
}

struct Leaf {
    config: Arc<ServerConfig>,
    issued_at: SystemTime,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({} hosts)", self.hosts().len())
    }
}

/// Whether to run `init` or `renew`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaCreateMode {
    /// Creates a new key; fails if there is one.
    NewKey,
    /// Keeps the key, with new hosts and a new lifetime: clients accept leaves from before and after alike.
    KeepKey,
}

/// Creates a CA with these constraints and writes both files.
pub fn create(
    settings: &CaSettings,
    constraints: &CaConstraints,
    lifetime: Duration,
    now: SystemTime,
    making: CaCreateMode,
) -> Result<(), CaError> {
    let key = match making {
        CaCreateMode::NewKey => new_key(settings)?,
        CaCreateMode::KeepKey => files::read_key(&settings.key_file)?,
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("sms-sidecar local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.custom_extensions = vec![constraints.extension()];
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + lifetime).into();
    let cert = params
        .self_signed(&key)
        .map_err(|error| signing_error("the CA", &error))?;
    if making == CaCreateMode::NewKey {
        files::write_file(&settings.key_file, key.serialize_pem().as_bytes(), 0o600)?;
    }
    files::write_file(&settings.cert_file, cert.pem().as_bytes(), 0o644)
}

/// A new key; an error if either file exists already.
fn new_key(settings: &CaSettings) -> Result<KeyPair, CaError> {
    let files = [&settings.key_file, &settings.cert_file];
    for file in files {
        match file.try_exists() {
            Ok(true) => return Err(CaError::AlreadyExists(file.clone())),
            Ok(false) => {}
            Err(error) => return Err(CaError::from_read(file, error)),
        }
    }
    KeyPair::generate().map_err(|error| signing_error("the CA", &error))
}

impl Ca {
    /// Reads both files; fails if others can read the key, or if it does not belong to the certificate.
    pub fn load(settings: &CaSettings, clock: Arc<dyn Clock>) -> Result<Self, CaError> {
        let (
            CaInfo {
                constraints,
                expires,
                cert,
                ..
            },
            key,
        ) = load_pair(settings)?;
        let content = |_| CaError::InvalidContent {
            file: settings.cert_file.clone(),
            what: "CA certificate",
        };
        let issuer = Issuer::from_ca_cert_der(&cert, key).map_err(content)?;
        Ok(Self {
            constraints,
            expires,
            cert,
            issuer,
            leaves: Mutex::default(),
            clock,
        })
    }

    /// Whether clients accept a certificate for `host` from this CA.
    pub fn covers(&self, host: &str) -> bool {
        self.constraints.covers(host)
    }

    /// The hosts in its constraints.
    pub fn hosts(&self) -> &[String] {
        self.constraints.hosts()
    }

    /// When the CA's certificate expires.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// The configuration that terminates TLS for `host`, regardless of the client's SNI (some send none).
    pub fn server_config_for(&self, host: &str) -> Result<Arc<ServerConfig>, CaError> {
        let now = self.clock.wall_clock();
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host) {
            // If the clock was set back, the age counts as zero.
            if now.duration_since(leaf.issued_at).unwrap_or_default() < LEAF_LIFETIME / 2 {
                return Ok(Arc::clone(&leaf.config));
            }
        }
        if leaves.len() >= MAX_LEAVES {
            leaves.clear();
        }
        let config = Arc::new(self.issue_leaf(host, now)?);
        leaves.insert(
            host.to_owned(),
            Leaf {
                config: Arc::clone(&config),
                issued_at: now,
            },
        );
        Ok(config)
    }

    fn issue_leaf(&self, host: &str, now: SystemTime) -> Result<ServerConfig, CaError> {
        if !self.covers(host) {
            return Err(CaError::NotCovered(host.to_owned()));
        }
        let fault = |error| signing_error(host, &error);
        let key = KeyPair::generate().map_err(fault)?;
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(fault)?;
        params.distinguished_name = common_name("sms-sidecar");
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + LEAF_LIFETIME).min(self.expires).into();
        let cert = params.signed_by(&key, &self.issuer).map_err(fault)?;
        let chain = vec![cert.der().clone(), self.cert.clone()];
        let fault = |error: rustls::Error| CaError::Signing {
            host: host.to_owned(),
            why: error.to_string(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(fault)?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .map_err(fault)?;
        config.alpn_protocols = vec![tls::ALPN.to_vec()];
        Ok(config)
    }
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn signing_error(host: &str, error: &rcgen::Error) -> CaError {
    CaError::Signing {
        host: host.to_owned(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
