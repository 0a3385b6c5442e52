//! Where this build's binaries lie, and what they print.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

/// The path of a binary of this workspace, built beside the running program.
pub fn path(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let mut dir = own.parent().map(PathBuf::from).unwrap_or_default();
    // Test programs lie one level deeper.
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir.join(name)
}

/// The JSON that a command printed. Panics, with its error, when it failed.
pub fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
}

/// The error of a command that must fail with exit code 1. Panics, with what it printed, when it did not.
pub fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
