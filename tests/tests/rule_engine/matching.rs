//! Which rule an event ends at.

use harness::rules::Session;

use crate::{event, fired, outcome, rule, ruleset};

#[test]
fn an_absent_field_never_matches_and_an_empty_one_is_there() {
    let rules = rule(100_001, 3, "<field name=\"a\" negate=\"yes\">^x$</field>");
    let ruleset = ruleset(&rules);
    assert_eq!(fired(&ruleset, ""), 100_000);
    assert_eq!(fired(&ruleset, "\"a\":\"x\""), 100_000);
    assert_eq!(fired(&ruleset, "\"a\":\"y\""), 100_001);
    assert_eq!(fired(&ruleset, "\"a\":\"\""), 100_001);
    assert_eq!(fired(&ruleset, "\"a\":null"), 100_001);
    assert_eq!(fired(&ruleset, "\"a\":{}"), 100_000);
}

#[test]
fn every_negated_element_wants_its_field_to_be_there() {
    for (element, absent) in [
        ("<user negate=\"yes\">x</user>", "\"user\":\"y\""),
        ("<action negate=\"yes\">x</action>", "\"action\":\"y\""),
        ("<url negate=\"yes\">x</url>", "\"url\":\"y\""),
        ("<srcip negate=\"yes\">10.0.0.0/8</srcip>", "\"srcip\":\"192.0.2.1\""),
        ("<list field=\"srcip\" lookup=\"not_match_key\">etc/lists/known</list>", "\"srcip\":\"192.0.2.1\""),
        (
            "<list field=\"srcip\" lookup=\"not_address_match_key\">etc/lists/known</list>",
            "\"srcip\":\"192.0.2.1\"",
        ),
        ("<list field=\"x.y\" lookup=\"not_match_key\">etc/lists/known</list>", "\"x\":{\"y\":1}"),
    ] {
        let ruleset = ruleset(&rule(100_001, 3, element));
        assert_eq!(fired(&ruleset, ""), 100_000, "{element}");
        assert_eq!(fired(&ruleset, absent), 100_001, "{element}");
    }
}

#[test]
fn silent_siblings_come_first_then_the_highest_then_the_first_in_the_file() {
    let field = "<field name=\"a\">x</field>";
    let low = rule(100_001, 3, field);
    let high = rule(100_002, 9, field);
    let equal = rule(100_003, 9, field);
    let silent = rule(100_004, 0, field);
    assert_eq!(fired(&ruleset(&format!("{low}{high}{equal}")), "\"a\":\"x\""), 100_002);
    assert_eq!(fired(&ruleset(&format!("{low}{equal}{high}")), "\"a\":\"x\""), 100_003);
    assert_eq!(fired(&ruleset(&format!("{low}{high}{silent}")), "\"a\":\"x\""), 100_004);
}

#[test]
fn a_parent_whose_children_do_not_match_is_the_rule_itself() {
    let parent = rule(100_001, 5, "<field name=\"a\">x</field>");
    let child = "<rule id=\"100002\" level=\"3\"><if_sid>100001</if_sid><field name=\"b\">y</field>\
                 <description>d</description></rule>";
    let ruleset = ruleset(&format!("{parent}{child}"));
    assert_eq!(fired(&ruleset, "\"a\":\"x\""), 100_001);
    assert_eq!(fired(&ruleset, "\"a\":\"x\",\"b\":\"y\""), 100_002);
    assert_eq!(fired(&ruleset, "\"b\":\"y\""), 100_000);
}

#[test]
fn a_rule_may_have_several_parents_and_be_one() {
    let one = rule(100_001, 3, "<field name=\"a\">x</field>");
    let two = rule(100_002, 3, "<field name=\"a\">y</field>");
    let child = "<rule id=\"100003\" level=\"3\"><if_sid>100001, 100002</if_sid><field name=\"b\">z</field>\
                 <description>d</description></rule>\
                 <rule id=\"100004\" level=\"3\"><if_sid>100003</if_sid><field name=\"c\">z</field>\
                 <description>d</description></rule>";
    let ruleset = ruleset(&format!("{one}{two}{child}"));
    for a in ["x", "y"] {
        assert_eq!(fired(&ruleset, &format!("\"a\":\"{a}\",\"b\":\"z\"")), 100_003);
        assert_eq!(fired(&ruleset, &format!("\"a\":\"{a}\",\"b\":\"z\",\"c\":\"z\"")), 100_004);
    }
}

#[test]
fn several_fields_must_all_match_also_of_one_name() {
    let rules = rule(
        100_001,
        3,
        "<field name=\"a\" type=\"pcre2\">^.</field><field name=\"a\" negate=\"yes\">^x</field>\
         <field name=\"B.c\">1</field>",
    );
    let ruleset = ruleset(&rules);
    assert_eq!(fired(&ruleset, "\"a\":\"y\",\"b\":{\"C\":1}"), 100_001);
    assert_eq!(fired(&ruleset, "\"a\":\"xy\",\"b\":{\"c\":1}"), 100_000);
    assert_eq!(fired(&ruleset, "\"a\":\"y\",\"b\":{\"c\":2}"), 100_000);
}

#[test]
fn an_address_is_in_a_network_of_its_own_family() {
    let inside =
        rule(100_001, 3, "<srcip>10.0.0.0/8</srcip><srcip>192.0.2.7</srcip><srcip>203.0.113.128/25</srcip>");
    let inside = ruleset(&inside);
    for (address, rule) in [
        ("10.255.0.1", 100_001),
        ("11.0.0.1", 100_000),
        ("192.0.2.7", 100_001),
        ("192.0.2.8", 100_000),
        ("203.0.113.127", 100_000),
        ("203.0.113.128", 100_001),
        ("::ffff:10.0.0.1", 100_000),
        ("10.0.0.1 ", 100_000),
        ("x", 100_000),
    ] {
        assert_eq!(fired(&inside, &format!("\"srcip\":\"{address}\"")), rule, "{address}");
    }
    // What is no IPv4 address is outside, so the opposite holds for it.
    let outside = ruleset(&rule(100_001, 3, "<srcip negate=\"yes\">10.0.0.0/8</srcip>"));
    for (address, rule) in
        [("10.1.1.1", 100_000), ("192.0.2.1", 100_001), ("2001:db8::1", 100_001), ("x", 100_001)]
    {
        assert_eq!(fired(&outside, &format!("\"srcip\":\"{address}\"")), rule, "{address}");
    }
}

#[test]
fn a_list_has_keys_and_prefixes_that_end_in_a_dot() {
    let address = ruleset(&rule(
        100_001,
        3,
        "<list field=\"srcip\" lookup=\"address_match_key\">etc/lists/known</list>",
    ));
    let key = ruleset(&rule(100_001, 3, "<list field=\"srcip\" lookup=\"match_key\">etc/lists/known</list>"));
    for (value, by_address, by_key) in [
        ("198.51.100.7", true, true),
        ("198.51.100.77", false, false),
        ("10.1.2.3", true, false),
        ("10.10.2.3", false, false),
        ("10.1.", true, true),
        ("::1", true, true),
        // Without quotes a key ends at the first colon.
        ("2001:db8::1", false, false),
        ("2001", true, true),
    ] {
        assert_eq!(fired(&address, &format!("\"srcip\":\"{value}\"")) == 100_001, by_address, "{value}");
        assert_eq!(fired(&key, &format!("\"srcip\":\"{value}\"")) == 100_001, by_key, "{value}");
    }
}

#[test]
fn user_is_the_one_acted_on_first_but_in_a_list_the_one_who_acts() {
    let element = ruleset(&rule(100_001, 3, "<user>^root$</user>"));
    let list = ruleset(&rule(100_001, 3, "<list field=\"user\" lookup=\"match_key\">etc/lists/known</list>"));
    for (members, by_element, by_list) in [
        ("\"dstuser\":\"root\",\"srcuser\":\"x\"", 100_001, 100_000),
        ("\"dstuser\":\"x\",\"srcuser\":\"root\"", 100_000, 100_001),
        ("\"srcuser\":\"root\"", 100_001, 100_001),
        ("\"user\":\"ROOT\"", 100_001, 100_000),
        ("", 100_000, 100_000),
    ] {
        assert_eq!(fired(&element, members), by_element, "{members}");
        assert_eq!(fired(&list, members), by_list, "{members}");
    }
}

#[test]
fn line_and_location_are_always_there() {
    let rules = rule(100_001, 3, "<match>needle</match>")
        + &rule(100_002, 4, "<location>^/var/log/x.json$</location>");
    let ruleset = ruleset(&rules);
    assert_eq!(fired(&ruleset, "\"a\":\"a Needle\""), 100_001);
    let moved = event("").at("/var/log/x.json");
    assert_eq!(Session::new(&ruleset).feed(&moved).rule, Some(100_002));
}

#[test]
fn a_description_takes_static_and_dynamic_fields_and_no_others() {
    let text = "<rule id=\"100001\" level=\"3\"><if_sid>100000</if_sid>\
                <field name=\"a\">^x</field>\
                <description>$(a)/$(B.c)/$(srcip)/$(dstuser)/$(user)/$(system_name)/$(gone)/$(open</description>\
                </rule>";
    let ruleset = ruleset(text);
    let members = "\"a\":\"x\",\"b\":{\"c\":true},\"srcip\":\"::1\",\"user\":\"u\",\"systemname\":\"s\"";
    let found = outcome(&ruleset, members).description.unwrap();
    assert_eq!(found, "x/true/::1/u//s//$(open");
    // Too long to be filled in, it is shown as written.
    let long = outcome(&ruleset, &format!("\"a\":\"x{}\"", "y".repeat(1100))).description.unwrap();
    assert!(long.starts_with("$(a)/"), "{long}");
}

#[test]
fn an_outcome_says_what_the_alert_would() {
    let text = "<rule id=\"100001\" level=\"3\"><if_sid>100000</if_sid><field name=\"a\">^x$</field>\
                <description>d</description><group>one,pci_dss_10.2.4,two,</group>\
                <mitre><id>T1110</id><id>T1110.001</id></mitre>\
                <options>no_ar</options><options>no_full_log</options></rule>"
        .to_owned()
        + &rule(100_002, 2, "<field name=\"a\">^low$</field>")
        + &rule(100_003, 9, "<field name=\"a\">^quiet$</field><options>no_log</options>");
    let ruleset = ruleset(&text);
    let found = outcome(&ruleset, "\"a\":\"x\"");
    assert_eq!((found.level, found.alert, found.no_ar, found.no_full_log), (Some(3), true, true, true));
    assert_eq!(found.groups, ["t", "one", "two"]);
    assert_eq!(found.mitre, ["T1110", "T1110.001"]);
    // log_alert_level is 3 as Wazuh ships it.
    assert!(!outcome(&ruleset, "\"a\":\"low\"").alert);
    let quiet = outcome(&ruleset, "\"a\":\"quiet\"");
    assert_eq!((quiet.rule, quiet.alert, quiet.no_ar), (Some(100_003), false, false));
}
