"""Local features of any number of modalities, a cluster of attention units for each, and a classifier of all their sums."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pellucid.task import Batch, Output
from pellucid.tasks.video.clusters import AttentionCluster
from pellucid.tasks.video.settings import Cluster


class VideoNetwork(nn.Module):
    """Class logits of clips.

    Reads of each modality its local features (b n f), or, where its backbone is to be asked, `MODALITY_frames` (b n c h w), and
    `MODALITY_present` (b n). Asked with the flag `with_attention` it also gives `pooling.local.MODALITY` (b u n): what each unit gives
    each feature.

    Args:
        streams: modality -> backbone, `n c h w` to `n f`; of modalities whose features come from elsewhere none.
        widths: modality -> numbers in a local feature, in the order of the classifier's inputs.
        clusters: modality -> its settings.
        head: widths of hidden layers.
    """

    def __init__(
        self,
        streams: Mapping[str, nn.Module],
        widths: Mapping[str, int],
        clusters: Mapping[str, Cluster],
        num_classes: int,
        head: Sequence[int] = (),
        dropout: float = 0.5,
    ):
        super().__init__()
        self.streams = nn.ModuleDict(streams)
        self.local = nn.ModuleDict({name: nn.Identity() for name in widths})  # where local features can be read and replaced
        made = {name: AttentionCluster(width, clusters[name]) for name, width in widths.items()}
        self.clusters = nn.ModuleDict(made)
        self.head = classifier(sum(cluster.width for cluster in made.values()), num_classes, head, dropout)

    def forward(self, batch: Batch) -> Output:
        """`logits` (b c)."""
        sums, told = [], {}
        for name, module in self.clusters.items():
            cluster = cast(AttentionCluster, module)
            features, present = self.local[name](self.features(name, batch)), batch[f"{name}_present"]
            weights = cluster.weights(features, present)
            sums.append(cluster.pool(features, weights, present))
            told[f"pooling.local.{name}"] = weights
        logits = self.head(torch.cat(sums, 1))
        return {"logits": logits, **(told if batch.get("with_attention") else {})}

    def features(self, name: str, batch: Batch) -> Float[Tensor, "b n f"]:
        """The local features of a batch, given or made by the modality's backbone."""
        if name in batch:
            return batch[name]
        frames: Shaped[Tensor, "b n c h w"] = batch[f"{name}_frames"]
        found = self.streams[name](rearrange(frames, "b n c h w -> (b n) c h w"))
        return rearrange(found, "(b n) f -> b n f", b=frames.shape[0])


def classifier(width: int, num_classes: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Dropout, hidden layers of tanh, and a linear layer."""
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    for inner in hidden:
        layers += [nn.Linear(width, inner), nn.Tanh()]
        width = inner
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
