//! The contestants, and one turn of one of them.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::execd::{Execd, Run};
use harness::kernel::has;
use harness::program::source_tree;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{UsageWho, getrusage};

use crate::field::{self, Home};
use crate::figures::{Sample, Samples};

pub(super) const FLOOR: &str = "program that does nothing";
pub(super) const NFTABLES: &str = "custom-block, nftables";
pub(super) const SHELL: &str = "shell script (jq, iptables)";
const IPSET: &str = "custom-block, ipset";
const IPTABLES: &str = "custom-block, iptables";
const FILE: &str = "custom-block, file";

/// Whoever has a part has so many turns.
const FEWEST: usize = 5;

/// How it is asked what it blocks.
#[derive(Debug, Clone)]
enum Blocks {
    Nothing,
    Listed(&'static [&'static str]),
    Written(PathBuf),
}

const BY_NFT: Blocks = Blocks::Listed(&["nft", "list", "ruleset"]);
const BY_IPSET: Blocks = Blocks::Listed(&["ipset", "save"]);
const BY_IPTABLES: Blocks = Blocks::Listed(&["iptables", "-w", "-S"]);

/// How it is started.
#[derive(Debug)]
enum Way {
    /// By execd, with a line.
    Asked(Execd<'static>),
    /// With these words before and after the address: to block, and to lift.
    Typed([(&'static str, &'static str); 2]),
}

/// One of those that are measured.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) name: &'static str,
    home: Arc<Home>,
    entrance: File,
    way: Way,
    blocks: Blocks,
    pub(super) adds: Samples,
    pub(super) deletes: Samples,
    /// It takes part in one of so many rounds.
    stride: usize,
    /// Why it has no further part.
    pub(super) failure: Option<String>,
}

impl Contestant {
    fn new(name: &'static str, home: &Arc<Home>, way: Way, blocks: Blocks) -> Contestant {
        Contestant {
            name,
            home: Arc::clone(home),
            entrance: field::entrance(&home.namespace),
            way,
            blocks,
            adds: Samples::default(),
            deletes: Samples::default(),
            stride: 1,
            failure: None,
        }
    }

    fn asked(name: &'static str, home: &Arc<Home>, blocks: Blocks) -> Contestant {
        Contestant::new(name, home, Way::Asked(home.execd()), blocks)
    }

    fn enter(&self) {
        setns(&self.entrance, CloneFlags::CLONE_NEWNET).expect("the right to enter a network namespace");
    }

    fn add(&mut self, address: &str) -> Result<Sample, String> {
        self.enter();
        match &mut self.way {
            Way::Typed([words, _]) => typed(*words, address),
            Way::Asked(execd) => asked(&self.home, &execd.request(&self.home.line(address), 3600)),
        }
    }

    fn delete(&mut self, address: &str) -> Result<Sample, String> {
        self.enter();
        match &mut self.way {
            Way::Typed([_, words]) => typed(*words, address),
            Way::Asked(execd) => {
                // Who said nothing is not told to undo it: here it is.
                let line = || self.home.line(address).command("delete");
                let run = execd.stop().pop().unwrap_or_else(|| execd.request(&line(), 0));
                asked(&self.home, &run)
            }
        }
    }

    /// A turn that is counted; how long it took.
    fn turn(&mut self) -> Result<Duration, String> {
        let address = field::fresh();
        let (add, delete) = (self.add(&address)?, self.delete(&address)?);
        self.adds.push(add);
        self.deletes.push(delete);
        Ok(add.wall + delete.wall)
    }

    /// What it blocks, as the kernel says; of a list, what the list says.
    fn listed(&self) -> BTreeSet<String> {
        let listing = match &self.blocks {
            Blocks::Nothing => String::new(),
            Blocks::Listed(words) => self.home.namespace.command(words[0], &words[1..]),
            Blocks::Written(path) => std::fs::read_to_string(path).expect("our own file"),
        };
        field::words(&listing).filter(|word| field::is_ours(word)).map(str::to_owned).collect()
    }

    /// A turn that is not counted, in which it must really block and lift.
    fn prove(&mut self, count: u32) -> Result<(), String> {
        let address = field::fresh();
        self.add(&address)?;
        let listed = self.listed();
        self.delete(&address)?;
        self.home.wait();
        if matches!(self.blocks, Blocks::Nothing) {
            return Ok(());
        }
        if !listed.contains(&address) {
            return Err("it does not block".to_owned());
        }
        if listed.len() <= count as usize {
            return Err(format!("it blocks only {}", listed.len() - 1));
        }
        let lifted = harness::eventually(Duration::from_secs(2), || !self.listed().contains(&address));
        if lifted { Ok(()) } else { Err("it does not lift".to_owned()) }
    }

    /// What came of its part in a race: it has no other one.
    fn note(&mut self, done: Result<(), String>) {
        self.failure = self.failure.take().or(done.err());
    }
}

fn asked(home: &Home, run: &Run) -> Result<Sample, String> {
    if run.status.success() && !run.outstayed {
        return Ok(Sample { wall: run.wall, cpu: run.cpu });
    }
    let log = String::from_utf8_lossy(&home.wazuh.log()).into_owned();
    let said = log.lines().next_back().and_then(|line| Some(line.split_once("\"reason\":")?.1));
    Err(format!("{}: {}", run.status, said.unwrap_or("it says nothing")))
}

fn typed((before, after): (&str, &str), address: &str) -> Result<Sample, String> {
    let mut words =
        before.split(' ').chain([address]).chain(after.split(' ')).filter(|word| !word.is_empty());
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    let (cpu, began) = (children_cpu(), Instant::now());
    let status = command.status();
    let wall = began.elapsed();
    match status {
        Ok(status) if status.success() => Ok(Sample { wall, cpu: children_cpu().saturating_sub(cpu) }),
        other => Err(format!("{other:?}")),
    }
}

fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("our own figures");
    let time = usage.user_time() + usage.system_time();
    Duration::new(time.tv_sec().unsigned_abs(), 0) + Duration::from_micros(time.tv_usec().unsigned_abs())
}

/// All contestants, where so many addresses are blocked already: as `master`,
/// custom-block with nftables, has blocked them.
pub(super) fn all(master: &Arc<Home>, program: &Path, floor: &Path, count: u32) -> Vec<Contestant> {
    let nothing = Arc::new(Home::new(floor, "auto"));
    let mut all = vec![
        Contestant::asked(FLOOR, &nothing, Blocks::Nothing),
        Contestant::asked(NFTABLES, master, BY_NFT),
    ];
    if has("ipset") {
        let home = Arc::new(Home::of_block(program, "ipset"));
        home.adopt(master, "ipset");
        // The journal says what stands: it puts all of that into the kernel.
        home.restore();
        all.push(Contestant::asked(IPSET, &home, BY_IPSET));
    }
    if has("iptables") {
        let home = Arc::new(Home::of_block(program, "iptables"));
        let address = field::fresh();
        let rules =
            home.while_blocked(&address, || home.namespace.command("iptables", &["-S", "WAZUH_BLOCK"]));
        let rule = rules.lines().find(|rule| rule.contains(&address)).expect("a rule of the one it blocks");
        let tool = ["iptables-restore", "--noflush", "FILE"];
        home.load(&tool, count, ["*filter\n", "COMMIT\n"], |it| rule.replacen(&address, it, 1) + "\n");
        home.adopt(master, "iptables");
        all.push(Contestant::asked(IPTABLES, &home, BY_IPTABLES));
    }
    let home = Arc::new(Home::of_block(program, "file"));
    home.while_blocked(&field::fresh(), || home.fill_list(count));
    home.adopt(master, "file");
    all.push(Contestant::asked(FILE, &home, Blocks::Written(home.list())));

    let tool = |name, words, blocks| {
        Contestant::new(name, &Arc::new(Home::new(floor, "auto")), Way::Typed(words), blocks)
    };
    if has("nft") {
        let typed = [
            ("nft add element inet tool blocked {", "timeout 3600s }"),
            ("nft delete element inet tool blocked {", "}"),
        ];
        let it = tool("nft add element", typed, BY_NFT);
        let head = "add table inet tool\n\
                    add set inet tool blocked { type ipv4_addr; flags timeout; }\n\
                    add chain inet tool incoming { type filter hook prerouting priority raw; }\n\
                    add rule inet tool incoming ip saddr @blocked drop\n";
        let line = |it: &str| format!("add element inet tool blocked {{ {it} timeout 3600s }}\n");
        it.home.load(&["nft", "-f", "FILE"], count, [head, ""], line);
        all.push(it);
    }
    if has("ipset") {
        let it =
            tool("ipset add", [("ipset add blocked", "timeout 3600"), ("ipset del blocked", "")], BY_IPSET);
        let head = "create blocked hash:ip timeout 0 maxelem 100000\n";
        let line = |it: &str| format!("add blocked {it} timeout 3600\n");
        it.home.load(&["ipset", "-file", "FILE", "restore"], count, [head, ""], line);
        all.push(it);
    }
    for (name, script, needs) in [(SHELL, "add.sh", "jq"), ("Python script (iptables)", "add.py", "python3")]
    {
        if has(needs) && has("iptables") {
            let home = Arc::new(Home::new(&source_tree().join("tests/bench").join(script), "auto"));
            let line = |it: &str| format!("-A INPUT -s {it}/32 -j DROP\n");
            home.load(&["iptables-restore", "--noflush", "FILE"], count, ["*filter\n", "COMMIT\n"], line);
            all.push(Contestant::asked(name, &home, BY_IPTABLES));
        }
    }
    all
}

/// Rounds in which each has a turn, until the time is over or there were
/// enough. Who is slow has a turn in some of the rounds only.
pub(super) fn race(contestants: &mut [Contestant], count: u32, rounds: usize, time: Duration) {
    for contestant in contestants.iter_mut() {
        let turn = contestant.prove(count).and_then(|()| contestant.turn());
        let turns = (time / 10).as_nanos() / turn.as_ref().map_or(1, |turn| turn.as_nanos().max(1));
        let turns = usize::try_from(turns).unwrap_or(rounds).clamp(FEWEST, rounds);
        // What all others are held against never rests.
        let rests = ![FLOOR, NFTABLES].contains(&contestant.name);
        contestant.stride = if rests { rounds.div_ceil(turns) } else { 1 };
        contestant.note(turn.map(drop));
    }
    for contestant in contestants.iter_mut() {
        (contestant.adds, contestant.deletes) = Default::default();
    }
    let end = Instant::now() + time;
    let length = contestants.len();
    for round in 0..rounds {
        for place in 0..length {
            // Nobody is always behind the same one.
            let index = (place + round) % length;
            let contestant = &mut contestants[index];
            if contestant.failure.is_none() && (round + index).is_multiple_of(contestant.stride) {
                let turn = contestant.turn();
                contestant.note(turn.map(drop));
            }
        }
        if Instant::now() > end {
            break;
        }
    }
}
