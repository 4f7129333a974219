"""Any of timm's networks that gives maps, as a detector's backbone: its last four maps, batch norms that do not move."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from timm.layers import FrozenBatchNormAct2d
from timm.layers.norm_act import BatchNormAct2d
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import BadUsage
from pellucid.nn.backbone import backbone
from pellucid.nn.resnet import FrozenNorm, zeroed

PREFIX = "timm:"  # of a backbone's name in settings
NUM_MAPS = 4
EPS = 1e-5  # beside the variance of a frozen norm
Maps = list[Float[Tensor, "b _ _ _"]]


class TimmMaps(nn.Module):
    """The last four maps of one of timm's networks, under its own names (`net.conv_stem.weight`); what comes after them is left out.

    Args:
        name: what messages call the network.
    Raises:
        BadUsage: it does not give four maps.
    """

    def __init__(self, net: nn.Module, name: str):
        super().__init__()
        told: Any = getattr(net, "feature_info", None)
        if not told or len(told) < NUM_MAPS or not hasattr(net, "forward_intermediates"):
            raise BadUsage(f"backbone {PREFIX}{name}: gives no {NUM_MAPS} maps; take a network that does, as {PREFIX}tf_efficientnet_b3")
        self.channels = tuple(one["num_chs"] for one in told[-NUM_MAPS:])
        self.stride = told[-1]["reduction"]
        self.indices = list(range(len(told) - NUM_MAPS, len(told)))
        net.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)  # type: ignore[operator]
        _freeze_norms(net)
        self.net = net

    def forward(self, image: Float[Tensor, "b 3 h w"], present: Bool[Tensor, "b h w"] | None = None) -> Maps:
        """The maps, finest first.

        Args:
            present: true at real pixels. Given, pictures of one size pass by themselves, on a canvas of whole strides, so that padding
                changes nothing; a traced graph takes the batch as it is.
        Differs: the authors' maps depend on how far a picture is padded; None does the same.
        """
        if present is None or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self._maps(zeroed(image, present))
        canvas = self._whole(*image.shape[-2:])
        sizes = torch.stack([present.any(2).sum(1), present.any(1).sum(1)], 1).tolist()
        own = [self._whole(height, width) for height, width in sizes]
        padded = self._padded(zeroed(image, present), canvas)
        found: dict[int, Maps] = {}
        for size in sorted(set(own)):
            here = torch.tensor([i for i, one in enumerate(own) if one == size], device=image.device)
            maps = self._maps(padded[here][:, :, : size[0], : size[1]])
            scale = [(one.shape[-2] * canvas[0] // size[0], one.shape[-1] * canvas[1] // size[1]) for one in maps]
            grown = [self._padded(one, wanted) for one, wanted in zip(maps, scale, strict=True)]
            found |= {i: [one[k] for one in grown] for k, i in enumerate(here.tolist())}
        return [torch.stack([found[i][level] for i in range(len(image))]) for level in range(NUM_MAPS)]

    def freeze(self, all_of_it: bool = False) -> None:
        """Takes stem and first stage, or all of it, out of training; which these are, timm says."""
        groups = group_parameters(self.net, self.net.group_matcher(coarse=True), reverse=True)  # type: ignore[operator]
        for name, parameter in self.net.named_parameters():
            if all_of_it or groups[name] <= 1:
                parameter.requires_grad_(False)

    def _maps(self, image: Tensor) -> Maps:
        return self.net.forward_intermediates(image, indices=self.indices, intermediates_only=True)  # type: ignore[operator]

    def _whole(self, height: int, width: int) -> tuple[int, int]:
        step = self.stride
        return max(1, -(-height // step)) * step, max(1, -(-width // step)) * step

    @staticmethod
    def _padded(x: Tensor, size: tuple[int, int]) -> Tensor:
        return F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]))


def timm_maps(name: str, pretrained: str = "", frozen: str = "") -> TimmMaps:
    """The network with pretrained weights in place, or random ones.

    Args:
        name: without `timm:`.
        pretrained: as `nn.backbone.backbone` takes it.
        frozen: what does not train: `stem` and the first stage, `all`, or nothing, as MDETR's authors have it.
    Raises:
        BadUsage, BadData: as `nn.backbone.backbone`; a network that does not give four maps.
    """
    model = TimmMaps(backbone(name, 0, pretrained), name)
    if frozen:
        model.freeze(all_of_it=frozen == "all")
    return model


def _freeze_norms(module: nn.Module) -> None:
    """Has batch norms stay as they are, with all else that timm's do beside; each with `EPS` in its root, as published detectors have it.

    Differs: where timm's has another, as an EfficientNet's 0.001, the variance makes up for it, so that timm's weights give timm's maps;
        the authors take the variance as it is.
    """
    for name, child in list(module.named_children()):
        if not isinstance(child, nn.BatchNorm2d):
            _freeze_norms(child)
            continue
        with torch.device(child.running_mean.device):  # type: ignore[union-attr]
            fixed: Any = (FrozenBatchNormAct2d if isinstance(child, BatchNormAct2d) else FrozenNorm)(child.num_features, EPS)
        if isinstance(child, BatchNormAct2d):
            fixed.drop, fixed.act = child.drop, child.act
        state = {key: value for key, value in child.state_dict().items() if key != "num_batches_tracked"}
        fixed.load_state_dict(state | {"running_var": state["running_var"] + (child.eps - EPS)}, assign=True)
        setattr(module, name, fixed)
