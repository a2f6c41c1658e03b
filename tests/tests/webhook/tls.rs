//! TLS, and what is read anew on SIGHUP while it runs.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::webhook::client::Connection;
use harness::webhook::{Receiver, delivery, github, login, sign};
use harness::{kernel, require};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::receiver;

const NAME: &str = "receiver.test";
const NAMED: &str = "subjectAltName=DNS:receiver.test";
const NO_AUTHORITY: &str = "basicConstraints=critical,CA:FALSE";
type Secured = Connection<StreamOwned<ClientConnection, TcpStream>>;

/// One that has a certificate, and listens at a port of all addresses.
struct Site {
    receiver: Receiver,
    folder: PathBuf,
}

impl Site {
    fn new() -> Option<Site> {
        if !require(kernel::has("openssl"), "openssl") {
            return None;
        }
        let receiver = receiver("");
        let folder = receiver.dir().join("tls");
        std::fs::create_dir(&folder).unwrap();
        let site = Site { receiver, folder };
        site.certify("ec");
        site.receiver.configure("", &site.tables());
        Some(site)
    }

    /// A new certificate, in place of the one that is there.
    fn certify(&self, algorithm: &str) {
        self.certify_as(algorithm, &["-days", "30", "-addext", NAMED, "-addext", NO_AUTHORITY]);
    }

    /// The same with these words about it.
    fn certify_as(&self, algorithm: &str, words: &[&str]) {
        let (key, certificate) = (self.folder.join("key.pem"), self.folder.join("certificate.pem"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-subj", "/CN=receiver.test", "-newkey", algorithm]);
        if algorithm == "ec" {
            command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        }
        command.args(words).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        assert!(command.stderr(Stdio::null()).status().unwrap().success());
    }

    /// A new certificate for the key that is there, between these days and with
    /// these extensions; of version 1 when there are none.
    fn certify_between(&self, days: [i32; 2], extensions: &[&str]) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (folder, extensions_key) = (self.folder.display(), "x509_extensions = ext\n");
        let text = format!(
            "[ca]\ndefault_ca = us\n[us]\ndatabase = {folder}/index\nnew_certs_dir = {folder}\nrand_serial = yes\n\
             default_md = sha256\npolicy = any\n{}[any]\ncommonName = supplied\n[ext]\n{}\n",
            if extensions.is_empty() { "" } else { extensions_key },
            extensions.join("\n")
        );
        std::fs::write(path("ca"), text).unwrap();
        std::fs::write(path("index"), "").unwrap();
        let [from, until] = days.map(|days| {
            let date = format!("{days} days");
            let said = Command::new("date").args(["-u", "-d", &date, "+%Y%m%d%H%M%SZ"]).output().unwrap();
            String::from_utf8(said.stdout).unwrap().trim().to_owned()
        });
        let (key, request, certificate) = (path("key.pem"), path("request.pem"), path("certificate.pem"));
        for args in [
            &["req", "-new", "-key", &key, "-subj", "/CN=receiver.test", "-out", &request][..],
            &[
                "ca",
                "-batch",
                "-selfsign",
                "-notext",
                "-config",
                &path("ca"),
                "-keyfile",
                &key,
                "-in",
                &request,
                "-out",
                &certificate,
                "-startdate",
                &from,
                "-enddate",
                &until,
            ],
        ] {
            let ran = Command::new("openssl").args(args).output().unwrap();
            assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }

    /// What `--check-config` says on stderr, with its code, and `doctor` of TLS.
    fn judged(&self) -> (Option<i32>, String, String) {
        let checked = self.receiver.verb(&["--check-config"]);
        let doctor = String::from_utf8(self.receiver.verb(&["doctor"]).stdout).unwrap();
        let tls = doctor.lines().filter(|line| line.split_whitespace().nth(1) == Some("tls"));
        let tls = tls.collect::<Vec<_>>().join("\n");
        (checked.status.code(), String::from_utf8(checked.stderr).unwrap(), tls)
    }

    fn tables(&self) -> String {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let tls =
            format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", path("certificate.pem"), path("key.pem"));
        tls + &self.receiver.sources("requests_per_minute = 0\nrequests_per_minute_per_peer = 0\n")
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.join("certificate.pem")).unwrap()
    }

    /// A connection that believes nothing but the certificate that is there now.
    fn connect(&self, version: &'static SupportedProtocolVersion) -> Secured {
        self.connect_to(self.receiver.address(), version)
    }

    fn connect_to(&self, address: SocketAddr, version: &'static SupportedProtocolVersion) -> Secured {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Connection::over(StreamOwned::new(session, stream))
    }

    /// An address of the host that is not only of loopback, and its port.
    fn everywhere(&self) -> (String, SocketAddr) {
        let [_, _, b, c] = match self.receiver.address().ip() {
            std::net::IpAddr::V4(address) => address.octets(),
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        // Below those that the kernel gives to whoever asks for any.
        let port = 20_000 + (u16::from(b) << 8 | u16::from(c)) % 12_000;
        (format!("listen = \"0.0.0.0:{port}\"\n"), SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

#[test]
fn senders_come_over_tls_1_2_and_1_3() {
    let Some(site) = Site::new() else { return };
    let daemon = site.receiver.start();
    for (number, (version, spoken)) in
        (1..).zip([(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)])
    {
        let mut connection = site.connect(version);
        assert_eq!(connection.ask(&delivery(10 * number)).unwrap().status, 200);
        assert_eq!(connection.ask(&login("alice")).unwrap().status, 200, "once more on the same connection");
        assert_eq!(connection.stream().conn.protocol_version(), Some(spoken));
        // In records as small as one byte.
        for byte in delivery(10 * number + 1).bytes().chunks(53) {
            connection.send(byte).unwrap();
        }
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    daemon.lines("github", 4);
    // A large one, which is many records.
    let body = format!("{{\"ref\":\"{}\"}}", "x".repeat(3_000_000));
    assert_eq!(site.connect(&TLS13).ask(&github("push", "large", &body)).unwrap().status, 200);
    daemon.stop();
}

#[test]
fn older_versions_and_plain_http_are_not_spoken() {
    let Some(site) = Site::new() else { return };
    let daemon = site.receiver.start();
    for version in ["-tls1", "-tls1_1"] {
        let output = Command::new("openssl")
            .args([
                "s_client",
                version,
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-connect",
                &site.receiver.address().to_string(),
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains("BEGIN CERTIFICATE"), "{version}: {said}");
    }
    let mut plain = daemon.connect();
    plain.send(&delivery(1).bytes()).unwrap();
    assert!(plain.answer().is_err());
    daemon.drained();
    assert!(site.receiver.output().of("github").is_empty());
    assert_eq!(site.connect(&TLS13).ask(&delivery(1)).unwrap().status, 200);
}

#[test]
fn a_handshake_that_does_not_go_on_ends_and_disturbs_nobody() {
    let Some(site) = Site::new() else { return };
    let daemon = site.receiver.start();
    let mut silent: Vec<Connection> = (0..30).map(|_| daemon.connect()).collect();
    for (n, connection) in silent.iter_mut().enumerate() {
        connection.send(&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..n % 11]).unwrap();
    }
    let began = std::time::Instant::now();
    assert_eq!(site.connect(&TLS13).ask(&delivery(1)).unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(silent.iter_mut().all(|connection| connection.is_closed_within(Duration::from_secs(13))));
}

#[test]
fn one_address_cannot_keep_the_daemon_at_handshakes_for_others() {
    let Some(site) = Site::new() else { return };
    let daemon = site.receiver.start();
    // A few at a time, so that no other limit counts; how many were refused.
    let flood = |many: usize| {
        let refused = || daemon.metric("connections_refused_total").unwrap();
        let before = refused();
        let some = || {
            for _ in 0..many / 10 {
                let mut connection = daemon.connect_from("127.0.0.2");
                let _ = connection.stream().shutdown(Shutdown::Write);
                assert!(connection.is_closed_within(Duration::from_secs(5)));
            }
        };
        std::thread::scope(|scope| (0..10).for_each(|_| _ = scope.spawn(some)));
        refused() - before
    };
    assert!(flood(1000) < 1.0, "1,200 at once are let in");
    assert!(flood(6000) > 500.0);
    assert_eq!(site.connect(&TLS13).ask(&delivery(1)).unwrap().status, 200);
    // There are 200 more in a second.
    std::thread::sleep(Duration::from_secs(1));
    assert!(flood(100) < 1.0);
}

#[test]
fn a_new_certificate_is_shown_after_sighup_and_who_is_in_stays() {
    let Some(site) = Site::new() else { return };
    let daemon = site.receiver.start();
    let mut before = site.connect(&TLS13);
    assert_eq!(before.ask(&delivery(1)).unwrap().status, 200);
    let old = site.certificate();
    site.certify("rsa:2048");
    daemon.hang_up();
    let mut after = site.connect(&TLS12);
    assert_eq!(after.ask(&delivery(2)).unwrap().status, 200);
    let shown = after.stream().conn.peer_certificates().unwrap()[0].clone();
    assert!(shown == site.certificate() && shown != old);
    assert_eq!(before.ask(&delivery(3)).unwrap().status, 200);
    daemon.lines("github", 3);
}

#[test]
fn a_certificate_that_senders_refuse_is_told_and_keeps_nobody_from_starting() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.judged().1, "");
    let client = "extendedKeyUsage=clientAuth";
    let cases: [([i32; 2], &[&str], &str, &str); 5] = [
        ([-9, -2], &[NAMED, NO_AUTHORITY], "PROBLEM", "expired at 2"),
        ([5, 90], &[NAMED, NO_AUTHORITY], "PROBLEM", "is not valid before 2"),
        ([-9, 90], &[NAMED, NO_AUTHORITY, client], "PROBLEM", "is not for servers"),
        ([-9, 13], &[NAMED, NO_AUTHORITY], "note", "expires at 2"),
        ([-9, 90], &[NAMED, "basicConstraints=CA:TRUE"], "note", "basicConstraints=CA:FALSE"),
    ];
    for (days, extensions, verdict, words) in cases {
        site.certify_between(days, extensions);
        let (code, said, doctor) = site.judged();
        assert_eq!(code, Some(0), "{words}: {said}");
        assert!(said.contains("certificate.pem: ") && said.contains(words), "{words}: {said}");
        assert!(doctor.trim_start().starts_with(verdict) && doctor.contains(words), "{words}: {doctor}");
        assert_eq!(doctor.lines().count(), 1, "{doctor}");
        let daemon = site.receiver.start();
        assert_eq!(daemon.log().matches(words).count(), 1, "at the start: {}", daemon.log());
        daemon.hang_up();
        assert_eq!(daemon.log().matches(words).count(), 2, "at a reload: {}", daemon.log());
        daemon.stop();
    }
    site.certify_between([-9, 16], &[NAMED, NO_AUTHORITY]);
    let (code, said, doctor) = site.judged();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(doctor.trim_start().starts_with("ok"), "{doctor}");
}

#[test]
fn what_is_wrong_with_a_pair_names_the_file_that_is_at_fault() {
    let Some(site) = Site::new() else { return };
    let refused = |named: &[&str], unnamed: &str, words: &str| {
        let (code, said, doctor) = site.judged();
        assert_eq!(code, Some(78), "{said}");
        for said in [&said, &doctor] {
            let all = named.iter().all(|name| said.contains(name));
            assert!(all && !said.contains(unnamed) && said.contains(words), "{words}: {said}");
        }
    };
    site.certify_between([-9, 90], &[]);
    refused(&["certificate.pem"], "key.pem", "version 3");
    let old = std::fs::read(site.folder.join("certificate.pem")).unwrap();
    site.certify("ec");
    let certificate = std::fs::read(site.folder.join("certificate.pem")).unwrap();
    site.certify("ec");
    std::fs::write(site.folder.join("certificate.pem"), certificate).unwrap();
    refused(&["certificate.pem", "key.pem"], "KeyMismatch", "is not that of the certificate");
    std::fs::write(site.folder.join("key.pem"), old).unwrap();
    refused(&["key.pem"], "certificate.pem", "key.pem");
}

#[test]
fn whoever_sends_to_the_certificate_of_an_authority_is_told_what_to_do() {
    let Some(site) = Site::new() else { return };
    site.certify_as("ec", &["-days", "30", "-addext", NAMED, "-addext", "basicConstraints=CA:TRUE"]);
    let daemon = site.receiver.start();
    let url = format!("https://{}/webhook/github", site.receiver.address());
    let file = site.folder.join("push.json");
    std::fs::write(&file, "{}").unwrap();
    let authority = site.folder.join("certificate.pem").display().to_string();
    let words = ["send", "--source", "github", "--url", &url, "--ca-file", &authority];
    let ran = site.receiver.verb(&[&words[..], &[file.to_str().unwrap()]].concat());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains("basicConstraints=CA:FALSE"), "{said}");
    daemon.stop();
}

#[test]
fn new_secrets_count_after_sighup_also_for_who_is_in() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let mut connection = daemon.connect();
    assert_eq!(connection.ask(&delivery(1)).unwrap().status, 200);
    let other = "another-secret-of-github-ef2d127de37b942b";
    let signed = |n: u64, secret: &str| {
        let request = delivery(n);
        let signature = sign::github(secret, request.body());
        request.with("X-Hub-Signature-256", &signature)
    };
    // Both, while it is changed; then the new one only.
    let two = receiver.secret("github-2", other).display().to_string();
    let tables = receiver.sources("");
    let one = receiver.dir().join("secret/github").display().to_string();
    receiver.configure("", &tables.replacen(&format!("{one:?}"), &format!("{one:?}, {two:?}"), 1));
    assert_eq!(daemon.ask(&signed(2, other)).status, 401, "nobody has told it yet");
    // A request that is half here is judged by what counts when it is whole.
    let bytes = signed(3, other).bytes();
    connection.send(&bytes[..bytes.len() - 10]).unwrap();
    daemon.hang_up();
    connection.send(&bytes[bytes.len() - 10..]).unwrap();
    assert!([200, 401].contains(&connection.answer().unwrap().status));
    daemon.expect(200, &signed(4, other));
    daemon.expect(200, &delivery(5));
    receiver.configure("", &tables.replacen(&format!("{one:?}"), &format!("{two:?}"), 1));
    daemon.hang_up();
    daemon.expect(200, &signed(6, other));
    daemon.expect(401, &delivery(7));
    daemon.expect(200, &login("alice"));
}

#[test]
fn what_counts_from_the_next_start_is_named_when_it_has_changed() {
    let receiver = receiver("");
    let daemon = receiver.start();
    daemon.hang_up();
    receiver.configure("connections = 7\nreplay_window = \"2days\"\n", &receiver.sources(""));
    daemon.hang_up();
    let log = daemon.log();
    assert!(log.contains("count from the next start: connections, replay_window\n"), "{log}");
    assert_eq!(log.matches("next start").count(), 1, "nothing had changed before: {log}");
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let Some(site) = Site::new() else { return };
    let receiver = &site.receiver;
    let daemon = receiver.start();
    let mut open = site.connect(&TLS13);
    assert_eq!(open.ask(&delivery(0)).unwrap().status, 200);
    let good = std::fs::read_to_string(receiver.config()).unwrap();
    let (certificate, key) = (site.folder.join("certificate.pem"), site.folder.join("key.pem"));
    let kept = [&certificate, &key].map(|path| std::fs::read(path).unwrap());
    let github = receiver.dir().join("secret/github");
    let breakages: [(&str, &dyn Fn()); 9] = [
        ("no TOML", &|| receiver.configure_as(&format!("{good}\n[[["))),
        ("an unknown key", &|| receiver.configure_as(&format!("lissten = 1\n{good}"))),
        ("no source", &|| receiver.configure_as(&good[..good.find("[github]").unwrap()])),
        ("no file", &|| std::fs::remove_file(receiver.config()).unwrap()),
        ("others may write it", &|| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            std::fs::set_permissions(receiver.config(), mode).unwrap();
        }),
        ("no secret", &|| std::fs::remove_file(&github).unwrap()),
        ("no certificate", &|| std::fs::write(&certificate, "none").unwrap()),
        ("another one's key", &|| {
            site.certify("ec");
            std::fs::write(&certificate, &kept[0]).unwrap();
        }),
        ("a key for everybody", &|| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(&key, mode).unwrap();
        }),
    ];
    for (number, (what, spoil)) in (1..).zip(breakages) {
        spoil();
        daemon.hang_up();
        let said = daemon.log();
        assert!(said.lines().last().unwrap().contains("ERROR"), "{what}: {said}");
        // Put back, so that a new connection knows whom it speaks to.
        std::fs::write(&certificate, &kept[0]).unwrap();
        std::fs::remove_file(&key).unwrap();
        std::fs::write(&key, &kept[1]).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        receiver.configure_as(&good);
        receiver.secret("github", harness::webhook::GITHUB);
        assert_eq!(site.connect(&TLS12).ask(&delivery(10 * number)).unwrap().status, 200, "{what}");
        assert_eq!(open.ask(&delivery(10 * number + 1)).unwrap().status, 200, "{what}");
    }
    daemon.drained();
    let lines = receiver.output().of("custom-webhook");
    assert_eq!(lines.iter().filter(|line| line["event"] == "reload_failed").count(), 9);
    daemon.hang_up();
    assert!(daemon.log().lines().last().unwrap().contains("INFO"), "{}", daemon.log());
}

#[test]
fn plain_http_beyond_this_host_is_refused_unless_it_is_wanted() {
    let Some(site) = Site::new() else { return };
    let (listen, address) = site.everywhere();
    let free = site.receiver.sources("requests_per_minute_per_peer = 0\n");
    for address in ["0.0.0.0:8787", "[::]:8787", "192.0.2.1:8787"] {
        site.receiver.configure(&format!("listen = \"{address}\"\n"), &free);
        let ended = site.receiver.refused();
        assert_eq!((ended.code, ended.signal), (Some(78), None), "{address}: {}", ended.log);
        assert!(ended.log.contains("listen"), "{}", ended.log);
        assert_eq!(site.receiver.verb(&["--check-config"]).status.code(), Some(78));
    }
    site.receiver.configure(&format!("{listen}plain_http = true\n"), &free);
    let daemon = site.receiver.start();
    assert_eq!(Connection::to(address).unwrap().ask(&delivery(1)).unwrap().status, 200);
    daemon.stop();
    site.receiver.configure(&listen, &site.tables());
    let daemon = site.receiver.start();
    assert_eq!(site.connect_to(address, &TLS13).ask(&delivery(2)).unwrap().status, 200);
    daemon.stop();
}

#[test]
fn what_listens_beyond_this_host_does_not_lose_its_tls_by_sighup() {
    let Some(site) = Site::new() else { return };
    let (listen, address) = site.everywhere();
    site.receiver.configure(&listen, &site.tables());
    let daemon = site.receiver.start();
    // It would be good at a start: at loopback nobody needs TLS.
    site.receiver.configure("", &site.receiver.sources(""));
    daemon.hang_up();
    let mut plain = Connection::to(address).unwrap();
    plain.send(&delivery(1).bytes()).unwrap();
    assert!(plain.answer().is_err(), "a public address speaks plain HTTP now");
    assert_eq!(site.connect_to(address, &TLS13).ask(&delivery(1)).unwrap().status, 200);
}
