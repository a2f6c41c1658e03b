use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::SystemTime;

use super::*;

const START: u64 = 1_000_000;

/// A clock that only moves when somebody sleeps or sends.
#[derive(Clone, Default)]
struct Fake(Rc<Cell<u64>>);

impl Clock for Fake {
    fn now(&self) -> u64 {
        START + self.0.get()
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.get())
    }
    fn sleep(&self, time: Duration) {
        self.0.set(self.0.get() + time.as_secs().max(1));
    }
}

fn item(api: &str, target: &str, want: Want) -> Item {
    Item {
        api: api.into(),
        target: target.parse().unwrap(),
        want,
        until: Some(START + 600),
        program: "custom-block".into(),
        rule: "5712".into(),
        alert: "1.2".into(),
        agent: "web".into(),
        reason: "test".into(),
        queued_at: START,
        attempts: 0,
        not_before: 0,
    }
}

fn done() -> Sent {
    Sent::Done { already: false }
}

fn later() -> Sent {
    Sent::Later { reason: "down".into(), retry_after: None }
}

fn refused(all: bool) -> Sent {
    Sent::Refused { reason: "no".into(), all }
}

/// Runs a worker; returns what it did, what it sent and what it reported.
fn run(
    dir: &Path,
    clock: &Fake,
    mut send: impl FnMut(&Item) -> Sent,
) -> (Run, Vec<(String, Want)>, Vec<Outcome>) {
    let sent = RefCell::new(Vec::new());
    let mut outcomes = Vec::new();
    let run = deliver(
        dir,
        &Limits::default(),
        clock,
        &mut |item| {
            sent.borrow_mut().push((format!("{} {}", item.api, item.target), item.want));
            send(item)
        },
        &mut |_, outcome| outcomes.push(outcome.clone()),
    )
    .unwrap();
    (run, sent.into_inner(), outcomes)
}

fn temp() -> (tempfile::TempDir, std::path::PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("outbox");
    (temp, dir)
}

#[test]
fn the_newest_want_for_a_target_wins() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    put(&dir, &item("fw", "192.0.2.1", Want::Delete)).unwrap();
    put(&dir, &item("other", "192.0.2.1", Want::Add)).unwrap();
    put(&dir, &item("fw", "2001:db8::/32", Want::Add)).unwrap();
    assert_eq!(pending(&dir).unwrap().len(), 3);
    let (run, mut sent, _) = run(&dir, &Fake::default(), |_| done());
    sent.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("fw 192.0.2.1".to_owned(), Want::Delete),
        ("fw 2001:db8::/32".to_owned(), Want::Add),
        ("other 192.0.2.1".to_owned(), Want::Add),
    ];
    assert_eq!(sent, expected);
    assert_eq!(run, Run { delivered: 3, left: 0, busy: false });
    assert!(pending(&dir).unwrap().is_empty());
}

#[test]
fn only_we_can_read_and_write_the_outbox() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(dir.join("fw@192.0.2.1.json")).unwrap().mode() & 0o777, 0o600);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(put(&dir, &item("fw", "192.0.2.1", Want::Add)).is_err());
    assert!(pending(&dir).is_err());
    let link = dir.with_file_name("link");
    symlink(&dir, &link).unwrap();
    assert!(put(&link, &item("fw", "192.0.2.1", Want::Add)).is_err());
}

#[test]
fn the_name_of_an_api_cannot_lead_out_of_the_directory() {
    let (_temp, dir) = temp();
    for api in ["", "../x", "a/b", ".hidden", "a b", &"x".repeat(65)] {
        assert!(put(&dir, &item(api, "192.0.2.1", Want::Add)).is_err(), "{api:?}");
    }
}

#[test]
fn an_outbox_that_does_not_exist_is_empty_and_stays_so() {
    let (_temp, dir) = temp();
    assert!(pending(&dir).unwrap().is_empty());
    assert_eq!(run(&dir, &Fake::default(), |_| done()).0, Run::default());
    assert!(!dir.exists());
}

#[test]
fn long_texts_are_cut_between_characters() {
    let (_temp, dir) = temp();
    let mut long = item("fw", "192.0.2.1", Want::Add);
    long.reason = "é".repeat(100_000);
    long.agent = "\u{1}".repeat(100_000);
    put(&dir, &long).unwrap();
    assert_eq!(pending(&dir).unwrap()[0].reason, "é".repeat(512));
}

#[test]
fn an_add_whose_time_is_over_is_not_sent() {
    let (_temp, dir) = temp();
    let over = |want| Item { until: Some(START), ..item("fw", "192.0.2.1", want) };
    put(&dir, &over(Want::Add)).unwrap();
    let (_, sent, outcomes) = run(&dir, &Fake::default(), |_| done());
    assert_eq!((sent.len(), outcomes), (0, vec![Outcome::Expired]));
    put(&dir, &over(Want::Delete)).unwrap();
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 1);
}

#[test]
fn what_fails_is_tried_again_ever_more_slowly_and_within_the_budget() {
    let (_temp, dir) = temp();
    let clock = Fake::default();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    let mut at = Vec::new();
    let (first, ..) = run(&dir, &clock, |_| {
        at.push(clock.0.get());
        later()
    });
    assert_eq!(first.left, 1);
    assert!((4..=6).contains(&at.len()) && at.windows(3).all(|w| w[2] - w[1] > w[1] - w[0]), "{at:?}");
    let left = &pending(&dir).unwrap()[0];
    assert_eq!(left.attempts as usize, at.len());
    assert!(left.not_before > START + 60);
    // The next worker has time: it waits for the turn.
    clock.0.set(left.not_before - START - 5);
    assert_eq!(run(&dir, &clock, |_| done()).0.delivered, 1);
}

#[test]
fn retry_after_is_obeyed_by_all_of_that_api_and_by_no_other_and_is_capped() {
    let (_temp, dir) = temp();
    for n in 1..=5 {
        put(&dir, &item("fw", &format!("192.0.2.{n}"), Want::Add)).unwrap();
        put(&dir, &item("other", &format!("192.0.2.{n}"), Want::Add)).unwrap();
    }
    let clock = Fake::default();
    let (_, sent, _) = run(&dir, &clock, |item| match item.api.as_str() {
        "fw" if clock.0.get() < 30 => Sent::Later { reason: "slow".into(), retry_after: Some(30) },
        _ => done(),
    });
    let early = sent.iter().filter(|(name, _)| name.starts_with("fw")).count();
    assert_eq!(early, 6, "one, then all five: {sent:?}");
    put(&dir, &item("fw", "192.0.2.9", Want::Delete)).unwrap();
    let now = clock.now();
    let asked = Sent::Later { reason: "slow".into(), retry_after: Some(u64::MAX) };
    let (_, _, outcomes) = run(&dir, &clock, |_| asked.clone());
    assert!(matches!(outcomes[..], [Outcome::Retry { at, .. }] if at == now + LONGEST_RETRY_AFTER));
}

#[test]
fn an_api_that_is_down_costs_one_attempt_and_not_one_for_each_item() {
    let (_temp, dir) = temp();
    for n in 0..200 {
        put(&dir, &item("fw", &format!("192.0.2.{n}"), Want::Add)).unwrap();
    }
    let clock = Fake::default();
    let (run, sent, _) = run(&dir, &clock, |_| {
        clock.sleep(Duration::from_secs(10));
        later()
    });
    assert!(sent.len() <= 5 && run.left == 200, "{}", sent.len());
}

#[test]
fn one_refused_address_does_not_hold_up_the_others() {
    let (_temp, dir) = temp();
    for n in 0..50 {
        put(&dir, &item("fw", &format!("192.0.2.{n}"), Want::Add)).unwrap();
    }
    let bad = "192.0.2.7".parse().unwrap();
    let (run, ..) =
        run(&dir, &Fake::default(), |item| if item.target == bad { refused(false) } else { done() });
    assert_eq!((run.delivered, run.left), (49, 1));
}

#[test]
fn an_add_that_is_refused_again_and_again_is_dropped_and_a_delete_is_not() {
    let (_temp, dir) = temp();
    let mut counts = Vec::new();
    for want in [Want::Add, Want::Delete] {
        let clock = Fake::default();
        put(&dir, &Item { until: None, ..item("fw", "192.0.2.1", want) }).unwrap();
        let mut tries = 0;
        let mut last = None;
        while !pending(&dir).unwrap().is_empty() {
            let (_, sent, outcomes) = run(&dir, &clock, |_| refused(true));
            tries += sent.len();
            last = outcomes.last().cloned().or(last);
            clock.sleep(Duration::from_secs(600));
        }
        counts.push((tries, last.unwrap(), clock.0.get()));
    }
    let (adds, outcome, _) = &counts[0];
    assert_eq!((*adds, outcome), (8, &Outcome::Rejected { reason: "no".into() }));
    let (deletes, outcome, took) = &counts[1];
    assert!((100..200).contains(deletes), "about one an hour for a week: {deletes}");
    assert_eq!(outcome, &Outcome::Expired);
    assert!((7 * 86_400..7 * 86_400 + 3600).contains(took), "{took}");
}

#[test]
fn what_can_never_be_sent_is_dropped_at_once() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.0/24", Want::Delete)).unwrap();
    let (run, _, outcomes) = run(&dir, &Fake::default(), |_| Sent::Never { reason: "hosts only".into() });
    assert_eq!((run.left, outcomes), (0, vec![Outcome::Rejected { reason: "hosts only".into() }]));
}

#[test]
fn a_newer_want_put_while_the_older_one_is_sent_is_never_overwritten() {
    for (answer, first) in
        [(later(), None), (refused(false), None), (done(), Some(Outcome::Delivered { already: false }))]
    {
        let (_temp, dir) = temp();
        put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
        let mut tries = 0;
        let (run, sent, outcomes) = run(&dir, &Fake::default(), |_| {
            tries += 1;
            if tries > 1 {
                return done();
            }
            put(&dir, &item("fw", "192.0.2.1", Want::Delete)).unwrap();
            answer.clone()
        });
        assert_eq!(sent.iter().map(|(_, want)| *want).collect::<Vec<_>>(), [Want::Add, Want::Delete]);
        assert_eq!(run.left, 0);
        match first {
            Some(first) => assert_eq!(outcomes[0], first),
            None => assert!(matches!(outcomes[0], Outcome::Superseded { .. }), "{outcomes:?}"),
        }
        assert_eq!(outcomes[1], Outcome::Delivered { already: false });
    }
}

#[test]
fn what_a_dead_worker_was_sending_is_sent_by_the_next() {
    let (_temp, dir) = temp();
    for newer in [None, Some(Want::Delete)] {
        put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
        let store = Store::open(&dir).unwrap().unwrap();
        drop(store.lock().unwrap().unwrap());
        drop(store.claim(&item("fw", "192.0.2.1", Want::Add)).unwrap().unwrap());
        assert!(dir.join("sending/fw@192.0.2.1.json").exists());
        assert_eq!(pending(&dir).unwrap().len(), 1, "what is being sent is not delivered yet");
        if let Some(want) = newer {
            put(&dir, &item("fw", "192.0.2.1", want)).unwrap();
        }
        let (_, sent, _) = run(&dir, &Fake::default(), |_| done());
        assert_eq!(sent, [("fw 192.0.2.1".to_owned(), newer.unwrap_or(Want::Add))]);
        assert!(fs::read_dir(dir.join("sending")).unwrap().next().is_none());
    }
}

#[test]
fn a_worker_that_died_between_putting_back_and_letting_go_costs_nothing() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    fs::create_dir(dir.join("sending")).unwrap();
    fs::hard_link(dir.join("fw@192.0.2.1.json"), dir.join("sending/fw@192.0.2.1.json")).unwrap();
    fs::hard_link(dir.join("fw@192.0.2.1.json"), dir.join(".new-1-2-3")).unwrap();
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 1);
    assert!(pending(&dir).unwrap().is_empty());
}

#[test]
fn a_half_written_file_is_not_an_item_and_goes_away_in_time() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    let (young, old) = (dir.join(".new-1-1-1"), dir.join(".new-2-2-2"));
    fs::write(&young, "{\"api\":\"fw\",\"targ").unwrap();
    fs::write(&old, "{\"api\":\"fw\",\"targ").unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().write(true).open(&old).unwrap().set_modified(yesterday).unwrap();
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 1);
    assert!(young.exists() && !old.exists());
}

#[test]
fn what_is_no_item_is_set_aside_and_only_some_of_it_is_kept() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    fs::copy(dir.join("fw@192.0.2.1.json"), dir.join("fw@192.0.2.2.json")).unwrap();
    fs::write(dir.join("empty.json"), "").unwrap();
    fs::write(dir.join("binary.json"), [0xff; 100]).unwrap();
    fs::write(dir.join("long.json"), "x".repeat(10_000_000)).unwrap();
    fs::create_dir(dir.join("directory.json")).unwrap();
    symlink("/etc/passwd", dir.join("link.json")).unwrap();
    nix::unistd::mkfifo(&dir.join("fifo.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for n in 0..50 {
        fs::write(dir.join(format!("{n}.json")), "{").unwrap();
    }
    let (run, sent, _) = run(&dir, &Fake::default(), |_| done());
    assert_eq!((run.left, sent.len()), (0, 1));
    assert_eq!(fs::read_dir(dir.join("bad")).unwrap().count(), 16);
    let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".json")), "{names:?}");
}

#[test]
fn garbage_in_sending_does_not_stop_a_worker() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    fs::create_dir_all(dir.join("sending/dir.json")).unwrap();
    fs::write(dir.join("sending/x.json"), "{").unwrap();
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 1);
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 0);
}

#[test]
fn a_second_worker_leaves_at_once_and_the_first_looks_again_before_it_goes() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    let (_, sent, _) = run(&dir, &Fake::default(), |first| {
        if first.target == "192.0.2.1".parse().unwrap() {
            put(&dir, &item("fw", "192.0.2.2", Want::Add)).unwrap();
            let (second, sent, _) = run(&dir, &Fake::default(), |_| done());
            assert_eq!((second, sent.len()), (Run { busy: true, ..Run::default() }, 0));
        }
        done()
    });
    assert_eq!(sent.len(), 2);
}

#[test]
fn a_clock_that_was_wrong_does_not_hold_an_item_back() {
    let (_temp, dir) = temp();
    put(&dir, &Item { not_before: START * 1000, ..item("fw", "192.0.2.1", Want::Add) }).unwrap();
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 1);
}

#[test]
fn an_item_of_an_older_or_newer_program_is_read() {
    let (_temp, dir) = temp();
    put(&dir, &item("fw", "192.0.2.1", Want::Add)).unwrap();
    let path = dir.join("fw@192.0.2.1.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(",\"refused\":0", "").replacen('{', "{\"new\":[1],", 1)).unwrap();
    assert_eq!(run(&dir, &Fake::default(), |_| done()).1.len(), 1);
}

#[test]
fn backoff_doubles_up_to_its_cap_with_some_jitter() {
    for (nth, low, high) in
        [(0, 2, 2), (1, 2, 2), (2, 4, 5), (3, 8, 10), (9, 512, 640), (u32::MAX, 900, 1125)]
    {
        let wait = backoff(RETRY, nth);
        assert!((low..=high).contains(&wait), "{nth}: {wait}");
    }
    assert!(backoff(REFUSED, 100) < LONGEST_WAIT);
}

#[test]
fn the_last_want_of_every_target_is_the_last_one_sent_however_writers_and_workers_race() {
    let (_temp, dir) = temp();
    const WRITERS: u64 = 4;
    const PUTS: u64 = 300;
    let sent = std::sync::Mutex::new(BTreeMap::new());
    let writing = std::sync::atomic::AtomicBool::new(true);
    let work = || {
        let mut send = |item: &Item| {
            sent.lock().unwrap().insert(item.target, item.until);
            done()
        };
        deliver(&dir, &Limits::default(), &SystemClock::new(), &mut send, &mut |_, _| ()).unwrap();
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let dir = &dir;
                scope.spawn(move || {
                    let now = SystemClock::new().now();
                    for n in 0..PUTS {
                        let target = format!("10.0.{writer}.{}", n % 3);
                        let until = Some(now + 1_000_000 + n);
                        put(dir, &Item { until, queued_at: now, ..item("fw", &target, Want::Add) }).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while writing.load(std::sync::atomic::Ordering::Relaxed) {
                    work();
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    work();
    assert!(pending(&dir).unwrap().is_empty());
    let sent = sent.into_inner().unwrap();
    assert_eq!(sent.len() as u64, 3 * WRITERS);
    // The last three puts of a writer went to its three targets.
    let lasts: Vec<u64> = sent.values().filter_map(|until| *until).collect();
    for writer in lasts.chunks(3) {
        assert!(writer.windows(2).all(|w| w[1] == w[0] + 1), "{lasts:?}");
    }
}

/// Where the killed child of the next test works.
const CHILD: &str = "OUTBOX_TEST_CHILD";

#[test]
fn whoever_is_killed_at_any_moment_loses_nothing() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return put_and_deliver_until_killed(Path::new(&dir));
    }
    let (_temp, dir) = temp();
    let mut promised: BTreeMap<Target, u64> = BTreeMap::new();
    let mut seen: BTreeMap<Target, u64> = BTreeMap::new();
    let note = |map: &mut BTreeMap<Target, u64>, target: &str, n: &str| {
        let Ok(n) = n.parse::<u64>() else { return };
        let newest = map.entry(target.parse().unwrap()).or_default();
        *newest = n.max(*newest);
    };
    // On a busy machine some get nowhere.
    for round in 0..100_u64 {
        if round >= 25 && promised.len() == 5 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "outbox::tests::whoever_is_killed_at_any_moment_loses_nothing", "--nocapture"])
            .env(CHILD, &dir)
            .env("OUTBOX_TEST_FIRST", (round * 1_000_000 + 1).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        std::thread::sleep(Duration::from_millis(20 + round % 25 * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["put", target, n] => note(&mut promised, target, n),
                ["sent", target, n] => note(&mut seen, target, n),
                _ => {}
            }
        }
    }
    let (run, ..) = run(&dir, &Fake::default(), |item| {
        note(&mut seen, &item.target.to_string(), &item.alert);
        done()
    });
    assert_eq!(run.left, 0);
    assert!(promised.len() == 5, "the children got nowhere: {promised:?}");
    for (target, n) in promised {
        assert!(seen.get(&target).is_some_and(|sent| *sent >= n), "{target}: {n} of {seen:?}");
    }
    assert!(!dir.join("bad").exists() || fs::read_dir(dir.join("bad")).unwrap().next().is_none());
}

/// Puts, says so, and delivers every third time; some deliveries fail.
#[allow(clippy::print_stdout)]
fn put_and_deliver_until_killed(dir: &Path) {
    let first: u64 = std::env::var("OUTBOX_TEST_FIRST").unwrap().parse().unwrap();
    for n in first.. {
        let target = format!("192.0.2.{}", n % 5);
        put(dir, &Item { alert: n.to_string(), ..item("fw", &target, Want::Add) }).unwrap();
        println!("put {target} {n}");
        if n % 3 == 0 {
            run(dir, &Fake::default(), |item| {
                if item.attempts == 0 && n % 2 == 0 {
                    return later();
                }
                println!("sent {} {}", item.target, item.alert);
                done()
            });
        }
    }
}
