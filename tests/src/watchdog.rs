//! Ends a process that outstays its time, so that a test of a hanging program
//! fails instead of hanging.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How late it may be.
const STEP: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Watch {
    over: bool,
    /// The leader of the process group, and when its time is over.
    group: Option<(Pid, Instant)>,
    ended: bool,
}

/// A thread that watches one process group after another. One thread serves
/// all runs of a fake execd, because a thread each would show in measurements.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Mutex<Watch>>);

fn open(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchdog {
    pub(crate) fn new() -> Watchdog {
        let shared = Arc::new(Mutex::new(Watch::default()));
        let watch = Arc::clone(&shared);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(STEP);
                let mut watch = open(&watch);
                if watch.over {
                    return;
                }
                if let Some((group, end)) = watch.group
                    && Instant::now() >= end
                {
                    // It may have ended by itself just now.
                    let _ = killpg(group, Signal::SIGKILL);
                    watch.group = None;
                    watch.ended = true;
                }
            }
        });
        Watchdog(shared)
    }

    /// From now on this group is watched.
    pub(crate) fn watch(&self, group: Pid, end: Instant) {
        *open(&self.0) = Watch { over: false, group: Some((group, end)), ended: false };
    }

    /// The group's leader has been waited for. True when it was ended by us.
    pub(crate) fn done(&self) -> bool {
        let mut watch = open(&self.0);
        watch.group = None;
        watch.ended
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        open(&self.0).over = true;
    }
}
