//! What may be set in `extra_args`: little, because whoever may call Wazuh's
//! API writes them. No verb, no path, no allowlist, no limit.

use common::alert::FieldPath;

use crate::firewall::Backend;
use common::config::parse_duration;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 200;
/// What is ignored is named up to this many characters each.
const LONGEST_NAME: usize = 40;

/// What was set.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ExtraArgs {
    /// `--ttl`, in seconds.
    pub ttl: Option<u64>,
    /// `--reason`; words up to the next option belong to it.
    pub reason: String,
    /// `--backend`, as named; whether they are configured is decided later.
    pub backends: Vec<Backend>,
    /// `--ip-field`, looked at before all others.
    pub ip_fields: Vec<FieldPath>,
    /// `--dry-run`.
    pub dry_run: bool,
    /// What is none of these, or has no sense.
    pub ignored: Vec<String>,
}

impl ExtraArgs {
    /// Understands the words; `configured` are the backends that may be chosen.
    #[must_use]
    pub fn parse(words: &[String], configured: &[Backend]) -> ExtraArgs {
        let mut args = ExtraArgs::default();
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            let (option, attached) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None => (word, None),
            };
            if option == "--dry-run" && attached.is_none() {
                args.dry_run = true;
                continue;
            }
            if !matches!(option, "--ttl" | "--reason" | "--backend" | "--ip-field") {
                args.ignore(word);
                continue;
            }
            let value = attached.or_else(|| words.next_if(|next| !next.starts_with("--")));
            let understood = match (option, value) {
                ("--ttl", Some(value)) => args.set_ttl(value),
                ("--backend", Some(value)) => args.set_backends(value, configured),
                ("--ip-field", Some(value)) => {
                    FieldPath::parse(value).map(|path| args.ip_fields.push(path)).is_ok()
                }
                ("--reason", Some(value)) => {
                    // 4.x splits at every blank, without quotes.
                    let mut reason = value.to_owned();
                    while let Some(more) = words.next_if(|next| !next.starts_with("--")) {
                        reason.push(' ');
                        reason.push_str(more);
                    }
                    args.reason = reason.chars().take(LONGEST_REASON).collect();
                    true
                }
                _ => false,
            };
            if !understood {
                args.ignore(&value.map_or_else(|| option.to_owned(), |value| format!("{option} {value}")));
            }
        }
        args
    }

    fn set_ttl(&mut self, value: &str) -> bool {
        // For ever is an administrator's to say.
        match parse_duration(value) {
            Ok(ttl) if ttl.as_secs() > 0 => {
                self.ttl = Some(ttl.as_secs());
                true
            }
            _ => false,
        }
    }

    fn set_backends(&mut self, value: &str, configured: &[Backend]) -> bool {
        let named: Result<Vec<Backend>, _> = value.split(',').map(str::parse).collect();
        match named {
            Ok(named) if named.iter().all(|&backend| may_choose(backend, configured)) => {
                self.backends = named;
                true
            }
            _ => false,
        }
    }

    fn ignore(&mut self, word: &str) {
        self.ignored.push(word.chars().take(LONGEST_NAME).collect());
    }
}

/// What is configured may be chosen; where `auto` is, so may the three that
/// it stands for. To do nothing is always a choice.
fn may_choose(backend: Backend, configured: &[Backend]) -> bool {
    let automatic = matches!(backend, Backend::Nftables | Backend::Ipset | Backend::Iptables);
    backend == Backend::DryRun
        || configured.contains(&backend)
        || (automatic && configured.contains(&Backend::Auto))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> ExtraArgs {
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        ExtraArgs::parse(&words, &[Backend::Nftables, Backend::Api])
    }

    #[test]
    fn five_options_are_understood_in_both_spellings() {
        let args =
            parse("--ttl 600 --reason=too many tries --backend api,nftables --ip-field /a/b --dry-run");
        assert_eq!(args.ttl, Some(600));
        assert_eq!(args.reason, "too many tries");
        assert_eq!(args.backends, [Backend::Api, Backend::Nftables]);
        assert_eq!(args.ip_fields.len(), 1);
        assert!(args.dry_run);
        assert!(args.ignored.is_empty());
        assert_eq!(parse("--ttl=1h").ttl, Some(3600));
    }

    #[test]
    fn everything_else_is_named_and_ignored() {
        for (line, ignored) in [
            ("flush", "flush"),
            ("--config /tmp/x", "--config"),
            ("--force", "--force"),
            ("--ttl", "--ttl"),
            ("--ttl 0", "--ttl 0"),
            ("--ttl -5", "--ttl -5"),
            ("--ttl soon", "--ttl soon"),
            ("--backend ipset", "--backend ipset"),
            ("--backend nftables,ipset", "--backend nftables,ipset"),
            ("--backend", "--backend"),
            ("--ip-field a..b", "--ip-field a..b"),
            ("--dry-run=no", "--dry-run=no"),
        ] {
            let args = parse(line);
            assert_eq!(args.ignored.first().map(String::as_str), Some(ignored), "{line}");
            assert_eq!(ExtraArgs { ignored: Vec::new(), ..args }, ExtraArgs::default(), "{line}");
        }
    }

    #[test]
    fn auto_stands_for_three() {
        let words = ["--backend".to_owned(), "iptables".to_owned()];
        assert_eq!(ExtraArgs::parse(&words, &[Backend::Auto]).backends, [Backend::Iptables]);
    }
}
