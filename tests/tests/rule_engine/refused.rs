//! What is not known is refused, by name and with its place.

use harness::rules::Ruleset;

use crate::{file, load};

/// Parts of a rule, and words of what is said of them.
const INSIDE: &[(&str, &str)] = &[
    ("<field name=\"user\">x</field>", "field 'user' is static"),
    ("<field name=\"Action\">x</field>", "field 'Action' is static"),
    ("<field name=\"systemname\">x</field>", "is static"),
    ("<field>x</field>", "<field> without a name"),
    ("<field name=\"a\"></field>", "<field> is empty"),
    ("<field name=\"a\" type=\"regex\">x</field>", "type=\"regex\""),
    ("<field name=\"a\" negate=\"true\">x</field>", "negate=\"true\""),
    ("<field name=\"a\" case=\"no\">x</field>", "unknown attribute case"),
    ("<field name=\"a\"><b/></field>", "elements in <field>"),
    ("<field name=\"a\">x\ny</field>", "a line break"),
    ("<field name=\"a\">(x)</field>", "`(` is not what it seems"),
    ("<field name=\"a\">[x]</field>", "`[` is not what it seems"),
    ("<field name=\"a\">x+</field>", "`+` is not what it seems"),
    ("<field name=\"a\">\\d*</field>", "`*` is not what it seems"),
    ("<field name=\"a\">\\d+\\w</field>", "what follows a repetition"),
    ("<field name=\"a\">\\d+-\\d+</field>", "two repetitions"),
    ("<field name=\"a\">\\b</field>", "osregex knows no `\\b`"),
    ("<field name=\"a\">a||b</field>", "an empty alternative"),
    ("<field name=\"a\">a$b</field>", "`$` within an osregex"),
    ("<field name=\"a\">a^b</field>", "`^` is not what it seems"),
    ("<field name=\"a\" type=\"osmatch\">a\\.b</field>", "`\\` in an osmatch"),
    ("<field name=\"a\" type=\"osmatch\">a|</field>", "an empty alternative"),
    ("<field name=\"a\" type=\"osmatch\">a$b</field>", "within an osmatch"),
    ("<field name=\"a\" type=\"pcre2\">(</field>", "pcre2: "),
    ("<srcip>::1</srcip>", "compares IPv4 addresses with ::1"),
    ("<srcip>2001:db8::/32</srcip>", "compares IPv4 addresses with"),
    ("<srcip>!10.0.0.0/8</srcip>", "the engine drops the `!`"),
    ("<srcip>10.0.0.0/33</srcip>", "is no network"),
    ("<srcip>here</srcip>", "here is no address"),
    ("<srcip type=\"pcre2\">10.</srcip>", "unknown attribute type in <srcip>"),
    ("<srcip negate=\"yes\">10.0.0.1</srcip><srcip>10.0.0.2</srcip>", "the last <srcip> decides"),
    ("<srcuser>x</srcuser>", "<srcuser>x</srcuser> is unknown"),
    ("<frequency>5</frequency>", "<frequency> must be an attribute"),
    ("<timeframe>5</timeframe>", "<timeframe> must be an attribute"),
    ("<if_matched_group>x</if_matched_group>", "is unknown or not modelled"),
    ("<if_group>x</if_group>", "is unknown or not modelled"),
    ("<if_level>3</if_level>", "is unknown or not modelled"),
    ("<if_fts />", "is unknown or not modelled"),
    ("<hostname>x</hostname>", "is unknown or not modelled"),
    ("<check_diff />", "is unknown or not modelled"),
    ("<info>x</info>", "is unknown or not modelled"),
    ("<decoded_as>sshd</decoded_as>", "<decoded_as>sshd</decoded_as>"),
    ("<Match>x</Match>", "<Match>x</Match> is unknown"),
    ("<options>no_ar,no_full_log</options>", "<options>no_ar,no_full_log"),
    ("<options>no_counter</options>", "<options>no_counter"),
    ("<mitre></mitre>", "<mitre> without an id"),
    ("<mitre><id>1110</id></mitre>", "<id>1110</id> in <mitre>"),
    ("<mitre><tacticID>TA0001</tacticID></mitre>", "<tacticID>"),
    ("<match>a</match><match>b</match>", "<match> twice"),
    ("<description>again</description>", "<description> twice"),
    ("<if_sid>100000</if_sid>", "<if_sid> twice"),
    ("<list field=\"srcip\" lookup=\"match_key\">etc/lists/none</list>", "no list etc/lists/none"),
    ("<list field=\"srcip\" lookup=\"match_key_value\">etc/lists/known</list>", "lookup=\"match_key_value\""),
    ("<list field=\"dstuser\" lookup=\"match_key\">etc/lists/known</list>", "would be a dynamic field"),
    ("<list lookup=\"match_key\">etc/lists/known</list>", "<list> without a field"),
    ("<list field=\"srcip\">etc/lists/known</list>", "<list> without a lookup"),
    ("<same_srcip />", "need if_matched_sid"),
    ("<global_frequency />", "need if_matched_sid"),
    ("<if_matched_sid>100000</if_matched_sid>", "if_matched_sid without a frequency"),
    ("<if_matched_sid>none</if_matched_sid>", "<if_matched_sid>none"),
    ("<same_field>srcip</same_field>", "field 'srcip' is static"),
    ("<same_agent />", "<same_agent></same_agent> is unknown"),
    ("<same_source_ip />", "is unknown or not modelled"),
    ("<different_nothing />", "is unknown or not modelled"),
    ("<field name=\"a\">x &amp; y</field>", "decodes no entities"),
    ("<field name=\"a\"><![CDATA[x]]></field>", "CDATA"),
    ("<field name=\"a\">x<!-- y --></field>", "a comment within a text"),
    ("<!-- x !> -->", "a comment that `!>` would end"),
    ("<field name=\"a\">x\\</field>", "a backslash before the end of <field>"),
    ("<field name=\"a&amp;b\">x</field>", "the value of name in <field>"),
    ("text", "text beside elements in <rule>"),
];

#[test]
fn each_part_of_a_rule_that_is_not_known_is_refused() {
    for (inside, words) in INSIDE {
        let text = format!(
            "<rule id=\"100001\" level=\"3\"><if_sid>100000</if_sid>{inside}<description>d</description></rule>"
        );
        let problem = load(&text).expect_err(inside);
        assert!(problem.what.contains(words), "{inside}: {problem}");
        assert_eq!(problem.file, "t.xml");
        // What the reader refuses is at a line; all else is a rule's.
        assert!(problem.rule == Some(100_001) || problem.what.starts_with("line 3: "), "{inside}: {problem}");
    }
}

#[test]
fn each_attribute_of_a_rule_that_is_not_known_is_refused() {
    for (attributes, words) in [
        ("level=\"3\"", "without an id"),
        ("id=\"1000001\" level=\"3\"", "without an id"),
        ("id=\"100001\"", "no level"),
        ("id=\"100001\" level=\"17\"", "level=\"17\""),
        ("id=\"100001\" level=\"-1\"", "level=\"-1\""),
        ("id=\"100001\" level=\"3\" frequency=\"1\"", "frequency=\"1\""),
        ("id=\"100001\" level=\"3\" frequency=\"5\"", "need if_matched_sid"),
        ("id=\"100001\" level=\"3\" timeframe=\"60\"", "need if_matched_sid"),
        ("id=\"100001\" level=\"3\" timeframe=\"100000\"", "timeframe=\"100000\""),
        ("id=\"100001\" level=\"3\" ignore=\"a\"", "ignore=\"a\""),
        ("id=\"100001\" level=\"3\" maxsize=\"9\"", "maxsize is not modelled"),
        ("id=\"100001\" level=\"3\" noalert=\"1\"", "noalert is not modelled"),
        ("id=\"100001\" level=\"3\" accuracy=\"0\"", "accuracy is not modelled"),
        ("id=\"100001\" level=\"3\" overwrite=\"yes\"", "overwrite is not modelled"),
        ("id=\"100001\" level=\"3\" name=\"x\"", "unknown attribute name"),
        ("id=\"100001\" level=\"3\" level=\"4\"", "duplicate"),
    ] {
        let text = format!("<rule {attributes}><if_sid>100000</if_sid><description>d</description></rule>");
        let problem = load(&text).expect_err(attributes).to_string();
        assert!(problem.contains(words), "{attributes}: {problem}");
    }
}

#[test]
fn rules_must_stand_in_groups_and_fit_each_other() {
    let good = "<rule id=\"100002\" level=\"3\"><if_sid>100000</if_sid><description>d</description></rule>";
    for (rules, words) in [
        (
            "<rule id=\"100000\" level=\"3\"><match>x</match><description>d</description></rule>".to_owned(),
            "is used in t.xml",
        ),
        (good.replace("100000", "99"), "no rule 99 before it"),
        (good.replace("100000", "100002"), "no rule 100002 before it"),
        (good.replace("100000", "100000,100000"), "<if_sid>100000,100000"),
        (good.replace("100000", "&lt;"), "no entities"),
        (good.replace("<description>d</description>", ""), "no description"),
        (good.replace(">d<", "> <"), "no description"),
        (good.replace("</rule>", ""), ""),
        (format!("<var name=\"x\">y</var>{good}"), "<var> in a group"),
        (format!("text {good}"), "text beside elements in <group>"),
        (
            "<rule id=\"100001\" level=\"0\" frequency=\"3\"><if_matched_sid>100000</if_matched_sid>\
             <description>d</description></rule>"
                .to_owned(),
            "of level 0 never fires",
        ),
    ] {
        let problem = load(&rules).expect_err(&rules).to_string();
        assert!(problem.contains(words), "{rules}: {problem}");
    }
    for (text, words) in [
        ("<rule id=\"1\" level=\"3\"/>", "<rule> at the top"),
        ("<group name=\"a,\"></group>", "without a rule"),
        ("<group name=\"a,\" id=\"1\"><rule/></group>", "<group> at the top"),
        ("<?xml version=\"1.0\"?><group name=\"a,\"/>", "knows no declarations"),
        ("<group name=\"a,\">", "is not closed"),
        ("text", "text"),
        ("<group name='a>b'><rule/></group>", "the value of name"),
    ] {
        let problem = Ruleset::load(&[file("x.xml", text)], &[]).expect_err(text);
        assert!(problem.what.contains(words), "{text}: {problem}");
        assert_eq!(problem.file, "x.xml");
    }
}

#[test]
fn a_list_that_would_surprise_is_refused() {
    for (text, words) in [
        ("10.0.0.1", "without a colon"),
        ("# a remark", "without a colon"),
        ("# a remark: x", "not a key"),
        ("\"a:b:c", "not a key"),
        ("a\"b\":c", "not a key"),
        ("a:\"b\"", "not a key"),
        ("\"a\"b\":c", "not a key"),
        ("10.0.0.0/8:net", "a prefix that ends in a dot"),
        (":x", "not a key"),
        ("a:\na:", "a is there twice"),
    ] {
        let problem = Ruleset::load(&[], &[file("etc/lists/x", text)]).expect_err(text);
        assert!(problem.what.contains(words), "{text}: {problem}");
    }
    assert!(Ruleset::load(&[], &[file("etc/lists/x", "a:1\n\nb:\n/usr/bin/x:\n")]).is_ok());
}
