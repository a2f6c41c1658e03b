//! Runs the targets without libFuzzer: the seeds, then changes of them, always
//! the same ones in the same order.
//!
//!     mutate TARGET SECONDS FOLDER   keep what was found in FOLDER
//!     mutate TARGET FILE             check this one input

use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fuzz::{SHORT, TARGETS, Target, target};

/// A little more than the longest line that is read.
const LONGEST: usize = 1024 * 1024 + 4096;
/// No input may take longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many changed inputs are kept to be changed again.
const KEPT: usize = 4096;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [name, file] if target(name).is_some() => {
            let input = std::fs::read(file).expect("a file");
            target(name).into_iter().for_each(|target| (target.check)(&input));
        }
        [name, seconds, folder] => {
            let (Some(target), Ok(seconds)) = (target(name), seconds.parse()) else { return usage() };
            return fuzz(target, Duration::from_secs(seconds), Path::new(folder));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    eprintln!("usage: mutate TARGET SECONDS FOLDER, TARGET being one of {}", names.join(", "));
    ExitCode::from(2)
}

/// Milliseconds since the start at which the input now checked was begun.
static BEGUN: AtomicU64 = AtomicU64::new(u64::MAX);

fn fuzz(target: &Target, time: Duration, folder: &Path) -> ExitCode {
    let start = Instant::now();
    // Should the whole process end, this is what it was at.
    let current = folder.join(format!("current-{}", target.name));
    // Written over, not anew: to cut a file to nothing costs more than all else.
    let mut kept = std::fs::File::create(&current).expect("a new file");
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let begun = BEGUN.load(Ordering::Relaxed);
            if begun != u64::MAX && start.elapsed() > Duration::from_millis(begun) + PATIENCE {
                eprintln!("an input took longer than {PATIENCE:?}");
                std::process::abort();
            }
        }
    });
    let mut inputs = (target.seeds)();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut count, mut slowest) = (0_usize, Duration::ZERO);
    let seeds = inputs.len();
    while count < seeds || start.elapsed() < time {
        let input = match inputs.get(count).filter(|_| count < seeds) {
            Some(seed) => seed.clone(),
            None => {
                let mut at = dice.below(inputs.len());
                while inputs[at].len() > SHORT && dice.below(32) != 0 {
                    at = dice.below(inputs.len());
                }
                let mut input = inputs[at].clone();
                for _ in 0..=dice.below(4) {
                    change(&mut input, &inputs, target.words, &mut dice);
                }
                input.truncate(LONGEST);
                input
            }
        };
        let length = u64::try_from(input.len()).unwrap_or(u64::MAX);
        kept.rewind().and_then(|()| kept.write_all(&input)).and_then(|()| kept.set_len(length)).expect("our own file");
        let begun = Instant::now();
        BEGUN.store(u64::try_from((begun - start).as_millis()).unwrap_or(0), Ordering::Relaxed);
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.check)(&input)));
        BEGUN.store(u64::MAX, Ordering::Relaxed);
        slowest = slowest.max(begun.elapsed());
        count += 1;
        if outcome.is_err() {
            eprintln!("{}: input {count} is kept as {}", target.name, current.display());
            return ExitCode::FAILURE;
        }
        // Short ones only, that there is time for many.
        if count > seeds && input.len() <= SHORT && dice.below(64) == 0 {
            if inputs.len() < KEPT {
                inputs.push(input);
            } else {
                let at = seeds + dice.below(KEPT - seeds);
                inputs[at] = input;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    println!("{}: {count} inputs in {seconds:.1} s, {rate:.0} a second, the slowest {slowest:.1?}", target.name);
    let _ = std::fs::remove_file(&current);
    ExitCode::SUCCESS
}

/// Changes an input a little.
fn change(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str], dice: &mut Dice) {
    let length = input.len();
    let at = dice.below(length + 1);
    let end = at + dice.below((length - at).min(64) + 1);
    match dice.below(10) {
        0 if at < length => input[at] ^= 1 << dice.below(8),
        1 if at < length => input[at] = *dice.of(&[0, 1, 4, 8, 0x7f, 0x80, 0xff, b'"', b'\\', b'\n', b'{', b'[']),
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = input[at..end].to_vec();
            let to = dice.below(length + 1);
            input.splice(to..to, piece);
        }
        4 | 5 => drop(input.splice(at..at, dice.of(words).bytes())),
        6 => drop(input.splice(at..end, dice.of(words).bytes())),
        7 => {
            let other = &others[dice.below(others.len())];
            let from = dice.below(other.len() + 1);
            let until = from + dice.below((other.len() - from).min(4096) + 1);
            input.splice(at..end, other[from..until].iter().copied());
        }
        8 => drop(input.splice(at..at, [dice.below(256) as u8])),
        // Now and then very often the same.
        _ if dice.below(200) == 0 && end > at => {
            let piece = input[at..end].repeat(LONGEST / (end - at) / (1 + dice.below(64)));
            input.splice(at..at, piece);
        }
        _ => input.truncate(at.max(length / 2)),
    }
}

/// Numbers that are always the same (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
