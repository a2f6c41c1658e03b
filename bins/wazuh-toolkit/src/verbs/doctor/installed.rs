//! The programs and their links.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::finding::Findings;

use crate::VERSION;
use crate::call::Call;
use crate::link::{self, Found};
use crate::program::Program;
use crate::verbs::status::version_of;

use super::Host;

/// Each program: there, root's alone, of this version.
pub fn programs(call: &Call, findings: &mut Findings) {
    for program in Program::ALL {
        let (name, path) = (program.name(), call.path_of(program));
        // Few hosts want it; where one does, `webhook` looks for it.
        if program == Program::CustomWebhook && !path.exists() {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(&path) else {
            findings.problem(
                name,
                format!(
                    "{} is not there: install the package again, or copy the program there",
                    path.display()
                ),
            );
            continue;
        };
        if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
            findings.problem(name, format!("{p} is no program: chmod 0755 {p}", p = path.display()));
            continue;
        }
        if let Some(trouble) = writable_by_others(&path) {
            findings.problem(name, trouble);
            continue;
        }
        match version_of(call, program).as_deref() {
            Some(VERSION) => findings.ok(name, format!("{} {VERSION}", path.display())),
            other => findings.problem(
                name,
                format!(
                    "{} says it is version {}, wazuh-toolkit is {VERSION}: install both from one package",
                    path.display(),
                    other.unwrap_or("none")
                ),
            ),
        }
    }
}

/// What root starts must be root's alone, all the way up: the user `wazuh`
/// talks with the network.
fn writable_by_others(path: &Path) -> Option<String> {
    let real = std::fs::canonicalize(path).ok()?;
    real.ancestors().find_map(|part| {
        let metadata = std::fs::metadata(part).ok()?;
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.uid() != 0 {
            return Some(format!(
                "{p} belongs to user {}, not to root: chown root:root {p}",
                metadata.uid(),
                p = part.display()
            ));
        }
        let loose = metadata.mode() & if sticky { 0 } else { 0o022 };
        (loose != 0).then(|| {
            format!(
                "{p} can be written by others (mode {:04o}): chmod go-w {p}",
                metadata.mode() & 0o7777,
                p = part.display()
            )
        })
    })
}

/// The links in Wazuh's tree.
pub fn links(host: &Host<'_>, findings: &mut Findings) {
    let call = host.call;
    let target = call.path_of(Program::CustomBlock);
    let mut names = vec![Program::CustomBlock.name().to_owned()];
    names.extend(link::replaced(call));
    for name in names {
        let place = link::folder(call).join(&name);
        let shown = place.display();
        match link::look(&place, &target) {
            Ok(Found::Right) => findings.ok("link", format!("{shown} -> {}", target.display())),
            Ok(Found::Nothing) => findings.problem("link", format!("{shown} is missing, so Wazuh cannot start it: `wazuh-toolkit link` makes it")),
            Ok(Found::Dangling) => findings.problem("link", format!("{shown} leads to {}, which is not there: install the package again", target.display())),
            Ok(Found::Elsewhere(leads)) => findings.problem("link", format!("{shown} leads to {}: `wazuh-toolkit link` sets it right", leads.display())),
            Ok(Found::File) if name == Program::CustomBlock.name() => by_hand(&place, findings),
            Ok(Found::File) => findings.problem("link", format!("{shown} is Wazuh's own again (an upgrade put it back): `wazuh-toolkit link` puts custom-block in its place")),
            Err(error) => findings.problem("link", format!("{shown}: {error}")),
        }
    }
}

/// A copy instead of a link works, but an upgrade does not renew it.
fn by_hand(place: &Path, findings: &mut Findings) {
    let shown = place.display();
    match writable_by_others(place) {
        // The folder is root's, its group may look into it.
        Some(trouble) => findings.problem("link", trouble),
        None => findings.note("link", format!("{shown} is a copy made by hand, which an upgrade does not renew: remove it, then `wazuh-toolkit link`")),
    }
}
