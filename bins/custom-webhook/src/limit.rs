//! How often somebody may come (pure: the time is an argument).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::pace::Pace;
use crate::source::Rate;

/// Addresses that are told apart; of more, those that were quiet are forgotten.
const MOST_PEERS: usize = 10_000;
/// An IPv6 customer has a /64.
const IPV6_PREFIX: u32 = 64;

/// Whom one counts: an IPv4 address, or an IPv6 network.
#[must_use]
pub fn party(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.into(),
            None => std::net::Ipv6Addr::from_bits(address.to_bits() >> IPV6_PREFIX << IPV6_PREFIX).into(),
        },
        IpAddr::V4(_) => peer,
    }
}

/// The requests of one source.
#[derive(Debug)]
pub struct Limit {
    rate: Rate,
    all: Pace,
    /// What is authentic, of each.
    entered: Peers,
    /// What is not: whoever shares an address with strangers is not kept out by
    /// them.
    failed: Peers,
}

/// So many a minute, of each.
#[derive(Debug)]
pub struct Peers {
    per_minute: u32,
    known: HashMap<IpAddr, Pace>,
}

impl Peers {
    /// At this rate, a tenth of it at once; nought is no limit.
    #[must_use]
    pub fn new(per_minute: u32) -> Peers {
        Peers { per_minute, known: HashMap::new() }
    }

    /// Of this peer; none where there is no limit, or too many are told apart.
    fn of(&mut self, peer: IpAddr, now: Instant) -> Option<&mut Pace> {
        if self.per_minute == 0 {
            return None;
        }
        if self.known.len() >= MOST_PEERS {
            self.known.retain(|_, pace| !pace.is_full(now));
        }
        let peer = party(peer);
        if self.known.len() >= MOST_PEERS && !self.known.contains_key(&peer) {
            return None;
        }
        Some(self.known.entry(peer).or_insert_with(|| pace(self.per_minute, now)))
    }

    /// Takes one of this peer.
    ///
    /// # Errors
    /// The seconds after which to come again.
    pub fn take(&mut self, peer: IpAddr, now: Instant) -> Result<(), u64> {
        let Some(pace) = self.of(peer, now) else { return Ok(()) };
        if pace.take(1, now) == 0 { Err(pace.wait()) } else { Ok(()) }
    }
}

fn pace(per_minute: u32, now: Instant) -> Pace {
    let per_minute = f64::from(per_minute);
    // A tenth of a minute's worth at once.
    Pace::new(per_minute / 60.0, per_minute / 10.0, now)
}

impl Limit {
    /// At this rate.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Limit {
        let of_each = || Peers::new(rate.per_minute_per_peer);
        Limit { rate, all: pace(rate.per_minute, now), entered: of_each(), failed: of_each() }
    }

    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether this peer has failed so often that it is hardly worth to look at
    /// what it brings now: the seconds after which it is again.
    pub fn bars(&mut self, peer: IpAddr, now: Instant) -> Option<u64> {
        let pace = self.failed.known.get_mut(&party(peer))?;
        (!pace.has_one(now)).then(|| pace.wait())
    }

    /// Takes one of this peer that was not authentic.
    ///
    /// # Errors
    /// The seconds after which to come again.
    pub fn fail(&mut self, peer: IpAddr, now: Instant) -> Result<(), u64> {
        self.failed.take(peer, now)
    }

    /// Takes one that is authentic: strangers use up nothing of what its sender
    /// has.
    ///
    /// # Errors
    /// The seconds after which to come again.
    pub fn enter(&mut self, peer: IpAddr, now: Instant) -> Result<(), u64> {
        self.entered.take(peer, now)?;
        if self.rate.per_minute > 0 && self.all.take(1, now) == 0 { Err(self.all.wait()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_peer_has_its_share_and_all_have_theirs() {
        let start = Instant::now();
        let mut limit = Limit::new(Rate { per_minute: 60, per_minute_per_peer: 20 }, start);
        let failed = |limit: &mut Limit, who: &str, now| {
            (0..100).take_while(|_| limit.fail(peer(who), now).is_ok()).count()
        };
        assert_eq!(limit.bars(peer("192.0.2.1"), start), None);
        assert_eq!(failed(&mut limit, "192.0.2.1", start), 2);
        assert_eq!(limit.fail(peer("::ffff:192.0.2.1"), start), Err(3), "the same in other clothes");
        assert_eq!(limit.bars(peer("192.0.2.1"), start), Some(3));
        assert_eq!(failed(&mut limit, "2001:db8::1", start), 2);
        assert_eq!(limit.fail(peer("2001:db8::2"), start), Err(3), "the same network");
        let enter = |limit: &mut Limit, last: u8, now| limit.enter(IpAddr::from([192, 0, 2, last]), now);
        assert_eq!(enter(&mut limit, 1, start), Ok(()), "what failed is counted for itself");
        assert_eq!(enter(&mut limit, 1, start), Ok(()));
        assert_eq!(enter(&mut limit, 1, start), Err(3));
        let entered = (2..100).take_while(|last| enter(&mut limit, *last, start).is_ok()).count();
        assert_eq!((entered, enter(&mut limit, 200, start)), (4, Err(1)), "all together have six");
        assert!(enter(&mut limit, 201, start + Duration::from_secs(1)).is_ok());
        let mut open = Limit::new(Rate { per_minute: 0, per_minute_per_peer: 0 }, start);
        assert_eq!(failed(&mut open, "192.0.2.1", start), 100);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_so_much() {
        let start = Instant::now();
        let mut limit = Limit::new(Rate { per_minute: 0, per_minute_per_peer: 60 }, start);
        for number in 0..50_000_u32 {
            let _ = limit.fail(std::net::Ipv4Addr::from_bits(number).into(), start);
        }
        assert!(limit.failed.known.len() <= MOST_PEERS);
        assert!(limit.fail(peer("198.51.100.1"), start + Duration::from_secs(60)).is_ok());
        assert!(limit.failed.known.len() < 10, "the quiet ones are forgotten");
    }
}
