//! A rule from its element, and what is wrong with that.

use super::{Correlation, Rule, Search, Subject, Test};
use crate::rules::Problem;
use crate::rules::decode::Static;
use crate::rules::list::Lookup;
use crate::rules::pattern::{Pattern, Type};
use crate::rules::xml::Element;

/// Groups that an alert has elsewhere.
const STANDARDS: [&str; 7] = ["pci_dss_", "cis_", "gdpr_", "gpg13_", "hipaa_", "nist_800_53_", "tsc_"];

/// Elements that a rule may have more than once.
const REPEATABLE: [&str; 9] =
    ["field", "srcip", "dstip", "group", "list", "options", "same_field", "different_field", "mitre"];

impl Rule {
    /// Reads a rule of a group; what is wrong with it is added to `problems`.
    pub(in crate::rules) fn read(
        file: &str,
        group: &str,
        element: &Element,
        problems: &mut Vec<Problem>,
    ) -> Option<Rule> {
        let mut rule = Rule {
            id: 0,
            level: 0,
            file: file.to_owned(),
            description: String::new(),
            groups: Vec::new(),
            mitre: Vec::new(),
            parents: Vec::new(),
            frequency: None,
            timeframe: 360,
            ignore: 0,
            no_ar: false,
            no_full_log: false,
            no_log: false,
            decoder: None,
            tests: Vec::new(),
            searches: Vec::new(),
            correlation: None,
        };
        let number = element.attribute("id").and_then(|text| digits(text, 6)).filter(|id| *id > 0);
        let mut say = |what: String| problems.push(Problem::new(file, number, what));
        let Some(number) = number else {
            say(format!("<{}> without an id of at most six digits", element.name));
            return None;
        };
        rule.id = number;
        if element.attribute("level").is_none() {
            say("no level".to_owned());
        }
        for (name, value) in &element.attributes {
            rule.attribute(name, value).unwrap_or_else(&mut say);
        }
        for (index, option) in element.elements.iter().enumerate() {
            let again = element.elements[..index].iter().any(|earlier| earlier.name == option.name);
            if again && !REPEATABLE.contains(&option.name.as_str()) {
                say(format!("<{}> twice: their texts would be joined", option.name));
            } else {
                rule.option(option).unwrap_or_else(&mut say);
            }
        }
        for name in ["srcip", "dstip"] {
            rule.networks(name, element).unwrap_or_else(&mut say);
        }
        rule.correlate(element).unwrap_or_else(&mut say);
        if rule.description.trim().is_empty() {
            say("no description".to_owned());
        }
        let texts = element
            .elements
            .iter()
            .filter(|option| option.name == "group")
            .map(|option| option.text.as_str());
        let groups = group.to_owned() + &texts.collect::<String>();
        let own =
            |name: &&str| !name.is_empty() && !STANDARDS.iter().any(|standard| name.starts_with(standard));
        rule.groups = groups.split(',').filter(own).map(str::to_owned).collect();
        Some(rule)
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{name}=\"{value}\"");
        let number = |most: usize| digits(value, most).ok_or_else(wrong);
        match name {
            "id" => {}
            "level" => {
                self.level = number(2)?.try_into().ok().filter(|level| *level <= 16).ok_or_else(wrong)?;
            }
            "frequency" => {
                self.frequency = Some(number(4)?).filter(|frequency| *frequency >= 2);
                self.frequency.ok_or_else(wrong)?;
            }
            "timeframe" => self.timeframe = number(5)?,
            "ignore" => self.ignore = number(6)?,
            "maxsize" | "accuracy" | "noalert" | "overwrite" => {
                return Err(format!("the attribute {name} is not modelled"));
            }
            _ => return Err(format!("unknown attribute {name}")),
        }
        Ok(())
    }

    fn option(&mut self, option: &Element) -> Result<(), String> {
        let name = option.name.as_str();
        let text = option.text.as_str();
        if name != "mitre" && !option.elements.is_empty() {
            return Err(format!("elements in <{name}>"));
        }
        if text.contains(['\n', '\r', '\t']) && name != "mitre" {
            return Err(format!("a line break or tab in <{name}>"));
        }
        if let Some((subject, kind)) = Subject::of_element(name) {
            only(option, &["type", "negate"])?;
            return self.test(option, subject, kind);
        }
        match name {
            "field" => {
                only(option, &["name", "type", "negate"])?;
                let field = option.attribute("name").ok_or("<field> without a name")?;
                self.test(option, dynamic(field)?, Type::OsRegex)
            }
            "list" => self.search(option),
            "srcip" | "dstip" => only(option, &["negate"]),
            "mitre" => self.techniques(option),
            "frequency" | "timeframe" => Err(format!("<{name}> must be an attribute of <rule>")),
            _ => {
                only(option, &[])?;
                self.plain(name, text)
            }
        }
    }

    fn plain(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "description" => self.description = text.to_owned(),
            "group" => {}
            "decoded_as" if ["json", "ar_log_json"].contains(&text) => self.decoder = Some(text.to_owned()),
            "if_sid" => self.parents = sids(text)?,
            "options" => match text {
                "no_ar" => self.no_ar = true,
                "no_full_log" => self.no_full_log = true,
                "no_log" => self.no_log = true,
                // Who is written to is nothing that a rule's test sees.
                "alert_by_email" | "no_email_alert" => {}
                _ => return Err(format!("<options>{text}</options>")),
            },
            // Together, in `correlate`.
            "if_matched_sid" | "global_frequency" => {}
            _ if name.starts_with("same_") || name.starts_with("different_") => {}
            _ => return Err(format!("<{name}>{text}</{name}> is unknown or not modelled")),
        }
        Ok(())
    }

    fn test(&mut self, option: &Element, subject: Subject, kind: Type) -> Result<(), String> {
        let named =
            |name: &str| Type::named(name).ok_or_else(|| format!("type=\"{name}\" in <{}>", option.name));
        let kind = option.attribute("type").map_or(Ok(kind), named)?;
        if option.text.is_empty() {
            return Err(format!("<{}> is empty", option.name));
        }
        let pattern = Pattern::new(kind, &option.text, negate(option)?);
        let pattern = pattern.map_err(|what| format!("<{}>{}</{0}>: {what}", option.name, option.text))?;
        self.tests.push(Test { subject, pattern });
        Ok(())
    }

    fn networks(&mut self, name: &str, element: &Element) -> Result<(), String> {
        let all: Vec<&Element> = element.elements.iter().filter(|option| option.name == name).collect();
        let (Some(first), Some(field)) = (all.first(), Static::named(name)) else { return Ok(()) };
        for option in &all {
            if negate(option)? != negate(first)? {
                return Err(format!("the last <{name}> decides negate for all of them"));
            }
        }
        let texts: Vec<&str> = all.iter().map(|option| option.text.as_str()).collect();
        let pattern = Pattern::networks(&texts, negate(first)?)?;
        self.tests.push(Test { subject: Subject::Fixed(field), pattern });
        Ok(())
    }

    fn search(&mut self, option: &Element) -> Result<(), String> {
        only(option, &["field", "lookup"])?;
        let field = option.attribute("field").ok_or("<list> without a field")?;
        let lookup = option.attribute("lookup").ok_or("<list> without a lookup")?;
        let lookup = Lookup::named(lookup).ok_or_else(|| format!("lookup=\"{lookup}\" is not modelled"))?;
        self.searches.push(Search { subject: Subject::of_list(field)?, lookup, list: option.text.clone() });
        Ok(())
    }

    fn techniques(&mut self, option: &Element) -> Result<(), String> {
        only(option, &[])?;
        for id in &option.elements {
            let number = id.text.strip_prefix('T').unwrap_or_default();
            let (main, sub) = number.split_once('.').unwrap_or((number, "000"));
            let shape =
                main.len() == 4 && sub.len() == 3 && digits(main, 4).is_some() && digits(sub, 3).is_some();
            if id.name != "id" || !id.attributes.is_empty() || !shape {
                return Err(format!("<{}>{}</{0}> in <mitre>", id.name, id.text));
            }
            self.mitre.push(id.text.clone());
        }
        if option.elements.is_empty() { Err("<mitre> without an id".to_owned()) } else { Ok(()) }
    }

    /// `if_matched_sid` and what goes with it.
    fn correlate(&mut self, element: &Element) -> Result<(), String> {
        let mut correlation = Correlation { sid: 0, same: Vec::new(), different: Vec::new(), global: false };
        let mut wanted = self.frequency.is_some() || element.attribute("timeframe").is_some();
        for option in &element.elements {
            let (name, text) = (option.name.as_str(), option.text.as_str());
            if name == "if_matched_sid" {
                correlation.sid =
                    digits(text, 6).ok_or_else(|| format!("<if_matched_sid>{text}</if_matched_sid>"))?;
                if self.parents.is_empty() {
                    self.parents = vec![correlation.sid];
                }
                continue;
            }
            let (list, what) = match (name.strip_prefix("same_"), name.strip_prefix("different_")) {
                (Some(what), _) => (&mut correlation.same, what),
                (_, Some(what)) => (&mut correlation.different, what),
                _ if name == "global_frequency" => {
                    correlation.global = true;
                    wanted = true;
                    continue;
                }
                _ => continue,
            };
            wanted = true;
            let subject = match what {
                "field" => Some(dynamic(text)?),
                _ if text.is_empty() => Subject::of_comparison(what),
                _ => None,
            };
            list.push(subject.ok_or_else(|| format!("<{name}>{text}</{name}> is unknown or not modelled"))?);
        }
        match (correlation.sid, self.frequency) {
            (0, None) if !wanted => Ok(()),
            (0, _) => Err("frequency, timeframe, same_* and different_* need if_matched_sid".to_owned()),
            (_, None) => Err("if_matched_sid without a frequency".to_owned()),
            // The engine gives up the search at the first event there is.
            (_, Some(_)) if self.level == 0 => Err("a frequency rule of level 0 never fires".to_owned()),
            (_, Some(_)) => {
                self.correlation = Some(correlation);
                Ok(())
            }
        }
    }
}

fn dynamic(name: &str) -> Result<Subject, String> {
    if is_static(name) {
        return Err(format!("field '{name}' is static: it has an element of its own"));
    }
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("'{name}' is no field's name"));
    }
    Ok(Subject::Dynamic(name.to_owned()))
}

fn negate(option: &Element) -> Result<bool, String> {
    match option.attribute("negate") {
        None | Some("no") => Ok(false),
        Some("yes") => Ok(true),
        Some(other) => Err(format!("negate=\"{other}\" in <{}>", option.name)),
    }
}

fn only(option: &Element, known: &[&str]) -> Result<(), String> {
    match option.attributes.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("unknown attribute {name} in <{}>", option.name)),
        None => Ok(()),
    }
}

/// Numbers with commas or blanks between them.
fn sids(text: &str) -> Result<Vec<u32>, String> {
    let wrong = || format!("<if_sid>{text}</if_sid>");
    let numbers = text.split([',', ' ']).filter(|part| !part.is_empty());
    let all = numbers.map(|part| digits(part, 6).ok_or_else(wrong)).collect::<Result<Vec<u32>, _>>()?;
    let twice = all.iter().enumerate().any(|(index, id)| all[..index].contains(id));
    if all.is_empty() || twice { Err(wrong()) } else { Ok(all) }
}

fn digits(text: &str, most: usize) -> Option<u32> {
    let good = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

/// The name of a field that rules must not call dynamic.
fn is_static(name: &str) -> bool {
    let known = |field: &str| name.eq_ignore_ascii_case(field);
    Static::named(&name.to_ascii_lowercase()).is_some()
        || ["user", "srcgeoip", "dstgeoip", "systemname"].into_iter().any(known)
}
