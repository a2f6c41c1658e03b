//! The certificate and its key, which are read anew on SIGHUP.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::secret::{Place, Secret};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage};

use crate::config::Tls;
use crate::secret::{self, SecretRef};

/// A certificate that ends within this time is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What senders do not like, or soon will not, about a certificate that can be
/// used: the clock may be what is wrong, and a new one comes without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Every sender refuses it, now.
    pub refused: bool,
    /// The certificate, what is so, and what to do.
    pub text: String,
}

/// Both, as they were read.
pub struct Identity {
    /// What receives senders with them.
    pub acceptor: TlsAcceptor,
    /// What is wrong with the certificate all the same.
    pub flaws: Vec<Flaw>,
}

fn credential(reference: &SecretRef) -> Result<Secret, String> {
    secret::read(reference, secret::credentials().as_ref()).map_err(|error| error.to_string())
}

/// Reads both; the certificate is judged as of `now`.
///
/// # Errors
/// Which of them cannot be read or used, or that they do not belong together.
pub fn read(tls: &Tls, now: SystemTime) -> Result<Identity, String> {
    let chain = chain(&tls.certificate)?;
    let found = chain.first().ok_or("there is no certificate in it".to_owned());
    let flaws =
        found.and_then(|first| flaws(first, now)).map_err(|why| format!("{}: {why}", tls.certificate))?;
    let flaws =
        flaws.into_iter().map(|flaw| Flaw { text: format!("{}: {}", tls.certificate, flaw.text), ..flaw });
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key(&tls.key)?)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("{} and {}: the key is not that of the certificate", tls.certificate, tls.key)
            }
            error => format!("{}: {error}", tls.key),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), flaws: flaws.collect() })
}

fn chain(certificate: &SecretRef) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = match certificate {
        SecretRef::File(path) => {
            common::secret::read_public(path).map_err(|error| format!("certificate: {error}"))?
        }
        SecretRef::Credential(_) => credential(certificate)?.expose().as_bytes().to_vec(),
    };
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>();
    chain.map_err(|error| format!("{certificate}: {error}"))
}

fn key(key: &SecretRef) -> Result<PrivateKeyDer<'static>, String> {
    let pem = match key {
        // As certbot keeps it: behind a link.
        SecretRef::File(path) => {
            common::secret::read(path, Place::Linked).map_err(|error| format!("key: {error}"))?
        }
        SecretRef::Credential(_) => credential(key)?,
    };
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|error| format!("{key}: {error}"))
}

/// What is wrong with a certificate now, or will be soon. An error is what no
/// clock can change.
fn flaws(certificate: &CertificateDer<'_>, now: SystemTime) -> Result<Vec<Flaw>, String> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|error| match error {
        Error::UnsupportedCertVersion => {
            "is no X.509 certificate of version 3: make it with a subjectAltName".to_owned()
        }
        error => format!("is no certificate that can be used: {error}"),
    })?;
    let mut flaws: Vec<Flaw> = complaint(&judged(&certificate, now)).into_iter().collect();
    if let (false, Error::CertExpired { not_after, .. }) =
        (flaws.iter().any(|flaw| flaw.refused), judged(&certificate, now + SOON))
    {
        let text = format!("expires at {}: renew it, then reload", date(not_after));
        flaws.push(Flaw { refused: false, text });
    }
    Ok(flaws)
}

/// What whoever trusts nobody says of it: of its dates and its purpose first,
/// that nobody vouches for it last.
fn judged(certificate: &EndEntityCert<'_>, at: SystemTime) -> Error {
    let time = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let server = KeyUsage::server_auth();
    let judged = certificate.verify_for_usage(ALL_VERIFICATION_ALGS, &[], &[], time, server, None, None);
    judged.err().unwrap_or(Error::UnknownIssuer)
}

fn complaint(error: &Error) -> Option<Flaw> {
    let text = match error {
        Error::UnknownIssuer => return None,
        // OpenSSL takes it from whoever is told to trust it.
        Error::CaUsedAsEndEntity => {
            let text = "is an authority's, and many senders refuse it as a server's: make it with \
                        basicConstraints=CA:FALSE";
            return Some(Flaw { refused: false, text: text.to_owned() });
        }
        Error::CertExpired { not_after, .. } => {
            format!("expired at {}, senders refuse it: renew it, then reload", date(*not_after))
        }
        Error::CertNotValidYet { not_before, .. } => {
            format!("is not valid before {}, senders refuse it: is the clock right?", date(*not_before))
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "is not for servers, senders refuse it: its extendedKeyUsage must have serverAuth".to_owned()
        }
        error => format!("senders refuse it: {error}"),
    };
    Some(Flaw { refused: true, text })
}

fn date(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
}
