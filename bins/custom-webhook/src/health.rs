//! The second listener: whether it lives, whether it can take something, and
//! how much it has taken.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::receive::Desk;
use crate::writer::ONE_MORE;

/// Connections at a time.
const MOST: usize = 32;
/// For each of them.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers until it is dropped, and whoever is being answered with it.
pub async fn serve(listener: TcpListener, desk: Arc<Desk>, spool_limit: u64) {
    let room = Arc::new(Semaphore::new(MOST));
    let mut visits = JoinSet::new();
    loop {
        while visits.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let desk = Arc::clone(&desk);
        visits.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&desk, spool_limit, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(LIMIT)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(6 * LIMIT, connection).await;
            drop(place);
        });
    }
}

fn answer(desk: &Desk, spool_limit: u64, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "alive\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match trouble(desk, spool_limit) {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, desk.metrics.text(&desk.depth, spool_limit))
        }
        _ => (StatusCode::NOT_FOUND, "/healthz, /readyz, /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Why nothing can be taken now.
fn trouble(desk: &Desk, spool_limit: u64) -> Option<&'static str> {
    let full = desk.depth.bytes.load(Ordering::Relaxed) + ONE_MORE as u64 > spool_limit;
    if !desk.metrics.disk_ok.load(Ordering::Relaxed) {
        Some("the spool cannot be written")
    } else if full || !desk.metrics.room.load(Ordering::Relaxed) {
        Some("the spool is full")
    } else if !desk.metrics.output_ok.load(Ordering::Relaxed) {
        Some("the output cannot be written")
    } else {
        None
    }
}
