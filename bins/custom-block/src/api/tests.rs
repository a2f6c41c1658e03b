use super::*;

fn compile(more: &str) -> Result<Api, Error> {
    let text = format!("name = 'fw'\npreset = 'generic'\n{more}");
    Api::compile(&toml::from_str::<ApiConfig>(&text).unwrap())
}

#[test]
fn http_without_tls_is_for_this_host_only() {
    for (url, more, fine) in [
        ("https://fw.example", "", true),
        ("https://fw.example/a/b/", "", true),
        ("http://127.0.0.1:8080", "", true),
        ("http://[::1]:8080", "", true),
        ("http://localhost", "", true),
        ("http://localhost.evil.example", "", false),
        ("http://192.0.2.1", "", false),
        ("http://192.0.2.1", "allow_plain_http = true", true),
        ("ftp://fw.example", "", false),
        ("https://user:pass@fw.example", "", false),
        ("https://fw.example/?a=b", "", false),
        ("https://fw.example/#a", "", false),
        ("file:///etc/passwd", "", false),
        ("fw.example", "", false),
    ] {
        assert_eq!(compile(&format!("url = '{url}'\n{more}")).is_ok(), fine, "{url} {more}");
    }
}

#[test]
fn a_mistake_is_named_with_its_key() {
    for (more, key) in [
        ("timeout = 0", "timeout"),
        ("timeout = 301", "timeout"),
        ("bearer_file = 'token'", "bearer_file"),
        ("bearer_file = '/a'\nheader = { name = 'X-A', value_file = '/b' }", "bearer_file"),
        ("basic_user = 'a'", "bearer_file"),
        ("basic_password_file = '/a'", "bearer_file"),
        ("basic_user = 'a:b'\nbasic_password_file = '/a'", "basic_user"),
        ("header = { name = 'X A', value_file = '/b' }", "header.name"),
        ("client_key = '/a'", "client_certificate"),
        ("ca_file = 'ca.pem'", "ca_file"),
        ("secrets = { a = 'b' }", "secrets"),
        ("secrets = { ip = '/b' }", "secrets"),
        ("variables = { ip = 'b' }", "variables"),
        ("variables = { A = 'b' }", "variables"),
        ("variables_ipv4 = { stack = 'ip' }", "variables"),
        ("[[add]]\nmethod = 'GET'\nurl = '/{nope}'", "add[0].url"),
        (
            "bearer_file = '/a'\n[[add]]\nmethod = 'GET'\nurl = '/'\nheaders = { authorization = 'x' }",
            "headers",
        ),
        (
            "header = { name = 'X-Key', value_file = '/a' }\n[[add]]\nmethod = 'GET'\nurl = '/'\nheaders = { x-key = 'x' }",
            "headers",
        ),
    ] {
        let error = compile(&format!("url = 'https://fw.example'\n{more}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("api \"fw\": {key}: ")), "{more}: {error}");
    }
    let four = "[[add]]\nmethod = 'GET'\nurl = '/'\n".repeat(4);
    assert!(compile(&format!("url = 'https://fw.example'\n{four}")).is_err());
    assert!(toml::from_str::<ApiConfig>("name = 'fw'\nulr = 'https://fw.example'").is_err());
    for name in ["", "a b", "../a", &"x".repeat(65)] {
        let text = format!("name = '{name}'\npreset = 'generic'\nurl = 'https://fw.example'");
        assert!(Api::compile(&toml::from_str(&text).unwrap()).is_err(), "{name}");
    }
}

#[test]
fn without_a_preset_both_lists_of_steps_are_needed() {
    let step = |op: &str| format!("[[{op}]]\nmethod = 'PUT'\nurl = '/{{target}}'\n");
    for (steps, fine) in [
        (step("add") + &step("delete"), true),
        (step("add"), false),
        (step("delete"), false),
        (String::new(), false),
    ] {
        let text = format!("name = 'fw'\nurl = 'https://fw.example'\n{steps}");
        assert_eq!(Api::compile(&toml::from_str(&text).unwrap()).is_ok(), fine, "{steps}");
    }
}

#[test]
fn a_variable_may_differ_between_the_families() {
    let text = "variables_ipv4 = { stack = 'ip' }\nvariables_ipv6 = { stack = 'ipv6' }\n[[add]]\nmethod = 'PUT'\nurl = '/{stack}/{target}'";
    assert!(compile(&format!("url = 'https://fw.example'\n{text}")).is_ok());
}
