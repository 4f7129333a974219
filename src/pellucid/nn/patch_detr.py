"""UP-DETR: a DETR whose queries are told what to look for by the features of patches.

Source: Dai, Cai, Lin and Chen 2021, "UP-DETR: unsupervised pre-training for object detection with transformers", CVPR.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pellucid.errors import BadUsage
from pellucid.nn.detr import Detr, Shape, split_layers
from pellucid.nn.resnet import ResNet
from pellucid.nn.transformer import Mlp


@dataclass(frozen=True)
class Patches:
    """How patches meet queries.

    Args:
        num: patches of a picture while training; each is looked for by an equal share of the queries, which see only one another.
        reconstruct: queries also say what features the backbone finds in their patch.
        detach: these features take no gradient as a target, which would let the backbone make them trivial.
        pooled: all patches of a picture make one vector, which every query is told; queries see one another (one-shot detection).
    """

    num: int = 10
    reconstruct: bool = True
    detach: bool = True
    pooled: bool = False


@dataclass(frozen=True)
class Told:
    """What queries are told beside what they learned, all of it optional.

    Args:
        patch_present: patches that are there; others fill up the batch.
        keep: queries that are told their patch.
        order: a permutation of the learned queries for each picture.
    """

    patch_present: Bool[Tensor, "b p"] | None = None
    keep: Bool[Tensor, "b q"] | None = None
    order: Int[Tensor, "b q"] | None = None


class PatchDetr(Detr):
    """Pictures and patches to a class and a box for each query, and the features of its patch.

    With fewer patches than in training, the queries of the last groups are left out.

    Raises:
        BadUsage: the patches do not divide the queries evenly.
    Differs: the authors' group mask opens as many groups as a group has queries, which leaves rows without a key where patches are more;
    their target is not detached where the backbone is trained.
    """

    def __init__(self, backbone: ResNet, shape: Shape, patches: Patches = Patches(), mask_padding: bool = True):
        super().__init__(backbone, shape, mask_padding)
        if patches.num < 1 or shape.num_queries % patches.num:
            raise BadUsage(f"{shape.num_queries} queries cannot be shared evenly by {patches.num} patches; change one of them")
        self.patches, self.group = patches, shape.num_queries // patches.num
        self.patch_to_query = nn.Linear(backbone.channels[-1], shape.width)
        self.feature_head = Mlp(shape.width, shape.width, backbone.channels[-1]) if patches.reconstruct else None

    def patch_features(self, patches: Float[Tensor, "b p 3 s s"]) -> Float[Tensor, "b p e"]:
        """What the backbone finds in each patch, averaged over its last map."""
        last = self.backbone(rearrange(patches, "b p c h w -> (b p) c h w"))[-1]
        return reduce(last, "(b p) e h w -> b p e", "mean", b=len(patches))

    def told_positions(self, features: Float[Tensor, "b p e"], told: Told = Told()) -> Float[Tensor, "b q d"]:
        """The learned queries, each with what its patch adds."""
        b, p, _ = features.shape
        if self.patches.pooled:
            offset = repeat(self.patch_to_query(_mean(features, told.patch_present)), "b d -> b q d", q=self.patches.num * self.group)
        elif p > self.patches.num:
            raise BadUsage(f"{p} patches, but the network was made for {self.patches.num} in a picture; give fewer at a time")
        else:
            offset = repeat(self.patch_to_query(features), "b p d -> b (p g) d", g=self.group)
        if told.keep is not None:
            offset = offset * rearrange(told.keep, "b q -> b q 1")  # the others are not made larger for it, unlike in dropout
        learned = self.query_positions(b) if told.order is None else self.queries.weight[told.order]
        return learned[:, : offset.shape[1]] + offset

    def among(self, num_patches: int) -> Bool[Tensor, "q q"] | None:
        """Which queries see each other: those of one patch; None where all do."""
        if self.patches.pooled:
            return None
        return group_mask(num_patches, self.group).to(self.queries.weight.device)

    def forward(  # type: ignore[override]
        self,
        image: Float[Tensor, "b 3 h w"],
        present: Bool[Tensor, "b h w"],
        patches: Float[Tensor, "b p 3 s s"],
        told: Told = Told(),
        all_layers: bool = True,
    ) -> dict[str, Tensor]:
        """What `tell` says of each picture's queries, `patch_features` (b p e) and, where queries reconstruct them, `features` (b q e) and
        `aux_features` (b l q e) of the earlier layers.
        """
        found = self.patch_features(patches)
        seen = self.see(image, present)
        states = self.decoder(self.told_positions(found, told), seen.memory, self.among(found.shape[1]), all_layers)
        output = self.tell(states) | {"patch_features": found.detach() if self.patches.detach else found}
        return output if self.feature_head is None else output | split_layers({"features": self.feature_head(states)})

    def attention(
        self, image: Float[Tensor, "b 3 h w"], present: Bool[Tensor, "b h w"], patches: Float[Tensor, "b p 3 s s"], told: Told = Told()
    ) -> Float[Tensor, "b q m n"]:
        """How much each query looks at each cell in the last decoder layer, by head."""
        found = self.patch_features(patches)
        looks = self.decoder.looks(self.told_positions(found, told), self.see(image, present).memory, self.among(found.shape[1]))
        return rearrange(looks, "b m q n -> b q m n")


def group_mask(num_patches: int, group: int) -> Bool[Tensor, "q q"]:
    """True between queries of the same patch, `group` of each standing together."""
    of_query = torch.arange(num_patches * group) // group
    return rearrange(of_query, "q -> q 1") == of_query


def _mean(features: Float[Tensor, "b p e"], present: Bool[Tensor, "b p"] | None) -> Float[Tensor, "b e"]:
    if present is None:
        return features.mean(1)
    weight = present.to(features)
    return einsum(features, weight / weight.sum(1, keepdim=True).clamp_min(1), "b p e, b p -> b e")
