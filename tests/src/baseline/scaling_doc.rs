//! The tables of `docs/SCALING.md`, from the figures of one run.

use std::fmt::Write as _;

use super::doc::rounded;

/// Committees of the table of messages.
const COMMITTEES: [u64; 4] = [4, 16, 64, 256];

/// Messages by their name in keys, with how many of each an oracle sends to every other one in an epoch.
const MESSAGES: [(&str, &str); 7] = [
    ("commit", "commit, 1"),
    ("reveal", "reveal, 1"),
    ("bit_vote", "bit-vote, 1"),
    ("proposal", "proposal, 1 by the leader"),
    ("signature", "report signature, 1"),
    ("wish", "wish, none unless a view fails"),
    ("certificate", "certificate, 1"),
];

/// Measured costs of one unit, with what they are.
const UNITS: [(&str, &str); 13] = [
    ("epoch.close_100k_s", "close 100,000 providers × 7 observations, all proofs included, two cores, s"),
    ("epoch.close_100k_rss_mib", "most memory of that process, MiB"),
    ("epoch.close_100k_inputs_mib", "of it before the close, MiB"),
    ("epoch.close_1m_over_100k", "time for 1,000,000 providers / for 100,000"),
    ("epoch.close_1m_rss_mib", "most memory with 1,000,000 providers, MiB"),
    ("epoch.observations_s", "observations judged per second of the close"),
    ("baseline.majority_observations_s", "exact-majority evaluation of the same observations, one core, per second"),
    ("scaling.verify_observation_us", "check one observation of somebody's reveal, an epoch of 25 s, µs"),
    ("scaling.verify_observation_day_us", "the same for an epoch of a day, µs"),
    ("core.bls_verify_us", "check one signature or VRF, µs"),
    ("scaling.observation_bytes", "one observation in a reveal, bytes"),
    ("scaling.reveal_providers", "providers that one reveal of 16 MiB can speak of"),
    ("gas.report_all", "post a report that all of 256 oracles signed, gas"),
];

/// Networks: (oracles, providers).
const NETWORKS: [(u64, u64); 4] = [(16, 4_096), (64, 100_000), (256, 100_000), (256, 1_000_000)];
const PANEL: f64 = 7.0;
const SLOTS_OF_A_DAY: f64 = 24.0;

/// What one oracle pays for an epoch of a network, as Markdown cells.
const COSTS: [(&str, Cost); 8] = [
    ("providers it measures", |network, _| Some(network.measured())),
    ("its reveal, MB", |network, value| Some(network.measured() * value("scaling.observation_bytes")? / 1e6)),
    ("received, and kept on disk, MB", |network, value| Some(network.observations() * value("scaling.observation_bytes")? / 1e6)),
    ("check all reveals of a day, one core, s", |network, value| {
        Some(network.observations() * value("scaling.verify_observation_day_us")? / 1e6)
    }),
    ("signatures and VRFs, one core, s", |network, value| Some(network.signatures() * value("core.bls_verify_us")? / 1e6)),
    ("close, two cores, s", |network, value| Some(network.providers / 1e5 * value("epoch.close_100k_s")?)),
    ("memory of the close, MiB", |network, value| Some(network.providers / 1e5 * value("epoch.close_100k_rss_mib")?)),
    ("gas for each provider", |network, value| Some(value("gas.report_all")? / network.providers)),
];

type Cost = fn(&Network, &dyn Fn(&str) -> Option<f64>) -> Option<f64>;

struct Network {
    oracles: f64,
    providers: f64,
}

impl Network {
    fn observations(&self) -> f64 {
        self.providers * PANEL
    }

    fn measured(&self) -> f64 {
        self.observations() / self.oracles
    }

    /// Of every other oracle: its commit, bit-vote, report signature and VRFs, and once more its commit and bit-vote in the proposal.
    fn signatures(&self) -> f64 {
        self.oracles * (5.0 + SLOTS_OF_A_DAY)
    }
}

/// All tables. `value` gives a figure by its key; what was not measured is a dash.
pub fn render(machine: &str, value: impl Fn(&str) -> Option<f64>) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), rounded);
    let mut text = format!("{machine}\n\n| unit | value | what it is |\n|---|--:|---|\n");
    UNITS.iter().for_each(|(key, what)| text += &format!("| `{key}` | {} | {what} |\n", shown(value(key))));

    text += "\nBytes of one message, and what an oracle sends in an epoch to all others (as much comes in); 1,000 providers an oracle:\n\n| message |";
    COMMITTEES.iter().for_each(|n| text += &format!(" n = {n} |"));
    text += &format!("\n|---|{}\n", "--:|".repeat(COMMITTEES.len()));
    for (message, what) in MESSAGES {
        let _ = write!(text, "| {what} |");
        COMMITTEES.iter().for_each(|n| text += &format!(" {} |", shown(value(&format!("scaling.n{n}.{message}_bytes")))));
        text.push('\n');
    }
    for (name, what) in [("messages", "**messages sent**"), ("bytes", "**bytes sent**, `epoch.bytes_n…`")] {
        let _ = write!(text, "| {what} |");
        COMMITTEES.iter().for_each(|n| text += &format!(" {} |", shown(value(&format!("epoch.{name}_n{n}")))));
        text.push('\n');
    }

    text += "\nWhat an epoch of a day costs one oracle, from the units above:\n\n| oracles, providers |";
    let networks = NETWORKS.map(|(oracles, providers)| Network { oracles: oracles as f64, providers: providers as f64 });
    networks.iter().for_each(|network| text += &format!(" {}, {} |", rounded(network.oracles), rounded(network.providers)));
    text += &format!("\n|---|{}\n", "--:|".repeat(networks.len()));
    for (what, cost) in COSTS {
        let _ = write!(text, "| {what} |");
        networks.iter().for_each(|network| text += &format!(" {} |", shown(cost(network, &value))));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::doc::with_block;

    #[test]
    fn costs_follow_from_units() {
        let value = |key: &str| match key {
            "scaling.observation_bytes" => Some(200.0),
            "epoch.close_100k_s" => Some(3.0),
            _ => None,
        };
        let text = render("machine", value);
        assert!(text.contains("| providers it measures | 1,792 | 10,938 | 2,734 | 27,344 |"), "{text}");
        assert!(text.contains("| received, and kept on disk, MB | 5.73 | 140 | 140 | 1,400 |"), "{text}");
        assert!(text.contains("| close, two cores, s | 0.12 | 3 | 3 | 30 |"), "{text}");
        assert!(text.contains("| signatures and VRFs, one core, s | – | – | – | – |"), "{text}");
    }

    // The numbers are the last run's; which rows there are is not.
    #[test]
    fn the_document_has_the_tables_of_today() {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SCALING.md")).unwrap();
        let without_numbers = |text: &str| -> String { text.chars().filter(|c| !(c.is_ascii_digit() || ",.–-".contains(*c))).collect() };
        let tables = |text: &str| without_numbers(&text[text.find("| unit").unwrap()..]);
        let today = render("", |_| None);
        let document = with_block(&document, "").map(|rest| (document.clone(), rest)).expect("docs/SCALING.md has lost its marks").0;
        let block = document.split_once("up to the next mark -->").and_then(|(_, rest)| rest.split_once("<!-- end of")).unwrap().0;
        assert_eq!(tables(block), tables(&today), "run `make bench`");
    }
}
