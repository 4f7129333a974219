"""TripleNet: one encoder and one decoder, of which every map tells boxes and classes of pixels.

Source: Cao, Pang, Li 2019, "Triply supervised decoder networks for joint detection and segmentation", CVPR. The authors published no code;
    what the paper leaves open follows BlitzNet, which it extends, or is a field of `Shape`.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.coerce import nearest
from pellucid.errors import BadUsage
from pellucid.nn.default_boxes import Tiling, default_boxes
from pellucid.nn.fusion import AttentionFusion, FusedMaps, Maps, PairFusion, conv_norm
from pellucid.nn.resnet import NORMS, Block, ResNet
from pellucid.nn.timm_maps import TimmMaps

FINEST = {4: 0, 8: 1}  # stride of the decoder's finest map -> the backbone's first map that it sees
EXPANSION = 4  # of a bottleneck's 3 x 3 convolution to its map


@dataclass(frozen=True)
class Shape:
    """Parts and sizes of a TripleNet, with the paper's numbers where it gives them.

    Args:
        num_classes: without background, which is class 0 of boxes and of pixels.
        detect: boxes are told.
        segment: classes of pixels are told.
        pair: class-aware logits of every scale are learned (PairNet), not only those that are told.
        fused: pixels are told from all maps together (MFS), else from the finest.
        inner: boxes are told from a scale's class-aware logits, too (IM).
        agnostic: every scale learns what is any object at all (CAS), while training.
        attention: what a decoder map knows gates the encoder's (ASF).
        finest: stride of the decoder's finest map, 8 or 4.
        num_extra: stages of stride 2 behind the backbone.
        extra_blocks: bottlenecks of each; BlitzNet has 2.
        extra_channels: of their maps.
        width: of decoder maps.
        residual: of the 3 x 3 convolution inside a fusion.
        squeeze: how many times narrower than the map its gate is inside.
        inner_widths: of the logits' features, and where they meet the map.
        narrow: channels that each map is brought to before it takes part in the fused segmentation, 64 in BlitzNet; 0 leaves them.
        norm: `batch`, or `group` for small batches.
        project_deepest: the deepest map is projected before the first fusion, too, and not only before its heads.
        detach: errors of boxes do not change class-aware logits; gradients that are no training see through.
        share_agnostic: one head for all scales.
        align_corners: in the fused segmentation.
        background: probability of background that a box begins with; 0 for what chance gives.
    """

    num_classes: int
    detect: bool = True
    segment: bool = True
    pair: bool = True
    fused: bool = True
    inner: bool = True
    agnostic: bool = True
    attention: bool = True
    finest: int = 8
    num_extra: int = 3
    extra_blocks: int = 1
    extra_channels: int = 2048
    width: int = 512
    residual: int = 128
    squeeze: int = 16
    inner_widths: tuple[int, int, int] = (48, 128, 256)
    narrow: int = 0
    norm: str = "batch"
    project_deepest: bool = True
    detach: bool = False
    share_agnostic: bool = True
    align_corners: bool = False
    background: float = 0.0


class Inner(nn.Module):
    """Features of a map's class-aware logits, joined with the map (IM)."""

    def __init__(self, width: int, num_logits: int, widths: tuple[int, int, int], norm: str):
        super().__init__()
        first, second, joint = widths
        self.features = nn.Sequential(conv_norm(num_logits, first, 3, norm, bias=True), conv_norm(first, second, 3, norm, bias=True))
        self.join = conv_norm(second + width, joint, 3, norm, bias=True)

    def forward(self, logits: Float[Tensor, "b c h w"], decoded: Float[Tensor, "b d h w"]) -> Float[Tensor, "b e h w"]:
        """What boxes are told from."""
        return self.join(torch.cat([self.features(logits), decoded], 1))


@dataclass(frozen=True)
class Told:
    """What is told of one map; None where there is no such head, or nobody wants it."""

    class_logits: Float[Tensor, "b n c"] | None
    offsets: Float[Tensor, "b n 4"] | None
    aware_logits: Float[Tensor, "b c h w"] | None


class Heads(nn.Module):
    """Boxes and classes of pixels, told of one decoder map.

    Args:
        aware: there are class-aware logits.
    """

    def __init__(self, shape: Shape, boxes_per_cell: int, aware: bool):
        super().__init__()
        num, width = shape.num_classes + 1, shape.width
        self.boxes_per_cell, self.detach = boxes_per_cell, shape.detach
        self.aware = nn.Conv2d(width, num, 3, padding=1) if aware else None
        self.inner = Inner(width, num, shape.inner_widths, shape.norm) if shape.inner else None
        inside = shape.inner_widths[-1] if shape.inner else width
        self.classes = nn.Conv2d(inside, boxes_per_cell * num, 3, padding=1) if shape.detect else None
        self.offsets = nn.Conv2d(inside, boxes_per_cell * 4, 3, padding=1) if shape.detect else None

    def forward(self, decoded: Float[Tensor, "b d h w"], aware: bool = True) -> Told:
        """What is told, default boxes row after row, a cell's together.

        Args:
            aware: class-aware logits are wanted, even if no box is told from them.
        """
        logits = self.aware(decoded) if self.aware is not None and (aware or self.inner is not None) else None
        if self.classes is None or self.offsets is None:
            return Told(None, None, logits)
        seen = decoded
        if self.inner is not None:
            assert logits is not None
            seen = self.inner(logits.detach() if self.detach and self.training else logits, decoded)
        return Told(self._of_boxes(self.classes(seen)), self._of_boxes(self.offsets(seen)), logits)

    def _of_boxes(self, x: Float[Tensor, "b e h w"]) -> Float[Tensor, "b n k"]:
        return rearrange(x, "b (a k) h w -> b (h w a) k", a=self.boxes_per_cell)


class TripleNet(nn.Module):
    """Pictures of one size to classes and offsets of default boxes, and classes of cells.

    Lists of maps and heads run from the finest to the coarsest.

    Args:
        tiling: the default boxes.
    Raises:
        BadUsage: parts that cannot be together, or sizes that do not fit.
    """

    def __init__(self, backbone: ResNet | TimmMaps, shape: Shape, tiling: Tiling):
        super().__init__()
        _check(shape, backbone.stride)
        self.shape, self.tiling = shape, tiling
        self.backbone = backbone
        self.extra = nn.ModuleList(_stage(backbone.channels[-1] if i == 0 else shape.extra_channels, shape) for i in range(shape.num_extra))
        channels = [*backbone.channels[FINEST[shape.finest] :], *[shape.extra_channels] * shape.num_extra]
        num, width = len(channels), shape.width
        self.encoded = nn.ModuleList(nn.Identity() for _ in channels)  # where the encoder's maps can be read and replaced
        self.deepest = nn.Conv2d(channels[-1], width, 1)
        deep = [width] * (num - 2) + [width if shape.project_deepest else channels[-1]]
        self.fusions = nn.ModuleList(_fusion(below, skip, shape) for below, skip in zip(deep, channels[:-1], strict=True))
        self.decoded = nn.ModuleList(nn.Identity() for _ in channels)  # the same of the decoder's
        self.heads = nn.ModuleList(Heads(shape, tiling.per_cell, _has_aware(shape, i)) for i in range(num))
        self.fuse = FusedMaps(num, width, shape.num_classes + 1, shape.narrow, shape.align_corners) if shape.fused else None
        shared = 1 if shape.share_agnostic else num
        self.agnostic = nn.ModuleList(nn.Conv2d(width, 2, 3, padding=1) for _ in range(shared if shape.agnostic else 0))
        self._start()

    def _start(self) -> None:
        """New convolutions Kaiming-normal without bias, the boxes' classes with that of `background`."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("backbone."):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        likely = self.shape.background
        for heads in self.heads:
            if likely and isinstance(heads, Heads) and heads.classes is not None and heads.classes.bias is not None:
                odds = math.log(likely * self.shape.num_classes / (1 - likely))
                with torch.no_grad():
                    heads.classes.bias[:: self.shape.num_classes + 1] = odds

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of backbone and extra stages that the decoder sees."""
        maps = self.backbone(image)[FINEST[self.shape.finest] :]
        maps = [site(x) for site, x in zip(self.encoded, maps, strict=False)]
        for stage, site in zip(self.extra, self.encoded[len(maps) :], strict=True):
            x = maps[-1]
            for block in stage:  # type: ignore[attr-defined]
                x, _ = block(x, None)
            maps.append(site(x))
        return maps

    def decode(self, maps: Maps) -> list[Float[Tensor, "b d _ _"]]:
        """The decoder's maps, as many and of the same sizes."""
        decoded = [self.decoded[-1](self.deepest(maps[-1]))]
        below = decoded[0] if self.shape.project_deepest else maps[-1]
        for fusion, site, skip in reversed(list(zip(self.fusions, self.decoded, maps, strict=False))):
            below = site(fusion(below, skip))
            decoded.insert(0, below)
        return decoded

    def tell(self, decoded: Maps) -> dict[str, Tensor | list[Tensor]]:
        """What `forward` gives, of the decoder's maps."""
        learn = self.training and self.shape.pair
        told = [heads(x, aware=learn or self._is_told(i)) for i, (heads, x) in enumerate(zip(self.heads, decoded, strict=True))]
        output: dict[str, Tensor | list[Tensor]] = {}
        if self.shape.detect:
            output["class_logits"] = torch.cat([one.class_logits for one in told], 1)
            output["offsets"] = torch.cat([one.offsets for one in told], 1)
            defaults = default_boxes([(x.shape[2], x.shape[3]) for x in decoded], self.tiling, decoded[0].device)
            output["default_boxes"] = defaults.expand(decoded[0].shape[0], -1, -1)
        if self.fuse is not None:
            output["map_logits"] = self.fuse(decoded, decoded[0].shape[-2:])
        elif self.shape.segment:
            output["map_logits"] = told[0].aware_logits
        if learn and self.shape.segment:
            output["aware_logits"] = [one.aware_logits for i, one in enumerate(told) if not self._is_told(i)]
        if self.training and self.shape.agnostic:
            output["agnostic_logits"] = [self.agnostic[i % len(self.agnostic)](x) for i, x in enumerate(decoded)]
        return output

    def _is_told(self, i: int) -> bool:
        """Whether the class-aware logits of a map are what is told of pixels."""
        return self.shape.segment and not self.shape.fused and i == 0

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor | list[Tensor]]:
        """What is told of pictures, and while training also what only is learned.

        `class_logits` (b n c), `offsets` (b n 4) from `default_boxes` (b n 4; cxcywh in shares of the picture, the same for all pictures);
        `map_logits` (b c h w), of the size of the finest map. While training `aware_logits`, of each map whose class-aware logits are not
        `map_logits` itself, and `agnostic_logits`, other or object, of each map.
        """
        return self.tell(self.decode(self.encode(image)))


def _check(shape: Shape, stride: int) -> None:
    """Raises BadUsage for what cannot be."""
    if not (shape.detect or shape.segment):
        raise BadUsage("detect=False, segment=False: nothing is left to learn; take one of them")
    parts = {name: getattr(shape, name) for name in ("fused", "inner", "agnostic")}
    if not shape.segment and any(parts.values()):
        which = next(name for name, there in parts.items() if there)
        raise BadUsage(f"{which}=True with segment=False: nothing teaches it; say {which}=False")
    if shape.inner and not (shape.detect and shape.pair):
        raise BadUsage("inner=True needs detect=True and pair=True: boxes are told from class-aware logits that are learned")
    if shape.finest not in FINEST or stride != 32:
        raise BadUsage(f"finest={shape.finest} with a backbone of stride {stride}: give 4 or 8, and a backbone of stride 32")
    if shape.num_extra < 0 or shape.extra_channels % EXPANSION:
        raise BadUsage(f"num_extra={shape.num_extra}, extra_channels={shape.extra_channels}: give 0 or more, and a multiple of {EXPANSION}")
    if shape.norm not in NORMS:
        raise BadUsage(f"norm={shape.norm!r}{nearest(shape.norm, list(NORMS))}")
    if not 0 <= shape.background < 1:
        raise BadUsage(f"background={shape.background}: give a probability below 1")


def _stage(inside: int, shape: Shape) -> nn.ModuleList:
    """Bottlenecks of which the first has stride 2."""
    out = shape.extra_channels
    inner = out // EXPANSION
    first = Block((inside, inner), True, 2, 1, shape.norm)
    return nn.ModuleList([first, *(Block((out, inner), True, 1, 1, shape.norm) for _ in range(shape.extra_blocks - 1))])


def _fusion(deep: int, skip: int, shape: Shape) -> nn.Module:
    if shape.attention:
        return AttentionFusion(deep, skip, shape.width, shape.residual, shape.norm, shape.squeeze)
    return PairFusion(deep, skip, shape.width, shape.residual, shape.norm)


def _has_aware(shape: Shape, i: int) -> bool:
    """Whether map `i` has class-aware logits: told, learned, or told boxes from."""
    return shape.segment and (shape.pair or (i == 0 and not shape.fused))
