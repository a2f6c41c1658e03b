//! Throw-away network namespaces, and cables between them.
//!
//! A namespace here has no name in the file system: it is held by a file
//! descriptor, and the kernel removes it, its cables and its rules with the
//! process that made it, however that process ends.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

/// The address of the recorded attack.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 50));
/// Another address in the attacker's network.
pub const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 51));
/// An address of the attacker in another network.
pub const BYSTANDER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
/// An IPv6 address of the attacker.
pub const ATTACKER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0x50));
/// Another IPv6 address in the attacker's /64.
pub const NEIGHBOUR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0x51));
/// An IPv6 address of the attacker in another /64.
pub const BYSTANDER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 7, 0, 0, 0, 0x50));

/// True when this process may make network namespaces and cables.
#[must_use]
pub fn available() -> bool {
    std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).is_ok()).join().unwrap_or(false)
        && Command::new("ip").arg("-V").output().is_ok()
}

/// A network namespace.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, with its loopback up.
    ///
    /// # Panics
    /// Without the right to make one; ask [`available`] first.
    #[must_use]
    pub fn new() -> Namespace {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = made.join().expect("a thread").expect("the right to make a network namespace");
        let namespace = Namespace(file);
        namespace.ip("link set lo up");
        namespace
    }

    /// Does something inside, on a thread of its own; what it starts there
    /// stays inside.
    ///
    /// # Panics
    /// When the work does, and when the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the right to enter a network namespace");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_command(&self, program: &str, args: &[&str]) -> io::Result<Output> {
        self.run(|| Command::new(program).args(args).env("PATH", SEARCH).stdin(Stdio::null()).output())
    }

    /// Runs a command inside and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn command(&self, program: &str, args: &[&str]) -> String {
        let output = self.try_command(program, args).unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{program} {args:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Commands of `ip`, one a line.
    ///
    /// # Panics
    /// When one fails.
    pub fn ip(&self, batch: &str) {
        let output = self.run(|| {
            let mut child = Command::new("ip")
                .args(["-batch", "-"])
                .env("PATH", SEARCH)
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(batch.as_bytes())?;
            }
            child.wait_with_output()
        });
        let output = output.expect("iproute2 is installed");
        assert!(output.status.success(), "ip: {}\n{batch}", String::from_utf8_lossy(&output.stderr));
    }

    /// Sets a sysctl of this namespace.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.run(|| std::fs::write(&path, value)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// A path by which other programs can name this namespace while we live.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

impl Default for Namespace {
    fn default() -> Namespace {
        Namespace::new()
    }
}

/// Where the tools of an administrator lie, whatever our own PATH says.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An attacker, a server, and between them a cable or a router.
///
/// The attacker has every address of 203.0.113.0/24, 198.51.100.0/24 and
/// 2001:db8:bad::/48.
#[derive(Debug)]
pub struct Site {
    /// Where attacks come from.
    pub attacker: Namespace,
    router: Option<Namespace>,
    /// Where the service is.
    pub server: Namespace,
}

impl Site {
    /// A server at the other end of the attacker's cable.
    #[must_use]
    pub fn direct() -> Site {
        let (attacker, server) = (attacker(), Namespace::new());
        cable(&attacker, &server);
        near(&server);
        Site { attacker, router: None, server }
    }

    /// A server behind a router: there the traffic is forwarded.
    #[must_use]
    pub fn routed() -> Site {
        let (attacker, router, server) = (attacker(), Namespace::new(), Namespace::new());
        cable(&attacker, &router);
        near(&router);
        router.sysctl("net.ipv4.ip_forward", "1");
        router.sysctl("net.ipv6.conf.all.forwarding", "1");
        router.ip(&format!("link add far type veth peer name uplink netns {}", server.path()));
        router.ip("link set far up
                   addr add 192.0.2.129/25 dev far
                   addr add 2001:db8:2::1/64 dev far nodad");
        server.ip("link set uplink up
                   addr add 192.0.2.130/25 dev uplink
                   addr add 2001:db8:2::2/64 dev uplink nodad
                   route add default via 192.0.2.129
                   route add default via 2001:db8:2::1");
        Site { attacker, router: Some(router), server }
    }

    /// Where blocking is done: at the router if there is one, else at the server.
    #[must_use]
    pub fn guard(&self) -> &Namespace {
        self.router.as_ref().unwrap_or(&self.server)
    }

    /// The server's address of the same family as the attacker's.
    #[must_use]
    pub fn service(&self, attacker: IpAddr, port: u16) -> SocketAddr {
        let address: IpAddr = match (attacker.is_ipv4(), self.router.is_some()) {
            (true, false) => Ipv4Addr::new(192, 0, 2, 1).into(),
            (true, true) => Ipv4Addr::new(192, 0, 2, 130).into(),
            (false, false) => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(),
            (false, true) => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2).into(),
        };
        SocketAddr::new(address, port)
    }
}

fn attacker() -> Namespace {
    let attacker = Namespace::new();
    attacker.ip("route add local 203.0.113.0/24 dev lo
                 route add local 198.51.100.0/24 dev lo
                 route add local 2001:db8:bad::/48 dev lo");
    // Without it, an address that only a route makes ours cannot be bound.
    attacker.sysctl("net.ipv6.ip_nonlocal_bind", "1");
    attacker
}

fn cable(attacker: &Namespace, other: &Namespace) {
    attacker.ip(&format!("link add uplink type veth peer name near netns {}", other.path()));
    attacker.ip("link set uplink up
                 addr add 192.0.2.2/25 dev uplink
                 addr add 2001:db8:1::2/64 dev uplink nodad
                 route add default via 192.0.2.1
                 route add default via 2001:db8:1::1");
}

/// The end of the cable that is not the attacker's.
fn near(namespace: &Namespace) {
    namespace.ip("link set near up
                  addr add 192.0.2.1/25 dev near
                  addr add 2001:db8:1::1/64 dev near nodad
                  route add 203.0.113.0/24 via 192.0.2.2
                  route add 198.51.100.0/24 via 192.0.2.2
                  route add 2001:db8:bad::/48 via 2001:db8:1::2");
}
