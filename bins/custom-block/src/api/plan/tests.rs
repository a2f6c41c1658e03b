use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer::new(status, body.as_bytes())
}

fn steps(text: &str) -> Vec<StepConfig> {
    #[derive(serde::Deserialize)]
    struct File {
        step: Vec<StepConfig>,
    }
    toml::from_str::<File>(text).unwrap().step
}

fn names() -> Names {
    crate::api::values::builtin()
}

#[test]
fn all_that_a_match_says_must_hold() {
    let like = |text: &str| toml::from_str::<Match>(text).unwrap();
    for (text, status, body, expected) in [
        ("status = [200]", 200, "", true),
        ("status = [200, 201]", 202, "", false),
        ("status = [200]\npointer = '/status'\nequals = 'done'", 200, r#"{"status":"done"}"#, true),
        ("status = [200]\npointer = '/status'\nequals = 'done'", 200, r#"{"status":"failed"}"#, false),
        ("status = [200]\npointer = '/status'\nequals = 'done'", 500, r#"{"status":"done"}"#, false),
        ("pointer = '/status'\nequals = 'done'", 200, "status: done", false),
        ("pointer = '/success'\nequals = true", 200, r#"{"success":true}"#, true),
        ("pointer = '/success'\nequals = true", 200, r#"{"success":"true"}"#, false),
        ("pointer = '/errors/0/code'\nequals = 10009", 400, r#"{"errors":[{"code": 10009}]}"#, true),
        ("pointer = '/errors/0/code'\nequals = 10009", 400, r#"{"errors":[]}"#, false),
        (
            "contains = 'already have such entry'",
            400,
            r#"{"detail":"failure: Already have such entry"}"#,
            true,
        ),
        ("contains = 'already'", 400, "no", false),
    ] {
        assert_eq!(answer(status, body).is(&like(text)), expected, "{text} of {status} {body}");
    }
}

#[test]
fn a_capture_finds_its_element_or_nothing_or_fails() {
    let capture = |text: &str| compile_capture(&toml::from_str(text).unwrap(), &mut names()).unwrap();
    let found = "name='id'\npointer='/id'\nlist='/result'\nwhere='/ip'\nequals='{target}'";
    let plain = "name='id'\npointer='/result/0/id'";
    let values = Values::from([("target".to_owned(), "192.0.2.1".to_owned())]);
    for (text, body, expected) in [
        (plain, r#"{"result":[{"id":"a"}]}"#, Ok(Some("a"))),
        (plain, r#"{"result":[{"id":12}]}"#, Ok(Some("12"))),
        (plain, r#"{"result":[]}"#, Ok(None)),
        (plain, r#"{"result":null}"#, Ok(None)),
        (plain, r#"{"result":[{"id":""}]}"#, Ok(None)),
        (plain, r#"{"result":[{"id":["a"]}]}"#, Err(())),
        (plain, r#"{"result":[{"id":"a\r\nb"}]}"#, Err(())),
        (plain, "<html>", Err(())),
        (
            found,
            r#"{"result":[{"ip":"192.0.2.10","id":"no"},{"ip":"192.0.2.1","id":"yes"}]}"#,
            Ok(Some("yes")),
        ),
        (found, r#"{"result":[{"ip":"::ffff:192.0.2.1","id":"yes"}]}"#, Ok(Some("yes"))),
        (found, r#"{"result":[{"ip":"192.0.2.10","id":"no"}]}"#, Ok(None)),
        (found, r#"{"result":[]}"#, Ok(None)),
        (found, r#"{"result":null}"#, Ok(None)),
        (found, r#"{"error":"x"}"#, Err(())),
        (found, r#"{"result":{"ip":"192.0.2.1"}}"#, Err(())),
    ] {
        let taken = capture(text).take(&answer(200, body), &values).map_err(drop);
        assert_eq!(taken, expected.map(|id| id.map(str::to_owned)), "{body}");
    }
    let long = format!(r#"{{"result":[{{"id":"{}"}}]}}"#, "x".repeat(LONGEST_CAPTURE + 1));
    assert!(capture(plain).take(&answer(200, &long), &values).is_err());
}

#[test]
fn nothing_to_do_is_asked_before_success() {
    let text =
        "[[step]]\nmethod='GET'\nurl='/'\nok=[{status=[200]}]\nabsent=[{status=[200],contains='none'}]";
    let step = &compile(&steps(text), false, &names()).map_err(|e| e.1).unwrap()[0];
    assert_eq!(step.meaning(&answer(200, "none")), Meaning::Unneeded);
    assert_eq!(step.meaning(&answer(200, "one")), Meaning::Ok);
    assert_eq!(step.meaning(&answer(404, "none")), Meaning::Failed);
}

#[test]
fn a_step_that_cannot_be_right_is_refused_with_its_key() {
    for (add, text, at, key) in [
        (true, "method='FETCH'\nurl='/'", 0, "method"),
        (true, "method='get'\nurl='/'", 0, "method"),
        (true, "method='GET'\nurl='{target}'", 0, "url"),
        (true, "method='GET'\nurl='/'\nheaders={'a b'='c'}", 0, "headers"),
        (true, "method='GET'\nurl='/'\nheaders={Host='c'}", 0, "headers"),
        (true, "method='GET'\nurl='/'\nheaders={Content-Length='3'}", 0, "headers"),
        (true, "method='GET'\nurl='/'\nheaders={X-A='1',x-a='2'}", 0, "headers"),
        (true, "method='PUT'\nurl='/'\nbody='{x'", 0, "body"),
        (true, "method='GET'\nurl='/'\nok=[{}]", 0, "ok"),
        (true, "method='GET'\nurl='/'\nok=[{status=[2000]}]", 0, "ok"),
        (true, "method='GET'\nurl='/'\nok=[{pointer='/a'}]", 0, "ok"),
        (true, "method='GET'\nurl='/'\nok=[{pointer='a',equals=1}]", 0, "ok"),
        (true, "method='GET'\nurl='/'\nalready=[{contains=''}]", 0, "already"),
        (true, "method='GET'\nurl='/'\nabsent=[{status=[404]}]", 0, "absent"),
        (false, "method='GET'\nurl='/'\nalready=[{status=[409]}]", 0, "already"),
        (true, "method='GET'\nurl='/'\nnext_after='already'\nalready=[{status=[409]}]", 0, "next_after"),
        (true, "method='GET'\nurl='/'\ncapture={name='id',pointer='/id'}", 0, "capture"),
        (
            true,
            "method='GET'\nurl='/'\ncapture={name='ip',pointer='/id'}\n[[step]]\nmethod='GET'\nurl='/'",
            0,
            "capture",
        ),
        (
            true,
            "method='GET'\nurl='/'\ncapture={name='id',pointer='id'}\n[[step]]\nmethod='GET'\nurl='/'",
            0,
            "capture",
        ),
        (
            true,
            "method='GET'\nurl='/'\ncapture={name='id',pointer='/id',list='/a'}\n[[step]]\nmethod='GET'\nurl='/'",
            0,
            "capture",
        ),
        (
            true,
            "method='GET'\nurl='/{id}'\ncapture={name='id',pointer='/id'}\n[[step]]\nmethod='GET'\nurl='/'",
            0,
            "url",
        ),
        (true, "method='GET'\nurl='/'\n[[step]]\nmethod='GET'\nurl='/{id}'", 1, "url"),
    ] {
        let (place, why) = compile(&steps(&format!("[[step]]\n{text}")), add, &names()).unwrap_err();
        assert_eq!((place.step, place.key), (at, key), "{text}: {why}");
    }
}

#[test]
fn the_body_is_json_unless_a_header_says_otherwise() {
    for (header, body, fine) in [
        ("", r#"{"a":"{reason}"}"#, true),
        ("", "a={reason}", false),
        ("headers={Content-Type='application/x-www-form-urlencoded'}", "a={reason}", true),
        ("headers={content-type='application/xml; charset=utf-8'}", "<a>{reason}</a>", true),
        ("headers={Content-Type='text/plain'}", "{reason}", true),
        ("headers={Content-Type='application/problem+json'}", "{reason}", false),
    ] {
        let text = format!("[[step]]\nmethod='PUT'\nurl='/'\nbody='{body}'\n{header}");
        assert_eq!(compile(&steps(&text), true, &names()).is_ok(), fine, "{text}");
    }
}
