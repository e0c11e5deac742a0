//! Galleries: pictures of the images that a method answers worst, for each of its data sets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Content;
use super::confusion_matrix::named_scores;
use super::html::{collapsible, escape};
use crate::record::{RunRecord, Scores, unique};

/// Approximate maximum number of entries of a section, divided evenly among its galleries.
const ENTRIES: usize = 240;
/// Maximum length of a picture's URI, in bytes.
const LONGEST_URI: usize = 64 << 10;

/// Entry of a gallery: an image that the records list as one of the worst.
pub(super) trait Entry: Sized {
    /// Class of the list in the style sheet.
    const CLASS: &'static str;
    /// Maximum number of entries of a gallery.
    const MOST: usize;

    /// Returns the entries of a data set, worst first.
    fn listed(scores: &Scores) -> &[Self];

    /// Returns the file of the image.
    fn file(&self) -> &str;

    /// Renders the content of the entry.
    fn render(&self) -> String;
}

/// Galleries of a section, and the number of entries of each at most.
pub(super) struct Galleries {
    pub html: String,
    pub most: usize,
}

/// Gallery: the worst images of a method on one data set.
struct Gallery<'a, E> {
    name: String,
    entries: Vec<&'a E>,
}

/// Renders the galleries of all methods; empty if no run lists an entry.
pub(super) fn galleries<'a, E: Entry + 'a>(content: &Content<'a>) -> Galleries {
    let names = content.methods.names();
    let groups: Vec<Vec<Gallery<E>>> = names.iter().map(|method| of_method(content, method)).collect();
    let count: usize = groups.iter().map(Vec::len).sum();
    let most = (ENTRIES / count.max(1)).clamp(1, E::MOST);
    let rendered = names.iter().zip(&groups).filter(|(_, galleries)| !galleries.is_empty());
    let html = rendered
        .map(|(method, galleries)| {
            let galleries: String = galleries.iter().map(|gallery| gallery.render(most)).collect();
            collapsible(names.len() > 1, method, &galleries)
        })
        .collect();
    Galleries { html, most }
}

/// Returns the galleries of a method that have entries.
fn of_method<'a, E: Entry>(content: &Content<'a>, method: &str) -> Vec<Gallery<'a, E>> {
    let runs = content.of_method(method);
    let of_source = |source: &&'a str| -> Vec<Gallery<'a, E>> {
        let runs: Vec<&'a RunRecord> = runs.iter().copied().filter(|run| run.source == *source).collect();
        let names = unique(runs.iter().flat_map(|run| named_scores(run)).map(|(name, _)| name));
        let gallery = |set: &'a str| Gallery {
            name: if content.sources.len() > 1 { format!("{source} → {set}") } else { set.to_owned() },
            entries: ranked(&runs, set),
        };
        names.into_iter().map(gallery).filter(|gallery| !gallery.entries.is_empty()).collect()
    };
    content.sources.iter().flat_map(of_source).collect()
}

/// Ranks the images of a data set, each once: by the number of runs that list it, then by its best rank.
fn ranked<'a, E: Entry>(runs: &[&'a RunRecord], set: &str) -> Vec<&'a E> {
    let mut found: BTreeMap<&str, (usize, usize, &E)> = BTreeMap::new();
    let of_set = runs.iter().flat_map(|run| named_scores(run)).filter(|(name, _)| *name == set);
    for (rank, entry) in of_set.flat_map(|(_, scores)| E::listed(scores).iter().enumerate()) {
        let known = found.entry(entry.file()).or_insert((0, rank, entry));
        known.0 += 1;
        known.1 = known.1.min(rank);
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|(runs, rank, _)| (Reverse(*runs), *rank));
    found.into_iter().map(|(_, _, entry)| entry).collect()
}

impl<E: Entry> Gallery<'_, E> {
    fn render(&self, most: usize) -> String {
        let entries: String =
            self.entries.iter().take(most).map(|entry| format!("<li>{}</li>\n", entry.render())).collect();
        format!("<h3>{}</h3>\n<ul class=\"{}\">\n{entries}</ul>\n", escape(&self.name), E::CLASS)
    }
}

/// Renders a picture by its data URI; a note in its place if the page may not embed it.
pub(super) fn picture(uri: &str, alternative: &str) -> String {
    if is_embeddable(uri) {
        format!("<img src=\"{}\" alt=\"{}\" loading=\"lazy\">", escape(uri), escape(alternative))
    } else {
        "<span class=\"missing\">no picture</span>".to_owned()
    }
}

/// Returns whether a picture is a base64 data URI of an image format that contains only pixels.
fn is_embeddable(uri: &str) -> bool {
    let base64 = |letter: u8| letter.is_ascii_alphanumeric() || b"+/=".contains(&letter);
    let data = ["png", "jpeg", "webp"]
        .iter()
        .find_map(|kind| uri.strip_prefix("data:image/")?.strip_prefix(kind)?.strip_prefix(";base64,"));
    uri.len() <= LONGEST_URI && data.is_some_and(|data| !data.is_empty() && data.bytes().all(base64))
}
