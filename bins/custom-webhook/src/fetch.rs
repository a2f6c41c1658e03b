//! What Amazon SNS makes us ask for: its certificates, and the confirmation of
//! a subscription. The URLs were checked by the source.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use reqwest::redirect::Policy;

use crate::pace::Pace;
use crate::source::Certificates;

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The most of an answer that is read, in bytes.
const MOST: u64 = 64 * 1024;
/// Certificates that are kept: a region has one or two.
const MOST_KEPT: usize = 64;

/// How long a certificate that could not be had is not asked for again.
const PAUSE: Duration = Duration::from_secs(60);
/// How many are asked for in a second, and at once: whoever knows the name of a
/// topic can name certificates.
const PER_SECOND: f64 = 0.2;
const AT_ONCE: f64 = 4.0;

/// What came of asking for a certificate, and when.
type Kept = (Instant, Result<Arc<[u8]>, String>);

/// Asks over HTTPS, and remembers the answers.
#[derive(Debug)]
pub struct Fetcher {
    client: Mutex<Option<Client>>,
    kept: Mutex<HashMap<String, Kept>>,
    pace: Mutex<Pace>,
}

impl Default for Fetcher {
    fn default() -> Fetcher {
        Fetcher {
            client: Mutex::default(),
            kept: Mutex::default(),
            pace: Mutex::new(Pace::new(PER_SECOND, AT_ONCE, Instant::now())),
        }
    }
}

impl Fetcher {
    /// Made when it is first needed: it reads the system's authorities.
    fn client(&self) -> Result<Client, String> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        // Of several programs' providers none is the default one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = Client::builder()
            .timeout(LIMIT)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("custom-webhook/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(client.insert(made).clone())
    }

    fn ask(&self, url: &str) -> Result<Vec<u8>, String> {
        let answer = self.client()?.get(url).send().map_err(|error| error.without_url().to_string())?;
        if !answer.status().is_success() {
            return Err(format!("answered {}", answer.status()));
        }
        let mut body = Vec::new();
        answer.take(MOST + 1).read_to_end(&mut body).map_err(|error| error.to_string())?;
        if body.len() as u64 > MOST { Err("answered too much".to_owned()) } else { Ok(body) }
    }

    /// Confirms a subscription.
    ///
    /// # Errors
    /// When it is not confirmed.
    pub fn confirm(&self, url: &str) -> Result<(), String> {
        self.ask(url)
            .map(drop)
            .inspect_err(|error| tracing::warn!("a subscription could not be confirmed: {error}"))
    }
}

impl Certificates for Fetcher {
    fn get(&self, url: &str) -> Result<Arc<[u8]>, String> {
        if let Some((at, known)) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(url)
            && (known.is_ok() || at.elapsed() < PAUSE)
        {
            return known.clone();
        }
        if self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(1, Instant::now()) == 0 {
            return Err("too many others were asked for".to_owned());
        }
        // Nobody waits for this answer who has what he needs.
        let answer = self.ask(url).map(Arc::from);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            // Those that are of use come again; what was never of use goes first.
            kept.retain(|_, (_, known)| known.is_ok());
            if kept.len() >= MOST_KEPT {
                kept.clear();
            }
        }
        kept.insert(url.to_owned(), (Instant::now(), answer.clone()));
        answer
    }
}
