//! What a kernel may answer: the bytes that `recv` returns.
//!
//! The program's own conversations with nf_tables, ipset, sock_diag and the
//! routing tables are held, but over `send` and `recv` of our own, which stand
//! in for those of the C library: nothing reaches the kernel.
//!
//! The first byte of an input says which conversation; datagrams follow, each
//! behind its length in two bytes. Of a message's sequence number only four
//! bits are taken from the input, so that most messages are answers.
#![expect(unsafe_code, reason = "two functions of the C library are replaced")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use common::address::Target;
use common::netlink::{ACK, Attributes, Messages, Reply};
use custom_block::config::Settings;
use custom_block::firewall::{Block, Firewall, Standing};
use custom_block::host::{self, Families, WazuhConf};
use custom_block::ipset::Ipset;
use custom_block::nftables::{Nftables, Shape};
use custom_block::sockets;
use custom_block::state::State;
use nix::sys::socket::{MsgFlags, recv as receive, send as say};

thread_local! {
    /// What is still to be received.
    static DATAGRAMS: RefCell<VecDeque<Vec<u8>>> = const { RefCell::new(VecDeque::new()) };
    static SENT: Cell<usize> = const { Cell::new(0) };
}

/// Takes whatever is sent, and leaves it at that.
///
/// # Safety
/// Reads nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(_: i32, _: *const u8, length: usize, _: i32) -> isize {
    SENT.set(SENT.get() + length);
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Hands the next datagram out, cut to the buffer; after the last one the end.
///
/// # Safety
/// `buffer` takes `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(_: i32, buffer: *mut u8, length: usize, _: i32) -> isize {
    let Some(datagram) = DATAGRAMS.with_borrow_mut(VecDeque::pop_front) else { return 0 };
    let length = datagram.len().min(length);
    // SAFETY: the caller's buffer has that many bytes, and so has ours.
    unsafe { std::ptr::copy_nonoverlapping(datagram.as_ptr(), buffer, length) };
    isize::try_from(length).unwrap_or(0)
}

/// Nothing may reach this machine's kernel: ours are the ones that are called.
fn assert_cut_off() {
    std::hint::black_box((send as *const (), recv as *const ()));
    DATAGRAMS.with_borrow_mut(|datagrams| datagrams.push_front(b"ours".to_vec()));
    let before = SENT.get();
    let nowhere = std::io::stderr();
    assert_eq!(say(nowhere.as_raw_fd(), b"x", MsgFlags::empty()), Ok(1), "send is not ours");
    assert_eq!(SENT.get(), before + 1, "send is not ours");
    let mut buffer = [0; 8];
    assert_eq!(receive(nowhere.as_raw_fd(), &mut buffer, MsgFlags::empty()), Ok(4), "recv is not ours");
}

/// What libFuzzer and the driver put in.
pub const WORDS: &[&str] = &["hosts4", "hosts6", "networks4_24", "networks6_64", "wazuh_block", "counter", "incoming"];

/// One datagram behind its length.
fn datagram(input: &mut Vec<u8>, bytes: &[u8]) {
    input.extend_from_slice(&u16::try_from(bytes.len()).expect("a short datagram").to_le_bytes());
    input.extend_from_slice(bytes);
}

/// One message with this header of its family and these attributes.
fn message(kind: u16, sequence: u32, family: &[u8], fill: impl FnOnce(&mut Messages)) -> Vec<u8> {
    let mut messages = Messages::new();
    messages.begin(kind, 0, family);
    fill(&mut messages);
    messages.finish();
    let mut bytes = bytes_of(&messages, family);
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes
}

/// What was put in lies behind a private field; what is shown of it does not.
fn bytes_of(messages: &Messages, _family: &[u8]) -> Vec<u8> {
    let shown = format!("{messages:?}");
    let list = shown.split_once("bytes: [").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split(", ").filter_map(|number| number.parse().ok()).collect()
}

/// Answers as a kernel gives them.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let inet = [1, 0, 0, 0];
    let error = |sequence: u32, code: i32| {
        let mut bytes = message(2, sequence, &code.to_ne_bytes(), |_| {});
        bytes.extend_from_slice(&[0; 16]);
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    };
    let done = |sequence| message(3, sequence, &[0; 4], |_| {});
    let set = |sequence, name: &str| {
        message(0xa09, sequence, &inet, |m| {
            m.text(1, "wazuh_block").text(2, name).be32(3, 0x10).be32(4, 7).be32(5, 4);
        })
    };
    let elements = |sequence, name: &str, key: &[u8]| {
        message(0xa0c, sequence, &inet, |m| {
            m.text(1, "wazuh_block").text(2, name);
            let list = m.nest(3);
            for nested in [false, true] {
                let one = m.nest(1);
                let nest = m.nest(1);
                m.attribute(1, key).end(nest);
                m.be64(4, 660_000).be64(5, 650_000);
                let expressions = if nested { Some((m.nest(11), m.nest(1))) } else { None };
                let nest = if nested { None } else { Some(m.nest(7)) };
                m.text(1, "counter");
                let data = m.nest(2);
                m.be64(1, 84).be64(2, 1).end(data);
                if let Some(nest) = nest {
                    m.end(nest);
                }
                if let Some((outer, inner)) = expressions {
                    m.end(inner).end(outer);
                }
                m.attribute(6, b"\0\x0c5760 1.2.3.4\0").end(one);
            }
            m.end(list);
        })
    };
    let rule = |sequence, comment: &[u8]| {
        message(0xa06, sequence, &inet, |m| {
            m.text(1, "wazuh_block").text(2, "incoming").attribute(7, comment);
        })
    };
    let entries = |sequence| {
        message(0x607, sequence, &[2, 0, 0, 0], |m| {
            m.attribute(1, &[6]).text(2, "wazuh_block4");
            let data = m.nest(7);
            m.be32(25 | 0x4000, 1).end(data);
            let list = m.nest(8);
            let entry = m.nest(7);
            let ip = m.nest(1);
            m.attribute(1 | 0x4000, &[203, 0, 113, 50]).end(ip);
            m.attribute(3, &[24]).be32(6 | 0x4000, 600).be64(24 | 0x4000, 84).be64(25 | 0x4000, 1).text(26, "5760").end(entry);
            m.end(list);
        })
    };
    let socket = |sequence| {
        let mut body = vec![2, 1, 0, 0, 0x05, 0xea, 0xc0, 0x01];
        body.extend_from_slice(&[192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 203, 0, 113, 50]);
        body.resize(72, 0);
        message(20, sequence, &body, |_| {})
    };
    let route = |sequence, kind: u8, bits: u8| {
        message(24, sequence, &[2, bits, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0], |m| {
            m.attribute(1, &[192, 0, 2, 1]).attribute(5, &[192, 0, 2, 254]).attribute(18, &[10, 0, 32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            let mut hops = vec![16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 253];
            hops.extend_from_slice(&hops.clone());
            m.attribute(9, &hops);
        })
    };
    let host4 = [203, 0, 113, 50];
    let host6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut seeds = Vec::new();
    for conversation in 0..CONVERSATIONS {
        for answers in [
            vec![error(1, 0), error(2, 0), elements(4, "hosts4", &host4), rule(5, b"\0\x0chosts4 drop\0"), done(5)],
            vec![error(1, -2), set(3, "hosts4"), set(3, "networks4_24"), done(3), error(5, 0), error(6, 0), error(7, 0)],
            vec![set(1, "hosts4"), set(1, "hosts6"), set(1, "networks6_64"), done(1), elements(2, "hosts4", &host4), done(2), elements(3, "hosts6", &host6), done(3)],
            vec![elements(1, "hosts4", &host4)],
            vec![entries(1), done(1), entries(2), done(2)],
            vec![socket(1), socket(1), done(1), error(2, 0), error(3, -2)],
            vec![route(1, 1, 0), route(1, 2, 32), done(1), route(2, 1, 0), done(2)],
            vec![error(1, -1)],
            vec![error(1, -22)],
        ] {
            // Once in datagrams of their own, once all in one.
            let mut apart = vec![conversation];
            answers.iter().for_each(|answer| datagram(&mut apart, answer));
            let mut together = vec![conversation];
            datagram(&mut together, &answers.concat());
            seeds.extend([apart, together]);
        }
    }
    seeds
}

const CONVERSATIONS: u8 = 16;

/// Cuts an input into datagrams and makes their messages answers to ours.
fn datagrams(mut rest: &[u8]) -> VecDeque<Vec<u8>> {
    let mut all = VecDeque::new();
    while let Some((length, behind)) = rest.split_at_checked(2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]])).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        rest = behind;
        let mut bytes = bytes.to_vec();
        let mut at = 0;
        while at + 16 <= bytes.len() {
            let size = u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
            let sequence = u32::from(bytes[at + 8] & 0xf);
            bytes[at + 8..at + 12].copy_from_slice(&sequence.to_ne_bytes());
            at += size.max(16).next_multiple_of(4);
        }
        all.push_back(bytes);
    }
    all
}

/// Holds a conversation in which the other side says what the input says.
pub fn check(data: &[u8]) {
    assert_cut_off();
    let Some((&conversation, rest)) = data.split_first() else { return };
    attributes(rest);
    DATAGRAMS.set(datagrams(rest));
    let deadline = Instant::now() + Duration::from_secs(20);
    let target: Target = ["203.0.113.50", "2001:db8::1", "203.0.113.0/24", "2001:db8::/64"]
        [usize::from(conversation / CONVERSATIONS) % 4]
        .parse()
        .expect("a target");
    let block = Block {
        target,
        timeout: Some(Duration::from_secs(660)),
        comment: "5760 1.2".to_owned(),
        fresh: conversation & 0x80 != 0,
    };
    let shape = Shape { size: 1000, outbound: conversation & 0x40 != 0, reject: conversation & 0x20 != 0 };
    // Where nf_tables or ipset is not even a name to this kernel.
    let Ok(mut nftables) = Nftables::open(shape, deadline) else { return };
    let Ok(mut ipset) = Ipset::open(1000, deadline) else { return };
    let size = data.len();
    match conversation % CONVERSATIONS {
        0 => drop(nftables.put(&block)),
        1 => drop(nftables.lift(target)),
        2 => plausible(nftables.standing().unwrap_or_default(), size),
        3 => plausible(nftables.find(target).ok().flatten().into_iter().collect(), size),
        4 => drop(nftables.mend()),
        5 => drop(nftables.is_whole()),
        6 => drop(nftables.is_live(target)),
        7 => drop(nftables.probe()),
        8 => drop(nftables.flush()),
        9 => plausible(ipset.standing().unwrap_or_default(), size),
        10 => drop(ipset.lift(target)),
        11 => drop(ipset.is_live(target)),
        12 => drop(ipset.probe()),
        13 => drop(sockets::close(target, deadline)),
        14 => {
            let peers = sockets::peers_at_ports(&[1514], deadline).unwrap_or_default();
            assert!(peers.iter().all(|peer| peer.is_host()));
        }
        _ => {
            let mut faults = Vec::new();
            let state = State::below(crate::scratch());
            let (settings, wazuh) = (Settings::default(), WazuhConf::default());
            let all = host::protected(&settings, &wazuh, &state, Families::All, deadline, &mut faults);
            assert!(all.iter().filter(|one| one.what != "DNS server").all(|one| one.target.is_host()));
        }
    }
    DATAGRAMS.take();
}

/// Not more than was said, and nothing that cannot be.
fn plausible(standing: Vec<Standing>, size: usize) {
    assert!(standing.len() <= size, "{} blocks from {size} bytes", standing.len());
    for one in standing {
        let again: Target = one.target.to_string().parse().expect("what is shown can be read");
        assert_eq!(again, one.target);
    }
}

/// The attributes of an input, whatever it is, are slices of it and end.
fn attributes(bytes: &[u8]) {
    let reply = Reply { kind: ACK, payload: bytes };
    let count = reply.attributes(4).count();
    assert!(count <= bytes.len() / 4 + 1);
    for (kind, payload) in Attributes(bytes) {
        assert!(kind < 0x4000 && payload.len() <= bytes.len());
        let inside = Attributes(payload);
        let _ = (inside.be32(1), inside.be64(2), inside.text(3), inside.inside(4).get(1));
    }
}
