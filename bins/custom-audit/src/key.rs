//! Every key of an event: what it means, and which values it has.

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The events that have it.
    pub events: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Its values, each with what it says; empty where any text may stand.
    pub values: &'static [(&'static str, &'static str)],
}

const ALL: &str = "every event";
const SOCKETS: &str = "every event about a socket";
const HELD: &str = "conn_new, conn_open, listen_new, listen_open, raw_*, packet_*";
const STATEFUL: &str = "every event about a socket, without --full";
const SUMMARY: &str = "summary";

const fn key(name: &'static str, events: &'static str, meaning: &'static str) -> Key {
    Key { name, events, meaning, values: &[] }
}

const fn choice(
    name: &'static str,
    events: &'static str,
    meaning: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Key {
    Key { name, events, meaning, values }
}

const PLACES: &[(&str, &str)] = &[
    ("any", "every address of the host: 0.0.0.0 or ::"),
    ("loopback", "this host: 127.0.0.0/8, ::1"),
    ("private", "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"),
    ("linklocal", "the same cable: 169.254.0.0/16, fe80::/10"),
    ("cgnat", "between a provider and its customers: 100.64.0.0/10"),
    ("multicast", "224.0.0.0/4, ff00::/8"),
    ("broadcast", "255.255.255.255"),
    ("documentation", "examples: 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20"),
    ("public", "everywhere else"),
];

const FLAG: &[(&str, &str)] = &[("true", "it is so"), ("false", "it is not so")];

/// All of them, in the order in which they are written.
pub const KEYS: &[Key] = &[
    key("timestamp", ALL, "when it was looked (RFC 3339, UTC); of summary and error, when the run began"),
    choice("wodle", ALL, "which wodle says so: rules begin with it", &[("system-audit", "custom-audit")]),
    choice("schema", ALL, "the version of these keys", &[("1", "this one")]),
    choice(
        "event",
        ALL,
        "what is said",
        &[
            ("conn_new", "a connection that was not there in the last run"),
            ("conn_open", "a connection (--full)"),
            ("conn_closed", "a connection that is gone"),
            (
                "listen_new",
                "a listener that was not there in the last run: TCP that listens, UDP without a peer",
            ),
            ("listen_open", "a listener (--full)"),
            ("listen_closed", "a listener that is gone"),
            ("raw_new", "a raw socket: its process sees and makes IP packets"),
            ("raw_open", "a raw socket (--full)"),
            ("packet_new", "a packet socket: its process sees and makes frames"),
            ("packet_open", "a packet socket (--full)"),
            ("unattributed", "a socket that root made and that no process holds"),
            ("summary", "what the run came to: one each run, so that its absence can be noticed"),
            ("error", "what went wrong"),
        ],
    ),
    key(
        "process",
        ALL,
        "the process's name, in an object as process.name (or as a string with --process-key string)",
    ),
    key(
        "process_name",
        ALL,
        "the process's name, which it can choose itself; none of an unattributed socket",
    ),
    key("pid", ALL, "the process; 0 of an unattributed socket"),
    key("dstuser", ALL, "as user: the field by which Wazuh's rules know it in every version"),
    key("user", ALL, "the user whose rights the process has (effective uid)"),
    key("local_addr", ALL, "our end as address:port; of a packet socket the interface"),
    key("remote_addr", ALL, "the other end as address:port; 0.0.0.0:* or [::]:* where there is none"),
    key("local_ip", SOCKETS, "our address; IPv4 also where it was dressed as IPv6"),
    key("local_port", SOCKETS, "our port"),
    key("remote_ip", SOCKETS, "the other address"),
    key("remote_port", SOCKETS, "the other port"),
    choice(
        "protocol",
        SOCKETS,
        "what is spoken",
        &[
            ("tcp", "TCP, the connections of MPTCP included"),
            ("mptcp", "a listener for several TCP connections as one"),
            ("udp", "UDP"),
            ("udplite", "UDP with part of a checksum"),
            ("raw", "any protocol of IP"),
            ("packet", "frames of an interface"),
        ],
    ),
    choice(
        "family",
        SOCKETS,
        "the family of the socket, whatever addresses it carries",
        &[("ipv4", "AF_INET"), ("ipv6", "AF_INET6"), ("packet", "AF_PACKET")],
    ),
    choice(
        "state",
        SOCKETS,
        "the state of the connection",
        &[
            ("established", "both sides talk"),
            ("syn_sent", "we asked, no answer yet"),
            ("syn_recv", "the other side asked"),
            ("fin_wait_1", "we said goodbye"),
            ("fin_wait_2", "we said goodbye, and that was heard"),
            ("time_wait", "it is over"),
            ("close_wait", "the other side said goodbye, the process did not yet"),
            ("last_ack", "both said goodbye"),
            ("closing", "both said goodbye at once"),
            ("closed", "it is over"),
            ("listen", "takes connections"),
            ("unconnected", "takes from anybody (UDP, raw)"),
        ],
    ),
    choice(
        "direction",
        "connections and listeners",
        "who began: the side that somebody listens at is the inbound one; of a listener that is gone, the ports tell",
        &[
            ("inbound", "the other end began"),
            ("outbound", "our end began"),
            ("listen", "it waits for others"),
        ],
    ),
    choice(
        "direction_by",
        "conn_new, conn_open",
        "what tells the direction",
        &[
            ("listener", "somebody listens at our end, now or in the last run"),
            (
                "ports",
                "nobody does: our end began, unless the ports say otherwise. Who chooses the ports of both ends can deceive",
            ),
        ],
    ),
    choice("remote_scope", "sockets with another end", "what kind of place the other end is", PLACES),
    choice("bind_scope", "sockets without another end", "from where it can be reached", PLACES),
    key(
        "srcip",
        "connections",
        "who began: what Wazuh's rules, lists and active responses know as srcip (with --geo-peer always the other end)",
    ),
    key("srcport", "connections", "from which port"),
    key("dstip", "connections and listeners", "where to"),
    key("dstport", "connections and listeners", "to which port"),
    key("ip_protocol", "raw_*", "which protocol of IP, by its number: 1 is ICMP, 255 any"),
    key("interface", "packet_*", "which interface; * is all"),
    key("ethertype", "packet_*", "which frames: 0x0003 is all, 0x0800 IPv4"),
    key("fd", HELD, "the descriptor, the first of several"),
    key("fds", HELD, "all descriptors, separated by commas; at most 16"),
    choice(
        "stdio_socket",
        HELD,
        "whether it is standard input, output or error: so is a reverse shell's",
        FLAG,
    ),
    key("inode", SOCKETS, "the socket's number, as in /proc/PID/fd and in ss -e"),
    key("cookie", SOCKETS, "the socket's number that is never used again until the next boot, as in ss -e"),
    key("holders", HELD, "how many processes of root hold it"),
    key("holder_pids", HELD, "which, separated by commas; at most 16"),
    key("euid", "sockets that a process holds", "the effective uid"),
    key("ruid", HELD, "the real uid"),
    key("suid", HELD, "the saved uid"),
    key("loginuid", HELD, "who logged in to start the process, also after su or sudo"),
    key("socket_uid", SOCKETS, "the uid that made the socket"),
    choice(
        "socket_uid_mismatch",
        HELD,
        "whether neither root nor the process's own user made the socket: a process that became root with a connection in its hands",
        FLAG,
    ),
    choice(
        "root_reason",
        HELD,
        "why the process counts as root",
        &[
            ("euid0", "its effective uid is 0"),
            ("suid0", "its saved uid is 0: it can become root when it likes"),
            ("ruid0", "its real uid is 0: likewise"),
            ("thread", "one of its threads is root"),
            (
                "cap:NAME,…",
                "it may use these capabilities, any of which is enough, in the initial user namespace",
            ),
        ],
    ),
    key("caps", HELD, "its effective capabilities: all, none, all but some (all,-sys_time), or their names"),
    key("exe", "sockets that a process holds", "its executable's path, as the process sees it"),
    choice("exe_deleted", HELD, "whether the executable has no name any more", FLAG),
    choice(
        "exe_replaced",
        "sockets whose executable is deleted",
        "whether another file has its name now, as after an upgrade",
        FLAG,
    ),
    choice(
        "exe_location",
        HELD,
        "where the executable lies",
        &[
            ("system", "where packages put programs: /usr, /opt, /var/lib, …"),
            ("tmp", "where anybody may write: /tmp, /var/tmp, /dev/shm, /run/user, …"),
            ("home", "/home, /root"),
            ("memfd", "in memory only: it never was a file"),
            ("container", "in a container's own files"),
            ("other", "elsewhere"),
        ],
    ),
    key(
        "exe_sha256",
        HELD,
        "SHA-256 of the executable; absent of what is too large, not local, or not computed yet",
    ),
    key("exe_mode", HELD, "the executable's permissions, octal: 4755 is setuid"),
    key("cmdline", HELD, "its arguments, which it can change itself"),
    key("ppid", HELD, "the process that waits for it"),
    key("parent_process", HELD, "that one's name"),
    key("parent_exe", HELD, "that one's executable"),
    key("ancestry", HELD, "the names of its ancestors, the eldest first, and its own"),
    key("tty", HELD, "its terminal"),
    key("start_time", HELD, "when the process began"),
    key(
        "netns",
        SOCKETS,
        "the network namespace of the socket, as in /proc/PID/ns/net; absent where nobody is in it any more",
    ),
    choice("netns_host", SOCKETS, "whether that is the host's own", FLAG),
    key("container_id", HELD, "the container, by its control group"),
    choice(
        "container_runtime",
        HELD,
        "what runs the container",
        &[
            ("docker", "Docker"),
            ("containerd", "containerd (Kubernetes)"),
            ("cri-o", "CRI-O (Kubernetes)"),
            ("kubernetes", "Kubernetes, by an unknown runtime"),
            ("podman", "Podman"),
            ("lxc", "LXC"),
            ("systemd-nspawn", "systemd-nspawn"),
            ("unknown", "the path has a container's id, and nothing else tells"),
        ],
    ),
    key("unit", HELD, "the systemd service or scope"),
    key("cgroup", HELD, "the control group"),
    key("first_seen", STATEFUL, "when the socket was first seen in this process's hands"),
    key("age_s", STATEFUL, "seconds since then"),
    choice(
        "new_remote",
        "connections, without --full",
        "whether this executable was never seen with this address, since the state began",
        FLAG,
    ),
    choice("new_exe", HELD, "whether this executable was never seen, since the state began", FLAG),
    key("seen_count", STATEFUL, "in how many runs it was seen"),
    choice(
        "hint",
        "unattributed",
        "who it may be that nobody holds",
        &[
            ("nfs", "the kernel's NFS, by the port"),
            ("vxlan", "a tunnel of the kernel, by the port"),
            ("geneve", "a tunnel of the kernel, by the port"),
            ("wireguard", "WireGuard, by the port"),
            ("unreadable", "a process that we may not look into"),
            (
                "unknown",
                "something of the kernel, a descriptor on its way between two processes, or something hidden",
            ),
        ],
    ),
    choice(
        "baseline",
        "summary; events about a socket, without --full",
        "whether it was there at the first look of all, when everything was new; in the summary, whether this was that run",
        FLAG,
    ),
    key(
        "sockets_total",
        SUMMARY,
        "sockets that the kernel showed; fewer than there are when not all had to be looked at",
    ),
    key("root_sockets", SUMMARY, "sockets that processes of root hold"),
    key("root_processes", SUMMARY, "processes of root that were looked into"),
    key("scanned_pids", SUMMARY, "all processes"),
    key("scanned_fds", SUMMARY, "descriptors that were read"),
    key("new", SUMMARY, "what began since the last run"),
    key("closed", SUMMARY, "what ended since then"),
    key("unattributed", SUMMARY, "sockets that root made and that no process holds"),
    key("emitted", SUMMARY, "events of this run, without summary and error"),
    key("suppressed", SUMMARY, "what the allowlist took"),
    key("deferred", SUMMARY, "what had no room any more (max_events): it comes with the next runs"),
    key("races", SUMMARY, "processes and descriptors that vanished while they were looked at"),
    key("netns_count", SUMMARY, "network namespaces that were visited"),
    choice(
        "strategy",
        SUMMARY,
        "how it was looked, several joined by +",
        &[
            ("listeners", "the small tables: what listens, UDP, raw, packet"),
            ("dump", "all TCP connections"),
            ("proc_net", "the tables of /proc/net, because sock_diag was not to be had"),
            (
                "believed",
                "all tables and no descriptors of processes that have as many as before, because no socket was new",
            ),
            ("taken", "single sockets, duplicated and asked, because no table had them"),
            ("none", "nothing had to be looked at"),
        ],
    ),
    choice(
        "degraded",
        SUMMARY,
        "what could not be done as it should, separated by commas",
        &[
            ("none", "nothing"),
            ("not_root", "run by a user who may not look into root's processes"),
            ("unreadable", "some of root's processes may not be looked into"),
            ("pid_namespace", "run in a container: processes outside are not seen"),
            ("sock_diag", "the kernel has no sock_diag: /proc/net was read instead"),
            ("namespaces", "a network namespace could not be entered"),
            ("tables", "a table of sockets could not be read: nothing is said of that namespace"),
            ("rescan", "there was no time to look for the holder of each socket: some may be missing"),
            ("too_many_unknown", "more sockets without a table than are asked one by one"),
            (
                "proc_mounted",
                "something is mounted over a process in /proc, which hides it: look at /proc/self/mountinfo",
            ),
            ("forgotten", "there is more than can be remembered"),
            ("hash_budget", "some executables are hashed in the next run"),
            ("state", "the state could not be read or written"),
        ],
    ),
    key("looks", SUMMARY, "how often it was looked: more than once with --watch"),
    key("duration_ms", SUMMARY, "how long the run took, in milliseconds"),
    key("cpu_ms", SUMMARY, "how much of a processor it took, in milliseconds"),
    key("version", SUMMARY, "of custom-audit"),
    key("hostname", SUMMARY, "of this host"),
    key("kernel", SUMMARY, "of this host"),
    key("boot_time", SUMMARY, "when this host was started"),
    key("uptime_s", SUMMARY, "seconds since then"),
    choice(
        "error_kind",
        "error",
        "what kind of trouble",
        &[
            ("config", "the configuration is broken: the defaults apply"),
            ("busy", "another run is not over yet: this one leaves"),
            ("state_reset", "the state was not believed: a new baseline begins"),
            ("state_unwritable", "the state cannot be written: the same is said again next time"),
            ("output", "the file of --output cannot be written: what could not be said comes next time"),
            ("stopped", "ended before anything could be said: the wodle's timeout is too short"),
            ("not_root", "none of root's processes could be looked into"),
            ("usage", "the wodle's command has arguments that there are not"),
            ("proc", "/proc cannot be read"),
        ],
    ),
    key("error", "error", "what happened, with the file"),
    key("scan_id", ALL, "which run says so: equal in all its events"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_and_explained() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(!key.meaning.is_empty() && !key.events.is_empty(), "{}", key.name);
            assert!(KEYS[..at].iter().all(|other| other.name != key.name), "{} twice", key.name);
        }
    }
}
