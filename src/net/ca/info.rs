//! Reads and checks the CA's files; signs nothing.

use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::net::ca::{CaConstraints, CaError, files};
use crate::net::settings::CaSettings;
use crate::tls;

/// What `ca show` and `check` report; it does not include the key.
#[derive(Debug)]
pub struct CaInfo {
    /// What it may sign for.
    pub constraints: CaConstraints,
    /// When the certificate expires.
    pub expires: SystemTime,
    pub(super) cert: CertificateDer<'static>,
    spki: Vec<u8>,
}

/// Reads the certificate alone; fails if it lacks the name constraints that `create` always sets.
pub fn inspect_certificate(settings: &CaSettings) -> Result<CaInfo, CaError> {
    let file = &settings.cert_file;
    let content = || CaError::InvalidContent {
        file: file.clone(),
        what: "CA certificate with name constraints",
    };
    let found = tls::load_certificates(file).map_err(|source| CaError::from_read(file, source))?;
    let cert = found.into_iter().next().ok_or_else(content)?;
    let (constraints, expires, spki) = {
        let (_, parsed) = X509Certificate::from_der(&cert).map_err(|_| content())?;
        let constraints = CaConstraints::from_certificate(&parsed).ok_or_else(content)?;
        let after =
            u64::try_from(parsed.validity().not_after.timestamp()).map_err(|_| content())?;
        (
            constraints,
            SystemTime::UNIX_EPOCH + Duration::from_secs(after),
            parsed.public_key().raw.to_vec(),
        )
    };
    Ok(CaInfo {
        constraints,
        expires,
        cert,
        spki,
    })
}

/// Reads both files and checks them as `Ca::load` does.
pub fn inspect(settings: &CaSettings) -> Result<CaInfo, CaError> {
    load_pair(settings).map(|(described, _)| described)
}

pub(super) fn load_pair(settings: &CaSettings) -> Result<(CaInfo, KeyPair), CaError> {
    let key = files::read_key(&settings.key_file)?;
    let described = inspect_certificate(settings)?;
    if described.spki == key.subject_public_key_info() {
        return Ok((described, key));
    }
    Err(CaError::InvalidContent {
        file: settings.key_file.clone(),
        what: "key that belongs to the certificate",
    })
}
