//! Connections to and from this host.

use serde_json::Value;

use super::{FROM, Group, Host, PRIVATE, PUBLIC, line, lines, of, story};

fn connect(to: &str, port: u16) -> String {
    format!("c=connect {to}:{port} {FROM}")
}

/// Of the connections of a run, the one of this executable to this address.
fn to<'a>(exe: &'a str, address: &'a str) -> impl Fn(&Value) -> bool + 'a {
    let of = of("conn_new", exe);
    move |line| of(line) && line["remote_ip"] == address && line["direction"] == "outbound"
}

#[test]
fn a_connection_to_a_public_address_is_told_by_what_is_known_of_it() {
    let (Some(service), Some(other)) = (Group::new("sync.service"), Group::new("push.service")) else {
        return;
    };
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/outbound");
    let server = host.actor(
        "/usr/local/sbin/webd",
        &[
            &format!("a=listen {PUBLIC}:443"),
            &format!("b=listen {PUBLIC}:4444"),
            &format!("p=listen {PRIVATE}:443"),
        ],
    );
    host.look(&[]);

    let mut tool = host.actor("/usr/local/sbin/fetch", &[&connect(PUBLIC, 443)]);
    let run = host.look(&[]);
    told.chapter();
    told.line(
        &line(&run, to("/fetch", PUBLIC)),
        100_324,
        "to a public address, for the first time; not 100301, 100325, 100326, 100327, 100339, 100320, 100340, 100467",
    );
    tool.tell(&connect(PUBLIC, 443).replace("c=", "d="));
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/fetch", PUBLIC)),
        100_301,
        "to a public address, as before, of no service; not 100324, 100326, 100320",
    );
    tool.tell(&connect(PRIVATE, 443).replace("c=", "e="));
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/fetch", PRIVATE)),
        100_340,
        "to a host of the network, for the first time; not 100301, 100320, 100341",
    );
    tool.tell(&connect(PRIVATE, 443).replace("c=", "f="));
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/fetch", PRIVATE)),
        100_302,
        "to a host of the network, as before: silent; not 100340, 100301",
    );
    for socket in ["c", "d", "e", "f"] {
        tool.tell(&format!("drop {socket}"));
    }
    let run = host.look(&[]);
    let closed = lines(&run, of("conn_closed", "/fetch"));
    told.line(&closed[0], 100_307, "gone: silent; not 100301, 100302, 100347, 100348");

    let odd = host.actor("/usr/local/sbin/odd", &[&connect(PUBLIC, 4444)]);
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/odd", PUBLIC)),
        100_327,
        "for the first time, at an unusual port; not 100324, 100325, 100339",
    );
    drop(odd);

    let mut sync = host.grouped(&service, "/usr/local/sbin/sync", &[&connect(PUBLIC, 443)]);
    let push = host.grouped(&other, "/usr/local/sbin/push", &[&connect(PUBLIC, 4444)]);
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/sync", PUBLIC)),
        100_325,
        "a service, for the first time; not 100324, 100326, 100327",
    );
    told.line(&line(&run, to("/push", PUBLIC)), 100_325, "a service, at an unusual port; not 100327");
    sync.tell(&connect(PUBLIC, 443).replace("c=", "d="));
    let run = host.look(&[]);
    told.line(&line(&run, to("/sync", PUBLIC)), 100_326, "a service, as before; not 100301");
    drop((sync, push, server));
    told.end();
}

#[test]
fn a_user_with_the_power_of_root_is_watched_like_root() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/capable");
    let server = host.actor("/usr/local/sbin/webd", &[&format!("a=listen {PUBLIC}:443")]);
    let at = "/usr/local/sbin/agent";
    host.room.install(crate::actor::PROGRAM, at);
    let words = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+sys_admin",
        "--ambient-caps=+sys_admin",
        at,
        &connect(PUBLIC, 443),
    ];
    let mut agent = crate::actor::Actor::of(&host.room, std::path::Path::new("setpriv"), &words);
    host.look(&[]);
    agent.tell(&connect(PUBLIC, 443).replace("c=", "d="));
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/agent", PUBLIC)),
        100_320,
        "a user with root's rights to a public address, as before; not 100301, 100324, 100326",
    );
    drop((agent, server));
    told.end();
}

#[test]
fn a_connection_from_a_public_address_is_told_by_what_takes_it() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/inbound");
    let accepted = ["s=listen 8.8.4.4:443", "c=connect s 9.9.9.9:0", "t=accept s"];
    let inbound = |line: &Value| line["event"] == "conn_new" && line["direction"] == "inbound";

    let server = host.actor("/usr/local/sbin/webd", &accepted);
    let run = host.look(&[]);
    told.line(
        &line(&run, inbound),
        100_328,
        "from a public address; not 100303, 100329, 100330, 100331, 100301, 100302",
    );
    drop(server);
    let private = accepted.map(|step| step.replace("8.8.4.4", PRIVATE).replace("9.9.9.9", "10.1.2.4"));
    let server = host.actor("/usr/local/sbin/webd", &private.each_ref().map(String::as_str));
    let run = host.look(&[]);
    told.line(&line(&run, inbound), 100_303, "from a host of the network: silent; not 100328, 100302");
    drop(server);
    host.room.sh("mount --bind /usr/local/libexec /usr/libexec && mkdir -p /usr/libexec/openssh");
    let server = host.actor("/usr/libexec/openssh/sshd-session", &accepted);
    let run = host.look(&[]);
    told.line(&line(&run, inbound), 100_329, "sshd, from a public address; not 100328, 100330");
    drop(server);
    let server = host.actor("/srv/bin/webd", &accepted);
    let run = host.look(&[]);
    told.line(&line(&run, inbound), 100_330, "a program that lies elsewhere; not 100328, 100329");
    drop(server);
    // At a port where nobody ever was.
    let once = accepted.map(|step| step.replace(":443", ":444"));
    let mut server = host.actor("/usr/local/sbin/once", &once.each_ref().map(String::as_str));
    server.tell("drop s");
    let run = host.look(&[]);
    told.line(&line(&run, inbound), 100_331, "where nobody listens any more; not 100328, 100329");
    drop(server);
    told.end();
}

#[test]
fn a_program_that_talks_to_ever_more_hosts_is_told() {
    let Some(host) = Host::known() else { return };
    for (network, count, port, name, [each, all], what) in [
        ("8.8.4", 15, 443, "custom-audit/many-public", [100_324, 100_339], "public addresses"),
        ("10.1.2", 20, 443, "custom-audit/many-private", [100_340, 100_341], "hosts of the network"),
    ] {
        let mut told = story(name);
        let listeners: Vec<String> =
            (0..count).map(|nth| format!("s{nth}=listen {network}.{}:{port}", 4 + nth)).collect();
        let listeners: Vec<&str> = listeners.iter().map(String::as_str).collect();
        let server = host.actor("/usr/local/sbin/webd", &listeners);
        host.look(&[]);
        let steps: Vec<String> = (0..count)
            .map(|nth| {
                format!("c{nth}=connect {network}.{}:{port} {network}.{}:0", 4 + nth, 4 + (nth + 1) % count)
            })
            .collect();
        let scan = host.actor("/usr/local/sbin/scan", &steps.iter().map(String::as_str).collect::<Vec<_>>());
        let run = host.look(&[]);
        let found = lines(&run, |line| of("conn_new", "/scan")(line) && line["direction"] == "outbound");
        assert_eq!(found.len(), count, "{}", run.text());
        for (nth, line) in found.iter().enumerate() {
            if nth + 1 < count {
                told.line(line, each, &format!("one of many {what}; not {all}"));
            } else {
                told.line(line, all, &format!("too many {what}"));
            }
        }
        drop((scan, server));
        told.end();
    }
}

#[test]
fn what_was_there_at_the_first_look_is_only_listed() {
    let Some(host) = Host::new() else { return };
    let mut told = story("custom-audit/baseline");
    let server = host.actor(
        "/usr/local/sbin/webd",
        &[&format!("s=listen {PUBLIC}:443"), &format!("c=connect s {FROM}"), "t=accept s", "raw=raw 1"],
    );
    let client = host.actor("/usr/local/sbin/dhclient", &["packet=packet"]);
    let run = host.look(&[]);
    told.chapter();
    let of = |event: &'static str, direction: &'static str| {
        move |line: &Value| line["event"] == event && line["direction"] == direction
    };
    told.line(&line(&run, of("conn_new", "outbound")), 100_323, "a connection; not 100324, 100301");
    told.line(&line(&run, of("conn_new", "inbound")), 100_323, "a connection; not 100328");
    told.line(&line(&run, of("listen_new", "listen")), 100_323, "a listener; not 100332, 100333");
    told.line(&line(&run, super::of("raw_new", "/webd")), 100_466, "a raw socket; not 100337, 100338");
    told.line(
        &line(&run, super::of("packet_new", "/dhclient")),
        100_338,
        "a packet socket as needed; not 100466",
    );
    drop((server, client));
    // The second time it is news.
    let server = host.actor("/usr/local/sbin/webd", &[&format!("s=listen {PUBLIC}:443"), "raw=raw 1"]);
    let run = host.look(&[]);
    told.line(
        &line(&run, super::of("listen_new", "/webd")),
        100_332,
        "a listener, not at the first look; not 100323",
    );
    told.line(
        &line(&run, super::of("raw_new", "/webd")),
        100_337,
        "a raw socket, not at the first look; not 100466",
    );
    drop(server);
    told.end();
}

/// The shipped lists have an example each, which stands for nobody.
#[test]
fn what_the_lists_on_the_manager_have_is_silent() {
    let Some(host) = Host::known() else { return };
    let mut told = story("custom-audit/allowlists");
    let listed = "192.0.2.254";
    let server = host.actor(
        "/usr/local/sbin/webd",
        &[&format!("a=listen {PUBLIC}:443"), &format!("b=listen {listed}:443")],
    );
    host.look(&[]);
    let tool = host
        .actor("/usr/local/sbin/tool", &[&connect(listed, 443), &connect(PUBLIC, 443).replace("c=", "d=")]);
    let example = host.actor("/usr/local/sbin/example", &[&connect(PUBLIC, 443), "l=listen 0.0.0.0:8080"]);
    let run = host.look(&[]);
    told.line(
        &line(&run, to("/tool", listed)),
        100_321,
        "to an address of the list; not 100322, 100340, 100341",
    );
    told.line(&line(&run, to("/tool", PUBLIC)), 100_324, "to another address; not 100321, 100322");
    told.line(&line(&run, to("/example", PUBLIC)), 100_322, "a program of the list; not 100324, 100301");
    told.line(
        &line(&run, of("listen_new", "/example")),
        100_322,
        "a program of the list listens; not 100332, 100333",
    );
    // What is odd in itself is said all the same.
    host.room.sh("rm /usr/local/sbin/example");
    drop(example);
    let example = host.actor("/usr/local/sbin/example", &["l=listen 0.0.0.0:8081"]);
    host.room.sh("rm /usr/local/sbin/example");
    let run = host.look(&[]);
    told.line(&line(&run, of("listen_new", "/example")), 100_458, "a program of the list whose file is gone");
    drop((tool, example, server));
    told.end();
}
