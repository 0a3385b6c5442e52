//! Questions and answers on the terminal.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::error::BuilderError;

/// Goes on after a typed yes. Where nobody can type, `flag` is what is needed instead.
pub(super) fn confirm(question: &str, flag: &'static str) -> Result<(), BuilderError> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(BuilderError::Unconfirmed(flag));
    }
    eprint!("{question} Type yes: ");
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(_) if line.trim() == "yes" => Ok(()),
        _ => Err(BuilderError::Unconfirmed(flag)),
    }
}

/// JSON on one line, or a field a line.
pub(super) fn print(as_json: bool, value: &Value) {
    match value.as_object() {
        Some(fields) if !as_json => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) => say(&format!("{name}: {text}\n")),
            other => say(&format!("{name}: {other}\n")),
        }),
        _ => say(&format!("{value}\n")),
    }
}

/// To standard output. Nobody reads a closed one.
pub(super) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
