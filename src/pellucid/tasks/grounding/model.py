"""The text-conditioned detector as a task's model: uint8 pictures and tokens in a padded batch to words and boxes."""

from collections.abc import Sequence

from pellucid.nn.mdetr import Mdetr
from pellucid.nn.pixels import Normalising
from pellucid.task import Batch, Output


class GroundingModel(Normalising):
    """Reads `picture` (b 3 h w, uint8), `pixel_present` (b h w), `tokens` and `tokens_present` (b t); gives what `Mdetr` tells.

    Args:
        mean: of pixel values between 0 and 1, that the backbone was trained with.
        all_layers: while training, tell of all decoder layers.
    """

    def __init__(self, net: Mdetr, mean: Sequence[float], std: Sequence[float], all_layers: bool = True):
        super().__init__(mean, std)
        self.net, self.all_layers = net, all_layers

    def forward(self, batch: Batch) -> Output:
        """`logits` (b q c), the last class being no-object, `boxes_cxcywh` (b q 4), and what the network has beside."""
        present = batch["pixel_present"]
        image = self.pixels(self.normalised(batch["picture"]))
        image = image * present[:, None]
        return self.net(image, present, batch["tokens"], batch["tokens_present"], self.training and self.all_layers)
