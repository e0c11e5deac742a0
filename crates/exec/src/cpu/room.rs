//! A thread's room for what a kernel makes on its way: patches, normed tokens, scores.

use std::cell::RefCell;

thread_local! {
    static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends rooms of those sizes, whatever is in them: a part of the thread's memory, which it keeps from one call to the next.
/// Who has them can't lend others.
pub(super) fn with_room<const N: usize>(sizes: [usize; N], work: impl FnOnce([&mut [f32]; N])) {
    ROOM.with_borrow_mut(|room| {
        let missing = sizes.iter().sum::<usize>().saturating_sub(room.len());
        room.reserve_exact(missing);
        room.resize(room.len() + missing, 0.0);
        let mut rest = room.as_mut_slice();
        work(sizes.map(|size| rest.split_off_mut(..size).unwrap_or_default()));
    });
}
