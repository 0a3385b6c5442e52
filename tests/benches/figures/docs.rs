//! Writes what was measured into `docs/STORAGE.md` and `docs/SCALING.md`.

use std::path::{Path, PathBuf};

use assay_tests::baseline::{doc, scaling_doc};

use crate::table::Table;

/// Returns the documents that were written.
pub fn write(table: &Table) -> [PathBuf; 2] {
    let value = |key: &str| table.value(key);
    [("STORAGE.md", doc::render(table.machine(), value)), ("SCALING.md", scaling_doc::render(table.machine(), value))]
        .map(|(name, block)| between_marks(name, &block))
}

fn between_marks(name: &str, block: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let document = std::fs::read_to_string(&path).unwrap();
    let document = doc::with_block(&document, block).unwrap_or_else(|| panic!("docs/{name} has lost its marks"));
    std::fs::write(&path, document).unwrap();
    path.canonicalize().unwrap()
}
