//! Who waits for connections, and who sees packets.

use super::{Group, Host, line, lines, of, story};

#[test]
fn a_listener_is_told_by_what_is_known_of_it() {
    let groups = [Group::new("web.service"), Group::new("session-3.scope"), Group::bare("evil.service")];
    let [Some(service), Some(session), Some(bare)] = groups else { return };
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/listeners");
    let listen = |port: u16| format!("s=listen 0.0.0.0:{port}");

    let first = host.actor("/usr/local/sbin/tool", &[&listen(8080)]);
    let run = host.look(&[]);
    told.line(
        &line(&run, of("listen_new", "/tool")),
        100_333,
        "for all, by a program never seen; not 100332, 100334, 100335, 100336, 100349, 100323, 100465",
    );
    drop(first);
    let again =
        host.actor("/usr/local/sbin/tool", &[&listen(8081), "u=udp 0.0.0.0:5353", "l=listen 127.0.0.1:81"]);
    let run = host.look(&[]);
    let port = |port: u16| move |line: &serde_json::Value| line["local_port"] == port;
    told.line(&line(&run, port(8081)), 100_332, "for all, by a known program; not 100333, 100335, 100336");
    told.line(&line(&run, port(5353)), 100_304, "UDP: silent; not 100332");
    told.line(&line(&run, port(81)), 100_304, "for this host only: silent; not 100332, 100461");
    drop(again);

    let web = host.grouped(&service, "/usr/local/sbin/web", &[&listen(80)]);
    let run = host.look(&[]);
    told.line(
        &line(&run, of("listen_new", "/web")),
        100_334,
        "a service never seen; not 100333, 100336, 100335",
    );
    drop(web);
    let web = host.grouped(&service, "/usr/local/sbin/web", &[&listen(80)]);
    let run = host.look(&[]);
    told.line(
        &line(&run, of("listen_new", "/web")),
        100_336,
        "a service that was restarted; not 100332, 100334",
    );
    drop(web);
    // Seen before, so that only the session is special.
    let shown = host.actor("/usr/local/sbin/share", &[&listen(9000)]);
    host.look(&[]);
    drop(shown);
    let share = host.grouped(&session, "/usr/local/sbin/share", &[&listen(9000)]);
    let run = host.look(&[]);
    told.line(&line(&run, of("listen_new", "/share")), 100_335, "in a session; not 100332, 100336");
    drop(share);

    let script = "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '0.0.0.0:4444') or die; sleep 60";
    let perl =
        host.process("perl", &["-e", script], std::process::Stdio::null(), std::process::Stdio::null());
    let listens = || host.room.sh("cat /proc/net/tcp").contains(":115C 00000000:0000 0A");
    assert!(harness::eventually(std::time::Duration::from_secs(10), listens), "perl does not listen");
    let run = host.look(&[]);
    told.line(
        &line(&run, |line| line["local_port"] == 4444),
        100_349,
        "an interpreter; not 100332, 100333, 100334, 100336",
    );
    drop(perl);

    // Named as a service, and below none of the slices that services have.
    let user = host.grouped(&bare, "/usr/local/sbin/web", &[&listen(8088)]);
    let run = host.look(&[]);
    told.line(&line(&run, of("listen_new", "/web")), 100_332, "called a service; not 100336, 100468");
    drop(user);

    let home = host.actor("/root/tool", &["l=listen 127.0.0.1:82"]);
    let run = host.look(&[]);
    told.line(&line(&run, of("listen_new", "/root/tool")), 100_461, "from a home directory; not 100457");
    drop(home);
    told.end();
}

#[test]
fn what_a_container_does_is_told_once_for_each_program_and_then_quietly() {
    let id = "0123456789abcdef".repeat(4);
    let Some(group) = Group::new(&format!("docker-{id}.scope")) else { return };
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/container");
    for (rule, why) in [
        (100_465, "root in a container, in the host's network; not 100304, 100461"),
        (100_304, "the same once more: silent; not 100465"),
    ] {
        let inner = host.grouped(&group, "/usr/local/sbin/inner", &["l=listen 127.0.0.1:9100"]);
        let run = host.look(&[]);
        told.line(&line(&run, of("listen_new", "/inner")), rule, why);
        drop(inner);
    }
    let server = host.actor("/usr/local/sbin/webd", &["a=listen 0.0.0.0:443"]);
    host.look(&[]);
    let inner = host.grouped(
        &group,
        "/usr/local/sbin/inner",
        &["l=listen 0.0.0.0:9100", "c=connect 8.8.4.4:443 9.9.9.9:0"],
    );
    let run = host.look(&[]);
    told.line(&line(&run, of("listen_new", "/inner")), 100_468, "a listener; not 100332, 100333, 100336");
    let outbound =
        |line: &serde_json::Value| of("conn_new", "/inner")(line) && line["direction"] == "outbound";
    told.line(
        &line(&run, outbound),
        100_467,
        "to a public address, new or not; not 100324, 100301, 100325, 100469",
    );
    drop((inner, server));

    let listeners: Vec<String> = (4..34).map(|last| format!("s{last}=listen 8.8.4.{last}:443")).collect();
    let server =
        host.actor("/usr/local/sbin/webd", &listeners.iter().map(String::as_str).collect::<Vec<_>>());
    host.look(&[]);
    let steps: Vec<String> =
        (4..34).map(|last| format!("c{last}=connect 8.8.4.{last}:443 9.9.9.9:0")).collect();
    let inner =
        host.grouped(&group, "/usr/local/sbin/inner", &steps.iter().map(String::as_str).collect::<Vec<_>>());
    let run = host.look(&[]);
    let all = lines(&run, outbound);
    assert_eq!(all.len(), 30, "{}", run.text());
    told.chapter();
    for line in &all[..29] {
        told.line(line, 100_467, "one of many; not 100469");
    }
    told.line(&all[29], 100_469, "the thirtieth");
    drop((inner, server));
    told.end();
}

#[test]
fn a_sniffer_is_told_from_what_needs_such_sockets() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/sniffers");
    let sniffer = host.actor("/usr/local/sbin/tool", &["r=raw 255", "p=packet"]);
    let client = host.actor("/usr/local/sbin/dhclient", &["p=packet"]);
    let near = host.actor("/usr/local/sbin/notdhclient", &["p=packet"]);
    let run = host.look(&[]);
    told.line(
        &line(&run, of("raw_new", "/tool")),
        100_337,
        "a raw socket; not 100305, 100338, 100466, 100302, 100303, 100304, 100306",
    );
    told.line(&line(&run, of("packet_new", "/tool")), 100_337, "a packet socket; not 100338");
    told.line(
        &line(&run, of("packet_new", "/dhclient")),
        100_338,
        "a packet socket, as it needs; not 100337",
    );
    told.line(&line(&run, of("packet_new", "/notdhclient")), 100_337, "only called like it; not 100338");
    drop((sniffer, client, near));
    told.end();
}
