//! What custom-block writes into `active-responses.log`, and what becomes of it.

use harness::execd::Execd;
use harness::line::Line;
use harness::network::{self, Namespace};
use harness::wazuh::Wazuh;
use harness::{kernel, program};

use crate::told::Told;

/// Where Wazuh reads these lines.
const LOG: &str = "/var/ossec/logs/active-responses.log";

/// An installation on a host of its own.
struct Host {
    wazuh: Wazuh,
    namespace: Namespace,
}

impl Host {
    fn new(settings: &str) -> Host {
        let host = Host { wazuh: Wazuh::new(program::custom_block()), namespace: Namespace::new() };
        host.wazuh.configure(settings);
        host
    }

    fn execd(&self) -> Execd<'_> {
        self.wazuh.execd(&self.namespace)
    }

    /// What it has written, line by line.
    fn lines(&self) -> Vec<String> {
        self.wazuh.records().into_iter().map(|record| record.text).collect()
    }
}

/// A host's whole record is one chapter: each line in turn ends at these rules.
fn chapter(told: &mut Told, host: &Host, expected: &[(u32, &str)]) {
    let lines = host.lines();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    told.chapter();
    for (line, (rule, why)) in lines.iter().zip(expected) {
        told.line(line, *rule, why);
    }
}

fn ready() -> bool {
    harness::require(network::available(), "root, for network namespaces")
        && harness::require(kernel::has("nft"), "nft")
}

/// One attacker, as often as that.
fn repeated(execd: &mut Execd<'_>, times: usize) {
    for nth in 0..times {
        execd.request(&Line::four().id(&format!("1.{nth}")), 600);
    }
}

#[test]
fn what_custom_block_does_ends_at_the_rule_for_it() {
    if !ready() {
        return;
    }
    let mut told = Told::new("custom-block", LOG);
    blocked(&mut told);
    not_blocked(&mut told);
    mended(&mut told);
    told.end();
}

fn blocked(told: &mut Told) {
    let host = Host::new("");
    let mut execd = host.execd();
    repeated(&mut execd, 2);
    execd.stop();
    chapter(
        told,
        &host,
        &[
            (100_501, "blocked; not 100500, 100502, 100503"),
            (100_510, "it raised one more alert; not 100511, 100512"),
            (100_502, "unblocked; not 100501"),
        ],
    );

    let host = Host::new("");
    host.wazuh.link("firewall-drop");
    let mut execd = host.execd();
    execd.request(&Line::four().program("firewall-drop"), 600);
    execd.stop();
    chapter(
        told,
        &host,
        &[(100_501, "blocked in place of firewall-drop"), (100_502, "unblocked in place of firewall-drop")],
    );

    let host = Host::new("");
    let mut execd = host.execd();
    for nth in 1..9 {
        execd.request(&Line::add(&format!("2001:db8:bad::{nth:x}")), 600);
    }
    let mut expected = vec![(100_501, "one host of a network; not 100503"); 7];
    expected.push((100_503, "the eighth host of a /64: the network is blocked; not 100540, 100541"));
    chapter(told, &host, &expected);

    let host = Host::new("");
    let mut execd = host.execd();
    execd.request(&Line::four().extra_args(&["--dry-run"]), 0);
    chapter(told, &host, &[(100_513, "dry run; not 100514")]);

    let host = Host::new("hold = true\n");
    let mut execd = host.execd();
    repeated(&mut execd, 1);
    execd.stop();
    chapter(told, &host, &[(100_501, "blocked"), (100_514, "held: its own time is not over; not 100513")]);

    // Nobody listens at the port: the request stays in the outbox.
    let host = Host::new(
        "backends = [\"api\"]\n[[api]]\nname = \"fw\"\npreset = \"generic\"\nurl = \"http://127.0.0.1:9/\"\n",
    );
    let mut execd = host.execd();
    repeated(&mut execd, 1);
    let first = host.lines().remove(0);
    told.chapter();
    told.line(&first, 100_512, "queued: there is no local backend; not 100510");
}

fn not_blocked(told: &mut Told) {
    let host = Host::new("allowlist = [\"198.51.100.0/24\"]\nmax_blocks_per_minute = 1\n");
    let mut execd = host.execd();
    for address in ["127.0.0.1", "198.51.100.7", "203.0.113.1", "203.0.113.2"] {
        execd.request(&Line::add(address), 600);
    }
    chapter(
        told,
        &host,
        &[
            (100_520, "refused: nobody's traffic comes from there; not 100521, 100522, 100530"),
            (100_521, "refused: in the allowlist; not 100520, 100522"),
            (100_501, "within the limit"),
            (100_522, "refused: more than may be blocked in a minute; not 100520, 100521"),
        ],
    );

    let host = Host::new("backends = [\"nftables\"]\n");
    // A set of that name for another kind of key is in the way.
    host.namespace.command(
        "nft",
        &["add table inet wazuh_block
        add set inet wazuh_block hosts4 { type inet_service; }"],
    );
    let mut execd = host.execd();
    for nth in 1..5 {
        execd.request(&Line::add(&format!("203.0.113.{nth}")), 600);
    }
    let mut expected = vec![(100_530, "the firewall did not do it; not 100531, 100532, 100520"); 3];
    expected.push((100_531, "and again, for the fourth time"));
    chapter(told, &host, &expected);

    let host = Host::new("");
    let mut execd = host.execd();
    execd.request(&Line::four().srcip("host.example"), 600);
    execd.request(&Line::four().srcip_value("{}"), 600);
    chapter(
        told,
        &host,
        &[
            (100_532, "the alert names no address; not 100530"),
            (100_532, "what it has is no address; not 100530"),
        ],
    );
}

fn mended(told: &mut Told) {
    let host = Host::new("no_such_key = 1\n");
    let mut execd = host.execd();
    repeated(&mut execd, 1);
    execd.stop();
    chapter(
        told,
        &host,
        &[
            (100_540, "blocked, and the configuration is broken; not 100541"),
            (100_540, "unblocked, and the configuration is broken"),
        ],
    );

    let host = Host::new("");
    let mut execd = host.execd();
    execd.request(&Line::four().extra_args(&["--no-such-argument"]), 600);
    chapter(told, &host, &[(100_541, "blocked, with an argument that there is not; not 100540")]);
}

/// Such records come once a minute, which is too long for a test: the same line
/// five times.
#[test]
fn an_address_that_goes_on_while_it_is_blocked_is_told() {
    if !ready() {
        return;
    }
    let host = Host::new("");
    repeated(&mut host.execd(), 2);
    let line = host.lines().pop().unwrap();
    let mut told = Told::new("custom-block-extended", LOG);
    told.chapter();
    for _ in 0..4 {
        told.line(&line, 100_510, "it raised one more alert");
    }
    told.line(&line, 100_511, "five minutes of alerts from an address that is blocked");
    told.end();
}

/// What Wazuh's own programs write, and what is not ours, stays where it was.
#[test]
fn the_lines_of_stock_programs_reach_no_rule_of_ours() {
    use harness::rules::{Event, Session};

    if !ready() {
        return;
    }
    let host = Host::new("");
    host.wazuh.link("firewall-drop");
    let mut execd = host.execd();
    execd.request(&Line::four().program("firewall-drop"), 600);
    execd.stop();
    let lines = host.lines();
    let mut session = Session::new(crate::rules());
    for (line, stock) in lines.iter().zip([651, 652]) {
        // The mark taken away, it could be the stock program's own.
        let line = line.replace("\"toolkit\":\"custom-block\",", "");
        assert_eq!(session.feed(&Event::new(line).at(LOG)).rule, Some(stock));
    }
    // In the place of any program of Wazuh's, its records are ours all the same.
    for name in ["custom-block", "firewall-drop", "firewalld-drop", "host-deny", "route-null"] {
        for (line, ours) in lines.iter().zip([100_501, 100_502]) {
            let line = line.replace("firewall-drop", name);
            assert_eq!(session.feed(&Event::new(&line).at(LOG)).rule, Some(ours), "{line}");
        }
    }
    for name in ["host-deny", "route-null", "disable-account"] {
        let line = lines[0].replace("\"toolkit\":\"custom-block\",", "").replace("firewall-drop", name);
        let rule = session.feed(&Event::new(line).at(LOG)).rule.unwrap();
        assert!((651..=657).contains(&rule), "{name}: {rule}");
    }
}
