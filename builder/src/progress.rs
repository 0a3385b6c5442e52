//! How far a command is, where somebody looks.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The first pass over the object, for its id.
    Reading,
    /// The pass over the encrypted blocks.
    Encrypting,
    /// Making the tags.
    Tagging,
    /// Bytes are under way to the provider.
    Uploading,
    /// Bytes come from the provider.
    Fetching,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Encrypting => "encrypting",
            Self::Tagging => "making tags",
            Self::Uploading => "uploading",
            Self::Fetching => "fetching",
        }
    }
}

/// Hears (what, bytes done, bytes in all).
pub trait Progress: Send {
    /// Called often.
    fn hear(&mut self, stage: Stage, done: u64, total: u64);
}

impl<F: FnMut(Stage, u64, u64) + Send> Progress for F {
    fn hear(&mut self, stage: Stage, done: u64, total: u64) {
        self(stage, done, total)
    }
}

const REDRAW: Duration = Duration::from_millis(200);
const BAR_CELLS: u64 = 24;

/// A line on the terminal with a bar, the rate and the time left; nothing when standard error is no terminal.
pub struct Line {
    shown: bool,
    current: Option<Current>,
}

struct Current {
    stage: Stage,
    began: Instant,
    /// What was done before: not part of the rate.
    at_first: u64,
    drawn: Option<Instant>,
}

impl Line {
    /// On standard error.
    pub fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), current: None }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Line {
    fn hear(&mut self, stage: Stage, done: u64, total: u64) {
        if !self.shown {
            return;
        }
        let now = Instant::now();
        let fresh = Current { stage, began: now, at_first: done, drawn: None };
        let current = match &mut self.current {
            Some(current) if current.stage == stage => current,
            current => current.insert(fresh),
        };
        let is_over = done >= total;
        if !is_over && current.drawn.is_some_and(|drawn| now - drawn < REDRAW) {
            return;
        }
        current.drawn = Some(now);
        let line = describe(stage, done.saturating_sub(current.at_first), done, total, now - current.began);
        eprint!("\r\x1b[2K{line}{}", if is_over { "\n" } else { "" });
        if is_over {
            self.current = None;
        }
    }
}

fn describe(stage: Stage, moved: u64, done: u64, total: u64, spent: Duration) -> String {
    let part = |of: u64| u64::try_from(u128::from(done.min(total)) * u128::from(of) / u128::from(total.max(1))).unwrap_or(of);
    let full = if total == 0 { BAR_CELLS } else { part(BAR_CELLS) };
    let bar: String = (0..BAR_CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect();
    let percent = if total == 0 { 100 } else { part(100) };
    let rate = moved as f64 / spent.as_secs_f64().max(1e-3);
    let left = match rate > 0.0 && done < total {
        true => format!(", {} left", duration(((total - done) as f64 / rate) as u64)),
        false => String::new(),
    };
    format!("{} [{bar}] {percent} % of {}, {}/s{left}", stage.word(), size(total as f64), size(rate))
}

/// Bytes in words.
pub fn size(bytes: f64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut value = bytes;
    for unit in units.iter().take(units.len() - 1) {
        if value < 1000.0 {
            return format!("{value:.*} {unit}", if *unit == "B" || value >= 100.0 { 0 } else { 1 });
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let line = describe(Stage::Uploading, 500_000_000, 1_500_000_000, 3_000_000_000, Duration::from_secs(10));
        assert_eq!(line, "uploading [############............] 50 % of 3.0 GB, 50.0 MB/s, 30 s left");
        assert_eq!(describe(Stage::Tagging, 0, 0, 0, Duration::ZERO), "making tags [########################] 100 % of 0 B, 0 B/s");
        assert_eq!(duration(7300), "2 h 1 min");
    }
}
