//! Passwords: from a file, never from an argument.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::KeystoreError;

const MAX_PASSWORD_BYTES: u64 = 4096;

/// A password. No `Debug`, wiped on drop.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Reads a password file and drops one newline at its end. A file that others can read is used, with a warning
    /// that names the remedy: mounted secrets are often world-readable inside their own container.
    pub fn from_file(path: &Path) -> Result<Self, KeystoreError> {
        let refuse = |problem: String| KeystoreError::Password { path: path.to_owned(), problem };
        let file = File::open(path).map_err(|error| refuse(format!("cannot be opened ({error}); create it with mode 0600")))?;
        if let Ok(meta) = file.metadata()
            && meta.permissions().mode() & 0o077 != 0
        {
            tracing::warn!(file = %path.display(), "others can read this password file; run chmod 600 on it");
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_PASSWORD_BYTES as usize + 1));
        file.take(MAX_PASSWORD_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|error| refuse(format!("cannot be read as UTF-8 text ({error})")))?;
        if text.len() as u64 > MAX_PASSWORD_BYTES {
            return Err(refuse(format!("is larger than {MAX_PASSWORD_BYTES} bytes; is it the right file?")));
        }
        let kept = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).unwrap_or(&text);
        if kept.is_empty() {
            return Err(refuse("is empty; write the password on its first line".into()));
        }
        Ok(Self::new(kept))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// EIP-2335: NFKD, then without C0, C1 and Delete.
    pub(super) fn normalised(&self) -> Zeroizing<Vec<u8>> {
        // Decomposition grows text at most 18-fold; room for it up front, so that no copy is left in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len().saturating_mul(18)));
        text.extend(self.0.nfkd().filter(|c| !c.is_control()));
        Zeroizing::new(std::mem::take(&mut *text).into_bytes())
    }
}
