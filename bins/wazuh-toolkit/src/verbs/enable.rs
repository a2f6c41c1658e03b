//! `enable`: a program's section into `ossec.conf`.

use std::path::{Path, PathBuf};

use common::wazuh::config::{CommandWodle, LocalFile};
use custom_block::config::{Allowed, Settings};
use custom_block::host;

use crate::call::Call;
use crate::change::{self, difference};
use crate::cli::Caution;
use crate::conf::Facts;
use crate::link::{self, Found};
use crate::program::{Program, Role};
use crate::section;
use crate::tell::Failure;
use crate::wazuh;
use crate::webhook::{FILE, Receiver};

/// Enables a program. True when something was (or would be) changed.
///
/// # Errors
/// See [`Failure`]; nothing is changed then.
pub fn enable(
    call: &Call,
    program: Program,
    role: Option<Role>,
    print: bool,
    caution: &Caution,
) -> Result<bool, Failure> {
    let home = call.installation.home();
    let role = role.or_else(|| wazuh::find(&call.installation).map(|found| found.role));
    let role = role.ok_or_else(|| match wazuh::is_hidden(&call.installation) {
        Some(hidden) => Failure::Failed(format!("{hidden}, or say with --role what this host is")),
        None => Failure::BadInput(format!(
            "no Wazuh in {}: --role says what this host is, --home where it lies",
            home.display()
        )),
    })?;
    let output = output(call, program)?;
    if print {
        let others = change::ossec_conf(call).map_or_else(|_| all_there(call), |conf| conf.text());
        let text = program.section(role, &call.installation, &call.program_dir, &output, &others);
        call.tell.print(&text);
        return Ok(false);
    }
    change::as_root()?;
    let _alone = change::alone(call, caution.dry_run)?;
    let name = program.name();
    let conf = change::ossec_conf(call)?;
    let torn = |error: section::SectionError| Failure::Failed(format!("{}: {error}", conf.path.display()));
    if let Some(there) = section::find(&conf.bytes, name).map_err(torn)?
        && !there.is_untouched(&conf.bytes)
        && !caution.force
    {
        return Err(Failure::Refused(format!(
            "the section of {name} in {} was edited by hand: --force replaces it with ours. To keep the edits, move \
             them out of it",
            conf.path.display()
        )));
    }
    let others = section::without(&conf.bytes, name).map_err(torn)?;
    let others_text = String::from_utf8_lossy(&others);
    let text = program.section(role, &call.installation, &call.program_dir, &output, &others_text);
    if let Some(twice) = runs_already(program, &output, &others).filter(|_| !caution.force) {
        return Err(Failure::Refused(format!(
            "{} has {twice} outside of our section: with ours it would be there twice. Take it out first (--force writes \
             ours all the same)",
            conf.path.display()
        )));
    }
    let new = section::with(&conf.bytes, name, role.name(), &text).map_err(torn)?;
    warnings(call, program);
    if let Some(found) = wazuh::find(&call.installation).filter(|found| found.role != role) {
        let (this, asked) = (found.role.name(), role.name());
        call.tell.warn(format!("this host is {this}, not {asked}: Wazuh does nothing with that here"));
    }
    let earlier = Facts::of(&String::from_utf8_lossy(&others)).repeated_offenders;
    if let (Program::CustomBlock, Some(first)) = (program, earlier.first()) {
        call.tell.warn(format!(
            "{} has <repeated_offenders> {first} already: the first one counts, ours has no effect",
            conf.path.display()
        ));
    }
    if new == conf.bytes {
        call.tell.say(format!("{name} is enabled already in {}.", conf.path.display()));
        return Ok(false);
    }
    call.tell.say(difference(&conf.path, &conf.bytes, &new).trim_end());
    if caution.dry_run {
        call.tell.say("Nothing was changed.");
        return Ok(true);
    }
    change::put(call, &conf, &new, caution.check_timeout)?;
    call.tell.say(format!("{name} is enabled in {}.", conf.path.display()));
    change::restart(call, caution.restart)?;
    Ok(true)
}

/// The file that custom-webhook writes, as it is configured here.
fn output(call: &Call, program: Program) -> Result<PathBuf, Failure> {
    match Receiver::of(call) {
        Ok(receiver) => Ok(receiver.output),
        Err(error) if program == Program::CustomWebhook => Err(Failure::Failed(error)),
        Err(_) => Ok(Receiver::default().output),
    }
}

/// What somebody wrote by hand that does what our section would do.
fn runs_already(program: Program, output: &Path, others: &[u8]) -> Option<String> {
    let others = String::from_utf8_lossy(others);
    let name = program.name();
    match program {
        Program::CustomBlock => {
            let known = Facts::of(&others).commands.iter().any(|command| command == name);
            known.then(|| format!("a <command> called {name}"))
        }
        Program::CustomAudit => {
            let runs = |wodle: &CommandWodle| {
                let path = wodle.command.split_whitespace().next().map(Path::new);
                path.is_some_and(|path| path.file_name().is_some_and(|file| file == name)) && !wodle.disabled
            };
            CommandWodle::parse(&others).iter().any(runs).then(|| format!("a wodle that runs {name}"))
        }
        Program::CustomWebhook => {
            let follows = |file: &LocalFile| Path::new(&file.location) == output;
            let known = LocalFile::parse(&others).iter().any(follows);
            known.then(|| format!("a <localfile> for {}", output.display()))
        }
    }
}

/// Where there is no `ossec.conf`, Wazuh's own is meant: it follows the record.
fn all_there(call: &Call) -> String {
    let log = call.installation.logs().join(common::wazuh::paths::ACTIVE_RESPONSES_LOG);
    format!(
        "<ossec_config><localfile><log_format>syslog</log_format><location>{}</location></localfile></ossec_config>",
        log.display()
    )
}

fn warnings(call: &Call, program: Program) {
    let path = call.path_of(program);
    if !path.exists() {
        call.tell.warn(format!("{} is not there yet: put the program there", path.display()));
    }
    if program == Program::CustomWebhook && !Receiver::of(call).is_ok_and(|receiver| receiver.has_a_source())
    {
        let config = call.places.config(FILE);
        call.tell.warn(format!(
            "no source is configured yet: take the \"#\" away before one in {}, then systemctl enable --now custom-webhook",
            config.display()
        ));
    }
    if program != Program::CustomBlock {
        return;
    }
    let place = link::folder(call).join(program.name());
    if let Ok(Found::Nothing | Found::Dangling) = link::look(&place, &path) {
        call.tell.warn(format!("{} is not there: `wazuh-toolkit link` makes it", place.display()));
    }
    if let Some(warning) = locked_out(call) {
        call.tell.warn(warning);
    }
}

/// What may happen to whoever types this: `None` when it cannot.
#[must_use]
pub fn locked_out(call: &Call) -> Option<String> {
    let client = host::ssh_client()?;
    let config = call.places.config(custom_block::config::FILE);
    let settings = match Settings::load(&config) {
        Ok(settings) => settings,
        Err(error) => return Some(format!("the configuration of custom-block is broken: {error}")),
    };
    let allowed = host::allowlist(&settings, &mut Vec::new());
    let listed = allowed.iter().any(|one| matches!(one, Allowed::Target(target) if target.contains(client)));
    (!listed).then(|| {
        format!(
            "your own SSH client {client} is not in the allowlist of {}: an alert that names it would lock you out",
            config.display()
        )
    })
}
