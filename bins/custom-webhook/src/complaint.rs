//! What goes on being wrong is not said over and over.

use std::time::{Duration, Instant};

/// The same trouble is said at once, and then once a minute.
#[derive(Debug, Default)]
pub struct Complaint(Option<Instant>);

impl Complaint {
    /// Says it, or not.
    pub fn say(&mut self, text: &str) {
        if self.0.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
            self.0 = Some(Instant::now());
            tracing::error!("{text}");
        }
    }
}
