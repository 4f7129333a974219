"""DETR: a CNN, an encoder over its last map, a decoder over learned queries, a class and a box for each query.

Source: Carion et al. 2020, "End-to-end object detection with transformers", ECCV.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pellucid.nn.masks import MaskHead
from pellucid.nn.position import POSITIONS
from pellucid.nn.resnet import ResNet, reduced
from pellucid.nn.timm_maps import TimmMaps
from pellucid.nn.transformer import Decoder, Encoder, Memory, Mlp, spread_evenly


@dataclass(frozen=True)
class Shape:
    """Sizes of a DETR, with the paper's numbers.

    Args:
        num_classes: without the last one, no-object.
        pre_norm: norms before attention and dense layers, as UP-DETR has them, instead of after.
        position: `sine` or `learned`.
    """

    num_classes: int
    num_queries: int = 100
    width: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward: int = 2048
    dropout: float = 0.1
    pre_norm: bool = False
    position: str = "sine"


@dataclass(frozen=True)
class Looked:
    """What the backbone made of a batch of pictures.

    Args:
        maps: of the backbone's four stages.
        projected: the last one, in the transformer's width.
        cells: of that map, which are real.
        position: of each of them.
        present: real pixels, where padding is kept out of convolutions.
    """

    maps: list[Float[Tensor, "b _ _ _"]]
    projected: Float[Tensor, "b d h w"]
    cells: Bool[Tensor, "b h w"]
    position: Float[Tensor, "b n d"]
    present: Bool[Tensor, "b y x"] | None


@dataclass(frozen=True)
class Seen:
    """What the encoder made of a batch of pictures; the first four are what `Looked` has.

    Args:
        memory: for the decoder.
        encoded: what of it is of the pictures, as a map.
    """

    maps: list[Float[Tensor, "b _ _ _"]]
    projected: Float[Tensor, "b d h w"]
    cells: Bool[Tensor, "b h w"]
    present: Bool[Tensor, "b y x"] | None
    memory: Memory
    encoded: Float[Tensor, "b d h w"]


class Detr(nn.Module):
    """Pictures to a set of classes and boxes.

    Boxes are centre, width and height as shares of the unpadded picture.

    Args:
        mask_padding: what lies beside a picture is made zero in the backbone, so that padding changes no prediction; the published
            weights were trained without, which is the same for pictures alone.
        masks: a mask for each query, too, whose attention sums to 1 `per_head`, or `joint`; empty for boxes alone.
    """

    def __init__(self, backbone: ResNet | TimmMaps, shape: Shape, mask_padding: bool = True, masks: str = ""):
        super().__init__()
        size = (shape.width, shape.num_heads, shape.feedforward, shape.dropout, shape.pre_norm)
        self.mask_padding = mask_padding
        self.backbone = backbone
        self.position = POSITIONS[shape.position](shape.width)
        self.input_proj = nn.Conv2d(backbone.channels[-1], shape.width, 1)
        self.encoder, self.decoder = Encoder(shape.encoder_layers, *size), Decoder(shape.decoder_layers, *size)
        spread_evenly(self.encoder)
        spread_evenly(self.decoder)
        self.memory = nn.Identity()  # where the encoder's map can be read and replaced
        self.queries = nn.Embedding(shape.num_queries, shape.width)
        self.class_head = nn.Linear(shape.width, shape.num_classes + 1)
        self.box_head = Mlp(shape.width, shape.width, shape.width, 4)
        self.mask_head = MaskHead(shape.width, shape.num_heads, backbone.channels[:3], masks == "joint") if masks else None

    def look(self, image: Float[Tensor, "b 3 h w"], present: Bool[Tensor, "b h w"]) -> Looked:
        """Backbone alone."""
        real = present if self.mask_padding else None
        maps = self.backbone(image, real)
        projected = self.input_proj(maps[-1])
        cells = self.cells(present, projected)
        return Looked(maps, projected, cells, rows(self.position(cells, projected.dtype)), real)

    def see(self, image: Float[Tensor, "b 3 h w"], present: Bool[Tensor, "b h w"]) -> Seen:
        """Backbone and encoder."""
        looked = self.look(image, present)
        keys = rearrange(looked.cells, "b h w -> b (h w)")
        encoded = self.mapped(self.encoder(rows(looked.projected), looked.position, keys), looked)
        memory = Memory(rows(encoded), looked.position, keys)
        return Seen(looked.maps, looked.projected, looked.cells, looked.present, memory, encoded)

    def mapped(self, tokens: Float[Tensor, "b n d"], looked: Looked) -> Float[Tensor, "b d h w"]:
        """The encoder's tokens of the pictures as a map."""
        # a height told to einops would be fixed in an exported program
        return self.memory(rearrange(tokens, "b n d -> b d n").reshape(looked.projected.shape))

    def cells(self, present: Bool[Tensor, "b y x"], last: Float[Tensor, "b e h w"]) -> Bool[Tensor, "b h w"]:
        """Which cells of the backbone's last map are real."""
        step = self.backbone.stride
        return present[:, ::step, ::step] if self.mask_padding else reduced(present, last)

    def query_positions(self, num_examples: int | torch.SymInt) -> Float[Tensor, "b q d"]:
        """The learned queries, for each example."""
        return self.queries.weight.expand(num_examples, -1, -1)

    def tell(self, states: Float[Tensor, "l b q d"]) -> dict[str, Tensor]:
        """`logits` (b q c), the last class being no-object, and `boxes_cxcywh` (b q 4) of the decoder's last states.

        Those of earlier layers are `aux_logits` (b l q c) and `aux_boxes_cxcywh` (b l q 4).
        """
        return split_layers(self.heads(states))

    def heads(self, states: Float[Tensor, "l b q d"]) -> dict[str, Float[Tensor, "l b q ..."]]:
        """What is told of each query, by layer."""
        return {"logits": self.class_head(states), "boxes_cxcywh": self.box_head(states).sigmoid()}

    def draw(self, states: Float[Tensor, "l b q d"], seen: Seen) -> dict[str, Float[Tensor, "b q y x"]]:
        """With a mask head `mask_logits` of the last states."""
        if self.mask_head is None:
            return {}
        return {"mask_logits": self.mask_head(states[-1], seen.encoded, seen.projected, seen.cells, seen.maps[:3], seen.present)}

    def forward(self, image: Float[Tensor, "b 3 h w"], present: Bool[Tensor, "b h w"], all_layers: bool = True) -> dict[str, Tensor]:
        """What `tell` says of each picture's queries, and with a mask head `mask_logits` (b q y x).

        Args:
            present: true at real pixels.
            all_layers: tell of the earlier layers, too.
        """
        seen = self.see(image, present)
        states = self.decoder(self.query_positions(image.shape[0]), seen.memory, all_layers=all_layers)
        return self.tell(states) | self.draw(states, seen)


def rows(picture: Float[Tensor, "b d h w"]) -> Float[Tensor, "b n d"]:
    """A map's cells in one row."""
    return rearrange(picture, "b d h w -> b (h w) d")


def split_layers(told: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of all layers (l b ...): the last layer's under their names, the earlier ones' (b l ...) as `aux_`."""
    last = {name: value[-1] for name, value in told.items()}
    first = {f"aux_{name}": rearrange(value[:-1], "l b ... -> b l ...") for name, value in told.items() if len(value) > 1}
    return last | first


def layers_of(output: dict[str, Tensor], name: str) -> Float[Tensor, "l b ..."]:
    """An output of all layers, the last one last, as `split_layers` has parted it."""
    last = rearrange(output[name], "b ... -> 1 b ...")
    first = output.get(f"aux_{name}")
    return last if first is None else torch.cat([rearrange(first, "b l ... -> l b ..."), last])


def queries_attention(model: Detr, seen: Seen) -> Float[Tensor, "b q h n"]:
    """How much each query looks at each cell in the last decoder layer, by head."""
    looks = model.decoder.looks(model.query_positions(seen.cells.shape[0]), seen.memory)
    return rearrange(looks, "b h q n -> b q h n")
