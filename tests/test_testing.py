"""`check_task` passes sound tasks and names the promise that a broken one breaks."""

import math

import pytest
import torch
from torch import nn

from pellucid.task import Site
from pellucid.testing import check_task
from toys import Mean, PictureNet, Pictures, SentenceNet, Sentences, Slots, pictures, sentences, things

EXAMPLES = {Pictures: pictures, Sentences: sentences, Slots: things}


@pytest.mark.parametrize("build", EXAMPLES, ids=lambda kind: kind.__name__)
def test_a_sound_task_keeps_its_promises(build):
    check_task(build(), EXAMPLES[build]())


def test_the_task_is_left_as_it_was_found():
    task = Sentences()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    task.model.encoder.eval()
    modes, stream = [m.training for m in task.model.modules()], torch.get_rng_state()
    check_task(task, sentences())
    assert [m.training for m in task.model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in task.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)


# ---- models that break a promise ----------------------------------------------------------------------------------


class Spare(PictureNet):
    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.zeros(3))


class LeakyPadding(SentenceNet):
    def pool(self, hidden, batch):
        return hidden.mean(1)


class Cumulative(PictureNet):
    def forward(self, batch):
        return {"logits": super().forward(batch)["logits"].cumsum(0)}


class BatchStatistic(PictureNet):
    def forward(self, batch):
        logits = super().forward(batch)["logits"]
        return {"logits": logits - logits.mean(0) / 2}


class Twice(PictureNet):
    def forward(self, batch):
        self.stem(batch["image"])
        return super().forward(batch)


class Stochastic(PictureNet):
    def forward(self, batch):
        logits = super().forward(batch)["logits"]
        return {"logits": logits + torch.randn_like(logits)}


class Detached(PictureNet):
    def forward(self, batch):
        seen = batch if self.training else {"image": self.stem(batch["image"]).detach()}
        maps = self.body(self.stem(batch["image"]) if self.training else seen["image"])
        return {"logits": self.head(maps.mean((2, 3)))}


class Forgetful(PictureNet):
    def state_dict(self, *args, **kwargs):
        return {k: v for k, v in super().state_dict(*args, **kwargs).items() if not k.startswith("body")}


class Aside(PictureNet):
    def __init__(self):
        super().__init__()
        self.aside = nn.Linear(3, 2)

    def forward(self, batch):
        unused = self.aside(batch["image"].mean((2, 3)))
        return {"logits": super().forward(batch)["logits"] + 0 * unused.sum()}


# ---- tasks that break a promise -----------------------------------------------------------------------------------


class NanLoss(Pictures):
    def loss(self, output, batch):
        return {"cross_entropy": super().loss(output, batch)["cross_entropy"] * math.nan}


class LossPerExample(Sentences):
    def loss(self, output, batch):
        return {"squared": (output["value"] - batch["rating"]) ** 2}


class OnePredictionTooFew(Pictures):
    def predict(self, output, batch):
        return super().predict(output, batch)[:-1]


class NoInputSite(Pictures):
    def __init__(self):
        super().__init__()
        del self.sites["input"]


class Headless(Pictures):
    headlines = ("accuracy", "mIoU")


class BoxOfNothing(Pictures):
    def places(self, output, answer, batch):
        return [{"answer": "cat", "box_xyxy": [0, 0, 1, 1]}] * len(answer)


class RaggedRegion(Pictures):
    def places(self, output, answer, batch):
        return [{"answer": "cat", "region": ["011", "01"]}] * len(answer)


class SequenceFirstMistaken(Sentences):
    def __init__(self):
        super().__init__()
        self.sites["encoder"] = Site("encoder", "b n d")


class PositiveScore(Pictures):
    def score(self, output, answer):
        return -super().score(output, answer)


class OneScoreForAll(Pictures):
    def score(self, output, answer):
        return super().score(output, answer).mean()


class SharedMetric(Pictures):
    accuracy = Mean(lambda prediction, example: prediction == example["label"], True)

    def metrics(self):
        return {"accuracy": self.accuracy}


class MergesByMean(Mean):
    def merge(self, other):
        self.found = [self.compute(), *other.found]


class BadMerge(Sentences):
    def metrics(self):
        return {"squared_error": MergesByMean(lambda prediction, example: (prediction - example["rating"]) ** 2, False)}


class MaskUpsideDown(Sentences):
    def collate(self, examples):
        batch = super().collate(examples)
        return batch | {"absent_present": ~batch["tokens_present"]}

    def __init__(self):
        super().__init__()
        self.sites = {"input": Site("embedding", "b n d", present="absent_present")}


class MaskOfNumbers(Sentences):
    def collate(self, examples):
        batch = super().collate(examples)
        return batch | {"tokens_present": batch["tokens_present"].long()}


class MaskTooNarrow(Sentences):
    def collate(self, examples):
        batch = super().collate(examples)
        return batch | {"words_present": batch["token_words"] >= 0}

    def __init__(self):
        super().__init__()
        self.sites = {"input": Site("embedding", "b n d", present="words_present")}


class ShiftedNames(Sentences):
    def collate(self, examples):
        batch = super().collate(examples)
        return batch | {"words": [words[1:] for words in batch["words"]]}


class UnitsFirst(Pictures):
    def collate(self, examples):
        batch = super().collate(examples)
        return batch | {"sizes": torch.ones(2, len(examples))}


class AsideSite(Pictures):
    def __init__(self):
        super().__init__(Aside())
        self.sites["aside"] = Site("aside", "b d")


class EqualAmounts(Slots):
    def amounts(self, batch):
        return {name: float(len(batch["image"])) for name in super().amounts(batch)}


class PassingAmounts(Slots):
    def amounts(self, batch):
        return super().amounts(batch) if any(map(len, batch["places"])) else {"ce": 0.1 * 3 * len(batch["places"])}


class NothingToLearn(Slots):
    def loss(self, output, batch):
        found = super().loss(output, batch)
        return found if any(map(len, batch["places"])) else found | {"place": torch.zeros(())}


BREAKS = {
    "amounts that count examples": (EqualAmounts, things, "loss 'ce' is .* from its examples alone, weighted by amounts"),
    "amounts that go with their loss": (PassingAmounts, things, "amounts has not always the names ce, place"),
    "an example without a gradient": (NothingToLearn, things, "example 3 alone gives place.weight, place.bias no gradient"),
    "a loss that is not a number": (NanLoss, pictures, "loss part 'cross_entropy' is nan"),
    "a loss per example": (LossPerExample, sentences, "loss part 'squared' is not one number"),
    "a parameter without use": (lambda: Pictures(Spare()), pictures, "no gradient of the loss reaches parameter spare"),
    "a prediction too few": (OnePredictionTooFew, pictures, "predict gives 3 predictions for 4 examples"),
    "padding in the mean": (lambda: Sentences(LeakyPadding()), sentences, "alone but .* in a batch: padding or its neighbours leak in"),
    "a sum along the batch": (lambda: Pictures(Cumulative()), pictures, "score depends on the order of the batch"),
    "a statistic over the batch": (lambda: Pictures(BatchStatistic()), pictures, "its neighbours leak in"),
    "a module that runs twice": (lambda: Pictures(Twice()), pictures, "site 'input'.* ran 2 times"),
    "a layout with axes swapped": (SequenceFirstMistaken, sentences, "site 'encoder'.*'b n d'.* examples, the batch has 4"),
    "no input site": (NoInputSite, pictures, "no site 'input'; there are body"),
    "a headline that is no metric": (Headless, pictures, "headlines .* are no metrics, the first first"),
    "a box in a picture of no size": (BoxOfNothing, pictures, "is neither a box in a picture nor a region"),
    "a region with gaps": (RaggedRegion, pictures, "is neither a box in a picture nor a region"),
    "a positive log-probability": (PositiveScore, pictures, "score_unit is log-probability, but score is .* above 0"),
    "one score for all": (OneScoreForAll, pictures, "not one number for each of 4 examples"),
    "metrics that share state": (SharedMetric, pictures, r"state shared between two metrics\(\)"),
    "a merge of means": (BadMerge, sentences, "two halves merged give"),
    "a mask upside down": (MaskUpsideDown, sentences, "an example has no real unit; is its mask true where real"),
    "a mask of numbers": (MaskOfNumbers, sentences, "mask 'tokens_present' is not a bool tensor"),
    "a mask that hides real units": (MaskTooNarrow, sentences, "site 'input': noise in padded units changes the score"),
    "names that miss a word": (ShiftedNames, sentences, "has a unit in group 2 but 2 names"),
    "units before examples": (UnitsFirst, pictures, "'sizes' has 2 rows for 4 examples"),
    "chance in eval mode": (lambda: Pictures(Stochastic()), pictures, "the model in eval mode is not deterministic"),
    "a cut in the gradient": (lambda: Pictures(Detached()), pictures, "site 'input': no gradient of the score reaches the units"),
    "weights left out of state_dict": (lambda: Pictures(Forgetful()), pictures, "does not load its own state_dict"),
    "a site off the way": (AsideSite, pictures, "site 'aside': the score does not depend on the units there"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_promise_is_named(name):
    build, examples, message = BREAKS[name]
    with pytest.raises(AssertionError, match=message):
        check_task(build(), examples())


def test_two_examples_are_needed_to_see_a_batch():
    with pytest.raises(AssertionError, match="at least two examples"):
        check_task(Pictures(), pictures(1))
