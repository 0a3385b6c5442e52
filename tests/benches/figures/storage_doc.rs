//! Writes what was measured into `docs/STORAGE.md`.

use std::path::{Path, PathBuf};

use assay_tests::baseline::doc;

use crate::table::Table;

/// Returns the document that was written.
pub fn write(table: &Table) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/STORAGE.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let block = doc::render(table.machine(), |key| table.value(key));
    std::fs::write(&path, doc::with_block(&document, &block).expect("docs/STORAGE.md has lost its marks")).unwrap();
    path.canonicalize().unwrap()
}
