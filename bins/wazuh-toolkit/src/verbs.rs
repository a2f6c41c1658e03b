//! What an administrator can ask for.

use crate::call::Call;
use crate::cli::{Cli, Verb};

pub mod disable;
pub mod doctor;
pub mod enable;
pub mod rules;
pub mod selftest;
pub mod status;

/// Does what the verb says, and returns the exit code.
#[must_use]
pub fn serve(cli: &Cli) -> u8 {
    let quiet = matches!(cli.verb, Verb::Link { quiet: true, .. });
    let call = Call::new(cli, quiet);
    match &cli.verb {
        Verb::Enable { program, role, print, caution } => {
            call.tell.end(enable::enable(&call, *program, *role, *print, caution))
        }
        Verb::Disable { program, caution, .. } => call.tell.end(disable::disable(&call, *program, caution)),
        Verb::Status => status::status(&call, cli.json),
        Verb::Doctor => doctor::doctor(&call, cli.json),
        Verb::Link { remove, replace, restore, .. } => {
            call.tell.end(link(&call, *remove, replace.as_deref(), restore.as_deref()))
        }
        Verb::Selftest => selftest::selftest(&call, cli.json),
        Verb::Rules(verb) => rules::serve(&call, verb, cli.json),
    }
}

fn link(
    call: &Call,
    remove: bool,
    replace: Option<&str>,
    restore: Option<&str>,
) -> Result<bool, crate::tell::Failure> {
    use crate::{change, link};
    change::as_root()?;
    let _alone = change::alone(call, false)?;
    match (remove, replace, restore) {
        (true, _, _) => link::remove(call),
        (_, Some(name), _) => link::replace(call, name),
        (_, _, Some(name)) => link::restore(call, name),
        _ => link::make(call),
    }
}
