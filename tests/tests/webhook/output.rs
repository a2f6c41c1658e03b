//! The file that Wazuh's agent follows: how fast it grows, how it is replaced,
//! and what was there before.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::eventually;
use harness::webhook::follower::{Follower, READ};
use harness::webhook::lines;
use harness::webhook::{Daemon, Receiver, event, login};
use serde_json::{Value, json};

use crate::receiver;

const PATIENCE: Duration = Duration::from_secs(20);

/// So many events with one request, each line of it with some 500 bytes.
fn burst(daemon: &Daemon, first: usize, count: usize) {
    let one = |n: usize| {
        json!({"action": "api_call", "user": format!("u{n}"), "details": {"note": "n".repeat(300)}})
            .to_string()
    };
    let numbers: Vec<usize> = (first..first + count).collect();
    for some in numbers.chunks(500) {
        let lines: Vec<String> = some.iter().map(|n| one(*n)).collect();
        daemon.expect(200, &event(&lines.join("\n")).with("Content-Type", "application/x-ndjson"));
    }
}

/// These users, in this order, each once.
#[track_caller]
fn are(lines: &[Value], count: usize) {
    let users: Vec<&str> = lines.iter().filter_map(|line| line["dstuser"].as_str()).collect();
    let all: BTreeSet<&str> = users.iter().copied().collect();
    assert_eq!((users.len(), all.len()), (count, count), "lost or twice");
    assert!(users.iter().enumerate().all(|(n, user)| *user == format!("u{n}")), "in another order");
}

#[test]
fn lines_are_put_out_no_faster_than_an_agent_sends_them() {
    let receiver = receiver("events_per_second = 100\n");
    let daemon = receiver.start();
    let began = Instant::now();
    burst(&daemon, 0, 600);
    assert!(began.elapsed() < Duration::from_secs(2), "nobody who sends waits for that");
    assert!(daemon.metric("spool_lines").unwrap() > 300.0);
    let mut last = 0;
    assert!(eventually(PATIENCE, || {
        last = receiver.output().of("application").len();
        let seconds = began.elapsed().as_secs_f64();
        // A second's worth at once, and then so many in each.
        assert!((last as f64) <= 100.0 + 100.0 * seconds + 5.0, "{last} lines in {seconds} s");
        last == 600
    }));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    daemon.drained();
    are(&receiver.output().of("application"), 600);
}

#[test]
fn a_stop_while_lines_wait_loses_none_of_them() {
    let receiver = receiver("events_per_second = 20\n");
    let daemon = receiver.start();
    burst(&daemon, 0, 500);
    daemon.stop();
    assert!(receiver.output().of("application").len() < 100);
    receiver.configure("events_per_second = 0\n", &receiver.sources(""));
    let daemon = receiver.start();
    daemon.drained();
    are(&receiver.output().of("application"), 500);
}

/// The renamed files, once there are so many.
fn rotated(receiver: &Receiver, count: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    eventually(PATIENCE, || {
        found = receiver.output().rotated();
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:?}");
    found
}

#[test]
fn a_reader_that_follows_by_inode_has_every_line_once() {
    // As often as an agent reads, and looks for a rename oftener than it does.
    for look in [3, 11] {
        let receiver = receiver("events_per_second = 0\nrotate_megabytes = 1\n");
        let daemon = receiver.start();
        let follower = Follower::start(receiver.output().path(), READ, Duration::from_secs(look));
        burst(&daemon, 0, 500);
        std::thread::sleep(Duration::from_secs(1));
        // Beyond a megabyte, and on and on while it is being replaced.
        for n in 1..8 {
            burst(&daemon, 500 * n, 500);
        }
        let mut sent = 4000;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(14) {
            burst(&daemon, sent, 10);
            sent += 10;
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon.drained();
        let old = rotated(&receiver, 1);
        let read = follower.stop();
        are(
            &read.lines.iter().filter(|line| line["source"] == "application").cloned().collect::<Vec<_>>(),
            sent,
        );
        assert_eq!((read.rotations, read.truncations), (1, 0));
        are(&receiver.output().of("application"), sent);
        // Between its last line and its new name an agent has read all of it.
        let meta = std::fs::metadata(&old[0]).unwrap();
        let quiet =
            (meta.ctime() - meta.mtime()) as f64 + (meta.ctime_nsec() - meta.mtime_nsec()) as f64 / 1e9;
        assert!(quiet > 4.0, "renamed {quiet} s after its last line");
    }
}

#[test]
fn two_rotations_are_farther_apart_than_two_looks_of_an_agent() {
    // It looks every 64 seconds: a file that came and went in between is lost.
    let receiver = receiver("events_per_second = 0\nrotate_megabytes = 1\nkeep = 5\n");
    let daemon = receiver.start();
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(60) {
        burst(&daemon, sent, 500);
        sent += 500;
        std::thread::sleep(Duration::from_millis(500));
    }
    let old = receiver.output().rotated();
    assert_eq!(old.len(), 1, "{old:?}");
    // Nor does a new start forget when that was.
    daemon.kill();
    let daemon = receiver.start();
    burst(&daemon, sent, 2500);
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(receiver.output().rotated(), old);
    daemon.drained();
    are(&receiver.output().of("application"), sent + 2500);
}

#[test]
fn so_many_old_files_are_kept_and_other_peoples_files_are_not_touched() {
    let receiver = receiver("events_per_second = 0\nrotate_megabytes = 1\nkeep = 3\n");
    let folder = receiver.dir().join("log");
    let others = [
        "events.json.bak",
        "events.json.2020-01-01T00-00-00.gz",
        "events.json.1",
        "other.json.2020-01-01T00-00-00",
    ];
    let dated = [1, 2, 3, 4, 5].map(|day| format!("events.json.2020-01-0{day}T00-00-00"));
    for name in others.iter().copied().chain(dated.iter().map(String::as_str)) {
        std::fs::write(folder.join(name), "").unwrap();
    }
    let daemon = receiver.start();
    burst(&daemon, 0, 2500);
    let is_there = |name: &str| folder.join(name).exists();
    assert!(eventually(PATIENCE, || !is_there(&dated[2])), "nothing was replaced");
    daemon.drained();
    assert!(others.iter().all(|name| is_there(name)));
    assert_eq!(
        dated.iter().map(|name| is_there(name)).collect::<Vec<_>>(),
        [false, false, false, true, true]
    );
    let new: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(new.len(), others.len() + 2 + 1 + 1, "{new:?}");
}

#[test]
fn a_file_of_yesterday_is_replaced_where_that_is_wanted() {
    for (daily, count) in [(true, 1), (false, 0)] {
        let receiver = receiver(&format!("rotate_daily = {daily}\n"));
        let daemon = receiver.start();
        daemon.expect(200, &login("u0"));
        daemon.lines("application", 1);
        daemon.stop();
        let file = File::options().append(true).open(receiver.output().path()).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(24 * 3600)).unwrap();
        let daemon = receiver.start();
        std::thread::sleep(Duration::from_secs(if daily { 0 } else { 7 }));
        rotated(&receiver, count);
        daemon.expect(200, &login("u1"));
        daemon.drained();
        are(&receiver.output().of("application"), 2);
    }
}

#[test]
fn an_empty_file_is_of_the_day_of_its_first_line() {
    let receiver = receiver("rotate_daily = true\n");
    // A zone in which it is midnight in five seconds.
    let now = harness::webhook::sign::now();
    let ahead = (86_400 - 5 + 86_400 - now % 86_400) % 86_400;
    let zone = format!("TZ=TEST-{}:{:02}:{:02}", ahead / 3600, ahead / 60 % 60, ahead % 60);
    let daemon = receiver.start_behind(&["env", &zone]);
    daemon.lines("custom-webhook", 1);
    std::fs::remove_file(receiver.output().path()).unwrap();
    std::thread::sleep(Duration::from_secs(7));
    daemon.expect(200, &login("u0"));
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(receiver.output().rotated(), Vec::<PathBuf>::new());
    assert_eq!(receiver.output().of("application").len(), 1);
}

#[test]
fn half_a_line_that_a_crash_left_is_finished() {
    // Cut anywhere: between lines, within the last one, before its newline.
    let cuts: [fn(usize, usize) -> usize; 6] = [
        |last, _| last,
        |last, _| last + 1,
        |last, _| last + 50,
        |_, end| end - 12,
        |_, end| end - 1,
        |_, end| end,
    ];
    for cut in cuts {
        let receiver = receiver("");
        let daemon = receiver.start();
        (0..10).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
        daemon.drained();
        let whole = std::fs::read(receiver.output().path()).unwrap();
        daemon.kill();
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let at = cut(last, whole.len());
        std::fs::write(receiver.output().path(), &whole[..at]).unwrap();
        let daemon = receiver.start();
        daemon.drained();
        let now = std::fs::read(receiver.output().path()).unwrap();
        assert!(now.starts_with(&whole), "cut at {at} of {}: {}", whole.len(), String::from_utf8_lossy(&now));
        assert!(receiver.output().rotated().is_empty());
        are(&receiver.output().of("application"), 10);
    }
}

#[test]
fn behind_what_nobody_can_finish_a_new_file_is_begun() {
    for torn in [
        &b"{\"source\":\"somebody else"[..],
        b"\0\0\0\0\0\0\0\0",
        b"{\"toolkit\":\"custom-webhook\",\"source\":\"github\",\"ev",
        &[b'x'; 300_000],
    ] {
        let receiver = receiver("");
        let daemon = receiver.start();
        (0..5).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
        daemon.drained();
        daemon.kill();
        let before = std::fs::read(receiver.output().path()).unwrap();
        std::fs::write(receiver.output().path(), [&before, torn].concat()).unwrap();
        let daemon = receiver.start();
        (5..10).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
        let old = rotated(&receiver, 1);
        daemon.drained();
        assert_eq!(std::fs::read(&old[0]).unwrap(), [&before, torn].concat(), "the old one as it was");
        let torn = String::from_utf8_lossy(&torn[..8]).into_owned();
        let mut all = lines::read(&before, "the old one");
        all.extend(lines::read(&std::fs::read(receiver.output().path()).unwrap(), "the new one"));
        all.retain(|line| line["source"] == "application");
        assert_eq!(all.len(), 10, "behind {torn:?}");
        are(&all, 10);
    }
}

type Make<'a> = &'a dyn Fn(&Path);

#[test]
fn an_output_that_is_no_plain_file_is_refused() {
    let receiver = receiver("");
    let (output, victim) = (receiver.output(), receiver.dir().join("victim"));
    std::fs::write(&victim, "untouched").unwrap();
    let kinds: [(&str, i32, Make<'_>); 6] = [
        ("a link", 1, &|path| symlink(&victim, path).unwrap()),
        ("a dangling link", 1, &|path| symlink(receiver.dir().join("new"), path).unwrap()),
        ("a second name", 1, &|path| std::fs::hard_link(&victim, path).unwrap()),
        ("a pipe", 1, &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a folder", 78, &|path| std::fs::create_dir(path).unwrap()),
        ("a socket", 1, &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (what, code, make) in kinds {
        make(output.path());
        let ended = receiver.refused();
        assert_eq!((ended.code, ended.signal), (Some(code), None), "{what}: {}", ended.log);
        let word = if code == 78 { "that of a folder" } else { "events.json" };
        assert!(ended.log.contains(word), "{what}: {}", ended.log);
        let _ = std::fs::remove_file(output.path());
        let _ = std::fs::remove_dir(output.path());
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(!receiver.dir().join("new").exists());
    // Nor is a folder followed that is a link.
    let (folder, elsewhere) = (receiver.dir().join("log"), receiver.dir().join("elsewhere"));
    std::fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    assert_eq!(receiver.refused().code, Some(1));
}

#[test]
fn a_path_that_is_a_folders_is_refused_before_anything_is_started() {
    let receiver = receiver("");
    let folder = receiver.dir().join("log").display().to_string();
    for path in [&folder, &format!("{folder}/"), &format!("{folder}/new/"), &format!("{folder}/new/.")] {
        receiver.configure(&format!("output = {path:?}\n"), &receiver.sources(""));
        let checked = receiver.verb(&["--check-config"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(78), "{path}: {said}");
        assert!(said.contains("output") && said.contains("folder"), "{path}: {said}");
    }
    std::fs::remove_file(receiver.config()).unwrap();
    let checked = receiver.verb(&["--check-config"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("custom-webhook.toml: there is no such file"), "{said}");
}

#[test]
fn of_a_file_that_is_removed_no_more_than_one_write_is_lost() {
    // No write has more lines than a second has; and removed is the file so
    // often that a look once a second would lose many times that.
    let most = 10;
    let receiver = receiver(&format!("events_per_second = {most}\n"));
    let daemon = receiver.start();
    burst(&daemon, 0, 250);
    let path = receiver.output().path().to_owned();
    let lines_of = |mut file: &File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        lines::read(&bytes, "what was removed")
    };
    let begun =
        || assert!(eventually(PATIENCE, || std::fs::metadata(&path).is_ok_and(|file| file.len() > 0)));
    let mut removed = Vec::new();
    for _ in 0..5 {
        begun();
        std::thread::sleep(Duration::from_millis(300));
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let there = lines_of(&file).len();
        removed.push((file, there));
    }
    begun();
    daemon.stop();
    let lost: usize = removed.iter().map(|(file, there)| lines_of(file).len() - there).sum();
    assert!(lost <= most, "{lost} lines went where nobody reads them");
    let mut all: Vec<Value> = removed.iter().flat_map(|(file, _)| lines_of(file)).collect();
    all.extend(receiver.output().lines());
    all.retain(|line| line["source"] == "application");
    are(&all, all.len());
}

#[test]
fn a_file_that_somebody_moves_or_removes_is_begun_anew() {
    let receiver = receiver("");
    let daemon = receiver.start();
    let (path, aside) = (receiver.output().path().to_owned(), receiver.dir().join("aside"));
    let mut all = Vec::new();
    let mut sent = 0;
    let mut send = || {
        sent += 1;
        daemon.expect(200, &login(&format!("u{}", sent - 1)));
        daemon.drained();
    };
    send();
    std::fs::rename(&path, &aside).unwrap();
    all.extend(lines::read(&std::fs::read(&aside).unwrap(), "aside"));
    // What was written in between may stand in the one or in the other.
    assert!(
        eventually(PATIENCE, || {
            send();
            path.exists()
        }),
        "it goes on in a file that nobody follows"
    );
    let moved = lines::read(&std::fs::read(&aside).unwrap(), "aside");
    all.extend(moved[all.len()..].iter().cloned());
    all.extend(lines::read(&std::fs::read(&path).unwrap(), "the new one"));
    // Another one in its place is used as it is.
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, "").unwrap();
    let known = lines::read(&std::fs::read(&aside).unwrap(), "aside").len();
    assert!(eventually(PATIENCE, || {
        send();
        std::fs::metadata(&path).unwrap().len() > 0
    }));
    all.extend(lines::read(&std::fs::read(&aside).unwrap(), "aside")[known..].iter().cloned());
    all.extend(lines::read(&std::fs::read(&path).unwrap(), "the newest one"));
    daemon.stop();
    are(&all.into_iter().filter(|line| line["source"] == "application").collect::<Vec<_>>(), sent);
}

#[test]
fn a_file_that_is_gone_does_not_stop_its_rotation() {
    let receiver = receiver("events_per_second = 0\nrotate_megabytes = 1\n");
    let daemon = receiver.start();
    burst(&daemon, 0, 2400);
    daemon.drained();
    std::fs::remove_file(receiver.output().path()).unwrap();
    burst(&daemon, 2400, 1000);
    daemon.drained();
    let written = eventually(PATIENCE, || {
        daemon.expect(200, &login("last"));
        receiver.output().path().exists()
            && receiver.output().lines().iter().any(|line| line["dstuser"] == "last")
    });
    assert!(written, "{}", daemon.log());
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
}

#[test]
fn what_was_put_out_is_not_put_out_again_when_the_file_is_taken_away() {
    // logrotate and the like, while it does not run.
    let receiver = receiver("");
    let daemon = receiver.start();
    (0..20).for_each(|n| _ = daemon.expect(200, &login(&format!("u{n}"))));
    daemon.drained();
    daemon.stop();
    let taken = receiver.dir().join("taken");
    std::fs::rename(receiver.output().path(), &taken).unwrap();
    let daemon = receiver.start();
    daemon.expect(200, &login("u20"));
    daemon.drained();
    daemon.stop();
    let mut all = lines::read(&std::fs::read(&taken).unwrap(), "taken");
    all.extend(receiver.output().lines());
    are(&all.into_iter().filter(|line| line["source"] == "application").collect::<Vec<_>>(), 21);
}
