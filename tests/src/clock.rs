//! A process of its own time: its wall clock is off by what we say, while it runs. The monotonic clock is not touched.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stands in for the C library's function; the file says how both sides share the offset.
const SOURCE: &str = include_str!("../shim/clock.c");

/// Why a clock cannot be shifted.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// No compiler, or it refuses.
    #[error("shifting a clock needs a C compiler, `cc`: {0}")]
    Compiler(String),
}

/// The library that shifts clocks, built.
#[derive(Clone, Debug)]
pub struct Shim {
    library: PathBuf,
}

/// One process's clock.
#[derive(Debug)]
pub struct Clock {
    path: PathBuf,
    library: PathBuf,
    file: File,
}

impl Shim {
    /// Builds it in a directory.
    pub fn build(dir: &Path) -> Result<Self, ClockError> {
        let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
        fs::write(&source, SOURCE).map_err(|error| ClockError::File { path: source.clone(), source: error })?;
        let output = Command::new("cc").args(["-std=c11", "-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output();
        let output = output.map_err(|error| ClockError::Compiler(error.to_string()))?;
        match output.status.success() {
            true => Ok(Self { library }),
            false => Err(ClockError::Compiler(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// A clock that is right, in a file of its own.
    pub fn clock(&self, path: &Path) -> Result<Clock, ClockError> {
        let failed = |source| ClockError::File { path: path.to_path_buf(), source };
        fs::write(path, [0; 16]).map_err(failed)?;
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        Ok(Clock { path: path.to_path_buf(), library: self.library.clone(), file })
    }
}

impl Clock {
    /// The environment of a process that is to read it.
    pub fn env(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("ASSAY_CLOCK", self.path.clone())]
    }

    /// From now on the process is so far ahead, or behind.
    pub fn set_offset_ms(&self, ms: i64) -> Result<(), ClockError> {
        let bytes = ms.saturating_mul(1_000_000).to_ne_bytes();
        self.file.write_all_at(&bytes, 0).map_err(|source| ClockError::File { path: self.path.clone(), source })
    }

    /// How often the process has read a time that was off.
    pub fn reads(&self) -> Result<u64, ClockError> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 8).map_err(|source| ClockError::File { path: self.path.clone(), source })?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    // Without it a shim that does nothing would let every test of clocks pass.
    #[test]
    fn a_process_reads_what_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Shim::build(dir.path()).unwrap().clock(&dir.path().join("clock")).unwrap();
        for offset_ms in [0, 200, -200, 5_000, -5_000] {
            clock.set_offset_ms(offset_ms).unwrap();
            let now_ms = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
            let before = now_ms();
            let output = Command::new("date").arg("+%s%3N").envs(clock.env()).output().unwrap();
            let shown: i64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
            assert!((before + offset_ms..=now_ms() + offset_ms).contains(&shown), "{offset_ms}");
        }
        assert!(clock.reads().unwrap() >= 4);
    }
}
