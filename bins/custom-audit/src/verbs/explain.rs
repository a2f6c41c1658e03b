//! `explain`: what a key of an event means.

use comfy_table::{ContentArrangement, Table};

use crate::key::{KEYS, Key};

use super::{BAD_INPUT, DONE, say, warn};

/// Tells about one key, or lists all.
#[must_use]
pub fn explain(key: Option<&str>) -> u8 {
    let Some(wanted) = key else {
        let mut table = table();
        for key in KEYS {
            table.add_row([key.name, key.meaning]);
        }
        say(&table.trim_fmt());
        return DONE;
    };
    // As it is named in an alert and in a rule.
    let name = wanted.strip_prefix("data.").unwrap_or(wanted);
    let name = if name == "process.name" { "process" } else { name };
    let Some(found) = KEYS.iter().find(|key| key.name == name) else {
        warn(&format!("there is no key {wanted:?}; `custom-audit explain` lists them all"));
        return BAD_INPUT;
    };
    tell(found);
    DONE
}

fn tell(key: &Key) {
    say(&format!("{}: {}.", key.name, key.meaning));
    say(&format!("In {}.", key.events));
    if !key.values.is_empty() {
        let mut table = table();
        for (value, meaning) in key.values {
            table.add_row([*value, *meaning]);
        }
        say(&table.trim_fmt());
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}
