//! Report of wrong usage: clap's message with the arguments escaped, and with `--json` an object.

use crate::output::{Output, escape};
use clap::error::{ContextKind, ContextValue};
use serde::Serialize;
use std::process::ExitCode;

/// Exit status of wrong usage.
const WRONG_USAGE: u8 = 2;

/// Wrong usage as a JSON object.
#[derive(Serialize)]
struct UsageObject {
    error: String,
}

/// Reports wrong usage on standard error, and shows help and versions, which clap takes for errors, on standard output.
pub fn report(error: clap::Error) -> ExitCode {
    let is_wrong = error.use_stderr();
    let error = escaped(error);
    // A standard error that cannot be written ends no work.
    let _ = error.print();
    if !is_wrong {
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        // Hints and the usage follow a blank line.
        let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let message = lines.join(" ").trim_start_matches("error: ").to_owned();
        // If standard output cannot be written either, the report on standard error has to do.
        let _ = Output::json().object(&UsageObject { error: message });
    }
    ExitCode::from(WRONG_USAGE)
}

/// Escapes what the error quotes of the arguments.
fn escaped(mut error: clap::Error) -> clap::Error {
    let quoted: Vec<(ContextKind, ContextValue)> =
        error.context().filter_map(|(kind, value)| Some((kind, escaped_value(value)?))).collect();
    for (kind, value) in quoted {
        error.insert(kind, value);
    }
    error
}

/// Returns the value with its text escaped; `None` for one without text, or with clap's own text, which is styled.
fn escaped_value(value: &ContextValue) -> Option<ContextValue> {
    let escape = |text: &String| escape(text).to_string();
    match value {
        ContextValue::String(text) => Some(ContextValue::String(escape(text))),
        ContextValue::Strings(texts) => Some(ContextValue::Strings(texts.iter().map(escape).collect())),
        _styled_or_number => None,
    }
}
