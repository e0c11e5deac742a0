//! Flat options: those of a collector as one object of numbers and texts, as programs in other languages give them.

use crate::collector::CollectorOptions;
use crate::limits::Limits;
use crate::privacy::Privacy;
use crate::selection::Selection;
use serde::Deserialize;
use std::time::Duration;

/// Options of a collector. Times are in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FlatOptions {
    session: Option<String>,
    rate: f32,
    /// Whether every frame is kept, whatever its exposure, sharpness and likeness to others.
    all: bool,
    buffer: f64,
    buffer_bytes: usize,
    block: f64,
    quality: u8,
    bytes: u64,
    per_class: usize,
    min_per_class: Option<usize>,
    age: Option<f64>,
    free_disk: u64,
    masks: Vec<Vec<(f32, f32)>>,
    max_side: Option<u32>,
}

impl Default for FlatOptions {
    fn default() -> Self {
        let CollectorOptions { limits, selection, privacy, session, buffer, buffer_bytes, block, quality } =
            CollectorOptions::default();
        let Limits { bytes, per_class, min_per_class: _, age, free_disk } = limits;
        let Privacy { masks, max_side } = privacy;
        Self {
            session,
            rate: selection.rate,
            all: false,
            buffer: buffer.as_secs_f64(),
            buffer_bytes,
            block: block.as_secs_f64(),
            quality,
            bytes,
            per_class,
            min_per_class: None,
            age: age.map(|age| age.as_secs_f64()),
            free_disk,
            masks,
            max_side,
        }
    }
}

impl TryFrom<FlatOptions> for CollectorOptions {
    type Error = String;

    fn try_from(flat: FlatOptions) -> Result<Self, String> {
        let FlatOptions { session, rate, all, buffer, buffer_bytes, block, quality, .. } = flat;
        let FlatOptions { bytes, per_class, min_per_class, age, free_disk, masks, max_side, .. } = flat;
        let selection = Selection::default().with_rate(rate);
        let min_per_class = min_per_class.unwrap_or(Limits::default().min_per_class.min(per_class));
        let age = age.map(|age| seconds("age", age)).transpose()?;
        Ok(Self {
            limits: Limits { bytes, per_class, min_per_class, age, free_disk },
            selection: if all { selection.of_all() } else { selection },
            privacy: Privacy { masks, max_side },
            session,
            buffer: seconds("buffer", buffer)?,
            buffer_bytes,
            block: seconds("block", block)?,
            quality,
        })
    }
}

fn seconds(option: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{option}: {seconds} is no time in seconds: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a default that differs between languages, a time in another unit, an option that is misspelled without a word.
    #[test]
    fn an_object_says_what_differs_from_the_defaults() {
        let parsed = |text: &str| serde_json::from_str::<CollectorOptions>(text);
        assert_eq!(parsed("{}").expect("no option"), CollectorOptions::default());
        let options = parsed(r#"{"rate":5,"buffer":3.5,"age":86400,"per_class":7,"masks":[[[0,0],[1,0],[0,1]]]}"#);
        let options = options.expect("known options");
        assert_eq!((options.selection.rate, options.buffer), (5.0, Duration::from_millis(3500)));
        assert_eq!(options.limits.age, Some(Duration::from_secs(86400)));
        assert_eq!((options.limits.per_class, options.limits.min_per_class), (7, 7));
        assert_eq!(options.privacy.masks, [[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]]);
        for wrong in [r#"{"rates":5}"#, r#"{"block":-1}"#, r#"{"rate":"fast"}"#] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
