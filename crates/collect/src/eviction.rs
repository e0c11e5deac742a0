//! Eviction: the image that a full collection gives for a new one.

use crate::contents::{Contents, Entry, ImageId};
use crate::label::Origin;
use crate::limits::Limits;
use std::cmp::{Ordering, Reverse};

/// Demand that a new image makes on a full collection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand<'a> {
    /// Class of the image.
    pub class: &'a str,
    /// Source of its label.
    pub origin: &'a Origin,
    /// Bytes of its file and of those that are about to be recorded before it.
    pub bytes: u64,
    /// Number of images of its class that are about to be recorded, itself included.
    pub images: usize,
}

/// What a demand comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room.
    Free,
    /// There is room once this image is gone, or another one must go then.
    After(ImageId),
    /// No image may go for it.
    None,
}

/// Returns whether there is room, or the image that has to go next: of the image's own class if that is full, of the largest
/// class if the bytes are used up.
pub(crate) fn room(contents: &Contents, limits: &Limits, demand: Demand<'_>) -> Room {
    let Demand { class, origin, bytes, images } = demand;
    if bytes > limits.bytes || images > limits.per_class {
        return Room::None;
    }
    if contents.count(class) + images > limits.per_class {
        return victim(contents, limits, class, origin).map_or(Room::None, Room::After);
    }
    if contents.bytes().saturating_add(bytes) <= limits.bytes {
        return Room::Free;
    }
    let mut classes: Vec<(&String, usize)> =
        contents.per_class().iter().map(|(class, count)| (class, *count)).collect();
    classes.sort_by_key(|(_, count)| Reverse(*count));
    let victim = classes.into_iter().find_map(|(class, _)| victim(contents, limits, class, origin));
    victim.map_or(Room::None, Room::After)
}

/// The most redundant image of a class: pseudo-labels first, then the one most like another of the class, then the one that
/// the model was surest of, then the oldest. An image whose label is a person's, a sensor's or an outcome's never goes for a
/// pseudo-label.
fn victim(contents: &Contents, limits: &Limits, class: &str, origin: &Origin) -> Option<ImageId> {
    if contents.count(class) <= limits.min_per_class {
        return None;
    }
    let of_class: Vec<&Entry> = contents.entries().values().filter(|entry| entry.label.class == class).collect();
    let may_go = |entry: &&Entry| entry.label.origin.is_pseudo_label() || !origin.is_pseudo_label();
    let ranks = of_class.iter().enumerate().filter(|(_, entry)| may_go(entry)).map(|(index, entry)| Rank {
        is_trusted: !entry.label.origin.is_pseudo_label(),
        distance: nearest(&of_class, index),
        margin: entry.image.prediction.as_ref().map_or(0.0, |prediction| prediction.margin),
        id: entry.image.id,
    });
    ranks.min_by(Rank::order).map(|rank| rank.id)
}

/// Rank of an image in eviction; the least goes first.
struct Rank {
    is_trusted: bool,
    distance: u32,
    margin: f32,
    id: ImageId,
}

impl Rank {
    fn order(&self, other: &Self) -> Ordering {
        (self.is_trusted.cmp(&other.is_trusted))
            .then(self.distance.cmp(&other.distance))
            .then(other.margin.total_cmp(&self.margin))
    }
}

/// Hamming distance of an image's fingerprint from the nearest other one of its class.
fn nearest(of_class: &[&Entry], index: usize) -> u32 {
    let fingerprint = of_class[index].image.fingerprint;
    let others = of_class.iter().enumerate().filter(|(other, _)| *other != index);
    others.map(|(_, other)| (other.image.fingerprint ^ fingerprint).count_ones()).min().unwrap_or(u32::BITS * 2)
}
