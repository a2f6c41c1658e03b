use super::*;
use crate::source::testing::cpu;
use http::HeaderValue;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
}

/// GitHub's documentation, "Validating webhook deliveries".
#[test]
fn the_signature_that_github_documents_is_right() {
    let keys =
        Keys::new(Algorithm::Sha256, &secrets(&["a former secret of ours", "It's a Secret to Everybody"]));
    let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signature = Encoding::Hex.decode(signature).unwrap();
    assert!(keys.signed(b"Hello, World!", &signature));
    assert!(!keys.signed(b"Hello, World", &signature));
    assert!(!keys.signed(b"Hello, World!", &signature[..31]));
    assert!(!keys.signed(b"Hello, World!", b""));
    assert!(!Keys::new(Algorithm::Sha256, &[]).signed(b"Hello, World!", &signature));
}

/// RFC 2202, RFC 4231: test case 2 of each.
#[test]
fn the_signatures_of_the_standards_are_right() {
    for (algorithm, signature) in [
        (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (Algorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            Algorithm::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Algorithm::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        let keys = Keys::new(algorithm, &secrets(&["Jefe"]));
        let signature = Encoding::Hex.decode(signature).unwrap();
        assert!(keys.signed(b"what do ya want for nothing?", &signature), "{algorithm:?}");
    }
}

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = b"{\"test\": 2432232314}";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const AT: u64 = 1_614_265_330;

fn standard(id: &str, at: &str, signature: &str, seconds: u64) -> Result<(), Refusal> {
    let secrets = secrets(&["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", SECRET]);
    let scheme = StandardWebhooks::new(&secrets, Duration::from_secs(300)).unwrap();
    let headers = headers(&[("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)]);
    let now = UNIX_EPOCH + Duration::from_secs(seconds);
    scheme.check(&headers, BODY, now).map(|(found, signers)| assert_eq!((found, signers.len()), (id, 1)))
}

/// The example of the Standard Webhooks libraries.
#[test]
fn the_signature_that_standard_webhooks_documents_is_right_for_five_minutes() {
    let at = AT.to_string();
    for now in [AT, AT + 300, AT - 300] {
        assert_eq!(standard(ID, &at, SIGNATURE, now), Ok(()));
    }
    for now in [AT + 301, AT - 301, 0] {
        assert_eq!(standard(ID, &at, SIGNATURE, now), Err(Refusal::Stale));
    }
    // One of several, and of several versions.
    let several = format!("v1,bm90IGl0 v1a,{} {SIGNATURE} v2,x", "A".repeat(88));
    assert_eq!(standard(ID, &at, &several, AT), Ok(()));
}

#[test]
fn a_wrong_standard_signature_is_refused_without_a_word_about_the_time() {
    let wrong = Err(Refusal::Unauthorized(SIGNATURE_INVALID));
    let at = AT.to_string();
    assert_eq!(standard("msg_other", &at, SIGNATURE, AT), wrong);
    assert_eq!(standard(ID, &(AT + 1).to_string(), SIGNATURE, AT), wrong);
    assert_eq!(standard(ID, &at, "", AT), wrong);
    assert_eq!(standard(ID, &at, "v1,", AT), wrong);
    assert_eq!(standard(ID, &at, &SIGNATURE.replace("v1", "v2"), AT + 9999), wrong);
    assert_eq!(standard("", &at, SIGNATURE, AT), wrong);
    assert_eq!(standard(ID, "99999999999999999999999", SIGNATURE, AT), wrong);
    let scheme = StandardWebhooks::new(&secrets(&[SECRET]), Duration::from_secs(300)).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(AT);
    assert_eq!(scheme.check(&HeaderMap::new(), BODY, now).map(|_| ()), wrong);
    // Twice the same header: which of them was meant?
    let twice = headers(&[
        ("webhook-id", ID),
        ("webhook-id", ID),
        ("webhook-timestamp", &at),
        ("webhook-signature", SIGNATURE),
    ]);
    assert_eq!(scheme.check(&twice, BODY, now).map(|_| ()), wrong);
    // The last of very many is not looked at.
    let many = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(MOST_SIGNATURES));
    assert_eq!(standard(ID, &at, &many, AT), wrong);
}

#[test]
fn a_secret_that_is_no_base64_is_no_secret() {
    let tolerance = Duration::from_secs(300);
    assert!(StandardWebhooks::new(&secrets(&["whsec_***"]), tolerance).is_err());
    assert!(StandardWebhooks::new(&secrets(&["whsec_"]), tolerance).is_err());
    assert!(StandardWebhooks::new(&secrets(&["any text that is long enough"]), tolerance).is_ok());
    // What is short is what is behind it, however long it is written: 12, 15 and 16 bytes.
    for (encoded, good) in
        [("AAAAAAAAAAAAAAAA", false), ("AAAAAAAAAAAAAAAAAAAA", false), ("AAAAAAAAAAAAAAAAAAAAAA==", true)]
    {
        let secret = secrets(&[&format!("whsec_{encoded}")]);
        assert_eq!(StandardWebhooks::new(&secret, tolerance).is_ok(), good, "{encoded}");
    }
}

#[test]
fn tokens_and_passwords_are_compared_whole() {
    let tokens = || Tokens::new(["old-token-0123456".to_owned(), "user:pass word:x".to_owned()]).unwrap();
    let bearer = Proof::Bearer(tokens());
    let basic = Proof::Basic(tokens());
    let own = Proof::Header(HeaderName::from_static("x-secret"), tokens());
    let check = |proof: &Proof, pairs: &[(&str, &str)]| proof.check(&headers(pairs)).is_ok();
    assert!(check(&bearer, &[("authorization", "Bearer old-token-0123456")]));
    assert!(check(&bearer, &[("authorization", "bEaReR  old-token-0123456 ")]));
    assert!(check(&basic, &[("authorization", "Basic dXNlcjpwYXNzIHdvcmQ6eA==")]));
    assert!(check(&own, &[("x-secret", "old-token-0123456")]));
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "old-token-0123456",
        "Bearer old-token-012345",
        "Basic old-token-0123456",
        "Bearer x",
    ] {
        assert!(!check(&bearer, &[("authorization", value)]), "{value}");
    }
    assert!(!check(&basic, &[("authorization", "Basic dXNlcjp3cm9uZw==")]));
    assert!(!check(&basic, &[("authorization", "Basic ***")]));
    assert!(!check(&own, &[]));
    assert!(!check(&own, &[("x-secret", "old-token-0123456"), ("x-secret", "old-token-0123456")]));
    assert!(Tokens::new([]).unwrap().find(b"").is_none());
    let shown = format!("{bearer:?}");
    assert!(!shown.contains("old-token"), "{shown}");
}

#[test]
fn encodings_take_what_they_should() {
    assert_eq!(Encoding::Hex.decode("00fFA1"), Some(vec![0, 255, 161]));
    assert_eq!(Encoding::Base64.decode("AP+h"), Some(vec![0, 255, 161]));
    assert_eq!(Encoding::Base64.decode("AP8="), Encoding::Base64.decode("AP8"));
    for text in ["0", "0g", "é0", "+f"] {
        assert_eq!(Encoding::Hex.decode(text), None, "{text}");
    }
    assert_eq!(Encoding::Base64.decode("***"), None);
}

#[test]
fn which_secret_it_was_depends_on_nothing_but_the_secret() {
    let one = || "token-of-one-app-".to_owned();
    let other = || "token-of-another-".to_owned();
    let (first, second) = (Tokens::new([one(), other()]).unwrap(), Tokens::new([other(), one()]).unwrap());
    assert_eq!(first.find(one().as_bytes()), second.find(one().as_bytes()));
    assert_ne!(first.find(one().as_bytes()), first.find(other().as_bytes()));
    let mark = first.find(one().as_bytes()).unwrap();
    // Of another run: an id that was kept is known by it.
    let kept = Id::new("a", "b", b"\x54\xea\xbc\x45\x87\x76\xac\xf7x");
    assert_eq!(mark.id("a", "b", b"x"), kept);
    assert_eq!(format!("{mark:?}"), "Mark");
}

#[test]
fn all_whose_signature_it_has_are_told_and_each_goes_through_the_body_once() {
    let names = ["first-secret-of-ours", "second-secret-of-ours", "first-secret-of-ours"];
    let keys = Keys::new(Algorithm::Sha256, &secrets(&names));
    let sign = |secret: &str, bytes: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), bytes).as_ref().to_vec()
    };
    let (one, two) = (sign(names[0], b"body"), sign(names[1], b"body"));
    assert_eq!(keys.signers(b"body", &[&one]).len(), 1);
    assert_eq!(keys.signers(b"body", &[&two, &one]).len(), 2);
    assert_eq!(keys.signers(b"body", &[&two[..31], &[], &sign("other-secret", b"body")]), []);
    assert!(keys.signers::<&[u8]>(b"body", &[]).is_empty());
    // A wrong signature more costs no further pass over what is signed.
    let large = vec![b'x'; 8_000_000];
    let took = |count: usize| {
        let once = || {
            let before = cpu();
            assert!(keys.signers(&large, &vec![[0; 32]; count]).is_empty());
            cpu() - before
        };
        (0..3).map(|_| once()).min().unwrap()
    };
    let (few, many) = (took(1), took(MOST_SIGNATURES));
    assert!(many < few * 5, "{few:?} with one, {many:?} with {MOST_SIGNATURES}");
}
