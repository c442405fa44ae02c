//! Outgoing TLS, to services and vault servers alike: the ring provider, the public roots plus
//! `ca_file`, HTTP/1.1 only, no early data; and the reason of a failed handshake.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The only protocol that the sidecar negotiates, as a client and as a server.
pub(crate) const ALPN: &[u8] = b"http/1.1";

/// The configuration of everybody without roots of his own: one copy of the public roots, and one cache of sessions,
/// which rustls keeps by server name and bounds.
static PUBLIC_ROOTS: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// A client configuration with the public roots and those in `ca_file`.
pub(crate) fn client_config(ca_file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    if let Some(file) = ca_file {
        return build_config(load_certificates(file)?).map(Arc::new);
    }
    if let Some(shared) = PUBLIC_ROOTS.get() {
        return Ok(Arc::clone(shared));
    }
    let built = Arc::new(build_config(Vec::new())?);
    Ok(Arc::clone(PUBLIC_ROOTS.get_or_init(|| built)))
}

fn build_config(own_roots: Vec<CertificateDer<'static>>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for root in own_roots {
        roots
            .add(root)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Loads every certificate of a PEM file; a file without one is an error.
pub(crate) fn load_certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found =
        found.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file has no certificate",
        ));
    }
    Ok(found)
}

/// What is wrong with the server's certificate, if the handshake failed because of it. `key` is the
/// config key of the server's address.
pub(crate) fn describe_certificate_error(error: &io::Error, key: &str) -> Option<String> {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };

    let rustls::Error::InvalidCertificate(why) =
        error.get_ref()?.downcast_ref::<rustls::Error>()?
    else {
        return None;
    };
    Some(if matches!(why, Expired | ExpiredContext { .. }) {
        "its certificate has expired".to_owned()
    } else if matches!(why, NotValidYet | NotValidYetContext { .. }) {
        "its certificate is not valid yet; check this machine's clock".to_owned()
    } else if matches!(why, NotValidForName | NotValidForNameContext { .. }) {
        format!("its certificate is for another name; check `{key}`")
    } else if matches!(why, UnknownIssuer) {
        "its certificate is from an issuer that is not trusted; if the issuer is right, set `ca_file` to its PEM file"
            .to_owned()
    } else {
        format!(
            "its certificate is not valid; check `{key}`, or set `ca_file` to the PEM file of its issuer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_roots_are_loaded_once() {
        let [one, other] = [(); 2].map(|()| client_config(None).unwrap());
        assert!(Arc::ptr_eq(&one, &other));
    }
}
