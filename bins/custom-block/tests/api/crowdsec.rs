//! The CrowdSec preset against CrowdSec's own local API.
//!
//! `crowdsec` and `cscli` are looked for where Debian puts them, or in the
//! directory that `CROWDSEC_DIR` names.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use custom_block::outbox::{Clock, Item, SystemClock, Want};
use serde_json::Value;

use crate::{Bench, delivered, item, program, reason};

struct Lapi {
    child: Child,
    cscli: PathBuf,
    config: PathBuf,
    url: String,
}

impl Drop for Lapi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lapi {
    /// The decisions that a bouncer is given: value, scope, duration, origin.
    fn decisions(&self) -> Vec<[String; 4]> {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        let head = "GET /v1/decisions HTTP/1.0\r\nX-Api-Key: b0uncer-key\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        let decisions: Value = serde_json::from_str(body).unwrap();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let fields = |one| ["value", "scope", "duration", "origin"].map(|key| text(one, key));
        let mut decisions: Vec<_> = decisions.as_array().into_iter().flatten().map(fields).collect();
        decisions.sort();
        decisions
    }

    fn values(&self) -> Vec<String> {
        self.decisions().into_iter().map(|[value, ..]| value).collect()
    }

    fn cscli(&self, arguments: &[&str]) -> String {
        cscli(&self.cscli, &self.config, arguments)
    }
}

fn cscli(program: &Path, config: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).arg("-c").arg(config).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// CrowdSec without its log reader, with a machine `wazuh`.
fn lapi(dir: &Path) -> Option<Lapi> {
    let own = std::env::var_os("CROWDSEC_DIR").map(PathBuf::from).unwrap_or_default();
    let places = [own.as_path(), Path::new("/usr/bin"), Path::new("/usr/local/bin")];
    let (crowdsec, cscli_path) = (program("crowdsec", &places)?, program("cscli", &places)?);
    let address = TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let d = dir.display();
    for name in ["data", "hub"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    for (name, text) in [
        ("hub/.index.json", "{}".to_owned()),
        ("acquis.yaml", String::new()),
        ("simulation.yaml", "simulation: false\n".to_owned()),
        ("profiles.yaml", "name: none\nfilters: ['false']\non_success: break\n".to_owned()),
        ("admin.yaml", String::new()),
        (
            "config.yaml",
            format!(
                "common: {{daemonize: false, log_media: stdout, log_level: info, working_dir: {d}}}
config_paths: {{config_dir: {d}, data_dir: {d}/data, simulation_path: {d}/simulation.yaml, hub_dir: {d}/hub, index_path: {d}/hub/.index.json, notification_dir: {d}/n, plugin_dir: {d}/p}}
crowdsec_service: {{acquisition_path: {d}/acquis.yaml, parser_routines: 1}}
cscli: {{output: human}}
db_config: {{log_level: info, type: sqlite, use_wal: true, db_path: {d}/data/crowdsec.db}}
plugin_config: {{user: nobody, group: nogroup}}
api:
  client: {{credentials_path: {d}/admin.yaml}}
  server: {{log_level: info, listen_uri: '{address}', profiles_path: {d}/profiles.yaml, trusted_ips: [127.0.0.1]}}
prometheus: {{enabled: false}}
"
            ),
        ),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    let config = dir.join("config.yaml");
    let admin = dir.join("admin.yaml");
    let machine = |name: &str, password: &str, file: &Path| {
        let arguments =
            ["machines", "add", name, "--password", password, "-u", &url, "-f", file.to_str().unwrap()];
        cscli(&cscli_path, &config, &arguments);
    };
    machine("admin", "adm1n-password", &admin);
    machine("wazuh", "w4zuh-password", &dir.join("unused.yaml"));
    cscli(&cscli_path, &config, &["bouncers", "add", "bouncer", "-k", "b0uncer-key"]);
    let log = fs::File::create(dir.join("log")).unwrap();
    let child = Command::new(crowdsec)
        .arg("-c")
        .arg(&config)
        .arg("-no-cs")
        .stdout(log.try_clone().unwrap())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let lapi = Lapi { child, cscli: cscli_path, config, url };
    for _ in 0..1200 {
        if TcpStream::connect(address).is_ok() {
            return Some(lapi);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("crowdsec: {}", fs::read_to_string(dir.join("log")).unwrap_or_default());
}

#[test]
fn crowdsec_bans_and_unbans_what_we_say_and_nothing_else() {
    let bench = Bench::new();
    let dir = bench.path("crowdsec");
    fs::create_dir(&dir).unwrap();
    let Some(lapi) = lapi(&dir) else { return };
    bench.secret("password", "w4zuh-password\n");
    let text = format!(
        "preset = 'crowdsec'\nurl = '{}'\nvariables = {{ machine_id = 'wazuh' }}\nsecrets = {{ password = 'DIR/password' }}",
        lapi.url
    );
    let clock = SystemClock::new();
    let send = |target: &str, want| {
        let now = clock.now();
        bench.put(&Item { until: Some(now + 3600), queued_at: now, ..item(target, want) });
        let limits = custom_block::outbox::Limits { budget: Duration::from_secs(1), ..Default::default() };
        bench.deliver_at(bench.api(&text), &clock, &limits)
    };
    let targets = ["192.0.2.7", "192.0.2.0/24", "2001:db8::7", "2001:db8::/32"];
    for target in targets {
        assert_eq!(send(target, Want::Add), [delivered()], "{target}");
    }
    let mut expected = targets.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(lapi.values(), expected);
    for [value, scope, duration, origin] in lapi.decisions() {
        assert_eq!(origin, "wazuh");
        assert_eq!(scope, if value.contains('/') { "Range" } else { "Ip" });
        assert!(duration.starts_with("59m") || duration.starts_with("1h"), "{value}: {duration}");
    }
    lapi.cscli(&["decisions", "add", "--ip", "192.0.2.7", "--duration", "1h"]);
    assert_eq!(send("192.0.2.7", Want::Delete), [delivered()]);
    let others = |[value, _, _, origin]: &[String; 4]| value == "192.0.2.7" && origin == "cscli";
    assert!(lapi.decisions().iter().any(others), "what others decided stays");
    assert_eq!(lapi.values(), expected, "and so does the network around it");
    for target in &targets[1..] {
        assert_eq!(send(target, Want::Delete), [delivered()], "{target}");
    }
    assert_eq!(lapi.values(), ["192.0.2.7"], "only the one of cscli is left");
    assert_eq!(send("198.51.100.1", Want::Delete), [delivered()], "deleting what is not there is fine");

    bench.secret("password", "wrong-password\n");
    let outcomes = send("192.0.2.9", Want::Add);
    let reason = reason(&outcomes);
    assert!(
        reason.contains("step 1 of 2 (POST /v1/watchers/login): status 401") && !reason.contains("wrong"),
        "{reason}"
    );
}
