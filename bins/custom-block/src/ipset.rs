//! Blocking by ipset, over netlink, and one iptables rule a family.
//!
//! One `hash:net` set a family takes hosts and networks, each with its own
//! timeout, counters and comment. The rule, first in raw PREROUTING, is made
//! once, when the kernel says that nothing refers to the set.
//!
//! Layout of messages: `include/uapi/linux/netfilter/ipset/ip_set.h` (Linux
//! 6.18), protocol 6, which every kernel since 2.6.39 speaks.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::address::Target;
use common::netlink::{ACK, Attributes, CREATE, DUMP, EXCL, Messages, Refusal, Reply, Socket};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::firewall::{Backend, Block, Fault, Firewall, Standing};
use crate::iptables;

/// The set of IPv4 addresses and networks.
pub const SET4: &str = "wazuh_block4";
/// The set of IPv6 addresses and networks.
pub const SET6: &str = "wazuh_block6";

const SUBSYSTEM: u16 = 6 << 8;
const CREATE_SET: u16 = SUBSYSTEM | 2;
const DESTROY_SET: u16 = SUBSYSTEM | 3;
const RENAME_SET: u16 = SUBSYSTEM | 5;
const LIST_SET: u16 = SUBSYSTEM | 7;
const ADD: u16 = SUBSYSTEM | 9;
const DELETE: u16 = SUBSYSTEM | 10;

const PROTOCOL: u16 = 1;
const SET_NAME: u16 = 2;
const TYPE_NAME: u16 = 3;
/// The second name of a message about two sets.
const SET_NAME2: u16 = 3;
const REVISION: u16 = 4;
const FAMILY: u16 = 5;
const DATA: u16 = 7;
const ENTRIES: u16 = 8;
/// Attributes within [`DATA`].
const IP: u16 = 1;
const CIDR: u16 = 3;
const TIMEOUT: u16 = 6;
const CADT_FLAGS: u16 = 8;
const MAX_ELEMENTS: u16 = 19;
const BYTES: u16 = 24;
const PACKETS: u16 = 25;
const COMMENT: u16 = 26;

const PROTOCOL_VERSION: u8 = 6;
/// `hash:net` with counters (3) and comments (4).
const HASH_NET_REVISION: u8 = 4;
const WITH_COUNTERS: u32 = 1 << 3;
const WITH_COMMENT: u32 = 1 << 4;
/// The largest timeout, in seconds, that a set takes.
const LONGEST: u64 = 2_147_483;
const LONGEST_COMMENT: usize = 255;
const IPSET_ERR_EXIST_SETNAME2: i32 = 4101;
const IPSET_ERR_EXIST: i32 = 4103;
const IPSET_ERR_REFERENCED: i32 = 4108;
const IPSET_ERR_FULL: i32 = 4352;

/// The sets of this network namespace.
#[derive(Debug)]
pub struct Ipset {
    socket: Socket,
    size: u32,
    deadline: Instant,
}

fn set_of(ipv6: bool) -> &'static str {
    if ipv6 { SET6 } else { SET4 }
}

fn family(ipv6: bool) -> u8 {
    if ipv6 { 10 } else { 2 }
}

impl Ipset {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// [`Fault::Absent`] on a kernel without netfilter's netlink.
    pub fn open(size: u32, deadline: Instant) -> Result<Ipset, Fault> {
        Ok(Ipset { socket: Socket::open(SockProtocol::NetlinkNetFilter, deadline)?, size, deadline })
    }

    /// Asks the kernel whether it has ip_set and lets us change it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn probe(&mut self) -> Result<(), Fault> {
        self.is_referenced(false).map(drop)
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        ipv6: bool,
        fill: impl FnOnce(&mut Messages),
    ) -> Result<(), Refusal> {
        let mut messages = Messages::new();
        messages.begin(kind, flags | ACK, &[family(ipv6), 0, 0, 0]);
        messages.attribute(PROTOCOL, &[PROTOCOL_VERSION]).text(SET_NAME, set_of(ipv6));
        fill(&mut messages);
        messages.finish();
        self.socket.talk(&mut messages, 1, &mut |_| {})
    }

    fn create(&mut self, ipv6: bool) -> Result<(), Refusal> {
        let size = self.size;
        let made = self.message(CREATE_SET, CREATE | EXCL, ipv6, |messages| {
            messages.text(TYPE_NAME, "hash:net").attribute(REVISION, &[HASH_NET_REVISION]);
            messages.attribute(FAMILY, &[family(ipv6)]);
            let data = messages.nest(DATA);
            number(messages, MAX_ELEMENTS, size);
            number(messages, TIMEOUT, 0);
            number(messages, CADT_FLAGS, WITH_COUNTERS | WITH_COMMENT);
            messages.end(data);
        });
        match made {
            Err(refusal) if is_there(&refusal) => Ok(()),
            made => made,
        }
    }

    fn add(&mut self, block: &Block) -> Result<(), Refusal> {
        self.message(ADD, 0, block.target.is_ipv6(), |messages| {
            let data = messages.nest(DATA);
            ip(messages, block.target);
            let seconds = block.timeout.map_or(0, |timeout| timeout.as_secs().clamp(1, LONGEST));
            number(messages, TIMEOUT, u32::try_from(seconds).unwrap_or(u32::MAX));
            let mut end = block.comment.len().min(LONGEST_COMMENT);
            while !block.comment.is_char_boundary(end) {
                end -= 1;
            }
            // A quote would end the comment in `ipset save`.
            let comment: String = block.comment[..end].chars().filter(|&c| c != '"').collect();
            messages.text(COMMENT, &comment).end(data);
        })
    }

    /// True when a rule refers to the set of this family; `None` when there is
    /// no set.
    ///
    /// Asked by renaming the set to its own name, which never changes anything:
    /// a set in use may not be renamed, and for any other the name is taken.
    /// To list its header instead would make the kernel count all elements.
    fn is_referenced(&mut self, ipv6: bool) -> Result<Option<bool>, Fault> {
        let answer = self.message(RENAME_SET, 0, ipv6, |messages| {
            messages.text(SET_NAME2, set_of(ipv6));
        });
        match answer {
            Ok(()) => Ok(Some(false)),
            Err(refusal) => match (refusal.error.raw_os_error(), refusal.errno()) {
                (Some(IPSET_ERR_REFERENCED), _) => Ok(Some(true)),
                (Some(IPSET_ERR_EXIST_SETNAME2), _) => Ok(Some(false)),
                (_, Errno::ENOENT) => Ok(None),
                // nfnetlink answers EINVAL for a subsystem that nobody registered.
                (_, Errno::EINVAL) => Err(Fault::Absent(refusal.error)),
                _ => Err(refusal.error.into()),
            },
        }
    }

    /// True when a rule looks the set of this target up.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn is_live(&mut self, target: Target) -> Result<bool, Fault> {
        Ok(self.is_referenced(target.is_ipv6())? == Some(true))
    }

    /// Makes the rule when there is none. True when it had to be made.
    fn ensure_rule(&mut self, ipv6: bool) -> Result<bool, Fault> {
        if self.is_referenced(ipv6)? == Some(true) {
            return Ok(false);
        }
        iptables::match_set(set_of(ipv6), ipv6, self.deadline)?;
        Ok(true)
    }
}

fn is_there(refusal: &Refusal) -> bool {
    refusal.errno() == Errno::EEXIST || refusal.error.raw_os_error() == Some(IPSET_ERR_EXIST)
}

fn fault(refusal: Refusal) -> Fault {
    match refusal.error.raw_os_error() {
        Some(IPSET_ERR_FULL) => Fault::Full,
        _ => refusal.error.into(),
    }
}

/// A number in network byte order, which ipset wants marked as such.
fn number(messages: &mut Messages, kind: u16, number: u32) {
    const NET_BYTEORDER: u16 = 0x4000;
    messages.be32(kind | NET_BYTEORDER, number);
}

fn ip(messages: &mut Messages, target: Target) {
    const NET_BYTEORDER: u16 = 0x4000;
    let nest = messages.nest(IP);
    match target.address() {
        IpAddr::V4(address) => messages.attribute(1 | NET_BYTEORDER, &address.octets()),
        IpAddr::V6(address) => messages.attribute(2 | NET_BYTEORDER, &address.octets()),
    };
    messages.end(nest).attribute(CIDR, &[target.prefix_len()]);
}

impl Firewall for Ipset {
    fn put(&mut self, block: &Block) -> Result<bool, Fault> {
        let ipv6 = block.target.is_ipv6();
        let built = match self.add(block) {
            Err(refusal) if refusal.errno() == Errno::ENOENT => {
                self.create(ipv6).and_then(|()| self.add(block)).map_err(fault)?;
                true
            }
            Err(refusal) if refusal.errno() == Errno::EINVAL => return Err(Fault::Absent(refusal.error)),
            added => {
                added.map_err(fault)?;
                false
            }
        };
        Ok(self.ensure_rule(ipv6)? || built)
    }

    fn lift(&mut self, target: Target) -> Result<(), Fault> {
        let lifted = self.message(DELETE, 0, target.is_ipv6(), |messages| {
            let data = messages.nest(DATA);
            ip(messages, target);
            messages.end(data);
        });
        match lifted {
            // No set, no element, or no ip_set at all.
            Err(refusal)
                if is_there(&refusal) || matches!(refusal.errno(), Errno::ENOENT | Errno::EINVAL) =>
            {
                Ok(())
            }
            lifted => lifted.map_err(fault),
        }
    }

    fn standing(&mut self) -> Result<Vec<Standing>, Fault> {
        let mut all = Vec::new();
        for ipv6 in [false, true] {
            let mut messages = Messages::new();
            messages.begin(LIST_SET, DUMP, &[family(ipv6), 0, 0, 0]);
            messages.attribute(PROTOCOL, &[PROTOCOL_VERSION]).text(SET_NAME, set_of(ipv6)).finish();
            let answer = self.socket.talk(&mut messages, 1, &mut |reply| {
                parse_entries(ipv6, reply, &mut |standing| all.push(standing));
            });
            match answer {
                Err(refusal) if !matches!(refusal.errno(), Errno::ENOENT | Errno::EINVAL) => {
                    return Err(fault(refusal));
                }
                _ => {}
            }
        }
        Ok(all)
    }

    fn mend(&mut self) -> Result<(), Fault> {
        for ipv6 in [false, true] {
            if self.is_referenced(ipv6)?.is_some() {
                self.ensure_rule(ipv6)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        for ipv6 in [false, true] {
            if self.is_referenced(ipv6).ok().flatten().is_none() {
                continue;
            }
            iptables::unmatch_set(set_of(ipv6), ipv6, self.deadline)?;
            match self.message(DESTROY_SET, 0, ipv6, |_| {}) {
                Err(refusal) if refusal.errno() != Errno::ENOENT => return Err(fault(refusal)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn parse_entries(ipv6: bool, reply: Reply<'_>, each: &mut dyn FnMut(Standing)) {
    for (kind, entry) in reply.attributes(4).inside(ENTRIES) {
        if kind != DATA {
            continue;
        }
        let entry = Attributes(entry);
        let address = entry.inside(IP);
        let address = if ipv6 {
            address.get(2).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from)
        } else {
            address.get(1).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from)
        };
        let whole = if ipv6 { 128 } else { 32 };
        let prefix = entry.get(CIDR).and_then(|bytes| bytes.first().copied()).unwrap_or(whole);
        let Some(network) = address.and_then(|address| ipnet::IpNet::new(address, prefix).ok()) else {
            continue;
        };
        let left = entry.be32(TIMEOUT).filter(|&seconds| seconds > 0);
        each(Standing {
            target: Target::network(network),
            backend: Backend::Ipset,
            left: left.map(|seconds| Duration::from_secs(u64::from(seconds))),
            packets: entry.be64(PACKETS),
            bytes: entry.be64(BYTES),
            comment: entry.text(COMMENT).unwrap_or_default().to_owned(),
        });
    }
}
