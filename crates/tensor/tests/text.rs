//! Escaping of foreign text: guards against output that a file's text can forge.

use fieldfit_tensor::text::{escape, find_unprintable};

/// Catches: a character that moves the cursor, starts a line, or reorders what a reader sees, and that is printed raw.
#[test]
fn nothing_that_deceives_a_reader_is_printed() {
    let deceptive = ["\0", "\n", "\r", "\t", "\u{1b}[2K", "\u{7f}", "\u{9b}1A", "\u{85}", "\u{2028}", "\u{2029}"];
    let reordering = ["\u{202a}", "\u{202e}", "\u{2066}", "\u{2069}", "\u{200e}", "\u{200f}", "\u{61c}"];
    let hidden = ["\u{feff}", "\u{fff9}", "\u{e0041}"];
    for text in [deceptive.as_slice(), &reordering, &hidden].concat() {
        let shown = escape(text).to_string();
        assert!(shown.starts_with('\\'), "{shown}");
        assert_eq!(find_unprintable(&shown), None, "{shown}");
        assert_eq!(find_unprintable(text), text.chars().next());
    }
    assert_eq!(escape("ok\nsigned by workshop").to_string(), r"ok\nsigned by workshop");
}

/// Catches: names of other languages, paths or emoji that come out mangled.
#[test]
fn printable_text_is_unchanged() {
    for text in ["", "Löwenzahn", "東京タワー", "שלום", "می‌خواهم", "👩‍🚒", r"C:\robot\store", "a \"b\" 'c' `d`"]
    {
        assert_eq!(escape(text).to_string(), text);
        assert_eq!(find_unprintable(text), None);
    }
}
