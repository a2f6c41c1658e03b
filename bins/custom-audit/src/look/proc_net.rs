//! The sockets of a network namespace as `/proc` shows them: raw and packet
//! sockets, and everything else where sock_diag is not there.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use procfs::net::{TcpNetEntries, UdpNetEntries};
use procfs::{FromReadSI, ProcError, current_system_info};

use crate::socket::{CLOSE, ESTABLISHED, Protocol, Socket, canonical, nowhere};

/// The largest table that is read, in bytes: about half a million sockets.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A table that is not there: the kernel was built without it.
fn open(folder: &Path, name: &str) -> io::Result<Option<io::Take<File>>> {
    match File::open(folder.join(name)) {
        Ok(file) => Ok(Some(file.take(LARGEST))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn misread(error: ProcError) -> io::Error {
    match error {
        ProcError::Io(error, _) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// Hands each TCP socket of `tcp` and `tcp6` in this folder to `each`.
///
/// # Errors
/// When a table cannot be read.
pub fn tcp(folder: &Path, netns: u64, each: &mut dyn FnMut(Socket)) -> io::Result<()> {
    for (name, ipv6) in [("tcp", false), ("tcp6", true)] {
        let Some(file) = open(folder, name)? else { continue };
        for entry in TcpNetEntries::from_read(file, current_system_info()).map_err(misread)?.0 {
            each(Socket {
                protocol: Protocol::Tcp,
                ipv6,
                state: entry.state.to_u8(),
                local: canonical(entry.local_address),
                remote: other_end(entry.remote_address),
                interface: 0,
                uid: entry.uid,
                inode: entry.inode,
                cookie: 0,
                netns,
            });
        }
    }
    Ok(())
}

/// Hands each UDP socket, or each raw one, in this folder to `each`. They have
/// one format; the port of a raw socket is its IP protocol.
///
/// # Errors
/// When a table cannot be read.
pub fn datagram(folder: &Path, raw: bool, netns: u64, each: &mut dyn FnMut(Socket)) -> io::Result<()> {
    let tables = if raw { [("raw", false), ("raw6", true)] } else { [("udp", false), ("udp6", true)] };
    for (name, ipv6) in tables {
        let Some(file) = open(folder, name)? else { continue };
        for entry in UdpNetEntries::from_read(file, current_system_info()).map_err(misread)?.0 {
            each(Socket {
                protocol: if raw { Protocol::Raw } else { Protocol::Udp },
                ipv6,
                state: entry.state.to_u8(),
                local: canonical(entry.local_address),
                remote: other_end(entry.remote_address),
                interface: 0,
                uid: entry.uid,
                inode: entry.inode,
                cookie: 0,
                netns,
            });
        }
    }
    Ok(())
}

fn other_end(address: SocketAddr) -> SocketAddr {
    let address = canonical(address);
    if address.port() == 0 && address.ip().is_unspecified() { nowhere() } else { address }
}

/// Hands each packet socket in this folder to `each`. `packet` has one line
/// for each: `sk RefCnt Type Proto Iface R Rmem User Inode`, of which Proto is
/// hexadecimal (`packet_seq_show` in Linux 6.18).
///
/// # Errors
/// When the table cannot be read.
pub fn packet(folder: &Path, netns: u64, each: &mut dyn FnMut(Socket)) -> io::Result<()> {
    let Some(mut file) = open(folder, "packet")? else { return Ok(()) };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    for line in text.lines().skip(1) {
        if let Some(socket) = parse_packet(line, netns) {
            each(socket);
        }
    }
    Ok(())
}

fn parse_packet(line: &str, netns: u64) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let ethertype = u16::from_str_radix(fields.nth(3)?, 16).ok()?;
    let interface = fields.next()?.parse().ok()?;
    let running = fields.next()? == "1";
    let uid = fields.nth(1)?.parse().ok()?;
    let inode = fields.next()?.parse().ok()?;
    let mut local = nowhere();
    local.set_port(ethertype);
    Some(Socket {
        protocol: Protocol::Packet,
        ipv6: false,
        state: if running { ESTABLISHED } else { CLOSE },
        local,
        remote: nowhere(),
        interface,
        uid,
        inode,
        cookie: 0,
        netns,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    const FOLDER: &str = "/proc/thread-self/net";

    #[test]
    fn the_tables_have_what_this_process_opened() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let client = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        let inode = nix::sys::stat::fstat(&client).unwrap().st_ino;
        let (mut connected, mut listening) = (0, 0);
        tcp(Path::new(FOLDER), 0, &mut |socket| {
            if socket.inode == inode {
                assert_eq!(socket.remote, client.peer_addr().unwrap());
                connected += 1;
            }
            listening += usize::from(socket.local.port() == listener.local_addr().unwrap().port());
        })
        .unwrap();
        assert!(connected == 1 && listening >= 1);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut found = 0;
        datagram(Path::new(FOLDER), false, 0, &mut |socket| {
            found += usize::from(socket.local == udp.local_addr().unwrap());
        })
        .unwrap();
        assert_eq!(found, 1);
    }

    #[test]
    fn a_line_of_packet_is_understood_or_left_out() {
        let line = "ffff8881 3      3    88cc   2     1 0      102    28157";
        let socket = parse_packet(line, 1).unwrap();
        assert_eq!(
            (socket.local.port(), socket.interface, socket.uid, socket.inode),
            (0x88cc, 2, 102, 28157)
        );
        for line in ["", "a b c", "x 3 3 zzzz 2 1 0 1 2"] {
            assert!(parse_packet(line, 1).is_none());
        }
    }
}
