//! HTML helpers: escaping, and the elements that several sections of the page share.

use fieldfit_tensor::text::is_unprintable;
use std::fmt;

/// Text that displays escaped, for element content or a quoted attribute.
pub(super) struct Escaped<'a>(&'a str);

/// Escapes text for element content or a quoted attribute; what is unprintable, as a Rust escape.
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
                letter if is_unprintable(letter) => write!(out, "{}", letter.escape_default())?,
                letter => fmt::Write::write_char(out, letter)?,
            }
        }
        Ok(())
    }
}

/// Renders a section with its heading; empty if it has no content.
pub(super) fn section(heading: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{heading}</h2>\n{content}</section>\n")
}

/// Renders a figure: a grid of panels with one caption.
pub(super) fn figure(class: &str, panels: &str, caption: &str) -> String {
    format!(
        "<figure class=\"{class}\">\n<div class=\"panels\">\n{panels}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
    )
}

/// Renders a panel of a figure: a plot or a table under a heading. `name` is escaped here and may be empty.
pub(super) fn panel(name: &str, content: &str) -> String {
    let heading = if name.is_empty() { String::new() } else { format!("<h3>{}</h3>\n", escape(name)) };
    format!("<div class=\"panel\">\n{heading}{content}</div>\n")
}

/// Renders content collapsed under its name if it is one of several, or else as it is.
pub(super) fn collapsible(several: bool, name: &str, content: &str) -> String {
    if several {
        format!("<details>\n<summary>{}</summary>\n{content}</details>\n", escape(name))
    } else {
        content.to_owned()
    }
}

/// Renders a table cell with the name of its column, which the style sheet shows where columns don't fit side by side.
pub(super) fn labelled_cell(label: &str, content: &str) -> String {
    format!("<td data-label=\"{}\">{content}</td>", escape(label))
}

/// Formats a fraction of 0..1 in per cent, without the sign.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}
