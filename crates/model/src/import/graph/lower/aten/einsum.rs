//! Einstein sums.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;
use std::collections::VecDeque;

/// What is refused of an equation.
const FORM: &str = "an Einstein sum of that form";

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

/// Equation of an Einstein sum: the letters of each array's axes, and of the result's.
struct Equation {
    terms: Vec<Vec<char>>,
    result: Vec<char>,
}

impl Equation {
    /// Reads an equation for arrays of those ranks; `None` of another form. An ellipsis becomes letters that no term has.
    fn parse(text: &str, ranks: &[usize]) -> Option<Self> {
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (inputs, result) =
            text.split_once("->").map_or((text.as_str(), None), |(inputs, result)| (inputs, Some(result)));
        let inputs: Vec<&str> = inputs.split(',').collect();
        let widest =
            inputs.iter().zip(ranks).map(|(term, rank)| hidden_axes(term, *rank)).collect::<Option<Vec<_>>>()?;
        let hidden: Vec<char> = spare_letters(&text).take(widest.iter().copied().max()?).collect();
        let terms = inputs.iter().zip(&widest).map(|(term, count)| spelt(term, hidden.get(hidden.len() - count..)?));
        let terms: Vec<Vec<char>> = terms.collect::<Option<_>>()?;
        let result = match result {
            Some(result) => spelt(result, &hidden)?,
            None => implied(&terms, &hidden),
        };
        let is_distinct =
            |letters: &[char]| (1..letters.len()).all(|index| !letters[..index].contains(&letters[index]));
        let is_whole = inputs.len() == ranks.len() && terms.iter().zip(ranks).all(|(term, rank)| term.len() == *rank);
        (is_whole && terms.iter().chain([&result]).all(|letters| is_distinct(letters)))
            .then_some(Self { terms, result })
    }
}

/// Returns how many axes a term's ellipsis stands for, of an array of that rank; 0 without one.
fn hidden_axes(term: &str, rank: usize) -> Option<usize> {
    match term.contains("...") {
        true => rank.checked_sub(term.len() - 3),
        false => Some(0),
    }
}

/// Returns letters that an equation does not have.
fn spare_letters(text: &str) -> impl Iterator<Item = char> {
    ('a'..='z').chain('A'..='Z').filter(move |letter| !text.contains(*letter))
}

/// Returns a term's letters, those of its ellipsis included.
fn spelt(term: &str, hidden: &[char]) -> Option<Vec<char>> {
    let ellipsis: String = hidden.iter().collect();
    let letters: Vec<char> = term.replacen("...", &ellipsis, 1).chars().collect();
    letters.iter().all(char::is_ascii_alphabetic).then_some(letters)
}

/// Returns the result's letters of an equation without one: the ellipsis, and what is there once, in order.
fn implied(terms: &[Vec<char>], hidden: &[char]) -> Vec<char> {
    let count = |letter: &char| terms.iter().flatten().filter(|found| *found == letter).count();
    let mut once: Vec<char> =
        terms.iter().flatten().copied().filter(|letter| !hidden.contains(letter) && count(letter) == 1).collect();
    once.sort_unstable();
    [hidden.to_vec(), once].concat()
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers `einsum`.
    pub(super) fn einsum(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let (Some(RawArgument::Text(equation)), Some(RawArgument::Values(names))) =
            (call.argument("equation"), call.argument("tensors"))
        else {
            return refuse(FORM);
        };
        let operands = names.iter().flatten().map(|name| self.named(name)).collect::<Lowered<Vec<_>>>()?;
        self.einsum_of(equation.as_str(), operands)
    }

    /// Appends an Einstein sum: axes that the result does not have are summed, a matrix product joins two arrays at a time.
    pub fn einsum_of(&mut self, equation: &str, operands: Vec<Known>) -> Lowered<Traced> {
        let values = operands.into_iter().map(|operand| self.traced(operand)).collect::<Lowered<Vec<_>>>()?;
        let ranks: Vec<usize> = values.iter().map(Traced::rank).collect();
        let Some(Equation { terms, result }) = Equation::parse(equation, &ranks) else { return refuse(FORM) };
        let mut operands: VecDeque<Lettered> =
            values.into_iter().zip(terms).map(|(value, letters)| Lettered { value, letters }).collect();
        let Some(mut joined) = operands.pop_front() else { return refuse(FORM) };
        while let Some(operand) = operands.pop_front() {
            let later = operands.iter().flat_map(|operand| operand.letters.iter().copied());
            let needed: Vec<char> = result.iter().copied().chain(later).collect();
            joined = self.contracted(joined, operand, &needed)?;
        }
        let joined = self.summed(joined, &result)?;
        let order: Option<Vec<usize>> = result.iter().map(|letter| joined.axis(*letter)).collect();
        order.and_then(|order| joined.value.permute(&order)).map_or_else(|| refuse(FORM), Ok)
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
        let Some((lefts, rights)) = operands else { return refuse(FORM) };
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
            None => refuse(FORM),
        }
    }
}
