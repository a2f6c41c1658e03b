//! Each thing that the lint finds, in a file that has it and nothing else.

use harness::rules::lint;

use crate::file;

const README: &str = "\
| ids | file | for |
|---|---|---|
| 100100-100149 | `a.xml` | things |
| 100150, 100160–100169 | `b.xml` | other things |
| 100500-100549 | `custom-block.xml` | its record |

| id | name |
|---|---|
| T1110.001 | Brute Force: Password Guessing |
";

const GOOD: &str = "\
<group name=\"a,\">
  <rule id=\"100100\" level=\"0\">
    <decoded_as>json</decoded_as>
    <field name=\"m\">^t$</field>
    <description>gate</description>
  </rule>
  <rule id=\"100101\" level=\"5\">
    <if_sid>100100</if_sid>
    <action>login_failed</action>
    <description>$(dstuser) from $(srcip)</description>
    <mitre><id>T1110.001</id></mitre>
    <group>failed,</group>
  </rule>
  <rule id=\"100102\" level=\"10\" frequency=\"5\" timeframe=\"300\">
    <if_matched_sid>100101</if_matched_sid>
    <same_srcip />
    <description>five from $(srcip)</description>
  </rule>
</group>
";

fn found(files: &[(String, String)]) -> Vec<String> {
    lint(files, README).iter().map(ToString::to_string).collect()
}

/// The good file with one thing changed.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    found(&[file("a.xml", &GOOD.replacen(from, to, 1))])
}

#[test]
fn a_good_file_has_no_problem() {
    assert_eq!(found(&[file("a.xml", GOOD)]), [""; 0]);
}

#[test]
fn each_problem_is_found_and_nothing_else() {
    let action = "<action>login_failed</action>";
    for (from, to, expected) in [
        (
            action,
            "<field name=\"action\">x</field>",
            "rule 100101: field 'action' is static: it has an element of its own",
        ),
        (
            "<same_srcip />",
            "<same_field>srcip</same_field>",
            "rule 100102: field 'srcip' is static: it has an element of its own",
        ),
        (action, "<frequency>5</frequency>", "rule 100101: <frequency> must be an attribute of <rule>"),
        (action, "<timeframe>5</timeframe>", "rule 100101: <timeframe> must be an attribute of <rule>"),
        (action, "<what>5</what>", "rule 100101: <what>5</what> is unknown or not modelled"),
        ("level=\"5\"", "level=\"5\" what=\"5\"", "rule 100101: unknown attribute what"),
        (action, "<action what=\"5\">x</action>", "rule 100101: unknown attribute what in <action>"),
        (
            "id=\"100102\"",
            "id=\"100101\"",
            "rule 100101: the id is used in a.xml already, and this one would be left out",
        ),
        ("id=\"100102\"", "id=\"99999\"", "rule 99999: the id is not within 100000 to 120000"),
        ("id=\"100102\"", "id=\"120001\"", "rule 120001: the id is not within 100000 to 120000"),
        ("id=\"100102\"", "id=\"100165\"", "rule 100165: the id is in the range of b.xml"),
        ("id=\"100102\"", "id=\"100151\"", "rule 100151: the id is in no range of README.md"),
        ("<group name=\"a,\">", "<group name=\"a\">", "the group \"a\" does not end with a comma"),
        (
            "<group>failed,</group>",
            "<group>failed</group>",
            "rule 100101: the group \"failed\" does not end with a comma",
        ),
        (
            "<group>failed,</group>",
            "<group>failed, bad,</group>",
            "rule 100101: the group \"failed, bad,\" does not end with a comma",
        ),
        ("<description>gate</description>", "", "rule 100100: no description"),
        (
            action,
            "<action>^login</action>",
            "rule 100101: <action>^login</action> without a type is compared as it stands",
        ),
        (
            action,
            "<action>a|b</action>",
            "rule 100101: <action>a|b</action> without a type is compared as it stands",
        ),
        (action, "<action> login</action>", "rule 100101: blanks at the ends of <action> count"),
        ("<if_sid>100100</if_sid>", "<if_sid>100100,99</if_sid>", "rule 100101: no rule 99 before it"),
        ("<if_sid>100100</if_sid>", "<if_sid>100102</if_sid>", "rule 100101: no rule 100102 before it"),
        (
            "<if_sid>100100</if_sid>",
            "<decoded_as>json</decoded_as>",
            "rule 100101: level above 0 without if_sid: a silent gate with a marker must come first",
        ),
        (
            "<decoded_as>json</decoded_as>",
            "",
            "rule 100100: no if_sid and no decoded_as: any line may reach it",
        ),
        (
            "level=\"5\"",
            "level=\"0\"",
            "rule 100102: rule 100101 has level 0, so its events are never counted",
        ),
        ("$(dstuser)", "$(user)", "rule 100101: $(user) is empty for ever; it is $(dstuser) there"),
        ("five from $(srcip)", "five from $(srcip", "rule 100102: `$(` without `)` in the description"),
        ("five from $(srcip)", "five from $()", "rule 100102: $() in the description names no field"),
        (
            "<same_srcip />",
            "<srcip negate=\"yes\">10.0.0.0/8</srcip>",
            "rule 100102: an event without <srcip> never matches: no test says that it is there",
        ),
        (
            action,
            "<user negate=\"yes\">root</user>",
            "rule 100101: an event without <user> never matches: no test says that it is there",
        ),
        (
            action,
            "<field name=\"b.c\" negate=\"yes\">x</field>",
            "rule 100101: an event without field b.c never matches: no test says that it is there",
        ),
        (
            action,
            "<list field=\"srcip\" lookup=\"not_address_match_key\">etc/lists/x</list>",
            "rule 100101: an event without <srcip> never matches: no test says that it is there",
        ),
        (" timeframe=\"300\"", " timeframe=\"300\" level=\"1\"", "line 14: "),
        ("</rule>", "", "line "),
    ] {
        let found = changed(from, to);
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        let whole = format!("a.xml: {expected}");
        assert!(
            if expected.starts_with("line") { found[0].starts_with(&whole) } else { found[0] == whole },
            "{to}: {found:?}"
        );
    }
}

#[test]
fn a_negation_may_stand_where_the_field_is_asked_for() {
    let negated = "<field name=\"b\" negate=\"yes\">x</field>";
    let asked = "<field name=\"B\" type=\"pcre2\">.</field>";
    let action = "<action>login_failed</action>";
    assert_eq!(changed(action, &format!("{negated}{asked}")), [""; 0]);
    // By its parent, or by all of several parents.
    let above = GOOD.replacen("<field name=\"m\">^t$</field>", asked, 1).replacen(action, negated, 1);
    assert_eq!(found(&[file("a.xml", &above)]), [""; 0]);
    let second = "<rule id=\"100103\" level=\"3\"><if_sid>100100</if_sid><match>x</match>\
                  <description>d</description></rule>\
                  <rule id=\"100104\" level=\"3\"><if_sid>100101,100103</if_sid>";
    let both = |first: &str, second_asks: &str| {
        let second = second.replace("<match>x</match>", second_asks);
        let tail = format!("{second}{negated}<description>d</description></rule></group>");
        found(&[file(
            "a.xml",
            &GOOD.replacen(action, first, 1).replacen("</group>\n", &tail, 2).replacen(&tail, "</group>", 1),
        )])
    };
    assert_eq!(both(asked, asked), [""; 0]);
    let expected =
        "a.xml: rule 100104: an event without field b never matches: no test says that it is there";
    assert_eq!(both(asked, "<match>x</match>"), [expected]);
    // In an expression a blank may be meant; elsewhere it is found.
    assert_eq!(changed(action, "<action type=\"pcre2\">^login </action>"), [""; 0]);
    // The negation of a line or of a location needs nothing.
    assert_eq!(
        changed(action, "<match negate=\"yes\">x</match><location negate=\"yes\">x</location>"),
        [""; 0]
    );
}

#[test]
fn an_id_is_used_once_in_all_files() {
    let other =
        GOOD.replace("1001", "1002").replace("id=\"100200\"", "id=\"100100\"").replace("1002", "1001");
    let found = found(&[file("a.xml", GOOD), file("b.xml", &other)]);
    let twice = found.iter().filter(|problem| problem.contains("the id is used in a.xml already"));
    assert_eq!(twice.count(), 3, "{found:?}");
    // A stock one is taken, too.
    let stock = changed("id=\"100102\"", "id=\"657\"");
    assert!(
        stock.iter().any(|problem| problem.contains("rule 657: the id is used in stand-ins.xml")),
        "{stock:?}"
    );
}

#[test]
fn a_stock_rule_may_be_a_parent() {
    let block = "<group name=\"b,\"><rule id=\"100500\" level=\"3\"><if_sid>651,657</if_sid>\
                 <field name=\"toolkit\">^custom-block$</field><description>d</description>\
                 <options>no_ar</options></rule></group>";
    assert_eq!(found(&[file("a.xml", GOOD), file("custom-block.xml", block)]), [""; 0]);
}

#[test]
fn a_rule_on_our_own_events_starts_no_active_response() {
    for name in ["custom-audit.xml", "custom-block.xml", "custom-webhook.xml"] {
        let readme = README.replace("a.xml", name);
        let bare: Vec<String> = lint(&[file(name, GOOD)], &readme).iter().map(ToString::to_string).collect();
        let expected = [100_100, 100_101, 100_102].map(|id| {
            format!("{name}: rule {id}: no <options>no_ar</options>: an active response would feed on it")
        });
        assert_eq!(bare, expected);
        let quiet = GOOD.replace("</description>", "</description><options>no_ar</options>");
        assert_eq!(lint(&[file(name, &quiet)], &readme), []);
    }
}

#[test]
fn a_technique_is_in_the_table_and_the_table_has_no_other() {
    assert_eq!(
        changed("T1110.001", "T1110.009"),
        [
            "a.xml: rule 100101: T1110.009 is not in the table of techniques",
            "README.md: no rule has the technique T1110.001"
        ]
    );
    assert_eq!(
        changed("<mitre><id>T1110.001</id></mitre>", ""),
        ["README.md: no rule has the technique T1110.001"]
    );
}

#[test]
fn the_table_of_ids_must_be_sound() {
    for (from, to, expected) in [
        ("100100-100149", "100100-100155", "README.md: 100150 of b.xml overlaps 100100-100155 of a.xml"),
        ("100150, 100160–100169 | `b.xml`", "100150-100169, 100151 | `b.xml`", ""),
        ("100160–100169", "99999", "README.md:  99999 is no range within 100000 to 120000"),
        ("100160–100169", "100160-x", "README.md:  100160-x is no range within 100000 to 120000"),
    ] {
        let readme = README.replace(from, to);
        let found: Vec<String> =
            lint(&[file("a.xml", GOOD)], &readme).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(""), expected);
    }
}
