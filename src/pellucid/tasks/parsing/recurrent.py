"""A small encoder-decoder for two cores: LSTMs that meet in attention."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pellucid.errors import BadUsage

State = dict[str, Tensor]


class Reader(nn.LSTM):
    """Reads both ways, of each row its real tokens alone, which come first."""

    def forward(self, x: Float[Tensor, "b n d"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b n d"]:  # type: ignore[override]
        """What was read, 0 at padding."""
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(super().forward(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class Recurrent(nn.Module):
    """An LSTM that reads both ways, an LSTM that writes, and attention from what is written to what was read.

    All that the writer knows of the source it has from `memory`: its first state is made of it, and attention looks at it. Attention
    is not fed back into the writer, so that a whole given target takes one pass.

    Args:
        width: of embeddings, states and memory; half of it reads in each direction.
        layers: of the reader and of the writer.
        dropout: on embeddings, on memory, between layers and before the last linear layer.
    Raises:
        BadUsage: an odd width.
    Source: Bahdanau et al. 2015; Luong et al. 2015. Differs: a scaled dot product with a learned matrix on the writer's side.
    """

    def __init__(self, num_source: int, num_target: int, width: int, layers: int, dropout: float, start_id: int, end_id: int, pad_id: int):
        super().__init__()
        if width % 2:
            raise BadUsage(f"width={width}: half of it reads in each direction, so it must be even")
        self.layers, self.start_id, self.end_id, self.pad_id = layers, start_id, end_id, pad_id
        between = dropout if layers > 1 else 0.0
        self.source_embedding, self.target_embedding = nn.Embedding(num_source, width), nn.Embedding(num_target, width)
        self.reader = Reader(width, width // 2, layers, batch_first=True, dropout=between, bidirectional=True)
        self.memory = nn.Identity()  # a place that can be read and replaced
        self.first = nn.Linear(width, 2 * layers * width)
        self.writer = nn.LSTM(width, width, layers, batch_first=True, dropout=between)
        self.query = nn.Linear(width, width, bias=False)
        self.joined = nn.Linear(2 * width, width)
        self.readout = nn.Linear(width, num_target)
        self.dropout = nn.Dropout(dropout)

    def encode(self, tokens: Int[Tensor, "b n"], present: Bool[Tensor, "b n"]) -> State:
        """What was read, and the writer's state before its first token; real tokens come first in a row."""
        read = self.reader(self.dropout(self.source_embedding(tokens)), present.sum(1).clamp_min(1))
        memory = self.dropout(self.memory(read))
        real = rearrange(present, "b n -> b n 1")
        memory = memory.where(real, 0.0)
        mean = memory.sum(1) / real.sum(1).clamp_min(1)
        hidden, cell = rearrange(self.first(mean), "b (two l d) -> two b l d", two=2, l=self.layers)
        return {"memory": memory, "present": present, "hidden": hidden.tanh(), "cell": cell}

    def forced(self, state: State, said: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        """Logits of each token of `said` given those before it."""
        before = torch.cat([torch.full_like(said[:, :1], self.start_id), said[:, :-1]], 1)
        return self._written(state, before)[0]

    def step(self, state: State, tokens: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b v"], State]:
        """Logits of what follows `tokens`, and the state after them."""
        logits, hidden, cell = self._written(state, rearrange(tokens, "b -> b 1"))
        return logits[:, 0], {**state, "hidden": hidden, "cell": cell}

    def select(self, state: State, rows: Int[Tensor, " r"]) -> State:
        """The state of these rows, which may repeat."""
        return {name: value[rows] for name, value in state.items()}

    def _written(self, state: State, before: Int[Tensor, "b t"]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits after each of the tokens, and the writer's state after the last."""
        start = tuple(rearrange(state[name], "b l d -> l b d").contiguous() for name in ("hidden", "cell"))
        x, after = self.writer(self.dropout(self.target_embedding(before)), start)
        found = self._looked(x, state["memory"], state["present"])
        joined = self.joined(torch.cat([x, found], -1)).tanh()
        hidden, cell = (rearrange(part, "l b d -> b l d") for part in after)
        return self.readout(self.dropout(joined)), hidden, cell

    def _looked(self, x: Float[Tensor, "b t d"], memory: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Float[Tensor, "b t d"]:
        """What the writer finds in memory."""
        return F.scaled_dot_product_attention(self.query(x), memory, memory, rearrange(present, "b n -> b 1 n"))
