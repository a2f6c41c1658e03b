//! The daemon: who may come in, and for how long.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use common::state::{OWN_FILE, lock};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::call::Call;
use crate::complaint::Complaint;
use crate::config::Settings;
use crate::faults::Faults;
use crate::fetch::Fetcher;
use crate::limit::Peers;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::receive::{Desk, Places};
use crate::source::Source;
use crate::visit::{Guests, Visit};
use crate::writer::{self, Depth};
use crate::{descriptors, health, output, tls};

/// What is open is answered within this time after SIGTERM.
const LAST_ANSWERS: Duration = Duration::from_secs(7);
/// How long an answer may wait to be read, in milliseconds.
const UNREAD: u32 = 30_000;
/// How many may wait for somebody else's answers, of those threads that may wait.
const QUESTIONS: usize = 4;
/// A TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes a minute one address may begin. Each is a signature of
/// ours, half a millisecond with RSA, on the one thread that serves everybody.
const HANDSHAKES: u32 = 12_000;
/// The most of a request's head, in bytes.
const LARGEST_HEAD: usize = 32 * 1024;
/// How often what was left out of the faults is looked at.
const TICK: Duration = Duration::from_secs(5);
/// The pause after an accept that failed: too many open files.
const AGAIN: Duration = Duration::from_millis(100);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The configuration.
    #[error("{0}")]
    Config(String),
    /// Something of the system.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Fault {
    let what = what.into();
    move |error| Fault::System { what, error }
}

struct Daemon {
    call: Call,
    desk: Arc<Desk>,
    guests: Arc<Guests>,
    acceptor: RwLock<Option<TlsAcceptor>>,
    handshakes: Mutex<Peers>,
    header_timeout: Duration,
    spool_limit: u64,
    listen: SocketAddr,
    /// Keys that count from the next start, as they are now.
    fixed: [(&'static str, String); 14],
}

/// The state is one daemon's.
fn alone(state: &Path) -> io::Result<Flock<File>> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let lock_file = state.join("lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).custom_flags(OWN_FILE).open(lock_file)?;
    lock(file, FlockArg::LockExclusiveNonblock, Instant::now()).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => io::Error::other("another custom-webhook works with this state"),
        _ => error,
    })
}

/// Runs until SIGTERM.
///
/// # Errors
/// When it cannot start.
pub fn run(call: Call) -> Result<(), Fault> {
    let settings = Settings::load(&call.config).map_err(|error| Fault::Config(error.to_string()))?;
    if !settings.has_a_source() {
        let why = "no source is configured, so that nobody could send anything";
        return Err(Fault::Config(format!("{}: {why}", call.config.display())));
    }
    // One thread for all requests: checking a signature takes microseconds, and
    // what takes longer has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(system("the runtime"))?;
    let served = runtime.block_on(serve(call, settings));
    // Whoever still waits for an answer of somebody else's waits alone.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(call: Call, settings: Settings) -> Result<(), Fault> {
    let fetcher = Arc::new(Fetcher::default());
    let sources = settings
        .sources(&call.config, Arc::clone(&fetcher) as Arc<_>)
        .map_err(|error| Fault::Config(error.to_string()))?;
    say_doubts(&sources);
    let acceptor = acceptor(&settings).map_err(Fault::Config)?;
    let limit = descriptors::raise().map_err(system("the limit of open files"))?;
    let connections = descriptors::connections(settings.connections, limit);
    if connections < settings.connections {
        let wanted = settings.connections;
        tracing::warn!(
            "{connections} connections at a time, not {wanted}: the limit of open files is {limit}"
        );
    }
    // Before anything is touched: that nobody else does the same.
    let state = call.state.display().to_string();
    let _alone = alone(&call.state).map_err(system(state.clone()))?;
    let listener = listen(settings.listen).await?;
    let watchers = match settings.metrics_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let progress = Progress::of(&call.state);
    let left =
        output::open(&settings.output, &progress).map_err(system(settings.output.display().to_string()))?;

    let (depth, metrics) = (Arc::new(Depth::default()), Arc::new(Metrics::default()));
    let signal_output = Arc::new(output::Signal::default());
    let (writer, writing) = writer::start(
        writer::Settings {
            state: call.state.clone(),
            limit: settings.spool_limit(),
            // A delivery has up to two: its id, and what its body is.
            most_known: settings.replay_entries * 2,
            window: settings.replay_window,
            least_receipt: left.last.saturating_add(1),
        },
        Arc::clone(&depth),
        Arc::clone(&metrics),
        Arc::clone(&signal_output),
    )
    .map_err(system(state.clone()))?;
    let putting_out = output::start(
        output::Settings {
            path: settings.output.clone(),
            spool: writer::folder(&call.state),
            progress,
            spool_limit: settings.spool_limit(),
            per_second: settings.events_per_second,
            rotation: settings.rotation(),
        },
        left,
        Arc::clone(&depth),
        Arc::clone(&metrics),
        Arc::clone(&signal_output),
        writer.jobs(),
    )
    .map_err(system(state))?;

    let desk = Arc::new(Desk {
        places: RwLock::new(Places::new(sources, settings.trusted_proxies.clone())),
        request_timeout: settings.request_timeout,
        writer,
        depth,
        metrics,
        faults: Mutex::new(Faults::new(Instant::now())),
        fetcher,
        rooms: Arc::default(),
        questions: Arc::new(Semaphore::new(QUESTIONS)),
        complaint: Mutex::default(),
    });
    let daemon = Arc::new(Daemon {
        call,
        desk,
        guests: Guests::new(connections, settings.connections_per_peer),
        acceptor: RwLock::new(acceptor),
        handshakes: Mutex::new(Peers::new(HANDSHAKES)),
        header_timeout: settings.header_timeout,
        spool_limit: settings.spool_limit(),
        listen: settings.listen,
        fixed: settings.of_the_start(),
    });
    tracing::info!("listening at {}", settings.listen);
    daemon.desk.note("started").await;
    let watched = watchers
        .map(|watchers| tokio::spawn(health::serve(watchers, Arc::clone(&daemon.desk), daemon.spool_limit)));
    daemon.welcome(listener).await.map_err(system("signals"))?;

    // Nobody comes in any more, and everybody was answered.
    daemon.desk.take_leave().await;
    signal_output.end();
    // The writer ends when nobody is left who could send it anything.
    if let Some(watched) = watched {
        watched.abort();
        let _ = watched.await;
    }
    drop(daemon);
    let _ = tokio::task::spawn_blocking(move || {
        let _ = putting_out.join();
        // The writer ends when nobody can send it anything any more; a request
        // that was not answered in time may still hold on to it.
        let end = Instant::now() + Duration::from_secs(1);
        while !writing.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// What senders are received with; that they will refuse it is said, and keeps
/// nobody from starting: whose clock is right nobody knows.
fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, String> {
    let Some(files) = &settings.tls else { return Ok(None) };
    let identity = tls::read(files, SystemTime::now())?;
    identity.flaws.iter().for_each(|flaw| tracing::warn!("{}", flaw.text));
    Ok(Some(identity.acceptor))
}

/// What will hardly be meant is said where it is looked for.
fn say_doubts(sources: &[Arc<dyn Source>]) {
    sources.iter().flat_map(|source| source.doubts()).for_each(|doubt| tracing::warn!("{doubt}"));
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(system(format!("listening at {address}")))
}

impl Daemon {
    /// Takes connections until SIGTERM, then answers what is open.
    async fn welcome(self: &Arc<Daemon>, listener: TcpListener) -> io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(TICK);
        let graceful = GracefulShutdown::new();
        let mut complaint = Complaint::default();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.enter(stream, peer.ip(), &graceful),
                    Err(error) => {
                        complaint.say(&format!("no connection can be taken: {error}"));
                        tokio::time::sleep(AGAIN).await;
                    }
                },
                _ = tick.tick() => {
                    self.desk.say_what_is_due();
                    self.desk.try_again();
                }
                _ = hangup.recv() => self.read_anew(),
                _ = term.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        drop(listener);
        if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections were not done in {} s", LAST_ANSWERS.as_secs());
        }
        Ok(())
    }

    fn enter(self: &Arc<Daemon>, stream: TcpStream, peer: IpAddr, graceful: &GracefulShutdown) {
        let (peer, now) = (peer.to_canonical(), Instant::now());
        let trusted = self.desk.trusts(peer);
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let too_often = || {
            let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
            handshakes.take(peer, now).is_err()
        };
        let entered = if acceptor.is_some() && !trusted && too_often() {
            None
        } else {
            self.guests.enter(peer, trusted, now)
        };
        let Some(guest) = entered else {
            self.desk.metrics.turned_away.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let (daemon, watcher) = (Arc::clone(self), graceful.watcher());
        let _ = stream.set_nodelay(true);
        // Whoever does not read his answers is not waited for.
        let _ = setsockopt(&stream, TcpUserTimeout, &UNREAD);
        tokio::spawn(async move {
            daemon.desk.metrics.connections.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = guest.visit.has_to_leave() => {
                    daemon.desk.metrics.sent_away.fetch_add(1, Ordering::Relaxed);
                }
                () = daemon.receive(stream, &guest.visit, acceptor, watcher) => {}
            }
            daemon.desk.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn receive(
        &self,
        stream: TcpStream,
        visit: &Arc<Visit>,
        acceptor: Option<TlsAcceptor>,
        watcher: Watcher,
    ) {
        match acceptor {
            None => self.converse(TokioIo::new(stream), visit, watcher).await,
            Some(acceptor) => {
                let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
                if let Ok(Ok(stream)) = shaken {
                    self.converse(TokioIo::new(stream), visit, watcher).await;
                }
            }
        }
    }

    async fn converse<S>(&self, stream: TokioIo<S>, visit: &Arc<Visit>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (desk, visit) = (Arc::clone(&self.desk), Arc::clone(visit));
        let service = service_fn(move |request| Arc::clone(&desk).serve(Arc::clone(&visit), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(LARGEST_HEAD)
            .max_headers(100)
            .serve_connection(stream, service);
        // Whoever breaks off is no news.
        let _ = watcher.watch(connection).await;
    }

    /// Certificate, key, sources and their secrets; the rest needs a restart.
    /// What is broken changes nothing.
    fn read_anew(&self) {
        // Judged with the address that is listened at.
        let read = Settings::load_for(&self.call.config, Some(self.listen))
            .map_err(|error| error.to_string())
            .and_then(|settings| {
                if !settings.has_a_source() {
                    return Err("no source is configured".to_owned());
                }
                let acceptor = acceptor(&settings)?;
                let fetcher = Arc::clone(&self.desk.fetcher);
                let sources = settings
                    .sources(&self.call.config, fetcher as Arc<_>)
                    .map_err(|error| error.to_string())?;
                say_doubts(&sources);
                let wanted = settings.of_the_start();
                let changed = wanted.iter().filter(|key| !self.fixed.contains(key)).map(|(key, _)| *key);
                let changed = changed.collect::<Vec<_>>().join(", ");
                Ok((acceptor, Places::new(sources, settings.trusted_proxies), changed))
            });
        match read {
            Ok((acceptor, places, changed)) => {
                *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                let mut known = self.desk.places.write().unwrap_or_else(PoisonError::into_inner);
                *known = places.after(&known);
                drop(known);
                let read = "certificate, sources, secrets and trusted_proxies were read anew";
                if changed.is_empty() {
                    tracing::info!("{read}");
                } else {
                    tracing::warn!("{read}; changed, and to count from the next start: {changed}");
                }
            }
            Err(error) => {
                tracing::error!("the old configuration stays: {error}");
                // systemd believes that it was read.
                self.desk.mention("reload_failed");
            }
        }
    }
}
