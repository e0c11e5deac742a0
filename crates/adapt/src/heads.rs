//! Heads: puts the base's own classifier head on an adapted backbone, in place of the new head or beside it.

use fieldfit_model::{Base, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Params, TensorId, TensorView};

/// Puts the adapted backbone under the base's original head.
pub fn under_base_head(adapted: &Weights, base: &Base) -> Weights {
    let mut weights = Weights::of_base(base);
    for (id, _) in base.network().tensors().filter(|(_, spec)| !spec.role.is_head()) {
        weights.params[id].copy_from_slice(&adapted.params[id]);
    }
    Weights { input_size: adapted.input_size, crop: adapted.crop, ..weights }
}

/// Puts the adapted backbone under both heads at once: its own classes first, and the base's behind them. The labels stay
/// its own.
pub(crate) fn under_both_heads(adapted: Weights, base: &Base) -> Weights {
    let mut params = adapted.params;
    let network = add_base_head(&adapted.network, &mut params, base);
    Weights { network, params, ..adapted }
}

/// Puts the features themselves behind the logits, as those of a head whose weight is the identity. The labels stay.
pub(crate) fn with_feature_outputs(weights: Weights) -> Weights {
    let (head, mut params) = (weights.network.head, weights.params);
    let mut rows = params[head.weight].to_vec();
    let start = rows.len();
    rows.resize(start + head.features * head.features, 0.0);
    (0..head.features).for_each(|feature| rows[start + feature * (head.features + 1)] = 1.0);
    let mut bias = params[head.bias].to_vec();
    bias.resize(head.classes + head.features, 0.0);
    params.replace(head.weight, rows);
    params.replace(head.bias, bias);
    Weights { network: weights.network.with_classes(head.classes + head.features), params, ..weights }
}

/// Appends the base's own head to the new one's rows; returns the network of both.
pub(crate) fn add_base_head(network: &Network, params: &mut Params<f32>, base: &Base) -> Network {
    let (own, more) = (network.head, base.network().head);
    append(params, own.weight, base.tensor(more.weight));
    append(params, own.bias, base.tensor(more.bias));
    network.with_classes(own.classes + more.classes)
}

/// Appends rows to a tensor's.
fn append(params: &mut Params<f32>, id: TensorId, more: TensorView<'_>) {
    let own = params[id].len();
    let mut values = params[id].to_vec();
    values.resize(own + more.len(), 0.0);
    more.copy_into(&mut values[own..]);
    params.replace(id, values);
}
