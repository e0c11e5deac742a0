//! Source layout: the shape and the order of axes that a tensor has in the file that it was imported from.

use serde::{Deserialize, Serialize};

/// Layout of a tensor in the file that it was imported from.
///
/// A turned tensor has its first two axes exchanged there: the kernel of a transposed convolution, `[in, out / groups, …]` in
/// the file and `[out, in / groups, …]` in the network, or a matrix of ONNX, `[in, out]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceLayout {
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Whether the first two axes are exchanged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turned: bool,
}

/// Sizes of a turned tensor: groups, a group's inputs, its outputs, and the values of a pair of them.
struct Turn {
    groups: usize,
    inputs: usize,
    outputs: usize,
    taps: usize,
}

impl SourceLayout {
    /// Returns whether a tensor of that shape in a network can have this layout: as many values, and axes that fit.
    pub fn fits(&self, shape: &[usize]) -> bool {
        let len = |shape: &[usize]| shape.iter().try_fold(1_usize, |len, side| len.checked_mul(*side));
        let same_length = len(&self.shape).is_some_and(|found| Some(found) == len(shape));
        same_length && (!self.turned || self.turn(shape).is_some())
    }

    /// Returns values in the file's order in that of a network whose tensor has `shape`; `None` if it does not
    /// [fit](SourceLayout::fits).
    pub fn to_network<T: Copy>(&self, values: Vec<T>, shape: &[usize]) -> Option<Vec<T>> {
        self.reorder(values, shape, |order, values| order.map(|(_, file)| values[file]).collect())
    }

    /// Returns values in the order of a network whose tensor has `shape` in that of the file; `None` if it does not
    /// [fit](SourceLayout::fits).
    pub fn to_file<T: Copy>(&self, values: Vec<T>, shape: &[usize]) -> Option<Vec<T>> {
        self.reorder(values, shape, |order, values| {
            let mut turned = values.to_vec();
            order.for_each(|(network, file)| turned[file] = values[network]);
            turned
        })
    }

    fn reorder<T: Copy>(
        &self,
        values: Vec<T>,
        shape: &[usize],
        turn: impl FnOnce(Box<dyn Iterator<Item = (usize, usize)>>, &[T]) -> Vec<T>,
    ) -> Option<Vec<T>> {
        if !self.fits(shape) || values.len() != shape.iter().product::<usize>() {
            return None;
        }
        if !self.turned {
            return Some(values);
        }
        Some(turn(Box::new(self.turn(shape)?.order()), &values))
    }

    fn turn(&self, shape: &[usize]) -> Option<Turn> {
        let (&[all_inputs, outputs, ref taps @ ..], &[all_outputs, inputs, ref own_taps @ ..]) =
            (&self.shape[..], shape)
        else {
            return None;
        };
        let groups = all_outputs.checked_div(outputs)?;
        let fits = groups.checked_mul(outputs) == Some(all_outputs) && groups.checked_mul(inputs) == Some(all_inputs);
        (fits && taps == own_taps).then(|| Turn { groups, inputs, outputs, taps: taps.iter().product() })
    }
}

impl Turn {
    /// Iterates over the positions of the values in the network, in its order, and in the file.
    fn order(self) -> impl Iterator<Item = (usize, usize)> {
        let Self { groups, inputs, outputs, taps } = self;
        (0..groups * outputs * inputs * taps).map(move |network| {
            let (pair, tap) = (network / taps, network % taps);
            let (output, input) = (pair / inputs, pair % inputs);
            let row = output / outputs * inputs + input;
            (network, (row * outputs + output % outputs) * taps + tap)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a grouped transposed convolution whose groups are mixed, or a matrix that comes back in another order.
    #[test]
    fn turned_tensors_go_there_and_back() {
        let matrix = SourceLayout { shape: vec![2, 3], turned: true };
        assert_eq!(matrix.to_network(vec![0, 1, 2, 3, 4, 5], &[3, 2]).unwrap(), [0, 3, 1, 4, 2, 5]);
        // Two groups of one input and two outputs: in the file [2, 2, 1], in the network [4, 1, 1].
        let grouped = SourceLayout { shape: vec![2, 2, 1], turned: true };
        assert_eq!(grouped.to_network(vec![0, 1, 2, 3], &[4, 1, 1]).unwrap(), [0, 1, 2, 3]);
        let grouped = SourceLayout { shape: vec![4, 2, 2], turned: true };
        let values: Vec<usize> = (0..16).collect();
        let network = grouped.to_network(values.clone(), &[4, 2, 2]).unwrap();
        assert_eq!(network, [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
        assert_eq!(grouped.to_file(network, &[4, 2, 2]).unwrap(), values);
    }

    /// Catches: a layout of another number of values or of other axes, which would read beyond the tensor.
    #[test]
    fn layouts_that_do_not_fit_are_refused() {
        let plain = SourceLayout { shape: vec![1, 4, 1, 1], turned: false };
        assert_eq!(plain.to_network(vec![1, 2, 3, 4], &[4]).unwrap(), [1, 2, 3, 4]);
        assert!(!plain.fits(&[5]));
        let turned = |shape: &[usize]| SourceLayout { shape: shape.to_vec(), turned: true };
        assert!(!turned(&[6]).fits(&[6]));
        assert!(!turned(&[2, 3]).fits(&[2, 3]));
        assert!(!turned(&[2, 0, 1]).fits(&[0, 2, 1]));
        assert!(!turned(&[usize::MAX, 2]).fits(&[2, usize::MAX]));
    }
}
