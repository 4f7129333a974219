"""The text-conditioned detector as a task's model: uint8 pictures and tokens in a padded batch to words and boxes."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from pellucid.nn.detr import queries_attention
from pellucid.nn.mdetr import Mdetr
from pellucid.nn.pixels import Normalising
from pellucid.task import Batch, Output


class GroundingModel(Normalising):
    """Reads `picture` (b 3 h w, uint8), `pixel_present` (b h w), `tokens` and `tokens_present` (b t); gives what `Mdetr` tells.

    Asked with the flag `with_attention` it also gives `query_attention`, as a detector does, and the same of tokens.

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
        told = self.net(image, present, batch["tokens"], batch["tokens_present"], self.training and self.all_layers)
        return told | self._attention(image, batch) if batch.get("with_attention") else told

    def _attention(self, image: Float[Tensor, "b 3 h w"], batch: Batch) -> Output:
        """How much each query looks at each cell of the picture, and at each token, by head; the shares of both make 1."""
        encoded = self.net.encode(image, batch["pixel_present"], batch["tokens"], batch["tokens_present"])
        looks = queries_attention(self.net, encoded.seen)
        words = batch["tokens"].shape[1]
        cells = encoded.seen.cells.flatten(1).shape[1]
        return {"query_attention": looks[..., -words - cells : -words], "query_attention.net.text.words": looks[..., -words:]}
