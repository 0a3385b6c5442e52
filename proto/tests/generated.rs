//! The committed code under `src/gen` is what the `.proto` files give. `REGENERATE=1` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

fn proto_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            proto_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
}

fn texts(directory: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn generated_code_matches_the_protos() {
    let sources = Path::new(CRATE).join("proto");
    let committed = Path::new(CRATE).join("src/gen");
    let mut files = Vec::new();
    proto_files(&sources, &mut files);
    let descriptors = protox::compile(&files, [&sources]).unwrap();

    let fresh = tempfile::tempdir().unwrap();
    tonic_prost_build::configure().bytes(".").build_transport(true).out_dir(fresh.path()).compile_fds(descriptors).unwrap();

    if std::env::var_os("REGENERATE").is_some() {
        fs::create_dir_all(&committed).unwrap();
        for name in texts(&committed).into_keys() {
            fs::remove_file(committed.join(name)).unwrap();
        }
        for (name, text) in texts(fresh.path()) {
            fs::write(committed.join(name), text).unwrap();
        }
    }
    let differing: Vec<_> = {
        let (fresh, committed) = (texts(fresh.path()), texts(&committed));
        let names = fresh.keys().chain(committed.keys()).cloned().collect::<std::collections::BTreeSet<_>>();
        names.into_iter().filter(|name| fresh.get(name) != committed.get(name)).collect()
    };
    assert!(differing.is_empty(), "{differing:?} differ: run REGENERATE=1 cargo test -p assay-proto --test generated");
}
