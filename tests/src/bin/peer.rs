//! A service that echoes, and a client that keeps one connection and asks it
//! something again and again. For the demo, inside network namespaces.
//!
//! ```text
//! peer serve ADDRESS:PORT
//! peer ask FROM ADDRESS:PORT            one new connection; exit 0 when answered
//! peer keep FROM ADDRESS:PORT FILE      counts the answers in FILE until killed
//! ```

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use harness::traffic::Conversation;

/// How long one question of `ask` waits.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["serve", at] => serve(at),
        ["ask", from, to] => ask(from, to),
        ["keep", from, to, file] => keep(from, to, file),
        _ => Err("peer serve ADDRESS | ask FROM ADDRESS | keep FROM ADDRESS FILE".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody listens there is nothing to say.
            let _ = writeln!(std::io::stderr(), "peer: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn serve(at: &str) -> Done {
    for stream in TcpListener::bind(at)?.incoming() {
        let mut stream = stream?;
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = stream.read(&mut bytes) {
                if length == 0 || stream.write_all(&bytes[..length]).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

fn open(from: &str, to: &str) -> Result<Conversation, Box<dyn std::error::Error>> {
    Ok(Conversation::open_here(from.parse::<IpAddr>()?, to.parse::<SocketAddr>()?, PATIENCE)?)
}

fn ask(from: &str, to: &str) -> Done {
    Ok(open(from, to)?.exchange(PATIENCE)?)
}

fn keep(from: &str, to: &str, file: &str) -> Done {
    let mut conversation = open(from, to)?;
    for answers in 1_u64.. {
        conversation.exchange(Duration::from_secs(3600))?;
        std::fs::write(file, format!("{answers}\n"))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
