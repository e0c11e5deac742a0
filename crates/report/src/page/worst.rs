//! The images that were found least likely.

use std::collections::BTreeMap;

use super::Content;
use super::confusion::sets;
use super::html::{escape, fold, section as section_of};
use crate::record::{Run, Worst, unique};

/// About so many pictures on a page, shared out evenly, and no more of a method and set than the second.
const PICTURES: usize = 240;
const MOST_OF_A_SET: usize = 8;
/// A thumbnail is no longer than this, in bytes of its URI.
const LONGEST_THUMBNAIL: usize = 64 << 10;

pub(super) fn section(content: &Content) -> String {
    let names = content.methods.names();
    let groups = names.iter().map(|method| galleries(content, method));
    let groups: Vec<Vec<Gallery>> = groups.collect();
    let sets: usize = groups.iter().map(Vec::len).sum();
    let most = (PICTURES / sets.max(1)).clamp(1, MOST_OF_A_SET);
    let several = names.len() > 1;
    let methods: String = names
        .iter()
        .zip(&groups)
        .filter(|(_, galleries)| !galleries.is_empty())
        .map(|(method, galleries)| {
            let pictures: String = galleries.iter().map(|gallery| gallery.draw(most)).collect();
            fold(several, method, &pictures)
        })
        .collect();
    if methods.is_empty() {
        return String::new();
    }
    let over_seeds =
        if content.runs.len() > 1 { ", those first that are among the worst of the most seeds" } else { "" };
    let note = format!(
        "<p class=\"note\">Images whose own class was found least likely, at most {most} of a set{over_seeds}: own class → \
         the class that it was given, and with what confidence.</p>\n"
    );
    section_of("Worst images", &(note + &methods))
}

/// The worst images of a method on a set.
struct Gallery<'a> {
    name: String,
    images: Vec<&'a Worst>,
}

/// A method's galleries that have images.
fn galleries<'a>(content: &Content<'a>, method: &str) -> Vec<Gallery<'a>> {
    let runs = content.of_method(method);
    let of_source = |source: &&'a str| -> Vec<Gallery<'a>> {
        let runs: Vec<&'a Run> = runs.iter().copied().filter(|run| run.source == *source).collect();
        let names = unique(runs.iter().flat_map(|run| sets(run)).map(|(name, _)| name));
        let gallery = |set: &'a str| Gallery {
            name: if content.sources.len() > 1 { format!("{source} → {set}") } else { set.to_owned() },
            images: ranked(&runs, set),
        };
        names.into_iter().map(gallery).filter(|gallery| !gallery.images.is_empty()).collect()
    };
    content.sources.iter().flat_map(of_source).collect()
}

/// The images of a set, each once: by how many runs have it among their worst, then by its best rank there.
fn ranked<'a>(runs: &[&'a Run], set: &str) -> Vec<&'a Worst> {
    let mut found: BTreeMap<&str, (usize, usize, &Worst)> = BTreeMap::new();
    let of_set = runs.iter().flat_map(|run| sets(run)).filter(|(name, _)| *name == set);
    for (rank, image) in of_set.flat_map(|(_, scores)| scores.worst.iter().enumerate()) {
        let entry = found.entry(&image.file).or_insert((0, rank, image));
        entry.0 += 1;
        entry.1 = entry.1.min(rank);
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|(runs, rank, _)| (std::cmp::Reverse(*runs), *rank));
    found.into_iter().map(|(_, _, image)| image).collect()
}

impl Gallery<'_> {
    fn draw(&self, most: usize) -> String {
        let images: String = self.images.iter().take(most).map(|image| draw(image)).collect();
        format!("<h3>{}</h3>\n<ul class=\"gallery\">\n{images}</ul>\n", escape(&self.name))
    }
}

fn draw(image: &Worst) -> String {
    let picture = if is_picture(&image.thumbnail) {
        format!("<img src=\"{}\" alt=\"{}\" loading=\"lazy\">", escape(&image.thumbnail), escape(&image.file))
    } else {
        "<span class=\"missing\">no picture</span>".to_owned()
    };
    format!(
        "<li>{picture}<span>{} → <b>{}</b> {:.0}&nbsp;%</span><small>{}</small></li>\n",
        escape(&image.truth),
        escape(&image.predicted),
        100.0 * image.confidence,
        escape(&image.file)
    )
}

/// Whether a thumbnail is an image in the page itself, in base64, and of a kind that holds nothing but pixels.
fn is_picture(uri: &str) -> bool {
    let base64 = |letter: u8| letter.is_ascii_alphanumeric() || b"+/=".contains(&letter);
    let data = ["png", "jpeg", "webp"]
        .iter()
        .find_map(|kind| uri.strip_prefix("data:image/")?.strip_prefix(kind)?.strip_prefix(";base64,"));
    uri.len() <= LONGEST_THUMBNAIL && data.is_some_and(|data| !data.is_empty() && data.bytes().all(base64))
}
