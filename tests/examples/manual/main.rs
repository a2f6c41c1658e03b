//! Writes the man page and the shell completions of each program into
//! `packaging/`, from the command line as the program itself understands it.
//!
//! ```text
//! cargo run --package harness --example manual
//! ```
//!
//! `tests/tests/manual.rs` fails when they are not what this writes.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

mod audit;
mod block;
mod toolkit;
mod webhook;

/// A program, and its part in this.
pub(crate) struct Page {
    /// Its name.
    program: &'static str,
    /// Its command line.
    command: fn() -> Command,
    /// The sections that clap knows nothing of: a heading and its entries, each
    /// a tag and what is said of it; without a tag, a paragraph.
    more: &'static [(&'static str, &'static [(&'static str, &'static str)])],
}

const PAGES: [Page; 4] = [audit::PAGE, block::PAGE, toolkit::PAGE, webhook::PAGE];

fn main() -> io::Result<()> {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    for (name, contents) in files() {
        let path = packaging.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, contents)?;
    }
    Ok(())
}

/// Every file that is generated: its path below `packaging/`, and its contents.
#[must_use]
pub(crate) fn files() -> Vec<(PathBuf, Vec<u8>)> {
    PAGES.iter().flat_map(|page| page.files()).collect()
}

impl Page {
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let program = self.program;
        let mut files = vec![(Path::new("man").join(format!("{program}.8")), self.man_page())];
        for (shell, name) in [
            (Shell::Bash, format!("{program}.bash")),
            (Shell::Zsh, format!("_{program}")),
            (Shell::Fish, format!("{program}.fish")),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut self.visible(), program, &mut script);
            if shell == Shell::Bash {
                script = mended(program, &script);
            }
            files.push((Path::new("completions").join(name), script));
        }
        files
    }

    /// The command line without what is hidden: completions would offer it.
    fn visible(&self) -> Command {
        let all = (self.command)();
        let mut shown =
            Command::new(self.program).version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
        if let Some(about) = all.get_about() {
            shown = shown.about(about.clone());
        }
        if let Some(about) = all.get_long_about() {
            shown = shown.long_about(about.clone());
        }
        shown = shown.args(all.get_arguments().filter(|arg| !arg.is_hide_set()));
        shown = shown.subcommand_required(all.is_subcommand_required_set());
        let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set());
        verbs.fold(shown, |shown, verb| shown.subcommand(plain(verb)))
    }

    fn man_page(&self) -> Vec<u8> {
        let shown = self.visible();
        let man = Man::new(shown.clone())
            .section("8")
            .manual("wazuh-toolkit")
            .source(format!("{} {}", self.program, env!("CARGO_PKG_VERSION")))
            .date("");
        let mut page = Vec::new();
        let rendered = (|| -> io::Result<()> {
            man.render_title(&mut page)?;
            man.render_name_section(&mut page)?;
            usage(&shown).to_writer(&mut page)?;
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)?;
            verbs(&shown).to_writer(&mut page)?;
            more(self.more).to_writer(&mut page)
        })();
        rendered.expect("memory takes everything");
        page
    }
}

/// A verb, and the verbs below it, without what is hidden.
fn plain(verb: &Command) -> Command {
    // clap wants names that live as long as the program.
    let name: &'static str = verb.get_name().to_owned().leak();
    let mut plain = Command::new(name);
    if let Some(about) = verb.get_about() {
        plain = plain.about(about.clone());
    }
    let below: Vec<&Command> = verb.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
    if !below.is_empty() {
        plain = plain.disable_help_subcommand(true).subcommand_required(true);
    }
    plain = plain.args(verb.get_arguments().filter(|arg| !arg.is_hide_set()));
    below.into_iter().fold(plain, |plain, verb| plain.subcommand(self::plain(verb)))
}

/// The hyphen of our names confuses `clap_complete` 4.6: it writes the state of
/// a verb in two ways, so that the options of no verb would be offered.
fn mended(program: &str, script: &[u8]) -> Vec<u8> {
    let state = |hyphen: &str| program.replace('-', hyphen) + "__subcmd__";
    String::from_utf8_lossy(script).replace(&state("__subcmd__"), &state("__")).into_bytes()
}

/// With a verb and without: two different things, where both can be.
fn usage(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    let (program, options) = (bold(command.get_name()), || [roman(" ["), italic("OPTIONS"), roman("]")]);
    if !command.is_subcommand_required_set() {
        roff.text([&[program.clone()][..], &options()[..]].concat());
        roff.control("br", []);
    }
    let verb = [roman(" "), italic("VERB"), roman(" ["), italic("ARGUMENTS"), roman("]")];
    roff.text([&[program][..], &options()[..], &verb[..]].concat());
    roff
}

/// All verbs with their arguments: one page instead of one each.
fn verbs(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["VERBS"]);
    each_verb(&mut roff, command, "");
    roff
}

/// Those of a command; before each stands the one that it belongs to.
fn each_verb(roff: &mut Roff, command: &Command, before: &str) {
    for verb in command.get_subcommands() {
        let name = format!("{before}{}", verb.get_name());
        if verb.has_subcommands() {
            each_verb(roff, verb, &format!("{name} "));
            continue;
        }
        roff.control("TP", []);
        let mut head = vec![bold(name)];
        for arg in verb.get_arguments() {
            head.push(roman(" "));
            head.extend(synopsis(arg));
        }
        roff.text(head);
        roff.text([roman(verb.get_about().map(ToString::to_string).unwrap_or_default())]);
        for arg in verb.get_arguments().filter(|arg| !arg.is_positional()) {
            roff.control("RS", []);
            roff.control("TP", []);
            roff.text(option(arg));
            roff.text([roman(arg.get_help().map(ToString::to_string).unwrap_or_default())]);
            roff.control("RE", []);
        }
    }
}

fn synopsis(arg: &Arg) -> Vec<Inline> {
    if arg.is_positional() {
        let name = italic(arg.get_id().as_str().to_uppercase());
        return if arg.is_required_set() { vec![name] } else { vec![roman("["), name, roman("]")] };
    }
    let mut words = vec![roman("[")];
    words.extend(option(arg));
    words.push(roman("]"));
    words
}

fn option(arg: &Arg) -> Vec<Inline> {
    let mut words = vec![bold(format!("--{}", arg.get_long().unwrap_or_default()))];
    if arg.get_action().takes_values() {
        for name in arg.get_value_names().unwrap_or_default() {
            words.push(roman(" "));
            words.push(italic(name.as_str()));
        }
    }
    words
}

fn more(sections: &[(&str, &[(&str, &str)])]) -> Roff {
    let mut roff = Roff::new();
    for &(heading, entries) in sections {
        roff.control("SH", [heading]);
        for &(tag, text) in entries {
            if tag.is_empty() {
                roff.control("PP", []);
            } else {
                roff.control("TP", []);
                roff.text([bold(tag)]);
            }
            roff.text([roman(text)]);
        }
    }
    roff
}
