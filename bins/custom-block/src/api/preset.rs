//! The requests of firewalls that many have, as a user could have written
//! them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::StepConfig;

/// A firewall whose requests are known.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `POST /rules` and `DELETE /rules/<target>`: your own webhook.
    Generic,
    /// OPNsense, an alias of the type "External (advanced)".
    Opnsense,
    /// Cloudflare, IP access rules of a zone.
    Cloudflare,
    /// Cloudflare, a list of an account.
    CloudflareList,
    /// MikroTik RouterOS 7, an address list.
    Mikrotik,
    /// FortiGate, banned addresses.
    Fortigate,
    /// CrowdSec's local API.
    Crowdsec,
}

/// The contents of a preset.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Parsed {
    pub(super) url: Option<String>,
    pub(super) ttl_max: Option<u64>,
    pub(super) ttl_forever: Option<u64>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    pub(super) add: Vec<StepConfig>,
    pub(super) delete: Vec<StepConfig>,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 7] = [
        Preset::Generic,
        Preset::Opnsense,
        Preset::Cloudflare,
        Preset::CloudflareList,
        Preset::Mikrotik,
        Preset::Fortigate,
        Preset::Crowdsec,
    ];

    /// Its contents as TOML, with the keys of `[[api]]` (`[[add]]` is
    /// `[[api.add]]` there), to be copied and changed.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Preset::Generic => GENERIC,
            Preset::Opnsense => OPNSENSE,
            Preset::Cloudflare => CLOUDFLARE,
            Preset::CloudflareList => CLOUDFLARE_LIST,
            Preset::Mikrotik => MIKROTIK,
            Preset::Fortigate => FORTIGATE,
            Preset::Crowdsec => CROWDSEC,
        }
    }

    pub(super) fn parse(self) -> Result<Parsed, String> {
        toml::from_str(self.text()).map_err(|why| why.to_string())
    }
}

const GENERIC: &str = r#"# {ttl} is 0 for a block without end.
[[add]]
method = "POST"
url = "/rules"
body = '{"ip":"{target}","action":"block","ttl":{ttl},"reason":"{reason}"}'
already = [{ status = [409] }]

[[delete]]
method = "DELETE"
url = "/rules/{target}"
ok = [{ status = [200, 202, 204] }]
absent = [{ status = [404, 410] }]
"#;

const OPNSENSE: &str = r#"# Needs variables.alias, and the two halves of an API key as basic_user_file and
# basic_password_file. With a host or network alias every change is written
# into the configuration; an "External (advanced)" one is only the table.
# A failure is answered with status 200 as well.
[[add]]
method = "POST"
url = "/api/firewall/alias_util/add/{alias}"
body = '{"address":"{target}"}'
ok = [{ status = [200], pointer = "/status", equals = "done" }]

[[delete]]
method = "POST"
url = "/api/firewall/alias_util/delete/{alias}"
body = '{"address":"{target}"}'
ok = [{ status = [200], pointer = "/status", equals = "done" }]
"#;

const CLOUDFLARE: &str = r#"# Needs variables.zone (the zone's id) and bearer_file.
url = "https://api.cloudflare.com/client/v4"
variables = { mode = "block" }

[[add]]
method = "POST"
url = "/zones/{zone}/firewall/access_rules/rules"
body = '{"mode":"{mode}","configuration":{"target":"{cloudflare_kind}","value":"{target}"},"notes":"wazuh rule {rule_id}"}'
ok = [{ status = [200], pointer = "/success", equals = true }]
already = [
    { contains = "duplicate_of_existing" },
    { pointer = "/errors/0/code", equals = 10009 },
]

# The rules of an IPv6 address are found by its long spelling only.
[[delete]]
method = "GET"
url = "/zones/{zone}/firewall/access_rules/rules?mode={mode}&configuration.target={cloudflare_kind}&configuration.value={expanded}"
ok = [{ status = [200], pointer = "/success", equals = true }]
capture = { name = "id", list = "/result", where = "/configuration/value", equals = "{target}", pointer = "/id", empty_is_absent = true }

[[delete]]
method = "DELETE"
url = "/zones/{zone}/firewall/access_rules/rules/{id}"
ok = [{ status = [200] }]
absent = [{ status = [404] }]
"#;

const CLOUDFLARE_LIST: &str = r#"# Needs variables.account and variables.list (their ids) and bearer_file. A search
# for 192.0.2.1 finds 192.0.2.10 as well, so the item is looked for by value.
url = "https://api.cloudflare.com/client/v4"

[[add]]
method = "POST"
url = "/accounts/{account}/rules/lists/{list}/items"
body = '[{"ip":"{target}","comment":"wazuh rule {rule_id}"}]'
ok = [{ status = [200], pointer = "/success", equals = true }]

[[delete]]
method = "GET"
url = "/accounts/{account}/rules/lists/{list}/items?search={target}"
ok = [{ status = [200], pointer = "/success", equals = true }]
capture = { name = "id", list = "/result", where = "/ip", equals = "{target}", pointer = "/id", empty_is_absent = true }

[[delete]]
method = "DELETE"
url = "/accounts/{account}/rules/lists/{list}/items"
body = '{"items":[{"id":"{id}"}]}'
ok = [{ status = [200], pointer = "/success", equals = true }]
absent = [{ status = [404] }]
"#;

const MIKROTIK: &str = r#"# Needs basic_user and basic_password_file. RouterOS takes timeouts of up to 35
# weeks, so a block without end is one of 35 weeks; the first and the last step of
# add without "timeout" make it permanent.
variables = { list = "wazuh" }
ttl_max = 21168000
ttl_forever = 21168000

[[add]]
method = "PUT"
url = "/rest/{mikrotik_path}/firewall/address-list"
body = '{"list":"{list}","address":"{mikrotik_address}","timeout":"{ttl_hms}","comment":"wazuh rule {rule_id}"}'
ok = [{ status = [200, 201] }]
already = [{ status = [400], contains = "already have such entry" }]
next_after = "already"

[[add]]
method = "GET"
url = "/rest/{mikrotik_path}/firewall/address-list?list={list}&address={mikrotik_address}&.proplist=.id,address"
capture = { name = "id", list = "", where = "/address", equals = "{target}", pointer = "/.id" }

[[add]]
method = "PATCH"
url = "/rest/{mikrotik_path}/firewall/address-list/{id}"
body = '{"timeout":"{ttl_hms}"}'

[[delete]]
method = "GET"
url = "/rest/{mikrotik_path}/firewall/address-list?list={list}&address={mikrotik_address}&.proplist=.id,address"
capture = { name = "id", list = "", where = "/address", equals = "{target}", pointer = "/.id", empty_is_absent = true }

[[delete]]
method = "DELETE"
url = "/rest/{mikrotik_path}/firewall/address-list/{id}"
ok = [{ status = [200, 204] }]
absent = [{ status = [404] }]
"#;

const FORTIGATE: &str = r#"# Needs bearer_file. Takes single addresses only; expiry 0 is a ban without end.
variables = { vdom = "root" }

[[add]]
method = "POST"
url = "/api/v2/monitor/user/banned/add_users?vdom={vdom}"
body = '{"ip_addresses":["{ip}"],"expiry":{ttl}}'
ok = [{ status = [200], pointer = "/status", equals = "success" }]

[[delete]]
method = "POST"
url = "/api/v2/monitor/user/banned/clear_users?vdom={vdom}"
body = '{"ip_addresses":["{ip}"]}'
ok = [{ status = [200], pointer = "/status", equals = "success" }]
"#;

const CROWDSEC: &str = r#"# Needs variables.machine_id and secrets.password of a machine (cscli machines add);
# the keys of bouncers can only read. A block without end is one of ten years.
# Before CrowdSec 1.5, "cscli decisions list" shows these decisions with -a only.
url = "http://127.0.0.1:8080"
variables = { origin = "wazuh" }
ttl_forever = 315360000

[[add]]
method = "POST"
url = "/v1/watchers/login"
body = '{"machine_id":"{machine_id}","password":"{password}","scenarios":[]}'
ok = [{ status = [200] }]
capture = { name = "token", pointer = "/token" }

[[add]]
method = "POST"
url = "/v1/alerts"
headers = { Authorization = "Bearer {token}" }
body = '''[{"scenario":"wazuh/{rule_id}","scenario_hash":"","scenario_version":"","message":"{reason}",
"events_count":1,"start_at":"{now_rfc3339}","stop_at":"{now_rfc3339}","capacity":0,"leakspeed":"0","simulated":false,
"events":[],"source":{"scope":"{crowdsec_scope}","value":"{target}"},
"decisions":[{"duration":"{ttl}s","origin":"{origin}","scenario":"wazuh/{rule_id}","scope":"{crowdsec_scope}",
"type":"ban","value":"{target}"}]}]'''
ok = [{ status = [200, 201] }]

[[delete]]
method = "POST"
url = "/v1/watchers/login"
body = '{"machine_id":"{machine_id}","password":"{password}","scenarios":[]}'
ok = [{ status = [200] }]
capture = { name = "token", pointer = "/token" }

# By value and origin: "ip=" would also delete the ranges that the address lies in,
# and what others decided.
[[delete]]
method = "DELETE"
url = "/v1/decisions?scopes={crowdsec_scope}&value={target}&origin={origin}"
headers = { Authorization = "Bearer {token}" }
ok = [{ status = [200] }]
absent = [{ status = [404] }]
"#;

#[cfg(test)]
mod tests;
