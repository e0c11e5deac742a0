//! Output: text for people or JSON lines; text from files and from the carrier is escaped.

use fieldfit::{error_messages, escape};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, Write},
};

/// Writes a result: one line of JSON, or lines of text.
pub fn show<T: Serialize>(is_json: bool, value: &T, lines: impl FnOnce(&T) -> Vec<String>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if is_json {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        writeln!(out, "{}", escape_json(&line))?;
    } else {
        for line in lines(value) {
            writeln!(out, "{}", escape(&line))?;
        }
    }
    out.flush()
}

/// Writes an error and its causes to standard error.
pub fn report(error: &dyn std::error::Error) {
    line(format_args!("error: {}", escape(&error_messages(error).join(": "))));
}

/// Writes a line to standard error. A standard error that cannot be written ends no work.
fn line(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Escapes what JSON leaves as it is and a terminal would interpret: C1 and bidirectional controls.
fn escape_json(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for letter in line.chars() {
        let text = letter.to_string();
        match escape(&text).to_string() == text {
            true => escaped.push(letter),
            false => {
                let mut units = [0; 2];
                letter.encode_utf16(&mut units).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a robot's name, reason or class that moves the cursor of whoever reads the JSON.
    #[test]
    fn json_has_no_control_characters() {
        let text = "bad\u{9b}2K\u{202e}\u{1b}[A";
        let json = escape_json(&serde_json::to_string(text).unwrap());
        assert!(json.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
