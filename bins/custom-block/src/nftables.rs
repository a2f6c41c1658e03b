//! Blocking by nftables, over netlink: no process is started.
//!
//! An own table `inet wazuh_block` with a chain at prerouting priority raw,
//! before connection tracking and before every other table's accept, so that
//! established, forwarded and container traffic stops as well. Hosts lie in
//! one hash set a family. Networks lie in one hash set for each prefix length
//! in use, looked up with the masked source address: networks that contain
//! one another never meet in one set, so each stands and lapses on its own,
//! which an interval set refuses. A set, its rule and its first element are
//! made in one transaction when the set is absent.
//!
//! Layout of messages: `include/uapi/linux/netfilter/nf_tables.h` (Linux 6.18).

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::address::Target;
use common::netlink::{ACK, Attributes, CREATE, DUMP, EXCL, Messages, Refusal, Reply, Socket};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::firewall::{Backend, Block, Fault, Firewall, Standing};

mod rule;

/// The table that is ours alone.
pub const TABLE: &str = "wazuh_block";
/// The chain that packets from blocked addresses end in.
pub const INCOMING: &str = "incoming";
/// The chain that packets to blocked addresses end in, when asked for.
pub const OUTGOING: &str = "outgoing";

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const GET_SET: u16 = SUBSYSTEM | 10;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const GET_ELEMENT: u16 = SUBSYSTEM | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `struct nfgenmsg` of the family inet.
const INET: [u8; 4] = [1, 0, 0, 0];
const BATCH: [u8; 4] = [0, 0, 0, 10];

const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;

/// A lifted element is given this long to live where the kernel updates
/// timeouts: removing it would wait 8 to 16 ms for a grace period.
const LAPSE: Duration = Duration::from_millis(1);
/// What may be left of it when it is read back: the kernel rounds up to ticks.
const LAPSING: Duration = Duration::from_millis(50);
/// A difference in time that reading back may show: the kernel counts in
/// ticks of up to 10 ms, and we may have been stopped in between.
const SLACK: Duration = Duration::from_secs(2);
/// The largest netfilter comment, its NUL included, in bytes.
const LONGEST_COMMENT: usize = 128;

/// How the table is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The most elements a set holds.
    pub size: u32,
    /// Also drop packets to a blocked address.
    pub outbound: bool,
    /// Answer with a reset or an ICMP error instead of silence.
    pub reject: bool,
}

/// The table `inet wazuh_block` of this network namespace.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    shape: Shape,
}

/// Which set a target belongs to: its family and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SetOf {
    ipv6: bool,
    prefix: u8,
}

impl SetOf {
    fn target(target: Target) -> SetOf {
        SetOf { ipv6: target.is_ipv6(), prefix: target.prefix_len() }
    }

    /// `hosts4`, `hosts6`, `networks4_24`, `networks6_64`.
    fn name(self) -> String {
        let family = if self.ipv6 { 6 } else { 4 };
        if self.is_hosts() { format!("hosts{family}") } else { format!("networks{family}_{}", self.prefix) }
    }

    fn parse(name: &str) -> Option<SetOf> {
        let set = match name.split_once('_') {
            None => match name {
                "hosts4" => SetOf { ipv6: false, prefix: 32 },
                "hosts6" => SetOf { ipv6: true, prefix: 128 },
                _ => return None,
            },
            Some(("networks4", prefix)) => SetOf { ipv6: false, prefix: prefix.parse().ok()? },
            Some(("networks6", prefix)) => SetOf { ipv6: true, prefix: prefix.parse().ok()? },
            Some(_) => return None,
        };
        (set.prefix <= set.bits()).then_some(set)
    }

    fn is_hosts(self) -> bool {
        self.prefix == self.bits()
    }

    fn bits(self) -> u8 {
        if self.ipv6 { 128 } else { 32 }
    }

    fn key_length(self) -> u32 {
        if self.ipv6 { 16 } else { 4 }
    }

    fn target_of(self, key: &[u8]) -> Option<Target> {
        let address: IpAddr = if self.ipv6 {
            IpAddr::from(<[u8; 16]>::try_from(key).ok()?)
        } else {
            IpAddr::from(<[u8; 4]>::try_from(key).ok()?)
        };
        Some(Target::network(ipnet::IpNet::new(address, self.prefix).ok()?))
    }
}

fn key(target: Target) -> Vec<u8> {
    match target.address() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl Nftables {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// [`Fault::Absent`] on a kernel without netfilter's netlink.
    pub fn open(shape: Shape, deadline: Instant) -> Result<Nftables, Fault> {
        Ok(Nftables { socket: Socket::open(SockProtocol::NetlinkNetFilter, deadline)?, shape })
    }

    /// Asks the kernel whether it has nf_tables and lets us change it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn probe(&mut self) -> Result<(), Fault> {
        let mut messages = Messages::new();
        messages.begin(GET_SET, DUMP, &INET).finish();
        match self.socket.talk(&mut messages, 1, &mut |_| {}) {
            // nfnetlink answers EINVAL for a subsystem that nobody registered.
            Err(refusal) if refusal.errno() == Errno::EINVAL => Err(Fault::Absent(refusal.error)),
            answer => Ok(answer.map_err(|refusal| Fault::from(refusal.error))?),
        }
    }

    /// Sends what `fill` adds as one transaction in which each of its
    /// messages is acknowledged.
    fn transaction(&mut self, fill: impl FnOnce(&mut Messages) -> u32) -> Result<(), Refusal> {
        let mut messages = Messages::new();
        messages.begin(BATCH_BEGIN, 0, &BATCH).finish();
        let answers = fill(&mut messages);
        messages.begin(BATCH_END, 0, &BATCH).finish();
        self.socket.talk(&mut messages, answers, &mut |_| {})
    }

    fn put_element(&mut self, block: &Block) -> Result<(), Refusal> {
        self.transaction(|messages| {
            element(messages, NEW_ELEMENT, CREATE | ACK, std::slice::from_ref(block));
            1
        })
    }

    /// The table, its chains, the set of this block, its rules and the block,
    /// all or nothing. Fails with `EEXIST` when another run was faster: the
    /// set is made exclusively, so its rules stand exactly once.
    fn build(&mut self, block: &Block, counters: bool) -> Result<(), Refusal> {
        let shape = self.shape;
        self.transaction(|messages| {
            let set = SetOf::target(block.target);
            let mut answers = table_and_chains(messages, shape);
            new_set(messages, set, shape, counters);
            answers += 1 + rule::add(messages, set, shape);
            element(messages, NEW_ELEMENT, CREATE | ACK, std::slice::from_ref(block));
            answers + 1
        })
    }

    fn build_with_best_counters(&mut self, block: &Block) -> Result<(), Refusal> {
        match self.build(block, true) {
            // Counters of elements came with Linux 5.7; without them a block
            // is a block all the same.
            Err(refusal) if matches!(refusal.errno(), Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOENT) => {
                self.build(block, false)
            }
            built => built,
        }
    }

    /// What is there of one element.
    fn read_element(&mut self, target: Target) -> Result<Option<Standing>, Refusal> {
        let set = SetOf::target(target);
        let mut messages = Messages::new();
        let block = Block { target, timeout: None, comment: String::new(), fresh: false };
        element(&mut messages, GET_ELEMENT, 0, &[block]);
        let mut found = None;
        // Either the element comes, or the refusal: no acknowledgement is due.
        let answer = self.socket.talk_until(&mut messages, 1, &mut |reply| {
            parse_elements(set, reply, &mut |standing| found = Some(standing));
            ControlFlow::Break(())
        });
        match answer {
            Ok(()) => Ok(found),
            Err(refusal) if refusal.errno() == Errno::ENOENT => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The sets of our table.
    fn sets(&mut self) -> Result<Vec<SetOf>, Refusal> {
        let mut messages = Messages::new();
        messages.begin(GET_SET, DUMP, &INET).text(1, TABLE).finish();
        let mut sets = Vec::new();
        let answer = self.socket.talk(&mut messages, 1, &mut |reply| {
            let attributes = reply.attributes(INET.len());
            if attributes.text(1) == Some(TABLE) {
                sets.extend(attributes.text(2).and_then(SetOf::parse));
            }
        });
        match answer {
            Err(refusal) if refusal.errno() != Errno::ENOENT && !refusal.is_interrupted() => Err(refusal),
            _ => {
                sets.sort_unstable();
                sets.dedup();
                Ok(sets)
            }
        }
    }

    /// The comments of the rules in one of our chains: each names its set and
    /// what it does. Other runs change sets all the time, which the kernel
    /// reports as an interruption; what it told all the same is whole.
    fn rules(&mut self, chain: &str) -> Result<Vec<String>, Refusal> {
        let mut messages = Messages::new();
        messages.begin(GET_RULE, DUMP, &INET).text(1, TABLE).text(2, chain).finish();
        let mut rules = Vec::new();
        let answer = self.socket.talk(&mut messages, 1, &mut |reply| {
            let attributes = reply.attributes(INET.len());
            if attributes.text(1) == Some(TABLE) && attributes.text(2) == Some(chain) {
                rules.push(attributes.get(7).map(comment_of).unwrap_or_default());
            }
        });
        match answer {
            Err(refusal) if refusal.errno() != Errno::ENOENT && !refusal.is_interrupted() => Err(refusal),
            _ => Ok(rules),
        }
    }

    /// True when the packets of this target's set really end: its rules stand
    /// in their chains.
    ///
    /// # Errors
    /// When the rules cannot be read.
    pub fn is_live(&mut self, target: Target) -> Result<bool, Fault> {
        let set = SetOf::target(target);
        for (chain, wanted) in rule::expected(&[set], self.shape) {
            if wanted.is_empty() {
                continue;
            }
            let rules = self.rules(chain).map_err(|refusal| Fault::from(refusal.error))?;
            if !wanted.iter().all(|rule| rules.contains(rule)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True when each set of the table has its rules, and no other rule stands
    /// in our chains. False also when there is nothing at all.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn is_whole(&mut self) -> Result<bool, Fault> {
        let sets = self.sets().map_err(|refusal| Fault::from(refusal.error))?;
        Ok(!sets.is_empty() && self.mends(&sets)?.is_none())
    }

    /// What must be said to the kernel to make the rules of these sets whole.
    fn mends(&mut self, sets: &[SetOf]) -> Result<Option<()>, Fault> {
        for (chain, mut wanted) in rule::expected(sets, self.shape) {
            let mut rules = self.rules(chain).map_err(|refusal| Fault::from(refusal.error))?;
            rules.sort_unstable();
            wanted.sort_unstable();
            if rules != wanted {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    /// Puts an element, or gives it its new time when it is there. Older
    /// kernels (before 6.12) ignore that time: what is read back tells, and
    /// then it is removed and put in one transaction. (To ask first whether it
    /// is there, by an exclusive put, would cost 8 to 16 ms when it is: the
    /// kernel waits a grace period to undo a transaction.)
    fn refresh(&mut self, block: &Block) -> Result<(), Refusal> {
        self.put_element(block)?;
        if block.fresh
            || self
                .read_element(block.target)?
                .is_some_and(|standing| same_time(standing.left, block.timeout))
        {
            return Ok(());
        }
        let replaced = self.transaction(|messages| {
            element(messages, DELETE_ELEMENT, ACK, std::slice::from_ref(block));
            element(messages, NEW_ELEMENT, CREATE | ACK, std::slice::from_ref(block));
            2
        });
        match replaced {
            // It lapsed in between.
            Err(refusal) if refusal.errno() == Errno::ENOENT => self.put_element(block),
            replaced => replaced,
        }
    }
}

/// True when what is left is what was asked for, give or take [`SLACK`].
fn same_time(left: Option<Duration>, wanted: Option<Duration>) -> bool {
    match (left, wanted) {
        (None, None) => true,
        (Some(left), Some(wanted)) => left <= wanted + SLACK && left + SLACK >= wanted,
        _ => false,
    }
}

impl Firewall for Nftables {
    fn put(&mut self, block: &Block) -> Result<bool, Fault> {
        // Other runs may build or flush the table between any two of our
        // messages; each such step changes the answer, so a few rounds do.
        for _ in 0..8 {
            let outcome = match self.refresh(block) {
                Ok(()) => Ok(false),
                Err(refusal) if refusal.errno() == Errno::ENOENT => {
                    // A first network of its size is no flushed ruleset.
                    let flushed = self.sets().map_err(|refusal| Fault::from(refusal.error))?.is_empty();
                    self.build_with_best_counters(block).map(|()| flushed)
                }
                Err(refusal) => Err(refusal),
            };
            match outcome {
                Ok(true) => return Ok(true),
                Ok(false) if self.is_live(block.target)? => return Ok(false),
                Ok(false) => {
                    self.mend()?;
                    return Ok(true);
                }
                Err(refusal) if refusal.is_interrupted() => {}
                Err(refusal) => match refusal.errno() {
                    Errno::EEXIST | Errno::ENOENT | Errno::EINTR | Errno::ENOBUFS | Errno::EAGAIN => {}
                    Errno::EINVAL => return Err(Fault::Absent(refusal.error)),
                    _ => return Err(refusal.error.into()),
                },
            }
        }
        Err(Fault::Failed("the table is being changed faster than it can be written".to_owned()))
    }

    fn lift(&mut self, target: Target) -> Result<(), Fault> {
        let lapse = Block { target, timeout: Some(LAPSE), comment: String::new(), fresh: false };
        let put = match self.put_element(&lapse) {
            // A full set takes no new element: then only one that is there matters.
            Err(refusal) if refusal.errno() == Errno::ENFILE => Ok(()),
            put => put,
        };
        let lifted = put.and_then(|()| self.read_element(target)).and_then(|standing| {
            if standing.is_none_or(|standing| standing.left.is_some_and(|left| left <= LAPSING)) {
                return Ok(());
            }
            self.transaction(|messages| {
                element(messages, DELETE_ELEMENT, ACK, &[lapse]);
                1
            })
        });
        match lifted {
            // No table, no set, no element, or no nf_tables at all.
            Err(refusal) if matches!(refusal.errno(), Errno::ENOENT | Errno::EINVAL) => Ok(()),
            Err(refusal) => Err(refusal.error.into()),
            Ok(()) => Ok(()),
        }
    }

    fn standing(&mut self) -> Result<Vec<Standing>, Fault> {
        let mut all = Vec::new();
        for set in self.sets().map_err(|refusal| Fault::from(refusal.error))? {
            let mut attempts = 0;
            loop {
                let mut messages = Messages::new();
                messages.begin(GET_ELEMENT, DUMP, &INET).text(1, TABLE).text(2, &set.name()).finish();
                let before = all.len();
                let answer = self.socket.talk(&mut messages, 1, &mut |reply| {
                    parse_elements(set, reply, &mut |standing| all.push(standing));
                });
                attempts += 1;
                match answer {
                    Ok(()) => break,
                    Err(refusal) if refusal.errno() == Errno::ENOENT => break,
                    // Adds went on meanwhile: what we have may lack one.
                    Err(refusal) if refusal.is_interrupted() => {
                        if attempts == 5 {
                            break;
                        }
                        all.truncate(before);
                    }
                    Err(refusal) => return Err(refusal.error.into()),
                }
            }
        }
        all.sort_unstable_by_key(|standing| standing.target);
        all.dedup_by_key(|standing| standing.target);
        Ok(all)
    }

    fn find(&mut self, target: Target) -> Result<Option<Standing>, Fault> {
        self.read_element(target).map_err(|refusal| refusal.error.into())
    }

    /// In one transaction, also where the configuration now wants other rules.
    fn mend(&mut self) -> Result<(), Fault> {
        let sets = self.sets().map_err(|refusal| Fault::from(refusal.error))?;
        if sets.is_empty() || self.mends(&sets)?.is_none() {
            return Ok(());
        }
        let shape = self.shape;
        self.transaction(|messages| {
            // Both chains, also the one that is no longer wanted.
            let mut answers = table_and_chains(messages, Shape { outbound: true, ..shape });
            for chain in [INCOMING, OUTGOING] {
                messages.begin(DELETE_RULE, ACK, &INET).text(1, TABLE).text(2, chain).finish();
                answers += 1;
            }
            answers + sets.iter().map(|&set| rule::add(messages, set, shape)).sum::<u32>()
        })
        .map_err(|refusal| Fault::from(refusal.error))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let gone = self.transaction(|messages| {
            messages.begin(DELETE_TABLE, ACK, &INET).text(1, TABLE).finish();
            1
        });
        match gone {
            Err(refusal) if !matches!(refusal.errno(), Errno::ENOENT | Errno::EINVAL) => {
                Err(refusal.error.into())
            }
            _ => Ok(()),
        }
    }
}

/// Adds the messages that make the table and its chains where they are
/// absent, and returns how many they are.
fn table_and_chains(messages: &mut Messages, shape: Shape) -> u32 {
    const PREROUTING: u32 = 0;
    const OUTPUT: u32 = 3;
    const RAW: u32 = (-300_i32).cast_unsigned();
    const ACCEPT: u32 = 1;
    messages.begin(NEW_TABLE, CREATE | ACK, &INET).text(1, TABLE).finish();
    let chains = [(INCOMING, PREROUTING), (OUTGOING, OUTPUT)];
    let wanted = if shape.outbound { &chains[..] } else { &chains[..1] };
    for &(name, hook) in wanted {
        messages.begin(NEW_CHAIN, CREATE | ACK, &INET).text(1, TABLE).text(3, name);
        let nest = messages.nest(4);
        messages.be32(1, hook).be32(2, RAW).end(nest);
        messages.be32(5, ACCEPT).text(7, "filter").finish();
    }
    1 + if shape.outbound { 2 } else { 1 }
}

fn new_set(messages: &mut Messages, set: SetOf, shape: Shape, counters: bool) {
    const TIMEOUT: u32 = 0x10;
    const IPV4_ADDR: u32 = 7;
    const IPV6_ADDR: u32 = 8;
    messages.begin(NEW_SET, CREATE | EXCL | ACK, &INET).text(1, TABLE).text(2, &set.name());
    messages.be32(3, TIMEOUT).be32(4, if set.ipv6 { IPV6_ADDR } else { IPV4_ADDR }).be32(5, set.key_length());
    let nest = messages.nest(9);
    messages.be32(1, shape.size).end(nest);
    messages.be32(10, 1); // an id within the transaction, as every new set must have
    if counters {
        let nest = messages.nest(17);
        messages.text(1, "counter").end(nest);
    }
    messages.finish();
}

/// Adds one message about elements that all belong to one set.
fn element(messages: &mut Messages, kind: u16, flags: u16, blocks: &[Block]) {
    let Some(first) = blocks.first() else { return };
    messages.begin(kind, flags, &INET).text(1, TABLE).text(2, &SetOf::target(first.target).name());
    let list = messages.nest(3);
    for block in blocks {
        let one = messages.nest(LIST_ELEMENT);
        let nest = messages.nest(1);
        messages.attribute(DATA_VALUE, &key(block.target)).end(nest);
        if let Some(timeout) = block.timeout {
            let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
            // Without the time that is left, the clock of an element that is
            // there and has the same timeout goes on as it was.
            messages.be64(4, milliseconds).be64(5, milliseconds);
        }
        if !block.comment.is_empty() {
            messages.attribute(6, &comment(&block.comment));
        }
        messages.end(one);
    }
    messages.end(list).finish();
}

/// A comment as nft writes and lists it: type 0, length, text, NUL
/// (libnftnl `include/libnftnl/udata.h`).
fn comment(text: &str) -> Vec<u8> {
    let mut end = text.len().min(LONGEST_COMMENT - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let length = u8::try_from(end + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![0, length];
    bytes.extend_from_slice(&text.as_bytes()[..end]);
    bytes.push(0);
    bytes
}

fn comment_of(userdata: &[u8]) -> String {
    let text = match userdata {
        [0, length, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or(rest),
        _ => return String::new(),
    };
    String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()
}

fn parse_elements(set: SetOf, reply: Reply<'_>, each: &mut dyn FnMut(Standing)) {
    for (kind, list) in reply.attributes(INET.len()).inside(3) {
        if kind != LIST_ELEMENT {
            continue;
        }
        let attributes = Attributes(list);
        let Some(target) = attributes.inside(1).get(DATA_VALUE).and_then(|key| set.target_of(key)) else {
            continue;
        };
        // One expression stands alone (7); several, each in a list element (11).
        let alone = attributes.inside(7);
        let listed = attributes.inside(11).inside(LIST_ELEMENT);
        let expression = if alone.text(1).is_some() { alone } else { listed };
        let counter = (expression.text(1) == Some("counter")).then(|| expression.inside(2));
        each(Standing {
            target,
            backend: Backend::Nftables,
            left: attributes.be64(5).map(Duration::from_millis),
            packets: counter.and_then(|counter| counter.be64(2)),
            bytes: counter.and_then(|counter| counter.be64(1)),
            comment: attributes.get(6).map(comment_of).unwrap_or_default(),
        });
    }
}
