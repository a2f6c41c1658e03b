//! The certificate and its key, which are read anew on SIGHUP.

use std::sync::Arc;

use common::secret::{Place, Secret};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;
use crate::secret::{self, SecretRef};

fn credential(reference: &SecretRef) -> Result<Secret, String> {
    secret::read(reference, secret::credentials().as_ref()).map_err(|error| error.to_string())
}

/// Reads both.
///
/// # Errors
/// Which of them cannot be read, or that they do not belong together.
pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor, String> {
    let chain = match &tls.certificate {
        SecretRef::File(path) => {
            common::secret::read_public(path).map_err(|error| format!("certificate: {error}"))?
        }
        SecretRef::Credential(_) => credential(&tls.certificate)?.expose().as_bytes().to_vec(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", tls.certificate))?;
    if chain.is_empty() {
        return Err(format!("{}: there is no certificate in it", tls.certificate));
    }
    let key = match &tls.key {
        // As certbot keeps it: behind a link.
        SecretRef::File(path) => {
            common::secret::read(path, Place::Linked).map_err(|error| format!("key: {error}"))?
        }
        SecretRef::Credential(_) => credential(&tls.key)?,
    };
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|error| format!("{}: {error}", tls.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("{}: {error}", tls.key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
