//! Excerpt: the beginning of a text that came from a file, escaped for a message.

use fieldfit_tensor::text::escape;
use std::fmt;

/// The greatest number of characters of an excerpt.
const MAX_CHARACTERS: usize = 256;

/// Returns the first 256 characters of a file's text, [escaped](escape), with `…` in place of the rest.
pub(crate) fn excerpt(text: &str) -> impl fmt::Display + '_ {
    Excerpt(text)
}

struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_CHARACTERS) {
            Some((end, _)) => write!(f, "{}…", escape(&self.0[..end])),
            None => write!(f, "{}", escape(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a name that clears the screen, forges a line of output or reverses the rest of the line; and one that fills
    /// the screen.
    #[test]
    fn excerpts_are_escaped_and_short() {
        let shown = |text: &str| excerpt(text).to_string();
        assert_eq!(shown("a\u{1b}[2Jb\nc\u{202e}d\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{9b}");
        assert_eq!(shown("grüne Äpfel 👩\u{200d}🌾 `x`"), "grüne Äpfel 👩\u{200d}🌾 `x`");
        assert_eq!(shown(&"ä".repeat(300)), format!("{}…", "ä".repeat(256)));
    }
}
