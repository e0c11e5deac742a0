//! Card of a delta: what a receiver wants to know before it downloads it, signed.

use crate::{
    key::Digest,
    statement::{Statement, StatementError},
};
use fieldfit_delta::{Delta, PublicKey, Signature, limits::MAX_CLASSES};
use fieldfit_tensor::text::find_unprintable;
use serde::{Deserialize, Serialize};

/// Maximum bytes of a card's envelope: the classes of the largest head that is usual, with long names.
pub const MAX_CARD_BYTES: usize = 256 << 10;
/// Maximum bytes of a text in a card.
const MAX_TEXT: usize = 256;

/// Terms on which a delta is offered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Share of the robots that take the delta, 0..1: see [`is_canary`](crate::is_canary). Publish again with a larger share to
    /// widen it.
    pub share: f64,
    /// Time after which no robot takes the delta any more, in seconds since 1970; `None` for ever.
    pub expires_at: Option<u64>,
}

impl Default for Offer {
    /// All robots, for ever.
    fn default() -> Self {
        Self { share: 1.0, expires_at: None }
    }
}

/// Card of a delta. What it says of the delta is compared with the delta once that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Card {
    /// Hash of the signed delta file: its name.
    pub delta: Digest,
    /// The delta's identity, which a new signature does not change.
    pub content: Digest,
    /// Identity of the base.
    pub base: Digest,
    /// Size of the signed delta file, in bytes.
    pub bytes: u64,
    /// Public key of the delta's signer, in hexadecimal.
    pub signer: Digest,
    /// The signer's sequence number of the delta.
    pub sequence: u64,
    /// Task of the network.
    pub task: String,
    /// Class names.
    pub classes: Vec<String>,
    /// Name of the method.
    pub method: String,
    /// Numbers of the images behind the delta.
    pub images: ImageCounts,
    /// Accuracy on the publisher's gate of what ran before, 0..1.
    pub before: f32,
    /// Accuracy on the publisher's gate of this delta, 0..1.
    pub after: f32,
    /// Identity of the delta that was active when this one was made.
    pub parent: Option<Digest>,
    /// When it was published, by the publisher's clock, in seconds since 1970; for people.
    pub made_at: u64,
    /// Time after which no robot takes the delta, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// Share of the robots that take the delta, 0..1.
    pub share: f64,
}

/// Numbers of images of an adaptation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCounts {
    /// Images that trained weights.
    pub train: u32,
    /// Images that learned radii.
    pub validation: u32,
    /// Images of the gate.
    pub gate: u32,
}

impl Card {
    /// Returns the card of a delta file.
    pub(crate) fn new(file: &[u8], delta: &Delta<'_>, signature: &Signature, offer: &Offer, now: u64) -> Self {
        let header = delta.header();
        let provenance = &header.provenance;
        Self {
            delta: Digest::of(file),
            content: Digest(delta.hash()),
            base: Digest(header.base),
            bytes: file.len() as u64,
            signer: Digest(signature.key.0),
            sequence: signature.sequence,
            task: header.task.to_string(),
            classes: delta.labels().map(str::to_owned).collect(),
            method: provenance.method.to_string(),
            images: ImageCounts { train: provenance.train, validation: provenance.validation, gate: provenance.gate },
            before: provenance.before,
            after: provenance.after,
            parent: header.parent.map(Digest),
            made_at: now,
            expires_at: offer.expires_at,
            share: offer.share,
        }
    }

    /// Returns the public key of the delta's signer.
    pub const fn key(&self) -> PublicKey {
        PublicKey(self.signer.0)
    }

    /// Returns whether the delta may no longer be taken at that time.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Returns whether a head of that delta answers about every one of those classes.
    pub fn knows(&self, classes: &[String]) -> bool {
        classes.iter().all(|class| self.classes.contains(class))
    }

    /// Returns whether two cards offer one delta on the same terms, whenever they were made.
    pub(crate) fn offers_as(&self, other: &Self) -> bool {
        Self { made_at: self.made_at, ..other.clone() } == *self
    }

    /// Checks that the delta is the one that the card describes.
    pub(crate) fn require_described(&self, delta: &Delta<'_>) -> Result<(), StatementError> {
        let mismatch = |field| Err(StatementError::Mismatch { field });
        match delta.signature() {
            None => mismatch("signature"),
            Some(signature) if signature.key != self.key() => mismatch("signer"),
            Some(signature) if signature.sequence != self.sequence => mismatch("sequence"),
            Some(_) if delta.header().base != self.base.0 => mismatch("base"),
            Some(_) if delta.hash() != self.content.0 => mismatch("content"),
            Some(_) => Ok(()),
        }
    }
}

impl Statement for Card {
    const KIND: &'static str = "application/vnd.fieldfit.card+json";

    fn check(&self) -> Result<(), StatementError> {
        let field = |field, expected| Err(StatementError::Field { field, expected });
        let is_text = |text: &String| text.len() <= MAX_TEXT && find_unprintable(text).is_none();
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if self.classes.len() > MAX_CLASSES || !self.classes.iter().all(is_text) {
            return field("classes", "printable names, no more than a delta may have");
        }
        if !is_text(&self.task) || !is_text(&self.method) {
            return field("task or method", "printable text of at most 256 bytes");
        }
        if !is_share(self.before.into()) || !is_share(self.after.into()) {
            return field("accuracy", "a number from 0 to 1");
        }
        if !is_share(self.share) { field("share", "a number from 0 to 1") } else { Ok(()) }
    }
}
