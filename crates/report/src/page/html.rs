//! Text that is safe in HTML, and the few shapes that the page's parts share.

use std::fmt;

/// Text, escaped for an element's content or a quoted attribute.
pub(super) struct Escaped<'a>(&'a str);

pub(super) fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                letter => fmt::Write::write_char(out, letter)?,
            }
        }
        Ok(())
    }
}

/// A part of the page under its heading; nothing where it has no content.
pub(super) fn section(heading: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{heading}</h2>\n{content}</section>\n")
}

/// Panels side by side, as many as fit, under one caption.
pub(super) fn figure(class: &str, panels: &str, caption: &str) -> String {
    format!(
        "<figure class=\"{class}\">\n<div class=\"panels\">\n{panels}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
    )
}

/// A plot under its name; `name` is escaped here, and may be empty.
pub(super) fn panel(name: &str, plot: &str) -> String {
    let heading = if name.is_empty() { String::new() } else { format!("<h3>{}</h3>\n", escape(name)) };
    format!("<div class=\"panel\">\n{heading}{plot}</div>\n")
}

/// Content that is folded away where it is one of several.
pub(super) fn fold(several: bool, name: &str, content: &str) -> String {
    if several {
        format!("<details>\n<summary>{}</summary>\n{content}</details>\n", escape(name))
    } else {
        content.to_owned()
    }
}

/// A share of 0..1 in per cent, without its sign.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
