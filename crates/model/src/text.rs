//! Escaped text: text that came from a file, safe to print to a terminal or a log.

use std::fmt::{self, Write};

/// The most characters of a text that are printed.
const LONGEST: usize = 256;

/// Text of a file, for a message: control characters, line ends and characters that change the direction of text are
/// written as escapes (`\n`, `\u{1b}`), and what follows the 256th character as `…`.
pub fn escape(text: &str) -> impl fmt::Display + '_ {
    Escaped(text)
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(LONGEST) {
            if acts(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        if characters.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// Whether a character does something to a terminal or to the text around it: controls, line and paragraph separators,
/// marks and overrides of direction, the byte order mark.
pub(crate) fn acts(character: char) -> bool {
    let is_separator = matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let is_direction =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || is_separator || is_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a name that clears the screen, forges a line of output or turns the rest of the line around; and one that
    /// fills the screen.
    #[test]
    fn what_acts_is_escaped_and_the_rest_is_not() {
        let escaped = |text: &str| escape(text).to_string();
        assert_eq!(escaped("a\u{1b}[2Jb\nc\u{202e}d\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{9b}");
        assert_eq!(escaped("grüne Äpfel 👩\u{200d}🌾 `x`"), "grüne Äpfel 👩\u{200d}🌾 `x`");
        assert_eq!(escaped(&"x".repeat(300)), format!("{}…", "x".repeat(256)));
    }
}
