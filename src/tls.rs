//! TLS as we speak it on the way out, to services and vault servers alike: the ring provider, the
//! public roots and what `ca_file` adds, HTTP/1.1 only, no early data; and what a failed handshake means.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The one protocol we speak on either side.
pub(crate) const ALPN: &[u8] = b"http/1.1";

/// A client's configuration with the public roots and those in `ca_file`.
pub(crate) fn client_config(ca_file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(file) = ca_file {
        for root in load_certificates(file)? {
            roots
                .add(root)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Every certificate in a PEM file; a file without one is an error.
pub(crate) fn load_certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found =
        found.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "there is no certificate in it",
        ));
    }
    Ok(found)
}

/// What is wrong with the other side's certificate, if that is why a handshake failed. `key` names it in the config.
pub(crate) fn describe_certificate_error(error: &io::Error, key: &str) -> Option<String> {
    let rustls::Error::InvalidCertificate(why) =
        error.get_ref()?.downcast_ref::<rustls::Error>()?
    else {
        return None;
    };
    let is_expired = |why: &CertificateError| {
        matches!(
            why,
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        )
    };
    let is_other_name = |why: &CertificateError| {
        matches!(
            why,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    };
    let is_early = |why: &CertificateError| {
        matches!(
            why,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
        )
    };
    Some(if is_expired(why) {
        "its certificate has expired".to_owned()
    } else if is_early(why) {
        "its certificate is not valid yet; compare this machine's clock".to_owned()
    } else if is_other_name(why) {
        format!("its certificate is for another name; compare `{key}`")
    } else if *why == CertificateError::UnknownIssuer {
        "its certificate comes from an issuer that is not trusted here; if that issuer is right, put its PEM into a file and set `ca_file`"
            .to_owned()
    } else {
        format!(
            "its certificate is not valid; compare `{key}`, or set `ca_file` to the PEM of its issuer"
        )
    })
}
