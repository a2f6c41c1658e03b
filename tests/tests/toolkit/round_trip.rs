//! What `enable` adds is exactly the section, and `disable` takes exactly that
//! away, whatever else is in the file.

use std::time::Duration;

use harness::stand_in::{StandIn, WAZUH, mode};

use crate::{PROGRAMS, ROLES, USUAL, changed, inside, ready, section};

/// A configuration that follows so many files.
fn many(count: usize) -> Vec<u8> {
    let one = |number: usize| {
        format!(
            "  <localfile>\n    <log_format>syslog</log_format>\n    <location>/var/log/{number}</location>\n  </localfile>\n"
        )
    };
    let all: String = (0..count).map(one).collect();
    format!("<ossec_config>\n{all}</ossec_config>\n").into_bytes()
}

/// Files that an administrator can have, and what is odd about them.
fn odd_files() -> Vec<(&'static str, Vec<u8>)> {
    let of = |text: &str| text.as_bytes().to_vec();
    vec![
        ("empty", of("")),
        ("one newline", of("\n")),
        ("blanks only", of("  \t \n\n  ")),
        ("only a root", of("<ossec_config>\n</ossec_config>\n")),
        ("only a root that is closed at once", of("<ossec_config/>")),
        ("no newline at the end", of("<ossec_config>\n</ossec_config>")),
        ("blanks at the end", of("<ossec_config>\n</ossec_config>  \t ")),
        ("blanks after the last newline", of("<ossec_config>\n</ossec_config>\n \t")),
        ("many newlines at the end", of("<ossec_config>\n</ossec_config>\n\n\n\n")),
        ("carriage returns", of("<ossec_config>\r\n  <global>\r\n    <logall>no</logall>\r\n  </global>\r\n</ossec_config>\r\n")),
        ("a carriage return at the end", of("<ossec_config>\r\n</ossec_config>\r")),
        ("a form feed and a tab at the end", of("<ossec_config>\n</ossec_config>\n\x0c\t")),
        ("several roots", of("<ossec_config>\n</ossec_config>\n<ossec_config>\n</ossec_config>\n\n<ossec_config></ossec_config>\n")),
        ("a comment at the end", of("<ossec_config>\n</ossec_config>\n<!-- the end -->")),
        ("comments with dashes", of("<!---->\n<!-- a - b -- c --->\n<ossec_config>\n<!-- > -->\n</ossec_config>\n")),
        ("bytes that are no UTF-8", b"<!-- caf\xe9 \xff\xfe\x80 -->\n<ossec_config>\n  <global>\n    <email_to>\xfcber@example.org</email_to>\n  </global>\n</ossec_config>\n".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf<ossec_config>\n</ossec_config>\n".to_vec()),
        ("a zero byte in a comment", b"<!-- a\0b -->\n<ossec_config>\n</ossec_config>\n\0".to_vec()),
        ("an escape sequence", of("<!-- \u{1b}[2J\u{1b}]0;x\u{7} -->\n<ossec_config>\n</ossec_config>\n")),
        ("other comments that look like ours", of(
            "<!-- wazuh-toolkit: begin custom-block -->\n<!-- wazuh-toolkit begin custom-block agent sha256=0123456789abcdef -->\n\
             <ossec_config>\n</ossec_config>\n<!-- wazuh-toolkit: begins custom-block agent sha256=0 -->\n\
             <!-- end custom-block -->\n<!-- wazuh-toolkit: -->\n<!-- custom-block -->")),
        ("our comment inside another", of(
            "<ossec_config>\n</ossec_config>\n<!-- do not write\n<!-- wazuh-toolkit: begin custom-block agent sha256=0123456789abcdef -->\n")),
        ("our words in a value", of(
            "<ossec_config>\n  <global>\n    <email_to>wazuh-toolkit: begin custom-block agent sha256=00</email_to>\n  </global>\n</ossec_config>\n")),
        ("the section of another program", of(&format!(
            "<ossec_config>\n</ossec_config>\n{}",
            section("custom-else", "agent", "<ossec_config>\n  <!-- else -->\n</ossec_config>\n", false)))),
        ("a long line", of(&format!("<!-- {} -->\n<ossec_config>\n</ossec_config>\n", "x".repeat(300_000)))),
        ("half a megabyte", many(4_800)),
    ]
}

#[test]
fn enable_adds_its_section_and_disable_takes_exactly_that_away_whatever_the_file() {
    if !ready() {
        return;
    }
    for role in ROLES {
        let stand_in = StandIn::new(role);
        for (what, old) in odd_files() {
            for program in PROGRAMS {
                comes_and_goes(&stand_in, role, program, what, &old);
            }
        }
    }
}

#[test]
fn five_megabytes_are_no_trouble() {
    if ready() {
        comes_and_goes(&StandIn::manager(), "manager", "custom-block", "five megabytes", &many(48_000));
    }
}

fn comes_and_goes(stand_in: &StandIn, role: &str, program: &str, what: &str, old: &[u8]) {
    let what = format!("{program} on the {role}, {what}");
    let conf = stand_in.path("etc/ossec.conf");
    stand_in.write("etc/ossec.conf", old);
    std::os::unix::fs::chown(&conf, Some(0), Some(WAZUH)).unwrap();
    mode(&conf, 0o660);
    let ran = stand_in.run(&["enable", program, "--json"]);
    assert_eq!(ran.code, Some(0), "{what}: {}", ran.all());
    assert!(changed(&ran), "{what}");
    assert!(ran.took < Duration::from_secs(90), "{what} took {:?}", ran.took);
    let new = stand_in.ossec_conf();
    assert!(new.starts_with(old), "{what}: what was there is not the beginning");
    let inside = inside(&new[old.len()..], program).unwrap_or_else(|| panic!("{what}: no section"));
    let added = section(program, role, &inside, old.last().is_some_and(|&byte| byte != b'\n'));
    assert!(new[old.len()..] == *added.as_bytes(), "{what}: {}", String::from_utf8_lossy(&new[old.len()..]));
    let ran = stand_in.run(&["disable", program, "--json"]);
    assert_eq!(ran.code, Some(0), "{what}: {}", ran.all());
    assert!(changed(&ran), "{what}");
    assert!(stand_in.ossec_conf() == old, "{what}: it is not as before");
}

#[test]
fn two_programs_are_enabled_and_disabled_in_any_order() {
    if !ready() {
        return;
    }
    let stand_in = StandIn::manager();
    for old in [&b""[..], b"<ossec_config>\n</ossec_config>", b"<ossec_config>\r\n</ossec_config>\r\n"] {
        for first in 0..2 {
            for gone in 0..2 {
                stand_in.write("etc/ossec.conf", old);
                for at in [first, 1 - first] {
                    let _ = stand_in.run(&["enable", USUAL[at]]).with_code(0);
                }
                let both = stand_in.ossec_conf();
                assert!(USUAL.iter().all(|program| inside(&both, program).is_some()));
                let _ = stand_in.run(&["disable", USUAL[gone]]).with_code(0);
                let one = stand_in.ossec_conf();
                assert!(inside(&one, USUAL[gone]).is_none());
                assert_eq!(inside(&one, USUAL[1 - gone]), inside(&both, USUAL[1 - gone]));
                // Enabled anew, it comes last; and the other is still itself.
                let _ = stand_in.run(&["enable", USUAL[gone]]).with_code(0);
                assert_eq!(inside(&stand_in.ossec_conf(), USUAL[gone]), inside(&both, USUAL[gone]));
                let _ = stand_in.run(&["disable", USUAL[gone]]).with_code(0);
                let _ = stand_in.run(&["disable", USUAL[1 - gone]]).with_code(0);
                assert_eq!(stand_in.ossec_conf(), old, "first {first}, gone {gone}");
            }
        }
        stand_in.write("etc/ossec.conf", old);
        for program in PROGRAMS {
            let _ = stand_in.run(&["enable", program]).with_code(0);
        }
        let _ = stand_in.run(&["disable", "--all"]).with_code(0);
        assert_eq!(stand_in.ossec_conf(), old, "--all");
    }
}

#[test]
fn what_others_write_around_a_section_stays_where_it_is() {
    if !ready() {
        return;
    }
    let stand_in = StandIn::agent();
    for old in ["<ossec_config>\n</ossec_config>\n", "<ossec_config>\n</ossec_config>"] {
        stand_in.write("etc/ossec.conf", old);
        for program in PROGRAMS {
            let _ = stand_in.run(&["enable", program]).with_code(0);
        }
        // Before both, between them, and behind them without a newline.
        let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
        let between = "<ossec_config>\n  <!-- between -->\n</ossec_config>\n";
        let second = conf.find("<!-- wazuh-toolkit: begin custom-audit").unwrap();
        let edited = format!("<!-- above -->\n{}{between}{}<!-- below -->", &conf[..second], &conf[second..]);
        stand_in.write("etc/ossec.conf", &edited);
        let again = stand_in.run(&["enable", "custom-audit", "--json"]).with_code(0);
        assert!(!changed(&again), "it is as it was written");
        assert_eq!(stand_in.ossec_conf(), edited.as_bytes());
        let _ = stand_in.run(&["disable", "--all"]).with_code(0);
        let left = String::from_utf8(stand_in.ossec_conf()).unwrap();
        assert_eq!(left, format!("<!-- above -->\n{old}{between}<!-- below -->"));
    }
}
