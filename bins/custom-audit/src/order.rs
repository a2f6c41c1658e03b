//! Which findings come first when there is not room for all (pure).
//!
//! The wodle hands on 100 lines a second, and an agent has a buffer of its
//! own: what an analyst must see is said first, and no kind of finding takes
//! more than half of the room while another waits.

/// What a finding is, first things first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A socket as standard input, output or error: a shell for somebody else.
    Stdio,
    /// A socket that another user made.
    Mismatch,
    /// An executable that is gone, never was a file, or lies where anybody may write.
    Executable,
    /// A raw or packet socket.
    Raw,
    /// A socket that no process holds.
    Unattributed,
    /// A public address that this executable never talked to.
    NewRemote,
    /// Takes connections.
    Listener,
    /// Everything else that is there.
    Rest,
    /// What is gone.
    Closed,
}

/// Chooses at most `most` (0: no limit) of these findings: their indices, in
/// the order in which they are to be said.
#[must_use]
pub fn choose(classes: &[Class], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&at| classes[at]);
    if most == 0 || order.len() <= most {
        return order;
    }
    // At first each kind has half of the room; then what is left is for
    // whoever comes first.
    let half = most.div_ceil(2);
    let mut chosen = vec![false; classes.len()];
    let mut room = most;
    for kind in order.chunk_by(|&one, &other| classes[one] == classes[other]) {
        for &at in kind.iter().take(half.min(room)) {
            chosen[at] = true;
            room -= 1;
        }
    }
    for &at in &order {
        if room == 0 {
            break;
        }
        if !chosen[at] {
            chosen[at] = true;
            room -= 1;
        }
    }
    order.retain(|&at| chosen[at]);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(counts: &[(Class, usize)], most: usize) -> Vec<(Class, usize)> {
        // In the worst order there is.
        let classes: Vec<Class> =
            counts.iter().rev().flat_map(|&(class, count)| std::iter::repeat_n(class, count)).collect();
        let order = choose(&classes, most);
        assert!(order.is_sorted_by_key(|&at| classes[at]));
        let taken = |class| order.iter().filter(|&&at| classes[at] == class).count();
        counts.iter().map(|&(class, _)| (class, taken(class))).filter(|&(_, count)| count > 0).collect()
    }

    #[test]
    fn with_room_for_all_all_are_chosen() {
        let counts = [(Class::Stdio, 1), (Class::Rest, 9)];
        assert_eq!(chosen(&counts, 10), counts);
        assert_eq!(chosen(&counts, 0), counts);
    }

    #[test]
    fn first_things_come_first_and_none_takes_over_half_while_another_waits() {
        use Class::{Closed, Listener, NewRemote, Rest, Stdio};
        for (counts, most, expected) in [
            (&[(Stdio, 2), (Rest, 1000)][..], 10, &[(Stdio, 2), (Rest, 8)][..]),
            (&[(Stdio, 1000), (Rest, 1000)], 10, &[(Stdio, 5), (Rest, 5)]),
            (&[(Stdio, 1000), (Rest, 1)], 10, &[(Stdio, 9), (Rest, 1)]),
            (
                &[(NewRemote, 100), (Listener, 3), (Closed, 100)],
                10,
                &[(NewRemote, 5), (Listener, 3), (Closed, 2)],
            ),
            (&[(Rest, 1000)], 10, &[(Rest, 10)]),
            (&[(Stdio, 1), (Rest, 1)], 1, &[(Stdio, 1)]),
        ] {
            assert_eq!(chosen(counts, most), expected, "{counts:?}");
        }
    }

    #[test]
    fn among_equals_the_earlier_comes_first() {
        assert_eq!(choose(&[Class::Rest; 5], 3), [0, 1, 2]);
    }
}
