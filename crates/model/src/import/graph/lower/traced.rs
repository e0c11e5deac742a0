//! Traced value: a value of the network, and how the axes of the file's array lie in its memory.
//!
//! A file computes on arrays of any rank, `[N, C, H, W]` or `[N, heads, tokens, width]`; a network on `[rows, columns,
//! channels]` of one image. A traced value keeps the array's axes as lists of *factors*: pieces of the value's memory, outermost
//! first. Permuting, splitting and merging axes change these lists alone. Only an op that needs another order in memory has
//! the value rearranged.

use fieldfit_nets::{Shape, ValueId};

/// Factor of an axis: a position in [`Traced::sides`], or the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Factor {
    /// The images of a batch.
    Batch,
    /// A piece of one image's value.
    Piece(usize),
}

/// Size that an axis is given by a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// A number.
    Fixed(usize),
    /// A multiple of the batch.
    Batch(usize),
    /// What is left.
    Rest,
}

/// What an axis of a view knows of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchOf {
    /// It is not among its factors.
    None,
    /// It must be.
    Needed,
    /// It may be, uncounted.
    Open,
    /// It may be, and is counted as that many images.
    Stated(usize),
}

/// Value of the network, and the axes of the file's array in it.
#[derive(Debug, Clone)]
pub(super) struct Traced {
    pub value: ValueId,
    /// Shape of the value in the network.
    pub shape: Shape,
    /// Sizes of the pieces, in the order of memory; their product is the shape's.
    pub sides: Vec<usize>,
    /// Of each axis of the array, its factors, outermost first; none of an axis of length 1.
    pub axes: Vec<Vec<Factor>>,
}

impl Traced {
    /// Creates the value of an image, `[N, C, H, W]` in the file.
    pub fn image(value: ValueId, shape: Shape) -> Self {
        let piece = |index| vec![Factor::Piece(index)];
        let axes = vec![vec![Factor::Batch], piece(2), piece(0), piece(1)];
        Self { value, shape, sides: shape.sides().to_vec(), axes }
    }

    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.axes.len()
    }

    /// Returns an axis, which may be counted from the end.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.rank() as i64;
        usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|axis| *axis < self.rank())
    }

    /// Returns the size of a factor; 1 for the batch.
    pub fn size_of(&self, factor: Factor) -> usize {
        match factor {
            Factor::Batch => 1,
            Factor::Piece(piece) => self.sides[piece],
        }
    }

    /// Returns the length of an axis of one image.
    pub fn length(&self, axis: usize) -> usize {
        self.axes[axis].iter().map(|factor| self.size_of(*factor)).product()
    }

    /// Whether two values have their images along the same axis; a value without images fits any.
    pub fn is_aligned_with(&self, other: &Self) -> bool {
        let images = |value: &Self| value.axes.iter().position(|axis| axis.contains(&Factor::Batch));
        images(self).zip(images(other)).is_none_or(|(own, other)| own == other)
    }

    /// Whether an axis is the batch, alone.
    pub fn is_batch(&self, axis: usize) -> bool {
        self.axes[axis] == [Factor::Batch]
    }

    /// Returns the pieces of an axis; `None` if the batch is among its factors.
    pub fn pieces(&self, axis: usize) -> Option<Vec<usize>> {
        let piece = |factor: &Factor| match factor {
            Factor::Batch => None,
            Factor::Piece(piece) => Some(*piece),
        };
        self.axes[axis].iter().map(piece).collect()
    }

    /// Returns the sizes of all axes.
    pub fn sizes(&self) -> Vec<Size> {
        let size = |axis: usize| match self.axes[axis].contains(&Factor::Batch) {
            true => Size::Batch(self.length(axis)),
            false => Size::Fixed(self.length(axis)),
        };
        (0..self.rank()).map(size).collect()
    }

    /// Returns the lengths of all axes of one image.
    pub fn lengths(&self) -> Vec<usize> {
        (0..self.rank()).map(|axis| self.length(axis)).collect()
    }

    /// Whether the batch is among the axes; it is not of a tensor, whose values every image has.
    pub fn has_batch(&self) -> bool {
        self.axes.iter().any(|axis| axis.contains(&Factor::Batch))
    }

    /// Takes the batch from another value, whose axes are as many, where this one has the same values for each image.
    pub fn adopt_batch(&mut self, other: &Self) {
        if self.has_batch() {
            return;
        }
        for (own, other) in self.axes.iter_mut().zip(&other.axes) {
            if other.first() == Some(&Factor::Batch) {
                own.insert(0, Factor::Batch);
            }
        }
    }

    /// Gives an axis without factors a piece of one position, the outermost in memory.
    pub fn insert_unit(&mut self, axis: usize) {
        for factor in self.axes.iter_mut().flatten() {
            if let Factor::Piece(piece) = factor {
                *piece += 1;
            }
        }
        self.sides.insert(0, 1);
        self.axes[axis].push(Factor::Piece(0));
    }

    /// Returns the value of an op that replaced the positions of an axis, whose pieces are neighbours in memory, by `length`
    /// others: the axis becomes one piece.
    pub fn with_axis(&self, axis: usize, length: usize, (value, shape): (ValueId, Shape)) -> Self {
        let own = self.pieces(axis).unwrap_or_default();
        let position = own.iter().copied().min().unwrap_or(0);
        let place = |piece: usize| {
            let gone = own.iter().filter(|gone| **gone < piece).count();
            piece - gone + usize::from(gone > 0)
        };
        let mut sides: Vec<usize> = Vec::with_capacity(self.sides.len());
        for (piece, side) in self.sides.iter().enumerate() {
            if piece == position {
                sides.push(length);
            } else if !own.contains(&piece) {
                sides.push(*side);
            }
        }
        let moved = |factor: &Factor| match factor {
            Factor::Batch => Factor::Batch,
            Factor::Piece(piece) => Factor::Piece(place(*piece)),
        };
        let axes = self.axes.iter().enumerate().map(|(index, factors)| match index == axis {
            true => vec![Factor::Piece(position)],
            false => factors.iter().map(moved).collect(),
        });
        Self { value, shape, sides, axes: axes.collect() }
    }

    /// Splits a piece in two, the outer of `outer` positions.
    fn split(&mut self, piece: usize, outer: usize) {
        let inner = self.sides[piece] / outer;
        self.sides[piece] = outer;
        self.sides.insert(piece + 1, inner);
        for axis in &mut self.axes {
            let mut factors = Vec::with_capacity(axis.len() + 1);
            for factor in axis.drain(..) {
                match factor {
                    Factor::Piece(found) if found == piece => {
                        factors.extend([Factor::Piece(piece), Factor::Piece(piece + 1)]);
                    }
                    Factor::Piece(found) if found > piece => factors.push(Factor::Piece(found + 1)),
                    other => factors.push(other),
                }
            }
            *axis = factors;
        }
    }

    /// Changes the axes to those sizes, row by row, as a view does. `batch` is the number of images that the file was exported
    /// for, where its sizes state it.
    pub fn view(mut self, sizes: &[Size], batch: Option<usize>) -> Option<Self> {
        let has_batch = sizes.iter().any(|size| matches!(size, Size::Batch(_)));
        if batch == Some(1) && !has_batch && self.has_batch() {
            return self.view_of_one_image(sizes);
        }
        let images = batch.filter(|_| !has_batch).unwrap_or(1);
        let total = self.sides.iter().product::<usize>().checked_mul(images)?;
        let known = |size: &Size| if let Size::Fixed(side) | Size::Batch(side) = size { *side } else { 1 };
        let known = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(known(size)))?;
        let rest = total.checked_div(known)?;
        let mut axes = Vec::with_capacity(sizes.len());
        let mut next = 0;
        for size in sizes {
            let first = next;
            match size {
                Size::Batch(times) => self.take(&mut next, *times, BatchOf::Needed)?,
                Size::Rest if has_batch => self.take(&mut next, rest, BatchOf::None)?,
                Size::Rest if batch.is_none() => self.take(&mut next, rest, BatchOf::Open)?,
                Size::Rest => self.take(&mut next, rest, BatchOf::Stated(images))?,
                Size::Fixed(side) => self.take(&mut next, *side, batch.map_or(BatchOf::None, BatchOf::Stated))?,
            }
            axes.push(first..next);
        }
        let flat = self.flat();
        // What is left has one position each, and belongs to the last axis.
        if flat[next..].iter().any(|factor| *factor == Factor::Batch || self.size_of(*factor) != 1) {
            return None;
        }
        if let Some(last) = axes.last_mut() {
            last.end = flat.len();
        }
        self.axes = axes.into_iter().map(|range| flat[range].to_vec()).collect();
        Some(self)
    }

    /// Returns the factors of all axes, in order.
    fn flat(&self) -> Vec<Factor> {
        self.axes.iter().flatten().copied().collect()
    }

    /// Takes factors from the position `next` on for an axis of that many positions; a piece is split where it must be.
    fn take(&mut self, next: &mut usize, mut left: usize, batch: BatchOf) -> Option<()> {
        let mut needs_batch = batch == BatchOf::Needed;
        loop {
            let factor = self.flat().get(*next).copied();
            match (factor, batch) {
                (Some(Factor::Batch), BatchOf::Needed) if needs_batch => needs_batch = false,
                (Some(Factor::Batch), BatchOf::Open) => {}
                (Some(Factor::Batch), BatchOf::Stated(images)) if left > 1 && left.is_multiple_of(images) => {
                    left /= images;
                }
                _ if left <= 1 && !needs_batch => return Some(()),
                (None | Some(Factor::Batch), _) => return None,
                (Some(Factor::Piece(piece)), _) => {
                    let side = self.sides[piece];
                    if left.is_multiple_of(side) {
                        left /= side;
                    } else if left > 1 && side.is_multiple_of(left) {
                        self.split(piece, left);
                        left = 1;
                    } else {
                        return None;
                    }
                }
            }
            *next += 1;
        }
    }

    /// Changes the axes to those sizes where the file was exported for one image: its batch, of length 1, may be anywhere. It
    /// becomes an axis of length 1 at its place or ahead of all; else it joins a neighbour that is not the last axis.
    fn view_of_one_image(mut self, sizes: &[Size]) -> Option<Self> {
        let place = self.flat().iter().position(|factor| *factor == Factor::Batch)?;
        let before: usize = self.flat()[..place].iter().map(|factor| self.size_of(*factor)).product();
        self.axes.iter_mut().for_each(|axis| axis.retain(|factor| *factor != Factor::Batch));
        let mut viewed = self.view(sizes, None)?;
        let lengths = viewed.lengths();
        let ahead = |axis: &usize| lengths[..*axis].iter().product::<usize>();
        let mut starts = (0..lengths.len()).filter(|axis| ahead(axis) == before);
        let own = starts.clone().find(|axis| lengths[*axis] == 1);
        let own = own.or_else(|| (lengths.first() == Some(&1)).then_some(0));
        match (own, starts.next()) {
            (Some(axis), _) => viewed.axes[axis].insert(0, Factor::Batch),
            (None, Some(axis)) if axis > 0 && axis + 1 == lengths.len() => viewed.axes[axis - 1].push(Factor::Batch),
            (None, Some(axis)) => viewed.axes[axis].insert(0, Factor::Batch),
            (None, None) => viewed.axes.first_mut()?.insert(0, Factor::Batch),
        }
        Some(viewed)
    }

    /// Makes one piece of pieces that follow each other in memory and on an axis.
    pub fn coalesce(&mut self) {
        let mut piece = 0;
        while piece + 1 < self.sides.len() {
            let follows = |axis: &Vec<Factor>| {
                axis.windows(2).any(|pair| pair == [Factor::Piece(piece), Factor::Piece(piece + 1)])
            };
            if !self.axes.iter().any(follows) {
                piece += 1;
                continue;
            }
            self.sides[piece] *= self.sides.remove(piece + 1);
            for axis in &mut self.axes {
                axis.retain(|factor| *factor != Factor::Piece(piece + 1));
                for factor in axis {
                    if let Factor::Piece(other) = factor
                        && *other > piece
                    {
                        *other -= 1;
                    }
                }
            }
        }
    }

    /// Permutes the axes.
    pub fn permute(mut self, order: &[usize]) -> Option<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.rank()) {
            return None;
        }
        self.axes = order.iter().map(|axis| self.axes[*axis].clone()).collect();
        Some(self)
    }

    /// Splits pieces of two values until each pair of axes has factors of the same sizes, or none in one of them.
    pub fn refine(&mut self, other: &mut Self) -> Option<()> {
        (0..self.rank()).try_for_each(|axis| {
            let is_one = self.length(axis) == 1 && !self.axes[axis].contains(&Factor::Batch);
            let other_is_one = other.length(axis) == 1 && !other.axes[axis].contains(&Factor::Batch);
            if is_one || other_is_one { Some(()) } else { self.refine_axis(other, axis) }
        })
    }

    /// Splits pieces of one axis of two values until it has factors of the same sizes.
    pub fn refine_axis(&mut self, other: &mut Self, axis: usize) -> Option<()> {
        self.drop_units(axis);
        other.drop_units(axis);
        // A tensor has no batch: every image has its values.
        let is_batch = |value: &Self| value.axes[axis].first() == Some(&Factor::Batch);
        let (mut ours, mut theirs) =
            (usize::from(is_batch(self) && !is_batch(other)), usize::from(is_batch(other) && !is_batch(self)));
        while ours < self.axes[axis].len() || theirs < other.axes[axis].len() {
            match (*self.axes[axis].get(ours)?, *other.axes[axis].get(theirs)?) {
                (Factor::Batch, Factor::Batch) => {}
                (Factor::Piece(left), Factor::Piece(right)) => {
                    let (a, b) = (self.sides[left], other.sides[right]);
                    if a > b && a.is_multiple_of(b) {
                        self.split(left, b);
                    } else if b > a && b.is_multiple_of(a) {
                        other.split(right, a);
                    } else if a != b {
                        return None;
                    }
                }
                (Factor::Batch, Factor::Piece(_)) | (Factor::Piece(_), Factor::Batch) => return None,
            }
            (ours, theirs) = (ours + 1, theirs + 1);
        }
        Some(())
    }

    /// Takes pieces of one position out of an axis; they stay in memory.
    pub fn drop_units(&mut self, axis: usize) {
        let sides = &self.sides;
        self.axes[axis].retain(|factor| {
            matches!(factor, Factor::Batch) || matches!(factor, Factor::Piece(piece) if sides[*piece] != 1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Traced {
        Traced::image(ValueId::IMAGE, Shape { height: 4, width: 6, channels: 8 })
    }

    /// Catches: factors that are lost or exchanged by views and permutations: a channel shuffle, tokens and back, windows.
    #[test]
    fn views_and_permutations_move_factors_alone() {
        let sizes = |sizes: &[usize]| {
            [Size::Batch(1)].into_iter().chain(sizes.iter().map(|size| Size::Fixed(*size))).collect::<Vec<_>>()
        };
        let shuffled = image().view(&sizes(&[2, 4, 4, 6]), None).unwrap().permute(&[0, 2, 1, 3, 4]).unwrap();
        let shuffled = shuffled.view(&sizes(&[8, 4, 6]), None).unwrap();
        assert_eq!(shuffled.sides, [4, 6, 2, 4]);
        assert_eq!(shuffled.axes[1], [Factor::Piece(3), Factor::Piece(2)]);

        let tokens = image().view(&sizes(&[8, 24]), None).unwrap().permute(&[0, 2, 1]).unwrap();
        assert_eq!((tokens.length(1), tokens.length(2)), (24, 8));
        let back = tokens
            .permute(&[0, 2, 1])
            .unwrap()
            .view(&[Size::Rest, Size::Fixed(8), Size::Fixed(4), Size::Fixed(6)], None);
        assert_eq!(back.unwrap().axes, image().axes);

        let rows = image().permute(&[0, 2, 3, 1]).unwrap().view(&sizes(&[2, 2, 3, 2, 8]), None).unwrap();
        let windows = rows
            .permute(&[0, 1, 3, 2, 4, 5])
            .unwrap()
            .view(&[Size::Rest, Size::Fixed(4), Size::Fixed(8)], None)
            .unwrap();
        assert_eq!(windows.axes[0].len(), 3);
        assert_eq!((windows.length(0), windows.length(1)), (6, 4));
    }

    /// Catches: windows whose pieces no longer divide an axis that is split in another way.
    #[test]
    fn neighbours_become_one_piece() {
        let fixed = |sizes: &[usize]| {
            [Size::Batch(1)].into_iter().chain(sizes.iter().map(|size| Size::Fixed(*size))).collect::<Vec<_>>()
        };
        let windows = image().view(&fixed(&[8, 4, 3, 2]), None).unwrap();
        let mut back = windows.view(&fixed(&[8, 4, 6]), None).unwrap();
        assert!(back.clone().view(&fixed(&[8, 4, 2, 3]), None).is_none());
        back.coalesce();
        assert_eq!(back.sides, [4, 6, 8]);
        let split = back.view(&fixed(&[8, 4, 2, 3]), None).unwrap();
        assert_eq!((split.sides, split.axes[1].clone()), (vec![4, 2, 3, 8], vec![Factor::Piece(3)]));
    }

    /// Catches: a batch behind other factors, as `nn.MultiheadAttention` has it: tokens ahead of images ahead of heads.
    #[test]
    fn a_batch_may_be_within_an_axis() {
        let tokens = image().view(&[Size::Batch(1), Size::Fixed(8), Size::Fixed(24)], None).unwrap();
        let tokens = tokens.permute(&[2, 0, 1]).unwrap();
        for (images, size) in [(None, Size::Batch(24)), (Some(1), Size::Fixed(24)), (Some(3), Size::Fixed(72))] {
            let merged = tokens.clone().view(&[size, Size::Fixed(8)], images).unwrap();
            assert_eq!((merged.axes[0].last(), merged.length(1)), (Some(&Factor::Batch), 8), "{images:?}");
            let rest = tokens.clone().view(&[Size::Rest, Size::Fixed(8)], images).unwrap();
            assert_eq!(rest.axes, merged.axes, "{images:?}");
        }
        let heads = tokens.clone().view(&[Size::Fixed(24), Size::Fixed(4), Size::Fixed(2)], Some(1)).unwrap();
        assert_eq!(heads.axes[1][0], Factor::Batch);
        let swapped = heads.permute(&[1, 0, 2]).unwrap();
        let split = swapped.view(&[1, 4, 24, 2].map(Size::Fixed), Some(1)).unwrap();
        assert!(split.is_batch(0) && split.length(2) == 24);
    }

    /// Catches: a batch that is taken for something else where a file states its number.
    #[test]
    fn a_stated_batch_is_found() {
        let fixed = |sizes: &[usize]| sizes.iter().map(|size| Size::Fixed(*size)).collect::<Vec<_>>();
        let tokens = image().view(&fixed(&[2, 8, 24]), Some(2)).unwrap();
        assert!(tokens.is_batch(0) && tokens.length(2) == 24);
        let merged = tokens.view(&fixed(&[16, 24]), Some(2)).unwrap();
        assert_eq!(merged.axes[0], [Factor::Batch, Factor::Piece(2)]);
        assert!(image().view(&fixed(&[2, 7, 24]), Some(2)).is_none());
    }
}
