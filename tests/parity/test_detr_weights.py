"""DETR's weights under others' names: each has its place here and comes back, and Hugging Face's network gives what ours does."""

import json
from collections import Counter

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import DetrConfig, DetrForObjectDetection, DetrForSegmentation, DetrImageProcessor, ResNetConfig
from transformers.core_model_loading import revert_weight_conversion

import pellucid
from pellucid import checkpoint
from pellucid.convert import to_run
from pellucid.errors import BadData
from pellucid.nn import detr_names
from pellucid.nn.detr import Detr, Shape
from pellucid.nn.resnet import ResNet, resnet

CASES = ("detr_small", "detr_small_masks", "updetr_small", "updetr_small_norecon")
SMALL = {"encoder_layers": 2, "decoder_layers": 2, "num_queries": 7}
HF_SMALL = {
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "num_labels": 5,
    "use_pretrained_backbone": False,
    **SMALL,
}


def shapes(tensors) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def published(references, name: str) -> dict[str, torch.Tensor]:
    names = json.loads((references / f"detection/state_dicts/{name}_state_dict.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in names.items()}


# ---- the authors' ----------------------------------------------------------------------------------------------------


def test_every_name_of_the_published_detr_is_one_of_ours_and_comes_back(references):
    official = published(references, "detr_r50")
    with torch.device("meta"):
        expected = Detr(resnet("resnet50"), Shape(91))
    ours = detr_names.from_official(official)
    assert shapes(ours) == shapes(expected.state_dict())
    assert shapes(detr_names.to_official(ours)) == shapes(official)
    assert len(official) == 458 and sum(p.numel() for p in expected.parameters()) == 41_524_768


def test_every_name_of_the_published_up_detr_is_one_of_ours_and_comes_back(references):
    official = published(references, "updetr_r50")
    with torch.device("meta"):
        expected = Detr(resnet("resnet50"), Shape(2, pre_norm=True)).state_dict()
    ours = detr_names.from_official(official)
    extra = {"patch_to_query.weight": (256, 2048), "patch_to_query.bias": (256,), "feature_head.layers.0.weight": (256, 256)}
    extra |= {"feature_head.layers.0.bias": (256,), "feature_head.layers.1.weight": (2048, 256), "feature_head.layers.1.bias": (2048,)}
    assert shapes(ours) == shapes(expected) | extra
    assert shapes(detr_names.to_official(ours)) == shapes(official)
    assert detr_names.is_pretraining(ours) and not detr_names.is_pretraining(expected)


@pytest.mark.parametrize("case", CASES)
def test_the_authors_small_weights_come_back_to_the_last_bit(references, case):
    official = load_file(references / f"detection/{case}/weights.safetensors")
    ours, kind = detr_names.to_ours(official)
    assert kind == "official" and detr_names.kind_of(ours) == "ours"
    assert checkpoint.same(detr_names.to_official(ours), official)


def test_weights_of_another_network_are_refused_by_the_key_that_has_no_place(references):
    with pytest.raises(
        BadData,
        match=r"the official DETR's names: 'transformer\.decoder\.layers\.0\.cross_attn_image\.in_proj_weight' is none that we know",
    ):
        detr_names.from_official(published(references, "mdetr_r101"))


# ---- Hugging Face's --------------------------------------------------------------------------------------------------


def hf_config(timm: bool, width: int = 64, **more) -> DetrConfig:
    if timm:
        return DetrConfig(use_timm_backbone=True, backbone="resnet18", d_model=width, **HF_SMALL, **more)
    stages = [f"stage{i}" for i in range(1, 5)]
    small = ResNetConfig(depths=[1, 1, 1, 2], hidden_sizes=[32, 64, 128, 256], embedding_size=8, out_features=stages)
    return DetrConfig(use_timm_backbone=False, backbone=None, backbone_config=small, d_model=width, **HF_SMALL, **more)


def our_detr(timm: bool, width: int = 64, position: str = "sine", masks: str = "") -> Detr:
    small = ResNet((1, 1, 1, 2), (8, 16, 32, 64), 8)
    shape = Shape(5, width=width, num_heads=8, feedforward=96, dropout=0.0, position=position, **SMALL)
    return Detr(resnet("resnet18") if timm else small, shape, mask_padding=False, masks=masks).eval()


def moved(model: nn.Module) -> nn.Module:
    """The network with norms that do something, so that two of them are not taken for each other."""
    for name, value in model.state_dict().items():
        if value.dim() == 1 and value.is_floating_point():
            value.copy_(0.5 + torch.rand_like(value) if name.endswith(("weight", "running_var")) else 0.1 * torch.randn_like(value))
    return model.eval()


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    image, present = torch.zeros(2, 3, 96, 128), torch.zeros(2, 96, 128, dtype=torch.bool)
    for i, (height, width) in enumerate(((96, 100), (70, 128))):
        image[i, :, :height, :width] = torch.randn(3, height, width)
        present[i, :height, :width] = True
    return image, present


def check_equal(hf: nn.Module, ours: Detr) -> None:
    image, present = padded()
    with torch.no_grad():
        theirs, told = hf(pixel_values=image, pixel_mask=present.long()), ours(image, present)
    names = {"logits": "logits", "pred_boxes": "boxes_cxcywh", "pred_masks": "mask_logits"}
    compared = {names[key]: value for key, value in theirs.items() if key in names}
    assert compared.keys() == {key for key in told if not key.startswith("aux_")}
    for name, value in compared.items():
        torch.testing.assert_close(told[name], value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("position", ["sine", "learned"])
@pytest.mark.parametrize("timm", [True, False])
def test_weights_of_hugging_face_give_the_same_classes_and_boxes_here(timm, position):
    hf, ours = moved(DetrForObjectDetection(hf_config(timm, position_embedding_type=position))), our_detr(timm, position=position)
    checkpoint.load_into(ours, detr_names.from_hf(hf.state_dict()), "in memory")
    check_equal(hf, ours)


@pytest.mark.parametrize("timm", [True, False])
def test_our_weights_give_the_same_in_hugging_faces_network(timm, tmp_path):
    ours = moved(our_detr(timm))
    checkpoint.save(detr_names.to_hf(ours.state_dict(), transformers_resnet=not timm), tmp_path / "model.safetensors")
    hf_config(timm).save_pretrained(tmp_path)
    hf, report = DetrForObjectDetection.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    check_equal(hf.eval(), ours)


@pytest.mark.parametrize("timm", [True, False])
def test_masks_of_hugging_faces_network_are_ours(timm):
    hf, ours = moved(DetrForSegmentation(hf_config(timm, 128))), our_detr(timm, 128, masks="joint")
    checkpoint.load_into(ours, detr_names.from_hf(hf.state_dict()), "in memory")
    check_equal(hf, ours)


@pytest.mark.parametrize("made", [DetrForObjectDetection, DetrForSegmentation])
@pytest.mark.parametrize("timm", [True, False])
def test_names_of_files_and_of_networks_in_memory_are_read_alike_and_those_of_files_are_written(timm, made):
    hf = made(hf_config(timm, 128, position_embedding_type="learned"))
    memory, file = hf.state_dict(), revert_weight_conversion(hf, hf.state_dict())
    assert len(memory.keys() & file.keys()) < len(memory) // 2
    found = detr_names.from_hf(memory)
    assert checkpoint.same(found, detr_names.from_hf(file))
    assert checkpoint.same(detr_names.to_hf(found, transformers_resnet=not timm), file)


def test_each_of_hugging_faces_names_fits_one_rule_and_each_rule_a_name():
    names: dict[str, torch.Tensor] = {}
    for timm in (True, False):
        hf = DetrForSegmentation(hf_config(timm, 128, position_embedding_type="learned"))
        names |= hf.state_dict() | revert_weight_conversion(hf, hf.state_dict())
    before_5 = {f"detr.model.backbone.position_embedding.{axis}_embeddings.weight": torch.ones(50, 64) for axis in ("row", "column")}
    table = detr_names.hf_table(masks=True)
    hits = [checkpoint.rename(names | before_5, [(theirs, f"hit {theirs}")]).keys() - (names | before_5).keys() for theirs, _ in table]
    assert all(hits), [rule for rule, hit in zip(table, hits, strict=True) if not hit]
    fitting = Counter(key.removeprefix("hit ") for hit in hits for key in hit)
    assert {key: n for key, n in fitting.items() if n > 1} == {}
    assert {key for key in names if key not in fitting} == {key for key in names if key.endswith(".num_batches_tracked")}


def test_every_name_of_a_full_hugging_face_detr_is_one_of_ours_and_comes_back():
    with torch.device("meta"):
        hf, ours = DetrForObjectDetection(DetrConfig(use_pretrained_backbone=False, num_labels=91)), Detr(resnet("resnet50"), Shape(91))
    file = revert_weight_conversion(hf, hf.state_dict())
    assert shapes(detr_names.from_hf(hf.state_dict())) == shapes(detr_names.from_hf(file)) == shapes(ours.state_dict())
    assert shapes(detr_names.to_hf(ours.state_dict())) == shapes(file)


def test_a_full_panoptic_detr_of_hugging_face_is_ours_with_masks_and_goes_to_every_kind_of_names():
    with torch.device("meta"):
        hf = DetrForSegmentation(DetrConfig(use_pretrained_backbone=False, num_labels=250))
        ours = Detr(resnet("resnet50"), Shape(250), masks="joint")
    assert sum(p.numel() for p in ours.parameters()) == 42_899_288  # as the paper's authors publish it
    expected = shapes(ours.state_dict())
    assert shapes(detr_names.from_hf(hf.state_dict())) == expected
    for kind in detr_names.KINDS:
        assert shapes(detr_names.to_ours(detr_names.theirs(ours.state_dict(), kind))[0]) == expected
    assert shapes(detr_names.to_hf(ours.state_dict())) == shapes(revert_weight_conversion(hf, hf.state_dict()))


RECIPE = '''
from pellucid.data.box_views import BoxView
from pellucid.recipe import Data, Recipe
from pellucid.tasks.detection.settings import DetectionSettings

def small() -> Recipe:
    """The network of the test."""
    numbers = {"encoder_layers": 2, "decoder_layers": 2, "num_queries": 7, "width": 64, "feedforward": 96}
    return Recipe(DetectionSettings("resnet18", "", view=BoxView(64, 96), **numbers), Data("shapes:train"))
'''


@pytest.mark.parametrize("kind", ["hf", "official", "detectron2"])
def test_a_run_made_of_published_weights_says_of_a_picture_what_hugging_face_says(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(RECIPE)
    names = ["cat", "dog", "hen", "owl", "bat"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    hf = moved(DetrForObjectDetection(hf_config(True)))
    published = detr_names.theirs(detr_names.from_hf(hf.state_dict()), kind)
    torch.save({"model": published}, tmp_path / "detr.pth")
    to_run(tmp_path / "detr.pth", tmp_path / "run", "./mine.py:small", "names.txt")
    Image.fromarray(torch.randint(0, 256, (50, 71, 3), dtype=torch.uint8).numpy()).save(tmp_path / "picture.png")

    processor = DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    with torch.no_grad():
        theirs = hf(**processor(images=Image.open(tmp_path / "picture.png"), return_tensors="pt"))
    told = processor.post_process_object_detection(theirs, threshold=0.0, target_sizes=[(50, 71)])[0]
    order = told["scores"].argsort(descending=True, stable=True)
    ours = pellucid.load("run").predict(["picture.png"], threshold=0.0)[0]
    torch.testing.assert_close(torch.tensor(ours["scores"]), told["scores"][order], rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor(ours["boxes_xyxy"]), told["boxes"][order], rtol=0, atol=1e-2)
    assert ours["labels"] == [names[i] for i in told["labels"][order]]
