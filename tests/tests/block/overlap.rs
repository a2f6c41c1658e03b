//! Networks and addresses that contain one another: each stands on its own.

use std::time::Duration;

use harness::eventually;
use harness::kernel;
use harness::line::Line;
use harness::network::{ATTACKER, ATTACKER6, NEIGHBOUR, NEIGHBOUR6};

use crate::{Scene, ready};

/// Makes an element lapse as if its time were over: what the kernel does when
/// a timeout ends it does here too, only sooner.
fn lapse(scene: &Scene, target: &str) {
    let guard = scene.site.guard();
    let set = kernel::nftables(guard)[target].set.clone();
    let key = target.split('/').next().unwrap();
    guard.command(
        "nft",
        &[&format!(
            "delete element inet wazuh_block {set} {{ {key} }}
             add element inet wazuh_block {set} {{ {key} timeout 100ms }}"
        )],
    );
    assert!(eventually(Duration::from_secs(5), || !kernel::nftables(guard).contains_key(target)));
}

#[test]
fn of_two_blocks_that_overlap_each_ends_alone_whatever_came_first() {
    let Some(scene) = Scene::direct() else { return };
    for (wide, narrow, inside, beside) in [
        // The narrow one is an address, or a network itself.
        ("203.0.113.0/24", "203.0.113.50", ATTACKER, NEIGHBOUR),
        ("203.0.113.0/24", "203.0.113.50/31", ATTACKER, "203.0.113.99".parse().unwrap()),
        ("2001:db8:bad::/60", "2001:db8:bad::50", ATTACKER6, NEIGHBOUR6),
        ("2001:db8:bad::/56", "2001:db8:bad::/64", ATTACKER6, "2001:db8:bad:9::1".parse().unwrap()),
    ] {
        for first in [wide, narrow] {
            let second = if first == wide { narrow } else { wide };
            for ends in [wide, narrow] {
                for by_delete in [true, false] {
                    let mut execd = scene.execd();
                    // The one that is to be deleted is the one that is due.
                    for target in [first, second] {
                        let timeout = if target == ends { 100 } else { 100_000 };
                        let run = execd.request(&Line::add(target), timeout);
                        assert_eq!(run.keys().unwrap(), [target]);
                    }
                    let case = format!("{first}, then {second}; {ends} ends by delete: {by_delete}");
                    assert_eq!(scene.blocks().len(), 2, "{case}");
                    if by_delete {
                        execd.pass(101);
                        assert_eq!(execd.tick().len(), 1);
                    } else {
                        lapse(&scene, ends);
                    }
                    assert_eq!(scene.blocks().len(), 1, "{case}");
                    assert!(scene.is_refused(inside), "{case}: the other block has gone too");
                    if ends == wide {
                        assert!(scene.connects(beside), "{case}: the wide block still stands");
                    } else {
                        assert!(scene.is_refused(beside), "{case}: the wide block has gone");
                    }
                    execd.stop();
                    assert!(scene.connects(inside) && scene.connects(beside), "{case}: nothing may stand");
                }
            }
        }
    }
}

#[test]
fn overlapping_blocks_stand_beside_one_another_in_ipset_too() {
    if !ready(&["ipset", "iptables"]) {
        return;
    }
    let Some(scene) = Scene::direct() else { return };
    scene.wazuh.configure("backends = [\"ipset\"]\n");
    for order in [["203.0.113.0/24", "203.0.113.50"], ["203.0.113.50", "203.0.113.0/24"]] {
        let mut execd = scene.execd();
        execd.request(&Line::add(order[0]), 100);
        execd.request(&Line::add(order[1]), 100_000);
        execd.pass(101);
        execd.tick();
        assert!(scene.is_refused(ATTACKER), "{order:?}");
        assert_eq!(!scene.connects(NEIGHBOUR), order[1].contains('/'), "{order:?}");
        execd.stop();
        assert!(scene.connects(ATTACKER));
    }
}
