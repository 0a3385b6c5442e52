//! What becomes of the figures: a table for people, `results.json` for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::Estimate;

/// Figures by key; their lines are printed as they come.
pub struct Table {
    machine: String,
    values: BTreeMap<&'static str, f64>,
    text: String,
}

impl Table {
    /// Prints the head.
    pub fn begin() -> Self {
        let machine = machine();
        let mut table = Self { machine: machine.clone(), values: BTreeMap::new(), text: String::new() };
        table.line(&machine);
        table.line("Interval: 95 %, bootstrap. Outliers: beyond Tukey's 1.5 and 3 interquartile ranges, of all samples; none is left out.");
        table.line("");
        table.row(["figure", "value", "unit", "interval", "outliers", "what it is"]);
        table
    }

    /// A figure that was measured.
    pub fn put(&mut self, key: &'static str, estimate: Estimate, unit: &str, what: &str) {
        let interval = format!("{} – {}", shown(estimate.low), shown(estimate.high));
        let outliers = format!("{}, {} of {}", estimate.mild - estimate.severe, estimate.severe, estimate.samples);
        self.row([key, &shown(estimate.value), unit, &interval, &outliers, what]);
        self.values.insert(key, estimate.value);
    }

    /// A figure that is what it is.
    pub fn put_exact(&mut self, key: &'static str, value: f64, unit: &str, what: &str) {
        self.row([key, &shown(value), unit, "exact", "", what]);
        self.values.insert(key, value);
    }

    /// Where and when the figures were measured.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// A figure that was put.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.values.get(key).copied()
    }

    fn row(&mut self, [key, value, unit, interval, outliers, what]: [&str; 6]) {
        self.line(&format!("{key:<32} {value:>10} {unit:<5} {interval:>19} {outliers:>19}  {what}"));
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        let _ = writeln!(self.text, "{line}");
    }

    /// Writes `target/bench/results.json` and the same table as text; returns the directory.
    pub fn write(&self) -> PathBuf {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench");
        std::fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        // Counts as whole numbers, the rest with the digits that mean something.
        let number = |value: f64| match value.fract() == 0.0 {
            true => serde_json::json!(value as i64),
            false => serde_json::json!((value * 1e6).round() / 1e6),
        };
        let results: BTreeMap<_, _> = self.values.iter().map(|(key, value)| (key, number(*value))).collect();
        std::fs::write(dir.join("results.json"), serde_json::to_string_pretty(&results).unwrap() + "\n").unwrap();
        std::fs::write(dir.join("table.txt"), &self.text).unwrap();
        dir
    }
}

fn shown(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 1_000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Where and when, and what else was going on.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("unknown processor", |(_, name)| name);
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = loads.split(' ').next().unwrap_or_default();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    format!("{cpus} × {model}, load {load} at the start, {year}-{month:02}-{day:02}")
}

/// The Gregorian date of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
