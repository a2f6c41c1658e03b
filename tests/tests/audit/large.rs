//! The same where the tables are large: what is cheapest there must be right.

use serde_json::json;

use crate::actor::Actor;
use crate::holders::PAIR;
use crate::{Stage, assert_says, of_socket, one};

/// Who most of the sockets belong to: what is cheapest differs.
const OWNERS: [&str; 2] = ["uids 65534 65534 65534", "note root"];

/// A host with more sockets than are looked through each time.
struct Crowded {
    stage: Stage,
    _crowd: Vec<Actor>,
}

impl Crowded {
    fn new(owner: &str) -> Option<Crowded> {
        let stage = Stage::new()?;
        let crowd = (0..3).map(|_| stage.actor(&[owner, "crowd 200"])).collect();
        // What is remembered from the first run spares the next ones the work.
        stage.changes();
        stage.changes();
        Some(Crowded { stage, _crowd: crowd })
    }
}

#[test]
fn what_is_new_among_many_is_found_and_what_is_old_is_not_said_again() {
    for owner in OWNERS {
        let Some(Crowded { stage, .. }) = &Crowded::new(owner) else { return };
        let mut actor = stage.actor(&PAIR);
        for step in ["udp=udp 127.0.0.1:0 127.0.0.1:53", "raw=raw 1", "packet=packet", "heir=spawn client"] {
            actor.tell(step);
        }
        let run = stage.changes();
        for (label, event, direction) in [
            ("listener", "listen_new", "listen"),
            ("client", "conn_new", "outbound"),
            ("server", "conn_new", "inbound"),
            ("udp", "conn_new", "outbound"),
        ] {
            assert_says(
                one(&run, actor.pid(), &actor.inode(label)),
                &[
                    ("event", json!(event)),
                    ("direction", json!(direction)),
                    ("local_addr", json!(actor.local(label).to_string())),
                    ("netns", json!(actor.netns())),
                ],
            );
        }
        assert_says(one(&run, actor.pid(), &actor.inode("raw")), &[("event", json!("raw_new"))]);
        assert_says(one(&run, actor.pid(), &actor.inode("packet")), &[("event", json!("packet_new"))]);
        assert_says(one(&run, actor.child("heir"), &actor.inode("client")), &[("holders", json!(2))]);
        assert!(
            run.of(0).iter().all(|record| record["netns"] != actor.netns() || record["event"] == "summary")
        );

        let quiet = stage.changes();
        assert!(quiet.of(actor.pid()).is_empty(), "{:#?}", quiet.of(actor.pid()));

        let closed = [actor.inode("server"), actor.inode("udp")];
        for step in ["drop server", "drop udp", "late=connect listener"] {
            actor.tell(step);
        }
        let run = stage.changes();
        assert_says(one(&run, actor.pid(), &actor.inode("late")), &[("event", json!("conn_new"))]);
        for inode in closed {
            assert_says(one(&run, actor.pid(), &inode), &[("event", json!("conn_closed"))]);
        }
    }
}

#[test]
fn a_socket_of_a_namespace_that_was_left_is_found_among_many() {
    for owner in OWNERS {
        let Some(Crowded { stage, .. }) = &Crowded::new(owner) else { return };
        let empty = Actor::new(None, &["netns new", PAIR[0], PAIR[1], PAIR[2], "netns home"]);
        let enter = format!("netns {}", stage.namespace.path());
        let left = Actor::new(None, &[&enter, PAIR[0], PAIR[1], PAIR[2], "netns home"]);
        let run = stage.changes();
        for actor in [&empty, &left] {
            for (label, direction) in [("listener", "listen"), ("client", "outbound"), ("server", "inbound")]
            {
                let record = one(&run, actor.pid(), &actor.inode(label));
                let local = actor.local(label).to_string();
                assert_says(record, &[("direction", json!(direction)), ("local_addr", json!(local))]);
            }
        }
        let quiet = stage.changes();
        for actor in [&empty, &left] {
            assert!(quiet.of(actor.pid()).is_empty(), "{:#?}", quiet.of(actor.pid()));
        }
    }
}

#[test]
fn a_socket_that_waits_among_many_before_it_connects_is_noticed_then() {
    for owner in OWNERS {
        let Some(Crowded { stage, .. }) = &Crowded::new(owner) else { return };
        let mut actor = stage.actor(&["service=listen 127.0.0.1:0", "caller=bound 127.0.0.1:0"]);
        let service = actor.local("service");
        for _ in 0..2 {
            assert!(of_socket(&stage.changes(), &actor.inode("caller")).is_empty());
        }
        actor.tell(&format!("turn caller {service}"));
        let run = stage.changes();
        assert_says(
            one(&run, actor.pid(), &actor.inode("caller")),
            &[("event", json!("conn_new")), ("remote_addr", json!(service.to_string()))],
        );
    }
}

#[test]
fn everything_is_found_among_many_when_everything_is_asked_for() {
    for owner in OWNERS {
        let Some(Crowded { stage, .. }) = &Crowded::new(owner) else { return };
        let mut actor = stage.actor(&PAIR);
        for step in ["near,far=unix", "on_its_way=connect listener", "send on_its_way near"] {
            actor.tell(step);
        }
        let inode = actor.inode("on_its_way");
        actor.tell("drop on_its_way");
        let [run, _] = stage.both_searched();
        for label in ["listener", "client", "server"] {
            one(&run, actor.pid(), &actor.inode(label));
        }
        let records = of_socket(&run, &inode);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_says(records[0], &[("event", json!("unattributed"))]);
    }
}
