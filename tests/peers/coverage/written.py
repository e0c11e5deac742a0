"""Small networks as people write them: what no list of published networks has. Image of 48 × 40 pixels unless stated."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from coverage.micro_networks import Apply

SHAPE = (3, 48, 40)


def block(inputs: int, outputs: int, norm: nn.Module | None = None, stride: int = 1) -> nn.Sequential:
    """A 3×3 convolution, a norm and ReLU in place."""
    norm = norm or nn.BatchNorm2d(outputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), norm, nn.ReLU(inplace=True))


def features(width: int = 16) -> nn.Sequential:
    """A stem of three strided blocks: `[N, width, 6, 5]`."""
    return nn.Sequential(block(3, 8, stride=2), block(8, 12, stride=2), block(12, width, stride=2))


class Net(nn.Module):
    """Features, a function of them, and the layers that end the network."""

    def __init__(self, function: Callable[[Tensor], Tensor], *head: nn.Module, width: int = 16):
        super().__init__()
        self.features, self.function, self.head = features(width), function, nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.features(x)))


class UNet(nn.Module):
    """Skips by concatenation; transposed convolutions or resizes up."""

    def __init__(self, up: str):
        super().__init__()
        self.one, self.two, self.three = block(3, 8), block(8, 12), block(12, 16)
        self.up = up
        self.rise2, self.rise1 = (
            nn.ModuleList([nn.ConvTranspose2d(16, 12, 2, 2), nn.ConvTranspose2d(12, 8, 2, 2)])
            if up == "transposed" else nn.ModuleList([nn.Conv2d(16, 12, 1), nn.Conv2d(12, 8, 1)])
        )
        self.merge2, self.merge1 = block(24, 12), block(16, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def rise(self, layer: nn.Module, x: Tensor, like: Tensor) -> Tensor:
        x = layer(x)
        if self.up == "scale":
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if self.up == "size":
            x = functional.interpolate(x, size=like.shape[-2:], mode="nearest")
        rows, columns = like.size(2) - x.size(2), like.size(3) - x.size(3)
        return functional.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(functional.max_pool2d(one, 2))
        three = self.three(functional.max_pool2d(two, 2))
        two = self.merge2(torch.cat([self.rise(self.rise2, three, two), two], dim=1))
        return self.head(self.merge1(torch.cat([self.rise(self.rise1, two, one), one], dim=1)))


class PilotNet(nn.Module):
    """A steering regressor (Bojarski et al., arXiv 1604.07316), normalised inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 24, 5, 2), nn.ELU(), nn.Conv2d(24, 36, 5, 2), nn.ELU(), nn.Conv2d(36, 48, 3), nn.ELU(), nn.Dropout(0.5)
        )
        self.dense = nn.Sequential(nn.Linear(48 * 7 * 5, 50), nn.ELU(), nn.Linear(50, 10), nn.ELU(), nn.Linear(10, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x / 127.5 - 1.0)
        return self.dense(x.view(x.size(0), -1))


class Keypoints(nn.Module):
    """Soft arg-max of heat maps: coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.maps = features(), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(self.features(x))
        n, k, h, w = maps.shape
        shares = torch.softmax(maps.view(n, k, -1), dim=-1).view(n, k, h, w)
        rows = (shares.sum(3) * torch.linspace(-1, 1, h)).sum(2)
        columns = (shares.sum(2) * torch.linspace(-1, 1, w)).sum(2)
        return torch.cat([rows, columns], 1)


class Residual(nn.Module):
    """Pre-activation residual blocks with a given norm."""

    def __init__(self, norm: Callable[[int], nn.Module]):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.norms = nn.ModuleList([norm(8), norm(8)])
        self.convs = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)])
        self.fc = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs):
            x = x + conv(functional.relu(norm(x)))
        return self.fc(x.mean([2, 3]))


class Cbam(nn.Module):
    """Channel and spatial attention (Woo et al., ECCV 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = features()
        self.mlp = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16))
        self.spatial, self.fc = nn.Conv2d(2, 1, 7, padding=3), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        average, largest = x.mean((2, 3)), functional.adaptive_max_pool2d(x, 1).flatten(1)
        x = x * torch.sigmoid(self.mlp(average) + self.mlp(largest))[:, :, None, None]
        planes = torch.cat([torch.mean(x, dim=1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]], dim=1)
        x = x * torch.sigmoid(self.spatial(planes))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, (1, 1)), 1))


class Transformer(nn.Module):
    """`nn.TransformerEncoder` over patches with a class token."""

    def __init__(self, norm_first: bool, pooled: bool):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 31, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.fc, self.pooled = nn.LayerNorm(16), nn.Linear(16, 6), pooled

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        x = self.norm(self.encoder(x))
        return self.fc(x[:, 1:].mean(1) if self.pooled else x[:, 0])


class NonLocal(nn.Module):
    """Non-local block (Wang et al., CVPR 2018), with `einsum` or `bmm`."""

    def __init__(self, einsum: bool):
        super().__init__()
        self.features, self.einsum = features(), einsum
        self.theta, self.phi, self.g = (nn.Conv2d(16, 8, 1) for _ in range(3))
        self.out, self.gamma, self.fc = nn.Conv2d(8, 16, 1), nn.Parameter(torch.zeros(1)), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        n, _, h, w = x.shape
        theta, phi, g = (layer(x).view(n, 8, h * w) for layer in (self.theta, self.phi, self.g))
        if self.einsum:
            y = torch.einsum("ncq,nck->nqk", theta, phi).softmax(-1)
            y = torch.einsum("nqk,nck->ncq", y, g)
        else:
            y = torch.bmm(theta.permute(0, 2, 1), phi)
            y = torch.bmm(functional.softmax(y, dim=-1), g.permute(0, 2, 1)).permute(0, 2, 1).contiguous()
        return self.fc((x + self.gamma * self.out(y.view(n, 8, h, w))).mean((-2, -1)))


class WeightStandardised(nn.Conv2d):
    """A convolution whose kernel is standardised when it is called (Qiao et al., arXiv 1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        mean = weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = (weight.var(dim=(1, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        return functional.conv2d(x, (weight - mean) / deviation, self.bias, self.stride, self.padding)


class Detector(nn.Module):
    """Two scales, a pyramid, and one dense map of boxes and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = features(12)[:2], block(12, 16, stride=2)
        self.lateral, self.top = nn.Conv2d(12, 12, 1), nn.Conv2d(16, 12, 1)
        self.smooth, self.head = nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(x)
        high = self.high(low)
        merged = self.lateral(low) + functional.interpolate(self.top(high), scale_factor=2, mode="nearest")
        return self.head(functional.leaky_relu(self.smooth(merged), 0.1))


class ChannelSplit(nn.Module):
    """Halves of the channels, shuffled (Ma et al., ECCV 2018), with `chunk` and `movedim`."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.branch, self.fc = features(), block(8, 8), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.features(x).chunk(2, 1)
        x = torch.stack((left, self.branch(right)), dim=1).movedim(1, 2).flatten(1, 2)
        return self.fc(x.amax(dim=(-1, -2)))


class Autoencoder(nn.Module):
    """A bottleneck of one vector, and an image again."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.bottleneck = features(), nn.Linear(16 * 6 * 5, 10)
        self.expand = nn.Linear(10, 16 * 6 * 5)
        self.rise = nn.Sequential(
            nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.ReLU(True), nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1), nn.ReLU(True),
            nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        code = self.bottleneck(torch.flatten(self.features(x), start_dim=1))
        return self.rise(self.expand(code).reshape(-1, 16, 6, 5))


class InPlace(nn.Module):
    """Changes in place of what other names share: a dropout in evaluation, a conversion to its own type."""

    def __init__(self, share: Callable[[Tensor], Tensor]):
        super().__init__()
        self.features, self.share, self.fc = features(), share, nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x) - 1.0
        shared = self.share(x)
        return self.fc((functional.relu(shared.mul_(2.0)) + x).mean((2, 3)))


def pooled(x: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(x, 1)


def mixed_pool(x: Tensor) -> Tensor:
    return torch.cat([functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1)], 1)


WRITTEN: dict[str, Callable[[], nn.Module]] = {
    "sequential": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 10 * 8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 6),
    ),
    "lenet": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16 * 10 * 8, 30), nn.Tanh(), nn.Linear(30, 6),
    ),
    "unet_transposed": lambda: UNet("transposed"),
    "unet_scale": lambda: UNet("scale"),
    "unet_size": lambda: UNet("size"),
    "pilotnet": PilotNet,
    "keypoints": Keypoints,
    "group_norm_net": lambda: Residual(lambda width: nn.GroupNorm(4, width)),
    "instance_norm_net": lambda: Residual(lambda width: nn.InstanceNorm2d(width, affine=True)),
    "instance_norm_tracked": lambda: Residual(lambda width: nn.InstanceNorm2d(width, affine=True, track_running_stats=True)),
    "local_response_norm": lambda: Net(lambda x: functional.local_response_norm(x, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "prelu_net": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 8), nn.PReLU(), nn.Linear(8, 6)),
    "prelu_channels": lambda: Net(lambda x: x - 0.5, nn.PReLU(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "dropout2d": lambda: Net(lambda x: x, nn.Dropout2d(0.3), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(64, 6)),
    "alpha_dropout": lambda: Net(pooled, nn.Flatten(), nn.AlphaDropout(0.3), nn.SELU(), nn.Linear(16, 6)),
    "batch_norm_head": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6)),
    "batch_norm_last": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6)),
    "softmax_last": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 6), nn.Softmax(dim=1)),
    "log_softmax_last": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 6), nn.LogSoftmax(dim=1)),
    "sigmoid_last": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 1), nn.Sigmoid()),
    "tanh_last": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 2), nn.Tanh()),
    "squeezed_last": lambda: Net(pooled, nn.Flatten(), nn.Linear(16, 1), Apply(lambda x: x.squeeze(-1))),
    "conv_last": lambda: Net(pooled, nn.Conv2d(16, 6, 1), nn.Flatten()),
    "conv_last_pooled": lambda: Net(lambda x: x, nn.Conv2d(16, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "conv_last_squeezed": lambda: Net(pooled, nn.Conv2d(16, 6, 1), Apply(lambda x: x.squeeze(3).squeeze(2))),
    "global_max": lambda: Net(lambda x: functional.adaptive_max_pool2d(x, 1), nn.Flatten(), nn.Linear(16, 6)),
    "mixed_pool": lambda: Net(mixed_pool, nn.Flatten(), nn.Linear(32, 6)),
    "adaptive_max_uneven": lambda: Net(lambda x: functional.adaptive_max_pool2d(x, 4), nn.Flatten(), nn.Linear(256, 6)),
    "average_flatten": lambda: Net(lambda x: x, nn.AvgPool2d((6, 5)), nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 6)),
    "view_heads": lambda: Net(lambda x: x.view(-1, 16 * 6 * 5), nn.Linear(480, 8), nn.ReLU(), nn.Linear(8, 6)),
    "std_pool": lambda: Net(lambda x: torch.cat([x.mean((2, 3)), x.std((2, 3))], 1), nn.Linear(32, 6)),
    "generalised_mean": lambda: Net(lambda x: x.clamp(min=1e-6).pow(3.0).mean((-2, -1)).pow(1.0 / 3.0), nn.Linear(16, 6)),
    "normalised_features": lambda: Net(lambda x: functional.normalize(x.mean((2, 3)), p=2, dim=1), nn.Linear(16, 6)),
    "unit_output": lambda: Net(lambda x: x.mean((2, 3)), nn.Linear(16, 4), Apply(lambda x: x / x.norm(dim=1, keepdim=True))),
    "unfolded": lambda: Net(lambda x: functional.unfold(x, 3, padding=1).mean(2), nn.Linear(144, 6)),
    "hardshrink": lambda: Net(lambda x: functional.softsign(x - 1) + functional.hardtanh(x - 1) + functional.logsigmoid(x), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "celu_selu": lambda: Net(lambda x: functional.celu(x - 1, 0.5) + functional.selu(x - 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "where": lambda: Net(lambda x: torch.where(x > 0.5, x, 0.1 * x), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "avg_pool1d": lambda: Net(lambda x: functional.max_pool1d(functional.avg_pool1d(x.flatten(2), 2), 3), nn.Flatten(), nn.Linear(80, 6)),
    "adaptive_pool1d": lambda: Net(lambda x: x.flatten(2), nn.AdaptiveAvgPool1d(5), nn.Flatten(), nn.Linear(80, 6)),
    "conv1d_tail": lambda: Net(lambda x: x.flatten(2), nn.Conv1d(16, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 6)),
    "lp_pool": lambda: Net(lambda x: functional.lp_pool2d(x, 2, 2), nn.Flatten(), nn.Linear(96, 6)),
    "nearest_exact": lambda: Net(lambda x: functional.interpolate(x, size=(9, 11), mode="nearest-exact"), nn.Conv2d(16, 6, 1)),
    "resize_factor": lambda: Net(lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"), nn.Conv2d(16, 6, 1)),
    "resize_area": lambda: Net(lambda x: functional.interpolate(x, size=(3, 3), mode="area"), nn.Flatten(), nn.Linear(144, 6)),
    "resize_antialiased": lambda: Net(lambda x: functional.interpolate(x, size=(3, 3), mode="bilinear", antialias=True), nn.Flatten(), nn.Linear(144, 6)),
    "coordinates": lambda: Net(lambda x: torch.cat([x, torch.linspace(-1, 1, 6).view(1, 1, 6, 1).expand(x.shape[0], 1, 6, 5)], 1), nn.Conv2d(17, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)),
    "grey": lambda: nn.Sequential(Apply(lambda x: (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)), nn.Conv2d(1, 8, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 11 * 9, 6)),
    "bgr": lambda: nn.Sequential(Apply(lambda x: x[:, [2, 1, 0]]), *features(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "masked": lambda: Net(lambda x: x.masked_fill(torch.eye(6, 5).bool(), 0.0), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "cumulated": lambda: Net(lambda x: x.cumsum(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)),
    "gram": lambda: Net(lambda x: torch.einsum("nchw,ndhw->ncd", x, x) / 30.0, nn.Flatten(), nn.Linear(256, 6)),
    "einops_like": lambda: Net(lambda x: x.unflatten(1, (4, 4)).swapaxes(1, 2).flatten(1, 2).mT, nn.Flatten(), nn.Linear(480, 6)),
    "tiled": lambda: Net(lambda x: torch.hstack([x, torch.tile(x.mean((2, 3), keepdim=True), (1, 1, 6, 5))]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 6)),
    "weight_standardised": lambda: nn.Sequential(WeightStandardised(3, 8, 3, 2), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)),
    "weight_normed": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3, 2)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)),
    "spectral_normed": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 8, 3, 2)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)),
    "cosine_head": lambda: Net(lambda x: x.mean((2, 3)), Cosine()),
    "cbam": Cbam,
    "transformer": lambda: Transformer(norm_first=False, pooled=False),
    "transformer_norm_first": lambda: Transformer(norm_first=True, pooled=True),
    "multihead": lambda: SelfAttention(),
    "non_local": lambda: NonLocal(einsum=False),
    "non_local_einsum": lambda: NonLocal(einsum=True),
    "detector": Detector,
    "channel_split": ChannelSplit,
    "autoencoder": Autoencoder,
    "in_place_dropout": lambda: InPlace(lambda x: functional.dropout(x, 0.5, training=False)),
    "in_place_to": lambda: InPlace(lambda x: x.to(x.dtype)),
    "in_place_contiguous": lambda: InPlace(lambda x: x.contiguous()),
    "in_place_copy": lambda: InPlace(lambda x: x.clone()),
    "recurrent": lambda: Recurrent(),
    "range_assigned": lambda: RangeAssigned(),
    "trained_exponent": lambda: TrainedExponent(),
    "weight_normed_linear": lambda: Net(lambda x: x.mean((2, 3)), nn.utils.parametrizations.weight_norm(nn.Linear(16, 6))),
    "deployed_softmax": lambda: nn.Sequential(Apply(lambda x: (x / 255.0 - 0.45) / 0.22), Net(pooled, nn.Flatten(), nn.Linear(16, 6), nn.Softmax(1))),
    "norm_head": lambda: Net(lambda x: x.mean((2, 3)), nn.LayerNorm(16), nn.Linear(16, 6)),
    "gelu_head": lambda: Net(lambda x: x.mean((2, 3)), nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 6)),
}


class RangeAssigned(nn.Module):
    """Channels that are normalised in place, and ranges of features."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.fc = features(), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 0] = x[:, 0] * 0.458 - 0.03
        x[:, 1] = x[:, 1] * 0.448 - 0.088
        x[:, 2] = x[:, 2] * 0.45 - 0.188
        x = self.features(x)
        x[:, :4] *= 2.0
        x[:, :, 1:3] += 1.0
        return self.fc(x.mean((2, 3)))


class TrainedExponent(nn.Module):
    """Generalised mean with a trained exponent (Radenović et al., TPAMI 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.exponent, self.fc = features(), nn.Parameter(torch.ones(1) * 3), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(self.features(x).clamp(min=1e-6).pow(self.exponent), (6, 5))
        return self.fc(x.pow(1.0 / self.exponent).flatten(1))


class Cosine(nn.Module):
    """Cosine similarity with a prototype for each class, times a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.zeros(6, 16)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * functional.linear(functional.normalize(x, dim=1), functional.normalize(self.weight, dim=1))


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.attention, self.fc = features(), nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).flatten(2).permute(0, 2, 1)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.fc(x.mean(dim=1))


class Recurrent(nn.Module):
    """A GRU over columns: refused."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.gru, self.fc = features(), nn.GRU(96, 8, batch_first=True), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.gru(self.features(x).flatten(1, 2).transpose(1, 2))[0][:, -1])
