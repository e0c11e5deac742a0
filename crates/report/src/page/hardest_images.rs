//! Hardest images section: thumbnails of the misclassified images with the lowest probability of their true class.

use std::collections::BTreeMap;

use super::Content;
use super::confusion_matrix::named_scores;
use super::html::{collapsible, escape, section as section_of};
use crate::record::{HardestImage, RunRecord, unique};

/// Approximate maximum number of images on a page, divided evenly among the galleries.
const IMAGES: usize = 240;
/// Maximum number of images in a gallery.
const IMAGES_PER_GALLERY: usize = 8;
/// Maximum length of a thumbnail's URI, in bytes.
const LONGEST_THUMBNAIL: usize = 64 << 10;

/// Renders the section; empty if no run lists images.
pub(super) fn section(content: &Content) -> String {
    let names = content.methods.names();
    let groups: Vec<Vec<Gallery>> = names.iter().map(|method| galleries(content, method)).collect();
    let count: usize = groups.iter().map(Vec::len).sum();
    let most = (IMAGES / count.max(1)).clamp(1, IMAGES_PER_GALLERY);
    let several = names.len() > 1;
    let methods: String = names
        .iter()
        .zip(&groups)
        .filter(|(_, galleries)| !galleries.is_empty())
        .map(|(method, galleries)| {
            let images: String = galleries.iter().map(|gallery| gallery.render(most)).collect();
            collapsible(several, method, &images)
        })
        .collect();
    if methods.is_empty() {
        return String::new();
    }
    let over_seeds = if content.runs.len() > 1 { ", those first that are among the hardest of most seeds" } else { "" };
    let note = format!(
        "<p class=\"note\">Misclassified images with the lowest probability of their true class, at most {most} per data \
         set{over_seeds}: true class → predicted class, and the confidence of the prediction.</p>\n"
    );
    section_of("Hardest images", &(note + &methods))
}

/// Gallery: the hardest images of a method on one data set.
struct Gallery<'a> {
    name: String,
    images: Vec<&'a HardestImage>,
}

/// Returns the galleries of a method that have images.
fn galleries<'a>(content: &Content<'a>, method: &str) -> Vec<Gallery<'a>> {
    let runs = content.of_method(method);
    let of_source = |source: &&'a str| -> Vec<Gallery<'a>> {
        let runs: Vec<&'a RunRecord> = runs.iter().copied().filter(|run| run.source == *source).collect();
        let names = unique(runs.iter().flat_map(|run| named_scores(run)).map(|(name, _)| name));
        let gallery = |set: &'a str| Gallery {
            name: if content.sources.len() > 1 { format!("{source} → {set}") } else { set.to_owned() },
            images: ranked(&runs, set),
        };
        names.into_iter().map(gallery).filter(|gallery| !gallery.images.is_empty()).collect()
    };
    content.sources.iter().flat_map(of_source).collect()
}

/// Ranks the images of a data set, each once: by the number of runs that list it, then by its best rank.
fn ranked<'a>(runs: &[&'a RunRecord], set: &str) -> Vec<&'a HardestImage> {
    let mut found: BTreeMap<&str, (usize, usize, &HardestImage)> = BTreeMap::new();
    let of_set = runs.iter().flat_map(|run| named_scores(run)).filter(|(name, _)| *name == set);
    for (rank, image) in of_set.flat_map(|(_, scores)| scores.hardest.iter().enumerate()) {
        let entry = found.entry(&image.file).or_insert((0, rank, image));
        entry.0 += 1;
        entry.1 = entry.1.min(rank);
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|(runs, rank, _)| (std::cmp::Reverse(*runs), *rank));
    found.into_iter().map(|(_, _, image)| image).collect()
}

impl Gallery<'_> {
    fn render(&self, most: usize) -> String {
        let images: String = self.images.iter().take(most).map(|image| render_image(image)).collect();
        format!("<h3>{}</h3>\n<ul class=\"gallery\">\n{images}</ul>\n", escape(&self.name))
    }
}

fn render_image(image: &HardestImage) -> String {
    let thumbnail = if is_embeddable(&image.thumbnail) {
        format!("<img src=\"{}\" alt=\"{}\" loading=\"lazy\">", escape(&image.thumbnail), escape(&image.file))
    } else {
        "<span class=\"missing\">no thumbnail</span>".to_owned()
    };
    format!(
        "<li>{thumbnail}<span>{} → <b>{}</b> {:.0}&nbsp;%</span><small>{}</small></li>\n",
        escape(&image.truth),
        escape(&image.predicted),
        100.0 * image.confidence,
        escape(&image.file)
    )
}

/// Returns whether a thumbnail is a base64 data URI of an image format that contains only pixels.
fn is_embeddable(uri: &str) -> bool {
    let base64 = |letter: u8| letter.is_ascii_alphanumeric() || b"+/=".contains(&letter);
    let data = ["png", "jpeg", "webp"]
        .iter()
        .find_map(|kind| uri.strip_prefix("data:image/")?.strip_prefix(kind)?.strip_prefix(";base64,"));
    uri.len() <= LONGEST_THUMBNAIL && data.is_some_and(|data| !data.is_empty() && data.bytes().all(base64))
}
