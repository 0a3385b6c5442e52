//! Config files: TOML, typed, refused when anything in them is not understood.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A config file is a page, not a database.
pub const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// Why a config file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file.
    #[error("config file {} does not exist; create it or name another with --config", .0.display())]
    NotFound(PathBuf),
    /// The file could not be read.
    #[error("config file {} cannot be read; check its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is far too large to be a config file.
    #[error("config file {} is larger than {MAX_CONFIG_BYTES} bytes; is it the right file?", .0.display())]
    TooBig(PathBuf),
    /// The file is not text.
    #[error("config file {} is not UTF-8 text; save it as UTF-8", .0.display())]
    NotText(PathBuf),
    /// The text is not TOML, or a key is unknown, missing or has a value of another type.
    #[error("config file {}, line {line}, `{key}`: {problem}; correct this key and start again", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line of the problem, from 1.
        line: usize,
        /// Dotted name of the key (or of the table, when a key is missing in it).
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads a TOML config file. `T` should carry `#[serde(deny_unknown_fields)]`, so that a misspelt key is refused.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse(path, &read(path)?)
}

/// Reads config text as [`load`] does; `path` only names it in errors. For tests of shipped samples.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let (line, key) = locate(text, offset);
        ConfigError::Invalid { path: path.to_owned(), line, key, problem: error.message().trim().to_owned() }
    })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::NotFound(path.to_owned()),
        _ => ConfigError::Read { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)).map_err(refuse)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooBig(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))
}

/// Line number and dotted key at a byte offset, read off the text: serde's error knows the place but not the name.
fn locate(text: &str, offset: usize) -> (usize, String) {
    let mut table = "";
    let mut start = 0;
    let mut number = 0;
    for line in text.split_inclusive('\n') {
        number += 1;
        let trimmed = line.trim();
        let header = trimmed.starts_with('[').then(|| trimmed.trim_matches(['[', ']']));
        table = header.unwrap_or(table);
        if offset < start + line.len() {
            let key = trimmed.split('=').next().unwrap_or_default().trim();
            let key = match header {
                Some(_) => table.to_owned(),
                None if table.is_empty() => key.to_owned(),
                None => format!("{table}.{key}"),
            };
            return (number, key);
        }
        start += line.len();
    }
    (number.max(1), "top level".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        name: String,
        chain: Chain,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Chain {
        chain_id: u64,
    }

    fn refusal(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        let error = load::<Sample>(&path).unwrap_err().to_string();
        assert!(error.contains("node.toml"), "{error}");
        error
    }

    #[test]
    fn a_good_file_is_read() {
        let sample: Sample = parse(Path::new("x"), "name = 'a'\n[chain]\nchain_id = 7\n").unwrap();
        assert_eq!(sample.chain.chain_id, 7);
    }

    #[test]
    fn a_wrong_type_is_placed_and_named() {
        let error = refusal("name = 'a'\n[chain]\nchain_id = 'seven'\n");
        assert!(error.contains("line 3, `chain.chain_id`"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = refusal("name = 'a'\n[chain]\nchain_id = 7\nchian = 1\n");
        assert!(error.contains("`chain.chian`") && error.contains("unknown field"), "{error}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = refusal("name = 'a'\n[chain]\n");
        assert!(error.contains("`chain`") && error.contains("chain_id"), "{error}");
    }

    #[test]
    fn broken_toml_is_placed() {
        let error = refusal("name = 'a'\n[chain\n");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn files_that_cannot_be_config_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load::<Sample>(&dir.path().join("none")), Err(ConfigError::NotFound(_))));
        assert!(matches!(load::<Sample>(dir.path()), Err(ConfigError::Read { .. })));
        let path = dir.path().join("big");
        std::fs::write(&path, vec![b'#'; MAX_CONFIG_BYTES as usize + 1]).unwrap();
        assert!(matches!(load::<Sample>(&path), Err(ConfigError::TooBig(_))));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(load::<Sample>(&path), Err(ConfigError::NotText(_))));
    }
}
