//! HTTPS as nginx speaks it: a private CA, and a certificate of ours.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use custom_block::outbox::Want;

use crate::{Bench, delivered, item, program, reason};

struct Nginx {
    child: Child,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(openssl: &Path, dir: &Path, arguments: &str) {
    let output = Command::new(openssl).args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, a certificate for `localhost` and 127.0.0.1 from it, and one of ours.
fn certificates(program: &Path, dir: &Path) {
    fs::write(dir.join("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for name in ["ca", "other"] {
        openssl(program, dir, &format!("{ca} -subj /CN={name} -keyout {name}.key -out {name}.pem"));
    }
    for name in ["server", "client"] {
        let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(program, dir, &format!("{new} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        let sign = "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial";
        openssl(program, dir, &format!("{sign} -in {name}.csr -out {name}.pem -extfile {name}.ext"));
    }
}

/// nginx that answers 200 to everything; `None` when it is not installed.
fn nginx(dir: &Path, more: &str) -> Option<Nginx> {
    let places = [Path::new("/usr/sbin"), Path::new("/usr/bin"), Path::new("/usr/local/sbin")];
    let (nginx, openssl) = (program("nginx", &places)?, program("openssl", &places)?);
    certificates(&openssl, dir);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate server.pem; ssl_certificate_key server.key;
                {more}
                location / {{ return 200 'ok'; }}
            }}
        }}"
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let child = Command::new(nginx)
        .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
        .arg(dir)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let nginx = Nginx { child, port };
    for _ in 0..600 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(nginx);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nginx: {}", fs::read_to_string(dir.join("error.log")).unwrap_or_default());
}

#[test]
fn a_private_ca_is_trusted_when_named_and_only_for_its_names() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let bench = Bench::new();
        let more = format!("ssl_protocols {protocol};");
        let Some(nginx) = nginx(bench.dir.path(), &more) else { return };
        bench.put(&item("192.0.2.7", Want::Add));
        let port = nginx.port;
        for (url, ca, why) in [
            (format!("https://127.0.0.1:{port}"), "", "certificate"),
            (format!("https://127.0.0.1:{port}"), "ca_file = 'DIR/other.pem'", "certificate"),
            (format!("https://127.0.0.2:{port}"), "ca_file = 'DIR/ca.pem'", "refused"),
            (format!("https://127.0.0.1:{port}"), "ca_file = 'DIR/token'", "no certificate"),
            (format!("https://127.0.0.1:{port}"), "ca_file = 'DIR/missing.pem'", "No such file"),
        ] {
            bench.put(&item("192.0.2.7", Want::Add));
            let outcomes = bench.try_once(bench.api(&format!("preset = 'generic'\nurl = '{url}'\n{ca}")));
            let reason = reason(&outcomes);
            assert!(reason.contains(why) && !reason.contains("status"), "{url} {ca}: {reason}");
        }
        for host in ["localhost", "127.0.0.1"] {
            bench.put(&item("192.0.2.7", Want::Add));
            let text = format!("preset = 'generic'\nurl = 'https://{host}:{port}'\nca_file = 'DIR/ca.pem'");
            assert_eq!(bench.try_once(bench.api(&text)), [delivered()], "{host} {protocol}");
        }
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let bench = Bench::new();
    let Some(nginx) = nginx(bench.dir.path(), "") else { return };
    bench.put(&item("192.0.2.7", Want::Add));
    let text = format!(
        "preset = 'generic'\nurl = 'https://[::ffff:127.0.0.1]:{}'\nca_file = 'DIR/ca.pem'",
        nginx.port
    );
    let outcomes = bench.try_once(bench.api(&text));
    assert!(reason(&outcomes).contains("not valid for name"), "{outcomes:?}");
}

#[test]
fn a_server_that_wants_our_certificate_gets_it() {
    let bench = Bench::new();
    let Some(nginx) = nginx(bench.dir.path(), "ssl_client_certificate ca.pem; ssl_verify_client on;") else {
        return;
    };
    let base =
        format!("preset = 'generic'\nurl = 'https://127.0.0.1:{}'\nca_file = 'DIR/ca.pem'", nginx.port);
    let ours = "client_certificate = 'DIR/client.pem'\nclient_key = 'DIR/client.key'";
    let try_with = |more: &str| {
        bench.put(&item("192.0.2.7", Want::Add));
        bench.try_once(bench.api(&format!("{base}\n{more}")))
    };
    let outcomes = try_with("");
    assert!(reason(&outcomes).contains("status 400"), "{outcomes:?}");
    bench.secret("client.key", &fs::read_to_string(bench.path("client.key")).unwrap());
    assert_eq!(try_with(ours), [delivered()]);
    let both = fs::read_to_string(bench.path("client.key")).unwrap()
        + &fs::read_to_string(bench.path("client.pem")).unwrap();
    bench.secret("both.pem", &both);
    let both = "client_certificate = 'DIR/both.pem'\nclient_key = 'DIR/both.pem'";
    assert_eq!(try_with(both), [delivered()]);
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bench.path("client.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let outcomes = try_with(ours);
    assert!(reason(&outcomes).contains("client.key: others may read"), "{outcomes:?}");
}
