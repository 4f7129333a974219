"""A classic metric as a task: the same pairs, predictions and metrics as a network's, and its explanations checked like one's."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import reduce
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from pellucid.data.padded import padded, patch_mask
from pellucid.errors import BadUsage
from pellucid.metrics.quality import quality_metrics
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.quality.classic import find, measure, same
from pellucid.tasks.quality.data import checked, open_pair
from pellucid.tasks.quality.loss import mean_absolute, preference_loss
from pellucid.tasks.quality.settings import ClassicSettings
from pellucid.tasks.quality.weak import labelled

LEVELS = 255


class ClassicModel(nn.Module):
    """Pictures and their references to `slope * metric + offset`.

    Reads `image` and `reference` (b 3 h w, uint8, padded below and to the right), `size_hw` (b 2), of preference rows also `other` and
    `other_present`. Each pair is measured on its own pixels.
    """

    def __init__(self, metric: str):
        super().__init__()
        self.metric = metric
        self.slope = nn.Parameter(torch.tensor(1.0 if find(metric).higher_is_better else -1.0))
        self.offset = nn.Parameter(torch.tensor(0.0))
        self.change = nn.Identity()  # where what was done to each patch can be read and undone

    def forward(self, batch: Batch) -> Output:
        """`quality` and `measured`, the metric's own value (b); perhaps `other_quality` (b).

        Differs: pixels that an explanation moves out of 0 to 255, where no metric is defined, are held at the ends.
        """
        reference, sizes = batch["reference"].float(), batch["size_hw"]
        image = reference + self.change(batch["image"].float() - reference)  # whole levels: nothing is rounded
        measured = self._measured(image, reference, sizes)
        output = {"quality": self.slope * measured + self.offset, "measured": measured}
        if "other" in batch:
            output["other_quality"] = self.slope * self._measured(batch["other"].float(), reference, sizes) + self.offset
        return output

    def _measured(
        self, image: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"], sizes: Int[Tensor, "b 2"]
    ) -> Float[Tensor, " b"]:
        rows = sizes.tolist()
        found: dict[int, Tensor] = {}
        for height, width in sorted(set(map(tuple, rows))):
            those = [i for i, size in enumerate(rows) if size == [height, width]]
            ours, theirs = ((pictures[those, :, :height, :width] / LEVELS).clamp(0, 1) for pictures in (image, reference))
            found |= zip(those, self._of_one_size(ours, theirs), strict=True)
        return torch.stack([found[i] for i in range(len(rows))])

    def _of_one_size(self, image: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        apart = ~same(image, reference)
        # of identical pictures some metrics have no gradient, but a number that is none: here it is 0
        values = find(self.metric).best + 0 * reduce(image - reference, "b c h w -> b", "sum")
        return values.masked_scatter(apart, measure(self.metric, image[apart], reference[apart])) if apart.any() else values


class ClassicQuality:
    """A picture (`image`) and its `reference` to a quality: higher is better, in the metric's unit until training fits it to labels.

    Examples are those of `Quality`.
    """

    score_unit = "value"
    takes = "image"
    needs = ("reference",)

    def __init__(self, model: ClassicModel, settings: ClassicSettings):
        self.model, self.settings = model, settings
        axes = {"p": settings.patch, "q": settings.patch}
        on = Site("change", "b c (h p) (w q)", present="patch_present", axes=axes, unit="c p q", picture="image", zero=True)
        self.sites = {"input": on}

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read and compared; generated ones get their weak label.

        Raises:
            BadData: a column is missing, a picture broken, too small or of another size, a score out of range, a row twice; with the row.
        """
        found = checked(examples, source, self.settings.check, self.settings.broken, find(self.settings.metric).smallest)
        return labelled(found, open_pair, self.settings.weak, source)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`image` and `reference`, their sizes and which pixels and patches are there; targets and second pictures where there are."""
        pairs = [open_pair(example) for example in examples]
        image, pixel_present = padded([pair.image for pair in pairs], self.settings.patch)
        batch: Batch = {
            "image": image,
            "reference": padded([pair.reference for pair in pairs], self.settings.patch)[0],
            "size_hw": torch.tensor([pair.image.shape[1:] for pair in pairs]),
            "pixel_present": pixel_present,
            "patch_present": patch_mask(pixel_present, self.settings.patch),
        }
        if any(pair.other is not None for pair in pairs):
            batch["other"] = padded([pair.image if pair.other is None else pair.other for pair in pairs], self.settings.patch)[0]
            batch["other_present"] = torch.tensor([pair.other is not None for pair in pairs])
        for name in ("label", "preference"):
            if any(name in e for e in examples):
                batch[name] = torch.tensor([float(e.get(name, 0.0)) for e in examples])
                batch[f"{name}_present"] = torch.tensor([name in e for e in examples])
        return batch

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Mean absolute error of labelled pairs, and the loss of preferences."""
        parts = {}
        if "label" in batch:
            has = batch["label_present"]
            parts["mae"] = mean_absolute(output["quality"][has], batch["label"][has])
        if "preference" in batch:
            has = batch["preference_present"] & batch["other_present"]
            parts["preference"] = preference_loss(-output["quality"][has], -output["other_quality"][has], batch["preference"][has])
        return parts

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """`quality`, the metric's own value by its name, and perhaps `other_quality`."""
        each = zip(output["quality"].tolist(), output["measured"].tolist(), strict=True)
        made = [{"quality": quality, self.settings.metric: measured} for quality, measured in each]
        if "other_quality" in output:
            for one, other, is_there in zip(made, output["other_quality"].tolist(), batch["other_present"].tolist(), strict=True):
                one |= {"other_quality": other} if is_there else {}
        return made

    def metrics(self) -> dict[str, Metric]:
        """Those of `Quality`."""
        return quality_metrics()

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        """Nothing to choose: the one statement is the quality."""
        return torch.zeros_like(output["quality"], dtype=torch.long)

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The quality."""
        return output["quality"].float()


def build(settings: ClassicSettings) -> ClassicQuality:
    """The task as `settings` say.

    Raises:
        BadUsage: no such metric, or patches without pixels.
    """
    if settings.patch < 1:
        raise BadUsage(f"task.patch={settings.patch}: expected the side of a patch in pixels, 1 or more")
    return ClassicQuality(ClassicModel(settings.metric), settings)
