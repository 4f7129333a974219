"""Full-reference quality of pictures: how much worse a picture is than its reference."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from pellucid import checkpoint
from pellucid.data.padded import padded
from pellucid.data.patches import id_seed
from pellucid.data.read import require
from pellucid.errors import BadUsage
from pellucid.metrics.quality import quality_metrics
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.quality.data import THUMBNAIL, Pair, checked, open_pair, thumbnail
from pellucid.tasks.quality.linearise import Linearised
from pellucid.tasks.quality.loss import mean_absolute, pearson_loss, preference_loss, rank_loss, weighted
from pellucid.tasks.quality.model import QualityNetwork, Vtamiq
from pellucid.tasks.quality.names import ours
from pellucid.tasks.quality.sampling import Patches, sample, smallest
from pellucid.tasks.quality.settings import QualitySettings
from pellucid.tasks.quality.vit_weights import load_vit
from pellucid.tasks.quality.weak import labelled

BEND = "linearised.json"


class Quality:
    """A picture (`image`) and its `reference` to a quality: 1 for as good as the reference, lower for worse.

    Examples hold `image` and `reference` (paths or bytes, pictures of one size) and `label`, a quality between 0 and 1; or, of pairs that
    somebody compared, `other`, a second picture of the same reference, and `preference`, the probability that `image` is preferred; or
    `distortion` in the place of a picture, which is then made of the reference, and its label by classic metrics.
    """

    score_unit = "value"
    takes = "image"
    needs = ("reference",)

    def __init__(self, model: QualityNetwork, settings: QualitySettings, bend: Linearised | None = None):
        self.model, self.settings, self.bend = model, settings, bend
        self.sites = _sites(settings)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read and compared; generated ones get their weak label.

        Raises:
            BadData: a column is missing, a picture broken, too small or of another size, a score out of range, a row twice; with the row.
        """
        found = checked(examples, source, self.settings.check, self.settings.broken, smallest(self.settings.sampling, self.settings.vit))
        return labelled(found, open_pair, self.settings.weak, source)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`reference` and `image` (b r n 3 p p), `position`, `scale_index`, what an explanation is drawn over, targets where they are told.

        Where patches are taken depends on the example's id alone.
        """
        told, found, small = self.settings.sampling, [], []
        for example in examples:
            pair, rng = open_pair(example), np.random.default_rng(id_seed(str(example["id"])))
            found.append([self._sampled(pair, told.num_test, rng) for _ in range(told.samplings)])
            small.append(thumbnail(pair.image))
        picture, present = padded(small, THUMBNAIL)
        shares = torch.tensor([[side / THUMBNAIL for side in p.shape[1:]] for p in small])
        return self._batch(examples, found) | {"picture": picture, "pixel_present": present} | self._cells(found, shares)

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of pairs that are perhaps mirrored, patches taken anew."""
        found = []
        for example, seed in zip(examples, seeds, strict=True):
            rng = np.random.default_rng(seed)
            axes = [axis for axis in (1, 2) if self.settings.flips and rng.random() < 0.5]  # upside down, sideways
            pair = open_pair(example).each(lambda picture, axes=axes: picture.flip(axes))  # type: ignore[misc]
            found.append([self._sampled(pair, self.settings.sampling.num_train, rng)])
        return self._batch(examples, found)

    def _sampled(self, pair: Pair, num: int, rng: np.random.Generator) -> Patches:
        return sample(pair, self.settings.sampling, self.settings.vit, num, rng)

    def _batch(self, examples: Sequence[Example], found: Sequence[Sequence[Patches]]) -> Batch:
        batch: Batch = {
            name: torch.stack([torch.stack([getattr(one, name) for one in of]) for of in found])
            for name in ("reference", "image", "position", "scale_index")
        }
        if any("other" in e for e in examples):
            batch["other"] = torch.stack([torch.stack([one.image if one.other is None else one.other for one in of]) for of in found])
            batch["other_present"] = torch.tensor(["other" in e for e in examples])
        for name in ("label", "preference"):
            if any(name in e for e in examples):
                batch[name] = torch.tensor([float(e.get(name, 0.0)) for e in examples])
                batch[f"{name}_present"] = torch.tensor([name in e for e in examples])
        return batch

    def _cells(self, found: Sequence[Sequence[Patches]], shares: Float[Tensor, "b 2"]) -> Batch:
        """The cell of the canvas that each patch, and each token of the blocks, lies in: -1 for tokens without a place."""
        cells = self.settings.cells
        centre = torch.stack([torch.stack([one.centre for one in of]) for of in found]) * rearrange(shares, "b d -> b 1 1 d")
        down, across = (centre * cells).long().clamp(0, cells - 1).unbind(-1)
        of_patch = cells * down + across  # b r n
        of_token = repeat(F.pad(of_patch, (self.model.net.prefix, 0), value=-1), "b r n -> b (k r n)", k=2)
        return {"cell_of_patch": rearrange(of_patch, "b r n -> b (r n)"), "cell_of_token": of_token}

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Absolute error, ranks and correlation of labelled pairs, weighted as the paper says; the loss of preferences.

        Ranks and correlation are of the pairs that one pass holds.
        """
        told, error, parts = self.settings, 1 - output["quality"].float(), {}
        if "label" in batch:
            has = batch["label_present"]
            pair = error[has], 1 - self._bent(batch["label"])[has]
            each = {"mae": mean_absolute(*pair), "rank": rank_loss(*pair, told.floor), "pearson": pearson_loss(*pair)}
            parts = weighted(each, {"mae": told.mae, "rank": told.rank, "pearson": told.pearson})
        if "preference" in batch:
            has = batch["preference_present"] & batch["other_present"]
            other = 1 - output["other_quality"].float()
            parts["preference"] = told.preference * preference_loss(error[has], other[has], batch["preference"][has])
        return parts

    def _bent(self, labels: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        return labels if self.bend is None else torch.as_tensor(self.bend.apply(labels.cpu().numpy()), device=labels.device).float()

    def _straight(self, qualities: Float[Tensor, " b"]) -> list[float]:
        values = qualities.double().cpu()
        return (values if self.bend is None else torch.as_tensor(self.bend.undo(values.numpy()))).tolist()

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """`quality`; of several samplings its `spread`, the standard error; and of preference rows `other_quality`."""
        quality = output["quality"]
        made = [{"quality": value} for value in self._straight(quality)]
        if "spread" in output:
            about = (self._straight(quality + sign * output["spread"]) for sign in (1, -1))
            for one, high, low in zip(made, *about, strict=True):
                one["spread"] = (high - low) / 2
        if "other_quality" in output:
            for one, other, is_there in zip(made, self._straight(output["other_quality"]), batch["other_present"].tolist(), strict=True):
                one |= {"other_quality": other} if is_there else {}
        return made

    def metrics(self) -> dict[str, Metric]:
        """Correlation of ranks first; correlation and error as they are and after the two usual fits; agreement of preferences."""
        return quality_metrics()

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        """Nothing to choose: the one statement is the quality."""
        return torch.zeros_like(output["quality"], dtype=torch.long)

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The quality, as the network tells it."""
        return output["quality"].float()

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published weights of either layout under our names."""
        return {f"net.{name}": value for name, value in ours(tensors)[0].items()}


def _sites(settings: QualitySettings) -> dict[str, Site]:
    """`input`: what was done to each patch, 0 where it is as in the reference; and the tokens of both pictures after each block.

    After the last block only the class token is read, so there is nothing to ask.
    """
    cells, patch = (settings.cells, settings.cells), settings.vit.patch
    axes = {"p": patch, "q": patch}
    found = {
        "input": Site("change", "b r n c p q", unit="c p q", axes=axes, zero=True, groups="cell_of_patch", picture="picture", grid=cells)
    }
    both = {"k": 2, "r": settings.sampling.samplings}
    for i in range(settings.vit.blocks - 1):
        module = f"net.blocks.{i}"
        found[f"block.{i}"] = Site(module, "(b k r) n d", axes=both, groups="cell_of_token", picture="picture", grid=cells)
    return found


# ---- building ---------------------------------------------------------------------------------------------------------


def network(settings: QualitySettings) -> QualityNetwork:
    """The network as the settings describe it, with fresh weights.

    Raises:
        BadUsage: a table of scales that is not as long as the scales that are sampled, or no loss.
    """
    if min(settings.mae, settings.rank, settings.pearson) < 0 or not (settings.mae or settings.rank or settings.pearson):
        told = f"task.mae={settings.mae}, task.rank={settings.rank}, task.pearson={settings.pearson}"
        raise BadUsage(f"{told}: weights of a loss; none may be negative, and one must be above 0")
    if settings.vit.scales != settings.sampling.scales:
        told = f"task.vit.scales={settings.vit.scales}, task.sampling.scales={settings.sampling.scales}"
        raise BadUsage(f"{told}: the table has a row for each scale that is sampled; say the same number")
    drops = settings.token_dropout, settings.dropout, settings.drop_path, settings.head_dropout
    return QualityNetwork(Vtamiq(settings.vit, settings.head, *drops), settings.mean, settings.std, settings.anchor)


def build(settings: QualitySettings, train: Sequence[Example]) -> Quality:
    """The task as `settings` say, the transformer with its pretrained weights."""
    require(train, ("image", "reference"), str(train[0]["id"]) if train else "training set")
    model = network(settings)
    if settings.pretrained:
        load_vit(model.net, settings.pretrained)
    labels = [float(e["label"]) for e in train if e.get("label") is not None]
    return Quality(model, settings, Linearised.fit(labels) if settings.linearise and labels else None)


def restore(settings: QualitySettings, folder: pathlib.Path) -> Quality:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    place = folder / BEND
    return Quality(network(settings), settings, Linearised(**json.loads(place.read_text(encoding="utf-8"))) if place.is_file() else None)


def write(task: Quality, folder: pathlib.Path) -> None:
    """How labels were bent, where they were."""
    if task.bend is not None:
        checkpoint.write_json(folder / BEND, dataclasses.asdict(task.bend))
