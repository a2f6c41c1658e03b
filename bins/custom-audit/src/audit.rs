//! One run for Wazuh: what is known, a look, what is said of it, what is
//! remembered, and a summary.

use std::time::{Duration, Instant, SystemTime};

use common::text::legible;
use nix::sys::resource::{UsageWho, getrusage};

use crate::call::{Call, Stop};
use crate::config::{ProcessKey, Settings};
use crate::detail::Details;
use crate::detail::exe::Hashes;
use crate::event::{Fault, Head, Summary, Text};
use crate::host::{self, Host, Names};
use crate::known::Known;
use crate::look::{Look, Want};
use crate::output::Output;
use crate::report::Context;
use crate::state::{Contents, State, StateError};
use crate::tell::{Counts, Out, Teller, line};

/// So long another run is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at whether to stop.
const STEP: Duration = Duration::from_millis(50);

/// It could look.
const DONE: u8 = 0;
/// It could not look at all.
const BLIND: u8 = 1;
/// There is no such command line.
const MISUSED: u8 = 2;

/// What went wrong: its kind, and what happened.
type Wrong = (&'static str, String);
/// Things that went wrong, each of which becomes an event.
type Faults = Vec<Wrong>;

/// Runs for Wazuh, and returns the exit code.
#[must_use]
pub fn audit(call: &Call) -> u8 {
    let (began, stop) = (Instant::now(), Stop::new());
    let timestamp = timestamp();
    let scan_id = format!("{:x}-{:x}", crate::now(), std::process::id());
    let host = Host::this();
    let (settings, broken) = call.settings();
    let mut faults: Faults = broken.map(|error| ("config", error.to_string())).into_iter().collect();
    let output = output(&settings, &mut faults);
    let mut lines: Out<'_> = Out::new(output, Box::new(|| stop.deadline()));
    let mut teller = None;
    let seen = open_state(call, &mut faults).and_then(|(state, known)| {
        let known = known.after_boot(&host::boot());
        let context = Context {
            timestamp: timestamp.clone(),
            now: crate::now(),
            scan_id: &scan_id,
            run: known.run.saturating_add(1),
            full: call.full,
            baseline: known.is_empty(),
            process_key: settings.process_key,
            geo_peer: settings.geo_peer,
            host_netns: host::network_namespace(),
        };
        let hashes = Hashes::new(known.hashes.clone(), settings.hash, context.run);
        let details =
            Details::new(hashes, host.boot_time).map_err(|error| ("proc", format!("/proc: {error}")))?;
        let teller = teller.insert(Teller::new(&settings, &stop, context, details));
        let seen = watch(call, teller, known, began, &mut lines)?;
        Ok(seen.map(|seen| (state, seen)))
    });
    let mut code = DONE;
    let mut summary = None;
    match seen {
        Err((kind, error)) => {
            code = if kind == "busy" { DONE } else { BLIND };
            faults.push((kind, error));
        }
        Ok(None) => faults.push(("stopped", "told to stop before anything could be said".to_owned())),
        Ok(Some((state, Seen { known, look, looks }))) => {
            if look.scan.unreadable > 0 && look.scan.unreadable == look.scan.root {
                code = BLIND;
                let all = "none of root's processes could be looked into: it takes root, or CAP_SYS_PTRACE";
                faults.push(("not_root", all.to_owned()));
            }
            if let Some(teller) = &mut teller {
                let exhausted = teller.details.hashes.exhausted;
                remember(state.as_ref(), known, teller, &settings, &mut faults);
                summary = Some(Outcome {
                    look,
                    looks,
                    exhausted,
                    forgot: teller.forgot,
                    counts: teller.counts,
                    baseline: teller.context.baseline,
                });
            }
        }
    }
    // Where the file takes no more, whoever reads our output should know.
    if let (Some(path), Some(error)) = (&settings.output, teller.and_then(|teller| teller.failed)) {
        faults.push(("output", format!("{}: {error}", path.display())));
        lines = Out::new(Output::standard(), Box::new(|| stop.deadline()));
    }
    let mut names = Names::default();
    let user = names.user(nix::unistd::geteuid().as_raw());
    let head = |event| {
        Head::new(&timestamp, event, "custom-audit", settings.process_key)
            .of(std::process::id().cast_signed(), user)
    };
    for (error_kind, error) in &faults {
        let error = legible(error.as_bytes(), 1000);
        let _ = line(&mut lines, &Fault { head: head("error"), error_kind, error, scan_id: &scan_id });
    }
    if let Some(outcome) = summary {
        let _ = line(&mut lines, &outcome.summary(head("summary"), &host, &faults, began, &scan_id));
    }
    let _ = lines.flush();
    code
}

/// Says, as an event, that the wodle's command line is wrong.
#[must_use]
pub fn misused(error: &str) -> u8 {
    let timestamp = timestamp();
    let head = Head::new(&timestamp, "error", "custom-audit", ProcessKey::Object)
        .of(std::process::id().cast_signed(), "root");
    let error = error.lines().next().unwrap_or_default();
    let error = legible(error.strip_prefix("error: ").unwrap_or(error).as_bytes(), 1000);
    let mut lines = Out::new(Output::standard(), Box::new(|| Instant::now() + PATIENCE));
    let _ = line(&mut lines, &Fault { head, error_kind: "usage", error, scan_id: "none" });
    let _ = lines.flush();
    MISUSED
}

fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn output(settings: &Settings, faults: &mut Faults) -> Output {
    let Some(path) = &settings.output else { return Output::standard() };
    Output::file(path).unwrap_or_else(|error| {
        faults.push(("output", format!("{}: {error}", path.display())));
        Output::standard()
    })
}

/// The state of this run, and what is in it. A run that says everything
/// peeks at it for its hashes, and keeps none.
fn open_state(call: &Call, faults: &mut Faults) -> Result<(Option<State>, Known), Wrong> {
    let peeked = State::peek(&call.state_dir);
    if call.full {
        let known = match peeked.read() {
            Ok(Contents::Good(known)) => Known { hashes: known.hashes, ..Known::default() },
            _ => Known::default(),
        };
        return Ok((None, known));
    }
    let state = match State::open(&call.state_dir, Instant::now() + PATIENCE) {
        Ok(state) => Some(state),
        Err(StateError::Busy) => return Err(("busy", StateError::Busy.to_string())),
        // What cannot be written may still be read.
        Err(error) => {
            faults.push(("state_unwritable", error.to_string()));
            None
        }
    };
    let known = match state.as_ref().unwrap_or(&peeked).read() {
        Ok(Contents::Good(known)) => *known,
        Ok(Contents::Absent) => Known::default(),
        Ok(Contents::Bad(reason, aside)) => {
            let aside =
                if state.is_some() { format!(", and is now {}", aside.display()) } else { String::new() };
            faults.push((
                "state_reset",
                format!("the state is not believed ({reason}){aside}: a new baseline begins"),
            ));
            Known::default()
        }
        Err(error) => {
            faults.push(("state_reset", format!("{error}: a new baseline begins")));
            Known::default()
        }
    };
    Ok((state, known))
}

/// What was seen, and is known then.
struct Seen {
    known: Known,
    look: Look,
    looks: u32,
}

/// Looks once, or again and again for as long as `--watch` says. `None` when
/// told to stop before the first look was over.
fn watch(
    call: &Call,
    teller: &mut Teller<'_>,
    known: Known,
    began: Instant,
    lines: &mut Out<'_>,
) -> Result<Option<Seen>, Wrong> {
    let end = began + call.watch.unwrap_or_default();
    let (mut known, mut last, mut looks) = (known, None, 0);
    loop {
        let now = crate::now();
        (teller.context.now, teller.context.timestamp) = (now, timestamp());
        let want = Want { everything: call.full, now, full_look: teller.settings.full_look.as_secs() };
        let look = Look::new(&known, want, &|| teller.stop.is_told());
        let Some(look) = look.map_err(|error| ("proc", format!("/proc: {error}")))? else { break };
        looks += 1;
        teller.details.forget();
        known = teller.tell(known, &look, now, lines);
        last = Some(look);
        let next = Instant::now() + teller.settings.watch_pause;
        if next > end || teller.stop.is_told() {
            break;
        }
        while Instant::now() < next && !teller.stop.is_told() {
            std::thread::sleep(STEP.min(next - Instant::now()));
        }
    }
    Ok(last.map(|look| Seen { known, look, looks }))
}

fn remember(
    state: Option<&State>,
    known: Known,
    teller: &mut Teller<'_>,
    settings: &Settings,
    faults: &mut Faults,
) {
    let Some(state) = state else { return };
    let none = Hashes::new(Vec::new(), settings.hash, 0);
    let hashes = std::mem::replace(&mut teller.details.hashes, none).into_known();
    if let Err(error) = state.write(&Known { hashes, boot: host::boot(), ..known }) {
        faults.push(("state_unwritable", error.to_string()));
    }
}

/// What a run came to.
struct Outcome {
    look: Look,
    looks: u32,
    exhausted: bool,
    forgot: bool,
    counts: Counts,
    baseline: bool,
}

impl Outcome {
    fn summary<'a>(
        &self,
        head: Head<'a>,
        host: &'a Host,
        faults: &Faults,
        began: Instant,
        scan_id: &'a str,
    ) -> Summary<'a> {
        let Outcome { look, looks, exhausted, forgot, counts, baseline } = self;
        let boot = SystemTime::UNIX_EPOCH + Duration::from_secs(host.boot_time);
        let mut degraded: Vec<&str> = look.degraded.iter().copied().collect();
        if *exhausted {
            degraded.push("hash_budget");
        }
        if *forgot {
            degraded.push("forgotten");
        }
        if faults.iter().any(|(kind, _)| kind.starts_with("state")) {
            degraded.push("state");
        }
        let text = |words: &[&str], separator, none: &str| {
            if words.is_empty() { none.to_owned() } else { words.join(separator) }
        };
        let strategy: Vec<&str> = look.strategy.iter().copied().collect();
        Summary {
            head,
            sockets_total: small(look.total as usize),
            root_sockets: small(look.sockets.chunk_by(|one, other| one.inode == other.inode).count()),
            root_processes: small(look.scan.root as usize),
            scanned_pids: small(look.scan.pids.len()),
            scanned_fds: small(look.scan.descriptors as usize),
            new: small(counts.new),
            closed: small(counts.closed),
            unattributed: small(look.unattributed.len()),
            emitted: small(counts.emitted),
            suppressed: small(counts.suppressed),
            deferred: small(counts.deferred),
            races: small(look.scan.races as usize),
            netns_count: small(look.namespaces as usize),
            strategy: text(&strategy, "+", "none"),
            degraded: text(&degraded, ",", "none"),
            looks: *looks,
            duration_ms: milliseconds(began.elapsed()),
            cpu_ms: milliseconds(processor()),
            baseline: *baseline,
            version: env!("CARGO_PKG_VERSION"),
            hostname: &host.name,
            kernel: &host.kernel,
            boot_time: Text(humantime::format_rfc3339_seconds(boot)),
            uptime_s: small(usize::try_from(host.uptime).unwrap_or(usize::MAX)),
            scan_id,
        }
    }
}

/// A number that Wazuh's decoder can keep.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned())
}

/// Rounded up: a run that took any time took one.
fn milliseconds(time: Duration) -> u32 {
    small(usize::try_from(time.as_micros().div_ceil(1000)).unwrap_or(usize::MAX))
}

/// What this process had of the processor.
fn processor() -> Duration {
    let time = |time: nix::sys::time::TimeVal| {
        let (seconds, rest) = (u64::try_from(time.tv_sec()), u64::try_from(time.tv_usec()));
        Duration::from_secs(seconds.unwrap_or(0)) + Duration::from_micros(rest.unwrap_or(0))
    };
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(Duration::ZERO, |usage| time(usage.user_time()) + time(usage.system_time()))
}
