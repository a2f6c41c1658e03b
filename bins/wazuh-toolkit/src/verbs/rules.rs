//! `rules`: the detection rules, on a manager.

use common::finding::Findings;

use crate::call::Call;
use crate::change::{self, difference};
use crate::cli::{Caution, Rules};
use crate::conf::Facts;
use crate::daemon::{self, ANALYSISD};
use crate::file::Original;
use crate::program::Role;
use crate::rules::{self, Copy, Place};
use crate::section;
use crate::tell::Failure;
use crate::{verbs, wazuh};

/// Does what the verb says, and returns the exit code.
#[must_use]
pub fn serve(call: &Call, verb: &Rules, json: bool) -> u8 {
    match verb {
        Rules::Install { caution } => call.tell.end(install(call, caution)),
        Rules::Remove { caution } => call.tell.end(remove(call, caution)),
        Rules::Check => match on_a_manager(call).and_then(|()| change::ossec_conf(call)) {
            Err(failure) => call.tell.end(Err(failure)),
            Ok(conf) => {
                let mut findings = Findings::default();
                rules::examine(call, &conf, &mut findings);
                verbs::doctor::show(call, &findings, json)
            }
        },
    }
}

fn on_a_manager(call: &Call) -> Result<(), Failure> {
    let home = call.installation.home().display();
    match wazuh::find(&call.installation) {
        Some(found) if found.role == Role::Manager => Ok(()),
        Some(_) => Err(Failure::BadInput(format!("{home} is an agent: rules belong on its manager"))),
        None => Err(Failure::Failed(
            wazuh::is_hidden(&call.installation)
                .unwrap_or_else(|| format!("no Wazuh in {home}: --home names another place")),
        )),
    }
}

fn failed(error: impl ToString) -> Failure {
    Failure::Failed(error.to_string())
}

/// What one file is to become.
struct Step<'a> {
    place: &'a Place,
    /// `None`: it is removed.
    new: Option<&'a str>,
}

/// Installs the rules. True when something was (or would be) changed.
///
/// # Errors
/// See [`Failure`]; nothing is changed then.
pub fn install(call: &Call, caution: &Caution) -> Result<bool, Failure> {
    on_a_manager(call)?;
    change::as_root()?;
    let _alone = change::alone(call, caution.dry_run)?;
    let conf = change::ossec_conf(call)?;
    let facts = Facts::of(&conf.text());
    if !rules::are_loaded(call, &facts) {
        return Err(Failure::Failed(format!(
            "the last <ruleset> of {} has no <rule_dir>etc/rules</rule_dir>: what is put there would not be loaded",
            conf.path.display()
        )));
    }
    let found = rules::collisions(call, &facts).map_err(failed)?;
    if !found.is_empty() {
        let lines: Vec<String> = found
            .iter()
            .take(20)
            .map(|(id, ours, theirs)| {
                format!("rule {id} of {ours} is in {theirs} already: give that one another id")
            })
            .collect();
        return Err(Failure::Failed(format!("{}\nNothing was changed.", lines.join("\n"))));
    }
    let places = rules::places(call).map_err(failed)?;
    for name in ["rules", "lists"] {
        let folder = call.installation.home().join("etc").join(name);
        if !folder.is_dir() {
            return Err(Failure::Failed(format!("{} is not there", folder.display())));
        }
    }
    let mut steps = Vec::new();
    for place in &places {
        match (place.copy, place.is_list) {
            (Copy::Same, _) | (Copy::Edited | Copy::Older, true) => {}
            (Copy::Edited, false) if !caution.force => return Err(edited(place)),
            _ => steps.push(Step { place, new: place.shipped }),
        }
    }
    let torn = |error: section::SectionError| Failure::Failed(format!("{}: {error}", conf.path.display()));
    kept_section(&conf, caution.force)?;
    let new = rules::with_lists(&conf.bytes).map_err(torn)?;
    carry_out(call, &conf, &new, &steps, caution, "The rules are installed already.")
}

/// Removes the rules. True when something was (or would be) changed.
///
/// # Errors
/// See [`Failure`]; nothing is changed then.
pub fn remove(call: &Call, caution: &Caution) -> Result<bool, Failure> {
    if wazuh::is_gone(&call.installation) {
        let conf = call.installation.ossec_conf();
        call.tell.say(format!("{} is not there: nothing to remove.", conf.display()));
        return Ok(false);
    }
    change::as_root()?;
    let _alone = change::alone(call, caution.dry_run)?;
    let conf = change::ossec_conf(call)?;
    let places = rules::places(call).map_err(failed)?;
    let mut steps = Vec::new();
    for place in places.iter().filter(|place| place.found.is_some()) {
        match (place.copy, place.is_list, caution.force) {
            // Also with --force: it is data, and harmless.
            (Copy::Edited, true, _) => {
                call.tell.warn(format!("{} was edited and is kept", place.path.display()));
            }
            (Copy::Edited, false, false) => return Err(edited(place)),
            _ => steps.push(Step { place, new: None }),
        }
    }
    kept_section(&conf, caution.force)?;
    let torn = |error: section::SectionError| Failure::Failed(format!("{}: {error}", conf.path.display()));
    let new = section::without(&conf.bytes, rules::LISTS).map_err(torn)?;
    carry_out(call, &conf, &new, &steps, caution, "No rules of ours are installed.")
}

fn edited(place: &Place) -> Failure {
    Failure::Refused(format!(
        "{} was edited by hand: --force takes the edits away. To keep them, move them into rules of your own",
        place.path.display()
    ))
}

fn kept_section(conf: &Original, force: bool) -> Result<(), Failure> {
    let found = section::find(&conf.bytes, rules::LISTS).map_err(failed)?;
    if !force && found.is_some_and(|section| !section.is_untouched(&conf.bytes)) {
        return Err(Failure::Refused(format!(
            "the section of our lists in {} was edited by hand: --force takes the edits away",
            conf.path.display()
        )));
    }
    Ok(())
}

/// Does it, whole or not at all.
fn carry_out(
    call: &Call,
    conf: &Original,
    new: &[u8],
    steps: &[Step<'_>],
    caution: &Caution,
    already: &str,
) -> Result<bool, Failure> {
    if steps.is_empty() && new == conf.bytes {
        if !caution.dry_run {
            rules::remember(call).map_err(failed)?;
        }
        call.tell.say(already);
        return Ok(false);
    }
    for step in steps {
        let what = match (&step.place.found, step.new) {
            (_, None) => "remove ",
            (None, Some(_)) => "add    ",
            (Some(_), Some(_)) => "renew  ",
        };
        call.tell.say(format!("{what} {}", step.place.path.display()));
    }
    if new != conf.bytes {
        call.tell.say(difference(&conf.path, &conf.bytes, new).trim_end());
    }
    if caution.dry_run {
        call.tell.say("Nothing was changed.");
        return Ok(true);
    }
    // Rules first: analysisd checks ossec.conf together with them.
    let done = apply(call, steps).and_then(|()| {
        if new == conf.bytes {
            check(call, caution)
        } else {
            change::put(call, conf, new, caution.check_timeout)
        }
    });
    if let Err(failure) = done {
        undo(call, steps);
        change::check_again(call, caution.check_timeout);
        return Err(failure);
    }
    rules::remember(call).map_err(failed)?;
    change::restart(call, caution.restart)?;
    Ok(true)
}

fn apply(call: &Call, steps: &[Step<'_>]) -> Result<(), Failure> {
    let owner = rules::owner(call).map_err(failed)?;
    for step in steps {
        let done = match step.new {
            Some(text) => step.place.put(text.as_bytes(), owner),
            None => step.place.remove(),
        };
        done.map_err(|error| Failure::Failed(format!("{}: {error}", step.place.path.display())))?;
    }
    Ok(())
}

/// Everything as it was found; what cannot be is said.
fn undo(call: &Call, steps: &[Step<'_>]) {
    for step in steps {
        let undone = match &step.place.found {
            Some(found) if found.is_still_so() => Ok(()),
            Some(found) => step.place.put(&found.bytes, found.owner()),
            None => step.place.remove(),
        };
        if let Err(error) = undone {
            call.tell.warn(format!("{} could not be put back: {error}", step.place.path.display()));
        }
    }
}

fn check(call: &Call, caution: &Caution) -> Result<(), Failure> {
    match daemon::check(&call.installation, ANALYSISD, None, caution.check_timeout) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Failure::Failed(format!("{refusal}\nNothing was changed."))),
    }
}
