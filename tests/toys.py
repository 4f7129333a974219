"""Two whole tasks of toy size: pictures with a label, and padded sentences with a value, words made of several tokens."""

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pellucid.explain.probe import Probe
from pellucid.task import Batch, Example, Output, Site


class Mean:
    """The mean of what each update finds; a metric in ten lines."""

    def __init__(self, find, higher_is_better):
        self.find, self.higher_is_better, self.found = find, higher_is_better, []

    def update(self, prediction, example):
        self.found.append(float(self.find(prediction, example)))

    def merge(self, other):
        self.found += other.found

    def compute(self):
        return sum(self.found) / len(self.found) if self.found else float("nan")


class PictureNet(nn.Module):
    def __init__(self, classes: int = 5):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.body = nn.Conv2d(8, 16, 3, 2, 1)
        self.head = nn.Linear(16, classes)

    def forward(self, batch: Batch) -> Output:
        maps = F.gelu(self.body(F.gelu(self.stem(batch["image"]))))
        return {"logits": self.head(reduce(maps, "b d h w -> b d", "mean"))}


class Pictures:
    """Single-label image classification; its score is the log-probability of the label."""

    score_unit = "log-probability"

    def __init__(self, model: nn.Module | None = None):
        self.model = model or PictureNet()
        self.sites = {"input": Site("stem", "b d h w", side="input"), "body": Site("body", "b d h w")}

    def collate(self, examples: list[Example]) -> Batch:
        return {key: torch.stack([torch.as_tensor(e[key]) for e in examples]) for key in ("image", "label")}

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        return {"cross_entropy": F.cross_entropy(output["logits"], batch["label"])}

    def predict(self, output: Output, batch: Batch) -> list[int]:
        return output["logits"].argmax(-1).tolist()

    def metrics(self) -> dict[str, Mean]:
        return {"accuracy": Mean(lambda prediction, example: prediction == example["label"], True)}

    def answer(self, output: Output) -> Int[Tensor, " b"]:
        return output["logits"].argmax(-1)

    def score(self, output: Output, answer: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        return output["logits"].log_softmax(-1).gather(-1, rearrange(answer, "b -> b 1"))[:, 0]


class SentenceNet(nn.Module):
    def __init__(self, tokens: int = 30, width: int = 8):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.encoder = nn.TransformerEncoderLayer(width, 2, 16, 0.0)  # n b d
        self.head = nn.Linear(width, 1)

    def pool(self, hidden: Float[Tensor, "b n d"], batch: Batch) -> Float[Tensor, "b d"]:
        weight = batch["tokens_present"][..., None].float()
        return reduce(hidden * weight, "b n d -> b d", "sum") / reduce(weight, "b n one -> b one", "sum")

    def forward(self, batch: Batch) -> Output:
        units = rearrange(self.embedding(batch["tokens"]), "b n d -> n b d")
        hidden = self.encoder(units, src_key_padding_mask=~batch["tokens_present"])
        return {"value": self.head(self.pool(rearrange(hidden, "n b d -> b n d"), batch))[:, 0]}


class Sentences:
    """Rating of a sentence: a start token, then two letters a token; its score is the rating."""

    score_unit = "value"

    def __init__(self, model: nn.Module | None = None):
        self.model = model or SentenceNet()
        named = {"present": "tokens_present", "names": "words", "groups": "token_words"}
        self.sites = {"input": Site("embedding", "b n d", **named), "encoder": Site("encoder", "n b d", **named)}

    def collate(self, examples: list[Example]) -> Batch:
        words = [e["text"].split() for e in examples]
        pieces = [[(w, word[i : i + 2]) for w, word in enumerate(some) for i in range(0, len(word), 2)] for some in words]
        tokens = [torch.tensor([1] + [2 + sum(map(ord, piece)) % 28 for _, piece in some]) for some in pieces]
        groups = [torch.tensor([-1] + [w for w, _ in some]) for some in pieces]
        padded = pad_sequence(tokens, True, 0)
        return {
            "tokens": padded,
            "tokens_present": padded > 0,
            "token_words": pad_sequence(groups, True, -1),
            "words": words,
            "rating": torch.tensor([e["rating"] for e in examples]),
        }

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        return {"squared": F.mse_loss(output["value"], batch["rating"])}

    def predict(self, output: Output, batch: Batch) -> list[float]:
        return output["value"].tolist()

    def metrics(self) -> dict[str, Mean]:
        return {"squared_error": Mean(lambda prediction, example: (prediction - example["rating"]) ** 2, False)}

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        return torch.zeros_like(output["value"], dtype=torch.long)

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        return output["value"]


def pictures(count: int = 4) -> list[Example]:
    return [{"id": str(i), "image": torch.randn(3, 8, 8), "label": i % 5} for i in range(count)]


def sentences() -> list[Example]:
    texts = ["a good film", "wonderful", "bad and very long indeed", "it is not good"]
    return [{"id": str(i), "text": text, "rating": float(i)} for i, text in enumerate(texts)]


def linear_probe(
    weights: Float[Tensor, "n d"], units: Float[Tensor, "b n d"], present: Tensor | None = None, groups: Tensor | None = None
) -> Probe:
    """A question whose answer is known: the score is the sum of weights times units."""
    present = torch.ones(units.shape[:2], dtype=torch.bool) if present is None else present
    of_unit = lambda features: (features * weights).sum(-1)  # noqa: E731
    return Probe(
        units,
        present,
        lambda features: (of_unit(features) * present.repeat(len(features) // len(units), 1)).sum(-1),
        torch.zeros(len(units), dtype=torch.long),
        None,
        groups,
    )
