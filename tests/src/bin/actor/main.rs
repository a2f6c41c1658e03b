//! A process that is what a test of custom-audit needs: it does one step after
//! the other, says what it has, and stays until its stdin is closed.
//!
//! ```text
//! actor STEP…          then one STEP a line on stdin
//!
//! L=listen ADDR        a TCP listener             L=connect ADDR|LISTENER [FROM]
//! L=accept LISTENER    its next connection        L=connecting ADDR [FROM]   unanswered
//! L=udp ADDR [PEER]    L=raw NUMBER               L=raw6 NUMBER
//! L=packet             of every protocol          A,B=unix     a pair
//! L=adopt FD           one that was inherited     L=receive A  one that was sent
//! L=dup A              the same again             L=hidden ADDR  a listener of one thread only
//! crowd N              so many connections to itself, both ends
//! send L A             over a unix socket         drop L       closes it
//! L=bound ADDR         TCP, but no listener       write L      one byte
//! open L               lets it listen             turn L ADDR  connects it, again
//! shutdown L           says it will write no more
//! stdio L 012          makes it fd 0, 1 and 2 too
//! uids REAL EFFECTIVE SAVED
//! undumpable           as a program is that guards secrets
//! name TEXT            the name that ps shows
//! netns new|home|PATH  from now on, also for children
//! memfd NAME           as a file without name, from here on
//! sleep MILLISECONDS
//! note TEXT            nothing: only stands in the command line
//! K=spawn L,… ; STEP ; …    a child that has those sockets; K is its name
//! tell K STEP          kill K
//! churn N MILLISECONDS STEP ; …   N children at a time, each of which lives that long
//! ```
//!
//! After the steps of the command line, and after each one on stdin, one line
//! of JSON says the process, its sockets as the kernel tells their owner, and
//! its children; or the error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::socket::SockType;
use serde_json::{Value, json};

mod process;
mod socket;

use process::Child;
use socket::Held;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What this process has.
struct Actor {
    sockets: BTreeMap<String, Held>,
    children: BTreeMap<String, Child>,
    crowd: Vec<Held>,
    home: File,
}

fn main() -> ExitCode {
    let steps: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    match act(&steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "actor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(steps: &[Vec<u8>]) -> Result<()> {
    // Not the first three: those can be made sockets.
    let orders = BufReader::new(File::from(std::io::stdin().as_fd().try_clone_to_owned()?));
    let mut answers = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let home = File::open("/proc/thread-self/ns/net")?;
    let (sockets, children) = (BTreeMap::new(), BTreeMap::new());
    let mut actor = Actor { sockets, children, crowd: Vec::new(), home };
    let mut done = Ok(());
    for (at, step) in steps.iter().enumerate() {
        done = actor.step(step, steps.get(at + 1..).unwrap_or_default());
        if done.is_err() {
            break;
        }
    }
    answers.write_all(actor.answer(done).as_bytes())?;
    for line in orders.split(b'\n') {
        let done = actor.step(&line?, &[]);
        answers.write_all(actor.answer(done).as_bytes())?;
    }
    Ok(())
}

impl Actor {
    /// Does one step; the steps after it go on in what `memfd` becomes.
    fn step(&mut self, step: &[u8], after: &[Vec<u8>]) -> Result<()> {
        let (head, rest) = match step.iter().position(|&byte| byte == b' ') {
            Some(at) => (step.get(..at).unwrap_or_default(), step.get(at + 1..).unwrap_or_default()),
            None => (step, &[][..]),
        };
        let head = std::str::from_utf8(head)?;
        let (label, verb) = head.split_once('=').unwrap_or(("", head));
        match verb {
            "name" => return process::name(rest),
            "memfd" => return process::become_memfd(OsStr::from_bytes(rest), after),
            "note" => return Ok(()),
            _ => {}
        }
        let rest = std::str::from_utf8(rest)?;
        let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
        match (verb, words.as_slice()) {
            ("unix", []) => {
                let (one, other) = label.split_once(',').ok_or("A,B=unix")?;
                let pair = socket::pair()?;
                self.sockets.insert(one.to_owned(), pair.0);
                self.sockets.insert(other.to_owned(), pair.1);
            }
            ("send", [socket, over]) => self.held(over)?.send(self.held(socket)?)?,
            ("drop", [socket]) => self.sockets.remove(*socket).ok_or("no such socket")?.close()?,
            ("open", [socket]) => self.held(socket)?.open()?,
            ("turn", [socket, to]) => self.held(socket)?.turn(to.parse()?)?,
            ("crowd", [count]) => self.crowd.extend(socket::crowd(count.parse()?)?),
            ("write", [socket]) => self.held(socket)?.write()?,
            ("shutdown", [socket]) => self.held(socket)?.shutdown()?,
            ("stdio", [socket, which]) => self.held(socket)?.becomes(which)?,
            ("uids", [real, effective, saved]) => process::uids(real, effective, saved)?,
            ("undumpable", []) => nix::sys::prctl::set_dumpable(false)?,
            ("netns", [which]) => process::netns(which, &self.home)?,
            ("spawn", _) => {
                let (labels, steps) = rest.split_once(';').unwrap_or((rest, ""));
                let mut shared = Vec::new();
                for label in labels.trim().split(',').filter(|label| !label.is_empty()) {
                    shared.push((label, self.held(label)?));
                }
                let child = Child::spawn(&shared, steps)?;
                self.children.insert(label.to_owned(), child);
            }
            ("tell", [child, ..]) => {
                let order = rest.split_once(' ').map_or("", |(_, order)| order);
                self.children.get_mut(*child).ok_or("no such child")?.tell(order)?;
            }
            ("kill", [child]) => self.children.remove(*child).ok_or("no such child")?.kill()?,
            ("churn", [count, life, ..]) => {
                let steps = rest.splitn(3, ' ').nth(2).unwrap_or_default();
                process::churn(count.parse()?, life.parse()?, steps);
            }
            ("sleep", [life]) => std::thread::sleep(Duration::from_millis(life.parse()?)),
            _ => {
                let made = self.socket(verb, &words)?;
                self.sockets.insert(label.to_owned(), made);
            }
        }
        Ok(())
    }

    fn socket(&self, verb: &str, words: &[&str]) -> Result<Held> {
        let from = words.get(1).copied();
        match (verb, words) {
            ("listen", [at]) => socket::listen(at.parse()?),
            ("bound", [at]) => Ok(Held::Made(socket::bound(at.parse()?, SockType::Stream)?)),
            ("connect", [to] | [to, _]) => {
                let to = match self.sockets.get(*to) {
                    Some(listener) => listener.local().ok_or("no address")?,
                    None => to.parse()?,
                };
                socket::connect(to, from.map(str::parse).transpose()?)
            }
            ("connecting", [to] | [to, _]) => {
                socket::connecting(to.parse()?, from.map(str::parse).transpose()?)
            }
            ("accept", [listener]) => self.held(listener)?.accept(),
            ("udp", [at] | [at, _]) => socket::udp(at.parse()?, from.map(str::parse).transpose()?),
            ("dup", [other]) => self.held(other)?.again(),
            ("hidden", [at]) => socket::hidden(at.parse()?),
            ("raw" | "raw6", [protocol]) => socket::raw(verb == "raw6", protocol.parse()?),
            ("packet", []) => socket::packet(),
            ("adopt", [fd]) => Ok(Held::Number(fd.parse()?)),
            ("receive", [over]) => self.held(over)?.receive(),
            _ => Err(format!("no step: {verb} {words:?}").into()),
        }
    }

    fn held(&self, label: &str) -> Result<&Held> {
        Ok(self.sockets.get(label).ok_or_else(|| format!("no socket {label}"))?)
    }

    fn answer(&self, done: Result<()>) -> String {
        if let Err(error) = done {
            return format!("{}\n", json!({ "error": error.to_string() }));
        }
        let sockets: BTreeMap<&String, Value> =
            self.sockets.iter().map(|(label, socket)| (label, socket.facts())).collect();
        let children: BTreeMap<&String, &Value> =
            self.children.iter().map(|(label, child)| (label, &child.facts)).collect();
        let netns = std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino()).to_string();
        let pid = std::process::id();
        let all = json!({ "pid": pid, "netns": netns, "sockets": sockets, "children": children });
        format!("{all}\n")
    }
}
