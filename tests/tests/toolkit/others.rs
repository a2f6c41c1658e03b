//! What is not ours is left alone: other homes, other links, other files.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::rules::{list_path, lists, rule_path, rules};
use crate::{agent, changed, inside, manager, says};

#[test]
fn what_is_wished_for_one_home_is_not_done_to_another() {
    let (Some(first), Some(second)) = (agent(), agent()) else { return };
    let _ = first.run(&["link", "--replace", "firewall-drop"]).with_code(0);
    let _ = first.run(&["enable", "custom-audit"]).with_code(0);
    let state = first.state_dir();
    let other = |args: &[&str]| {
        let mut command = second.command(args);
        command.env("WAZUH_TOOLKIT_STATE_DIR", &state);
        harness::stand_in::Ran::of(command)
    };
    let _ = other(&["link"]).with_code(0);
    assert!(!second.path("active-response/bin/firewall-drop").is_symlink());
    let _ = other(&["enable", "custom-block"]).with_code(0);
    assert_eq!(crate::backups(&first).len(), 1, "the other one's backup is not in the place of ours");
    let _ = first.run(&["link", "--remove"]).with_code(0);
    assert!(!first.path("active-response/bin/firewall-drop").is_symlink());
}

#[test]
fn a_link_of_somebody_else_is_said_and_stays() {
    let Some(stand_in) = agent() else { return };
    let place = stand_in.path("active-response/bin/custom-block");
    symlink("/bin/true", &place).unwrap();
    let ran = stand_in.run(&["link"]).with_code(3);
    says(&ran, &["/bin/true", "not ours"]);
    assert_eq!(std::fs::read_link(&place).unwrap(), Path::new("/bin/true"));
    let _ = stand_in.run(&["link", "--quiet"]).with_code(0);
    assert_eq!(std::fs::read_link(&place).unwrap(), Path::new("/bin/true"));
}

#[test]
fn an_ampersand_in_the_configuration_hides_nothing() {
    let Some(stand_in) = manager() else { return };
    let conf = String::from_utf8(stand_in.ossec_conf()).unwrap();
    let hook = "<ossec_config>\n  <integration>\n    <name>custom-x</name>\n    \
                <hook_url>https://192.0.2.1/x?a=1&b=2</hook_url>\n  </integration>\n</ossec_config>\n";
    stand_in.write("etc/ossec.conf", hook.to_owned() + &conf);
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    let _ = stand_in.run(&["enable", "custom-block"]).with_code(0);
    let section = inside(&stand_in.ossec_conf(), "custom-block").unwrap();
    assert!(!section.contains("<localfile>"), "the record is read already");
}

#[test]
fn files_beside_ours_are_nobodys_business() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    let (rule, list) = (rule_path(&rules()[0].0), list_path(&lists()[0].0));
    // What Wazuh's removal, an editor and an administrator leave there.
    let strays = [
        format!("{rule}.save"),
        format!("{list}.save"),
        format!("{list}~"),
        "etc/lists/wazuh-toolkit-mine".into(),
    ];
    for stray in &strays {
        stand_in.write(stray, "x:y\n");
    }
    let _ = stand_in.run(&["rules", "check"]).with_code(0);
    assert!(!changed(&stand_in.run(&["rules", "install", "--json"]).with_code(0)));
    let _ = stand_in.run(&["rules", "remove", "--force"]).with_code(0);
    for stray in &strays {
        assert_eq!(stand_in.read(stray), b"x:y\n", "{stray}");
    }
}

#[test]
fn a_folder_of_rules_that_is_a_link_is_never_written_through() {
    let Some(stand_in) = manager() else { return };
    let victim = stand_in.scratch().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::rename(stand_in.path("etc/rules"), stand_in.path("etc/aside")).unwrap();
    symlink(&victim, stand_in.path("etc/rules")).unwrap();
    for verb in ["install", "remove"] {
        let _ = stand_in.run(&["rules", verb, "--force"]).with_code(1);
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0, "{verb}");
    }
}

#[test]
fn without_a_folder_for_lists_the_rules_can_still_go() {
    let Some(stand_in) = manager() else { return };
    let _ = stand_in.run(&["rules", "install"]).with_code(0);
    std::fs::rename(stand_in.path("etc/lists"), stand_in.path("etc/lists.gone")).unwrap();
    let _ = stand_in.run(&["rules", "remove"]).with_code(0);
    assert!(!stand_in.path(&rule_path(&rules()[0].0)).exists());
}
