//! Array: values that a file computes from constants alone, evaluated in f64 while the file is imported.

/// The most values of an array.
const MAX_LEN: usize = 1 << 22;

/// Array of any rank, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    /// Creates an array; `None` if it has another number of values than its shape, or too many.
    pub fn new(shape: Vec<usize>, values: Vec<f64>) -> Option<Self> {
        (len_of(&shape)? == values.len()).then_some(Self { shape, values })
    }

    /// Creates an array without axes.
    pub fn scalar(value: f64) -> Self {
        Self { shape: Vec::new(), values: vec![value] }
    }

    /// Creates an array of equal values.
    pub fn filled(shape: Vec<usize>, value: f64) -> Option<Self> {
        let values = vec![value; len_of(&shape)?];
        Some(Self { shape, values })
    }

    /// Creates a list of numbers.
    pub fn list(values: Vec<f64>) -> Option<Self> {
        Self::new(vec![values.len()], values)
    }

    /// Returns the one value of an array of one.
    pub fn single(&self) -> Option<f64> {
        if let [value] = self.values[..] { Some(value) } else { None }
    }

    /// Returns an axis, which may be counted from the end.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.shape.len() as i64;
        usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|axis| *axis < self.shape.len())
    }

    /// Returns the array of a function of each value.
    pub fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|value| of(*value)).collect() }
    }

    /// Returns the array of a function of each pair of values; axes of length 1 are repeated.
    pub fn zip(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Option<Self> {
        let shape = joint(&self.shape, &other.shape)?;
        let (left, right) = (self.expand(&shape)?, other.expand(&shape)?);
        let values = left.values.iter().zip(&right.values).map(|(left, right)| of(*left, *right)).collect();
        Some(Self { shape, values })
    }

    /// Returns the array of another shape with the same values.
    pub fn reshape(&self, shape: Vec<usize>) -> Option<Self> {
        Self::new(shape, self.values.clone())
    }

    /// Returns the array whose axes of length 1, and axes ahead of them, are repeated.
    pub fn expand(&self, shape: &[usize]) -> Option<Self> {
        if self.shape == shape {
            return Some(self.clone());
        }
        let ahead = shape.len().checked_sub(self.shape.len())?;
        let len = len_of(shape)?;
        let own = steps(&self.shape);
        let mut strides = vec![0; ahead];
        for (axis, side) in self.shape.iter().enumerate() {
            match (*side, shape[ahead + axis]) {
                (side, wanted) if side == wanted => strides.push(own[axis]),
                (1, _) => strides.push(0),
                _ => return None,
            }
        }
        Some(self.strided(shape, &strides, len))
    }

    /// Returns the array with its axes in another order.
    pub fn permute(&self, order: &[usize]) -> Option<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.shape.len()) {
            return None;
        }
        let own = steps(&self.shape);
        let shape: Vec<usize> = order.iter().map(|axis| self.shape[*axis]).collect();
        let strides: Vec<usize> = order.iter().map(|axis| own[*axis]).collect();
        Some(self.strided(&shape, &strides, self.values.len()))
    }

    /// Returns the positions of an axis that a list names.
    pub fn take(&self, axis: usize, indices: &[usize]) -> Option<Self> {
        let side = *self.shape.get(axis)?;
        if indices.iter().any(|index| *index >= side) {
            return None;
        }
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        let len = len_of(&shape)?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let mut values = Vec::with_capacity(len);
        if len > 0 {
            for block in self.values.chunks_exact(side * inner) {
                indices.iter().for_each(|index| values.extend_from_slice(&block[index * inner..][..inner]));
            }
        }
        Some(Self { shape, values })
    }

    /// Returns the array with another one's values at the positions of an axis that a list names; `None` if it does not fit.
    pub fn put(&self, axis: usize, indices: &[usize], part: &Self) -> Option<Self> {
        let side = *self.shape.get(axis)?;
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        if part.shape != shape || indices.iter().any(|index| *index >= side) {
            return None;
        }
        let inner: usize = self.shape[axis + 1..].iter().product();
        let mut result = self.clone();
        if !part.values.is_empty() {
            let blocks = result.values.chunks_exact_mut(side * inner);
            for (block, from) in blocks.zip(part.values.chunks_exact(indices.len() * inner)) {
                for (index, from) in indices.iter().zip(from.chunks_exact(inner)) {
                    block[index * inner..][..inner].copy_from_slice(from);
                }
            }
        }
        Some(result)
    }

    /// Returns arrays one after the other along an axis.
    pub fn concat(parts: &[impl AsRef<Self>], axis: usize) -> Option<Self> {
        let first = parts.first()?.as_ref();
        let mut shape = first.shape.clone();
        *shape.get_mut(axis)? = 0;
        for part in parts {
            let part = part.as_ref();
            if part.shape.len() != shape.len() {
                return None;
            }
            let is_alike = |(index, side): (usize, &usize)| index == axis || *side == first.shape[index];
            if !part.shape.iter().enumerate().all(is_alike) {
                return None;
            }
            shape[axis] += part.shape[axis];
        }
        let len = len_of(&shape)?;
        let outer: usize = shape[..axis].iter().product();
        let mut values = Vec::with_capacity(len);
        for block in 0..outer {
            for part in parts {
                let run: usize = part.as_ref().shape[axis..].iter().product();
                values.extend_from_slice(&part.as_ref().values[block * run..][..run]);
            }
        }
        Some(Self { shape, values })
    }

    /// Returns the array with a value in those places of its last two axes.
    pub fn triangle(&self, is_set: impl Fn(usize, usize) -> bool, value: f64) -> Self {
        let [.., rows, columns] = self.shape[..] else { return self.clone() };
        let mut result = self.clone();
        for (index, cell) in result.values.iter_mut().enumerate() {
            if is_set(index / columns % rows, index % columns) {
                *cell = value;
            }
        }
        result
    }

    /// Returns the array of a function of all values along axes, which go or become 1 long; `None` if one is not there.
    pub fn reduce(&self, axes: &[usize], keeps: bool, of: impl Fn(&[f64]) -> f64) -> Option<Self> {
        let is_kept = |axis: &usize| !axes.contains(axis);
        let kept: Vec<usize> = (0..self.shape.len()).filter(is_kept).collect();
        let moved = self.permute(&[&kept, axes].concat())?;
        let count = axes.iter().map(|axis| self.shape[*axis]).product::<usize>();
        let side = |axis: usize| if is_kept(&axis) { Some(self.shape[axis]) } else { keeps.then_some(1) };
        let values = moved.values.chunks_exact(count.max(1)).map(of).collect();
        Self::new((0..self.shape.len()).filter_map(side).collect(), values)
    }

    /// Returns the sums of all values up to each position of an axis.
    pub fn cumulate(&self, axis: usize) -> Self {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let mut result = self.clone();
        for block in result.values.chunks_exact_mut((self.shape[axis] * inner).max(1)) {
            for index in inner..block.len() {
                block[index] += block[index - inner];
            }
        }
        result
    }

    /// Returns the array of that shape whose values are those at the strides' positions.
    fn strided(&self, shape: &[usize], strides: &[usize], len: usize) -> Self {
        let own = steps(shape);
        let at = |index: usize| {
            let place = |(axis, step): (usize, &usize)| index / step % shape[axis].max(1) * strides[axis];
            own.iter().enumerate().map(place).sum::<usize>()
        };
        Self { shape: shape.to_vec(), values: (0..len).map(|index| self.values[at(index)]).collect() }
    }
}

impl AsRef<Self> for Array {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Returns the number of values of a shape; `None` if there are too many.
fn len_of(shape: &[usize]) -> Option<usize> {
    let len = shape.iter().try_fold(1_usize, |len, side| len.checked_mul(*side))?;
    (len <= MAX_LEN).then_some(len)
}

/// Returns the values from one position of each axis to the next; at least 1.
fn steps(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>().max(1)).collect()
}

/// Returns the shape to which two are repeated.
pub(super) fn joint(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    let sides = (0..rank).map(|axis| match (at(left, axis), at(right, axis)) {
        (left, right) if left == right || right == 1 => Some(left),
        (1, right) => Some(right),
        _ => None,
    });
    sides.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Array {
        let len = shape.iter().product::<usize>();
        Array::new(shape.to_vec(), (0..len).map(|value| value as f64).collect()).unwrap()
    }

    /// Catches: an axis that is taken for another one where a constant is permuted, repeated, cut or joined.
    #[test]
    fn axes_are_those_of_numpy() {
        let array = counted(&[2, 3]);
        assert_eq!(array.permute(&[1, 0]).unwrap().values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(array.take(1, &[2, 0]).unwrap().values, [2.0, 0.0, 5.0, 3.0]);
        let put = |axis, indices: &[usize], part: &[usize]| array.put(axis, indices, &counted(part)).unwrap().values;
        assert_eq!(put(1, &[2, 0], &[2, 2]), [1.0, 1.0, 0.0, 3.0, 4.0, 2.0]);
        assert_eq!(put(0, &[1], &[1, 3]), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        assert_eq!(array.cumulate(0).values, [0.0, 1.0, 2.0, 3.0, 5.0, 7.0]);
        assert_eq!(array.cumulate(1).values, [0.0, 1.0, 3.0, 3.0, 7.0, 12.0]);
        let sums = |axes: &[usize], keeps| array.reduce(axes, keeps, |values| values.iter().sum()).unwrap();
        assert_eq!((sums(&[0], true).shape, sums(&[0], true).values), (vec![1, 3], vec![3.0, 5.0, 7.0]));
        assert_eq!((sums(&[1], false).shape, sums(&[1], false).values), (vec![2], vec![3.0, 12.0]));
        assert_eq!(sums(&[1, 0], false).values, [15.0]);
        assert_eq!(array.triangle(|row, column| column > row, 9.0).values, [0.0, 9.0, 9.0, 3.0, 4.0, 9.0]);
        let row = Array::list(vec![1.0, 2.0, 3.0]).unwrap();
        assert_eq!(row.expand(&[2, 3]).unwrap().values, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        let column = row.reshape(vec![3, 1]).unwrap();
        assert_eq!(column.zip(&row, |a, b| 10.0 * a + b).unwrap().values[..4], [11.0, 12.0, 13.0, 21.0]);
        let joined = Array::concat(&[array.clone(), counted(&[2, 1])], 1).unwrap();
        assert_eq!((joined.shape, joined.values), (vec![2, 4], vec![0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 1.0]));
    }

    /// Catches: memory that a small file asks for, and shapes that do not fit.
    #[test]
    fn what_does_not_fit_is_none() {
        assert!(Array::filled(vec![1 << 12, 1 << 12], 0.0).is_none());
        assert!(Array::filled(vec![usize::MAX, 2], 0.0).is_none());
        let array = counted(&[2, 3]);
        assert!(array.zip(&counted(&[2]), |a, _| a).is_none());
        assert!(array.take(1, &[3]).is_none());
        assert!(array.put(1, &[3], &counted(&[2, 1])).is_none() && array.put(1, &[0], &counted(&[2, 2])).is_none());
        assert!(array.permute(&[0, 0]).is_none());
        assert!(array.reshape(vec![5]).is_none());
        assert!(Array::concat(&[array, counted(&[3, 2])], 0).is_none());
    }
}
