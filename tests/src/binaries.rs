//! Where this build's binaries lie.

use std::path::PathBuf;

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
