"""MDETR's losses and matches against numbers of the original program, from its own outputs.

Every folder of the reference whose config has a text encoder is a case. Gradients, which need the network, are held beside it.
"""

import pytest
import torch
from torch import Tensor

from mdetr_cases import CASES, Case
from pellucid.losses.grounding import (
    Codes,
    Replies,
    alignment_loss,
    contrast_loss,
    final_loss,
    reply_accuracies,
    reply_losses,
    soft_token_loss,
)
from pellucid.losses.masks import mask_losses
from pellucid.losses.matching import Matches
from pellucid.losses.set_prediction import Truth, Weights, box_losses, named

KINDS = {"clevr": ("binary", "attr", "reg"), "gqa": ("obj", "attr", "rel", "global", "cat"), "gqa_unified": ("answer",)}
# what is held here, and what by the tests of the network and of the task
HERE = {"losses", "weights", "total", "normalised_positive_map", "matching_last", "matching_aux"}
ELSEWHERE = {"grad_norms", "captions", "tokens_positive", "token_strings", "token_of_char", "count"}


class Losses(Case):
    """What the losses say of the original's outputs."""

    def replies(self) -> Replies:
        heads, kind = KINDS[self.config["qa_dataset"]], self.inputs["answers.answer_type"]
        answers = torch.stack([self.inputs[f"answers.answer_{name}"].long() for name in heads])
        return Replies(heads, kind, answers[kind, torch.arange(len(kind))])

    def losses(self, kind: str) -> dict[str, Tensor]:
        """Unweighted, under the original's names."""
        truth, matches = self.matched(kind)
        logits = self.layers("pred_logits")
        parts = {"ce": soft_token_loss(logits, truth, matches)}
        parts |= box_losses(self.layers("pred_boxes"), truth, matches, Weights(1, 1, 1))
        if "proj_tokens" in self.outputs:
            codes = Codes(self.layers("proj_queries"), self.outputs["proj_tokens"])
            own = [rows[:, : codes.token.shape[1]] > 0 for rows in self.maps("binary")]
            parts["contrastive_align"] = alignment_loss(codes, own, truth, matches, self.config["temperature"])
        if "pred_isfinal" in self.outputs:
            parts["isfinal"] = final_loss(self.layers("pred_isfinal")[..., 0], self.of_examples("isfinal"), truth, matches)
        found = {f"loss_{name}": value for name, value in named(parts).items()} | named(self.errors(truth, matches))
        return found | self.of_last(truth, matches.of_layer(len(logits) - 1))

    def of_last(self, truth: Truth, last: Matches) -> dict[str, Tensor]:
        found = {}
        if "pred_masks" in self.outputs:
            size = tuple(self.inputs["mask"].shape[1:])
            pairs = zip(last.example.tolist(), last.target.tolist(), strict=True)
            masks = [self.inputs[f"target{i}.masks"][j].bool() for i, j in pairs]
            told = mask_losses(self.outputs["pred_masks"][last.example, last.query], masks, size, truth.num, alone=False)
            found |= {f"loss_{name}": value for name, value in told.items()}
        if "cache.img_pooled_op" in self.outputs:
            pooled = self.outputs["cache.img_pooled_op"], self.outputs["cache.text_pooled_op"]
            found["contrastive_loss"] = contrast_loss(*pooled, self.config["temperature"])
        if "qa_dataset" in self.config:
            output = {key.replace("pred_answer_", "reply_"): value for key, value in self.outputs.items()}
            for prefix, told in (("loss", reply_losses), ("accuracy", reply_accuracies)):
                found |= {f"{prefix}_{k.replace('reply', 'answer')}": v for k, v in told(output, self.replies()).items()}
        return found

    def errors(self, truth: Truth, matches: Matches) -> dict[str, Tensor]:
        """What the original only logs of each layer: how far the number of found objects is off, shares of right `isfinal`."""
        logits, num = self.layers("pred_logits"), torch.tensor([len(b) for b in truth.boxes])
        found = {"cardinality_error": ((logits.argmax(-1) != logits.shape[-1] - 1).sum(2) - num).abs().double().mean(1)}
        if "pred_isfinal" in self.outputs:
            given = self.layers("pred_isfinal")[matches.layer, matches.example, matches.query, 0] > 0
            right = (given == truth.matched(self.of_examples("isfinal"), matches)).double()
            found["accuracy_isfinal"] = torch.stack([right[matches.layer == i].mean() for i in range(len(logits))])
        return found


@pytest.fixture(params=CASES)
def case(request, references):
    return Losses.read(references / "detection" / request.param)


@pytest.mark.parametrize("kind", ["binary", "uniform"])
def test_all_losses_and_their_total_are_the_originals(case, kind):
    wanted = case.told if kind == "binary" else case.told["normalised_positive_map"]
    found = case.losses(kind)
    assert found.keys() == wanted["losses"].keys()
    for name, value in wanted["losses"].items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5, abs=1e-6), name
    weights = case.told["weights"]
    assert sum(weights[name] * float(found[name]) for name in weights.keys() & found.keys()) == pytest.approx(wanted["total"], rel=1e-5)


def test_rows_of_together_one_are_the_originals(case):
    sizes = [len(b) for b in case.of_examples("boxes")]
    for found, wanted in zip(case.maps("uniform"), case.inputs["positive_map_normalised"].split(sizes), strict=True):
        torch.testing.assert_close(found, wanted)


def test_queries_are_matched_as_the_original_matches_them(case):
    matches = case.matched("binary")[1]
    layers = len(case.layers("pred_logits"))
    wanted = dict(enumerate(case.told.get("matching_aux", []))) | {layers - 1: case.told["matching_last"]}
    for layer, examples in wanted.items():
        of_layer = matches.of_layer(layer)
        for i, pairs in enumerate(examples):
            rows = of_layer.example == i
            assert [of_layer.query[rows].tolist(), of_layer.target[rows].tolist()] == pairs


def test_no_number_of_the_losses_is_left_out(case):
    assert case.told.keys() <= HERE | ELSEWHERE
    assert case.told["normalised_positive_map"].keys() == {"losses", "total"}
