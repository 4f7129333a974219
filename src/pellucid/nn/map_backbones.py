"""Backbones that give maps, by the name that settings have: one of our ResNets, or any of timm's networks that gives four."""

from pellucid.nn.resnet import ResNet
from pellucid.nn.resnet_weights import pretrained_resnet
from pellucid.nn.timm_maps import PREFIX, TimmMaps, timm_maps


def map_backbone(name: str, pretrained: str = "", dilate: bool = False, frozen: str = "") -> ResNet | TimmMaps:
    """The network with pretrained weights in place, or random ones.

    Args:
        name: as `pretrained_resnet` takes it, or `timm:` and a name of timm's, which cannot be dilated.
    Raises:
        BadUsage, BadData: as `pretrained_resnet` and `timm_maps`.
    """
    if name.startswith(PREFIX):
        return timm_maps(name.removeprefix(PREFIX), pretrained, frozen)
    return pretrained_resnet(name, pretrained, dilate, frozen)
