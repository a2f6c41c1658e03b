//! `status` says what is so.

use harness::stand_in::StandIn;

use crate::{PROGRAMS, Untouched, edit_inside, manager, ready};

/// What `status --json` says of a program, as text.
fn of(stand_in: &StandIn, program: &str) -> (serde_json::Value, String) {
    let json = stand_in.run(&["status", "--json"]).with_code(0).json();
    let text = stand_in.run(&["status"]).with_code(0);
    assert!(text.out.contains(program) && text.err.is_empty(), "{}", text.all());
    (json, text.out)
}

#[test]
fn status_changes_with_what_is_done_and_with_nothing_else() {
    let Some(stand_in) = manager() else { return };
    for program in PROGRAMS {
        let (before, said_before) = of(&stand_in, program);
        let _ = stand_in.run(&["enable", program]).with_code(0);
        let (enabled, said_enabled) = of(&stand_in, program);
        assert_ne!(before, enabled, "{program} is enabled, and nothing says so");
        assert_ne!(said_before, said_enabled);
        assert_eq!(of(&stand_in, program), (enabled.clone(), said_enabled.clone()), "twice");
        edit_inside(&stand_in, program);
        let (edited, said_edited) = of(&stand_in, program);
        assert_ne!(edited, enabled, "{program} was edited, and nothing says so");
        assert_ne!(said_edited, said_enabled);
        let _ = stand_in.run(&["disable", program, "--force"]).with_code(0);
        assert_eq!(of(&stand_in, program), (before, said_before), "it is as it was");
    }
    let (unlinked, said_unlinked) = of(&stand_in, "custom-block");
    let _ = stand_in.run(&["link"]).with_code(0);
    let (linked, said_linked) = of(&stand_in, "custom-block");
    assert!(linked != unlinked && said_linked != said_unlinked, "it is linked, and nothing says so");
    let _ = stand_in.run(&["link", "--replace", "firewall-drop"]).with_code(0);
    let (replaced, said) = of(&stand_in, "firewall-drop");
    assert!(replaced != linked && replaced.to_string().contains("firewall-drop"), "{said}");
}

#[test]
fn status_names_the_role_the_version_and_the_places() {
    if !ready() {
        return;
    }
    for role in crate::ROLES {
        let stand_in = StandIn::new(role);
        let (json, text) = of(&stand_in, "custom-block");
        for word in [role, "4.14.7", stand_in.home().to_str().unwrap()] {
            assert!(text.contains(word), "{word}: {text}");
            assert!(json.to_string().contains(word), "{word}: {json}");
        }
    }
}

#[test]
fn status_touches_nothing_and_works_without_wazuh() {
    let Some(stand_in) = manager() else { return };
    let untouched = Untouched::now(&stand_in);
    let state = harness::stand_in::Tree::of(&stand_in.state_dir());
    let _ = of(&stand_in, "custom-block");
    untouched.holds(&stand_in, "status");
    assert_eq!(harness::stand_in::Tree::of(&stand_in.state_dir()), state);
    let nowhere = StandIn::without_wazuh();
    let ran = nowhere.run(&["status"]);
    assert!(matches!(ran.code, Some(0 | 1)) && !ran.all().contains("panicked"), "{}", ran.all());
    assert!(!nowhere.home().exists());
    // Whatever lies where ossec.conf should be.
    for text in ["", "<ossec_config", "<!-- open", "\0\0\0"] {
        stand_in.write("etc/ossec.conf", text);
        let ran = stand_in.run(&["status", "--json"]);
        assert!(matches!(ran.code, Some(0 | 1)) && ran.json().is_object(), "{text:?}: {}", ran.all());
    }
}
