//! The two tables of `rules/README.md`: who has which ids, and which
//! techniques of MITRE ATT&CK there are.

use std::collections::BTreeMap;

use super::Problem;

/// Where ids of our own may lie.
const OWN: std::ops::RangeInclusive<u32> = 100_000..=120_000;

/// What the tables say.
pub(super) struct Table {
    /// First, last, file.
    ranges: Vec<(u32, u32, String)>,
    /// Number and name.
    pub(super) techniques: BTreeMap<String, String>,
}

impl Table {
    /// Rows whose first cell is neither a number nor a technique are left out.
    pub(super) fn new(readme: &str, problems: &mut Vec<Problem>) -> Table {
        let mut table = Table { ranges: Vec::new(), techniques: BTreeMap::new() };
        for row in readme.lines().filter_map(|line| line.trim().strip_prefix('|')) {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [first, second, ..] = cells.as_slice() else { continue };
            if first.starts_with(|c: char| c.is_ascii_digit()) {
                table
                    .ranges(first, second)
                    .unwrap_or_else(|what| problems.push(Problem::new("README.md", None, what)));
            } else if first
                .strip_prefix('T')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            {
                table.techniques.insert((*first).to_owned(), (*second).to_owned());
            }
        }
        table
    }

    fn ranges(&mut self, cell: &str, file: &str) -> Result<(), String> {
        for part in cell.split(',') {
            let (first, last) = part.trim().split_once(['-', '–']).unwrap_or((part.trim(), part.trim()));
            let number = |text: &str| text.trim().parse::<u32>().ok().filter(|id| OWN.contains(id));
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(format!("{part} is no range within {} to {}", OWN.start(), OWN.end()));
            };
            let meets =
                |(from, to, other): &&(u32, u32, String)| *from <= last && first <= *to && other != file;
            let taken = self.ranges.iter().find(meets);
            if let Some((from, to, other)) = taken {
                return Err(format!("{part} of {file} overlaps {from}-{to} of {other}"));
            }
            self.ranges.push((first, last, file.to_owned()));
        }
        Ok(())
    }

    /// Whether a file may have this id.
    pub(super) fn place(&self, file: &str, id: u32) -> Result<(), String> {
        if !OWN.contains(&id) {
            return Err(format!("the id is not within {} to {}", OWN.start(), OWN.end()));
        }
        match self.ranges.iter().find(|(first, last, _)| (first..=last).contains(&&id)) {
            Some((_, _, owner)) if owner == file => Ok(()),
            Some((_, _, owner)) => Err(format!("the id is in the range of {owner}")),
            None => Err("the id is in no range of README.md".to_owned()),
        }
    }
}
