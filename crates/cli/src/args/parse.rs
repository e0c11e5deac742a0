//! Value parsers of flags: names, numbers, sizes, pairs.

use clap::builder::{PossibleValue, PossibleValuesParser, RangedI64ValueParser, TypedValueParser};
use fieldfit::Precision;
use fieldfit::collect::Export;
use fieldfit::data::Augmentation;
use fieldfit::delta::Codec;
use fieldfit::target::TargetProfile;
use fieldfit::train::{BranchAverage, Branches, ClassWeights, Coding, HeadMode, MethodEntry, Sharing, StartPoint};
use std::iter;
use std::ops::Range;
use std::time::Duration;

pub(super) fn at_least_one() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// A precision by name.
pub(super) fn precision() -> impl TypedValueParser<Value = Precision> {
    let names = PossibleValuesParser::new(Precision::ALL.map(Precision::name));
    names.map(|name| Precision::by_name(&name).unwrap_or_default())
}

/// Maximum number of threads: more than any machine has cores, and fewer than a system refuses to start.
const MAX_THREADS: i64 = 1024;

/// A number of threads.
pub(super) fn threads() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MAX_THREADS)
}

/// Maximum number of seeds: the runs of all are listed before the first begins.
const MAX_SEEDS: usize = 10_000;

/// Parses seeds: their number, or a range.
pub(super) fn seeds(text: &str) -> Result<Range<u32>, String> {
    let (from, to) = text.split_once("..").unwrap_or(("0", text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if (1..=MAX_SEEDS).contains(&(from..to).len()) => Ok(from..to),
        _ => Err(format!("expected 1 to {MAX_SEEDS} seeds, as their number or as a range such as 3..6")),
    }
}

pub(super) fn side() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(16..=1024)
}

/// Parses a number of bytes with its unit.
pub(super) fn byte_count(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 7] =
        [("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1.0)];
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * factor)
    });
    match parsed {
        Some(bytes) if (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("expected a number and its unit, such as 512MiB, 1.5GiB or 500MB".into()),
    }
}

/// Parses a duration with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("ms", 1e-3), ("s", 1.0)];
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(number * factor).ok().filter(|duration| !duration.is_zero())
    });
    parsed.ok_or_else(|| "expected a number and its unit, such as 30d, 12h, 90m, 45s or 500ms".into())
}

/// Parses a share, as a number or in percent.
pub(super) fn share(text: &str) -> Result<f32, String> {
    let percent = text.strip_suffix('%').map(|text| text.parse::<f32>().map(|percent| percent / 100.0));
    match percent.unwrap_or_else(|| text.parse()) {
        Ok(share) if (0.0..=10.0).contains(&share) => Ok(share),
        _ => Err("expected a share, such as 10% or 0.1".into()),
    }
}

/// Parses a polygon of points in shares of width and height.
pub(super) fn polygon(text: &str) -> Result<Vec<(f32, f32)>, String> {
    let point = |text: &str| {
        let (x, y) = text.split_once(',')?;
        Some((x.trim().parse().ok()?, y.trim().parse().ok()?))
    };
    let points: Option<Vec<(f32, f32)>> = text.split_whitespace().map(point).collect();
    let is_share = |value: f32| (0.0..=1.0).contains(&value);
    let is_mask =
        |points: &Vec<(f32, f32)>| points.len() >= 3 && points.iter().all(|(x, y)| is_share(*x) && is_share(*y));
    points.filter(is_mask).ok_or_else(|| "expected 3 points or more, x,y in 0..1, such as '0,0 1,0 0.5,1'".into())
}

/// Parses a point in time.
pub(super) fn timestamp(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "expected a time such as 2026-05-01T12:00:00Z".into())
}

/// Parses the format of an export.
pub(super) fn exports() -> impl TypedValueParser<Value = Export> {
    PossibleValuesParser::new(Export::ALL.map(Export::name)).try_map(|name| name.parse::<Export>())
}

/// Parses three numbers in units of 0..1, and returns them in units of 0..255.
pub(super) fn channels(text: &str) -> Result<[f32; 3], String> {
    let numbers: Vec<f64> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [red, green, blue] if text.matches(',').count() == 2 => {
            Ok([red, green, blue].map(|number| (255.0 * number) as f32))
        }
        _ => Err("expected three numbers in units of 0..1, such as 0.485,0.456,0.406".into()),
    }
}

/// Reads a target profile by name or path.
pub(super) fn target(text: &str) -> Result<TargetProfile, String> {
    TargetProfile::find(text).map_err(|error| crate::error::chain(&error))
}

pub(super) fn augmentations() -> impl TypedValueParser<Value = Augmentation> {
    let named = |augmentation: Augmentation| PossibleValue::new(augmentation.name()).help(augmentation.about());
    PossibleValuesParser::new(Augmentation::ALL.map(named)).try_map(|name| name.parse::<Augmentation>())
}

pub(super) fn codings() -> impl TypedValueParser<Value = Coding> {
    let codings = || iter::once(Coding::Auto).chain(Codec::ALL.map(Coding::Kernels));
    let named = move |name: String| codings().find(|coding| coding.to_string() == name);
    let names = iter::once("auto").chain(Codec::ALL.map(Codec::name));
    PossibleValuesParser::new(names).try_map(move |name| named(name).ok_or("no such codec"))
}

pub(super) fn class_weights() -> impl TypedValueParser<Value = ClassWeights> {
    let named = |name: String| ClassWeights::ALL.into_iter().find(|weights| weights.name() == name);
    PossibleValuesParser::new(ClassWeights::ALL.map(ClassWeights::name))
        .try_map(move |name| named(name).ok_or("no such class weights"))
}

pub(super) fn branch_averages() -> impl TypedValueParser<Value = BranchAverage> {
    let named = |name: String| BranchAverage::ALL.into_iter().find(|average| average.name() == name);
    let names = BranchAverage::ALL.map(BranchAverage::name);
    PossibleValuesParser::new(names).try_map(move |name| named(name).ok_or("no such average"))
}

/// Number of branches.
pub(super) fn branch_count() -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..=i64::from(Branches::MOST))
}

pub(super) fn head_modes() -> impl TypedValueParser<Value = HeadMode> {
    let named = |name: String| HeadMode::ALL.into_iter().find(|mode| mode.name() == name);
    PossibleValuesParser::new(HeadMode::ALL.map(HeadMode::name)).try_map(move |name| named(name).ok_or("no such mode"))
}

pub(super) fn start_points() -> impl TypedValueParser<Value = StartPoint> {
    let named = |name: String| StartPoint::ALL.into_iter().find(|point| point.name() == name);
    PossibleValuesParser::new(StartPoint::ALL.map(StartPoint::name))
        .try_map(move |name| named(name).ok_or("no such start"))
}

pub(super) fn sharings() -> impl TypedValueParser<Value = Sharing> {
    let named = |name: String| Sharing::ALL.into_iter().find(|sharing| sharing.name() == name);
    PossibleValuesParser::new(Sharing::ALL.map(Sharing::name)).try_map(move |name| named(name).ok_or("no such sharing"))
}

pub(super) fn methods() -> PossibleValuesParser {
    fieldfit::train::METHODS
        .iter()
        .map(|method| PossibleValue::new(method.name).help(about(method)))
        .collect::<Vec<_>>()
        .into()
}

/// Describes a method and its hyper-parameters for `--set`.
fn about(method: &MethodEntry) -> String {
    let settings = method.settings.iter().map(|setting| format!("; --set {setting}"));
    std::iter::once(method.about.to_owned()).chain(settings).collect()
}

pub(super) fn setting(text: &str) -> Result<(String, f64), String> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    parsed.ok_or_else(|| "expected a name and a number, such as strength=0.1".into())
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number above 0, such as 1e-3".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a time of another unit, one of nothing, and a mask that covers nothing.
    #[test]
    fn durations_have_units_and_masks_have_an_area() {
        for (text, seconds) in [("30d", 2_592_000.0), ("1.5h", 5400.0), ("2m", 120.0), ("0.5s", 0.5), ("500ms", 0.5)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "30", "d", "0s", "0ms", "-1h", "infd", "nans"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!((share("10%"), share("0.25")), (Ok(0.1), Ok(0.25)));
        assert!(["", "%", "-1%", "nan", "2000%"].iter().all(|text| share(text).is_err()));
        assert_eq!(polygon("0,0  1,0 0.5,1"), Ok(vec![(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)]));
        for text in ["", "0,0 1,0", "0,0 1,0 2,2", "0,0 1,0 x,1", "0 0 1 0 1 1", "nan,0 1,0 1,1"] {
            assert!(polygon(text).is_err(), "{text}");
        }
    }

    /// Catches: a range that loses its first seed, and one that lists nothing, or more than memory holds.
    #[test]
    fn seeds_are_a_number_or_a_range() {
        assert_eq!((seeds("3"), seeds("3..6")), (Ok(0..3), Ok(3..6)));
        for text in ["0", "-1", "10001", "6..3", "3..3", "..", "3..", "1..=4", "0..4294967295"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    /// Catches: a learning rate that is silently clamped, or parsed as something else.
    #[test]
    fn only_positive_finite_numbers_are_rates() {
        assert_eq!(positive("1e-3"), Ok(1e-3));
        for text in ["0", "-1", "inf", "nan", "fast"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }

    /// Catches: so many threads that the system refuses to start them, or is brought down by them.
    #[test]
    fn threads_are_bounded() {
        let command = clap::Command::new("fieldfit");
        let parsed = |text: &str| threads().parse_ref(&command, None, text.as_ref());
        assert_eq!(parsed("1024").unwrap(), 1024);
        for text in ["0", "1025", "1000000"] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text} is not in 1..=1024")), "{error}");
        }
    }

    /// Catches: a setting whose value is taken for 0, or whose name is lost.
    #[test]
    fn a_setting_is_a_name_and_a_number() {
        assert_eq!(setting("strength=1e-1"), Ok(("strength".into(), 0.1)));
        for text in ["strength", "strength=", "strength=much", "=", ""] {
            assert!(setting(text).is_err(), "{text}");
        }
    }

    /// Catches: a budget a thousand times too large or too small, or one without a unit that is taken for bytes.
    #[test]
    fn sizes_have_units() {
        let sizes = [("512MiB", 512 << 20), ("1.5GiB", 3 << 29), ("500 MB", 500_000_000), ("3kB", 3000), ("7B", 7)];
        for (text, bytes) in sizes {
            assert_eq!(byte_count(text), Ok(bytes), "{text}");
        }
        for text in ["512", "", "MiB", "-1MiB", "0B", "nanMB", "infGB", "1e30GB", "5 parsecs"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
    }
}
