//! What is known of this host.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;

use common::text::legible;
use sysinfo::System;

/// Ports that Linux gives to who asks for none, unless told otherwise.
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;
/// The largest table of users that is read, in bytes.
const LARGEST_PASSWD: u64 = 16 * 1024 * 1024;

/// The host's names and times, for the summary.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// When it was started, in seconds since 1970.
    pub boot_time: u64,
    /// Seconds since then.
    pub uptime: u64,
}

impl Host {
    /// This host.
    #[must_use]
    pub fn this() -> Host {
        let text = |text: Option<String>| {
            let text = legible(text.unwrap_or_default().as_bytes(), 128);
            if text.is_empty() { "unknown".to_owned() } else { text }
        };
        Host {
            name: text(System::host_name()),
            kernel: text(System::kernel_version()),
            boot_time: System::boot_time(),
            uptime: System::uptime(),
        }
    }
}

/// This boot, by the kernel's own name for it; empty when it has none.
#[must_use]
pub fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    legible(id.trim().as_bytes(), 64)
}

/// The host's own network namespace: that of the first process, or ours.
#[must_use]
pub fn network_namespace() -> u64 {
    let of = |pid: &str| std::fs::metadata(format!("/proc/{pid}/ns/net")).map(|ns| ns.ino());
    of("1").or_else(|_| of("self")).unwrap_or(0)
}

/// The ports that the kernel gives to who asks for none.
#[must_use]
pub fn ephemeral_ports() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => first..=last,
        _ => EPHEMERAL,
    }
}

/// Names of users and interfaces, asked for when they are needed. Users are
/// those of `/etc/passwd`: a directory service is not waited for.
#[derive(Debug, Default)]
pub struct Names {
    users: Option<HashMap<u32, String>>,
}

impl Names {
    /// The name of a user, or its number.
    pub fn user(&mut self, uid: u32) -> &str {
        if uid == 0 {
            return "root";
        }
        let users = self.users.get_or_insert_with(users);
        users.entry(uid).or_insert_with(|| uid.to_string())
    }
}

fn users() -> HashMap<u32, String> {
    let path = "/etc/passwd";
    if std::fs::metadata(path).is_ok_and(|file| file.len() > LARGEST_PASSWD) {
        return HashMap::new();
    }
    let text = std::fs::read(path).unwrap_or_default();
    let line = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        Some((uid, legible(name, 64)))
    };
    // The first of several names counts.
    text.split(|&byte| byte == b'\n').rev().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_and_strangers_numbers() {
        let mut names = Names::default();
        assert_eq!(names.user(0), "root");
        assert_eq!(names.user(4_000_000_000), "4000000000");
    }

    #[test]
    fn the_host_knows_itself() {
        let host = Host::this();
        assert!(!host.name.is_empty() && host.uptime > 0 && !boot().is_empty());
        assert!(network_namespace() > 0 && ephemeral_ports().contains(&40000));
    }
}
