//! Who the client is, where proxies stand between it and us.

use harness::webhook::client::Request;
use harness::webhook::{Daemon, delivery, event};

use crate::receiver;

const PROXY: &str = "127.0.0.9";
const TRUST: &str = "trusted_proxies = [\"127.0.0.9\", \"10.0.0.0/8\"]\n";

/// A wrong signature from there: the address that the event of it names.
fn blamed(daemon: &Daemon, peer: &str, forwarded: &[&str], before: usize) -> String {
    let mut request = delivery(1).without("X-Hub-Signature-256").head();
    for value in forwarded {
        request.push_str(&format!("X-Forwarded-For: {value}\r\n"));
    }
    let mut connection = daemon.connect_from(peer);
    connection.send(format!("{request}Content-Length: 0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 401);
    let lines = daemon.lines("custom-webhook", before + 1);
    lines.last().unwrap()["srcip"].as_str().unwrap().to_owned()
}

#[test]
fn only_a_trusted_proxy_may_say_who_the_client_is() {
    let receiver = receiver(TRUST);
    let daemon = receiver.start();
    for (before, (peer, forwarded, client)) in (1..).zip([
        (PROXY, &["203.0.113.1"][..], "203.0.113.1"),
        ("127.0.0.2", &["203.0.113.2"], "127.0.0.2"),
        (PROXY, &["6.6.6.6, 203.0.113.3, 10.1.1.1"], "203.0.113.3"),
        (PROXY, &["6.6.6.6", "203.0.113.4"], "203.0.113.4"),
        (PROXY, &["203.0.113.5, nonsense"], PROXY),
        (PROXY, &["2001:db8:7::1"], "2001:db8:7::1"),
        (PROXY, &["203.0.113.6:51234"], "203.0.113.6"),
        (PROXY, &["[2001:db8:8::1]:443"], "2001:db8:8::1"),
        ("127.0.0.3", &["127.0.0.9"], "127.0.0.3"),
    ]) {
        assert_eq!(blamed(&daemon, peer, forwarded, before), client, "{peer} {forwarded:?}");
    }
}

#[test]
fn what_cannot_be_read_hides_nothing_that_stands_behind_it() {
    let receiver = receiver(TRUST);
    let daemon = receiver.start();
    // What a client wrote, and what the proxy added in the same line.
    for (before, first, client) in [
        (1, &b"X-Forwarded-For: \xff, 203.0.113.9\r\n"[..], "203.0.113.9"),
        (2, b"X-Forwarded-For: 203.0.113.9, \xff\r\n", PROXY),
    ] {
        let head = delivery(1).without("X-Hub-Signature-256").head();
        let bytes =
            [head.as_bytes(), b"X-Forwarded-For: 6.6.6.6\r\n", first, b"Content-Length: 0\r\n\r\n"].concat();
        let mut connection = daemon.connect_from(PROXY);
        connection.send(&bytes).unwrap();
        assert_eq!(connection.answer().unwrap().status, 401);
        assert_eq!(daemon.lines("custom-webhook", before + 1).last().unwrap()["srcip"], client);
    }
}

#[test]
fn what_cannot_be_read_gives_no_event_another_address() {
    let receiver = receiver(TRUST);
    let tables = receiver.sources("").replace("[application]\n", "[application]\nclient_address = true\n");
    receiver.configure(TRUST, &tables);
    let daemon = receiver.start();
    let login = event("{\"action\":\"auth_login_failed\",\"user\":\"alice\"}");
    for (count, named, client) in
        [(1, &b"\xff, 203.0.113.9"[..], Some("203.0.113.9")), (2, b"203.0.113.9, \xff", None)]
    {
        let length = login.body().len();
        let bytes = [
            login.head().as_bytes(),
            b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: ",
            named,
            format!("\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
            login.body(),
        ]
        .concat();
        let mut connection = daemon.connect_from(PROXY);
        connection.send(&bytes).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
        assert_eq!(daemon.lines("application", count).last().unwrap()["srcip"].as_str(), client);
    }
}

#[test]
fn an_event_without_an_address_has_the_one_that_a_trusted_proxy_names() {
    let receiver = receiver(TRUST);
    let tables = receiver.sources("").replace("[application]\n", "[application]\nclient_address = true\n");
    receiver.configure(TRUST, &tables);
    let daemon = receiver.start();
    let login =
        event("{\"action\":\"auth_login_failed\",\"user\":\"alice\"}").with("X-Forwarded-For", "203.0.113.8");
    let ask = |peer: &str, request: &Request| daemon.connect_from(peer).ask(request).unwrap().status;
    assert_eq!(ask(PROXY, &login), 200);
    assert_eq!(daemon.lines("application", 1)[0]["srcip"], "203.0.113.8");
    // An address that the application could not find out is not its server's.
    let unknown = event("{\"action\":\"auth_login_failed\",\"user\":\"alice\",\"ip_address\":\"\"}")
        .with("X-Forwarded-For", "203.0.113.8");
    assert_eq!(ask(PROXY, &unknown), 200);
    assert!(daemon.lines("application", 2)[1]["srcip"].is_null());
    // An application server is no proxy: its own address would be blocked.
    assert_eq!(ask("127.0.0.2", &login), 200);
    assert!(daemon.lines("application", 3)[2]["srcip"].is_null(), "{:#}", daemon.lines("application", 3)[2]);
}

#[test]
fn clients_behind_one_proxy_have_limits_of_their_own() {
    let receiver = receiver("");
    let rates = "requests_per_minute = 0\nrequests_per_minute_per_peer = 20\n";
    receiver.configure(&format!("{TRUST}connections_per_peer = 3\n"), &receiver.sources(rates));
    let daemon = receiver.start();
    let ask = |peer: &str, client: &str, n| {
        daemon.connect_from(peer).ask(&delivery(n).with("X-Forwarded-For", client)).unwrap().status
    };
    let got = [0, 1, 2].map(|n| ask(PROXY, "203.0.113.1", n));
    assert_eq!(got, [200, 200, 429]);
    assert_eq!(ask(PROXY, "203.0.113.2", 3), 200, "another client of the same proxy");
    // Whoever is no proxy is one client, whatever it says.
    let got = [4, 5, 6].map(|n| ask("127.0.0.2", &format!("203.0.113.1{n}"), n));
    assert_eq!(got, [200, 200, 429]);
    // Nor is a proxy one peer where connections are counted.
    let open: Vec<_> = (0..8).map(|_| daemon.connect_from(PROXY)).collect();
    assert!(
        harness::eventually(std::time::Duration::from_secs(5), || daemon.metric("connections") >= Some(8.0))
    );
    drop(open);
}

#[test]
fn a_proxy_is_trusted_as_soon_as_the_configuration_is_read_anew() {
    let receiver = receiver("");
    let daemon = receiver.start();
    assert_eq!(blamed(&daemon, PROXY, &["203.0.113.1"], 1), PROXY);
    receiver.configure(TRUST, &receiver.sources(""));
    daemon.hang_up();
    assert_eq!(blamed(&daemon, PROXY, &["203.0.113.1"], 2), "203.0.113.1");
}
