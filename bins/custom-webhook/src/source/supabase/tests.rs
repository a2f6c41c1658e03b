use serde_json::{Value, json};

use super::*;
use crate::sign::UNAUTHORIZED;
use crate::source::testing::{config, cpu, given, line, post};

const SECRET: (&str, &str) = ("x-webhook-secret", "It's a Secret to Everybody");

fn supabase(extra: &str) -> Box<dyn Source> {
    let config: Config = config(&format!("secret_files = [\"/secret\"]\n{extra}"));
    given(None, |given| config.compile(given)).unwrap_or_else(|why| panic!("{why}"))
}

fn sent(extra: &str, body: &Value) -> Value {
    line(post(supabase(extra).as_ref(), &[SECRET], body.to_string().as_bytes()))
}

/// The three payloads of Supabase's documentation.
#[test]
fn rows_become_what_the_rules_ask_for() {
    let found = sent(
        "",
        &json!({"type": "INSERT", "table": "users", "schema": "auth",
                "record": {"id": "u1", "email": "a@example.com", "is_super_admin": null, "confirmed": false}, "old_record": null}),
    );
    assert_eq!(
        found,
        json!({"toolkit": "custom-webhook", "source": "supabase", "event": "insert",
               "received_at": "2026-11-21T18:00:10.000Z", "schema": "auth", "table": "users", "record_id": "u1",
               "record_email": "a@example.com", "record_confirmed": false})
    );
    let found = sent(
        "",
        &json!({"type": "UPDATE", "table": "profiles", "schema": "public",
                "record": {"id": 1, "role": "admin", "at": 1_716_897_300_123_u64, "same": "x"},
                "old_record": {"id": 1, "role": "member", "at": 1_716_897_300_122_u64, "same": "x"}}),
    );
    assert_eq!((found["changed"].as_str(), found["event"].as_str()), (Some("at,role"), Some("update")));
    assert_eq!((found["record_role"].as_str(), found["old_role"].as_str()), (Some("admin"), Some("member")));
    assert_eq!((found["record_at"].as_str(), found["old_id"].as_i64()), (Some("1716897300123"), Some(1)));
    let found = sent(
        "",
        &json!({"type": "DELETE", "table": "orders", "schema": "public", "record": null, "old_record": {"id": 7}}),
    );
    assert_eq!((found["event"].as_str(), found["old_id"].as_i64()), (Some("delete"), Some(7)));
    assert!(found.get("changed").is_none());
}

#[test]
fn columns_can_be_left_out_or_hashed() {
    let extra = "drop_columns = [\"phone\", \"public.users.note\", \"orders.note\"]\n\
                 hash_columns = [\"users.email\"]\nhash_key_file = \"/a-key-of-our-own\"";
    let row = |table: &str, email: &str| {
        json!({"type": "UPDATE", "table": table, "schema": "public",
               "record": {"email": email, "phone": "p", "note": "n"}, "old_record": {"email": "b@example.com", "phone": "q"}})
    };
    let found = sent(extra, &row("users", "a@example.com"));
    let hash = found["record_email"].as_str().unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!found.to_string().contains("example.com") && found.get("record_phone").is_none());
    assert!(found.get("record_note").is_none());
    assert_eq!(found["changed"], "email,note,phone");
    let same = sent(extra, &row("users", "b@example.com"));
    assert_eq!(same["record_email"], same["old_email"]);
    assert_ne!(found["record_email"], same["record_email"]);
    let other = sent(&extra.replace("of-our-own", "of-others"), &row("users", "a@example.com"));
    assert_ne!(found["record_email"], other["record_email"]);
    // As the line spells it, too.
    let spelt = extra.replace("users.email", "users.contact_email");
    let body = json!({"type": "INSERT", "table": "users", "schema": "public", "record": {"contactEmail": "a@example.com"}});
    assert!(!sent(&spelt, &body).to_string().contains("example.com"));
    let elsewhere = sent(extra, &row("profiles", "a@example.com"));
    assert_eq!(
        (elsewhere["record_email"].as_str(), elsewhere["record_note"].as_str()),
        (Some("a@example.com"), Some("n"))
    );
}

#[test]
fn what_supabase_keeps_secret_stays_so() {
    let found = sent(
        "redact = [\"iban\"]",
        &json!({"type": "INSERT", "table": "users", "schema": "auth", "record": {
            "encrypted_password": "s1", "confirmation_token": "s2", "IBAN": "s3",
            "raw_app_meta_data": {"provider": "email", "refresh_token": "s4", "a": [{"api_key": "s5"}]},
            "confirmation_sent_at": "t"}, "old_record": null}),
    );
    let text = found.to_string();
    assert!((1..6).all(|number| !text.contains(&format!("s{number}"))), "{text}");
    assert!(
        found["record_raw_app_meta_data"]
            .as_str()
            .unwrap()
            .starts_with("{\"a\":[{\"api_key\":\"[redacted]\"}],\"provider\"")
    );
    assert_eq!(found["record_confirmation_sent_at"], "t");
}

#[test]
fn columns_of_odd_names_mean_nothing() {
    let found = sent(
        "",
        &json!({"type": "INSERT", "table": "t", "schema": "public",
                "record": {"srcip": "1.1.1.1", "Name": 1, "name": 2, "x y": 3, "": 4, "\u{202e}": 5}, "old_record": null}),
    );
    for (key, value) in
        [("record_name", 1), ("record_name_2", 2), ("record_x_y", 3), ("record", 4), ("record_2", 5)]
    {
        assert_eq!(found[key], value, "{found}");
    }
    assert!(found.get("srcip").is_none());
}

#[test]
fn wide_tables_keep_within_the_limit() {
    let wide = |value: &str| {
        (0..400).map(|n| (format!("c{n}"), json!(value.repeat(500)))).collect::<serde_json::Map<_, _>>()
    };
    let found = sent(
        "",
        &json!({"type": "UPDATE", "table": "t", "schema": "public", "record": wide("é"), "old_record": wide("\"")}),
    );
    assert!(found["fields_cut"].as_i64().unwrap() > 600);
}

#[test]
fn long_columns_do_not_push_out_the_short_ones() {
    let mut row: serde_json::Map<_, _> = (0..8).map(|n| (format!("c{n}"), json!("a".repeat(8100)))).collect();
    row.insert("role".to_owned(), json!("admin"));
    let mut before = row.clone();
    before.insert("role".to_owned(), json!("member"));
    let found = sent(
        "",
        &json!({"type": "UPDATE", "table": "t", "schema": "public", "record": row, "old_record": before}),
    );
    assert_eq!((&found["record_role"], &found["old_role"]), (&json!("admin"), &json!("member")));
}

#[test]
fn many_columns_take_no_time_to_compare() {
    let columns = |value: usize| {
        (0..4096).map(|n| (format!("column_of_a_name_{n}"), json!(value))).collect::<serde_json::Map<_, _>>()
    };
    let row = json!({"type": "UPDATE", "table": "t", "schema": "s", "record": columns(1), "old_record": columns(2)});
    let (body, source) = (row.to_string(), supabase(""));
    let before = cpu();
    for _ in 0..10 {
        assert!(line(post(source.as_ref(), &[SECRET], body.as_bytes()))["changed"].is_string());
    }
    let took = cpu() - before;
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
}

#[test]
fn the_secret_is_in_the_header_that_was_configured() {
    let body = br#"{"type":"DELETE","table":"t","schema":"s","old_record":{}}"#;
    let check = |source: &dyn Source, pairs: &[(&str, &str)]| post(source, pairs, body).map(|_| ());
    let refused = Err(Refusal::Unauthorized(UNAUTHORIZED));
    assert_eq!(check(supabase("").as_ref(), &[SECRET]), Ok(()));
    assert_eq!(check(supabase("").as_ref(), &[("x-webhook-secret", "it's a secret to everybody")]), refused);
    assert_eq!(check(supabase("").as_ref(), &[]), refused);
    let bearer = supabase("header = \"Authorization\"");
    assert_eq!(check(bearer.as_ref(), &[("authorization", "Bearer It's a Secret to Everybody")]), Ok(()));
    assert_eq!(check(bearer.as_ref(), &[("authorization", "It's a Secret to Everybody")]), refused);
}

#[test]
fn tables_are_chosen_and_repeats_are_known_by_their_key_only() {
    let row = |schema: &str, table: &str| {
        json!({"type":"INSERT","table":table,"schema":schema,"record":{"a":1}}).to_string()
    };
    let source = supabase("allow = [\"users\", \"public.orders\"]\ndeny = [\"audit.users\"]");
    for (schema, table, wanted) in [
        ("auth", "users", true),
        ("audit", "users", false),
        ("public", "orders", true),
        ("x", "orders", false),
        ("x", "y", false),
    ] {
        let outcome = post(source.as_ref(), &[SECRET], row(schema, table).as_bytes()).unwrap();
        assert_eq!(matches!(outcome, Outcome::Events { .. }), wanted, "{schema}.{table}");
    }
    let ids = |pairs: &[(&str, &str)]| match post(supabase("").as_ref(), pairs, row("a", "b").as_bytes())
        .unwrap()
    {
        Outcome::Events { ids, .. } => ids,
        other => panic!("{other:?}"),
    };
    assert!(ids(&[SECRET]).is_empty());
    assert_eq!(ids(&[SECRET, ("idempotency-key", "k")]).len(), 1);
}

#[test]
fn what_is_no_row_is_refused() {
    for body in [
        "",
        "[]",
        "7",
        "{}",
        "{\"type\":\"insert\"}",
        "{\"type\":\"INSERT\"}",
        "{\"type\":\"INSERT\",\"table\":\"\"}",
        "{\"type\":\"TRUNCATE\",\"table\":\"t\"}",
    ] {
        let refusal = post(supabase("").as_ref(), &[SECRET], body.as_bytes()).unwrap_err();
        assert!(matches!(refusal, Refusal::BadRequest(_)), "{body}: {refusal:?}");
    }
    let odd = br#"{"type":"UPDATE","table":"t","schema":["x"],"record":7,"old_record":[1]}"#;
    assert_eq!(line(post(supabase("").as_ref(), &[SECRET], odd))["table"], "t");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    for (text, key) in [
        ("", "secret_files"),
        ("secret_files = [\"/secret\"]\nheader = \"a b\"", "header"),
        ("secret_files = [\"/secret\"]\nhash_columns = [\"a\"]", "hash_key_file"),
        ("secret_files = [\"/secret\"]\nhash_key_file = \"/missing\"", "hash_key_file"),
        ("secret_files = [\"/secret\"]\ndrop_columns = [\"a..b\"]", "drop_columns"),
        ("secret_files = [\"/secret\"]\nallow = [\"a.b.c\"]", "allow"),
    ] {
        let config: Config = config(text);
        let why = given(None, |given| config.compile(given)).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(why.key, key, "{text}");
    }
}
