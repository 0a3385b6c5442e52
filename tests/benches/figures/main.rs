//! The figures that Assay is held to, measured: `make bench` prints them as a table, writes `target/bench/results.json`, and puts the
//! tables of `docs/STORAGE.md` and `docs/SCALING.md` there.
//!
//! Subjects named as arguments are measured alone (`cargo bench … -- grpc store`), and then nothing is written. `harness` says how it is
//! measured. A figure never fails: what it should be is for who reads it.

mod bias;
mod bls;
mod docs;
mod epoch;
mod epoch_close;
mod fixture;
mod gas;
mod grpc;
mod harness;
mod plane;
mod scaling;
mod settle;
mod sim;
mod slices;
mod storage;
mod storage_detect;
mod storage_ingest;
mod storage_object;
mod storage_table;
mod store;
mod table;

use table::Table;

type Subject = (&'static str, fn(&mut Table));

const SUBJECTS: [Subject; 14] = [
    ("bls", bls::measure),
    ("slices", slices::measure),
    ("gas", gas::measure),
    ("bias", bias::measure),
    ("epoch", epoch::measure),
    ("scaling", scaling::measure),
    ("settle", settle::measure),
    ("sim", sim::measure),
    ("grpc", grpc::measure),
    ("store", store::measure),
    ("storage", storage::measure),
    ("storage-table", storage_table::measure),
    ("storage-detect", storage_detect::measure),
    ("storage-ingest", storage_ingest::measure),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only asks whether this starts.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let [word, providers, samples] = &arguments[..]
        && word == epoch_close::CHILD
    {
        return epoch_close::run(providers.parse().unwrap(), samples.parse().unwrap());
    }
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = named.iter().find(|name| SUBJECTS.iter().all(|(subject, _)| subject != *name)) {
        eprintln!("there is no subject {unknown}; there are {}", SUBJECTS.map(|(name, _)| name).join(", "));
        std::process::exit(2);
    }
    let mut table = Table::begin();
    for (name, measure) in SUBJECTS {
        if named.is_empty() || named.iter().any(|named| *named == name) {
            measure(&mut table);
        }
    }
    if named.is_empty() {
        println!("\nwritten to {}", table.write().display());
        docs::write(&table).iter().for_each(|document| println!("written to {}", document.display()));
    }
}
