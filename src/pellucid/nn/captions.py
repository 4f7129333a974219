"""The caption's side of a text-conditioned detector: any encoder of transformers, and its rows in the detector's width."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Read:
    """What the text encoder made of a batch of captions.

    Args:
        hidden: of the encoder's last layer.
        resized: the same in the detector's width.
        present: tokens that are real.
        pooled: a vector for each caption, from an encoder that has a pooler.
    """

    hidden: Float[Tensor, "b t e"]
    resized: Float[Tensor, "b t d"]
    present: Bool[Tensor, "b t"]
    pooled: Float[Tensor, "b e"] | None


class Captions(nn.Module):
    """Tokens to rows in the detector's width; padding stands behind the tokens.

    Args:
        encoder: one of transformers, or any that has `get_input_embeddings` and takes `inputs_embeds` and `attention_mask`.
        text_width: of its rows.
        width: of the detector.
    """

    def __init__(self, encoder: nn.Module, text_width: int, width: int, dropout: float = 0.1):
        super().__init__()
        self.encoder = encoder
        self.words = nn.Identity()  # where the embedded tokens can be read and replaced
        self.resize, self.norm, self.dropout = nn.Linear(text_width, width), nn.LayerNorm(width, eps=1e-12), nn.Dropout(dropout)

    @property
    def pools(self) -> bool:
        """Whether the encoder has a vector for a whole caption."""
        return getattr(self.encoder, "pooler", None) is not None

    def forward(self, tokens: Int[Tensor, "b t"], present: Bool[Tensor, "b t"]) -> Read:
        """What the encoder makes of the captions."""
        words = self.words(self.encoder.get_input_embeddings()(tokens))  # type: ignore[operator]
        found = self.encoder(inputs_embeds=words, attention_mask=present.long(), **self._places(present))
        resized = self.dropout(self.norm(self.resize(found.last_hidden_state)))
        return Read(found.last_hidden_state, resized, present, found.pooler_output if self.pools else None)

    def _places(self, present: Bool[Tensor, "b t"]) -> dict[str, Int[Tensor, "b t"]]:
        """Each token's position, for encoders as RoBERTa, which keep one for padding and see none in `inputs_embeds`."""
        table: Any = getattr(getattr(self.encoder, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        return {} if padding is None else {"position_ids": torch.cumsum(present, 1) * present + padding}
