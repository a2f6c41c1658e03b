//! The certificate that a message of SNS is signed with.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use super::Place;
use crate::sign::SIGNATURE_INVALID;
use crate::source::{Certificates, Refusal};

/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// No certificate is longer, nor what comes with it.
const LONGEST: usize = 64 * 1024;
/// What is served is the certificate alone; so many issuers are asked for.
const MOST_ISSUERS: usize = 2;

/// The authorities that may vouch for SNS.
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
}

impl Trust {
    /// Those of a file, or of the system.
    pub(super) fn load(file: &str) -> Result<Trust, String> {
        let mut found = BUNDLES.iter().filter(|path| std::path::Path::new(path).exists());
        let file = match file {
            "" => *found.next().ok_or("the system has no list of authorities: name one")?,
            file => file,
        };
        let pem = common::secret::read_public(std::path::Path::new(file))?;
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|why| format!("{file}: {why}"))?;
            // Some in a system's list are of kinds that nobody takes any more.
            if let Ok(anchor) = anchor_from_trusted_cert(&certificate) {
                anchors.push(anchor.to_owned());
            }
        }
        if anchors.is_empty() {
            return Err(format!("{file}: holds no certificate of an authority"));
        }
        Ok(Trust { anchors })
    }

    /// The public key of the certificate at this URL, as RSA keys are written:
    /// if it is one of SNS, of now, and somebody we trust vouches for it.
    pub(super) fn key(
        &self,
        url: &str,
        place: &Place,
        now: SystemTime,
        certificates: &dyn Certificates,
    ) -> Result<Vec<u8>, Refusal> {
        let wrong = || Refusal::Unauthorized(SIGNATURE_INVALID);
        let get =
            |url: &str| certificates.get(url).map_err(|why| Refusal::Unavailable(format!("{url}: {why}")));
        let pem = get(url)?;
        if pem.len() > LONGEST {
            return Err(wrong());
        }
        let sent: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&pem).take(4).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let (leaf, mut issuers) = match sent.split_first() {
            Some((leaf, issuers)) => (leaf, issuers.to_vec()),
            None => return Err(wrong()),
        };
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| wrong())?;
        let named = names(place).into_iter().any(|name| {
            ServerName::try_from(name)
                .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        });
        if !named {
            return Err(wrong());
        }
        let time = now.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
        let mut newest = leaf.clone();
        for asked in 0..=MOST_ISSUERS {
            let vouched = certificate.verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &self.anchors,
                &issuers,
                UnixTime::since_unix_epoch(time),
                KeyUsage::server_auth(),
                None,
                None,
            );
            match vouched {
                Ok(_) => break,
                Err(Error::UnknownIssuer) if asked < MOST_ISSUERS => {
                    let url = issuer(&newest).ok_or_else(wrong)?;
                    let der = get(&url)?;
                    if der.len() > LONGEST {
                        return Err(wrong());
                    }
                    newest = CertificateDer::from(der.to_vec());
                    issuers.push(newest.clone());
                }
                Err(_) => return Err(wrong()),
            }
        }
        let key = certificate.subject_public_key_info();
        public_key(key.as_ref()).map(<[u8]>::to_vec).ok_or_else(wrong)
    }
}

/// The names that AWS gives these certificates.
fn names(place: &Place) -> Vec<String> {
    let region = &place.region;
    let domain = if place.host.ends_with(".cn") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let mut names = vec![
        format!("sns.{domain}"),
        place.host.clone(),
        format!("sns-signing.{region}.{domain}"),
        format!("sns-{region}.{domain}"),
    ];
    // Both of these regions have one.
    if region == "us-gov-east-1" {
        names.push(format!("sns-us-gov-west-1.{domain}"));
    }
    names
}

/// Where the certificate of a certificate's issuer is, if Amazon has it. It
/// need not be believed: either it leads to somebody we trust, or to nothing.
fn issuer(certificate: &[u8]) -> Option<String> {
    /// The object identifier of `caIssuers`, and the tag of a URL.
    const CA_ISSUERS: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02, 0x86];
    let at = certificate.windows(CA_ISSUERS.len()).position(|window| window == CA_ISSUERS)?;
    let (length, rest) = certificate.get(at + CA_ISSUERS.len()..)?.split_first()?;
    let url = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    // With 128 bytes and more the length is written in another way.
    (*length < 128 && host.ends_with(".amazontrust.com") && plain(host) && plain(path))
        .then(|| url.to_owned())
}

/// The key in a SubjectPublicKeyInfo: behind the algorithm, in a bit string.
fn public_key(info: &[u8]) -> Option<&[u8]> {
    let (inner, _) = element(0x30, info)?;
    let (_, rest) = element(0x30, inner)?;
    let (bits, _) = element(0x03, rest)?;
    bits.split_first().filter(|(unused, _)| **unused == 0).map(|(_, key)| key)
}

/// What is in an element of DER, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = der else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), &rest[2..]),
        _ => return None,
    };
    rest.split_at_checked(length)
}
