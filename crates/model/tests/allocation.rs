//! Tests of memory: neither opening a base nor merging into it allocates anything of its size.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

use fieldfit_model::import::{ImportRequest, import};
use fieldfit_model::{Base, LABELS_FILE};
use fieldfit_tensor::Dtype;
use fieldfit_tests::allocation::CountingAllocator;
use std::path::Path;
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Bytes allocated by the way, freed or not.
fn allocated_by<T>(action: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATOR.bytes();
    let result = action();
    (ALLOCATOR.bytes() - before, result)
}

/// Catches: a copy of the weights, or of one tensor, on the heap. One test, so that no other allocates beside it.
#[test]
fn opening_and_merging_allocate_nothing_of_the_bases_size() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/efficientnet-lite0");
    let (opening, base) = allocated_by(|| Base::open(&folder).unwrap());
    let (weights, network) = (base.manifest().weights.bytes as usize, base.network());
    let head = base.tensor(network.head.weight);
    let largest_tensor = head.floats().unwrap().1.len();
    assert!(opening < largest_tensor, "opening {weights} bytes of weights allocated {opening}");

    let (opening_wide, wide) = allocated_by({
        let folder = widened(&base);
        move || Base::open(&folder.path().join("wide")).unwrap()
    });
    let growth = wide.manifest().weights.bytes as usize - weights;
    assert!(opening_wide.abs_diff(opening) < growth / 1000, "{growth} bytes more: {opening_wide} instead of {opening}");

    let (copying, copy) = allocated_by(|| Base::open_copied(&folder).unwrap());
    assert!(copying > weights, "a copy of {weights} bytes counted as {copying}: the counter is blind");
    drop(copy);

    let largest = network.tensors().map(|(_, spec)| spec.len()).max().unwrap();
    let (delta, mut out) = (vec![1e-3_f32; largest], vec![0.0_f32; largest]);
    let (merging, ()) = allocated_by(|| {
        for (id, spec) in network.tensors() {
            base.tensor(id).merge_into(&delta[..spec.len()], &[0.5], &mut out[..spec.len()]);
        }
    });
    assert_eq!(merging, 0);
}

/// The same base with kernels of twice the size, in the folder `wide`.
fn widened(base: &Base) -> TempDir {
    let folder = TempDir::new().unwrap();
    let (weights, labels) = (base.path().join(&base.manifest().weights.file), base.path().join(LABELS_FILE));
    let out = folder.path().join("wide");
    let request = ImportRequest::new(&weights, &out).of(&base.manifest().architecture, &labels);
    import(&request.with_dtype(Dtype::F32)).unwrap();
    folder
}
