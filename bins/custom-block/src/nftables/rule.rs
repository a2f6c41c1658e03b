//! The rules: look the source (or destination) up in a set, and end the packet.

use common::netlink::{ACK, APPEND, CREATE, Messages};

use super::{DATA_VALUE, INCOMING, INET, LIST_ELEMENT, NEW_RULE, OUTGOING, SetOf, Shape, TABLE, comment};

/// The register that carries the address from one expression to the next.
const REGISTER: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Drop,
    /// For TCP, ahead of [`End::Unreachable`] for all others.
    Reset,
    Unreachable,
}

impl End {
    fn of(shape: Shape) -> &'static [End] {
        if shape.reject { &[End::Reset, End::Unreachable] } else { &[End::Drop] }
    }

    fn name(self) -> &'static str {
        match self {
            End::Drop => "drop",
            End::Reset => "reset",
            End::Unreachable => "unreachable",
        }
    }
}

/// By its comment a rule is known again: `hosts4 drop`.
fn label(set: SetOf, end: End) -> String {
    format!("{} {}", set.name(), end.name())
}

fn chains(shape: Shape) -> &'static [&'static str] {
    if shape.outbound { &[INCOMING, OUTGOING] } else { &[INCOMING] }
}

/// The comments of the rules that should stand in each chain for these sets.
pub(super) fn expected(sets: &[SetOf], shape: Shape) -> Vec<(&'static str, Vec<String>)> {
    let all =
        |ends: &[End]| sets.iter().flat_map(|&set| ends.iter().map(move |&end| label(set, end))).collect();
    let outgoing = if shape.outbound { all(End::of(shape)) } else { Vec::new() };
    vec![(INCOMING, all(End::of(shape))), (OUTGOING, outgoing)]
}

/// Adds the messages that make the rules of a set, and returns how many they are.
pub(super) fn add(messages: &mut Messages, set: SetOf, shape: Shape) -> u32 {
    let mut count = 0;
    for &chain in chains(shape) {
        for &end in End::of(shape) {
            messages.begin(NEW_RULE, CREATE | APPEND | ACK, &INET).text(1, TABLE).text(2, chain);
            let list = messages.nest(4);
            expressions(messages, set, chain, end);
            messages.end(list).attribute(7, &comment(&label(set, end))).finish();
            count += 1;
        }
    }
    count
}

fn expressions(messages: &mut Messages, set: SetOf, chain: &str, end: End) {
    const META_NFPROTO: u32 = 15;
    const META_L4PROTO: u32 = 16;
    const NFPROTO_IPV4: u8 = 2;
    const NFPROTO_IPV6: u8 = 10;
    const TCP: u8 = 6;
    meta_is(messages, META_NFPROTO, if set.ipv6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 });
    if end == End::Reset {
        meta_is(messages, META_L4PROTO, TCP);
    }
    // Where the address stands in the network header.
    let offset = match (set.ipv6, chain == OUTGOING) {
        (false, false) => 12,
        (false, true) => 16,
        (true, false) => 8,
        (true, true) => 24,
    };
    expression(messages, "payload", |messages| {
        messages.be32(1, REGISTER).be32(2, 1).be32(3, offset).be32(4, set.key_length());
    });
    if !set.is_hosts() {
        let bytes = set.key_length() as usize;
        let mask: Vec<u8> =
            (u128::MAX.checked_shl(128 - u32::from(set.prefix)).unwrap_or(0)).to_be_bytes()[..bytes].to_vec();
        expression(messages, "bitwise", |messages| {
            messages.be32(1, REGISTER).be32(2, REGISTER).be32(3, set.key_length());
            let nest = messages.nest(4);
            messages.attribute(DATA_VALUE, &mask).end(nest);
            let nest = messages.nest(5);
            messages.attribute(DATA_VALUE, &vec![0; bytes]).end(nest);
        });
    }
    expression(messages, "lookup", |messages| {
        messages.text(1, &set.name()).be32(2, REGISTER);
    });
    match end {
        End::Drop => expression(messages, "immediate", |messages| {
            messages.be32(1, 0);
            let data = messages.nest(2);
            let verdict = messages.nest(2);
            messages.be32(1, 0).end(verdict);
            messages.end(data);
        }),
        End::Reset => expression(messages, "reject", |messages| {
            messages.be32(1, 1).attribute(2, &[0]);
        }),
        // ICMPX: administratively prohibited, in the words of either family.
        End::Unreachable => expression(messages, "reject", |messages| {
            messages.be32(1, 2).attribute(2, &[3]);
        }),
    }
}

fn meta_is(messages: &mut Messages, meta: u32, value: u8) {
    expression(messages, "meta", |messages| {
        messages.be32(1, REGISTER).be32(2, meta);
    });
    expression(messages, "cmp", |messages| {
        messages.be32(1, REGISTER).be32(2, 0);
        let nest = messages.nest(3);
        messages.attribute(DATA_VALUE, &[value]).end(nest);
    });
}

fn expression(messages: &mut Messages, name: &str, data: impl FnOnce(&mut Messages)) {
    let element = messages.nest(LIST_ELEMENT);
    messages.text(1, name);
    let nest = messages.nest(2);
    data(messages);
    messages.end(nest);
    messages.end(element);
}
