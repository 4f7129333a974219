"""The detector as a task's model: uint8 pictures in a padded batch to classes and boxes."""

from collections.abc import Sequence

from pellucid.nn.detr import Detr, queries_attention
from pellucid.nn.pixels import Normalising
from pellucid.task import Batch, Output


class DetectionModel(Normalising):
    """Reads `picture` (b 3 h w, uint8) and `pixel_present` (b h w); gives what `Detr` tells.

    Asked with the flag `with_attention` it also gives `query_attention` (b q m n): how much each query looks at each cell, by head.

    Args:
        mean: of pixel values between 0 and 1, that the backbone was trained with.
        all_layers: while training, tell of all decoder layers.
    """

    def __init__(self, net: Detr, mean: Sequence[float], std: Sequence[float], all_layers: bool = True):
        super().__init__(mean, std)
        self.net, self.all_layers = net, all_layers

    def forward(self, batch: Batch) -> Output:
        """`logits` (b q c), `boxes_cxcywh` (b q 4), while training those of earlier layers, and `mask_logits` (b q h w)."""
        present = batch["pixel_present"]
        image = self.pixels(self.normalised(batch["picture"]))
        image = image * present[:, None]  # beside a picture lies the mean of all pictures, as the authors have it
        told = self.net(image, present, self.training and self.all_layers)
        if batch.get("with_attention"):
            told["query_attention"] = queries_attention(self.net, self.net.see(image, present))
        return told
