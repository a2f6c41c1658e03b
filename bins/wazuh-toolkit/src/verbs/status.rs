//! `status`: what is installed, linked and enabled, at a glance.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use serde_json::json;

use crate::call::{Call, PATIENCE};
use crate::link::{self, Found};
use crate::program::{Program, Role};
use crate::rules::{self, Copy};
use crate::webhook::Receiver;
use crate::{VERSION, change, process, section, wazuh};

/// One program.
#[derive(Debug, Serialize)]
struct Row {
    program: &'static str,
    /// Its version; nothing when it is not there.
    installed: Option<String>,
    /// `yes`, `no`, or what is wrong; `-` where none is needed.
    linked: String,
    /// `yes`, `no`, or what is wrong.
    enabled: String,
}

/// Shows it; the exit code.
#[must_use]
pub fn status(call: &Call, json: bool) -> u8 {
    let wazuh = wazuh::find(&call.installation);
    let conf = change::ossec_conf(call);
    let rows: Vec<Row> = Program::ALL
        .into_iter()
        .map(|program| Row {
            program: program.name(),
            installed: version_of(call, program),
            linked: linked(call, program),
            enabled: match (&conf, &wazuh) {
                (Ok(conf), Some(found)) => enabled(call, program, found.role, &conf.bytes).to_owned(),
                _ => "-".to_owned(),
            },
        })
        .collect();
    let manager = wazuh.as_ref().is_some_and(|found| found.role == Role::Manager);
    let rules = manager.then(|| installed_rules(call));
    let home = call.installation.home().display().to_string();
    if json {
        let role = wazuh.as_ref().map(|found| found.role.name());
        let version = wazuh.as_ref().and_then(|found| found.version.clone());
        let object = json!({
            "version": VERSION, "home": home, "role": role, "wazuh": version, "programs": rows,
            "rules": rules, "replaced": link::replaced(call),
        });
        call.tell.print_json(&object);
        return 0;
    }
    match &wazuh {
        Some(found) => {
            let version = found.version.as_deref().unwrap_or("of unknown version");
            call.tell.say(format!("Wazuh {version}, {}, in {home}", found.role.name()));
        }
        None => {
            let hidden = wazuh::is_hidden(&call.installation);
            call.tell.say(hidden.unwrap_or_else(|| format!("no Wazuh in {home}")));
        }
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["PROGRAM", "INSTALLED", "LINKED", "ENABLED"]);
    for row in &rows {
        let installed = row.installed.as_deref().unwrap_or("no");
        table.add_row([row.program, installed, &row.linked, &row.enabled]);
    }
    for line in table.to_string().lines() {
        call.tell.say(line.trim_end());
    }
    for name in link::replaced(call) {
        call.tell.say(format!("custom-block stands for {name}."));
    }
    if let Some(rules) = rules {
        call.tell.say(format!("Rules: {rules}"));
    }
    0
}

/// What a program says of its version; `None` when it is not there.
#[must_use]
pub fn version_of(call: &Call, program: Program) -> Option<String> {
    let path = call.path_of(program);
    if !path.exists() {
        return None;
    }
    let ended = process::run(std::process::Command::new(&path).arg("--version"), PATIENCE);
    let words = ended.ok().filter(process::Ended::is_good).map(|ended| ended.words()).unwrap_or_default();
    let version = words.split_whitespace().nth(1).unwrap_or("does not run");
    Some(version.chars().take(32).collect())
}

fn linked(call: &Call, program: Program) -> String {
    if program != Program::CustomBlock {
        return "-".to_owned();
    }
    let place = link::folder(call).join(program.name());
    match link::look(&place, &call.path_of(program)) {
        Ok(Found::Right) => "yes".to_owned(),
        Ok(Found::Nothing) => "no".to_owned(),
        Ok(Found::Dangling) => "to nothing".to_owned(),
        Ok(Found::Elsewhere(_)) => "elsewhere".to_owned(),
        Ok(Found::File) => "a file".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn enabled(call: &Call, program: Program, role: Role, conf: &[u8]) -> &'static str {
    let Ok(found) = section::find(conf, program.name()) else { return "broken section" };
    let Some(found) = found else { return "no" };
    if !found.is_untouched(conf) {
        return "yes, edited";
    }
    let others = section::without(conf, program.name()).unwrap_or_default();
    let (others, output) = (String::from_utf8_lossy(&others), Receiver::of(call).unwrap_or_default().output);
    let text = program.section(role, &call.installation, &call.program_dir, &output, &others);
    if conf[found.inside.clone()] == *text.as_bytes() { "yes" } else { "yes, older" }
}

fn installed_rules(call: &Call) -> String {
    let Ok(places) = rules::places(call) else { return "cannot be looked at".to_owned() };
    let count = |copy: Copy| places.iter().filter(|place| !place.is_list && place.copy == copy).count();
    let all = places.iter().filter(|place| !place.is_list).count();
    match (count(Copy::Same), count(Copy::Missing)) {
        (same, _) if same == all => format!("{all} files, as shipped"),
        (_, missing) if missing == all => "not installed".to_owned(),
        (same, missing) => format!(
            "{same} of {all} files as shipped, {missing} missing, {} older, {} edited",
            count(Copy::Older),
            count(Copy::Edited)
        ),
    }
}
