"""TripleNet's parts against a re-implementation's, run with random weights, and its losses against torchvision's SSD.

The re-implementation's own gate runs its layers in the wrong order, which one set of numbers has and the other has not.
`ACCEPTANCE` says which tests hold what a rebuilt TripleNet must show. Two things are shown by runs: eight pictures learned by heart, by
`pellucid train triplenet:overfit`, and the rows of the ablation, by `pellucid table triplenet --run`.
"""

import json
import pathlib
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pellucid.losses.multibox import BoxTruth, matched, multibox_losses
from pellucid.losses.segmentation import agnostic_labels, pixel_loss
from pellucid.nn.boxes import offsets_from, xyxy_to_cxcywh
from pellucid.nn.default_boxes import Tiling, default_boxes
from pellucid.nn.fusion import AttentionFusion, FusedMaps, PairFusion, resized
from pellucid.nn.resnet import Block
from pellucid.nn.triplenet import Heads, Shape

CLASSES, WIDTH, PER_CELL = 4, 64, 6
SIZE = (40, 40)  # of segmentations
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
MIX = {"shortcut": "mix.shortcut", **{f"residual_layer.{3 * i + j}": f"mix.residual.{i}.{j}" for i in range(3) for j in range(2)}}
NAMES = {
    "down": {"shorcut": "downsample"},
    "pair": MIX,
    "se": MIX | {"in_channel1_conv": "deep", "in_channel2_conv": "skip", "se_layer.1": "gate.1", "se_layer.2": "gate.3"},
    "icm": {
        "seg_head.0": "aware",
        "conv1.0": "inner.features.0.0",
        "conv1.1": "inner.features.0.1",
        "conv1.3": "inner.features.1.0",
        "conv1.4": "inner.features.1.1",
        "conv2": "inner.join",
        "loc_head.0": "offsets",
        "conf_head.0": "classes",
    },
    "mfs": {"0": "classify"},
    "agnostic": {"0": "0"},
}
HERE, NETWORK, PIXELS = "parity/test_triplenet_modules.py", "nn/test_triplenet_network.py", "losses/test_segmentation_losses.py"
ACCEPTANCE = {
    "1 extra stages": (HERE, "test_an_extra_stage_is_the_re_implementations"),
    "1 PairNet's fusion": (HERE, "test_pairnets_fusion_is_the_re_implementations"),
    "1 gate and fusion": (HERE, "test_attention_fusion_and_its_gate_are_the_re_implementations_with_the_gate_in_order"),
    "1 gate as it stands": (HERE, "test_with_the_gates_layers_out_of_order_the_re_implementations_own_numbers_come_out"),
    "1 inner-connected module": (HERE, "test_the_inner_connected_module_is_the_re_implementations"),
    "1 fused segmentation": (HERE, "test_the_fused_segmentation_is_the_re_implementations"),
    "1 class-agnostic head": (HERE, "test_the_agnostic_head_is_the_re_implementations"),
    "2 matching": (HERE, "test_boxes_are_matched_as_by_torchvision"),
    "2 losses": (HERE, "test_the_losses_of_boxes_are_torchvisions"),
    "2 encoding": (HERE, "test_the_encoded_example_is_blitznets"),
    "3 default boxes": (HERE, "test_default_boxes_are_blitznets"),
    "4 void of agnostic labels": (PIXELS, "test_any_class_is_an_object_and_void_stays_void"),
    "4 all void": (PIXELS, "test_pictures_that_are_all_void_cost_exactly_nothing"),
    "4 gradients": ("tasks/test_joint.py", "test_a_picture_without_a_map_costs_nothing_there_and_gives_finite_gradients"),
    "5 uniform logits of pixels": (PIXELS, "test_uniform_logits_cost_their_entropy_at_every_scale"),
    "5 uniform logits of boxes": ("losses/test_multibox.py", "test_uniform_logits_cost_four_times_their_entropy_for_each_matched_box"),
    "6 training and evaluation": (NETWORK, "test_training_and_evaluation_tell_the_same_where_norms_are_frozen"),
    "6 what does not run": (NETWORK, "test_what_only_is_learned_does_not_run_in_evaluation"),
    "6 what is not exported": ("export/test_export_joint.py", "test_heads_that_only_teach_are_not_in_the_graph"),
    "7 gradient": (NETWORK, "test_errors_of_boxes_change_class_aware_logits_only_through_the_inner_module"),
    "7 the gate": (NETWORK, "test_a_gate_is_a_number_between_0_and_1_for_each_channel_of_a_picture"),
    "7 the gate shut": (NETWORK, "test_a_gate_is_told_by_the_coarse_map_and_shuts_the_fine_one"),
}


@pytest.fixture(scope="module")
def folder(references):
    return references / "detection" / "triplenet_modules"


@pytest.fixture(scope="module")
def told(folder):
    """What it gave of its inputs."""
    return load_file(folder / "io.safetensors")


@pytest.fixture(scope="module")
def corrected(folder):
    """The same with the gate's layers in their order."""
    return load_file(folder / "io_correct_se.safetensors")


def renamed(key: str, names: dict[str, str]) -> str:
    old = max((old for old in names if key == old or key.startswith(old + ".")), key=len, default="")
    return names[old] + key[len(old) :] if old else key


@pytest.fixture(scope="module")
def part(folder):
    """Ours of a name with the re-implementation's weights, every one of them."""
    weights = load_file(folder / "weights.safetensors")

    def made(name, module):
        mine = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        module.load_state_dict({renamed(key, NAMES[name]): value for key, value in mine.items()})
        return module.eval()

    return made


@torch.no_grad()
def test_an_extra_stage_is_the_re_implementations(part, told):
    down = part("down", Block((96, 24), True, 2, 1, "batch"))
    torch.testing.assert_close(down(told["x"], None)[0], told["down"], **CLOSE)


@torch.no_grad()
def test_pairnets_fusion_is_the_re_implementations(part, told):
    pair = part("pair", PairFusion(96, 48, WIDTH, 16, "batch"))
    torch.testing.assert_close(pair(told["down"], told["enc1"]), told["pair_decoder"], **CLOSE)


@torch.no_grad()
def test_attention_fusion_and_its_gate_are_the_re_implementations_with_the_gate_in_order(part, told, corrected):
    fusion = part("se", AttentionFusion(WIDTH, 32, WIDTH, 16, "batch", 16))
    gates: list[torch.Tensor] = []
    fusion.gate.register_forward_hook(lambda module, given, gate: gates.append(gate))
    fused = fusion(told["pair_decoder"], corrected["enc2"])
    torch.testing.assert_close(gates[0], corrected["se_gate"], **CLOSE)
    torch.testing.assert_close(fused, corrected["se_decoder"], **CLOSE)


@torch.no_grad()
def test_with_the_gates_layers_out_of_order_the_re_implementations_own_numbers_come_out(part, told):
    fusion = part("se", AttentionFusion(WIDTH, 32, WIDTH, 16, "batch", 16))
    pool, narrow, rectify, widen, squash = fusion.gate
    fusion.gate = torch.nn.Sequential(pool, narrow, widen, rectify, squash)
    gates: list[torch.Tensor] = []
    fusion.gate.register_forward_hook(lambda module, given, gate: gates.append(gate))
    torch.testing.assert_close(fusion(told["pair_decoder"], told["enc2"]), told["se_decoder"], **CLOSE)
    torch.testing.assert_close(gates[0], told["se_gate"], **CLOSE)
    assert gates[0].min() >= 0.5  # which is what is wrong with it: nothing can be shut


@pytest.mark.parametrize("which", ["told", "corrected"])
@torch.no_grad()
def test_the_inner_connected_module_is_the_re_implementations(part, which, request):
    io = request.getfixturevalue(which)
    shape = Shape(CLASSES, width=WIDTH, agnostic=False, fused=False)
    ours = part("icm", Heads(shape, PER_CELL, aware=True))(io["se_decoder"])
    torch.testing.assert_close(ours.class_logits, io["icm_conf"], **CLOSE)
    torch.testing.assert_close(ours.offsets, io["icm_loc"], **CLOSE)
    torch.testing.assert_close(resized(ours.aware_logits, SIZE, align_corners=True), io["icm_seg"], **CLOSE)


@torch.no_grad()
def test_the_fused_segmentation_is_the_re_implementations(part, told):
    fuse = part("mfs", FusedMaps(2, WIDTH, CLASSES + 1, align_corners=True))
    torch.testing.assert_close(fuse([told["pair_decoder"], told["se_decoder"]], SIZE), told["fused_seg"], **CLOSE)


@torch.no_grad()
def test_the_agnostic_head_is_the_re_implementations(part, told):
    head = part("agnostic", torch.nn.Sequential(torch.nn.Conv2d(WIDTH, 2, 3, padding=1)))
    torch.testing.assert_close(resized(head(told["se_decoder"]), SIZE, align_corners=True), told["class_agnostic"], **CLOSE)


# ---- losses -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def multibox(folder):
    return load_file(folder / "multibox.safetensors"), json.loads((folder / "multibox.json").read_text())


def truth_of(numbers) -> BoxTruth:
    boxes, labels, present = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
    for i in range(2):
        own = numbers[f"label{i}"]
        boxes[i, : len(own)], labels[i, : len(own)] = xyxy_to_cxcywh(numbers[f"gt{i}"]), own - 1
        present[i, : len(own)] = True
    return BoxTruth(boxes, labels, present)


def test_boxes_are_matched_as_by_torchvision(multibox):
    numbers, wanted = multibox
    truth = truth_of(numbers)
    assert len(numbers["anchors_cxcywh"]) == wanted["num_anchors"] == 810
    owner = matched(numbers["anchors_cxcywh"], truth.boxes_cxcywh, truth.present)
    assert torch.equal(owner, torch.stack([numbers["matched0"], numbers["matched1"]]))
    assert (owner >= 0).sum(1).tolist() == wanted["positives_per_image"] == [3, 3]


def test_offsets_are_torchvisions(multibox):
    numbers, _ = multibox
    truth = truth_of(numbers)
    for i in range(2):
        owner = numbers[f"matched{i}"]
        code = offsets_from(numbers["anchors_cxcywh"][owner >= 0], truth.boxes_cxcywh[i, owner[owner >= 0]])
        torch.testing.assert_close(code, numbers[f"encoded{i}"], rtol=1e-4, atol=1e-5)


def test_the_losses_of_boxes_are_torchvisions(multibox):
    numbers, wanted = multibox
    losses = multibox_losses(numbers["cls_logits"], numbers["bbox_regression"], numbers["anchors_cxcywh"], truth_of(numbers))
    assert float(losses["loc"]) == pytest.approx(wanted["bbox_regression"], rel=1e-6)
    assert float(losses["conf"]) == pytest.approx(wanted["classification"], rel=1e-6)


def test_the_losses_of_pixels_leave_out_the_void(folder):
    numbers, wanted = load_file(folder / "seg.safetensors"), json.loads((folder / "seg.json").read_text())
    labels = agnostic_labels(numbers["target"])
    assert torch.equal(labels, numbers["agnostic_target"])
    assert float(pixel_loss(numbers["logits"], numbers["target"])) == pytest.approx(wanted["class_aware_ce_ignore255"], rel=1e-6)
    assert float(pixel_loss(numbers["agnostic_logits"], labels)) == pytest.approx(wanted["class_agnostic_ce"], rel=1e-6)


# ---- default boxes ------------------------------------------------------------------------------------------------

NUMBERS = {"300_s8": (0.1, 0.2), "300_s4": (0.04, 0.1), "512_s8": (0.04, 0.1), "512_s4": (0.02, 0.08)}


@pytest.mark.parametrize("name", NUMBERS)
def test_default_boxes_are_blitznets(references, name):
    wanted = json.loads((references / "detection" / "metrics" / "default_boxes.json").read_text())[name]
    tiling = Tiling(*NUMBERS[name])
    sizes = wanted["fm_sizes"]
    scales = tiling.scales_of(len(sizes))
    assert scales[:-1] == pytest.approx(wanted["min_scales"])
    assert scales[1:] == pytest.approx(wanted["max_scales"])
    boxes = default_boxes([(side, side) for side in sizes], tiling)
    assert len(boxes) == wanted["count"]
    torch.testing.assert_close(boxes[:6], torch.tensor(wanted["first_six"]))
    torch.testing.assert_close(boxes[-6:], torch.tensor(wanted["last_six"]))
    torch.testing.assert_close(boxes.double().sum(0), torch.tensor(wanted["sum"], dtype=torch.double), rtol=1e-6, atol=0)


def test_the_encoded_example_is_blitznets(references):
    example = json.loads((references / "detection" / "metrics" / "default_boxes.json").read_text())["encode_example"]
    prior, box, code = (torch.tensor([example[name]], dtype=torch.double) for name in ("prior_cxcywh", "gt_cxcywh", "code"))
    torch.testing.assert_close(offsets_from(prior, box), code)


# ---- all of it --------------------------------------------------------------------------------------------------------

CLAIMED = {
    "io/x|io/down": ACCEPTANCE["1 extra stages"],
    "io/enc1|io/pair_decoder": ACCEPTANCE["1 PairNet's fusion"],
    "io/enc2|io/se_(decoder|gate)": ACCEPTANCE["1 gate as it stands"],
    "io_correct_se/(x|enc1|enc2|se_decoder|se_gate)": ACCEPTANCE["1 gate and fusion"],
    "io(_correct_se)?/icm_(conf|loc|seg)": ACCEPTANCE["1 inner-connected module"],
    "io/fused_seg": ACCEPTANCE["1 fused segmentation"],
    "io/class_agnostic": ACCEPTANCE["1 class-agnostic head"],
    "multibox/(anchors_cxcywh|gt[01]|label[01]|matched[01]|num_anchors|positives_per_image|rule)": ACCEPTANCE["2 matching"],
    "multibox/encoded[01]": (HERE, "test_offsets_are_torchvisions"),
    "multibox/(cls_logits|bbox_regression|classification)": ACCEPTANCE["2 losses"],
    "seg/.*": (HERE, "test_the_losses_of_pixels_leave_out_the_void"),
    "miou/.*": ("metrics/test_segmentation.py", "test_mean_iou_agrees_with_the_reference"),
}


def numbers_of(file: pathlib.Path) -> list[str]:
    """Names of what a file of the reference holds."""
    return list(json.loads(file.read_text())) if file.suffix == ".json" else list(safe_open(file, "pt").keys())


def test_no_number_of_the_reference_is_left_out(folder):
    found = {f"{file.stem}/{name}" for file in sorted(folder.iterdir()) for name in numbers_of(file) if file.stem != "weights"}
    assert sorted(name for name in found if not any(re.fullmatch(pattern, name) for pattern in CLAIMED)) == []
    assert {name.split(".")[0] for name in numbers_of(folder / "weights.safetensors")} == set(NAMES)


def test_what_must_be_shown_is_held_by_tests_that_are_there():
    root = pathlib.Path(__file__).parents[1]
    for file, name in (*ACCEPTANCE.values(), *CLAIMED.values()):
        assert f"def {name}(" in (root / file).read_text(), name
    assert {what[0] for what in ACCEPTANCE} == set("1234567")
