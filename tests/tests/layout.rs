//! The layout keeps its promises: who may depend on whom, and what the pure core may not touch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Normal dependencies inside the workspace, as ARCHITECTURE.md draws them.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("assay-core", &[]),
    ("assay-contracts-bindings", &[]),
    ("assay-proto", &["assay-core"]),
    ("assay-daemon", &["assay-core"]),
    ("assay-chain", &["assay-core", "assay-daemon", "assay-contracts-bindings"]),
    ("assay-challenger", &["assay-core", "assay-daemon", "assay-proto"]),
    ("assay-provider", &["assay-core", "assay-daemon", "assay-proto", "assay-chain"]),
    ("assay-builder", &["assay-core", "assay-daemon", "assay-proto", "assay-chain"]),
    ("assay-oracle", &["assay-core", "assay-daemon", "assay-proto", "assay-chain", "assay-challenger", "assay-contracts-bindings"]),
    ("assay-simulation", &["assay-core", "assay-proto"]),
    ("assay-audit", &["assay-core", "assay-daemon", "assay-proto", "assay-chain"]),
    (
        "assay-tests",
        &[
            "assay-core",
            "assay-daemon",
            "assay-proto",
            "assay-chain",
            "assay-challenger",
            "assay-contracts-bindings",
            "assay-provider",
            "assay-builder",
            "assay-oracle",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output =
        Command::new(cargo).args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn crates_depend_only_on_those_they_may() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ALLOWED.into_iter().map(|(name, on)| (name, on.iter().copied().collect())).collect();
    let packages = packages();
    assert_eq!(packages.len(), allowed.len(), "a new crate needs a line here and in ARCHITECTURE.md");
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap().iter().filter(|d| d["path"].is_string() && d["kind"].is_null()) {
            let on = dependency["name"].as_str().unwrap();
            assert!(allowed[name].contains(on), "{name} must not depend on {on}");
        }
    }
}

#[test]
fn the_core_has_no_runtime_no_io_and_no_chance() {
    let packages = packages();
    let core = packages.iter().find(|package| package["name"] == "assay-core").unwrap();
    let dependencies: BTreeSet<&str> =
        core["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap()).collect();
    let pure =
        ["ark-bls12-381", "ark-ff", "blake3", "blst", "chacha20", "hex", "k256", "merlin", "serde", "sha2", "sha3", "thiserror", "zeroize"];
    assert_eq!(dependencies, pure.into_iter().collect(), "a new dependency of the core needs a reason");
    // Each with what to do instead.
    let banned = [
        ("SystemTime", "take the time as an argument"),
        ("Instant::now", "take the time as an argument"),
        ("std::fs", "take the bytes as an argument"),
        ("std::net", "leave the network to a driver"),
        ("std::env", "take the value as an argument"),
        ("std::thread", "leave threads to a driver, or take those of `spread`, which nobody can tell from one"),
        ("async fn", "return effects as data"),
        ("println!", "return what is to be shown"),
        ("HashMap", "BTreeMap: its order is the same everywhere"),
    ];
    for file in sources(&root().join("core/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let is_test = file.components().any(|part| part.as_os_str().to_string_lossy().contains("tests"));
        let may = |word| word == "std::thread" && file.ends_with("core/src/spread.rs");
        for (word, instead) in banned.into_iter().filter(|(word, _)| !is_test && !may(*word)) {
            assert!(!code.contains(word), "{} uses {word}: {instead}", file.display());
        }
    }
}

// Everywhere else the lint forbids it; the core only denies it, so that one file can allow it.
#[test]
fn only_the_curve_calls_unsafe_code() {
    for file in sources(&root().join("core/src")).into_iter().filter(|file| !file.ends_with("core/src/curve.rs")) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("unsafe"), "{} mentions unsafe code: it belongs to core/src/curve.rs", file.display());
    }
    for package in packages().iter().filter(|package| package["name"] != "assay-core") {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} must take the lints of the workspace", package["name"]);
    }
}

#[test]
fn no_file_gathers_everything() {
    let crates = ["core", "proto", "daemon", "chain", "challenger", "provider", "builder", "oracle", "audit", "tests"];
    for file in crates.iter().flat_map(|dir| sources(&root().join(dir).join("src"))) {
        let text = std::fs::read_to_string(&file).unwrap();
        let production = text.split("#[cfg(test)]").next().unwrap().lines().count();
        let is_exempt = file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "gen");
        assert!(production <= 700 || is_exempt, "{} has {production} lines: split it by use case", file.display());
    }
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
