"""Weights from the formula of `parity.py`, for any network, and calibrated batch norms.

Statistics are those of a batch of formula images, moved by the formula again: a chain of fifty norms then keeps its scale,
and no statistic is trivial. Shifts are three times the scale, up or down: a ReLU whose input is within rounding of zero takes one
side in f32 and the other in f64, and one such value can exceed 1e-3 of a gradient's l2 norm."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from parity import uniform, value


def uniform_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Values in [−1, 1) that are exact in f32, as f64."""
    return torch.from_numpy(uniform(name, torch.Size(shape).numel())).reshape(shape)


def parameter(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A parameter of a network, f64."""
    if len(shape) == 3 and shape[0] == 1:
        # A class token or a position embedding.
        return 0.5 * uniform_tensor(name, shape)
    if len(shape) < 2 or torch.Size(shape).numel() == shape[0]:
        # A bias, a scale per channel, or a temperature per head.
        return value(name, (torch.Size(shape).numel(),)).reshape(shape)
    return value(name, shape)


@torch.no_grad()
def fill(module: torch.nn.Module, images: torch.Tensor) -> None:
    """Overwrites parameters and batch-norm statistics of an f64 module; every value is exact in f32."""
    for name, tensor in module.named_parameters():
        tensor.copy_(parameter(name, tuple(tensor.shape)))
    norms = {name: norm for name, norm in module.named_modules() if isinstance(norm, _BatchNorm)}
    for name, norm in norms.items():
        if norm.affine:
            norm.weight.copy_(exact(0.5 + 0.1 * uniform_tensor(f"{name}.weight", norm.weight.shape)))
            norm.bias.copy_(exact(shift(uniform_tensor(f"{name}.bias", norm.bias.shape))))
    module.eval()
    for norm in norms.values():
        norm.train()
        norm.momentum = 1.0
    if norms:
        module(images)
    module.eval()
    for name, norm in norms.items():
        norm.momentum = 0.1
        perturb(name, norm)


def perturb(name: str, norm: _BatchNorm) -> None:
    """Moves statistics by a tenth of the standard deviation and a quarter of the variance; keeps variances positive."""
    mean, variance = norm.running_mean, norm.running_var
    variance.add_(0.1 * variance.mean() + 1e-3)
    mean.add_(0.1 * variance.sqrt() * uniform_tensor(f"{name}.running_mean", mean.shape))
    variance.mul_(1.0 + 0.25 * uniform_tensor(f"{name}.running_var", variance.shape))
    for tensor in (mean, variance):
        tensor.copy_(exact(tensor))


def shift(values: torch.Tensor) -> torch.Tensor:
    """Values in [−1, 1) as shifts of a norm: around 1.5 and −1.5."""
    return 1.5 * values.sign() + 0.2 * values


def exact(values: torch.Tensor) -> torch.Tensor:
    """Rounded to f32."""
    return values.float().double()
