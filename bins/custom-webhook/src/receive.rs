//! One request: from its head to its answer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::complaint::Complaint;
use crate::faults::{self, Fault, Faults};
use crate::fetch::Fetcher;
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::room::{self, Rooms, Uncollected};
use crate::source::{Delivery, Id, Line, Outcome, Refusal, Source, origin};
use crate::visit::Visit;
use crate::writer::{Depth, Job, Writer, Written};

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// A larger body is checked on another thread: its signature takes milliseconds.
const LARGE: usize = 256 * 1024;

/// A body that costs little to check, in bytes.
const CHEAP: u64 = 64 * 1024;
/// What is read of a body that is refused: so long, so many bytes.
const DRAIN: Duration = Duration::from_secs(3);
const MOST_DRAINED: usize = 64 * 1024 * 1024;

/// A source, and how often it was used.
pub struct Place {
    source: Arc<dyn Source>,
    limit: Arc<Mutex<Limit>>,
}

impl Place {
    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources, by their paths. Replaced as a whole when the configuration is
/// read anew.
pub struct Places {
    all: Vec<Arc<Place>>,
    /// Whose word about the client counts.
    proxies: Vec<IpNet>,
}

impl Places {
    /// Of these sources, behind these proxies.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn Source>>, proxies: Vec<IpNet>) -> Places {
        let place = |source: Arc<dyn Source>| {
            let limit = Arc::new(Mutex::new(Limit::new(source.rate(), Instant::now())));
            Arc::new(Place { source, limit })
        };
        Places { all: sources.into_iter().map(place).collect(), proxies }
    }

    /// With what was used of those before them, where their rates are the same.
    #[must_use]
    pub fn after(mut self, before: &Places) -> Places {
        for place in self.all.iter_mut().filter_map(Arc::get_mut) {
            let same = |old: &&Arc<Place>| {
                old.source.name() == place.source.name() && old.limit().rate() == place.source.rate()
            };
            if let Some(old) = before.all.iter().find(same) {
                place.limit = Arc::clone(&old.limit);
            }
        }
        self
    }

    fn find(&self, path: &str) -> Option<Arc<Place>> {
        self.all.iter().find(|place| place.source.paths().iter().any(|known| known == path)).cloned()
    }
}

/// What every request works with.
pub struct Desk {
    /// See there.
    pub places: RwLock<Places>,
    /// For a body and the answer.
    pub request_timeout: Duration,
    /// Lines go there.
    pub writer: Writer,
    /// How much waits.
    pub depth: Arc<Depth>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What is said of what went wrong.
    pub faults: Mutex<Faults>,
    /// Confirms subscriptions.
    pub fetcher: Arc<Fetcher>,
    /// For bodies.
    pub rooms: Arc<Rooms>,
    /// Who may wait for what somebody else answers.
    pub questions: Arc<Semaphore>,
    /// What could not be found out is not said over and over.
    pub complaint: Mutex<Complaint>,
}

fn answer(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn later(status: StatusCode, text: &'static str, seconds: u64) -> Answer {
    let mut answer = answer(status, text);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// The rest of the body is not read: the connection ends with the answer.
fn and_close(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl Desk {
    /// Answers a request.
    ///
    /// # Errors
    /// Never: what goes wrong is an answer, too.
    pub async fn serve(
        self: Arc<Desk>,
        visit: Arc<Visit>,
        request: Request<Incoming>,
    ) -> Result<Answer, Infallible> {
        let start = Instant::now();
        let answer = self.receive(&visit, request).await;
        let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.metrics.request_us.fetch_add(took, Ordering::Relaxed);
        self.metrics.answered.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }

    async fn receive(&self, visit: &Visit, request: Request<Incoming>) -> Answer {
        let (place, connected) = (self.places().find(request.uri().path()), visit.peer());
        let peer = origin::client(connected, request.headers(), &self.places().proxies);
        let Some(place) = place else {
            self.metrics.count("-", "not_found");
            return and_close(answer(StatusCode::NOT_FOUND, "there is nothing here\n"));
        };
        let name = place.source.name();
        if request.method() != Method::POST {
            self.metrics.count(name, "method_not_allowed");
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return and_close(refused);
        }
        let (head, mut body) = request.into_parts();
        // Of an address from which nonsense comes, only what is checked at once
        // is looked at: it may be the real sender's, too.
        let barred = place.limit().bars(peer, Instant::now());
        if let Some(seconds) = barred.filter(|_| body.size_hint().exact().is_none_or(|size| size > CHEAP)) {
            drain(&head.headers, body);
            return and_close(self.too_many(name, peer, seconds));
        }
        let limit = place.source.body_limit();
        if body.size_hint().lower() > limit as u64 {
            drain(&head.headers, body);
            return self.too_large(name, peer);
        }
        let collected =
            tokio::time::timeout(self.request_timeout, room::collect(&self.rooms, &mut body, limit, peer))
                .await;
        let (body, room) = match collected {
            Err(_) | Ok(Err(Uncollected::TooSlow)) => {
                self.metrics.count(name, "timeout");
                return and_close(answer(StatusCode::REQUEST_TIMEOUT, "the body did not come\n"));
            }
            Ok(Err(Uncollected::TooLarge)) => {
                drain(&head.headers, body);
                return self.too_large(name, peer);
            }
            Ok(Err(Uncollected::NoRoom)) => {
                drain(&head.headers, body);
                self.metrics.count(name, "no_room");
                return and_close(later(StatusCode::SERVICE_UNAVAILABLE, "too many large bodies\n", 10));
            }
            Ok(Err(Uncollected::BrokenOff)) => {
                self.metrics.count(name, "broken_off");
                return and_close(answer(StatusCode::BAD_REQUEST, "the body broke off\n"));
            }
            Ok(Ok(collected)) => collected,
        };
        self.metrics.received_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        // The source looks at the headers itself: who is at the other end is
        // all that it is told.
        let judged = self.judge(&place.source, head.headers, body, connected).await;
        drop(room);
        let limited = match &judged {
            // Nobody's fault.
            Err(Refusal::Unavailable(_)) => Ok(()),
            Ok(_) | Err(Refusal::BadRequest(_) | Refusal::UnsupportedMediaType | Refusal::Stale) => {
                visit.is_welcome();
                place.limit().enter(peer, Instant::now())
            }
            Err(_) => place.limit().fail(peer, Instant::now()),
        };
        if let Err(seconds) = limited {
            return self.too_many(name, peer, seconds);
        }
        match judged {
            Ok(Outcome::Events { lines, ids }) => self.write(name, lines, ids, peer).await,
            Ok(Outcome::Nothing(why)) => {
                self.metrics.count(name, why);
                answer(StatusCode::OK, "nothing to write\n")
            }
            Ok(Outcome::Confirm { url, lines, ids }) => {
                let fetcher = Arc::clone(&self.fetcher);
                match self.ask(move || fetcher.confirm(&url)).await {
                    Some(Ok(())) => self.write(name, lines, ids, peer).await,
                    _ => {
                        self.metrics.count(name, "not_confirmed");
                        later(
                            StatusCode::SERVICE_UNAVAILABLE,
                            "the subscription could not be confirmed\n",
                            60,
                        )
                    }
                }
            }
            Err(refusal) => self.refused(name, refusal, peer),
        }
    }

    /// Asks the source; elsewhere when that may take its time.
    async fn judge(
        &self,
        source: &Arc<dyn Source>,
        headers: HeaderMap,
        body: Bytes,
        peer: IpAddr,
    ) -> Result<Outcome, Refusal> {
        let now = SystemTime::now();
        let delivery = Delivery { headers: &headers, body: &body, peer, now };
        let waits = source.may_wait(&delivery);
        if body.len() < LARGE && !waits {
            return source.receive(&delivery);
        }
        let source = Arc::clone(source);
        let look = move || source.receive(&Delivery { headers: &headers, body: &body, peer, now });
        let judged = if waits { self.ask(look).await } else { tokio::task::spawn_blocking(look).await.ok() };
        judged.unwrap_or_else(|| Err(Refusal::Unavailable("its check takes too long".to_owned())))
    }

    /// Does what waits for somebody else's answer, unless many do that already or
    /// it takes too long.
    async fn ask<T: Send + 'static>(&self, question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let asked = async {
            let place = Arc::clone(&self.questions).acquire_owned().await.ok()?;
            let asked = tokio::task::spawn_blocking(move || {
                let answer = question();
                drop(place);
                answer
            });
            asked.await.ok()
        };
        tokio::time::timeout(self.request_timeout, asked).await.ok().flatten()
    }

    fn too_many(&self, name: &str, peer: IpAddr, seconds: u64) -> Answer {
        self.refuse(name, "rate_limited", "rate_limited", peer);
        later(StatusCode::TOO_MANY_REQUESTS, "too many requests\n", seconds)
    }

    fn too_large(&self, name: &str, peer: IpAddr) -> Answer {
        self.refuse(name, "too_large", "body_too_large", peer);
        and_close(answer(StatusCode::PAYLOAD_TOO_LARGE, "too large\n"))
    }

    fn refused(&self, name: &str, refusal: Refusal, peer: IpAddr) -> Answer {
        match refusal {
            Refusal::Unauthorized(event) => {
                self.refuse(name, "unauthorized", event, peer);
                and_close(answer(StatusCode::UNAUTHORIZED, "not authorized\n"))
            }
            Refusal::Stale => {
                self.refuse(name, "stale", "replayed", peer);
                and_close(answer(StatusCode::UNAUTHORIZED, "not authorized\n"))
            }
            Refusal::BadRequest(why) => {
                self.metrics.count(name, "bad_request");
                let mut refused = answer(StatusCode::BAD_REQUEST, "");
                *refused.body_mut() = Full::new(Bytes::from(why + "\n"));
                refused
            }
            Refusal::UnsupportedMediaType => {
                self.metrics.count(name, "unsupported_media_type");
                answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this content type is not understood\n")
            }
            Refusal::Forbidden(why) => {
                self.metrics.count(name, why);
                and_close(answer(StatusCode::FORBIDDEN, "not allowed\n"))
            }
            Refusal::Unavailable(why) => {
                let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
                complaint.say(&format!("{name}: {}", common::text::printable(&why)));
                self.metrics.count(name, "unavailable");
                and_close(later(StatusCode::SERVICE_UNAVAILABLE, "try again\n", 30))
            }
        }
    }

    /// Everything on the disk, or an answer that asks to come again.
    async fn write(&self, name: &str, lines: Vec<Line>, ids: Vec<Id>, peer: IpAddr) -> Answer {
        let unwanted = lines.is_empty();
        match tokio::time::timeout(self.request_timeout, self.writer.write(lines, ids)).await {
            Ok(Some(Written::New(_))) if unwanted => {
                self.metrics.count(name, "not_wanted");
                answer(StatusCode::OK, "nothing to write\n")
            }
            Ok(Some(Written::New(_))) => {
                self.metrics.count(name, "accepted");
                answer(StatusCode::OK, "accepted\n")
            }
            Ok(Some(Written::Repeat)) => {
                self.metrics.count(name, "repeat");
                answer(StatusCode::OK, "accepted before\n")
            }
            Ok(Some(Written::Alike)) => {
                // Somebody sends again what he has seen; or something happened
                // twice that looks the same.
                self.refuse(name, "repeat", "replayed", peer);
                answer(StatusCode::OK, "accepted before\n")
            }
            // It may be on the disk all the same: a repeat is known then.
            Ok(Some(Written::Full) | None) | Err(_) => {
                self.refuse(name, "full", "spool_full", peer);
                later(StatusCode::SERVICE_UNAVAILABLE, "no room: try again\n", 30)
            }
        }
    }

    fn refuse(&self, name: &str, outcome: &'static str, event: &'static str, peer: IpAddr) {
        self.metrics.count(name, outcome);
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).happened(
            event,
            name,
            peer,
            Instant::now(),
        );
        if let Some(fault) = fault {
            self.say(&fault);
        }
    }

    /// What was left out of the faults, once a minute.
    pub fn say_what_is_due(&self) {
        let due = self.faults.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now());
        due.iter().for_each(|fault| self.say(fault));
    }

    /// As a line of the log, and as an event. Nobody waits for it: where there
    /// is no room for it, it is only in the log.
    fn say(&self, fault: &Fault) {
        let whose = fault.peer.map_or_else(|| "by others or again".to_owned(), |peer| format!("from {peer}"));
        tracing::warn!("{} at {}, {whose}, {} times", fault.event, fault.source, fault.count);
        let lines = vec![fault.line(SystemTime::now())];
        self.writer.hand_in(Job::Write { lines, ids: Vec::new(), answer: None });
    }

    /// Whether this peer's word about the client counts.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        origin::is_in(&self.places().proxies, peer)
    }

    fn places(&self) -> RwLockReadGuard<'_, Places> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about ourselves, for which nobody waits.
    pub fn mention(&self, event: &'static str) {
        let lines = vec![faults::note(event, SystemTime::now())];
        self.writer.hand_in(Job::Write { lines, ids: Vec::new(), answer: None });
    }

    /// Something about ourselves, on the disk when this returns.
    pub async fn note(&self, event: &'static str) {
        self.writer.write(vec![faults::note(event, SystemTime::now())], Vec::new()).await;
    }

    /// The last words: what was left out, and that it ends.
    pub async fn take_leave(&self) {
        let due = self.faults.lock().unwrap_or_else(PoisonError::into_inner).all(Instant::now());
        due.iter().for_each(|fault| self.say(fault));
        self.note("stopped").await;
    }

    /// What could not be done may be possible now.
    pub fn try_again(&self) {
        self.writer.hand_in(Job::TryAgain);
    }
}

/// Reads what still comes of a body that is refused, and forgets it: a proxy that
/// is cut off while it sends makes its own error of our answer.
fn drain(headers: &HeaderMap, mut body: Incoming) {
    // Who asked before sending it has not begun.
    if headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(DRAIN, async move {
        let mut bytes = 0;
        while bytes < MOST_DRAINED
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    }));
}
