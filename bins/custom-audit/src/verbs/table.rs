//! `--table`: what `--full` says, for people.

use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, Color, Table};
use common::text::printable;

use crate::call::{Call, Stop};
use crate::change::{self, Listeners, Present};
use crate::detail::exe::Hashes;
use crate::detail::{Brief, Details};
use crate::host::{self, Names};
use crate::known::Known;
use crate::look::{Look, Want};
use crate::order::Class;
use crate::report;
use crate::socket::{Direction, Protocol, Socket};

use super::{DONE, FAILED, say, warn};

const HEADER: [&str; 9] =
    ["PROCESS", "PID", "USER", "PROTO", "STATE", "DIRECTION", "LOCAL", "REMOTE", "EXECUTABLE"];

/// Prints everything that is there.
#[must_use]
pub fn table(call: &Call) -> u8 {
    let (settings, broken) = call.settings();
    if let Some(error) = broken {
        warn(&format!("the configuration is ignored: {error}"));
    }
    let stop = Stop::new();
    let known = Known::default();
    let want = Want { everything: true, now: crate::now(), full_look: 0 };
    let look = match Look::new(&known, want, &|| stop.is_told()) {
        Ok(Some(look)) => look,
        Ok(None) => return DONE,
        Err(error) => {
            warn(&format!("/proc: {error}"));
            return FAILED;
        }
    };
    let Ok(mut details) = Details::new(Hashes::new(Vec::new(), settings.hash, 0), 0) else {
        warn("/proc cannot be read");
        return FAILED;
    };
    let changes = change::compare(&known, &look, 0, want.now);
    let listeners = Listeners::new(&look, &known, host::ephemeral_ports());
    let colourful = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut names = Names::default();
    let mut rows = Vec::with_capacity(changes.present.len());
    for present in &changes.present {
        let process = &look.scan.processes[present.holding.process as usize];
        let brief = details.brief(present.holding.process, process);
        let class = report::class(present, process, brief.as_deref(), true);
        let [local, remote] = ends(present.socket, &look);
        let texts = [
            process.name.clone(),
            process.pid.to_string(),
            names.user(process.euid).to_owned(),
            present.socket.protocol.name().to_owned(),
            state(present.socket),
            listeners.direction(present.socket).map_or("", Direction::name).to_owned(),
            local,
            remote,
            executable(brief.as_deref(), present, process.euid),
        ];
        rows.push((class, process.name.clone(), process.pid, texts));
    }
    for unheld in &changes.unheld {
        let socket = &unheld.socket;
        let mut texts = [const { String::new() }; HEADER.len()];
        texts[0] = "(nobody)".to_owned();
        texts[3] = socket.protocol.name().to_owned();
        texts[4] = state(socket);
        [texts[6], texts[7]] = ends(socket, &look);
        rows.push((Class::Unattributed, String::new(), 0, texts));
    }
    rows.sort_by(|one, other| (one.0, &one.1, one.2).cmp(&(other.0, &other.1, other.2)));
    let mut shown = Table::new();
    shown.load_style(comfy_table::presets::NOTHING);
    shown.set_header(HEADER);
    if colourful {
        shown.enforce_styling();
    } else {
        shown.force_no_tty();
    }
    for (class, _, _, texts) in rows {
        shown.add_row(texts.iter().map(|text| coloured(Cell::new(printable(text)), class, colourful)));
    }
    say(&shown.trim_fmt());
    for degraded in &look.degraded {
        warn(&format!("not all could be seen: {degraded}"));
    }
    DONE
}

fn coloured(cell: Cell, class: Class, colourful: bool) -> Cell {
    match class {
        _ if !colourful => cell,
        Class::Stdio | Class::Mismatch | Class::Executable => {
            cell.fg(Color::Red).add_attribute(Attribute::Bold)
        }
        Class::Raw | Class::Unattributed => cell.fg(Color::Magenta),
        Class::NewRemote => cell.fg(Color::Yellow),
        Class::Listener => cell.fg(Color::Cyan),
        Class::Rest | Class::Closed => cell,
    }
}

fn ends(socket: &Socket, look: &Look) -> [String; 2] {
    report::ends(socket, &report::interface(socket, look)).map(|end| end.to_string())
}

fn state(socket: &Socket) -> String {
    if socket.protocol == Protocol::Packet { String::new() } else { socket.state_name().to_owned() }
}

fn executable(brief: Option<&Brief>, present: &Present<'_>, euid: u32) -> String {
    let mut text = brief.map(|brief| brief.exe.clone()).unwrap_or_default();
    if brief.is_some_and(|brief| brief.deleted) {
        text.push_str(" (deleted)");
    }
    if let Some(container) = brief.and_then(|brief| brief.container.as_ref()) {
        text.push_str(&format!(" [{} {:.12}]", container.runtime, container.id));
    }
    if report::is_stdio(present.fds) {
        text.push_str(" [a socket is its standard input or output]");
    }
    if report::is_mismatch(present.socket, euid) {
        text.push_str(&format!(" [the socket was made by uid {}]", present.socket.uid));
    }
    text
}
