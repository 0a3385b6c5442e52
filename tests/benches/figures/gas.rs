//! From the contracts' gas snapshots, which their own tests keep.

use std::collections::BTreeMap;
use std::path::Path;

use crate::table::Table;

pub fn measure(table: &mut Table) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/snapshots/gas.json");
    let snapshot: BTreeMap<String, String> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (key, name, what) in [
        ("gas.report_all", "submitReport n=256 all sign", "post a report that all of 256 oracles signed"),
        ("gas.report_third_missing", "submitReport n=256 third missing", "post a report that a third of 256 did not sign"),
        ("gas.claim", "claim first", "a first claim"),
    ] {
        table.put_exact(key, snapshot[name].parse().unwrap(), "gas", what);
    }
}
