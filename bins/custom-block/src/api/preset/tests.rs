use super::*;
use crate::api::Api;
use crate::api::config::ApiConfig;

fn config(preset: &str, more: &str) -> ApiConfig {
    toml::from_str(&format!("name = 'fw'\npreset = '{preset}'\n{more}")).unwrap()
}

#[test]
fn every_preset_works_once_its_values_are_given() {
    for (preset, more) in [
        ("generic", "url = 'https://fw.example/api'\nbearer_file = '/etc/token'"),
        (
            "opnsense",
            "url = 'https://fw.example'\nvariables = { alias = 'wazuh' }\nbasic_user_file = '/etc/key'\nbasic_password_file = '/etc/secret'",
        ),
        ("cloudflare", "variables = { zone = 'abc' }\nbearer_file = '/etc/token'"),
        ("cloudflare-list", "variables = { account = 'abc', list = 'def' }\nbearer_file = '/etc/token'"),
        (
            "mikrotik",
            "url = 'https://fw.example'\nbasic_user = 'wazuh'\nbasic_password_file = '/etc/password'",
        ),
        ("fortigate", "url = 'https://fw.example'\nbearer_file = '/etc/token'"),
        ("crowdsec", "variables = { machine_id = 'wazuh' }\nsecrets = { password = '/etc/password' }"),
    ] {
        Api::compile(&config(preset, more)).unwrap();
    }
    assert_eq!(Preset::ALL.len(), 7);
}

#[test]
fn a_missing_value_is_named() {
    for (preset, more, key, name) in [
        ("generic", "", "url", "missing"),
        ("opnsense", "url = 'https://fw.example'", "add[0].url", "{alias}"),
        ("cloudflare", "", "add[0].url", "{zone}"),
        ("cloudflare-list", "variables = { account = 'a' }", "add[0].url", "{list}"),
        ("crowdsec", "variables = { machine_id = 'a' }", "add[0].body", "{password}"),
    ] {
        let error = Api::compile(&config(preset, more)).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(name) && error.contains("\"fw\""), "{preset}: {error}");
    }
}

#[test]
fn a_copied_preset_is_the_preset() {
    for preset in Preset::ALL {
        let copied = preset.text().replace("[[add]]", "[[api.add]]").replace("[[delete]]", "[[api.delete]]");
        let url = if copied.contains("\nurl = \"https://api") || copied.contains("\nurl = \"http:") {
            ""
        } else {
            "url = 'https://fw.example'\n"
        };
        let text = format!("[[api]]\nname = 'own'\n{url}{copied}");
        #[derive(Deserialize)]
        struct File {
            api: Vec<ApiConfig>,
        }
        let mut file: File = toml::from_str(&text).unwrap_or_else(|why| panic!("{text}\n{why}"));
        let api = &mut file.api[0];
        for name in ["zone", "account", "list", "alias", "machine_id"] {
            api.variables.entry(name.to_owned()).or_insert("x".to_owned());
        }
        api.secrets.insert("password".to_owned(), "/etc/password".into());
        Api::compile(api).unwrap();
    }
}

#[test]
fn own_steps_replace_those_of_the_preset() {
    let more = "url = 'https://fw.example'\n[[add]]\nmethod = 'PUT'\nurl = '/other/{target}'";
    let api = Api::compile(&config("generic", more)).unwrap();
    assert_eq!(
        (api.add[0].path.as_str(), api.delete[0].path.as_str()),
        ("/other/{target}", "/rules/{target}")
    );
}
