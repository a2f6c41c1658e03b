//! `disable`: what `enable` wrote, out of `ossec.conf`.

use crate::call::Call;
use crate::change::{self, difference};
use crate::cli::Caution;
use crate::program::Program;
use crate::section;
use crate::tell::Failure;
use crate::wazuh;

/// Disables one program, or all. True when something was (or would be) changed.
///
/// # Errors
/// See [`Failure`]; nothing is changed then.
pub fn disable(call: &Call, program: Option<Program>, caution: &Caution) -> Result<bool, Failure> {
    if program.is_none() && wazuh::is_gone(&call.installation) {
        call.tell
            .say(format!("{} is not there: nothing is enabled.", call.installation.ossec_conf().display()));
        return Ok(false);
    }
    change::as_root()?;
    let _alone = change::alone(call, caution.dry_run)?;
    let conf = change::ossec_conf(call)?;
    let torn = |error: section::SectionError| Failure::Failed(format!("{}: {error}", conf.path.display()));
    let mut new = conf.bytes.clone();
    for program in Program::ALL.into_iter().filter(|one| program.is_none_or(|program| program == *one)) {
        if let Some(there) = section::find(&new, program.name()).map_err(torn)?
            && !there.is_untouched(&new)
            && !caution.force
        {
            return Err(Failure::Refused(format!(
                "the section of {} in {} was edited by hand: --force removes it with the edits",
                program.name(),
                conf.path.display()
            )));
        }
        new = section::without(&new, program.name()).map_err(torn)?;
    }
    if new == conf.bytes {
        let what = program.map_or("nothing", Program::name);
        let is = if program.is_some() { "is not enabled" } else { "is enabled" };
        call.tell.say(format!("{what} {is} in {}.", conf.path.display()));
        return Ok(false);
    }
    call.tell.say(difference(&conf.path, &conf.bytes, &new).trim_end());
    if caution.dry_run {
        call.tell.say("Nothing was changed.");
        return Ok(true);
    }
    change::put(call, &conf, &new, caution.check_timeout)?;
    change::restart(call, caution.restart)?;
    Ok(true)
}
