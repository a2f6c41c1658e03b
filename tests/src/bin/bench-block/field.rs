//! Where the contestants run: a Wazuh each, a network each, and so many
//! addresses blocked already.

use std::fmt::Write;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::execd::Execd;
use harness::line::Line;
use harness::network::Namespace;
use harness::program::source_tree;
use harness::wazuh::Wazuh;

/// Both halves of the network that is set aside for measurements.
const STANDING: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const FRESH: u32 = u32::from_be_bytes([198, 19, 0, 0]);

/// An agent's ossec.conf as it is installed, shortened.
const OSSEC_CONF: &str = "<ossec_config>
  <client>
    <server>
      <address>192.0.2.20</address>
      <port>1514</port>
      <protocol>tcp</protocol>
    </server>
    <config-profile>debian, debian12</config-profile>
    <notify_time>10</notify_time>
    <time-reconnect>60</time-reconnect>
    <auto_restart>yes</auto_restart>
  </client>
  <rootcheck>
    <disabled>no</disabled>
    <frequency>43200</frequency>
    <rootkit_files>etc/shared/rootkit_files.txt</rootkit_files>
  </rootcheck>
  <syscheck>
    <disabled>no</disabled>
    <frequency>43200</frequency>
    <directories>/etc,/usr/bin,/usr/sbin</directories>
    <ignore>/etc/mtab</ignore>
    <ignore type=\"sregex\">.log$|.swp$</ignore>
  </syscheck>
  <localfile>
    <log_format>journald</log_format>
    <location>journald</location>
  </localfile>
  <active-response>
    <disabled>no</disabled>
    <ca_store>etc/wpk_root.pem</ca_store>
  </active-response>
</ossec_config>
<ossec_config>
  <localfile>
    <log_format>syslog</log_format>
    <location>/var/ossec/logs/active-responses.log</location>
  </localfile>
</ossec_config>
";

/// An address that was blocked before.
pub(super) fn standing(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(STANDING + number)
}

/// An address that this run has not used yet.
pub(super) fn fresh() -> String {
    static USED: AtomicU32 = AtomicU32::new(1);
    let number = USED.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from(FRESH + number % 0xffff).to_string()
}

/// True for an address that is ours.
pub(super) fn is_ours(word: &str) -> bool {
    (word.starts_with("198.18.") || word.starts_with("198.19.")) && word.parse::<Ipv4Addr>().is_ok()
}

/// All words of a listing that can be addresses.
pub(super) fn words(listing: &str) -> impl Iterator<Item = &str> {
    listing.split(|c: char| !c.is_ascii_digit() && c != '.')
}

/// A program in its installation, and the network that it protects.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) wazuh: Wazuh,
    pub(super) namespace: Namespace,
    /// Under which execd starts it.
    pub(super) name: String,
}

impl Home {
    /// custom-block, whatever its file is called, by this backend.
    pub(super) fn of_block(program: &Path, backend: &str) -> Home {
        let mut home = Home::new(program, backend);
        if home.name != "custom-block" {
            home.wazuh.link("custom-block");
            "custom-block".clone_into(&mut home.name);
        }
        home
    }

    /// One of a program with the shipped configuration and this backend.
    pub(super) fn new(program: &Path, backend: &str) -> Home {
        let wazuh = Wazuh::new(program);
        wazuh.ossec_conf(OSSEC_CONF);
        // An hour, so that nothing lapses while it is measured.
        wazuh.ar_conf(
            "restart-ossec0 - restart-ossec.sh - 0\n\
             restart-wazuh0 - restart-wazuh - 0\n\
             custom-block3600 - custom-block - 3600\n",
        );
        let shipped = std::fs::read_to_string(source_tree().join("packaging/config/custom-block.toml"));
        let mut config = format!("backends = [{backend:?}]\nmax_blocks_per_minute = 0\n");
        for line in shipped.unwrap_or_default().lines() {
            let key = line.split('=').next().unwrap_or_default().trim();
            if !["backends", "max_blocks_per_minute"].contains(&key) {
                // An assertion, not a format: writing to a string does not fail.
                let _ = writeln!(config, "{line}");
                if key == "[file]" {
                    let _ = writeln!(config, "path = {:?}", list_of(&wazuh));
                }
            }
        }
        if !config.contains("\n[file]") {
            let _ = writeln!(config, "[file]\npath = {:?}", list_of(&wazuh));
        }
        wazuh.configure(&config);
        let name = program.file_name().and_then(|name| name.to_str()).expect("a program has a name");
        Home { wazuh, namespace: network(), name: name.to_owned() }
    }

    /// The file backend's list.
    pub(super) fn list(&self) -> PathBuf {
        list_of(&self.wazuh)
    }

    /// An execd that starts programs where its own thread is: entering a
    /// namespace is then not part of what is measured.
    pub(super) fn execd(&self) -> Execd<'static> {
        Execd::new(&self.wazuh.home())
            .with("WAZUH_TOOLKIT_STATE_DIR", self.wazuh.state_dir())
            .with("WAZUH_TOOLKIT_CONFIG_DIR", self.wazuh.config_dir())
            .limit(Duration::from_secs(30))
    }

    /// The line that blocks this address.
    pub(super) fn line(&self, address: &str) -> Line {
        Line::add(address).program(&self.name)
    }

    /// What the packages' timer does; it also makes the files that an add finds.
    pub(super) fn restore(&self) {
        let done = self.wazuh.verb(&self.namespace, &["restore"]);
        assert!(done.status.success(), "restore: {}", String::from_utf8_lossy(&done.stderr));
        self.wait();
    }

    /// Until nobody works on it any more.
    pub(super) fn wait(&self) {
        assert!(self.wazuh.is_quiet(Duration::from_secs(30)), "a worker does not end");
    }

    /// Blocks these addresses as Wazuh does, one after the other on each
    /// processor.
    pub(super) fn block(&self, numbers: std::ops::Range<u32>) {
        let next = AtomicU32::new(numbers.start);
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.namespace.run(|| {
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| {
                        let mut execd = self.execd();
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            if number >= numbers.end {
                                return;
                            }
                            let run = execd.request(&self.line(&standing(number).to_string()), 0);
                            assert!(run.status.success(), "blocking fails: {:?}", run.status);
                        }
                    });
                }
            });
        });
        self.wait();
    }

    /// Blocks an address, and lifts it after something else was done.
    pub(super) fn while_blocked<T: Send>(&self, address: &str, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(|| {
            let mut execd = self.execd();
            let run = execd.request(&self.line(address), 1);
            assert!(run.status.success() && run.keys().is_some(), "{}: {:?}", self.name, run.status);
            let done = work();
            execd.stop();
            done
        })
    }

    /// Hands a file of many blocks to a firewall's own tool.
    pub(super) fn load(
        &self,
        tool: &[&str],
        count: u32,
        [head, tail]: [&str; 2],
        line: impl Fn(&str) -> String,
    ) {
        let lines = (0..count).map(|number| line(&standing(number).to_string()));
        let text: String = std::iter::once(head.to_owned()).chain(lines).chain([tail.to_owned()]).collect();
        let file = self.wazuh.scratch().join("load");
        std::fs::write(&file, text).expect("our own directory");
        let file = file.to_str().expect("a plain path");
        let args: Vec<&str> =
            tool[1..].iter().map(|&word| if word == "FILE" { file } else { word }).collect();
        self.namespace.command(tool[0], &args);
    }

    fn state(&self) -> PathBuf {
        self.wazuh.state_dir().join("custom-block")
    }

    /// Takes another one's state over, as if it had used this backend.
    pub(super) fn adopt(&self, other: &Home, backend: &str) {
        copy(&other.state(), &self.state(), &format!("{backend:?}"));
    }

    /// Adds lines to the file backend's list, each as its only one is now.
    pub(super) fn fill_list(&self, count: u32) {
        for file in [self.list(), self.state().join("blocklist")] {
            let text = std::fs::read_to_string(&file).expect("the file backend was used");
            let line = text.lines().next().expect("it lists something");
            let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
            let mut more = String::new();
            for number in 0..count {
                let _ = writeln!(more, "{}", format!("{} {rest}", standing(number)).trim_end());
            }
            std::fs::write(&file, text + &more).expect("our own file");
        }
    }
}

fn list_of(wazuh: &Wazuh) -> PathBuf {
    wazuh.scratch().join("blocklist.txt")
}

/// Copies a state directory, with another backend named in its records.
fn copy(from: &Path, to: &Path, backend: &str) {
    std::fs::create_dir_all(to).expect("a new directory");
    for entry in std::fs::read_dir(from).expect("our own directory").flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target, backend);
            continue;
        }
        let bytes = std::fs::read(&source).expect("our own file");
        // Only the counters are no text.
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => text.replace("\"nftables\"", backend).into_bytes(),
            Err(bytes) => bytes.into_bytes(),
        };
        std::fs::write(target, bytes).expect("our own file");
    }
}

/// A network as a server has it: an address and a gateway.
pub(super) fn network() -> Namespace {
    let namespace = Namespace::new();
    namespace.ip("link add uplink type veth peer name far
                  link set far up
                  link set uplink up
                  addr add 192.0.2.10/24 dev uplink
                  route add default via 192.0.2.1");
    namespace
}

/// Opened once, a namespace is entered in a microsecond.
pub(super) fn entrance(namespace: &Namespace) -> File {
    File::open(namespace.path()).expect("our own namespace")
}
