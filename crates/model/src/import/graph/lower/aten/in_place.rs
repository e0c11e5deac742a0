//! In-place ops: writes a change to the array that a view shares, and refuses one that another name shares and reads later.

use super::call::Call;
use super::{Known, Lowered, Lowering, Problem, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawNode};
use std::collections::HashSet;

/// Name that shares memory with another one: that one, and the call of which it is a result.
#[derive(Debug, Clone)]
pub(in super::super) struct SharedView<'r, 'a> {
    source: Name<'a>,
    /// The array that is no view, at the end of the sources.
    root: Name<'a>,
    node: &'r RawNode<'a>,
    /// Position among the call's results.
    output: usize,
}

/// Arrays that a change in place of another one changes.
pub(super) struct Sharers<'a> {
    /// Arrays that the changed one is a view of, from it to the last that is read.
    ancestors: Vec<Name<'a>>,
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Returns the name of the array that a name stands for: the result of an op in place is its first argument.
    pub fn array_name<'n>(&'n self, name: &'n Name<'a>) -> &'n Name<'a> {
        self.results_in_place.get(name).unwrap_or(name)
    }

    /// Returns the name of the array that a node changes in place.
    pub(super) fn changed(&self, node: &RawNode<'a>) -> Option<Name<'a>> {
        let first = node.arguments.first().and_then(|argument| named(&argument.value));
        first.filter(|_| is_in_place(node.op.as_str())).map(|name| self.array_name(name).clone())
    }

    /// Notes that a result of a node may share its first argument's memory.
    pub(super) fn note_view(&mut self, node: &'r RawNode<'a>, output: usize, name: &Name<'a>) {
        let source = node.arguments.first().and_then(|argument| named(&argument.value));
        if let Some(source) = source.filter(|_| may_share(node.op.as_str())) {
            let source = self.array_name(source).clone();
            let root = self.root(&source).clone();
            self.views_of.entry(root.clone()).or_default().push(name.clone());
            self.views.insert(name.clone(), SharedView { source, root, node, output });
        }
    }

    /// Returns the arrays that a change in place of that one changes, too.
    ///
    /// Refuses a change of an array that a name shares which it is no view of, if that name is read behind the node.
    pub(super) fn sharers(&self, changed: Option<&Name<'a>>, position: usize) -> Lowered<Sharers<'a>> {
        let none = Sharers { ancestors: Vec::new() };
        let Some(changed) = changed else { return Ok(none) };
        let root = self.root(changed);
        let Some(views) = self.views_of.get(root) else { return Ok(none) };
        let sharing: HashSet<&Name<'a>> = views.iter().chain([root]).filter(|name| *name != changed).collect();
        let mut ancestors = self.ancestors(changed);
        let later = self.raw.nodes[position + 1..].iter().flat_map(|node| &node.arguments);
        let later = later.flat_map(|argument| all_named(&argument.value));
        let read = later.chain(self.raw.outputs.iter().filter_map(|end| named(&end.value)));
        let read: Vec<&Name<'a>> =
            read.map(|name| self.array_name(name)).filter(|name| sharing.contains(name)).collect();
        if let Some(name) = read.iter().find(|name| !ancestors.contains(name)) {
            return Err(shared(name));
        }
        let last = ancestors.iter().rposition(|name| read.contains(&name)).map_or(0, |last| last + 1);
        ancestors.truncate(last);
        Ok(Sharers { ancestors })
    }

    /// Returns the array that is no view, of those that an array is a view of.
    fn root<'n>(&'n self, name: &'n Name<'a>) -> &'n Name<'a> {
        self.views.get(name).map_or(name, |view| &view.root)
    }

    /// Returns the arrays that a name is a view of, the nearest first.
    fn ancestors(&self, name: &Name<'a>) -> Vec<Name<'a>> {
        let next = |name: &Name<'a>| self.views.get(name).map(|view| view.source.clone());
        std::iter::successors(next(name), next).collect()
    }

    /// Gives the array of an op in place its new value, and the arrays that it is a view of.
    pub(super) fn write_back(&mut self, changed: &Name<'a>, value: Known, sharers: &Sharers<'a>) -> Lowered<()> {
        self.known.insert(changed.clone(), value.clone());
        let (mut name, mut value) = (changed.clone(), value);
        for source in &sharers.ancestors {
            let Some(view) = self.views.get(&name).cloned() else { break };
            let whole = self.named(source)?;
            let Some(written) = self.written(&view, whole, value)? else { return Err(shared(source)) };
            self.known.insert(source.clone(), written.clone());
            (name, value) = (source.clone(), written);
        }
        Ok(())
    }

    /// Returns the array of a view with the view's values in place of its own; `None` of a view that may be a copy.
    fn written(&mut self, view: &SharedView<'r, 'a>, whole: Known, part: Known) -> Lowered<Option<Known>> {
        let (call, name) = (Call { node: view.node }, op_name(view.node.op.as_str()));
        match name {
            "slice" | "select" | "narrow" | "chunk" | "split" | "split_with_sizes" | "unbind" => {
                self.with_range(&call, (name, view.output), whole, part).map(Some)
            }
            "alias" | "detach" => Ok(Some(part)),
            "squeeze" | "unflatten" | "unsqueeze" | "view" | "view_as" => self.reshaped_as(&whole, part).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns an array in the shape of another one.
    fn reshaped_as(&mut self, whole: &Known, part: Known) -> Lowered<Known> {
        let misfit = || refuse("a change in place of a view of another shape");
        if let (Some(whole), Some(part)) = (self.constant(whole), self.constant(&part)) {
            let reshaped = part.reshape(whole.shape.clone());
            return reshaped.map_or_else(misfit, |array| self.counted(vec![array])?.pop().map_or_else(misfit, Ok));
        }
        let (sizes, part) = (self.traced(whole.clone())?.sizes(), self.traced(part)?);
        self.view(part, &sizes)?.map_or_else(misfit, |value| Ok(Known::Traced(value)))
    }

    /// Lowers `slice_scatter` and `select_scatter`: an array with another one in place of a range.
    pub(super) fn scatter(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Known> {
        let whole = self.first(call)?;
        let Some(part) = call.argument("src").map(|part| self.known_argument(part)).transpose()? else {
            return refuse("a call without `src`");
        };
        self.with_range(call, (name.strip_suffix("_scatter").unwrap_or(name), 0), whole, part)
    }

    /// Returns an array with another one in place of the range that a call selects, or that one of its parts is.
    fn with_range(
        &mut self,
        call: &Call<'r, 'a>,
        (name, output): (&str, usize),
        whole: Known,
        part: Known,
    ) -> Lowered<Known> {
        if let (Some(whole), Some(part)) = (self.constant(&whole), self.constant(&part)) {
            let Some(axis) = whole.axis(call.int("dim", 0)?) else { return refuse("an axis that is not there") };
            let ((start, count, step), goes) = range_of(call, (name, output), whole.shape[axis])?;
            let positions: Vec<usize> = (0..count).map(|index| start + index * step).collect();
            let mut shape = part.shape.clone();
            if goes && axis <= shape.len() {
                shape.insert(axis, 1);
            }
            let written = part.reshape(shape).and_then(|part| whole.put(axis, &positions, &part));
            let Some(written) = written else { return refuse("a part of a constant of another shape") };
            return self.counted(vec![written])?.pop().map_or_else(|| refuse("a constant without values"), Ok);
        }
        let (whole, mut part) = (self.traced(whole)?, self.traced(part)?);
        let Some(axis) = whole.axis(call.int("dim", 0)?) else { return refuse("an axis that is not there") };
        if whole.axes[axis].contains(&Factor::Batch) {
            return if is_like(&whole, &part) {
                Ok(Known::Traced(part))
            } else {
                refuse("a change of a part of the batch")
            };
        }
        let length = whole.length(axis);
        let ((start, count, step), goes) = range_of(call, (name, output), length)?;
        if goes && axis <= part.rank() {
            part.axes.insert(axis, Vec::new());
        }
        let positions: Vec<usize> = (0..count).map(|index| start + index * step).collect();
        self.replaced(&whole, axis, &positions, part).map(Known::Traced)
    }

    /// Appends an array with another one's values at positions of an axis, which ascend.
    pub fn replaced(&mut self, whole: &Traced, axis: usize, positions: &[usize], part: Traced) -> Lowered<Traced> {
        let length = whole.length(axis);
        let ascends =
            positions.windows(2).all(|pair| pair[0] < pair[1]) && positions.last().is_some_and(|at| *at < length);
        if !ascends || part.rank() != whole.rank() || part.length(axis) != positions.len() {
            return refuse("a change of positions of an array of another shape");
        }
        let (start, end) = (positions[0], positions[0] + positions.len());
        if positions.last().is_some_and(|last| last + 1 != end) {
            let joined = self.concat_of(vec![Known::Traced(whole.clone()), Known::Traced(part)], axis as i64, false)?;
            let place = |at: usize| positions.binary_search(&at).map_or(at, |index| length + index);
            return self.gather(&joined, axis, (0..length).map(place).collect());
        }
        let mut parts = Vec::with_capacity(3);
        if start > 0 {
            parts.push(Known::Traced(self.range(whole, axis, (0, start, 1))?));
        }
        parts.push(Known::Traced(part));
        if end < length {
            parts.push(Known::Traced(self.range(whole, axis, (end, length - end, 1))?));
        }
        self.concat_of(parts, axis as i64, false)
    }

    /// Lowers `copy`, `fill` and `zero`: the shape of one array, the values of another one or a number.
    pub(super) fn overwritten(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let whole = self.value(call, "self")?;
        let source = match name {
            "zero" => None,
            "fill" => call.argument("value"),
            _ => call.argument("src"),
        };
        let source = match source {
            Some(argument) => self.operand(argument)?,
            None => self.operand(&RawArgument::Float(0.0))?,
        };
        let source = self.traced(source)?;
        let expanded = self.expand(source, &whole.sizes())?;
        self.traced(expanded)
    }
}

/// Returns the error of a change of an array that another name shares.
fn shared(name: &Name<'_>) -> Problem {
    Problem::Use(format!("a change in place of an array that `{name}` shares"), "use the op that returns a new array")
}

/// Whether two values have the same lengths.
fn is_like(left: &Traced, right: &Traced) -> bool {
    left.lengths() == right.lengths()
}

/// Returns the range of an axis that a call selects, or that one of its results is, and whether the axis goes.
fn range_of(
    call: &Call<'_, '_>,
    (name, output): (&str, usize),
    length: usize,
) -> Lowered<((usize, usize, usize), bool)> {
    if let "slice" | "select" | "narrow" = name {
        return super::slice::selected(call, name, length);
    }
    let sizes = super::slice::part_sizes(call, name, length)?;
    match sizes.get(output) {
        Some(size) => Ok(((sizes[..output].iter().sum(), *size, 1), name == "unbind")),
        None => refuse("a part that is not there"),
    }
}

/// Returns an op's name without its domain and overload.
fn op_name(op: &str) -> &str {
    let op = op.strip_prefix("torch.ops.aten.").unwrap_or(op);
    op.split('.').next().unwrap_or_default()
}

/// Whether an op changes its first argument.
pub(super) fn is_in_place(op: &str) -> bool {
    op.rsplit_once('.').and_then(|(name, _)| name.rsplit('.').next()).is_some_and(|name| name.ends_with('_'))
}

/// Whether an op's result may share its argument's memory.
pub(super) fn may_share(op: &str) -> bool {
    // A dropout in evaluation and a conversion to an array's own type or layout return the array itself.
    const VIEWS: [&str; 35] = [
        "_unsafe_view",
        "alias",
        "alpha_dropout",
        "chunk",
        "contiguous",
        "detach",
        "dropout",
        "expand",
        "expand_as",
        "feature_alpha_dropout",
        "feature_dropout",
        "flatten",
        "lift_fresh",
        "movedim",
        "narrow",
        "numpy_T",
        "permute",
        "reshape",
        "reshape_as",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "swapaxes",
        "swapdims",
        "t",
        "to",
        "transpose",
        "type_as",
        "unbind",
        "unflatten",
        "unsqueeze",
        "view",
        "view_as",
    ];
    VIEWS.contains(&op_name(op))
}

/// Returns the name of an argument that is a value.
pub(super) fn named<'n, 'a>(argument: &'n RawArgument<'a>) -> Option<&'n Name<'a>> {
    if let RawArgument::Value(name) = argument { Some(name) } else { None }
}

/// Returns the names of an argument's values.
pub(super) fn all_named<'n, 'a>(argument: &'n RawArgument<'a>) -> Vec<&'n Name<'a>> {
    match argument {
        RawArgument::Value(name) => vec![name],
        RawArgument::Values(names) => names.iter().flatten().collect(),
        _ => Vec::new(),
    }
}
