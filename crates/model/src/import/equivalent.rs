//! Equivalent tensors: replaces tensors of a checkpoint by others with which a network computes the same.
//!
//! | checkpoint | replaced by |
//! |---|---|
//! | DINOv2 with registers, of its authors or transformers: a position of the class token ahead of the patches' | its sum with the class token; the patches' positions alone |
//! | distilled DeiT: a head over the class token and one over the distillation token, whose answers' mean counts | one head over both tokens |

use super::CheckpointError;
use super::storage::StateDict;

/// Names of the registers, of the class token and of the positions behind one prefix.
const REGISTERS: [[&str; 3]; 2] =
    [["register_tokens", "cls_token", "pos_embed"], ["register_tokens", "cls_token", "position_embeddings"]];

/// Names of the head over the class token, and of that over the distillation token.
const HEADS: [[&str; 2]; 2] = [["head", "head_dist"], ["cls_classifier", "distillation_classifier"]];

/// Replaces what the module's table lists.
///
/// # Errors
/// If a tensor cannot be replaced; none that was read once fails to be.
pub(super) fn replace(state: &mut StateDict<'_>) -> Result<(), CheckpointError> {
    for names in REGISTERS {
        for prefix in prefixes(state, names[0]) {
            add_class_position(state, &names.map(|name| format!("{prefix}{name}")))?;
        }
    }
    for [head, distilled] in HEADS {
        for prefix in prefixes(state, &format!("{distilled}.weight")) {
            join_heads(state, &[format!("{prefix}{head}"), format!("{prefix}{distilled}")])?;
        }
    }
    Ok(())
}

/// Returns the prefixes of the tensors whose names end with that one.
fn prefixes(state: &StateDict<'_>, name: &str) -> Vec<String> {
    let prefix = |found: &str| {
        found.strip_suffix(name).filter(|prefix| prefix.is_empty() || prefix.ends_with('.')).map(str::to_owned)
    };
    state.entries().filter_map(|(found, _)| prefix(found)).collect()
}

/// Adds the first position to the class token, where the others are those of a square of patches.
fn add_class_position(state: &mut StateDict<'_>, [_, token, positions]: &[String; 3]) -> Result<(), CheckpointError> {
    let shape = |name: &String| state.get(name).map(|entry| entry.shape.clone());
    let (Some(token_shape), Some(mut shape)) = (shape(token), shape(positions)) else { return Ok(()) };
    let [1, rows, width] = shape[..] else { return Ok(()) };
    let is_square = |count: usize| count.isqrt().pow(2) == count;
    if token_shape != [1, 1, width] || rows < 2 || !is_square(rows - 1) || is_square(rows) {
        return Ok(());
    }
    let (Some(own), Some(all)) = (state.floats(token), state.floats(positions)) else { return Ok(()) };
    let sum = own.iter().zip(&all).map(|(token, position)| token + position).collect();
    shape[1] = rows - 1;
    state.replace(token, token_shape, sum)?;
    state.replace(positions, shape, all[width..].to_vec())
}

/// Makes one head of two of the same shape: half of each weight side by side, and the mean of the biases.
fn join_heads(state: &mut StateDict<'_>, [head, distilled]: &[String; 2]) -> Result<(), CheckpointError> {
    let [weights, biases] = ["weight", "bias"].map(|name| [head, distilled].map(|module| format!("{module}.{name}")));
    let shape = |name: &String| state.get(name).map(|entry| entry.shape.clone());
    let shapes = [&weights[0], &weights[1], &biases[0], &biases[1]].map(shape);
    let [Some(weight), Some(other), Some(bias), Some(other_bias)] = shapes else { return Ok(()) };
    let [classes, width] = weight[..] else { return Ok(()) };
    if width == 0 || weight != other || bias != [classes] || other_bias != bias {
        return Ok(());
    }
    let floats = [&weights[0], &weights[1], &biases[0], &biases[1]].map(|name| state.floats(name));
    let [Some(first), Some(second), Some(bias), Some(other_bias)] = floats else { return Ok(()) };
    let rows = first.chunks_exact(width).zip(second.chunks_exact(width));
    let joined = rows.flat_map(|(first, second)| first.iter().chain(second).map(|value| value / 2.0)).collect();
    let mean = bias.iter().zip(&other_bias).map(|(first, second)| first / 2.0 + second / 2.0).collect();
    state.replace(&weights[0], vec![classes, 2 * width], joined)?;
    state.replace(&biases[0], vec![classes], mean)?;
    state.remove(|name| name == weights[1] || name == biases[1]);
    Ok(())
}
