//! Amazon SNS: a web server of our own is at its addresses, in a network
//! namespace, and says what it was asked for.

use std::cell::Cell;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::network::Namespace;
use harness::webhook::client::Request;
use harness::webhook::{Daemon, Receiver, delivery};
use harness::{eventually, kernel, network, require};
use serde_json::{Map, Value, json};

use crate::receiver;

const HOST: &str = "sns.eu-central-1.amazonaws.com";
const ISSUERS: &str = "crt.test.amazontrust.com";
const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:security";
const CERTIFICATE: &str = "SimpleNotificationService-0123456789abcdef0123456789abcdef";
const TOKEN: &str = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92";
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/webhook/sns");

/// What of Amazon's web the daemon sees.
struct Amazon {
    dir: PathBuf,
    web: Option<Child>,
    made: Cell<u32>,
}

impl Amazon {
    /// Its names lead to this host for whatever is started by [`Amazon::start`].
    fn new(receiver: &Receiver) -> Amazon {
        let dir = receiver.dir().join("amazon");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("hosts"), format!("127.0.0.1 {HOST} {ISSUERS} elsewhere.test\n")).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "web.key", "-out", "web.pem"]);
        openssl.args(["-subj", "/CN=web", "-addext", &format!("subjectAltName=DNS:{HOST}")]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        assert!(openssl.current_dir(&dir).stderr(Stdio::null()).status().unwrap().success());
        let served = dir.join("served");
        std::fs::create_dir(&served).unwrap();
        std::fs::copy(Path::new(FIXTURES).join("leaf.pem"), served.join(format!("{CERTIFICATE}.pem")))
            .unwrap();
        std::fs::copy(Path::new(FIXTURES).join("issuer.cer"), served.join("test.cer")).unwrap();
        std::fs::write(served.join("Large.pem"), "x".repeat(70_000)).unwrap();
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = folders.map(|name| format!("{name}_temp_path {name};")).join(" ");
        let conf = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log;
            events {{}}
            http {{
                log_format asked '$host $request_uri';
                access_log asked.log asked;
                {folders}
                server {{
                    listen 127.0.0.1:443 ssl;
                    server_name {HOST};
                    ssl_certificate web.pem; ssl_certificate_key web.key;
                    root served;
                    location = / {{ return 200 '<ConfirmSubscriptionResponse/>'; }}
                    location = /Moved.pem {{ return 302 http://elsewhere.test/{CERTIFICATE}.pem; }}
                }}
                server {{ listen 127.0.0.1:80; root served; }}
            }}"
        );
        std::fs::write(dir.join("nginx.conf"), conf).unwrap();
        std::fs::write(dir.join("asked.log"), "").unwrap();
        let tables = format!(
            "{}[aws]\ntopics = [{TOPIC:?}]\nsns_ca_file = {:?}\n",
            receiver.sources(""),
            format!("{FIXTURES}/root.pem")
        );
        receiver.configure("", &tables);
        Amazon { dir, web: None, made: Cell::new(0) }
    }

    /// Its web server.
    fn serve(&mut self) {
        let mut nginx = Command::new("setpriv");
        nginx.args(["--pdeathsig", "KILL", "--", "nginx", "-e", "error.log", "-c", "nginx.conf", "-p"]);
        self.web = Some(nginx.arg(&self.dir).stderr(Stdio::null()).spawn().unwrap());
        let up = || [443, 80].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok());
        assert!(eventually(Duration::from_secs(20), up), "nginx does not listen");
    }

    /// The daemon, which believes the web server.
    fn start(&self, receiver: &Receiver) -> Daemon {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let authority = format!("SSL_CERT_FILE={}", path("web.pem"));
        let hosts = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        receiver.start_behind(&["unshare", "--mount", "sh", "-c", hosts, &path("hosts"), "env", &authority])
    }

    /// What the web server was asked for.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("asked.log")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// A message of now, signed as SNS does.
    fn message(
        &self,
        kind: &str,
        certificate: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Request {
        let number = self.made.get();
        self.made.set(number + 1);
        let now = humane(SystemTime::now());
        let mut message = Map::new();
        for (key, value) in [
            ("Message", "Hello world!".to_owned()),
            ("MessageId", format!("22b80b92-fdea-4c2c-8f9d-{number:012}")),
            ("Timestamp", now),
            ("TopicArn", TOPIC.to_owned()),
            ("Type", kind.to_owned()),
            ("SignatureVersion", "2".to_owned()),
            ("SigningCertURL", format!("https://{HOST}/{certificate}.pem")),
        ] {
            message.insert(key.to_owned(), json!(value));
        }
        if kind != "Notification" {
            let url = format!("https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}");
            message.insert("SubscribeURL".to_owned(), json!(url));
            message.insert("Token".to_owned(), json!(TOKEN));
        }
        change(&mut message);
        let signed =
            ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
        let pair =
            |key: &&str| message.get(*key).map(|value| format!("{key}\n{}\n", value.as_str().unwrap()));
        let signed: String = signed.iter().filter_map(pair).collect();
        let digest = if message["SignatureVersion"] == "1" { "-sha1" } else { "-sha256" };
        let signature = self.signature(digest, &signed);
        message.entry("Signature").or_insert(json!(signature));
        Request::new("POST", "/webhook/aws", Value::from(message).to_string())
            .with("Content-Type", "text/plain; charset=UTF-8")
            .with("x-amz-sns-message-type", kind)
    }

    fn signature(&self, digest: &str, text: &str) -> String {
        let mut openssl = Command::new("openssl")
            .args(["dgst", digest, "-sign", &format!("{FIXTURES}/leaf.key")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        STANDARD.encode(openssl.wait_with_output().unwrap().stdout)
    }

    fn notification(&self) -> Request {
        self.message("Notification", CERTIFICATE, |_| {})
    }
}

impl Drop for Amazon {
    fn drop(&mut self) {
        if let Some(web) = &mut self.web {
            let _ = web.kill();
            let _ = web.wait();
        }
    }
}

/// As SNS writes times.
fn humane(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let output = Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S.000Z"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Does this where Amazon is on this host.
fn with_amazon(work: impl FnOnce(&Receiver, Amazon) + Send) {
    let tools = ["openssl", "nginx", "unshare", "mount"].iter().all(|tool| kernel::has(tool));
    if !require(tools && network::available(), "openssl, nginx and namespaces") {
        return;
    }
    Namespace::new().run(|| {
        let receiver = receiver("");
        let amazon = Amazon::new(&receiver);
        work(&receiver, amazon);
    });
}

#[test]
fn a_subscription_is_confirmed_and_what_the_topic_says_is_written() {
    with_amazon(|receiver, mut amazon| {
        amazon.serve();
        let daemon = amazon.start(receiver);
        daemon.expect(200, &amazon.message("SubscriptionConfirmation", CERTIFICATE, |_| {}));
        let signing = format!("{HOST} /{CERTIFICATE}.pem");
        let issuer = format!("{ISSUERS} /test.cer");
        let confirmation = format!("{HOST} /?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}");
        // It writes its log after its answer.
        let all = [signing, issuer, confirmation];
        assert!(eventually(Duration::from_secs(5), || amazon.asked() == all), "{:?}", amazon.asked());
        let first = amazon.notification();
        daemon.expect(200, &first);
        daemon.expect(200, &first);
        daemon.expect(
            200,
            &amazon.message("Notification", CERTIFICATE, |message| {
                message.insert("SignatureVersion".to_owned(), json!("1"));
                message.insert("Subject".to_owned(), json!("In the first version"));
            }),
        );
        let lines = daemon.lines("aws", 2);
        assert_eq!(
            (&lines[0]["event"], &lines[0]["message"]),
            (&json!("sns_notification"), &json!("Hello world!"))
        );
        assert_eq!(lines[1]["subject"], "In the first version");
        daemon.drained();
        assert_eq!(receiver.output().of("aws").len(), 2, "a repeat is not written again");
        let own = receiver.output().of("custom-webhook");
        assert!(
            own.iter().any(|line| line["event"] == "sns_subscribed" && line["topic"] == TOPIC),
            "{own:?}"
        );
        assert_eq!(amazon.asked().len(), 3, "a certificate is asked for once");
    });
}

#[test]
fn nobody_else_has_anything_asked_for_or_written() {
    with_amazon(|receiver, mut amazon| {
        amazon.serve();
        let daemon = amazon.start(receiver);
        let put = |key: &'static str, value: &str| {
            let value = json!(value);
            move |message: &mut Map<String, Value>| _ = message.insert(key.to_owned(), value)
        };
        let another = TOPIC.replace("security", "another");
        for kind in ["Notification", "SubscriptionConfirmation"] {
            daemon.expect(401, &amazon.message(kind, CERTIFICATE, put("TopicArn", &another)));
            let foreign = format!("https://elsewhere.test/{CERTIFICATE}.pem");
            daemon.expect(401, &amazon.message(kind, CERTIFICATE, put("SigningCertURL", &foreign)));
        }
        assert!(amazon.asked().is_empty(), "{:?}", amazon.asked());
        daemon.expect(401, &amazon.message("Notification", CERTIFICATE, put("Signature", "AAAA")));
        let foreign =
            format!("https://elsewhere.test/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}");
        let answer = daemon.ask(&amazon.message(
            "SubscriptionConfirmation",
            CERTIFICATE,
            put("SubscribeURL", &foreign),
        ));
        assert_eq!(answer.status, 403);
        assert_eq!(amazon.asked().len(), 2, "the certificate and its issuer: {:?}", amazon.asked());
        daemon.drained();
        assert!(receiver.output().of("aws").is_empty());
    });
}

#[test]
fn a_certificate_that_cannot_be_had_is_told_to_sns_and_not_asked_for_without_end() {
    with_amazon(|receiver, mut amazon| {
        amazon.serve();
        let daemon = amazon.start(receiver);
        // Redirections are not followed, and nothing is read without end.
        for certificate in ["Large", "Moved", "Missing", "Missing"] {
            daemon.expect(503, &amazon.message("Notification", certificate, |_| {}));
        }
        let asked: Vec<_> = ["Large", "Moved", "Missing"].map(|name| format!("{HOST} /{name}.pem")).into();
        assert_eq!(amazon.asked(), asked);
        for number in 0..20 {
            daemon.expect(503, &amazon.message("Notification", &format!("Other-{number}"), |_| {}));
        }
        // Four at once, and one more every five seconds.
        assert!(amazon.asked().len() < 10, "{:?}", amazon.asked());
        daemon.drained();
        assert!(receiver.output().of("aws").is_empty());
    });
}

#[test]
fn whoever_waits_for_a_certificate_keeps_nobody_else_waiting() {
    with_amazon(|receiver, amazon| {
        // It takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:443").unwrap();
        let daemon = amazon.start(receiver);
        let mut waiting = daemon.connect();
        let message = amazon.notification();
        let began = Instant::now();
        waiting.send(&message.bytes()).unwrap();
        let (taken, _) = silent.accept().unwrap();
        for number in 0..50 {
            daemon.expect(200, &delivery(number));
        }
        let others = began.elapsed();
        assert_eq!(waiting.answer().unwrap().status, 503);
        let this_one = began.elapsed();
        assert!(this_one >= Duration::from_secs(4) && others < this_one, "{others:?} {this_one:?}");
        drop(taken);
    });
}
