"""A whole detector of toy size that nobody trained: it finds the red, the green and the blue square of a picture, exactly."""

from types import SimpleNamespace

import numpy as np
import torch
from einops import rearrange, reduce
from torch import nn

from pellucid.data.images import open_image
from pellucid.data.padded import padded, patch_mask
from pellucid.nn.queries import placed, queries_of
from pellucid.task import Site

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
CELL = 8
ANY = -1


class Finder(nn.Module):
    """Query q answers for colour q: surely where more of a cell is of it, and its box is around all pixels of it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.stem.weight.data = (1.5 * torch.eye(3) - 0.5)[..., None, None]
        self.stem.bias.data = torch.full((3,), -0.5)
        self.memory = nn.Identity()

    def forward(self, batch):
        present = batch["pixel_present"]
        seen = self.stem(batch["picture"] / 255).relu() * present[:, None]  # b q h w
        cells = self.memory(reduce(seen, "b q (h p) (w r) -> b q h w", "mean", p=CELL, r=CELL))
        amount = 2 * cells.sum((2, 3))  # b q
        own = torch.diagonal_scatter(amount.new_full((*amount.shape, 3), -9.0), amount, dim1=1, dim2=2)
        logits = torch.cat([own, amount.new_full((*amount.shape, 1), 1.0)], -1)  # the last is no object
        output = {"logits": logits, "boxes_cxcywh": self.boxes(seen, present)}
        if batch.get("with_attention"):
            looks = rearrange(cells + 1e-6, "b q h w -> b q 1 (h w)") * batch["cell_present"][:, None, None]
            output["query_attention"] = looks / looks.sum(-1, keepdim=True)
        return output

    @staticmethod
    def boxes(seen, present):
        found = []
        for maps, real in zip(seen > 0.2, present, strict=True):
            size = torch.tensor([real.any(0).sum(), real.any(1).sum()])
            for one in maps:
                x, y = one.any(0).nonzero()[:, 0], one.any(1).nonzero()[:, 0]
                corners = torch.tensor([[x[0], y[0]], [x[-1] + 1, y[-1] + 1]]).float() if len(x) else torch.zeros(2, 2)
                low, high = corners / size
                found.append(torch.cat([(low + high) / 2, high - low]))
        return rearrange(torch.stack(found), "(b q) d -> b q d", q=3)


class Detector:
    """Coloured squares to boxes; a test's stand-in for a trained detector."""

    score_unit = "log-probability"
    takes = "image"
    labels = tuple(COLOURS)

    def __init__(self):
        self.model, self.settings = Finder(), SimpleNamespace(threshold=0.5)
        self.sites = {
            "input": Site(
                "stem",
                "b c (h p) (w q)",
                side="input",
                unit="c p q",
                axes={"p": CELL, "q": CELL},
                present="patch_present",
                picture="picture",
            ),
            "encoder": Site("memory", "b d h w", present="cell_present", picture="picture"),
        }

    def collate(self, examples):
        arrays = [np.asarray(open_image(e["image"], e["id"])) for e in examples]
        picture, present = padded([torch.tensor(a).permute(2, 0, 1) for a in arrays], CELL)
        mask = patch_mask(present, CELL)
        sizes = torch.tensor([a.shape[:2] for a in arrays])
        return {"picture": picture, "pixel_present": present, "patch_present": mask, "cell_present": mask, "size_hw": sizes}

    def loss(self, output, batch):
        return {"none": output["logits"].sum() * 0}

    def predict(self, output, batch):
        scores, classes = output["logits"].softmax(-1)[..., :-1].max(-1)
        scale = batch["size_hw"].flip(1).repeat(1, 2)[:, None]
        middle, half = output["boxes_cxcywh"][..., :2], output["boxes_cxcywh"][..., 2:] / 2
        boxes = torch.cat([middle - half, middle + half], -1) * scale
        return [
            self.told(*(one[order] for one in (s, c, b)), order)
            for s, c, b in zip(scores, classes, boxes, strict=True)
            for order in [s.argsort(descending=True)]
        ]

    def told(self, scores, classes, boxes, queries):
        labels = [self.labels[c] for c in classes]
        answers = [f"{label}@{q}" for label, q, s in zip(labels, queries.tolist(), scores, strict=True) if s >= self.settings.threshold]
        found = {"labels": labels, "scores": scores.tolist(), "boxes_xyxy": boxes.tolist(), "queries": queries.tolist()}
        return {**found, "answers": answers}

    def metrics(self):
        return {}

    def answer(self, output):
        best = rearrange(output["logits"].log_softmax(-1)[..., :-1], "b q c -> b (q c)").argmax(-1)
        return torch.stack([best // 3, best % 3], -1)

    def gold(self, examples):
        named = [str(e["label"]).partition("@") for e in examples]
        return torch.tensor([[int(query) if query else ANY, self.labels.index(label)] for label, _, query in named])

    def score(self, output, answer):
        query, label = answer.unbind(-1)
        log_probs = output["logits"].log_softmax(-1)[torch.arange(len(label)), :, label]
        return torch.where(query == ANY, log_probs.amax(-1), log_probs.gather(-1, query.clamp_min(0)[:, None])[:, 0])

    def places(self, output, answer, batch):
        names = [self.labels[label] + (f"@{query}" if query != ANY else "") for query, label in answer.tolist()]
        return placed(output["boxes_cxcywh"], queries_of(output["logits"], answer), names, batch["size_hw"])


def scene(width, height, **squares):
    """A grey picture with squares of their own colour: `red=(left, top, side)`."""
    picture = np.full((height, width, 3), 128, dtype=np.uint8)
    for name, (left, top, side) in squares.items():
        picture[top : top + side, left : left + side] = COLOURS[name]
    return picture
