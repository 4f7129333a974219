"""The task of text-conditioned detection against numbers of MDETR's authors: from their captions and weights to losses, gradients, answers.

`ACCEPTANCE` says which tests hold what a rebuilt MDETR must show.
"""

import pathlib
import re

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from mdetr_cases import CASES, Case, text_folder
from pellucid.data.tokens import load_pieces
from pellucid.losses.grounding import word_targets
from pellucid.metrics.grounding import owned, phrase_scores
from pellucid.tasks.grounding.captions import Reader
from pellucid.tasks.grounding.model import GroundingModel
from pellucid.tasks.grounding.names import from_published
from pellucid.tasks.grounding.replies import CLEVR, Vocabulary
from pellucid.tasks.grounding.settings import GroundingSettings
from pellucid.tasks.grounding.task import Grounding

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
HALF = (0.5, 0.5, 0.5)
TOTALS = {"mdetr_small": 71.2614, "mdetr_small_final_cls": 75.7962, "mdetr_small_qa_clevr": 74.0659, "mdetr_small_masks": 60.6535}
ACCEPTANCE = {
    "1 numbers of parameters": ("nn/test_mdetr_network.py", "test_the_published_networks_have_as_many_parameters_as_published"),
    "1 names of the full R101": ("tasks/test_mdetr_names.py", "test_the_published_list_of_tensors_is_that_of_the_full_network"),
    "1 intermediates": ("parity/test_official_mdetr.py", "test_every_stage_gives_what_the_original_gives"),
    "1 losses": ("parity/test_mdetr_losses.py", "test_all_losses_and_their_total_are_the_originals"),
    "1 totals": ("parity/test_mdetr_task.py", "test_the_tasks_loss_of_the_original_weights_is_the_originals_total"),
    "1 gradients": ("parity/test_mdetr_task.py", "test_every_parameter_gets_the_originals_gradient"),
    "2 soft tokens": ("losses/test_grounding_losses.py", "test_words_of_which_nothing_is_known_cost_what_the_paper_says"),
    "2 alignment": ("losses/test_grounding_losses.py", "test_codes_that_tell_nothing_apart_cost_the_logarithms_of_what_there_is"),
    "3 phrases": ("parity/test_grounding_metrics_parity.py", "test_flickr_recall_is_that_of_the_original_by_protocol_and_kind"),
    "3 expressions": ("parity/test_grounding_metrics_parity.py", "test_referring_precision_is_that_of_the_original_by_either_rule"),
    "3 boxes": ("parity/test_grounding_metrics_parity.py", "test_class_agnostic_average_precision_is_that_of_the_original"),
    "4 permutations": ("nn/test_mdetr_network.py", "test_permuting_pictures_and_captions_together_permutes_the_outputs"),
    "4 padding": ("nn/test_mdetr_network.py", "test_padding_of_a_caption_changes_no_box_and_no_code_of_a_real_token"),
    "4 padding and alignment": (
        "parity/test_mdetr_task.py",
        "test_padding_of_captions_moves_the_alignment_unless_it_is_masked",
    ),
    "5 questions": ("nn/test_mdetr_network.py", "test_only_the_first_decoder_layer_learns_from_questions"),
    "6 round trip": ("data/test_spans.py", "test_spans_go_to_tokens_and_come_back_as_the_words_they_were"),
}


def task_of(case: Case, folder: pathlib.Path, **changes) -> Grounding:
    """The task as the authors have it, with their weights, its captions read by their tokenizer."""
    asked = case.config
    settings = GroundingSettings(
        num_queries=asked["num_queries"],
        width=asked["hidden_dim"],
        encoder_layers=asked["enc_layers"],
        decoder_layers=asked["dec_layers"],
        align=float(asked["contrastive_align_loss"]),
        final=float(asked.get("predict_final", False)),
        contrast=0.1 * asked.get("contrastive_loss", False),
        answers=asked.get("qa_dataset", ""),
        masks="per_head" if asked.get("masks") else "",
        temperature=asked["temperature"],
        **{"align_padding": True, "mask_padding": False} | changes,
    )
    text = case.net.text.encoder
    read = Reader(load_pieces(str(text_folder(case, folder))), text, text.config.hidden_size)
    replies = Vocabulary(CLEVR) if settings.answers else None
    return Grounding(GroundingModel(case.net, HALF, HALF), read, settings, replies)


def rows_of(case: Case, folder: pathlib.Path) -> list[dict]:
    """The reference's pictures, at twice their size, with captions and objects; what they look like is not asked."""
    from PIL import Image

    rows = []
    for i, caption in enumerate(case.told["captions"]):
        height, width = case.inputs[f"image{i}"].shape[1:]
        place = folder / f"{i}.png"
        Image.new("RGB", (2 * width, 2 * height)).save(place)
        scale = torch.tensor([2 * width, 2 * height] * 2)
        cx, cy, w, h = (case.inputs[f"target{i}.boxes"] * scale).T
        corners = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1).tolist()
        spans = case.told["tokens_positive"][i]
        objects = [
            {"box_xyxy": [x0, y0, x1, y1], "spans": span, "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
            for (x0, y0, x1, y1), span in zip(corners, spans, strict=True)
        ]
        rows.append({"id": str(i), "image": str(place), "caption": caption, "objects": objects})
    return rows


def batch_of(task: Grounding, case: Case, folder: pathlib.Path) -> dict:
    """The task's batch of the reference's captions; boxes, masks and answers as the original was given them."""
    ready = task.prepare(rows_of(case, folder), "reference")
    batch = task.collate(ready)
    if task.settings.masks:
        batch["masks"] = [masks.bool() for masks in case.of_examples("masks")]
    batch["pixel_present"] = case.inputs["mask"] == 0
    batch["boxes_cxcywh"] = case.of_examples("boxes")
    if task.settings.final:
        batch["final"] = [final > 0 for final in case.of_examples("isfinal")]
    if task.replies:
        kind = case.inputs["answers.answer_type"]
        values = torch.stack([case.inputs[f"answers.answer_{name}"].long() for name in CLEVR])
        batch |= {"reply_kind": kind, "reply_value": values[kind, torch.arange(len(kind))]}
    return batch


@pytest.fixture(params=CASES)
def case(request, references) -> Case:
    return Case.read(references / "detection" / request.param)


def total(task: Grounding, case: Case, batch: dict) -> torch.Tensor:
    return torch.stack(list(task.loss(case.net(*case.given), batch).values())).sum()


# ---- what goes in -----------------------------------------------------------------------------------------------------


def test_captions_are_the_originals_tokens_and_spans_its_maps(case, tmp_path):
    task = task_of(case, tmp_path)
    batch = batch_of(task, case, tmp_path)
    present = case.inputs["attention_mask"] == 1
    assert torch.equal(batch["tokens_present"], present)
    assert torch.equal(batch["tokens"][present], case.inputs["input_ids"][present])
    sizes = [len(boxes) for boxes in case.of_examples("boxes")]
    for kind, name in (("binary", "positive_map_collated"), ("uniform", "positive_map_normalised")):
        torch.testing.assert_close(torch.cat(word_targets(batch["positive"], kind)), case.inputs[name], rtol=0, atol=2e-6)
    assert [len(rows) for rows in batch["positive"]] == sizes
    for i, (of_char, strings) in enumerate(zip(case.told["token_of_char"], case.told["token_strings"], strict=True)):
        offsets = batch["token_spans"][i].tolist()
        assert [[t for t, (b, e) in enumerate(offsets) if b <= c < e] for c in range(len(of_char))] == [
            [t] if t is not None else [] for t in of_char
        ]
        caption = case.told["captions"][i]
        named = [re.sub("<.*>", "", string).lstrip("\u0120") for string in strings if string != "<pad>"]
        assert [caption[b:e] for b, e in offsets] == named


# ---- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["binary", "uniform"])
def test_the_tasks_loss_of_the_original_weights_is_the_originals_total(case, tmp_path, target):
    task = task_of(case, tmp_path, target=target)
    with torch.no_grad():
        found = float(total(task, case, batch_of(task, case, tmp_path)))
    wanted = case.told if target == "binary" else case.told["normalised_positive_map"]
    assert found == pytest.approx(wanted["total"], rel=1e-5)


@pytest.mark.parametrize(("name", "wanted"), TOTALS.items())
def test_the_totals_are_those_of_the_specification(references, name, wanted):
    told = Case.read(references / "detection" / name).told
    assert told["total"] == pytest.approx(wanted, abs=1e-4)
    if name == "mdetr_small":
        assert told["normalised_positive_map"]["total"] == pytest.approx(38.2510, abs=5e-5)


def test_every_parameter_gets_the_originals_gradient(case, tmp_path):
    task = task_of(case, tmp_path)
    total(task, case, batch_of(task, case, tmp_path)).backward()
    # beside the norms the weights that do not learn, by which the table tells a ResNet
    sizes = case.weights | {key: torch.tensor(value, dtype=torch.double) for key, value in case.told["grad_norms"].items()}
    wanted = {name: value for name, value in from_published(sizes).items() if value.dtype == torch.double}
    found = {name: float(p.grad.norm()) for name, p in case.net.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, norm in found.items():
        assert norm == pytest.approx(float(wanted[name]), rel=1e-4, abs=1e-4), name


def test_padding_of_captions_moves_the_alignment_unless_it_is_masked(references, tmp_path):
    case = Case.read(references / "detection" / "mdetr_small")
    found = {}
    for padded in (True, False):
        task = task_of(case, tmp_path, align_padding=padded)
        batch = batch_of(task, case, tmp_path)
        for more in (0, 7):
            longer = {
                key: torch.nn.functional.pad(case.inputs[key], (0, more), value=key == "input_ids")
                for key in ("input_ids", "attention_mask")
            }
            image, present = case.given[:2]
            with torch.no_grad():
                output = case.net(image, present, longer["input_ids"], longer["attention_mask"] == 1)
            wide = batch | {"tokens_present": longer["attention_mask"] == 1}
            wide["own_tokens"] = [torch.nn.functional.pad(own, (0, more)) for own in batch["own_tokens"]]
            found[padded, more] = float(task.loss(output, wide)["align"])
    assert abs(found[True, 7] - found[True, 0]) > 1e-3
    assert found[False, 7] == pytest.approx(found[False, 0], abs=1e-4)


# ---- what comes out ---------------------------------------------------------------------------------------------------


def test_boxes_scores_and_masks_are_the_originals(case, tmp_path):
    task = task_of(case, tmp_path)
    batch = batch_of(task, case, tmp_path)
    with torch.no_grad():
        predictions = task.predict(case.net(*case.given), batch)
    for i, made in enumerate(predictions):
        rows = np.argsort(made["queries"])
        wanted = {key.partition(".")[2]: value.numpy() for key, value in case.outputs.items() if key.startswith(f"post{i}.")}
        assert np.array(made["scores"])[rows] == pytest.approx(wanted["scores"], abs=1e-5)
        assert np.array(made["boxes_xyxy"])[rows] == pytest.approx(wanted["boxes"], abs=1e-2)
        assert set(wanted["labels"]) == {1}  # of no class but that there is something
        assert ("final_scores" in made) == ("scores_refexp" in wanted) and ("masks" in made) == ("masks" in wanted)
        if "final_scores" in made:
            assert np.array(made["final_scores"])[rows] == pytest.approx(wanted["scores_refexp"], abs=1e-5)
        if "masks" in made:
            codes = [{**made["masks"][j], "counts": made["masks"][j]["counts"].encode()} for j in rows]
            assert (rle.decode(codes).transpose(2, 0, 1) == wanted["masks"][:, 0]).mean() > 0.9999


def test_boxes_are_ranked_for_a_phrase_as_by_the_original(case, tmp_path):
    task = task_of(case, tmp_path)
    with torch.no_grad():
        predictions = task.predict(case.net(*case.given), batch_of(task, case, tmp_path))
    ranked = [name for name in case.outputs if name.startswith("flickr")]
    if not ranked:
        pytest.skip("this case ranks no boxes")
    assert len(ranked) == len(predictions)
    for i, made in enumerate(predictions):
        for phrase, wanted in zip(case.told["tokens_positive"][i], case.outputs[f"flickr{i}"], strict=True):
            order = np.argsort(-phrase_scores(made["token_probs"], owned(np.array(made["token_spans"]), phrase)), kind="stable")
            assert np.array(made["boxes_xyxy"])[order] == pytest.approx(wanted.numpy(), abs=1e-2)


def test_questions_are_answered_with_the_likeliest_value_of_the_likeliest_type(references, tmp_path):
    case = Case.read(references / "detection" / "mdetr_small_qa_clevr")
    task = task_of(case, tmp_path)
    with torch.no_grad():
        predictions = task.predict(case.net(*case.given), batch_of(task, case, tmp_path))
    for i, made in enumerate(predictions):
        kind = list(CLEVR)[int(case.outputs["pred_answer_type"][i].argmax())]
        logits = case.outputs[f"pred_answer_{kind}"][i]
        assert made["reply"]["type"] == kind
        assert made["reply"]["value"] == CLEVR[kind][int(logits > 0) if kind == "binary" else int(logits.argmax())]


# ---- nothing is left out ----------------------------------------------------------------------------------------------

# which tests compare a key of the inputs, outputs or losses
CLAIMED = {
    r"(input_ids|attention_mask)|positive_map_(collated|normalised)": "captions here; network",
    r"(padded|mask)|image\d": "network; sizes here",
    r"target\d\.(boxes|isfinal|masks)|answers\..+": "losses; here",
    r"target\d\.labels": "nothing: all are 1",
    r"(aux\d\.)?(pred|proj)_\w+|cache\.\w+|decoder_hs|encoder_memory|text_\w+|bbox_attention": "network",
    r"post\d\.\w+|flickr\d": "here",
    r"losses|weights|total|normalised_positive_map|matching_last": "losses; totals here",
    r"grad_norms|captions|tokens_positive|token_strings|token_of_char": "here",
    r"count": "network",
}


def test_no_number_of_the_reference_is_left_out(case):
    left = [key for key in (*case.inputs, *case.outputs, *case.told) if not any(re.fullmatch(pattern, key) for pattern in CLAIMED)]
    assert not left
    assert all(set(labels.tolist()) <= {1} for labels in case.of_examples("labels"))


def test_what_must_be_shown_is_held_by_tests_that_are_there():
    root = pathlib.Path(__file__).parents[1]
    for file, name in ACCEPTANCE.values():
        assert f"def {name}(" in (root / file).read_text(), name
    assert {what[0] for what in ACCEPTANCE} == set("123456")
