"""The 47 networks of the coverage suite: one of timm's or torchvision's (`tv:`) per family, with the side they are exported at.

Classifiers have a cross-entropy loss; `dense` networks and towers without a head have a weighted sum of their outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import timm
import torch
import torchvision


@dataclass(frozen=True)
class Network:
    """How to construct a network, and the image side, in pixels, that it is exported at."""

    make: Callable[[], torch.nn.Module]
    side: int
    classifier: bool = True


def timm_net(name: str, side: int, classifier: bool = True, **options: object) -> Network:
    """A network of timm's, without downloaded weights."""
    return Network(partial(timm.create_model, name, **options), side, classifier)


def sized(name: str, side: int, classifier: bool = True) -> Network:
    """A network of timm's whose tensors depend on the side."""
    return timm_net(name, side, classifier, img_size=side)


def torchvision_net(name: str, side: int, classifier: bool = True, **options: object) -> Network:
    """A network of torchvision's, without downloaded weights."""
    make = getattr(torchvision.models if classifier else torchvision.models.segmentation, name)
    return Network(partial(make, weights=None, **options), side, classifier)


def segmentation(name: str, side: int) -> Network:
    return torchvision_net(name, side, classifier=False, weights_backbone=None)


NETWORKS: dict[str, Network] = {
    "convnext_atto": timm_net("convnext_atto", 96),
    "convnextv2_atto": timm_net("convnextv2_atto", 96),
    "deit_tiny_patch16": sized("deit_tiny_patch16_224", 224),
    "densenet121": timm_net("densenet121", 96),
    "edgenext_xx_small": timm_net("edgenext_xx_small", 128),
    "efficientformer_l1": timm_net("efficientformer_l1", 224),
    "efficientnet_b0": timm_net("efficientnet_b0", 128),
    "efficientnet_lite0": timm_net("efficientnet_lite0", 128),
    "efficientvit_b0": timm_net("efficientvit_b0", 128),
    "eva02_tiny_patch14": sized("eva02_tiny_patch14_224", 112),
    "fastvit_t8": timm_net("fastvit_t8", 128),
    "ghostnet_100": timm_net("ghostnet_100", 128),
    "hgnetv2_b0": timm_net("hgnetv2_b0", 96),
    "inception_v3": timm_net("inception_v3", 139),
    "levit_128s": timm_net("levit_128s", 224),
    "mixer_s32": timm_net("mixer_s32_224", 224),
    "mnasnet_small": timm_net("mnasnet_small", 128),
    "mobilenetv2_100": timm_net("mobilenetv2_100", 128),
    "mobilenetv3_small_100": timm_net("mobilenetv3_small_100", 128),
    "mobilenetv4_conv_small": timm_net("mobilenetv4_conv_small", 128),
    "mobileone_s0": timm_net("mobileone_s0", 128),
    "mobilevit_xxs": timm_net("mobilevit_xxs", 128),
    "mobilevitv2_050": timm_net("mobilevitv2_050", 128),
    "poolformer_s12": timm_net("poolformer_s12", 96),
    "regnety_002": timm_net("regnety_002", 128),
    "repghostnet_050": timm_net("repghostnet_050", 128),
    "repvgg_a0": timm_net("repvgg_a0", 96),
    "repvit_m0_9": timm_net("repvit_m0_9", 128),
    "resnet18": timm_net("resnet18", 97),
    "resnet26d": timm_net("resnet26d", 96),
    "resnext50_32x4d": timm_net("resnext50_32x4d", 96),
    "rexnet_100": timm_net("rexnet_100", 128),
    "seresnet50": timm_net("seresnet50", 96),
    "swin_tiny_patch4_window7": timm_net("swin_tiny_patch4_window7_224", 224),
    "tf_efficientnetv2_b0": timm_net("tf_efficientnetv2_b0", 128),
    "tiny_vit_5m": timm_net("tiny_vit_5m_224", 224),
    "tv:deeplabv3_mobilenet_v3_large": segmentation("deeplabv3_mobilenet_v3_large", 128),
    "tv:fcn_resnet50": segmentation("fcn_resnet50", 96),
    "tv:googlenet": torchvision_net("googlenet", 96, init_weights=False),
    "tv:lraspp_mobilenet_v3_large": segmentation("lraspp_mobilenet_v3_large", 128),
    "tv:shufflenet_v2_x0_5": torchvision_net("shufflenet_v2_x0_5", 128),
    "tv:squeezenet1_1": torchvision_net("squeezenet1_1", 96),
    "vgg11": timm_net("vgg11", 64),
    "vit_base_patch16_siglip": sized("vit_base_patch16_siglip_224", 112, classifier=False),
    "vit_base_patch32_clip": timm_net("vit_base_patch32_clip_224", 224, classifier=False),
    "vit_small_patch14_dinov2": sized("vit_small_patch14_dinov2", 112, classifier=False),
    "xcit_nano_12_p16": timm_net("xcit_nano_12_p16_224", 112),
}
