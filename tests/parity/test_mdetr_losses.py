"""MDETR's losses and matches against numbers of the original program, from its own outputs.

Every folder of the reference whose config has a text encoder is a case. Gradients, which need the network, are held beside it.
"""

import json
import os
import pathlib
import re
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pellucid.losses.grounding import (
    Codes,
    Replies,
    alignment_loss,
    contrast_loss,
    final_loss,
    reply_accuracies,
    reply_losses,
    soft_token_loss,
    word_targets,
)
from pellucid.losses.masks import mask_losses
from pellucid.losses.matching import Matches, match
from pellucid.losses.set_prediction import Truth, Weights, box_losses, named

PLACE = pathlib.Path(os.environ.get("PELLUCID_REFERENCE", pathlib.Path(__file__).parents[3] / "shared" / "reference")) / "detection"
KINDS = {"clevr": ("binary", "attr", "reg"), "gqa": ("obj", "attr", "rel", "global", "cat"), "gqa_unified": ("answer",)}
LAYER = re.compile(r"aux(\d+)\.(.+)")
# what is held here, and what beside the network or the tokenizer
HERE = {"losses", "weights", "total", "normalised_positive_map", "matching_last", "matching_aux"}
ELSEWHERE = {"grad_norms", "captions", "tokens_positive", "token_strings", "token_of_char", "count"}


def configured(folder: pathlib.Path) -> dict:
    file = folder / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}


CASES = sorted(p.name for p in PLACE.iterdir() if "text_encoder" in configured(p)) if PLACE.is_dir() else []


@dataclass
class Case:
    """One folder of the reference."""

    config: dict
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    told: dict

    def of_examples(self, name: str) -> list[Tensor]:
        return [self.inputs[f"target{i}.{name}"] for i in range(len(self.inputs["mask"]))]

    def layers(self, name: str) -> Tensor:
        earlier = {int(found[1]): value for key, value in self.outputs.items() if (found := LAYER.fullmatch(key)) and found[2] == name}
        return torch.stack([*(earlier[i] for i in sorted(earlier)), self.outputs[name]])

    def maps(self, kind: str) -> list[Tensor]:
        return word_targets(self.inputs["positive_map_collated"].split([len(b) for b in self.of_examples("boxes")]), kind)

    def matched(self, kind: str) -> tuple[Truth, Matches]:
        truth = Truth(self.maps(kind), self.of_examples("boxes"))
        return truth, match(self.layers("pred_logits"), self.layers("pred_boxes"), truth.classes, truth.boxes)

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
    folder = references / "detection" / request.param
    inputs, outputs = (load_file(folder / f"{part}.safetensors") for part in ("inputs", "outputs"))
    return Case(configured(folder), inputs, outputs, json.loads((folder / "losses.json").read_text()))


def test_there_are_cases(references):
    assert CASES
    assert {p.name for p in (references / "detection").iterdir() if "text_encoder" in configured(p)} == set(CASES)


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
