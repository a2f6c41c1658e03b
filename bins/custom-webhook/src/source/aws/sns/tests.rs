use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;
use crate::source::aws::Config;
use crate::source::testing::{NOW, config, fixture, given, headers, line, post};
use crate::source::{Outcome, Source};

const URL: &str =
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
const ISSUER: &str = "http://crt.test.amazontrust.com/test.cer";
const ANOTHER: &str = "arn:aws:sns:eu-central-1:123456789012:another";
const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:security";

/// What is on the web, and what was asked of it.
struct Web {
    files: BTreeMap<String, Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

impl Certificates for Web {
    fn get(&self, url: &str) -> Result<Arc<[u8]>, String> {
        self.asked.lock().unwrap().push(url.to_owned());
        self.files.get(url).map(|file| file.as_slice().into()).ok_or_else(|| "404".to_owned())
    }
}

fn web() -> Web {
    let files = [(URL, "sns/leaf.pem"), (ISSUER, "sns/issuer.cer")];
    let files = files.map(|(url, file)| (url.to_owned(), fixture(file))).into();
    Web { files, asked: Mutex::default() }
}

fn with(web: Web) -> (Box<dyn Source>, Arc<Web>) {
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/webhook/sns/root.pem");
    let config: Config = config(&format!("topics = [\"{TOPIC}\", \"{ANOTHER}\"]\nsns_ca_file = \"{roots}\""));
    let web = Arc::new(web);
    let source =
        given(Some(web.clone()), |given| config.compile(given)).unwrap_or_else(|why| panic!("{why}"));
    (source, web)
}

fn send(source: &dyn Source, body: &[u8]) -> Result<Outcome, Refusal> {
    post(source, &[(KIND, "Notification"), ("content-type", "text/plain; charset=UTF-8")], body)
}

/// A message with one member changed.
fn changed(name: &str, key: &str, value: &str) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(&fixture(name)).unwrap();
    message[key] = json!(value);
    message.to_string().into_bytes()
}

fn wrong() -> Refusal {
    Refusal::Unauthorized(SIGNATURE_INVALID)
}

#[test]
fn a_signed_message_is_taken_in_both_versions() {
    let (source, web) = with(web());
    let found = line(send(source.as_ref(), &fixture("sns/notification-1.json")));
    for (key, value) in [
        ("source", "aws"),
        ("event", "sns_notification"),
        ("topic", TOPIC),
        ("subject", "My First Message"),
        ("message", "Hello world!"),
        ("event_time", "2026-11-21T18:00:00.000Z"),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    assert_eq!(*web.asked.lock().unwrap(), [URL, ISSUER]);
    // An event of EventBridge in it comes out as if it had come alone.
    let outcome = send(source.as_ref(), &fixture("sns/notification-2.json")).unwrap();
    let Outcome::Events { lines, ids } = outcome else { panic!("{outcome:?}") };
    let found: Value = serde_json::from_slice(lines[0].as_bytes()).unwrap();
    assert_eq!(
        (found["integration"].as_str(), found["aws"]["eventName"].as_str()),
        (Some("aws"), Some("CreateAccessKey"))
    );
    assert_eq!(ids.len(), 3);
}

#[test]
fn nothing_of_a_message_can_be_changed() {
    let (source, _) = with(web());
    for name in ["sns/notification-1.json", "sns/subscription.json"] {
        for (key, value) in [
            ("Message", "Hello worlds!"),
            ("MessageId", "other"),
            ("Timestamp", "2026-11-21T18:00:01.000Z"),
            ("Type", "UnsubscribeConfirmation"),
            ("Type", "Other"),
            ("TopicArn", ANOTHER),
            ("SignatureVersion", "3"),
            ("Signature", "AAAA"),
            ("Signature", "***"),
        ] {
            assert_eq!(
                send(source.as_ref(), &changed(name, key, value)).unwrap_err(),
                wrong(),
                "{name} {key}"
            );
        }
    }
    let (one, two) = ("sns/notification-1.json", "sns/notification-2.json");
    assert_eq!(send(source.as_ref(), &changed(one, "Subject", "x")).unwrap_err(), wrong());
    assert_eq!(send(source.as_ref(), &changed(two, "Subject", "x")).unwrap_err(), wrong());
    assert_eq!(send(source.as_ref(), &changed(one, "SignatureVersion", "2")).unwrap_err(), wrong());
    assert_eq!(send(source.as_ref(), &changed(two, "SignatureVersion", "1")).unwrap_err(), wrong());
    assert_eq!(send(source.as_ref(), &changed("sns/subscription.json", "Token", "1")).unwrap_err(), wrong());
}

#[test]
fn nobody_else_has_us_fetch_anything() {
    let (source, web) = with(web());
    let other = changed("sns/notification-1.json", "TopicArn", "arn:aws:sns:eu-central-1:123456789012:other");
    // As if the signature were wrong: which topics are ours is not told.
    assert_eq!(send(source.as_ref(), &other).unwrap_err(), wrong());
    for url in [
        "http://sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com/x.pem?y",
        "https://sns.eu-central-1.amazonaws.com/x.txt",
        "https://sns.eu-central-1.amazonaws.com/a/x.pem",
        "https://sns.eu-central-1.amazonaws.com/../x.pem",
        "https://sns.eu-central-1.amazonaws.com/.pem",
        "https://sns.eu-central-1.amazonaws.com:443/x.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com/x.pem",
        "https://user@sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/x.pem",
        "https://evil.example#sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.amazonaws.com/x.pem",
        "https://sns.s3.amazonaws.com/x.pem",
        "https://sns.s3-us-west-2.amazonaws.com/x.pem",
        "https://sns.execute-api.us-east-1.amazonaws.com/x.pem",
        "https://SNS.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com.cn/x.pem",
        "https://sns.cn-north-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com\\@evil.example/x.pem",
        "https://sns.eu-central-1.amazonaws.com/x\u{e9}.pem",
        "file:///etc/passwd.pem",
        "",
    ] {
        let body = changed("sns/notification-1.json", "SigningCertURL", url);
        assert_eq!(send(source.as_ref(), &body).unwrap_err(), wrong(), "{url}");
    }
    let long = |length: usize| changed("sns/notification-1.json", "Message", &"x".repeat(length));
    assert_eq!(send(source.as_ref(), &long(LARGEST)).unwrap_err(), wrong());
    assert!(web.asked.lock().unwrap().is_empty());
    for body in [&b""[..], b"{}", b"[]", b"null", b"{\"Type\":\"Notification\"}", b"\xff"] {
        assert_eq!(send(source.as_ref(), body).unwrap_err(), wrong());
    }
    // Without its envelope a message is not signed.
    let raw = [(KIND, "Notification"), ("x-amz-sns-rawdelivery", "true")];
    let refusal = post(source.as_ref(), &raw, &fixture("sns/notification-1.json")).unwrap_err();
    assert_eq!(refusal, Refusal::Forbidden("raw_delivery"));
    assert!(web.asked.lock().unwrap().is_empty());
}

#[test]
fn a_certificate_needs_a_name_a_date_and_somebody_who_vouches_for_it() {
    let body = fixture("sns/notification-2.json");
    let check = |web: Web| send(with(web).0.as_ref(), &body).map(|_| ());
    let without = |url: &str| {
        let mut web = web();
        web.files.remove(url);
        web
    };
    let instead = |url: &str, file: &str| {
        let mut web = web();
        web.files.insert(url.to_owned(), fixture(file));
        web
    };
    assert_eq!(check(web()), Ok(()));
    // It may bring who vouches for it along.
    let mut chain = web();
    let issuer = {
        let encoded = STANDARD.encode(fixture("sns/issuer.cer"));
        format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
    };
    chain.files.insert(URL.to_owned(), [fixture("sns/leaf.pem"), issuer.into_bytes()].concat());
    chain.files.remove(ISSUER);
    assert_eq!(check(chain), Ok(()));
    assert!(matches!(check(without(URL)), Err(Refusal::Unavailable(_))));
    assert!(matches!(check(without(ISSUER)), Err(Refusal::Unavailable(_))));
    // A root that nobody of SNS has, no certificate at all, one without an issuer.
    assert_eq!(check(instead(URL, "sns/root.pem")), Err(wrong()));
    assert_eq!(check(instead(URL, "sns/leaf.key")), Err(wrong()));
    assert_eq!(check(instead(ISSUER, "sns/leaf.pem")), Err(wrong()));
    assert_eq!(check(instead(ISSUER, "sns/leaf.key")), Err(wrong()));
    // One of another name, where it would have another.
    let china = "https://sns.cn-north-1.amazonaws.com.cn/x.pem";
    let mut elsewhere = web();
    elsewhere.files.insert(china.to_owned(), fixture("sns/leaf.pem"));
    let moved = changed("sns/notification-2.json", "SigningCertURL", china);
    assert_eq!(send(with(elsewhere).0.as_ref(), &moved).unwrap_err(), wrong());
    let mut huge = web();
    huge.files.insert(URL.to_owned(), vec![b'-'; 100_000]);
    assert_eq!(check(huge), Err(wrong()));
    // The roots of this system vouch for nothing of it.
    let config: Config = config(&format!("topics = [\"{TOPIC}\"]"));
    if let Ok(source) = given(Some(Arc::new(web())), |given| config.compile(given)) {
        assert_eq!(send(source.as_ref(), &body).map(|_| ()), Err(wrong()));
    }
    // Before it was valid.
    let (source, _) = with(web());
    let headers = headers(&[(KIND, "Notification")]);
    for (now, expected) in [(1_700_000_000, Err(wrong())), (4_930_000_000, Err(wrong())), (NOW, Ok(()))] {
        let now = UNIX_EPOCH + Duration::from_secs(now);
        let delivery = Delivery { headers: &headers, body: &body, peer: [127, 0, 0, 1].into(), now };
        assert_eq!(source.receive(&delivery).map(|_| ()), expected, "{now:?}");
    }
}

#[test]
fn old_messages_and_those_of_tomorrow_are_refused() {
    let (source, _) = with(web());
    let body = fixture("sns/notification-1.json");
    let headers = headers(&[(KIND, "Notification")]);
    // It was sent ten seconds before.
    for (seconds, expected) in
        [(3580, Ok(())), (3600, Err(Refusal::Stale)), (-300, Ok(())), (-320, Err(Refusal::Stale))]
    {
        let now = UNIX_EPOCH + Duration::from_secs(NOW.checked_add_signed(seconds).unwrap());
        let delivery = Delivery { headers: &headers, body: &body, peer: [127, 0, 0, 1].into(), now };
        assert_eq!(source.receive(&delivery).map(|_| ()), expected, "{seconds}");
    }
}

#[test]
fn a_subscription_is_confirmed_by_its_own_url_only() {
    let (source, _) = with(web());
    let body = fixture("sns/subscription.json");
    let Outcome::Confirm { url, lines, ids } = send(source.as_ref(), &body).unwrap() else { panic!() };
    assert!(url.starts_with(
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:"
    ));
    assert_eq!((lines.len(), ids.len()), (1, 1));
    let found = line(send(source.as_ref(), &fixture("sns/unsubscription.json")));
    assert_eq!((found["event"].as_str(), found["topic"].as_str()), (Some("sns_unsubscribed"), Some(TOPIC)));
    let good = format!(
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc123"
    );
    assert!(confirms(&good, TOPIC, "abc123"));
    assert!(confirms(&good.replace("arn:aws:", "arn%3Aaws%3a"), TOPIC, "abc123"));
    for bad in [
        good.replace("https", "http"),
        good.replace("ConfirmSubscription", "Publish"),
        good.replace("abc123", "abc124"),
        good.replace(":security", ":other"),
        good.replace("sns.eu-central-1", "sns.us-east-1"),
        good.replace("sns.eu-central-1", "sqs.eu-central-1"),
        good.replace("/?", "/x?"),
        format!("{good}&Token=abc123"),
        format!("{good}&x"),
        format!("{good}#x"),
        good.replace("https://", "https://a@"),
        String::new(),
    ] {
        assert!(!confirms(&bad, TOPIC, "abc123"), "{bad}");
    }
    assert!(!confirms(&good.replace("abc123", ""), TOPIC, ""));
}

#[test]
fn topics_and_regions_are_known_by_their_shape() {
    for topic in [
        TOPIC,
        "arn:aws-cn:sns:cn-north-1:123456789012:a",
        "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a.fifo",
    ] {
        assert!(region_of(topic).is_some(), "{topic}");
    }
    for topic in [
        "",
        "*",
        "arn:aws:sns:eu-central-1:123456789012:*",
        "arn:aws:sqs:eu-central-1:123456789012:a",
        "arn:aws:sns::1:a",
    ] {
        assert!(region_of(topic).is_none(), "{topic}");
    }
    for (region, good) in [
        ("us-east-1", true),
        ("us-gov-west-1", true),
        ("ap-southeast-12", true),
        ("s3", false),
        ("s3-us-west-2", false),
        ("us-1", false),
        ("us-east-", false),
        ("", false),
        ("-a-1", false),
    ] {
        assert_eq!(is_region(region), good, "{region}");
    }
}

/// The example of the documentation, whose certificate is long gone: what is
/// signed of it.
#[test]
fn what_is_signed_is_in_the_order_of_bytes() {
    let message = Message {
        kind: "Notification".to_owned(),
        id: "4d4dc071-ddbf-465d-bba8-08f81c89da64".to_owned(),
        topic: "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P".to_owned(),
        subject: Some("My subject".to_owned()),
        text: "My Test Message".to_owned(),
        time: "2019-01-31T04:37:04.321Z".to_owned(),
        version: String::new(),
        signature: String::new(),
        certificate: String::new(),
        subscribe: Some("https://x".to_owned()),
        token: Some("t".to_owned()),
    };
    assert_eq!(
        message.signed().unwrap(),
        "Message\nMy Test Message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubject\nMy subject\nTimestamp\n\
         2019-01-31T04:37:04.321Z\nTopicArn\narn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P\n\
         Type\nNotification\n"
    );
    let without = Message { subject: None, ..message };
    assert!(!without.signed().unwrap().contains("Subject"));
    let confirmation = Message { kind: "SubscriptionConfirmation".to_owned(), ..without };
    let signed = confirmation.signed().unwrap();
    assert!(
        signed.contains("\nSubscribeURL\nhttps://x\nTimestamp\n")
            && signed.contains("\nToken\nt\nTopicArn\n")
    );
}
