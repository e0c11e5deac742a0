//! Labels: class, origin and confidence of an image, and what a model had predicted for it.

use crate::error::CollectError;
use fieldfit_tensor::text::find_unprintable;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Maximum bytes of a class name: what a file system takes as a folder's name.
const MAX_CLASS_BYTES: usize = 255;

/// Label of images: their class, and who says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Label {
    /// Name of the class. It can be a folder's name.
    pub class: String,
    /// Source of the label.
    pub origin: Origin,
    /// Confidence of the source, 0..=1.
    pub confidence: f32,
    /// Name of the person, sensor or program behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Source of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// A person, during the drive or afterwards.
    Operator,
    /// What happened next: the grasp held, the wheels slipped.
    Outcome,
    /// A tag in the scene: AprilTag, QR code, RFID.
    Tag,
    /// A zone of the map.
    Zone,
    /// A track that carries the label of one of its frames.
    Track,
    /// A model's answer, a pseudo-label: it may train, and never judges.
    Teacher {
        /// Name of the model.
        name: String,
    },
    /// A labelled data set of another tool.
    Import,
}

/// What a model had predicted for a frame when it was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PredictedClass {
    /// The most probable class.
    pub class: String,
    /// Its probability, 0..=1.
    pub probability: f32,
    /// Its probability less that of the second class, 0..=1. The smaller, the more there is to learn from the frame.
    pub margin: f32,
}

impl PredictedClass {
    /// Returns the prediction of a class.
    pub fn new(class: impl Into<String>, probability: f32, margin: f32) -> Self {
        Self { class: class.into(), probability, margin }
    }
}

impl Label {
    /// Returns the label of a class with full confidence.
    pub fn new(class: impl Into<String>, origin: Origin) -> Self {
        Self { class: class.into(), origin, confidence: 1.0, by: None }
    }

    /// Returns the label with that [`confidence`](Self::confidence).
    #[must_use]
    pub const fn with_confidence(mut self, confidence: f32) -> Self {
        self.confidence = confidence;
        self
    }

    /// Returns the label with that name of its [source](Self::by).
    #[must_use]
    pub fn with_by(mut self, by: Option<String>) -> Self {
        self.by = by;
        self
    }

    /// Checks that the class can be a folder's name and the confidence is a share.
    ///
    /// # Errors
    /// [`CollectError::Class`] or [`CollectError::Confidence`] if not.
    pub fn check(&self) -> Result<(), CollectError> {
        let class = &self.class;
        let problem = match class.as_str() {
            name if find_unprintable(name).is_some() => Some("not printable"),
            name if name.trim().is_empty() => Some("blank"),
            name if name.starts_with('.') => Some("that of a hidden folder"),
            name if name.contains(['/', '\\']) => Some("a path"),
            name if name.len() > MAX_CLASS_BYTES => Some("longer than 255 bytes"),
            _usable => None,
        };
        if let Some(problem) = problem {
            return Err(CollectError::Class { class: class.clone(), problem });
        }
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err(CollectError::Confidence { found: self.confidence });
        }
        Ok(())
    }
}

impl Origin {
    /// Name of the origin in flags and statistics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Outcome => "outcome",
            Self::Tag => "tag",
            Self::Zone => "zone",
            Self::Track => "track",
            Self::Teacher { .. } => "teacher",
            Self::Import => "import",
        }
    }

    /// Whether the label is a model's own answer.
    pub const fn is_pseudo_label(&self) -> bool {
        matches!(self, Self::Teacher { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Teacher { name } => write!(f, "teacher:{name}"),
            named => f.write_str(named.name()),
        }
    }
}

/// Parses a [name](Origin::name); a teacher is written `teacher:MODEL`.
impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("teacher", name)) if !name.is_empty() => return Ok(Self::Teacher { name: name.into() }),
            _ => {}
        }
        let named = [Self::Operator, Self::Outcome, Self::Tag, Self::Zone, Self::Track, Self::Import];
        let expected = "expected operator, outcome, tag, zone, track, import or teacher:MODEL";
        named.into_iter().find(|origin| origin.name() == text).ok_or_else(|| expected.into())
    }
}
