//! Tests of the structures' layout.

use crate::adapted::fieldfit_adapted;
use crate::frame::fieldfit_frame;
use crate::options::fieldfit_options;
use crate::prediction::{fieldfit_prediction, fieldfit_ranked};
use crate::sized::SizedStruct;
use std::mem::offset_of;

/// Catches: a member that was moved, removed or put between others, with which released programs read something else.
#[test]
#[cfg(target_pointer_width = "64")]
fn released_members_stay_where_they_are() {
    assert_eq!(fieldfit_options::LEAST, 88);
    assert_eq!(offset_of!(fieldfit_options, model), 8);
    assert_eq!(offset_of!(fieldfit_options, device), 40);
    assert_eq!(offset_of!(fieldfit_options, flags), 48);
    assert_eq!(offset_of!(fieldfit_options, keep_bytes), 64);
    assert_eq!(offset_of!(fieldfit_options, trial_starts), 84);
    assert_eq!(fieldfit_frame::LEAST, 80);
    assert_eq!(offset_of!(fieldfit_frame, format), 4);
    assert_eq!(offset_of!(fieldfit_frame, width), 24);
    assert_eq!(offset_of!(fieldfit_frame, chroma), 40);
    assert_eq!(offset_of!(fieldfit_frame, crop), 64);
    assert_eq!((size_of::<fieldfit_ranked>(), offset_of!(fieldfit_ranked, probability)), (16, 12));
    assert_eq!(fieldfit_prediction::LEAST, 552);
    assert_eq!(offset_of!(fieldfit_prediction, version), 8);
    assert_eq!(offset_of!(fieldfit_prediction, top), 16);
    assert_eq!(offset_of!(fieldfit_prediction, base_count), 272);
    assert_eq!(offset_of!(fieldfit_prediction, base), 296);
    assert_eq!(fieldfit_adapted::LEAST, 56);
    assert_eq!(offset_of!(fieldfit_adapted, gate_before), 16);
    assert_eq!(offset_of!(fieldfit_adapted, peak_bytes), 48);
}
