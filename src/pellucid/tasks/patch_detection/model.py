"""The patch detector as a task's model: uint8 pictures and patches to a class and a box for each query."""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from pellucid.nn.patch_detr import PatchDetr, Told
from pellucid.nn.pixels import Normalising
from pellucid.task import Batch, Output


class PatchModel(Normalising):
    """Reads `picture` (b 3 h w, uint8), `pixel_present` (b h w), `query_patch` (b p 3 s s, uint8) and `query_patch_present` (b p); while
    training perhaps `query_keep` and `query_order` (b q).

    Asked with the flag `with_attention` it also gives `query_attention` (b q m n): how much each query looks at each cell, by head.

    Args:
        mean: of pixel values between 0 and 1, that the backbone was trained with.
        all_layers: while training, tell of all decoder layers.
    """

    def __init__(self, net: PatchDetr, mean: Sequence[float], std: Sequence[float], all_layers: bool = True):
        super().__init__(mean, std)
        self.net, self.all_layers = net, all_layers

    def forward(self, batch: Batch) -> Output:
        """What `PatchDetr` tells, and `query_present` (b q): queries whose patch is there."""
        present, patch_present = batch["pixel_present"], batch["query_patch_present"]
        image = self.pixels(self.normalised(batch["picture"])) * rearrange(present, "b h w -> b 1 h w")
        patches = self.patches(batch["query_patch"])
        told = Told(patch_present, batch.get("query_keep"), batch.get("query_order"))
        output = self.net(image, present, patches, told, self.training and self.all_layers)
        output["query_present"] = self.query_present(patch_present)
        if batch.get("with_attention"):
            output["query_attention"] = self.net.attention(image, present, patches, told)
        return output

    def patches(self, patches: UInt8[Tensor, "b p 3 s s"]) -> Float[Tensor, "b p 3 s s"]:
        """The patches as the backbone takes them."""
        return rearrange(self.normalised(rearrange(patches, "b p c h w -> (b p) c h w")), "(b p) c h w -> b p c h w", b=len(patches))

    def query_present(self, patch_present: Bool[Tensor, "b p"]) -> Bool[Tensor, "b q"]:
        """Queries whose patch is there."""
        if self.net.patches.pooled:
            return torch.ones(len(patch_present), self.net.queries.num_embeddings, dtype=torch.bool, device=patch_present.device)
        return repeat(patch_present, "b p -> b (p g)", g=self.net.group)
