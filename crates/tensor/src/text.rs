//! Foreign text: tells printable text from text that could deceive a reader, and escapes it for output.
//!
//! Text from a file (labels, names, options, reasons, paths) may carry terminal escape sequences, line breaks that forge a
//! second line of output, or bidirectional controls that reorder what follows. Readers of file formats refuse such text
//! with [`find_unprintable`]; everything that prints text from outside wraps it in [`escape`].

use core::fmt::{self, Display, Write};

/// Returns `text` for display, each [unprintable](is_unprintable) character as a Rust escape such as `\u{1b}` or `\n`.
///
/// Printable text is unchanged, a backslash included. Allocates nothing.
///
/// ```
/// use fieldfit_tensor::text::escape;
///
/// assert_eq!(escape("Zürich, 東京").to_string(), "Zürich, 東京");
/// assert_eq!(escape("cat\n\u{1b}[31mdog").to_string(), r"cat\n\u{1b}[31mdog");
/// ```
pub fn escape(text: &str) -> impl Display {
    Escaped(text)
}

/// Returns the first [unprintable](is_unprintable) character of `text`, if there is one.
pub fn find_unprintable(text: &str) -> Option<char> {
    text.chars().find(|letter| is_unprintable(*letter))
}

/// Returns whether a character must not reach a terminal or a log as it is: a control character (Unicode category `Cc`), a
/// line or paragraph separator, a bidirectional control, an interlinear annotation, a byte order mark or a tag character.
///
/// The joiners U+200C and U+200D are printable: scripts and emoji need them.
pub const fn is_unprintable(letter: char) -> bool {
    matches!(
        letter,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| {
            if is_unprintable(letter) { write!(out, "{}", letter.escape_default()) } else { out.write_char(letter) }
        })
    }
}
