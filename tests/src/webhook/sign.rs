//! Signatures as senders make them, by another library than the one that the
//! program checks them with.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// HMAC-SHA-256 of some parts, one after the other (RFC 2104).
#[must_use]
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new();
    inner.update(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new();
    outer.update(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// The value of `X-Hub-Signature-256`.
#[must_use]
pub fn github(secret: &str, body: &[u8]) -> String {
    let digits: String = hmac(secret.as_bytes(), &[body]).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// The value of `webhook-signature`, as Standard Webhooks has it, with a secret
/// that begins with `whsec_`.
///
/// # Panics
/// When the secret is no such.
#[must_use]
pub fn standard(secret: &str, id: &str, at: u64, body: &[u8]) -> String {
    let key = secret.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = key.expect("a secret of Standard Webhooks");
    let at = at.to_string();
    let tag = hmac(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(tag))
}

/// The value of `Authorization` with a name and a password.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_senders_documentation() {
        // docs.github.com, "Validating webhook deliveries".
        assert_eq!(
            github("It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        // github.com/standard-webhooks/standard-webhooks, its specification.
        let secret = "whsec_plJ3nmyCDGBKInavdOK15jsl";
        let body = br#"{"event_type":"ping","data":{"success":true}}"#;
        let signature = standard(secret, "msg_loFOjxBNrRLzqYUf", 1_731_705_121, body);
        assert_eq!(signature, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
        // RFC 4231, a key that is longer than a block.
        let tag = hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key", b" - Hash Key First"]);
        assert_eq!(tag[..4], [0x60, 0xe4, 0x31, 0x59]);
    }
}
