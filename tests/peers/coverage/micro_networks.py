"""Micro networks, one per operation and form that exporters write it in. Input `[N, 3, 5, 4]`, four to eight channels."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Combine(nn.Module):
    """A stem, then branches of it, combined by a function of their outputs."""

    def __init__(self, stem: nn.Module, function: Callable, *branches: nn.Module):
        super().__init__()
        self.stem, self.function = stem, function
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        return self.function(*(branch(stem) for branch in self.branches))


class WithParameter(nn.Module):
    """A function of the stem's output and parameters of the given shapes, `a`, `b`, …"""

    def __init__(self, stem: nn.Module, function: Callable, *shapes: tuple[int, ...]):
        super().__init__()
        self.stem, self.function = stem, function
        for name, shape in zip("abc", shapes):
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.stem(x), *(p for name, p in self.named_parameters(recurse=False)))


def point(inputs: int = 3, outputs: int = 4, bias: bool = True) -> nn.Conv2d:
    """A 1×1 convolution."""
    return nn.Conv2d(inputs, outputs, 1, bias=bias)


def after(*layers: nn.Module | Callable) -> nn.Sequential:
    """Layers after a 1×1 convolution from 3 channels to 4."""
    return nn.Sequential(point(), *(layer if isinstance(layer, nn.Module) else Apply(layer) for layer in layers))


def normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def tokens(x: Tensor) -> Tensor:
    """`[N, C, H, W]` to `[N, H·W, C]`."""
    return x.flatten(2).transpose(1, 2)


def channels_first_layer_norm(channels: int) -> nn.Module:
    """timm's `LayerNorm2d`."""
    class LayerNorm2d(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            x = functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
            return x.permute(0, 3, 1, 2)

    return LayerNorm2d(channels, eps=1e-6)


def spelt_layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm over channels in single operations."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-6) * scale[:, None, None] + shift[:, None, None]


def response_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Global response norm of ConvNeXt V2."""
    norm = x.norm(p=2, dim=(2, 3), keepdim=True)
    norm = norm / (norm.mean(dim=1, keepdim=True) + 1e-6)
    return x + torch.addcmul(shift.view(1, -1, 1, 1), scale.view(1, -1, 1, 1), x * norm)


def squeeze_excite(gate: nn.Module, activation: nn.Module, mean: nn.Module) -> nn.Module:
    branch = nn.Sequential(mean, point(4, 2), activation, point(2, 4), gate)
    return Combine(after(), lambda x, scale: x * scale, nn.Identity(), branch)


class Attention(nn.Module):
    """Two heads over 10 tokens of 8 channels. `form` names how the product is written."""

    def __init__(self, form: str, count: int = 10):
        super().__init__()
        self.form = form
        self.stem, self.qkv, self.proj = nn.Conv2d(3, 8, 1, stride=(1, 2)), nn.Linear(8, 24), nn.Linear(8, 8)
        if form in ("masked", "biased"):
            self.table = nn.Parameter(torch.zeros(1 if form == "masked" else 2, count, count))

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        batch, count, channels = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        if self.form == "fused":
            x = functional.scaled_dot_product_attention(q, k, v)
        elif self.form == "masked":
            x = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.table, scale=0.3)
        else:
            scores = (q * 4**-0.5) @ k.transpose(-2, -1)
            scores = scores + self.table if self.form == "biased" else scores
            x = scores.softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, count, channels))


class PooledAttention(nn.Module):
    """Attention of a learned query over tokens, as poolers of vision towers have it."""

    def __init__(self):
        super().__init__()
        self.stem, self.query, self.kv = point(3, 8), nn.Parameter(torch.zeros(1, 1, 8)), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        batch, count, _ = x.shape
        q = self.query.expand(batch, -1, -1).reshape(batch, 1, 2, 4).transpose(1, 2)
        k, v = self.kv(x).reshape(batch, count, 2, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, 8)


class Windows(nn.Module):
    """Shifted windows of 5 × 2, mixed along tokens by a linear layer, as Swin has them."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix = point(), nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        x = torch.roll(x, shifts=(-2, -1), dims=(1, 2))
        windows = x.view(batch, height // 5, 5, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        windows = windows.contiguous().view(-1, 10, channels)
        windows = self.mix(windows.transpose(1, 2)).transpose(1, 2)
        x = windows.view(-1, height // 5, width // 2, 5, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return torch.roll(x.contiguous().view(-1, height, width, channels), shifts=(2, 1), dims=(1, 2))


class ClassToken(nn.Module):
    """A class token and position embeddings ahead of a layer norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = point(3, 8), nn.LayerNorm(8)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 21, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        x = self.norm(x)
        return x[:, 0] * x[:, 1:].mean(dim=1)


class Rotary(nn.Module):
    """Rotary position embedding of tokens from a sine table held as a buffer."""

    def __init__(self):
        super().__init__()
        self.stem = point()
        self.register_buffer("table", torch.linspace(0.0, 3.0, 80).reshape(20, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
        return x * self.table.cos() + turned * self.table.sin()


class Tied(nn.Module):
    """One convolution at two places, and one weight in two layers."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared, self.other = point(), point(4, 4), point(4, 4)
        self.other.weight = self.shared.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.shared(self.shared(self.stem(x)).relu()).relu())


class Outputs(nn.Module):
    """Two outputs of different shapes, or a dict of them."""

    def __init__(self, named: bool):
        super().__init__()
        self.named, self.stem, self.coarse, self.fine = named, point(), nn.Linear(4, 3), point(4, 2)

    def forward(self, x: Tensor) -> object:
        x = self.stem(x).relu()
        coarse, fine = self.coarse(x.mean([2, 3])), self.fine(x)
        return {"fine": fine, "coarse": coarse} if self.named else (coarse, fine)


class Unused(nn.Module):
    """A layer of the checkpoint that inference does not run."""

    def __init__(self):
        super().__init__()
        self.stem, self.auxiliary = point(), point(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x).relu()


class Normalised(nn.Module):
    """Normalisation of the images by buffers, within the network."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.stem = point()

    def forward(self, x: Tensor) -> Tensor:
        return self.stem((x - self.mean) / self.std)


def written_ranges(x: Tensor) -> Tensor:
    """Ranges of an array that are replaced and changed in place."""
    y = x * 1.0
    y[:, 1] = y[:, 0] * 0.5
    y[:, 2:, 1:3] += 1.0
    y[:, :, :, 0] = 0.25
    return y + x


def written_mask(x: Tensor) -> Tensor:
    """A mask of zeros whose regions are filled in place, as shifted windows have it."""
    mask = x.new_zeros((5, 4))
    for index, (rows, columns) in enumerate([(slice(0, -2), slice(0, 2)), (slice(-2, None), slice(1, None))]):
        mask[rows, columns] = index + 1
    mask = mask.view(1, 1, 5, 4)
    return x * mask + mask.masked_fill(mask != 0, -1.0)


def classifier(*end: nn.Module) -> nn.Sequential:
    """A classifier, and what follows its logits."""
    return nn.Sequential(
        normed(nn.Conv2d(3, 4, 3, padding=1, bias=False)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), *end)


class EfficientChannelAttention(nn.Module):
    """A 1-D convolution over channels as a gate."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = point(3, 8), nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = self.conv(x.mean((2, 3)).view(x.shape[0], 1, -1)).sigmoid()
        return x * gate.view(x.shape[0], -1, 1, 1)


class TableAttention(nn.Module):
    """Attention whose bias is looked up in a table by relative position: rows of it as Swin has them, columns as LeViT."""

    def __init__(self, by_column: bool):
        super().__init__()
        self.by_column = by_column
        self.stem, self.qkv, self.proj = nn.Conv2d(3, 8, 1, stride=(1, 2)), nn.Linear(8, 24), nn.Linear(8, 8)
        self.table = nn.Parameter(torch.zeros((2, 19) if by_column else (19, 2)))
        positions = torch.arange(10)
        self.register_buffer("index", positions[:, None] - positions[None, :] + 9, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        batch, count, channels = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        if self.by_column:
            bias = self.table[:, self.index]
        else:
            bias = self.table[self.index.view(-1)].view(count, count, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        x = (q * 0.5 @ k.transpose(-2, -1) + bias).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, count, channels))


class MaskedWindows(nn.Module):
    """Attention within windows of 5 × 2, some of whose scores a constant mask hides, as Swin's shifted windows have it."""

    def __init__(self):
        super().__init__()
        self.stem, self.qkv = point(3, 4), nn.Linear(4, 12)
        hidden = (torch.arange(10)[:, None] * 3 + torch.arange(10)[None, :]) % 4 == 1
        self.register_buffer("mask", torch.stack([torch.zeros(10, 10), hidden * -100.0]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 5, 5, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5).contiguous()
        x = x.view(-1, 10, channels)
        q, k, v = self.qkv(x).reshape(-1, 10, 3, 2, 2).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1)
        scores = scores.view(batch, 2, 2, 10, 10) + self.mask.unsqueeze(1).unsqueeze(0)
        return (scores.view(-1, 2, 10, 10).softmax(-1) @ v).transpose(1, 2).reshape(batch, 2, 10, 4)


class FourierPositions(nn.Module):
    """Sines and cosines of positions, computed in the network and projected by a convolution, as EdgeNeXt has them."""

    def __init__(self):
        super().__init__()
        self.stem, self.projection = point(), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, _, height, width = x.shape
        there = ~torch.zeros((batch, height, width), dtype=torch.bool)
        rows, columns = there.cumsum(1, dtype=x.dtype), there.cumsum(2, dtype=x.dtype)
        scale = 10000 ** (2 * torch.div(torch.arange(4), 2, rounding_mode="floor") / 4)
        parts = []
        for positions in (rows, columns):
            angles = (positions / (positions[:, -1:, -1:] + 1e-6) * 6.28)[:, :, :, None] / scale
            waves = torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), dim=4).flatten(3)
            parts.append(waves)
        return x + self.projection(torch.cat(parts, dim=3).permute(0, 3, 1, 2))


class JoinedBias(nn.Module):
    """A linear layer whose bias is two parameters around a constant, as EVA's queries, keys and values have it."""

    def __init__(self):
        super().__init__()
        self.stem, self.weight = point(), nn.Parameter(torch.zeros(6, 4))
        self.first, self.last = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        self.register_buffer("none", torch.zeros(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(tokens(self.stem(x)), self.weight, torch.cat((self.first, self.none, self.last)))


class SharedBlock(nn.Module):
    """A convolution with its norm at two places, as detectors have over several scales."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = point(), normed(nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.block(x).relu() * self.block(x.sigmoid())


class HiddenKeys(nn.Module):
    """Attention with a mask of booleans, or a causal one."""

    def __init__(self, causal: bool):
        super().__init__()
        self.causal, self.stem, self.qkv = causal, nn.Conv2d(3, 8, 1, stride=(1, 2)), nn.Linear(8, 24)
        self.register_buffer("mask", (torch.arange(10)[:, None] + torch.arange(10)[None, :]) % 3 > 0, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        batch, count, channels = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        x = functional.scaled_dot_product_attention(q, k, v, None if self.causal else self.mask, is_causal=self.causal)
        return x.transpose(1, 2).reshape(batch, count, channels)


def shuffle(x: Tensor) -> Tensor:
    """ShuffleNet's shuffle of two groups of channels."""
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, channels, height, width)


def resized(**options: object) -> nn.Module:
    """A resize of two channels."""
    return nn.Sequential(point(3, 2), Apply(partial(functional.interpolate, **options)))


class MultiheadAttention(nn.Module):
    """`nn.MultiheadAttention` over tokens, whose images are its second axis."""

    def __init__(self):
        super().__init__()
        self.stem, self.attention = point(), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = tokens(self.stem(x))
        return x + self.attention(x, x, x, need_weights=False)[0]


class StandardisedConv(nn.Conv2d):
    """A convolution whose kernel is standardised when it is called, by statistics or as timm does by a batch norm."""

    def __init__(self, *sizes: int, by_norm: bool):
        super().__init__(*sizes)
        self.gain, self.by_norm = nn.Parameter(torch.zeros(sizes[1])), by_norm

    def forward(self, x: Tensor) -> Tensor:
        weight, rows = self.weight, self.weight.shape[0]
        if self.by_norm:
            rows = weight.reshape(1, rows, -1)
            weight = functional.batch_norm(rows, None, None, self.gain * 0.5, training=True, momentum=0.0, eps=1e-6).reshape_as(weight)
        else:
            mean = weight.mean((1, 2, 3), keepdim=True)
            weight = (weight - mean) / (weight.var((1, 2, 3), keepdim=True) + 1e-5).sqrt() * self.gain.view(-1, 1, 1, 1)
        return functional.conv2d(x, weight, self.bias)


class CosineHead(nn.Module):
    """Products with prototypes of length 1."""

    def __init__(self):
        super().__init__()
        self.stem, self.weight = point(), nn.Parameter(torch.zeros(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mean((2, 3))
        return functional.linear(functional.normalize(x), functional.normalize(self.weight))


def transposed(kernel: int, **options: int) -> nn.Module:
    return after(nn.ConvTranspose2d(4, 2, kernel, **options))


ACTIVATIONS: dict[str, nn.Module | Callable] = {
    "relu": nn.ReLU(), "relu6": nn.ReLU6(), "silu": nn.SiLU(), "hardswish": nn.Hardswish(), "hardsigmoid": nn.Hardsigmoid(),
    "sigmoid": nn.Sigmoid(), "gelu": nn.GELU(), "gelu_tanh": nn.GELU(approximate="tanh"), "leaky_relu": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(4), "prelu_shared": nn.PReLU(), "tanh": nn.Tanh(), "elu": nn.ELU(), "mish": nn.Mish(),
    "softplus": nn.Softplus(), "hardtanh": nn.Hardtanh(-0.5, 0.75), "relu_inplace": nn.ReLU(inplace=True),
    "silu_spelt": lambda x: x * x.sigmoid(), "hardswish_spelt": lambda x: (x + 3.0).clamp(0.0, 6.0) * x / 6.0,
    "gelu_spelt": lambda x: 0.5 * x * (1.0 + torch.erf(x / 2.0**0.5)), "clamp": lambda x: x.clamp(min=-0.5),
    "log_softmax": nn.LogSoftmax(1), "exp": torch.exp, "absolute": torch.abs, "erf": torch.erf,
    "logarithm": lambda x: (x.square() + 0.5).log(), "reciprocal": lambda x: (x.square() + 0.5).reciprocal(),
    "inverse_root": lambda x: torch.rsqrt(x.square() + 0.5), "cube": lambda x: x.pow(3), "elu_alpha": nn.ELU(0.5),
    "softplus_beta": nn.Softplus(beta=2.0), "selu": nn.SELU(), "celu": nn.CELU(0.5), "log_sigmoid": nn.LogSigmoid(),
    "softsign": nn.Softsign(),
}

MICRO: dict[str, Callable[[], nn.Module]] = {
    # Convolutions.
    "conv_bias": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), point(4, 4)),
    "conv_norm": lambda: nn.Sequential(normed(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)), nn.ReLU(), point(4, 4)),
    "conv_bias_norm": lambda: normed(nn.Conv2d(3, 4, 3)),
    "conv_rectangular": lambda: after(nn.Conv2d(4, 4, (1, 7), padding=(0, 3)), nn.ReLU(), nn.Conv2d(4, 4, (7, 1), padding=(3, 0))),
    "conv_grouped": lambda: nn.Sequential(point(3, 8), nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2)),
    "conv_depthwise": lambda: after(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False), nn.BatchNorm2d(4)),
    "conv_depth_multiplier": lambda: after(nn.Conv2d(4, 8, 3, padding=1, groups=4)),
    "conv_dilated": lambda: after(nn.Conv2d(4, 4, 3, padding=2, dilation=2)),
    "conv_depthwise_dilated": lambda: after(nn.Conv2d(4, 4, 3, padding=(2, 1), dilation=(2, 1), groups=4)),
    "conv_patches": lambda: nn.Conv2d(3, 8, 2, stride=2),
    "conv_same": lambda: after(nn.Conv2d(4, 4, (3, 2), padding="same")),
    "conv_stride_rectangular": lambda: nn.Conv2d(3, 4, 3, stride=(2, 1), padding=(1, 0)),
    "conv_reflected": lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
    "pad_conv": lambda: nn.Sequential(Apply(lambda x: functional.pad(x, (0, 1, 1, 2))), nn.Conv2d(3, 4, 3, stride=2)),
    "pad_value": lambda: after(lambda x: functional.pad(x, (1, 0, 0, 1), value=0.5), nn.Conv2d(4, 4, 3)),
    "pad_replicated": lambda: after(nn.ReplicationPad2d((1, 2, 3, 0)), nn.Conv2d(4, 4, 3)),
    "pad_circular": lambda: after(nn.CircularPad2d((1, 2, 3, 0)), nn.Conv2d(4, 4, 3)),
    "pad_tokens": lambda: after(tokens, lambda x: functional.pad(x, (0, 1), value=1.0), nn.Linear(5, 3)),
    "pad_infinite": lambda: after(lambda x: functional.pad(x, (0, 1, 0, 1), value=-torch.inf), nn.MaxPool2d(3, 2)),
    "conv_transposed_depthwise": lambda: transposed(4, stride=2, padding=1, groups=2),
    "conv1d": EfficientChannelAttention,
    "conv_transposed_2": lambda: transposed(2, stride=2),
    "conv_transposed_3": lambda: transposed(3, stride=2, padding=1, output_padding=1),
    "conv_transposed_4": lambda: transposed(4, stride=2, padding=1),
    "conv_transposed_grouped": lambda: transposed(2, stride=2, groups=2),
    # Norms and linear layers.
    "batch_norm": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), point(), nn.BatchNorm2d(4, eps=1e-3)),
    "batch_norm_linear": lambda: after(Apply(lambda x: x.mean([2, 3])), nn.BatchNorm1d(4), nn.Linear(4, 5)),
    "batch_norm_no_affine": lambda: after(nn.BatchNorm2d(4, affine=False), nn.ReLU()),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 6), nn.ReLU(), nn.Linear(6, 5)),
    "linear_no_bias": lambda: after(tokens, nn.Linear(4, 6, bias=False)),
    "linear_channels_last": lambda: after(lambda x: x.permute(0, 2, 3, 1), nn.Linear(4, 6), lambda x: x.permute(0, 3, 1, 2)),
    "layer_norm": lambda: after(tokens, nn.LayerNorm(4), nn.Linear(4, 6)),
    "layer_norm_channels": lambda: after(channels_first_layer_norm(4), point(4, 4)),
    "layer_norm_spelt": lambda: WithParameter(after(), spelt_layer_norm, (4,), (4,)),
    "layer_norm_no_affine": lambda: after(tokens, nn.LayerNorm(4, elementwise_affine=False)),
    "layer_norm_image": lambda: after(nn.LayerNorm((4, 5, 4))),
    "rms_norm": lambda: after(tokens, nn.RMSNorm(4, eps=1e-6)),
    "group_norm": lambda: nn.Sequential(point(3, 6), nn.GroupNorm(3, 6)),
    "group_norm_one": lambda: after(nn.GroupNorm(1, 4)),
    "instance_norm": lambda: after(nn.InstanceNorm2d(4, affine=True)),
    "l2_normalise": lambda: after(tokens, lambda x: functional.normalize(x, dim=-1)),
    "response_norm": lambda: WithParameter(after(), response_norm, (4,), (4,)),
    "instance_norm_plain": lambda: after(nn.InstanceNorm2d(4)),
    "layer_norm_last_two": lambda: after(nn.LayerNorm((5, 4))),
    "joined_bias": JoinedBias,
    "instance_norm_tracked": lambda: after(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
    "group_norm_tokens": lambda: after(nn.Flatten(2), nn.GroupNorm(2, 4)),
    "local_response_norm": lambda: after(nn.LocalResponseNorm(3, alpha=0.5)),
    "weight_normed": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), point(4, 4)),
    "spectral_normed": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), point(4, 4)),
    "weight_standardised": lambda: nn.Sequential(StandardisedConv(3, 4, 3, by_norm=False), StandardisedConv(4, 4, 1, by_norm=True)),
    # Pooling and means.
    "max_pool": lambda: after(nn.MaxPool2d(3, 2, 1), point(4, 4)),
    "max_pool_ceil": lambda: after(nn.MaxPool2d(3, 2, ceil_mode=True)),
    "max_pool_dilated": lambda: after(nn.MaxPool2d(2, 1, dilation=2)),
    "average_pool": lambda: after(nn.AvgPool2d(3, 2, 1)),
    "average_pool_exclude": lambda: after(nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "average_pool_ceil": lambda: after(nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)),
    "average_pool_ceil_include": lambda: after(nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    "adaptive_average_pool": lambda: after(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "adaptive_average_pool_grid": lambda: after(nn.AdaptiveAvgPool2d((4, 2))),
    "adaptive_max_pool": lambda: after(nn.AdaptiveMaxPool2d(1), point(4, 4)),
    "adaptive_max_pool_uneven": lambda: after(nn.AdaptiveMaxPool2d((2, 3))),
    "pools_1d": lambda: after(nn.Flatten(2), nn.AvgPool1d(3, 2, 1), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(3), nn.AdaptiveMaxPool1d(2)),
    "unfold": lambda: after(nn.Unfold((3, 2), dilation=(1, 2), padding=1, stride=2), nn.Conv1d(24, 3, 1)),
    "fold": lambda: after(nn.Unfold((2, 3), padding=1, stride=2), nn.Fold((5, 4), (2, 3), padding=1, stride=2), point(4, 4)),
    "cumulated": lambda: after(lambda x: (x.cumsum(2) + x.cumsum(1)).mean(3).mean(2).cumsum(-1)),
    "mean_image": lambda: after(lambda x: x.mean([2, 3]), nn.Linear(4, 5)),
    "mean_image_kept": lambda: after(lambda x: x.mean((2, 3), keepdim=True), point(4, 4)),
    "mean_tokens": lambda: after(tokens, lambda x: x.mean(dim=1)),
    "mean_axis": lambda: after(lambda x: x.mean(-1)),
    "mean_channels": lambda: after(lambda x: x.mean(1, keepdim=True) + x.amax(1, keepdim=True)),
    "least_channels": lambda: after(lambda x: x.amin(1, keepdim=True) * x),
    "adaptive_max_pool_grid": lambda: after(nn.AdaptiveMaxPool2d((5, 2))),
    "max_axis": lambda: after(lambda x: x.max(dim=2).values),
    "variance": lambda: after(lambda x: x.var((2, 3)) + x.var(dim=(2, 3), unbiased=False)),
    "deviation": lambda: after(lambda x: x.std((2, 3))),
    "log_sum_exp": lambda: after(lambda x: x.logsumexp((1,))),
    "sum_axis": lambda: after(lambda x: x.sum(dim=(2, 3))),
    # Arithmetic.
    "residual_add": lambda: Combine(after(), lambda x, y: torch.relu(x + y), nn.Identity(), point(4, 4)),
    "residual_sub": lambda: Combine(after(), torch.sub, nn.Sequential(nn.AvgPool2d(3, 1, 1)), nn.Identity()),
    "multiply": lambda: Combine(after(), torch.mul, nn.Sigmoid(), point(4, 4)),
    "divide": lambda: Combine(after(), lambda x, y: x / (y + 2.0), nn.Identity(), nn.Sigmoid()),
    "broadcast_add": lambda: Combine(after(), torch.add, nn.Identity(), nn.AdaptiveAvgPool2d(1)),
    "broadcast_multiply": lambda: Combine(after(), torch.mul, nn.Identity(), point(4, 1)),
    "scalar_arithmetic": lambda: after(lambda x: (1.5 - x * 0.5) / 3.0 + 0.25),
    "negate": lambda: after(lambda x: torch.cat([x, -x], 1), nn.ReLU()),
    "power": lambda: after(lambda x: (x.pow(2) + 1.0).sqrt(), point(4, 4)),
    "minimum": lambda: Combine(after(), torch.minimum, nn.Identity(), nn.Sigmoid()),
    "reverse_divide": lambda: after(lambda x: 2.0 / (x.square() + 1.0)),
    "add_alpha": lambda: Combine(after(), lambda x, y: torch.add(x, y, alpha=0.5), nn.Identity(), point(4, 4)),
    "broadcast_both": lambda: after(lambda x: x.mean(2, keepdim=True) * x.mean(3, keepdim=True)),
    "broadcast_alternating": lambda: after(lambda x: x.reshape(-1, 2, 2, 5, 4) * x.reshape(-1, 2, 2, 5, 4).mean((1, 3), keepdim=True)),
    "expand": lambda: Combine(after(), lambda x, y: torch.cat([x, y.expand_as(x)], 1), nn.Identity(), nn.AdaptiveAvgPool2d(1)),
    "expand_gate": lambda: Combine(after(), lambda x, y: x * y.expand_as(x), nn.Identity(), nn.AdaptiveAvgPool2d(1)),
    "maximum": lambda: Combine(after(), torch.maximum, nn.Identity(), point(4, 4)),
    "layer_scale": lambda: WithParameter(after(), lambda x, gamma: x + x.relu() * gamma, (4, 1, 1)),
    "layer_scale_tokens": lambda: WithParameter(after(tokens), lambda x, gamma: x + x.relu() * gamma, (4,)),
    "affine_scalar": lambda: WithParameter(after(), lambda x, scale, bias: scale * x.relu() + bias, (1,), (1,)),
    "fan_out": lambda: Combine(after(), lambda x, y, z: x + y * z, nn.Identity(), nn.SiLU(), point(4, 4)),
    "squeeze_excite": lambda: squeeze_excite(nn.Sigmoid(), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
    "squeeze_excite_hard": lambda: squeeze_excite(nn.Hardsigmoid(), nn.ReLU(), Apply(lambda x: x.mean((2, 3), keepdim=True))),
    "squeeze_excite_silu": lambda: squeeze_excite(nn.Sigmoid(), nn.SiLU(), Apply(lambda x: x.mean((2, 3), keepdim=True))),
    "gated_linear": lambda: after(nn.GLU(1)),
    # Shapes.
    "concat": lambda: Combine(after(), lambda x, y: torch.cat([x, y], 1), nn.Identity(), point(4, 2)),
    "split": lambda: nn.Sequential(point(3, 6), Apply(lambda x: torch.mul(*x.split([3, 3], dim=1)))),
    "split_uneven": lambda: nn.Sequential(point(3, 6), Apply(lambda x: torch.cat(x.split([4, 2], 1)[::-1], 1))),
    "chunk": lambda: nn.Sequential(point(3, 6), Apply(lambda x: x.chunk(2, dim=1)[1] + x.chunk(2, dim=1)[0].relu())),
    "slice": lambda: after(lambda x: x[:, 1:, ::2, -3:]),
    "select": lambda: after(tokens, lambda x: x[:, 3] + x[:, -1]),
    "where": lambda: after(lambda x: torch.where(torch.ones(5, 4).tril().bool(), x, 0.5) + x.masked_fill(torch.eye(5, 4).bool(), 0.25)),
    "tile": lambda: after(lambda x: torch.hstack([x.tile(1, 2, 1, 1), x.tile(1, 1)]).movedim(1, -1).mT),
    "flip": lambda: after(lambda x: x.flip([2, 3]) + x.flip([1]), nn.Conv2d(4, 4, 3)),
    "repeat": lambda: after(lambda x: torch.cat([x.repeat(1, 2, 1, 1), x.repeat_interleave(2, dim=1)], 1)),
    "stack": lambda: Combine(after(), lambda x, y: torch.stack([x, y], 2).flatten(1, 2), nn.Identity(), point(4, 4)),
    "index_pairs": lambda: after(lambda x: x[:, :, torch.tensor([[0, 4], [-1, 2]]), torch.tensor([[1], [3]])].flatten(2)),
    "windows_along_axes": lambda: after(lambda x: x.unfold(2, 3, 2).unfold(3, 2, 1).mean(-1).flatten(3)),
    "index_columns": lambda: after(lambda x: x.index_select(3, torch.tensor([2, 0, 0]))),
    "channel_shuffle_module": lambda: after(nn.ChannelShuffle(2), point(4, 4)),
    "channel_shuffle": lambda: after(shuffle, point(4, 4)),
    "flatten": lambda: after(nn.AdaptiveAvgPool2d((2, 2)), lambda x: x.reshape(x.shape[0], -1), nn.Linear(16, 5)),
    "tokens": lambda: after(tokens, nn.Linear(4, 4), lambda x: x.transpose(1, 2).reshape(-1, 4, 5, 4), point(4, 4)),
    "pixel_shuffle": lambda: nn.Sequential(point(3, 8), nn.PixelShuffle(2), point(2, 1)),
    "pixel_unshuffle": lambda: nn.Sequential(nn.ZeroPad2d((0, 0, 0, 1)), nn.PixelUnshuffle(2), point(12, 4)),
    "segmentation": lambda: nn.Sequential(normed(nn.Conv2d(3, 4, 3, stride=2, padding=1)), nn.ReLU(), point(4, 5), nn.Upsample((5, 4), mode="bilinear", align_corners=True)),
    "resize_bilinear": lambda: resized(size=(9, 7), mode="bilinear", align_corners=False),
    "resize_bilinear_aligned": lambda: resized(size=(9, 7), mode="bilinear", align_corners=True),
    "resize_bilinear_scale": lambda: resized(scale_factor=2, mode="bilinear"),
    "resize_bilinear_down": lambda: resized(size=(3, 3), mode="bilinear"),
    "resize_nearest": lambda: resized(scale_factor=2, mode="nearest"),
    "resize_nearest_size": lambda: resized(size=(9, 7), mode="nearest"),
    "resize_bicubic": lambda: resized(scale_factor=2, mode="bicubic"),
    "resize_bicubic_aligned": lambda: resized(size=(9, 7), mode="bicubic", align_corners=True),
    "resize_nearest_exact": lambda: resized(size=(9, 3), mode="nearest-exact"),
    "resize_bilinear_antialiased": lambda: resized(size=(3, 7), mode="bilinear", antialias=True),
    "resize_bicubic_antialiased": lambda: resized(size=(2, 3), mode="bicubic", antialias=True),
    "resize_positions": lambda: WithParameter(after(tokens), lambda x, a, b: x + torch.cat([a, functional.interpolate(b.reshape(1, 3, 5, 4).permute(0, 3, 1, 2), (5, 4), mode="nearest").permute(0, 2, 3, 1).reshape(1, -1, 4)[:, :19]], 1), (1, 1, 4), (1, 15, 4)),
    "resize_half": lambda: nn.Sequential(nn.ZeroPad2d((0, 0, 0, 1)), resized(scale_factor=0.5, mode="bilinear")),
    "resize_to_input": lambda: Combine(
        after(), lambda x, y: x + functional.interpolate(y, size=x.shape[-2:], mode="bilinear"),
        nn.Identity(), nn.Conv2d(4, 4, 3, stride=2, padding=1)),
    "upsample_module": lambda: after(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), point(4, 1)),
    # Attention.
    "attention": lambda: Attention("fused"),
    "attention_masked": lambda: Attention("masked"),
    "attention_softmax": lambda: Attention("plain"),
    "attention_biased": lambda: Attention("biased"),
    "attention_table_rows": lambda: TableAttention(by_column=False),
    "attention_table_columns": lambda: TableAttention(by_column=True),
    "attention_windows": MaskedWindows,
    "attention_hidden": lambda: HiddenKeys(causal=False),
    "attention_causal": lambda: HiddenKeys(causal=True),
    "fourier_positions": FourierPositions,
    "matmul_weight": lambda: WithParameter(after(tokens), lambda x, weight: x @ weight, (4, 6)),
    "attention_pool": PooledAttention,
    "multihead": MultiheadAttention,
    "multihead_static": MultiheadAttention,
    "cosine_head": CosineHead,
    "einsum": lambda: Combine(after(tokens), lambda x, y: torch.einsum("nkc,nqc->nqk", x, y).softmax(-1) + torch.einsum("nqc->nq", y)[..., None], nn.Identity(), nn.Linear(4, 4)),
    "einsum_images": lambda: WithParameter(after(), lambda x, weight: torch.einsum("nchw,ck->nkh", x, weight), (4, 6)),
    "einsum_three": lambda: WithParameter(
        after(tokens), lambda x, weight: torch.einsum("...tc,...uc,...ud,de->...te", x, x, x, weight), (4, 6)),
    "matmul": lambda: Combine(after(tokens), lambda x, y: (x @ y.transpose(-2, -1)).softmax(-1) @ x, nn.Identity(), nn.Linear(4, 4)),
    "windows": Windows,
    "class_token": ClassToken,
    "rotary": Rotary,
    # An in-place operation changes the value that a later node reads under its old name.
    "inplace_reread": lambda: after(lambda x: torch.cat([x.relu_(), x], 1), point(8, 3)),
    "inplace_view": lambda: after(lambda x: x + x.flatten(1).relu_().view_as(x)),
    "inplace_dropout": lambda: after(lambda x: functional.dropout(x, 0.5, False).mul_(2.0) + x),
    "inplace_ranges": lambda: after(written_ranges, point(4, 4)),
    "inplace_mask": lambda: after(written_mask, point(4, 4)),
    "inplace_add": lambda: Combine(after(), lambda x, y: x.add_(y).relu_(), point(4, 4), nn.Identity()),
    # Whole networks.
    "static": lambda: after(tokens, nn.LayerNorm(4), lambda x: x.transpose(1, 2).reshape(-1, 4, 5, 4), point(4, 4)),
    "dynamic_size": lambda: nn.Sequential(normed(nn.Conv2d(3, 4, 3, 2, 1)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "channels_last": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, (1, 3))).to(
        memory_format=torch.channels_last),
    "outputs": lambda: Outputs(named=False),
    "outputs_named": lambda: Outputs(named=True),
    "tied": Tied,
    "shared_block": SharedBlock,
    "unused": Unused,
    "normalised_input": Normalised,
    "dropout": lambda: after(nn.Dropout(0.5), nn.ReLU(), nn.Dropout2d(0.2), point(4, 4)),
    "classifier_convolution": lambda: after(nn.ReLU(), nn.AdaptiveAvgPool2d(1), point(4, 5), nn.Flatten()),
    "image_last": lambda: nn.Sequential(Apply(lambda x: (x / 255.0).permute(0, 3, 1, 2)), point(), nn.ReLU(), point(4, 4)),
    "classifier_behind_norm": lambda: classifier(nn.LayerNorm(5), nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 4)),
    "classifier_argmax": lambda: classifier(nn.Softmax(1), Apply(lambda x: x.argmax(1))),
    "classifier_softmax": lambda: classifier(nn.Softmax(1)),
    "classifier_log_softmax": lambda: classifier(nn.LogSoftmax(-1)),
    "classifier_sigmoid": lambda: classifier(nn.Sigmoid()),
    "classifier": lambda: nn.Sequential(
        normed(nn.Conv2d(3, 4, 3, padding=1, bias=False)), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
} | {name: partial(after, activation) for name, activation in ACTIVATIONS.items()}
