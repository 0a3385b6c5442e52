//! The table of `docs/STORAGE.md`: schemes side by side, from the figures of one run.

use std::fmt::Write as _;

const BEGIN: &str = "<!-- measured: `make bench` writes everything up to the next mark -->";
const END: &str = "<!-- end of what is measured -->";

/// Schemes by their name in keys, with what they are.
pub const SCHEMES: [(&str, &str); 6] = [
    ("pdp5", "Filecoin PDP's rule: SHA-256 paths, 5 leaves of 32 B"),
    ("pdp30", "the same with 30 leaves"),
    ("sw128", "Shacham-Waters, 128 sectors, 30 blocks of 3,968 B"),
    ("kzg", "public KZG commitments, 30 blocks of 126,976 B"),
    ("slices", "**Assay, slices**: BLAKE3 paths, 30 chunks of 1 KiB"),
    ("compact", "**Assay, compact proof**: 30 blocks of 126,976 B"),
];

/// Columns by their name in keys, with their head.
pub const COLUMNS: [(&str, &str); 5] = [
    ("proof_bytes", "proof, bytes"),
    ("prove_ms", "prove, ms"),
    ("verify_ms", "verify, ms"),
    ("owner_mb_s", "owner, MB/s per core"),
    ("stored_ppm", "stored beside the data, ppm"),
];

/// Figures below the table, with what they are.
const FIGURES: [(&str, &str); 14] = [
    ("storage.compact.verify_over_floor", "verify one compact proof / 30 hashes to G1, their sum, and 3 pairings"),
    ("storage.compact.batch1000_s", "verify 1,000 proofs of one key together, s"),
    ("storage.compact.tag_mb_s", "make tags, MB/s per core"),
    ("storage.compact.ingest_mb_s", "check tags at ingest, without the disk, MB/s per core"),
    ("storage.compact.hash_to_g1_us", "yardstick: one hash to G1, µs"),
    ("storage.compact.msm4096_ms", "yardstick: a sum over 4,096 points, ms"),
    ("storage.compact.pairings3_us", "yardstick: three pairings, µs"),
    ("storage.compact.blake3_mb_s", "yardstick: BLAKE3, MB/s per core"),
    ("storage.slice.verify_over_hash", "verify one slice / hash its bytes"),
    ("storage.slice.bytes", "30 slices of a replica of 1 GiB, bytes"),
    ("storage.ingest.rss_mib", "most memory of a provider that takes in 4 GiB, MiB"),
    ("storage.builder.rss_mib", "most memory of the builder that sends them, MiB"),
    ("storage.detect_day_ppm", "days in which 1 % loss is found, ppm"),
    ("baseline.pdp_detect_day_ppm", "the same under PDP's 5 samples a day, ppm"),
];

/// The table and the figures, as Markdown. `value` gives a figure by its key; what was not measured is a dash.
pub fn render(machine: &str, value: impl Fn(&str) -> Option<f64>) -> String {
    let shown = |key: &str| value(key).map_or_else(|| "–".to_owned(), rounded);
    let mut text = format!("{machine}\n\n| scheme |");
    COLUMNS.iter().for_each(|(_, head)| text += &format!(" {head} |"));
    text += &format!("\n|---|{}\n", "--:|".repeat(COLUMNS.len()));
    for (scheme, what) in SCHEMES {
        let _ = write!(text, "| {what} |");
        COLUMNS.iter().for_each(|(column, _)| text += &format!(" {} |", shown(&format!("storage.table.{scheme}.{column}"))));
        text.push('\n');
    }
    text += "\n| figure | value | what it is |\n|---|--:|---|\n";
    FIGURES.iter().for_each(|(key, what)| text += &format!("| `{key}` | {} | {what} |\n", shown(key)));
    text
}

/// The document with `block` between its marks; `None` when it does not have both.
pub fn with_block(document: &str, block: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{block}{END}{after}"))
}

/// Three digits that mean something.
pub(super) fn rounded(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => grouped(value as i64),
        size if size >= 100.0 => grouped(value.round() as i64),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// 12,345 for 12345.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    format!("{}{}", if value < 0 { "-" } else { "" }, groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/STORAGE.md")).unwrap()
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let document = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        assert_eq!(with_block(&document, "new\n"), Some(format!("head\n{BEGIN}\nnew\n{END}\ntail\n")));
        assert_eq!(with_block("no marks", "new"), None);
    }

    #[test]
    fn numbers_are_short_and_what_is_not_measured_is_a_dash() {
        assert_eq!([1_048_576.0, 0.0, 81.5512, 1.2345, 0.01234].map(rounded), ["1,048,576", "0", "81.6", "1.23", "0.0123"]);
        let text = render("machine", |key| (key == "storage.table.kzg.proof_bytes").then_some(80.0));
        assert!(text.contains("| public KZG commitments, 30 blocks of 126,976 B | 80 | – | – | – | – |"));
    }

    // The numbers are the last run's; which rows there are is not.
    #[test]
    fn the_document_has_the_block_in_the_form_of_today() {
        let document = document();
        let without_numbers = |text: &str| -> String { text.chars().filter(|c| !(c.is_ascii_digit() || ",.–-".contains(*c))).collect() };
        let block = document.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).unwrap().0;
        let tables = &block[block.find("| scheme").unwrap()..];
        let today = render("", |_| None);
        assert_eq!(without_numbers(tables), without_numbers(&today[today.find("| scheme").unwrap()..]), "run `make bench`");
    }
}
