"""The text-conditioned detector as a task's model: uint8 pictures and tokens in a padded batch to words and boxes."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.nn.detr import Looked, queries_attention, rows
from pellucid.nn.mdetr import Mdetr
from pellucid.nn.pixels import Normalising
from pellucid.task import Batch, Output

SILENT = -1e4  # of a word that is not there


class GroundingModel(Normalising):
    """Reads `picture` (b 3 h w, uint8), `pixel_present` (b h w), `tokens` and `tokens_present` (b t); gives what `Mdetr` tells.

    Asked with the flag `with_attention` it also gives `query_attention`, as a detector does, and the same of tokens. The two `stages` give
    the same as all of it, one after the other: `look` at the pictures, then `ask`, as often as there are captions.

    Args:
        mean: of pixel values between 0 and 1, that the backbone was trained with.
        all_layers: while training, tell of all decoder layers.
        aligned: the temperature of queries' and tokens' products, where these say which words a query answers, and its logits only whether
            there is an object; None where the logits say both.
    """

    stages = ("look", "ask")

    def __init__(self, net: Mdetr, mean: Sequence[float], std: Sequence[float], all_layers: bool = True, aligned: float | None = None):
        super().__init__(mean, std)
        self.net, self.all_layers, self.aligned = net, all_layers, aligned

    def forward(self, batch: Batch) -> Output:
        """`logits` (b q c), the last class being no-object, `boxes_cxcywh` (b q 4), and what the network has beside."""
        image, present = self._shown(batch)
        told = self.net(image, present, batch["tokens"], batch["tokens_present"], self.training and self.all_layers)
        told = self._spoken(told, batch["tokens_present"])
        return told | self._attention(image, batch) if batch.get("with_attention") else told

    def _attention(self, image: Float[Tensor, "b 3 h w"], batch: Batch) -> Output:
        """How much each query looks at each cell of the picture, and at each token, by head; the shares of both make 1."""
        encoded = self.net.encode(image, batch["pixel_present"], batch["tokens"], batch["tokens_present"])
        looks = queries_attention(self.net, encoded.seen)
        words = batch["tokens"].shape[1]
        cells = encoded.seen.cells.flatten(1).shape[1]
        return {"query_attention": looks[..., -words - cells : -words], "query_attention.net.text.words": looks[..., -words:]}

    def _shown(self, batch: Batch) -> tuple[Float[Tensor, "b 3 h w"], Bool[Tensor, "b h w"]]:
        present = batch["pixel_present"]
        image = self.pixels(self.normalised(batch["picture"]))
        return image * present[:, None], present

    def look(self, batch: Batch) -> Output:
        """`picture_map` (b d h w) and `picture_cells`, which of it are real (b h w); for a mask head finer maps, `finer_0` to `finer_2`."""
        looked = self.net.look(*self._shown(batch))
        told = {"picture_map": looked.projected, "picture_cells": looked.cells}
        return told | ({} if self.net.mask_head is None else {f"finer_{i}": one for i, one in enumerate(looked.maps[:3])})

    def ask(self, batch: Batch) -> Output:
        """What `forward` gives, of the captions and of what `look` has told of as many pictures."""
        seen, cells = batch["picture_map"], batch["picture_cells"]
        drawn = self.net.mask_head is not None
        finer = [batch[f"finer_{i}"] for i in range(3)] if drawn else []
        present = batch["pixel_present"] if drawn and self.net.mask_padding else None
        looked = Looked(finer, seen, cells, rows(self.net.position(cells, seen.dtype)), present)
        encoded = self.net.join(looked, self.net.read(batch["tokens"], batch["tokens_present"]))
        return self._spoken(self.net.decode(encoded, self.training and self.all_layers), batch["tokens_present"])

    def _spoken(self, told: Output, tokens_present: Bool[Tensor, "b t"]) -> Output:
        """The same, the words' logits of the products where those say which words."""
        if self.aligned is None:
            return told
        logits = {name: value for name, value in told.items() if name.removeprefix("aux_") == "logits"}
        found = {}
        for name, value in logits.items():
            layers = (slice(None), *[None] * (value.ndim - 3))  # earlier layers stand behind the batch
            products = told[name.replace("logits", "query_code")] @ told["token_code"][layers].mT / self.aligned
            words = products.masked_fill(~tokens_present[layers][..., None, :], SILENT).log_softmax(-1)
            rest = words.new_full((*words.shape[:-1], value.shape[-1] - 1 - words.shape[-1]), SILENT)
            any_word = value[..., :-1].logsumexp(-1, keepdim=True)
            found[name] = torch.cat([any_word + words, rest, value[..., -1:]], -1)
        return told | found
