//! Einstein sums of one or two arrays.

use super::call::Call;
use super::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;

/// Array whose axes have letters.
struct Lettered {
    value: Traced,
    letters: Vec<char>,
}

impl Lettered {
    /// Returns the axis of a letter.
    fn axis(&self, letter: char) -> Option<usize> {
        self.letters.iter().position(|found| *found == letter)
    }

    /// Returns the value with one axis for each group of letters.
    fn grouped(&self, groups: [&[char]; 3]) -> Option<Traced> {
        let factors = |letter: &char| self.axis(*letter).map(|axis| self.value.axes[axis].clone());
        let axis = |group: &[char]| group.iter().map(factors).collect::<Option<Vec<_>>>().map(|axes| axes.concat());
        let axes = groups.into_iter().map(axis).collect::<Option<Vec<_>>>()?;
        Some(Traced { axes, ..self.value.clone() })
    }
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers `einsum` without ellipses: axes that the result does not have are summed, a matrix product joins two arrays.
    pub(super) fn einsum(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let unsupported = || refuse("an Einstein sum of that form");
        let (Some(RawArgument::Text(equation)), Some(RawArgument::Values(names))) =
            (call.argument("equation"), call.argument("tensors"))
        else {
            return unsupported();
        };
        let equation: String = equation.as_str().chars().filter(|letter| !letter.is_whitespace()).collect();
        let Some((inputs, result)) = equation.split_once("->") else { return unsupported() };
        let result: Vec<char> = result.chars().collect();
        let mut operands = Vec::new();
        for (letters, name) in inputs.split(',').zip(names.iter().flatten()) {
            let known = self.named(name)?;
            let (value, letters) = (self.traced(known)?, letters.chars().collect::<Vec<_>>());
            let is_distinct = (1..letters.len()).all(|index| !letters[..index].contains(&letters[index]));
            let are_letters = letters.iter().chain(&result).all(char::is_ascii_alphabetic);
            if letters.len() != value.rank() || !is_distinct || !are_letters {
                return unsupported();
            }
            operands.push(Lettered { value, letters });
        }
        let joined = match (operands.len() == names.len(), operands.pop(), operands.pop(), operands.pop()) {
            (true, Some(only), None, None) => self.summed(only, &result)?,
            (true, Some(right), Some(left), None) => self.contracted(left, right, &result)?,
            _ => return unsupported(),
        };
        let order: Option<Vec<usize>> = result.iter().map(|letter| joined.axis(*letter)).collect();
        order.and_then(|order| joined.value.permute(&order)).map_or_else(unsupported, Ok)
    }

    /// Sums an array over the axes whose letters are not in a list.
    fn summed(&mut self, operand: Lettered, kept: &[char]) -> Lowered<Lettered> {
        let axes: Vec<usize> =
            (0..operand.letters.len()).filter(|axis| !kept.contains(&operand.letters[*axis])).collect();
        if axes.is_empty() {
            return Ok(operand);
        }
        let value = self.sum_over(&operand.value, &axes, false)?;
        let letters = operand.letters.into_iter().filter(|letter| kept.contains(letter)).collect();
        Ok(Lettered { value, letters })
    }

    /// Appends the product of two arrays, summed over what the result does not have.
    fn contracted(&mut self, left: Lettered, right: Lettered, result: &[char]) -> Lowered<Lettered> {
        let needed = |other: &Lettered| [result, &other.letters].concat();
        let (of_left, of_right) = (needed(&right), needed(&left));
        let (left, right) = (self.summed(left, &of_left)?, self.summed(right, &of_right)?);
        let both = |letter: &&char| right.letters.contains(letter);
        let [outer, inner] = [true, false].map(|stays| -> Vec<char> {
            left.letters.iter().filter(both).filter(|letter| result.contains(letter) == stays).copied().collect()
        });
        let rows: Vec<char> = left.letters.iter().filter(|letter| !right.letters.contains(letter)).copied().collect();
        let columns: Vec<char> =
            right.letters.iter().filter(|letter| !left.letters.contains(letter)).copied().collect();
        let operands = left.grouped([&outer, &rows, &inner]).zip(right.grouped([&outer, &columns, &inner]));
        let Some((lefts, rights)) = operands else { return refuse("an Einstein sum of that form") };
        let product = self.product(&lefts, &rights, true, 1.0)?;
        let letters = [outer, rows, columns].concat();
        let sizes: Vec<_> = letters
            .iter()
            .filter_map(|letter| {
                let (side, axis) = match left.axis(*letter) {
                    Some(axis) => (&left, axis),
                    None => (&right, right.axis(*letter)?),
                };
                Some(side.value.sizes()[axis])
            })
            .collect();
        match self.view(product, &sizes)? {
            Some(value) => Ok(Lettered { value, letters }),
            None => refuse("an Einstein sum of that form"),
        }
    }
}
