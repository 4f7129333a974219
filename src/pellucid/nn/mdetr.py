"""MDETR: a DETR whose encoder sees the words of a caption beside the picture, and whose queries say which words they answer.

Source: Kamath et al. 2021, "MDETR: modulated detection for end-to-end multi-modal understanding", ICCV.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.coerce import nearest
from pellucid.errors import BadUsage
from pellucid.nn.captions import Captions, Read
from pellucid.nn.detr import Detr, Looked, Seen, Shape, rows
from pellucid.nn.resnet import ResNet
from pellucid.nn.timm_maps import TimmMaps
from pellucid.nn.transformer import Memory, Mlp

# heads that answer questions, each read from a query of its own, in this order, and their numbers of answers; 0 is yes or no
ANSWERS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "gqa": {"type": 5, "obj": 3, "rel": 1594, "attr": 403, "cat": 678, "global": 111},
        "gqa_unified": {"answer": 1853},
        "clevr": {"type": 3, "binary": 0, "reg": 20, "attr": 15},
    }
)
COUNTS = "reg"  # of the heads, the one that has hidden layers


@dataclass(frozen=True)
class Extras:
    """What a text-conditioned detector has beside classes and boxes.

    Args:
        align_width: of the vectors in which queries and tokens, or pictures and captions, are compared.
        final: each query says whether its box is what the whole caption asks for.
        contrast: a vector that stands first in the encoder speaks for the picture, and the text encoder's pooler for the caption.
        answers: heads that answer questions, of `ANSWERS`, or none.
        align: queries and tokens are compared.
    """

    align_width: int = 64
    final: bool = False
    contrast: bool = False
    answers: str = ""
    align: bool = True


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of pictures and captions together, for `Mdetr.decode`.

    Args:
        seen: of the pictures; its memory has the caption's rows behind them, and with `contrast` one before.
        text: the caption's rows.
        text_present: which of them are real.
        picture_code: with `contrast`, of each picture.
        caption_code: with `contrast`, of each caption.
    """

    seen: Seen
    text: Float[Tensor, "b t d"]
    text_present: Bool[Tensor, "b t"]
    picture_code: Float[Tensor, "b e"] | None = None
    caption_code: Float[Tensor, "b e"] | None = None


class Mdetr(Detr):
    """Pictures and captions to a set of boxes, each with the words that it answers.

    The classes of `shape` are slots of the caption's tokens. `encode` and `decode` are the two calls of `forward`; `look`, `read` and
    `join` are the parts of `encode`, so that one look at a picture serves many captions.

    Args:
        text: the encoder of captions, as `Captions` takes it.
        text_width: of its rows.
        mask_padding: as `Detr` has it.
        masks: as `Detr` has them.
    Raises:
        BadUsage: no such answers, or a contrast without a pooler in the text encoder.
    """

    def __init__(
        self,
        backbone: ResNet | TimmMaps,
        shape: Shape,
        text: nn.Module,
        text_width: int,
        extras: Extras = Extras(),
        mask_padding: bool = True,
        masks: str = "",
    ):
        super().__init__(backbone, shape, mask_padding, masks)
        self.text = Captions(text, text_width, shape.width, shape.dropout)
        self.text_memory = nn.Identity()  # where the encoder's rows of the caption can be read and replaced
        self.num_queries = shape.num_queries
        width, inner = shape.width, extras.align_width
        self.final_head = nn.Linear(width, 1) if extras.final else None
        self.align_queries = nn.Linear(width, inner) if extras.align else None
        self.align_tokens = nn.Linear(width, inner) if extras.align else None
        self._add_contrast(width, text_width, inner if extras.contrast else 0)
        self._add_answers(width, extras.answers)

    def _add_contrast(self, width: int, text_width: int, inner: int) -> None:
        if inner and not self.text.pools:
            raise BadUsage("contrast: this text encoder has no pooler, whose vector stands for a caption; take another, or contrast=0")
        self.summary = nn.Embedding(1, width) if inner else None
        self.contrast_picture = nn.Linear(width, inner, bias=False) if inner else None
        self.contrast_text = nn.Linear(text_width, inner, bias=False) if inner else None
        if self.summary is not None:
            nn.init.xavier_uniform_(self.summary.weight)

    def _add_answers(self, width: int, answers: str) -> None:
        if answers and answers not in ANSWERS:
            raise BadUsage(f"no answers {answers!r}{nearest(answers, list(ANSWERS))}")
        heads = ANSWERS[answers] if answers else {}
        self.answer_queries = nn.Embedding(len(heads), width) if heads else None
        made = {f"reply_{name}": _answer_head(name, width, num) for name, num in heads.items()}
        self.answer_heads = nn.ModuleDict(made) if heads else None

    # ---- encoding -----------------------------------------------------------------------------------------------------

    def read(self, tokens: Int[Tensor, "b t"], tokens_present: Bool[Tensor, "b t"]) -> Read:
        """The text encoder alone."""
        return self.text(tokens, tokens_present)

    def join(self, looked: Looked, read: Read) -> Encoded:
        """The encoder over pictures and captions, as many of the one as of the other, or one picture with all captions."""
        looked = for_each(looked, read.resized.shape[0])
        before = int(self.summary is not None)
        # by the map's sides, not by the positions: an exported program cannot see that these are as many
        cells = looked.projected.shape[2] * looked.projected.shape[3]
        tokens, position, present = self._rows(looked, read)
        encoded = self.encoder(tokens, position, present)
        first, text = encoded[:, :before], self.text_memory(encoded[:, before + cells :])
        picture = self.mapped(encoded[:, before : before + cells], looked)
        memory = Memory(torch.cat([first, rows(picture), text], 1), position, present)
        seen = Seen(looked.maps, looked.projected, looked.cells, looked.present, memory, picture)
        if self.contrast_picture is None or self.contrast_text is None:
            return Encoded(seen, text, read.present)
        assert read.pooled is not None
        return Encoded(seen, text, read.present, self.contrast_picture(first[:, 0]), self.contrast_text(read.pooled))

    def _rows(self, looked: Looked, read: Read) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder is given: rows, of which all but the picture's have no position, their positions, and which are real."""
        tokens = [rows(looked.projected), read.resized]
        position = [looked.position, torch.zeros_like(read.resized)]
        present = [rearrange(looked.cells, "b h w -> b (h w)"), read.present]
        if self.summary is not None:
            first = self.summary.weight.expand(read.resized.shape[0], -1, -1)
            tokens, position = [first, *tokens], [torch.zeros_like(first), *position]
            present = [torch.ones_like(read.present[:, :1]), *present]
        return torch.cat(tokens, 1), torch.cat(position, 1), torch.cat(present, 1)

    def encode(
        self,
        image: Float[Tensor, "b 3 h w"],
        present: Bool[Tensor, "b h w"],
        tokens: Int[Tensor, "b t"],
        tokens_present: Bool[Tensor, "b t"],
    ) -> Encoded:
        """Everything before the decoder.

        Args:
            present: true at real pixels.
        """
        return self.join(self.look(image, present), self.read(tokens, tokens_present))

    # ---- decoding -----------------------------------------------------------------------------------------------------

    def query_positions(self, num_examples: int | torch.SymInt) -> Float[Tensor, "b q d"]:
        """The learned queries, for each example, and behind them those that answer questions."""
        found = super().query_positions(num_examples)
        if self.answer_queries is None:
            return found
        return torch.cat([found, self.answer_queries.weight.expand(num_examples, -1, -1)], 1)

    def heads(self, states: Float[Tensor, "l b q d"]) -> dict[str, Float[Tensor, "l b q ..."]]:
        """As `Detr`, and `final` (l b q) and `query_code` (l b q e) where there are such heads."""
        told = super().heads(states)
        if self.final_head is not None:
            told["final"] = rearrange(self.final_head(states), "l b q 1 -> l b q")
        if self.align_queries is not None:
            told["query_code"] = F.normalize(self.align_queries(states), dim=-1)
        return told

    def decode(self, encoded: Encoded, all_layers: bool = True) -> dict[str, Tensor]:
        """What `forward` gives.

        Args:
            all_layers: tell of the earlier layers, too.
        """
        everything = all_layers or self.answer_heads is not None
        states = self.decoder(self.query_positions(encoded.text.shape[0]), encoded.seen.memory, all_layers=everything)
        queries = states[:, :, : self.num_queries] if all_layers else states[-1:, :, : self.num_queries]
        return (
            self.tell(queries) | self.draw(queries, encoded.seen) | self._codes(encoded) | self._replies(states[0, :, self.num_queries :])
        )

    def _codes(self, encoded: Encoded) -> dict[str, Tensor]:
        codes = {"picture_code": encoded.picture_code, "caption_code": encoded.caption_code}
        if self.align_tokens is not None:
            codes["token_code"] = F.normalize(self.align_tokens(encoded.text), dim=-1)
        return {name: code for name, code in codes.items() if code is not None}

    def _replies(self, first: Float[Tensor, "b n d"]) -> dict[str, Tensor]:
        """Answers to questions, of the first layer's states, as the published weights have learned them."""
        if self.answer_heads is None:
            return {}
        told = {name: head(first[:, i]) for i, (name, head) in enumerate(self.answer_heads.items())}
        return {name: rearrange(logits, "b 1 -> b") if logits.shape[1] == 1 else logits for name, logits in told.items()}

    def forward(  # type: ignore[override]
        self,
        image: Float[Tensor, "b 3 h w"],
        present: Bool[Tensor, "b h w"],
        tokens: Int[Tensor, "b t"],
        tokens_present: Bool[Tensor, "b t"],
        all_layers: bool = True,
    ) -> dict[str, Tensor]:
        """What `tell` says of each picture's queries, with a mask head `mask_logits` (b q y x), and of the extras those that are there.

        `final` (b q) and `query_code` (b q e), those of earlier layers as `aux_`; `token_code` (b t e); `picture_code` and `caption_code`
        (b e), as they come from the projection; a `reply_` of each head that answers (b c), `reply_binary` (b).

        Args:
            present: true at real pixels.
            all_layers: tell of the earlier layers, too.
        """
        return self.decode(self.encode(image, present, tokens, tokens_present), all_layers)


def for_each(looked: Looked, num: int | torch.SymInt) -> Looked:
    """One picture's, for each of so many captions, without a copy; as it is where there are as many pictures.

    Raises:
        ValueError: several pictures, but not as many as captions.
    """
    pictures = looked.projected.shape[0]
    if pictures == num:
        return looked
    if pictures != 1:
        raise ValueError(f"{pictures} pictures and {num} captions; give one picture, or as many as captions")

    def spread(x: Tensor) -> Tensor:
        return x.expand(num, *x.shape[1:])

    return replace(
        looked,
        maps=[spread(one) for one in looked.maps],
        projected=spread(looked.projected),
        cells=spread(looked.cells),
        position=spread(looked.position),
        present=None if looked.present is None else spread(looked.present),
    )


def _answer_head(name: str, width: int, num: int) -> nn.Module:
    return Mlp(width, width, width, num) if name == COUNTS else nn.Linear(width, max(1, num))
