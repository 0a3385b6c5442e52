//! What a person sees at the end.

use assay_core::params::TOKEN;
use assay_core::verdict::{Dimension, Grade};

use super::economy::Books;
use super::outcome::{ProviderRow, Summary};
use super::{AWAY_TURN, Devnet, Fault, OracleFault, SLOW_ROUND_TRIP, THROTTLED_KBPS};

/// A token amount with two decimals.
pub fn tokens(amount: u128) -> String {
    format!("{}.{:02}", amount / TOKEN, amount % TOKEN / (TOKEN / 100))
}

fn grade(worst: &(Grade, Option<Dimension>)) -> String {
    let dimension = match worst.1 {
        Some(Dimension::AVAILABILITY) => "availability".into(),
        Some(Dimension::LATENCY_P50 | Dimension::LATENCY_P95 | Dimension::LATENCY_P99) => "latency".into(),
        Some(Dimension::BANDWIDTH_IN | Dimension::BANDWIDTH_OUT) => "bandwidth".into(),
        Some(dimension) => dimension.to_string(),
        None => return "pass".into(),
    };
    let word = match worst.0 {
        Grade::Fail => "FAIL",
        Grade::Degraded => "degraded",
        _ => "undecided",
    };
    format!("{word} {dimension}")
}

fn wrong(provider: &ProviderRow, lost: (u64, u64)) -> String {
    match provider.fault {
        Fault::None => "nothing".into(),
        Fault::Lossy => format!("lost {} of {} blocks", lost.0, lost.1),
        Fault::Slow => format!("+{} ms a round trip", SLOW_ROUND_TRIP.as_millis()),
        Fault::Throttled => format!("{} Mbit/s line", THROTTLED_KBPS / 1_000),
        Fault::Away => format!("{} s down, {0} s up", AWAY_TURN.as_secs()),
    }
}

fn measured(provider: &ProviderRow, baseline_us: u64) -> String {
    let storage = provider.storage;
    let faulty = storage.invalid + storage.missing;
    let mbits = |kbps: u64| format!("{}.{}", kbps / 1_000, kbps % 1_000 / 100);
    match provider.fault {
        Fault::Slow => {
            let added = provider.p50_latency_us.saturating_sub(baseline_us);
            format!("p50 +{}.{} ms", added / 1_000, added % 1_000 / 100)
        }
        Fault::Throttled => format!("{} / {} Mbit/s in / out", mbits(provider.up_kbps), mbits(provider.down_kbps)),
        Fault::Away => format!("{}.{} % answered", provider.availability_ppm / 10_000, provider.availability_ppm % 10_000 / 1_000),
        Fault::None | Fault::Lossy => format!(
            "{faulty} of {} samples lost ({}.{} %)",
            storage.valid + faulty,
            faulty * 100 / (storage.valid + faulty).max(1),
            faulty * 1_000 / (storage.valid + faulty).max(1) % 10
        ),
    }
}

/// The table and the commands to look further.
pub fn table(devnet: &Devnet, summary: &Summary) -> String {
    let baseline_us = summary.providers.iter().find(|p| p.fault == Fault::None).map_or(0, |p| p.p50_latency_us);
    let mut rows =
        vec![["provider", "what is wrong", "verdict per epoch", "measured", "p50 ms", "paid", "slashed"].map(String::from).to_vec()];
    for (provider, node) in summary.providers.iter().zip(&devnet.providers) {
        let mut verdicts: Vec<(String, usize)> = Vec::new();
        for worst in provider.worst.iter().map(grade) {
            match verdicts.last_mut() {
                Some((last, times)) if *last == worst => *times += 1,
                _ => verdicts.push((worst, 1)),
            }
        }
        rows.push(vec![
            provider.id.to_string(),
            wrong(provider, node.lost),
            verdicts.iter().map(|(verdict, times)| format!("{times}x {verdict}")).collect::<Vec<_>>().join(", "),
            measured(provider, baseline_us),
            format!("{}.{}", provider.p50_latency_us / 1_000, provider.p50_latency_us % 1_000 / 100),
            tokens(provider.rewarded),
            tokens(provider.slashed),
        ]);
    }
    let mut text = aligned(&rows);
    for provider in summary.providers.iter().filter(|provider| provider.slashed > 0) {
        let (slices, proofs) = (provider.storage.faults_by_slices, provider.storage.faults_by_proofs);
        text += &format!(
            "\nprovider {} was slashed: {}, proven {slices} times in audits by slices and {proofs} times in audits by compact proofs\n",
            provider.id,
            provider.slash_reason.unwrap_or("no reason given"),
        );
    }
    let epochs = summary.epochs.iter().map(|row| {
        let signers = row.signers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        vec![
            row.epoch.to_string(),
            row.block.to_string(),
            row.gas_used.to_string(),
            signers,
            row.view.to_string(),
            row.report_digest.to_string(),
        ]
    });
    let header = ["epoch", "block", "gas", "signed by", "view", "report"].map(String::from).to_vec();
    text += &format!("\n{}", aligned(&std::iter::once(header).chain(epochs).collect::<Vec<_>>()));
    let oracles: Vec<String> = summary
        .oracles
        .iter()
        .map(|oracle| {
            let fault = if oracle.fault == OracleFault::None { String::new() } else { format!(" ({})", oracle.fault.name()) };
            format!("{}{fault} got {}", oracle.id, tokens(oracle.rewarded))
        })
        .collect();
    text + &format!("\noracles: {}; left in the pool: {}\n", oracles.join(", "), tokens(summary.pool_remainder))
}

/// What the builder's bookings came to.
pub fn deals(books: &Books) -> String {
    let header = ["booking", "provider", "GiB", "paid in", "provider's", "margin", "credited back", "multiplier per epoch"];
    let rows = books.deals.iter().map(|deal| {
        let multipliers = deal.epochs.iter().map(|(_, ppm)| format!("{}.{:02}", ppm / 1_000_000, ppm % 1_000_000 / 10_000));
        vec![
            deal.booking.0.to_string(),
            deal.provider.to_string(),
            deal.gib.to_string(),
            tokens(deal.escrow),
            tokens(deal.earned - deal.margin),
            tokens(deal.margin),
            tokens(deal.credited),
            multipliers.collect::<Vec<_>>().join(" "),
        ]
    });
    let table = aligned(&std::iter::once(header.map(String::from).to_vec()).chain(rows).collect::<Vec<_>>());
    let sum = match books.wrong.is_empty() {
        true => format!("books: {} accounts hold {} tokens, all there are, to the last unit", books.accounts.len(), tokens(books.supply)),
        false => format!("books: they do not balance:\n  {}", books.wrong.join("\n  ")),
    };
    format!("{table}\n{sum}\n")
}

/// Commands for a reader who wants to see more; they work while the network runs.
pub fn commands(summary: &Summary) -> String {
    let api = summary.api.first().cloned().unwrap_or_default();
    let slashed = summary.providers.iter().find(|provider| provider.slashed > 0).map_or(1, |provider| provider.id.0);
    format!(
        "look further while it runs:\n  curl -s {api}/v1/epochs/0\n  curl -s {api}/v1/verdicts/{slashed}/0\n  curl -s {api}/v1/epochs/0/observations\n  \
         npx cast call --rpc-url {rpc} {settlement} 'slashExecuted(uint64,uint64)(bool)' {slashed} 0\n",
        rpc = summary.rpc,
        settlement = summary.settlement,
    )
}

/// The text as an image: one that a page can show and a person can read.
pub fn svg(text: &str) -> String {
    const LINE: usize = 18;
    const CHARACTER: usize = 8;
    const MARGIN: usize = 16;
    let lines: Vec<&str> = text.lines().collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) * CHARACTER + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let rows: String = lines
        .iter()
        .enumerate()
        .map(|(row, line)| format!("<text x=\"{MARGIN}\" y=\"{}\">{}</text>\n", MARGIN + LINE * row + LINE * 3 / 4, escaped(line)))
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, \
         'DejaVu Sans Mono', monospace\" font-size=\"13\" fill=\"#e6edf3\" xml:space=\"preserve\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" \
         fill=\"#0d1117\"/>\n{rows}</svg>\n"
    )
}

/// Three characters mean something in XML; runs of spaces would be one, were they not told apart.
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}")
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
