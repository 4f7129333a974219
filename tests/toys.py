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


class SlotNet(PictureNet):
    """Three slots, each with a class, of which the last is none, and a place."""

    def __init__(self):
        super().__init__(9)
        self.place = nn.Linear(16, 3)

    def forward(self, batch: Batch) -> Output:
        features = reduce(F.gelu(self.body(F.gelu(self.stem(batch["image"])))), "b d h w -> b d", "mean")
        return {"logits": rearrange(self.head(features), "b (q c) -> b q c", q=3), "places": self.place(features)}


class Slots(Pictures):
    """Up to three things in a picture, each with a class and a place; the first slot answers for the first, and so on."""

    weight = torch.tensor([1.0, 1.0, 0.1])

    def __init__(self, model: nn.Module | None = None):
        super().__init__(model or SlotNet())

    def collate(self, examples: list[Example]) -> Batch:
        batch = {"image": torch.stack([e["image"] for e in examples]), "places": [torch.tensor(e["places"]) for e in examples]}
        return batch | {"classes": [torch.tensor(e["classes"], dtype=torch.long) for e in examples]}

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        wanted = torch.stack([F.pad(own, (0, 3 - len(own)), value=2) for own in batch["classes"]])
        found = torch.cat([row[: len(own)] for row, own in zip(output["places"], batch["places"], strict=True)])
        return {
            "ce": F.cross_entropy(
                rearrange(output["logits"], "b q c -> (b q) c"), rearrange(wanted, "b q -> (b q)"), self.weight.to(wanted.device)
            ),
            "place": (found - torch.cat(batch["places"])).abs().sum() / max(1, len(found)),
            "size": output["logits"].square().mean(),
        }

    def amounts(self, batch: Batch) -> dict[str, float]:
        things = sum(map(len, batch["classes"]))
        return {"ce": things + 0.1 * (3 * len(batch["classes"]) - things), "place": float(things)}

    def predict(self, output: Output, batch: Batch) -> list[dict[str, list[int | float]]]:
        best = output["logits"].softmax(-1).max(-1)
        return [{"classes": c, "scores": s} for c, s in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def metrics(self) -> dict[str, Mean]:
        return {"right": Mean(lambda prediction, example: prediction["classes"][: len(example["classes"])] == example["classes"], True)}

    def answer(self, output: Output) -> Int[Tensor, " b"]:
        return rearrange(output["logits"], "b q c -> b (q c)").argmax(-1)

    def score(self, output: Output, answer: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        log_probs = rearrange(output["logits"].log_softmax(-1), "b q c -> b (q c)")
        return log_probs.gather(-1, rearrange(answer, "b -> b 1"))[:, 0]


def things(count: int = 4) -> list[Example]:
    """Pictures with two things, one, three, none, and so on."""
    numbers = [(2, 1, 3, 0)[i % 4] for i in range(count)]
    return [
        {**picture, "classes": [(i + k) % 2 for k in range(n)], "places": [0.1 * i + k for k in range(n)], "length": n}
        for i, (picture, n) in enumerate(zip(pictures(count), numbers, strict=True))
    ]


COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 220)}
SIDE, PATCH = 32, 8  # pixels


class SquareNet(nn.Module):
    """Patches of 8 pixels to 16 features each, then a look around."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.body = nn.Conv2d(12, 16, 2, 2)
        self.head = nn.Linear(16, classes)

    def forward(self, batch: Batch) -> Output:
        maps = F.relu(self.body(F.relu(self.stem(batch["image"]))))
        return {"logits": self.head(reduce(maps, "b d h w -> b d", "mean"))}


class PatchTransformer(nn.Module):
    """A class token before 16 patches; the head reads it."""

    def __init__(self, classes: int = 3, width: int = 16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, PATCH, PATCH)
        self.place = nn.Parameter(torch.randn(1, 17, width) / 10)
        self.embedding = nn.Identity()
        self.encoder = nn.TransformerEncoderLayer(width, 2, 32, 0.0, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, batch: Batch) -> Output:
        patches = rearrange(self.stem(batch["image"]), "b d h w -> b (h w) d")
        tokens = F.pad(patches, (0, 0, 1, 0)) + self.place
        return {"logits": self.head(self.encoder(self.embedding(tokens))[:, 0])}


class Squares(Pictures):
    """The colour of the one square in a picture of grey noise."""

    def __init__(self, model: nn.Module | None = None):
        self.model = model or SquareNet()
        seen = {"picture": "seen"}
        pixels = Site("stem", "b c (h p) (w q)", side="input", unit="c p q", axes={"p": PATCH, "q": PATCH}, **seen)
        self.sites = {"input": pixels}
        if isinstance(self.model, PatchTransformer):
            self.sites["tokens"] = Site("embedding", "b n d", groups="patch_of_token", grid=(4, 4), **seen)
        else:
            self.sites["body"] = Site("body", "b d h w", **seen)

    def collate(self, examples: list[Example]) -> Batch:
        seen = torch.stack([e["image"] for e in examples])
        batch = {"seen": seen, "image": seen / 127.5 - 1, "patch_of_token": (torch.arange(17) - 1).expand(len(seen), -1)}
        return batch | ({"label": self.gold(examples)} if all("label" in e for e in examples) else {})

    def predict(self, output: Output, batch: Batch) -> list[str]:
        return [list(COLOURS)[i] for i in output["logits"].argmax(-1).tolist()]

    def gold(self, examples: list[Example]) -> Int[Tensor, " b"]:
        return torch.tensor([list(COLOURS).index(e["label"]) for e in examples])


class ManySquares(Squares):
    """Every colour in a picture of grey noise; its score is the log-probability of one of them."""

    def collate(self, examples: list[Example]) -> Batch:
        batch = super().collate([{k: v for k, v in e.items() if k != "label"} for e in examples])
        return batch | {"labels": torch.tensor([[float(name in e["labels"]) for name in COLOURS] for e in examples])}

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        return {"bce": F.binary_cross_entropy_with_logits(output["logits"], batch["labels"])}

    def predict(self, output: Output, batch: Batch) -> list[dict[str, list[str]]]:
        names = list(COLOURS)
        rows = [[(v, names[i]) for i, v in enumerate(row) if v > 0] for row in output["logits"].tolist()]
        return [{"labels": [name for _, name in sorted(row, reverse=True)]} for row in rows]

    def metrics(self) -> dict[str, Mean]:
        return {"match": Mean(lambda prediction, example: set(prediction["labels"]) == set(example["labels"]), True)}

    def score(self, output: Output, answer: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        return F.logsigmoid(output["logits"]).gather(-1, rearrange(answer, "b -> b 1"))[:, 0]


def squares(count: int, seed: int = 0, most: int = 1) -> list[Example]:
    """Pictures of grey noise with one to `most` squares of different colours, each in a patch of its own, told as `patches`."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        image = (torch.rand(1, SIDE, SIDE, generator=draw) * 120 + 60).expand(3, -1, -1).round().clone()
        number = int(torch.randint(1, most + 1, (1,), generator=draw))
        colours = [list(COLOURS)[k] for k in torch.randperm(3, generator=draw)[:number].tolist()]
        patches = torch.randperm(16, generator=draw)[:number].tolist()
        for colour, patch in zip(colours, patches, strict=True):
            top, left = (8 * k + 1 for k in divmod(patch, 4))
            image[:, top : top + 6, left : left + 6] = torch.tensor(COLOURS[colour], dtype=torch.float)[:, None, None]
        labels = {"label": colours[0]} if most == 1 else {"labels": colours}
        rows.append({"id": str(i), "image": image.to(torch.uint8), "patches": dict(zip(colours, patches, strict=True)), **labels})
    return rows


def taught(task: Squares, examples: list[Example], steps: int, seed: int = 0) -> Squares:
    """The task after so many steps of Adam on all examples at once."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for module in task.model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        batch, adam = task.collate(examples), torch.optim.Adam(task.model.parameters(), 0.01)
        for _ in range(steps):
            adam.zero_grad()
            sum(task.loss(task.model(batch), batch).values()).backward()
            adam.step()
    task.model.eval()
    return task
