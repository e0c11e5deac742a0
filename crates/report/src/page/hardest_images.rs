//! Hardest images section: thumbnails of the misclassified images with the lowest probability of their true class.

use super::Content;
use super::gallery::{Entry, Galleries, galleries, picture};
use super::html::{escape, section as section_of};
use crate::record::{HardestImage, Scores};

/// Renders the section; empty if no run lists images.
pub(super) fn section(content: &Content) -> String {
    let Galleries { html, most } = galleries::<HardestImage>(content);
    if html.is_empty() {
        return html;
    }
    let over_seeds = if content.runs.len() > 1 { ", those first that are among the hardest of most seeds" } else { "" };
    let note = format!(
        "<p class=\"note\">Misclassified images with the lowest probability of their true class, at most {most} per data \
         set{over_seeds}: true class → predicted class, and the confidence of the prediction.</p>\n"
    );
    section_of("Hardest images", &(note + &html))
}

impl Entry for HardestImage {
    const CLASS: &'static str = "gallery";
    const MOST: usize = 8;

    fn listed(scores: &Scores) -> &[Self] {
        &scores.hardest
    }

    fn file(&self) -> &str {
        &self.file
    }

    fn render(&self) -> String {
        format!(
            "{}<span>{} → <b>{}</b> {:.0}&nbsp;%</span><small>{}</small>",
            picture(&self.thumbnail, &self.file),
            escape(&self.truth),
            escape(&self.predicted),
            100.0 * self.confidence,
            escape(&self.file)
        )
    }
}
