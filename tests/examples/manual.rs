//! Writes the man page and the shell completions of custom-block into
//! `packaging/`, from the command line as the program itself understands it.
//!
//! ```text
//! cargo run --package harness --example manual
//! ```
//!
//! `tests/tests/manual.rs` fails when they are not what this writes.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

const PROGRAM: &str = "custom-block";

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
    let mut files = vec![(Path::new("man").join(format!("{PROGRAM}.8")), man_page())];
    for (shell, name) in [
        (Shell::Bash, "custom-block.bash"),
        (Shell::Zsh, "_custom-block"),
        (Shell::Fish, "custom-block.fish"),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut visible(), PROGRAM, &mut script);
        if shell == Shell::Bash {
            script = mended(script);
        }
        files.push((Path::new("completions").join(name), script));
    }
    files
}

/// The hyphen of our name confuses `clap_complete` 4.6: it writes the state of a
/// verb in two ways, so that the options of no verb would be offered.
fn mended(script: Vec<u8>) -> Vec<u8> {
    let state = |hyphen: &str| PROGRAM.replace('-', hyphen) + "__subcmd__";
    String::from_utf8_lossy(&script).replace(&state("__subcmd__"), &state("__")).into_bytes()
}

/// The command line without what is hidden: completions would offer it.
fn visible() -> Command {
    let all = custom_block::cli::Cli::command();
    let mut shown = Command::new(PROGRAM).version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    if let Some(about) = all.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(about) = all.get_long_about() {
        shown = shown.long_about(about.clone());
    }
    shown = shown.args(all.get_arguments().filter(|arg| !arg.is_hide_set()));
    for verb in all.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        // clap wants names that live as long as the program.
        let name: &'static str = verb.get_name().to_owned().leak();
        let mut plain = Command::new(name);
        if let Some(about) = verb.get_about() {
            plain = plain.about(about.clone());
        }
        shown = shown.subcommand(plain.args(verb.get_arguments().filter(|arg| !arg.is_hide_set())));
    }
    shown
}

/// The sections that clap knows nothing of: a heading and its entries, each a
/// tag and what is said of it; without a tag, a paragraph.
const MORE: [(&str, &[(&str, &str)]); 5] = [
    (
        "FILES",
        &[
            (
                "/etc/wazuh-toolkit/custom-block.toml",
                "The configuration. Optional; every key and its default stands in the example that is \
                 shipped. It is refused, and the defaults apply, when anybody but root can write it.",
            ),
            (
                "/var/ossec/active-response/bin/custom-block",
                "Where Wazuh looks for the program. Under another name (a link called firewall-drop) it \
                 is that active response to Wazuh.",
            ),
            (
                "/var/ossec/etc/ossec.conf, /var/ossec/etc/shared/ar.conf",
                "Read for the managers, which are never blocked, and for the timeouts of Wazuh.",
            ),
            ("/var/ossec/logs/active-responses.log", "The record: one line for each run."),
            (
                "/var/lib/wazuh-toolkit/custom-block/",
                "State: the journal blocks.jsonl, small records in ledger/, the outbox, and the log of \
                 the detached workers (worker.DATE.log, for seven days).",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("WAZUH_HOME", "As --home."),
            ("WAZUH_TOOLKIT_STATE_DIR", "As --state-dir."),
            ("WAZUH_TOOLKIT_CONFIG_DIR", "The folder in which custom-block.toml is looked for."),
            ("SSH_CONNECTION", "Its client is not blocked by add without --force."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("", "Called by Wazuh:"),
            (
                "0",
                "Done, nothing to do, refused, aborted or held. A broken configuration changes nothing of this.",
            ),
            ("1", "The effect failed, or the record could not be written."),
            ("2", "The input was no request."),
            ("", "Called by a person:"),
            ("0", "Done."),
            ("1", "The effect failed, doctor found something, or why was asked of what is not blocked."),
            ("2", "Not an address, or not a command."),
            ("3", "It must not be blocked."),
            ("78", "--check-config of a broken configuration."),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("custom-block list", "What is blocked now."),
            (
                "custom-block add 203.0.113.50 --ttl 12h --reason 'ticket 4711'",
                "Block an address for half a day.",
            ),
            ("custom-block --check-config", "After the configuration was changed."),
        ],
    ),
    (
        "NOTES",
        &[(
            "",
            "Wazuh lifts what it blocked when it stops cleanly and when it takes a new group configuration. \
             Only the longer blocks of repeat offenders (escalation), and with hold = true all blocks, stay \
             until their own time is over. What an administrator added is never lifted by Wazuh.",
        )],
    ),
];

fn man_page() -> Vec<u8> {
    let shown = visible();
    let man = Man::new(shown.clone())
        .section("8")
        .manual("wazuh-toolkit")
        .source(format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")))
        .date("");
    let mut page = Vec::new();
    let rendered = (|| -> io::Result<()> {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        usage().to_writer(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        verbs(&shown).to_writer(&mut page)?;
        more().to_writer(&mut page)
    })();
    rendered.expect("memory takes everything");
    page
}

/// With a verb and without: two different things.
fn usage() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    let (program, options) = (bold(PROGRAM), || [roman(" ["), italic("OPTIONS"), roman("]")]);
    roff.text([&[program.clone()][..], &options()[..]].concat());
    roff.control("br", []);
    let verb = [roman(" "), italic("VERB"), roman(" ["), italic("ARGUMENTS"), roman("]")];
    roff.text([&[program][..], &options()[..], &verb[..]].concat());
    roff
}

/// All verbs with their arguments: one page instead of one each.
fn verbs(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["VERBS"]);
    for verb in command.get_subcommands() {
        roff.control("TP", []);
        let mut head = vec![bold(verb.get_name())];
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
    roff
}

fn synopsis(arg: &Arg) -> Vec<Inline> {
    if arg.is_positional() {
        return vec![italic(arg.get_id().as_str().to_uppercase())];
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

fn more() -> Roff {
    let mut roff = Roff::new();
    for (heading, entries) in MORE {
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
