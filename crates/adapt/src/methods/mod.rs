//! Methods: the list of all fine-tuning methods, and what they share. A new method is a file here, its `mod` line and its
//! line in [`METHODS`].

mod bitfit;
mod digrap;
pub(crate) mod entry;
pub(crate) mod ftp;
mod full;
mod interpolation;
mod l2_sp;
mod linear_probe;
mod lines;
mod lp_ft;
mod lwf;
mod maps;
mod mars_sp;
pub(crate) mod method;
mod random_share;
pub(crate) mod relative_radii;
mod retention_objective;
pub(crate) mod setting;
pub(crate) mod spd;
pub(crate) mod tensor_pattern;
pub(crate) mod tensor_radii;
mod tpgm;
mod tpgm_relative;
mod wise_ft;

use crate::error::AdaptError;
use crate::methods::entry::MethodEntry;
use crate::methods::method::Method;
use crate::methods::setting::Setting;
use crate::options::Options;
use fieldfit_nets::Network;
use std::collections::BTreeMap;

/// Every method, in the order in which help texts list them.
///
/// | name | what trains | what holds it back | paper |
/// |---|---|---|---|
/// | `linear-probe` | a new head | all else stays the base's | |
/// | `full` | everything, a new head from random values | nothing | |
/// | `lp-ft` | everything, a new head from the linear probe | nothing | Kumar et al., ICLR 2022, arXiv 2202.10054 |
/// | `bitfit` | biases, norm affine, the probe's head | kernels stay the base's | Ben Zaken et al., ACL 2022, arXiv 2106.10199 |
/// | `l2-sp` | as `lp-ft` | a penalty on ‖δ‖² | Li et al., ICML 2018, arXiv 1802.01483 |
/// | `mars-sp` | as `lp-ft` | a ball a tensor, its radius given | Gouk et al., ICLR 2021, arXiv 2002.08253 |
/// | `wise-ft` | as `lp-ft` | afterwards δ ← α·δ, α by the validation slice | Wortsman et al., CVPR 2022, arXiv 2109.01903 |
/// | `lines` | as `lp-ft` | afterwards δ ← ρ·δ, ρ from α in the first stage to 1 in the last, α by the validation slice | Wang et al., ICLR 2025, arXiv 2410.17146 |
/// | `lwf` | as `lp-ft` | the base's own answers to the training images count, too | Li and Hoiem, ECCV 2016, arXiv 1606.09282 |
/// | `spd` | as `lp-ft` | growth is taken back where the loss calls back | Tian et al., NeurIPS 2024, arXiv 2411.01713 |
/// | `maps` | as `lp-ft` | as `spd`, the less the deeper a stage is | Huang et al., CVPR 2026, arXiv 2511.19878 |
/// | `digrap` | as `lp-ft` | of steps straight away from the base, a learned share is taken back | Huang et al., ICLR 2025, arXiv 2502.15895 |
/// | `ftp` | as `lp-ft` | a ball a tensor, its radius by the training gradient | Tian et al., NeurIPS 2023, arXiv 2310.19182 |
/// | `tpgm` | as `lp-ft` | a ball a tensor, its radius by the validation slice, between steps | Tian et al., CVPR 2023, arXiv 2303.10720 |
/// | `tpgm-post-hoc` | as `lp-ft` | the same, after training | as `tpgm` |
/// | `tpgm-relative` | as `lp-ft` | a share of each stage's δ, by the validation slice and the base's own answers to it | after `tpgm` |
///
/// A new head has no origin in the base: no penalty, ball or decay concerns it, nor what
/// [`TpgmOptions::exclude`](crate::TpgmOptions::exclude) names. What `wise-ft` and `tpgm-relative` take back of it ends
/// at the probe.
pub const METHODS: &[MethodEntry] = &[
    linear_probe::ENTRY,
    full::ENTRY,
    lp_ft::ENTRY,
    bitfit::ENTRY,
    l2_sp::ENTRY,
    mars_sp::ENTRY,
    wise_ft::ENTRY,
    lines::ENTRY,
    lwf::ENTRY,
    spd::ENTRY,
    maps::ENTRY,
    digrap::ENTRY,
    ftp::ENTRY,
    tpgm::EVERY_STEP,
    tpgm::POST_HOC,
    tpgm_relative::ENTRY,
];

/// Builds the method of [`METHODS`] that the options name, for a network under the new head.
///
/// # Errors
/// If there is no such method, it has no such settings, or it cannot work with the options.
pub fn method(options: &Options, network: &Network) -> Result<Box<dyn Method>, AdaptError> {
    let entry = find(&options.method, &[])?;
    entry.check(options)?;
    (entry.build)(options, network)
}

/// Finds the entry of the method of that name in [`METHODS`] and among custom methods.
///
/// # Errors
/// If there is no such method; if the entry of a custom method is malformed, or has a name that another method has.
pub(crate) fn find<'m>(name: &str, custom: &'m [MethodEntry]) -> Result<&'m MethodEntry, AdaptError> {
    for (index, entry) in custom.iter().enumerate() {
        entry.validate()?;
        let same_name = |other: &MethodEntry| other.name == entry.name;
        let reason = match () {
            () if METHODS.iter().any(same_name) => "a built-in method has this name: choose another one",
            () if custom[..index].iter().any(same_name) => "two methods have this name: rename one",
            () => continue,
        };
        return Err(AdaptError::MethodEntry { name: entry.name.to_owned(), reason: reason.to_owned() });
    }
    let all = || METHODS.iter().chain(custom);
    all()
        .find(|entry| entry.name == name)
        .ok_or_else(|| AdaptError::Method { name: name.to_owned(), known: all().map(|entry| entry.name).collect() })
}

/// Value of each of the method's settings, given or default.
pub(crate) fn effective_settings(options: &Options, method: &MethodEntry) -> BTreeMap<String, f64> {
    let effective = |setting: &Setting| Some((setting.name.to_owned(), setting.given(options).or(setting.default)?));
    method.settings.iter().filter_map(effective).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Catches: two methods or settings of one name, of which only the first could ever be chosen; a default that would be refused
    /// if somebody gave it.
    #[test]
    fn names_are_unique_and_defaults_allowed() {
        let names: BTreeSet<_> = METHODS.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), METHODS.len());
        METHODS.iter().for_each(|entry| entry.validate().expect("a built-in entry"));
    }

    /// Catches: a custom method that takes the place of a built-in one, or of another custom one.
    #[test]
    fn a_name_that_is_taken_is_refused() {
        let own = |name| MethodEntry { name, ..lp_ft::ENTRY };
        let refused = |own: &[MethodEntry]| find("lp-ft", own).expect_err("a name that is taken").to_string();
        assert_eq!(
            refused(&[own("own"), own("ftp")]),
            "the entry of the method `ftp` is invalid: a built-in method has this name: choose another one"
        );
        assert!(refused(&[own("own"), own("own")]).contains("two methods have this name"));
        let (one, two) = (own("one"), own("two"));
        assert_eq!(find("two", &[one, two]).map(|entry| entry.name).ok(), Some("two"));
        assert!(find("three", &[one]).is_err_and(|error| error.to_string().ends_with("tpgm-relative, one")));
    }
}
