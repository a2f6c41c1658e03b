//! `doctor`: each way to break an installation is found, named, and comes with
//! what to do about it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use harness::stand_in::{Ran, StandIn, Tree, WAZUH, executable, mode};

use crate::healthy::{Healthy, Report, each_is_found};
use crate::{Untouched, ready};

#[test]
fn what_is_as_it_should_be_is_found_to_be_so_and_nothing_is_touched() {
    for make in [Healthy::agent as fn() -> Option<Healthy>, Healthy::manager] {
        let Some(healthy) = make() else { return };
        let stand_in = &healthy.stand_in;
        let (untouched, state) = (Untouched::now(stand_in), Tree::of(&stand_in.state_dir()));
        let report = healthy.doctor();
        assert_eq!(report.ran.code, Some(0), "{}", report.ran.all());
        assert_eq!(report.ran.err, "");
        untouched.holds(stand_in, "doctor");
        assert_eq!(Tree::of(&stand_in.state_dir()), state);
    }
}

#[test]
fn programs_that_are_not_what_they_should_be_are_found() {
    each_is_found(
        Healthy::agent,
        &[
            (
                "no program",
                |h| std::fs::remove_file(h.stand_in.program_dir().join("custom-block")).unwrap(),
                &["custom-block", "not there", "install"],
            ),
            (
                "no custom-audit",
                |h| std::fs::remove_file(h.stand_in.program_dir().join("custom-audit")).unwrap(),
                &["custom-audit", "not there", "install"],
            ),
            (
                "not executable",
                |h| mode(&h.stand_in.program_dir().join("custom-block"), 0o644),
                &["custom-block", "chmod"],
            ),
            (
                "the group can write it",
                |h| mode(&h.stand_in.program_dir().join("custom-block"), 0o775),
                &["custom-block", "written by others", "chmod"],
            ),
            (
                "all can write it",
                |h| mode(&h.stand_in.program_dir().join("custom-audit"), 0o757),
                &["custom-audit", "written by others", "chmod"],
            ),
            (
                "it is the user wazuh's",
                |h| {
                    let path = h.stand_in.program_dir().join("custom-block");
                    std::os::unix::fs::chown(path, Some(WAZUH), Some(WAZUH)).unwrap();
                },
                &["custom-block", "4711", "chown"],
            ),
            (
                "its folder is the user wazuh's",
                |h| std::os::unix::fs::chown(h.stand_in.program_dir(), Some(WAZUH), None).unwrap(),
                &["4711", "chown"],
            ),
            (
                "all can write its folder",
                |h| mode(&h.stand_in.program_dir(), 0o777),
                &["written by others", "chmod"],
            ),
            (
                "another version",
                |h| {
                    let path = h.stand_in.program_dir().join("custom-audit");
                    executable(&path, b"#!/bin/sh\necho custom-audit 99.7.3\n");
                },
                &["custom-audit", "99.7.3", "install"],
            ),
            (
                "it hangs",
                |h| {
                    let path = h.stand_in.program_dir().join("custom-block");
                    executable(&path, b"#!/bin/sh\nexec sleep 60\n");
                },
                &["custom-block", "install"],
            ),
        ],
    );
}

#[test]
fn links_that_are_missing_or_wrong_are_found() {
    fn place(healthy: &Healthy) -> std::path::PathBuf {
        healthy.stand_in.path("active-response/bin/custom-block")
    }
    each_is_found(
        Healthy::agent,
        &[
            (
                "no link",
                |h| std::fs::remove_file(place(h)).unwrap(),
                &["custom-block", "missing", "wazuh-toolkit link"],
            ),
            (
                "no target",
                |h| std::fs::remove_file(h.stand_in.program_dir().join("custom-block")).unwrap(),
                &["active-response/bin/custom-block", "not there", "install"],
            ),
            (
                "another target",
                |h| {
                    std::fs::remove_file(place(h)).unwrap();
                    symlink("/usr/local/bin/old-block", place(h)).unwrap();
                },
                &["/usr/local/bin/old-block", "wazuh-toolkit link"],
            ),
            (
                "an upgrade of Wazuh put its program back",
                |h| {
                    let _ = h.stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(0);
                    let stock = h.stand_in.path("active-response/bin/firewall-drop");
                    std::fs::remove_file(&stock).unwrap();
                    std::fs::write(&stock, "#!/bin/sh\n").unwrap();
                },
                &["firewall-drop", "wazuh-toolkit link"],
            ),
            (
                "a copy that the user wazuh can write",
                |h| {
                    std::fs::remove_file(place(h)).unwrap();
                    std::fs::copy(harness::program::custom_block(), place(h)).unwrap();
                    std::os::unix::fs::chown(place(h), Some(WAZUH), Some(WAZUH)).unwrap();
                },
                &["active-response/bin/custom-block", "chown"],
            ),
        ],
    );
}

#[test]
fn a_copy_made_by_hand_and_a_section_edited_by_hand_are_told_without_harm() {
    let Some(mut healthy) = Healthy::agent() else { return };
    let place = healthy.stand_in.path("active-response/bin/custom-block");
    std::fs::remove_file(&place).unwrap();
    std::fs::copy(harness::program::custom_block(), &place).unwrap();
    mode(&place, 0o750);
    std::os::unix::fs::chown(&place, Some(0), Some(WAZUH)).unwrap();
    healthy.restart_execd();
    let report = healthy.doctor();
    assert!(
        report.remarks().iter().any(|text| text.contains("copy") && text.contains("wazuh-toolkit link")),
        "{}",
        report.ran.all()
    );
    for program in crate::USUAL {
        crate::edit_inside(&healthy.stand_in, program);
        let report = healthy.doctor();
        let told = report
            .remarks()
            .into_iter()
            .any(|text| text.starts_with(program) && text.contains("edited") && text.contains("--force"));
        assert!(told, "{}", report.ran.all());
    }
}

#[test]
fn a_program_that_is_linked_and_not_enabled_is_told() {
    let Some(healthy) = Healthy::manager() else { return };
    let _ = healthy.stand_in.run(&["disable", "--all"]).with_code(0);
    let report = healthy.doctor();
    for program in crate::USUAL {
        let remedy = format!("wazuh-toolkit enable {program}");
        assert!(report.remarks().iter().any(|text| text.contains(&remedy)), "{}", report.ran.all());
    }
}

#[test]
fn without_wazuh_that_is_the_problem() {
    if !ready() {
        return;
    }
    let nowhere = StandIn::without_wazuh();
    let report = Report::of(&nowhere);
    assert!(
        report
            .problems()
            .iter()
            .any(|text| text.contains(nowhere.home().to_str().unwrap()) && text.contains("--home"))
    );
    assert!(!nowhere.home().exists());
}

#[test]
fn what_was_left_of_an_earlier_installation_is_found() {
    each_is_found(
        Healthy::agent,
        &[
            (
                "saved and there",
                |h| {
                    std::fs::copy(h.stand_in.path("etc/ossec.conf"), h.stand_in.path("etc/ossec.conf.save"))
                        .unwrap();
                },
                &["ossec.conf.save", "remove"],
            ),
            (
                "saved and gone",
                |h| {
                    std::fs::rename(h.stand_in.path("etc/ossec.conf"), h.stand_in.path("etc/ossec.conf.save"))
                        .unwrap()
                },
                &["ossec.conf.save", "copy it back"],
            ),
            (
                "a new one without our sections",
                |h| {
                    let conf = h.stand_in.path("etc/ossec.conf");
                    std::fs::copy(&conf, h.stand_in.path("etc/ossec.conf.save")).unwrap();
                    let _ = h.stand_in.run(&["disable", "--all"]).with_code(0);
                },
                &["ossec.conf.save", "nable"],
            ),
        ],
    );
}

#[test]
fn a_clock_in_the_past_is_found() {
    // The clock cannot be set back for a test: the files are from tomorrow.
    each_is_found(
        Healthy::agent,
        &[(
            "tomorrow",
            |h| {
                let tomorrow = std::time::SystemTime::now() + Duration::from_secs(86_400);
                for path in [h.stand_in.path("etc/ossec.conf"), h.stand_in.program_dir().join("custom-block")]
                {
                    std::fs::File::options().append(true).open(path).unwrap().set_modified(tomorrow).unwrap();
                }
            },
            &["clock", "timedatectl"],
        )],
    );
}

/// Where whoever is in the group wazuh can put anything, and what reads there.
const PLACES: [&str; 9] = [
    "etc/shared/ar.conf",
    "etc/shared/agent.conf",
    "etc/local_internal_options.conf",
    "etc/ossec.conf.save",
    "etc/rules/zz.xml",
    "etc/rules/1000-wazuh-toolkit-zz.xml",
    "etc/lists/wazuh-toolkit-zz",
    "logs/active-responses.log",
    "etc/ossec.conf",
];
const READERS: [&[&str]; 4] =
    [&["doctor"], &["status"], &["rules", "check"], &["enable", "custom-block", "--dry-run"]];

#[test]
fn nothing_that_lies_in_the_way_makes_it_wait_or_swell() {
    let tools = ["timeout", "strace"];
    if !tools.iter().all(|tool| harness::require(harness::kernel::has(tool), tool)) {
        return;
    }
    let Some(healthy) = Healthy::manager() else { return };
    let stand_in = &healthy.stand_in;
    type Kind = (&'static str, fn(&Path));
    let kinds: [Kind; 3] = [
        ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("a terabyte", |path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];
    let mut wrong = Vec::new();
    for place in PLACES {
        let path = stand_in.path(place);
        let aside = stand_in.scratch().join("aside");
        let was = std::fs::rename(&path, &aside).is_ok();
        for (what, make) in kinds {
            make(&path);
            for args in READERS {
                let what = format!("{what} at {place}, {args:?}");
                match read_from(stand_in, &path, args) {
                    (Some(0 | 1 | 3), bytes) if bytes <= 16 << 20 => {}
                    (code, bytes) => wrong.push(format!("{what}: {code:?}, {bytes} bytes read")),
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
        if was {
            std::fs::rename(&aside, &path).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The exit code of a run that may take a minute and a gigabyte, and how
/// much it read from this path.
fn read_from(stand_in: &StandIn, path: &Path, args: &[&str]) -> (Option<i32>, u64) {
    let calls = stand_in.scratch().join("trace");
    let (calls_name, path) = (calls.to_str().unwrap(), std::fs::canonicalize(path).unwrap());
    let launcher = [
        "timeout",
        "-s",
        "KILL",
        "60",
        "sh",
        "-c",
        "ulimit -v 1048576; exec \"$@\"",
        "sh",
        "strace",
        "-f",
        "-qqq",
        "-o",
        calls_name,
        "-P",
        path.to_str().unwrap(),
        "-e",
        "trace=read,pread64,readv",
    ];
    let ran = Ran::of(stand_in.launched(&launcher, harness::program::wazuh_toolkit(), args));
    let text = std::fs::read_to_string(&calls).unwrap_or_default();
    let bytes = text.lines().filter_map(|line| line.rsplit_once("= ")?.1.parse::<u64>().ok()).sum();
    (ran.code, bytes)
}
