//! Tests of tensor views: a base's tensors, read in place through the memory map.

mod support;

use std::fs;
use support::Model;

/// Catches: values read where the header ends at an odd byte: a cast of the map's bytes would fail, or read the neighbour's.
#[test]
fn unaligned_tensors_are_the_same_tensors() {
    let model = Model::new();
    let expected = model.open().unwrap().params::<f32>();
    let whole = fs::read(model.weights()).unwrap();
    let header = u64::from_le_bytes(*whole.first_chunk().unwrap());
    for padding in 1..4 {
        let (head, values) = whole[8..].split_at(header as usize);
        let spaces = vec![b' '; padding];
        let length = (header + padding as u64).to_le_bytes();
        model.seal_weights(&[length.as_slice(), head, &spaces, values].concat());
        assert_eq!(model.open().unwrap().params::<f32>(), expected, "{padding} bytes further");
        model.seal_weights(&whole);
    }
}
