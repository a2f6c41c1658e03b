use super::*;

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

#[test]
fn secrets_are_known_by_their_names_however_they_are_spelt() {
    let redact = Redact::new(&["ssn".to_owned(), "Card-Number".to_owned()]);
    for name in [
        "password",
        "newPassword",
        "PASSWORD_CONFIRMATION",
        "user-passwd",
        "token",
        "accessToken",
        "refresh_token",
        "X-Api-Key",
        "apiKey",
        "Authorization",
        "Set-Cookie",
        "client_secret",
        "privateKey",
        "sessionId",
        "aws_session_token",
        "otp",
        "cvv",
        "encrypted_password",
        "SSN",
        "cardNumber",
    ] {
        assert!(redact.is_secret(name), "{name}");
    }
    for name in [
        "user",
        "keyboard",
        "author",
        "passenger",
        "compass",
        "token_type",
        "tokenCount",
        "accessKeyId",
        "password_changed_at",
        "secret_type",
        "pinned",
        "auth_action",
        "status_code",
        "qr_code_id",
        "",
        "---",
    ] {
        assert!(!redact.is_secret(name), "{name}");
    }
}

#[test]
fn secrets_are_known_where_names_run_together() {
    let redact = Redact::default();
    for name in [
        "APIToken",
        "accesstoken",
        "authtoken",
        "refreshtoken",
        "idtoken",
        "csrftoken",
        "csrfmiddlewaretoken",
        "JWTToken",
        "SSOToken",
        "token1",
        "pwd2",
        "otp2",
        "PIN1",
        "passcode",
        "newpass",
        "userpass",
        "passwort",
        "session",
        "mfaCode",
        "2faCode",
        "recovery_code",
        "backupCodes",
        "connection_string",
        "connectionString",
        "PHPSESSID",
        "userPwd",
        "smsotp",
        "authTokens",
    ] {
        assert!(redact.is_secret(name), "{name}");
    }
    for name in [
        "token_id",
        "APITokenID",
        "tokenType2",
        "bypass",
        "push_protection_bypass",
        "encompass",
        "status_code",
        "error_code",
        "country_code",
        "qr_code",
        "codes",
        "HTTPStatus",
        "session_count",
        "sessions",
        "signature",
        "auth",
        "auth_method",
        "passed",
        "ip4Address",
        "s3",
        "inside",
        "side",
    ] {
        assert!(!redact.is_secret(name), "{name}");
    }
    for (name, value, replaced) in [
        ("sid", "\"s:4f3a\"", true),
        ("connect.sid", "\"s:4f3a\"", true),
        ("sid", "\"S-1-5-21-1\"", false),
        ("sid", "2001219", false),
        ("Sid", "\"AllowAll\"", false),
        ("dsn", "\"5.1.1\"", false),
        ("sentry_dsn", "\"https://key@host/1\"", true),
        ("DSN", "\"host=h password=x\"", true),
    ] {
        assert_eq!(redact.replaces(name, raw(value)).is_some(), replaced, "{name} {value}");
    }
}

#[test]
fn secrets_in_queries_and_before_hosts_are_taken_out() {
    let redact = Redact::default();
    for (text, clean) in [
        ("/reset?token=abc&user=eve", "/reset?token=[redacted]&user=eve"),
        (
            "https://h/x?password=a%26b#access_token=z",
            "https://h/x?password=[redacted]#access_token=[redacted]",
        ),
        ("https://u:PASS@h/x@y", "https://u:[redacted]@h/x@y"),
        ("to https://u:p&s;s@h and ftp://v:q@i", "to https://u:[redacted]@h and ftp://v:[redacted]@i"),
        ("https://u:token=x@h/", "https://u:[redacted]@h/"),
        ("Server=h;User=u;Pwd=secret;", "Server=h;User=u;Pwd=[redacted];"),
        ("password=x&remember=1", "password=[redacted]&remember=1"),
    ] {
        assert_eq!(redact.text(text), clean);
        assert_eq!(redact.text(clean), clean, "once more");
        assert_eq!(Redact::nothing().text(text), text);
    }
    // What is none, and what a rule looks for.
    for text in [
        "",
        "/a?b=c",
        "https://h/a@b:c",
        "https://user@h/",
        "token",
        "?token=",
        "YWJjcHc9cHc==",
        "/x?token=../../etc/passwd",
        "/x?password='%20or%201=1",
        "/x?pin=<script>",
        "a ? b : c",
    ] {
        assert!(matches!(redact.text(text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn credentials_and_lines_of_heads_are_taken_out() {
    let redact = Redact::default();
    let (jwt, key) = ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "dXNlcjpwYXNz");
    for (text, clean) in [
        (
            "Host: a\r\nAuthorization: Bearer S1\r\nCookie: sid=S2\r\nX-Api-Key: S3\r\nAccept: */*",
            "Host: a\r\nAuthorization: [redacted]\r\nCookie: [redacted]\r\nX-Api-Key: [redacted]\r\nAccept: */*",
        ),
        ("password: hunter2", "password: [redacted]"),
        ("curl -H 'Authorization: Bearer abcdef1234'", "curl -H 'Authorization: Bearer [redacted]'"),
        (&format!("Basic {key} failed"), "Basic [redacted] failed"),
        (&format!("token {jwt}, twice: {jwt}"), "token [redacted], twice: [redacted]"),
        (&format!("bearer {jwt}"), "bearer [redacted]"),
        (&format!("/a?token={jwt}&b=c"), "/a?token=[redacted]&b=c"),
    ] {
        assert_eq!(redact.text(text), clean);
        assert_eq!(redact.text(clean), clean, "once more");
        assert_eq!(Redact::nothing().text(text), text);
    }
    for text in [
        "Bearer authentication is required",
        "Basic auth",
        "Host: a",
        "key: eyJ",
        "keyJohn.a.b",
        "password:",
        "password: ' or 1=1",
        "the password: wrong",
        "10:20:30",
    ] {
        assert!(matches!(redact.text(text), Cow::Borrowed(_)), "{text}");
    }
    for (name, is_one) in [("Cookie", true), ("x-api-key", true), ("token", false), ("Content-Type", false)] {
        assert_eq!(redact.is_secret_header(name), is_one, "{name}");
    }
}

#[test]
fn what_an_object_calls_its_value_counts() {
    let check = |text: &str| {
        let members = crate::json::members(raw(text));
        let told = told(&members);
        called(told.as_deref(), "value").to_owned()
    };
    assert_eq!(check(r#"{"name":"Authorization","value":"x"}"#), "Authorization");
    assert_eq!(check(r#"{"Value":"x","Key":"token"}"#), "token");
    assert_eq!(check(r#"{"name":"How to set a password","value":"x"}"#), "value");
    assert_eq!(check(r#"{"name":["password"],"value":"x"}"#), "value");
    assert_eq!(called(Some("token"), "name"), "name");
}

#[test]
fn whether_there_is_a_secret_is_no_secret() {
    let redact = Redact::default();
    for (value, replaced) in
        [("true", false), ("null", false), ("\"\"", false), ("\"x\"", true), ("1234", true), ("[1]", true)]
    {
        assert_eq!(redact.replaces("password", raw(value)).is_some(), replaced, "{value}");
    }
    assert_eq!(redact.replaces("user", raw("\"x\"")), None);
}
