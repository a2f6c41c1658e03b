//! Files of samples.

use harness::rules::sample::{self, Samples, Step};

use crate::{rule, ruleset};

fn read(text: &str) -> Samples {
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    sample::read(file.path())
}

#[test]
fn a_line_is_an_event_or_moves_the_session() {
    let samples = read(
        "{\"provisional\": true, \"from\": \"a description\"}\n# a remark\n\n\
         {\"line\": {\"m\": \"t\",  \"a\" : [1, \"b \\\" c\"]}, \"rule\": \"100000\", \"why\": \"w\"}\n\
         {\"reset\": true}\n{\"advance\": 5}\n\
         {\"line\": \"x\", \"rule\": null, \"why\": \"w\", \"location\": \"l\", \"agent\": \"001\"}\n",
    );
    assert!(samples.provisional);
    let [Step::Event { number: 4, event, rule: Some(100_000), .. }, Step::Reset, Step::Advance(time), last] =
        samples.steps.as_slice()
    else {
        panic!("{:?}", samples.steps);
    };
    assert_eq!(event.line, "{\"m\":\"t\",\"a\":[1,\"b \\\" c\"]}");
    assert_eq!((event.location.as_str(), event.agent.as_str(), time.as_secs()), ("test", "000", 5));
    let Step::Event { event, rule: None, .. } = last else { panic!("{last:?}") };
    assert_eq!((event.line.as_str(), event.location.as_str(), event.agent.as_str()), ("x", "l", "001"));
}

#[test]
fn what_is_no_sample_is_refused_with_its_line() {
    for text in [
        "{\"line\": \"x\", \"why\": \"w\"}",
        "{\"line\": \"x\", \"rule\": null}",
        "{\"line\": \"x\", \"rule\": null, \"why\": \" \"}",
        "{\"line\": \"\", \"rule\": null, \"why\": \"w\"}",
        "{\"line\": 1, \"rule\": null, \"why\": \"w\"}",
        "{\"line\": \"x\", \"rule\": 100301, \"why\": \"w\"}",
        "{\"line\": \"x\", \"rule\": \"r\", \"why\": \"w\"}",
        "{\"line\": \"x\", \"rule\": null, \"why\": \"w\", \"rules\": 1}",
        "{\"line\": \"x\", \"rule\": null, \"why\": \"w\", \"reset\": true}",
        "{\"reset\": false}",
        "{\"advance\": 1, \"reset\": true}",
        "{\"provisional\": true}",
        "{}",
        "text",
    ] {
        let outcome = std::panic::catch_unwind(|| read(&format!("\n{text}\n")));
        let message = *outcome.expect_err(text).downcast::<String>().unwrap();
        assert!(message.contains(".jsonl:2: "), "{text}: {message}");
    }
}

#[test]
fn checking_names_what_came_out_otherwise() {
    let ruleset = ruleset(&rule(100_001, 3, "<field name=\"a\">x</field>"));
    let good = "{\"line\": {\"m\":\"t\"}, \"rule\": \"100000\", \"why\": \"stays\"}\n";
    let text = good.to_owned()
        + &good.replace("100000", "100001")
        + &good.replace("\"100000\"", "null")
        + &good.replace("\"t\"", "\"u\"");
    let samples = read(&text);
    let name = &samples.name;
    assert_eq!(
        sample::check(&ruleset, &samples),
        [
            format!("{name}.jsonl:2: stays: expected 100001, got 100000"),
            format!("{name}.jsonl:3: stays: expected none, got 100000"),
            format!("{name}.jsonl:4: stays: expected 100000, got none"),
        ]
    );
}
