//! Segmented frames section: frames side by side with the true and the predicted class of each pixel.

use super::Content;
use super::gallery::{Entry, Galleries, galleries, picture};
use super::html::{escape, percent, section as section_of};
use crate::record::{RunRecord, Scores, SegmentedFrame};

/// Renders the section; empty if no run lists frames.
pub(super) fn section(content: &Content) -> String {
    let Galleries { html, most } = galleries::<SegmentedFrame>(content);
    if html.is_empty() {
        return html;
    }
    let note = format!(
        "<p class=\"note\">Frames with the smallest share of right pixels, at most {most} per data set: the frame as the \
         network sees it, its true classes, its predicted classes.</p>\n"
    );
    let legend = content.runs.first().map_or_else(String::new, |run| legend(run));
    section_of("Segmented frames", &(note + &legend + &html))
}

impl Entry for SegmentedFrame {
    const CLASS: &'static str = "frames";
    const MOST: usize = 3;

    fn listed(scores: &Scores) -> &[Self] {
        &scores.frames
    }

    fn file(&self) -> &str {
        &self.file
    }

    fn render(&self) -> String {
        let pictures = [(&self.frame, "frame"), (&self.truth, "true classes"), (&self.answer, "predicted classes")];
        let pictures: String = pictures.map(|(uri, name)| picture(uri, &format!("{}: {name}", self.file))).concat();
        format!("{pictures}<small>{}: {}&nbsp;% right</small>", escape(&self.file), percent(self.accuracy))
    }
}

/// Renders the colour of each class.
fn legend(run: &RunRecord) -> String {
    let named = run.classes.iter().zip(&run.colours).filter(|(_, colour)| is_colour(colour));
    let key = |colour: &str| {
        format!(
            "<svg class=\"key\" aria-hidden=\"true\"><rect width=\"14\" height=\"14\" style=\"fill:{colour}\"/></svg>"
        )
    };
    let item = |(class, colour): (&String, &String)| {
        format!("<li class=\"method\">{}<span>{}</span></li>\n", key(colour), escape(class))
    };
    format!("<ul class=\"legend\">\n{}</ul>\n", named.map(item).collect::<String>())
}

/// Returns whether a colour is six hexadecimal digits behind a `#`, and nothing that a style could run.
fn is_colour(text: &str) -> bool {
    text.strip_prefix('#')
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
