//! In-place ops: refuses one whose array another name shares and reads later.

use super::{Lowered, Lowering, Problem};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawNode};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Refuses an op in place whose array another name shares, if that name is read afterwards.
    pub fn check_in_place(&self, node: &RawNode<'a>, position: usize) -> Lowered<()> {
        let Some(changed) = node.arguments.first().and_then(|argument| named(&argument.value)) else { return Ok(()) };
        if !is_in_place(node.op.as_str()) {
            return Ok(());
        }
        let root = |name: &Name<'a>| {
            let mut name = name.clone();
            while let Some(source) = self.views.get(&name) {
                name = source.clone();
            }
            name
        };
        let shares = |name: &Name<'a>| name != changed && root(name) == root(changed);
        let later = self.raw.nodes[position + 1..].iter().flat_map(|node| &node.arguments);
        let mut read = later
            .flat_map(|argument| all_named(&argument.value))
            .chain(self.raw.outputs.iter().filter_map(|end| named(&end.value)));
        match read.find(|name| shares(name)) {
            Some(name) => Err(Problem::Use(
                format!("a change in place of an array that `{name}` shares"),
                "use the op that returns a new array",
            )),
            None => Ok(()),
        }
    }
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
    let op = op.strip_prefix("torch.ops.aten.").unwrap_or(op);
    VIEWS.contains(&op.split('.').next().unwrap_or_default())
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
