//! The events that these rules were first asked for, and the ids they were to
//! have: `tests/fixtures/rules/brief.provisional.jsonl`.

use std::collections::BTreeSet;

use harness::rules::sample::{self, Step};

use crate::rules;

/// Those that the brief names. Two rules of it had 100300: the one of
/// administrators is 100250 here.
const NAMED: [u32; 13] = [
    100_100, 100_101, 100_102, 100_200, 100_201, 100_250, 100_300, 100_301, 100_310, 100_311, 100_312,
    100_400, 100_401,
];

#[test]
fn each_has_the_id_that_it_was_to_have() {
    let all = sample::all();
    let brief = all.iter().find(|samples| samples.name.starts_with("brief")).unwrap();
    let wrong = sample::check(rules(), brief);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let fired: BTreeSet<u32> = brief
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Event { rule, .. } => *rule,
            _ => None,
        })
        .collect();
    assert_eq!(fired, BTreeSet::from(NAMED));
}
