//! How long a block lasts.

use std::time::Duration;

/// The least time that the kernel's timeout exceeds Wazuh's by, in seconds.
const LEAST_MARGIN: u64 = 60;

/// What is known about the time that is wanted, all in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// 5.x says when it will undo the block; 0 is never.
    pub stateful_timeout: Option<u64>,
    /// `--ttl` in `extra_args`.
    pub extra_args: Option<u64>,
    /// The largest timeout of this executable in ar.conf, repeated offenders
    /// included; 0 is never.
    pub command_table: Option<u64>,
}

/// The time to live in seconds: what Wazuh says first, else what is
/// configured, never more than `max`.
#[must_use]
pub fn ttl(wanted: &Wanted, default: u64, max: u64) -> u64 {
    let positive = |seconds: Option<u64>| seconds.filter(|&seconds| seconds > 0);
    positive(wanted.stateful_timeout)
        .or(positive(wanted.extra_args))
        .or(positive(wanted.command_table))
        .unwrap_or(default)
        .min(max)
}

/// A repeat offender's longer time: of the n-th block (counted from 1), and
/// whether it is longer at all.
#[must_use]
pub fn escalate(ttl: u64, factors: &[u32], offence: u32, max: u64) -> (u64, bool) {
    let nth = usize::try_from(offence.saturating_sub(1)).unwrap_or(usize::MAX);
    match factors.get(nth.min(factors.len().saturating_sub(1))) {
        Some(&factor) if factor > 1 => {
            let longer = ttl.saturating_mul(u64::from(factor)).min(max);
            (longer, longer > ttl)
        }
        _ => (ttl, false),
    }
}

/// The kernel's own timeout: later than Wazuh's undoing, so that this normally
/// comes first, and the kernel lifts the block when Wazuh is gone.
#[must_use]
pub fn kernel_timeout(seconds: u64) -> Duration {
    Duration::from_secs(seconds.saturating_add(LEAST_MARGIN.max(seconds / 10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_knows_counts_and_zero_knows_nothing() {
        let wanted = |stateful_timeout, extra_args, command_table| Wanted {
            stateful_timeout,
            extra_args,
            command_table,
        };
        for (wanted, expected) in [
            (wanted(None, None, None), 1000),
            (wanted(Some(5), Some(6), Some(7)), 5),
            (wanted(None, Some(6), Some(7)), 6),
            (wanted(None, None, Some(7)), 7),
            (wanted(Some(0), None, Some(0)), 1000),
            (wanted(Some(0), Some(6), None), 6),
            (wanted(Some(u64::MAX), None, None), 2000),
        ] {
            assert_eq!(ttl(&wanted, 1000, 2000), expected, "{wanted:?}");
        }
    }

    #[test]
    fn the_last_factor_counts_from_there_on() {
        for (offence, expected) in
            [(0, (10, false)), (1, (10, false)), (2, (40, true)), (3, (120, true)), (9, (120, true))]
        {
            assert_eq!(escalate(10, &[1, 4, 12], offence, 1000), expected, "{offence}");
        }
        assert_eq!(escalate(10, &[], 5, 1000), (10, false));
        assert_eq!(escalate(10, &[2], 1, 15), (15, true));
        assert_eq!(escalate(15, &[2], 1, 15), (15, false));
    }

    #[test]
    fn the_kernel_waits_a_minute_or_a_tenth_longer() {
        assert_eq!(kernel_timeout(3), Duration::from_secs(63));
        assert_eq!(kernel_timeout(600), Duration::from_secs(660));
        assert_eq!(kernel_timeout(86_400), Duration::from_secs(95_040));
        assert_eq!(kernel_timeout(u64::MAX), Duration::from_secs(u64::MAX));
    }
}
