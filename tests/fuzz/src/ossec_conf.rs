//! Wazuh's own configuration: `ossec.conf`, and behind a NUL `ar.conf`.

use common::wazuh::config::{OssecConf, largest_timeout};
use custom_block::host::WazuhConf;

/// What libFuzzer and the driver put in.
pub const WORDS: &[&str] = &[
    "<ossec_config>", "</ossec_config>", "<client>", "</client>", "<server>", "</server>", "<manager>", "<address>",
    "</address>", "<port>", "</port>", "<cluster>", "<nodes>", "<node>", "</node>", "<active-response>",
    "<repeated_offenders>", "</repeated_offenders>", "<!--", "-->", "<![CDATA[", "]]>", "&amp;", "&#0;", "&x;", "<?xml",
    "?>", "<!DOCTYPE", "</", "/>", "=\"", " - ", "\n", "\0", "custom-block", "18446744073709551615", ",",
];

/// Files as they are on hosts, and some that are not.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let table = "restart-wazuh0 - restart-wazuh - 0\ncustom-block600 - custom-block - 600\nb60 - custom-block - 60\nx - y\n";
    [
        "<ossec_config>\n  <client>\n    <server>\n      <address>192.0.2.10</address>\n      <port>1514</port>\n      \
         <protocol>tcp</protocol>\n    </server>\n    <config-profile>debian</config-profile>\n  </client>\n\
         <active-response><disabled>no</disabled><repeated_offenders>30,60,120</repeated_offenders></active-response>\n\
         </ossec_config>\n<ossec_config>\n<cluster><nodes><node>manager.example.org</node></nodes></cluster></ossec_config>",
        "<!-- x --><a><client><manager><address> 2001:db8::1 </address></manager></client><b c=\"d\"/><![CDATA[x]]>&amp;</a>",
        "<a><client><server><address>192.0.2.1</address></server></client><<<&x",
        "",
    ]
    .iter()
    .map(|xml| format!("{xml}\0{table}").into_bytes())
    .collect()
}

/// Reads both.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (xml, table) = text.split_once('\0').unwrap_or((&text, &text));
    let ossec = OssecConf::parse(xml);
    assert!(ossec.peers.len() <= 1024);
    assert!(ossec.peers.iter().all(|peer| (1..=255).contains(&peer.len())), "{:?}", ossec.peers);
    assert!(!ossec.ports.is_empty());
    // It is kept as JSON.
    let json = serde_json::to_string(&ossec).expect("JSON");
    assert_eq!(serde_json::from_str::<OssecConf>(&json).expect("what was written"), ossec);

    let listed = largest_timeout(table, "custom-block");
    let repeated = ossec.repeated_offenders.iter().copied().max().unwrap_or(0);
    let both = WazuhConf { ossec, ar_conf: table.to_owned() }.largest_timeout("custom-block");
    assert_eq!(both, listed.map(|listed| if listed > 0 { listed.max(repeated) } else { 0 }));
    if listed.is_some() {
        assert!(table.contains("custom-block"));
    }
}
