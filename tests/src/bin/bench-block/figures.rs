//! What was measured, in figures and in tables.

use std::fmt::Write;
use std::time::Duration;

/// One run of a program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// From before its start until its end was known.
    pub(super) wall: Duration,
    /// User and system time of it and of all that it started and waited for.
    pub(super) cpu: Duration,
}

/// All runs of one contestant.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Milliseconds of the median run.
    pub(super) fn wall(&self) -> f64 {
        median(self.0.iter().map(|sample| sample.wall))
    }

    /// Milliseconds of the fastest run.
    pub(super) fn fastest(&self) -> f64 {
        self.0.iter().map(|sample| sample.wall).min().map_or(f64::NAN, milliseconds)
    }

    /// Milliseconds of processor time of the median run.
    pub(super) fn cpu(&self) -> f64 {
        median(self.0.iter().map(|sample| sample.cpu))
    }
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// In milliseconds; no number when there is none.
fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    match times.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => milliseconds(times[length / 2]),
        length => milliseconds((times[length / 2 - 1] + times[length / 2]) / 2),
    }
}

/// Three digits that mean something.
pub(super) fn digits(number: f64) -> String {
    match number {
        n if !n.is_finite() => "-".to_owned(),
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

/// A table of columns that are as wide as they must be, the first one flush
/// left and all others flush right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            // Writing to a string does not fail.
            let _ =
                if column == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// What was asked, what came of it.
#[derive(Debug, Default)]
pub(super) struct Targets(Vec<(String, String, bool)>);

impl Targets {
    /// A figure that must not be larger than this.
    pub(super) fn at_most(&mut self, what: &str, limit: f64, unit: &str, measured: f64) {
        self.add(&format!("{what}: at most {limit}{unit}"), unit, measured, measured <= limit);
    }

    /// A figure that must not be smaller than this.
    pub(super) fn at_least(&mut self, what: &str, limit: f64, unit: &str, measured: f64) {
        self.add(&format!("{what}: at least {limit}{unit}"), unit, measured, measured >= limit);
    }

    /// What the last figure is when taken in another way, which decides nothing.
    pub(super) fn note(&mut self, note: &str) {
        if let Some((_, measured, _)) = self.0.last_mut() {
            *measured += &format!(" ({note})");
        }
    }

    fn add(&mut self, what: &str, unit: &str, measured: f64, reached: bool) {
        // What could not be measured was not reached, and not missed either.
        if measured.is_finite() {
            self.0.push((what.to_owned(), format!("{}{unit}", digits(measured)), reached));
        }
    }

    pub(super) fn all_reached(&self) -> bool {
        self.0.iter().all(|(_, _, reached)| *reached)
    }

    pub(super) fn table(&self) -> String {
        let row = |(what, measured, reached): &(String, String, bool)| {
            vec![what.clone(), measured.clone(), if *reached { "reached" } else { "MISSED" }.to_owned()]
        };
        table(&["target", "measured", ""], &self.0.iter().map(row).collect::<Vec<_>>())
    }
}
