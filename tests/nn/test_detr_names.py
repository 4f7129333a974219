"""DETR's weights keep every tensor under any program's names, a wrong name is refused, and classes keep their rows."""

import pytest
import torch

from pellucid import checkpoint
from pellucid.errors import BadData
from pellucid.nn import detr_names
from pellucid.nn.detr import Detr, Shape
from pellucid.nn.resnet import ResNet

SMALL = {"width": 32, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2, "feedforward": 8, "num_queries": 3}
OFFICIAL = {
    "backbone.0.body.conv1.weight": "backbone.conv1.weight",
    "backbone.0.body.bn1.running_var": "backbone.bn1.running_var",
    "backbone.0.body.layer4.1.conv2.weight": "backbone.layer4.1.conv2.weight",
    "backbone.0.body.layer3.0.bn3.running_mean": "backbone.layer3.0.bn3.running_mean",
    "backbone.0.body.layer2.0.downsample.0.weight": "backbone.layer2.0.downsample.0.weight",
    "backbone.1.row_embed.weight": "position.rows.weight",
    "backbone.1.col_embed.weight": "position.columns.weight",
    "transformer.encoder.layers.1.self_attn.in_proj_weight": "encoder.layers.1.attention.in_proj_weight",
    "transformer.encoder.layers.0.self_attn.out_proj.bias": "encoder.layers.0.attention.out_proj.bias",
    "transformer.encoder.layers.0.linear2.weight": "encoder.layers.0.linear2.weight",
    "transformer.encoder.layers.1.norm2.bias": "encoder.layers.1.norm2.bias",
    "transformer.encoder.norm.weight": "encoder.norm.weight",
    "transformer.decoder.layers.1.self_attn.in_proj_bias": "decoder.layers.1.self_attention.in_proj_bias",
    "transformer.decoder.layers.0.multihead_attn.in_proj_bias": "decoder.layers.0.cross_attention.in_proj_bias",
    "transformer.decoder.layers.0.linear1.bias": "decoder.layers.0.linear1.bias",
    "transformer.decoder.layers.1.norm3.weight": "decoder.layers.1.norm3.weight",
    "transformer.decoder.norm.bias": "decoder.norm.bias",
    "input_proj.weight": "input_proj.weight",
    "query_embed.weight": "queries.weight",
    "class_embed.bias": "class_head.bias",
    "bbox_embed.layers.2.weight": "box_head.layers.2.weight",
    "patch2query.weight": "patch_to_query.weight",
    "feature_align.layers.1.bias": "feature_head.layers.1.bias",
}
MASKS = {
    "bbox_attention.q_linear.weight": "mask_head.attention.q.weight",
    "bbox_attention.k_linear.bias": "mask_head.attention.k.bias",
    "mask_head.lay5.weight": "mask_head.lay5.weight",
    "mask_head.gn1.bias": "mask_head.gn1.bias",
    "mask_head.adapter3.weight": "mask_head.adapter3.weight",
    "mask_head.out_lay.bias": "mask_head.out_lay.bias",
}
HF = {
    "model.backbone.conv_encoder.model.layer4.1.bn2.weight": "backbone.layer4.1.bn2.weight",
    "model.encoder.layers.0.self_attn.out_proj.bias": "encoder.layers.0.attention.out_proj.bias",
    "model.encoder.layers.1.self_attn_layer_norm.bias": "encoder.layers.1.norm1.bias",
    "model.encoder.layers.1.final_layer_norm.bias": "encoder.layers.1.norm2.bias",
    "model.decoder.layers.0.encoder_attn.out_proj.weight": "decoder.layers.0.cross_attention.out_proj.weight",
    "model.decoder.layers.0.encoder_attn_layer_norm.weight": "decoder.layers.0.norm2.weight",
    "model.decoder.layers.0.final_layer_norm.weight": "decoder.layers.0.norm3.weight",
    "model.decoder.layers.1.fc2.bias": "decoder.layers.1.linear2.bias",
    "model.decoder.layernorm.bias": "decoder.norm.bias",
    "model.input_projection.bias": "input_proj.bias",
    "model.query_position_embeddings.weight": "queries.weight",
    "class_labels_classifier.weight": "class_head.weight",
    "bbox_predictor.layers.0.bias": "box_head.layers.0.bias",
}


def network(masks: bool = False, pretraining: bool = False, more: dict | None = None) -> dict[str, torch.Tensor]:
    """Our tensors, no two alike."""
    size = {**SMALL, "width": 128, "num_heads": 8} if masks else SMALL
    model = Detr(ResNet((1, 1, 1, 2), (4, 4, 4, 4), 4), Shape(5, **size, **(more or {})), masks="joint" if masks else "")
    state = {key: torch.rand_like(value) for key, value in model.state_dict().items()}
    if pretraining:
        state |= {f"patch_to_query.{leaf}": torch.rand(2, 3) for leaf in ("weight", "bias")}
        state |= {f"feature_head.layers.{i}.{leaf}": torch.rand(2, 3) for i in (0, 1) for leaf in ("weight", "bias")}
    return state


EVERYTHING = {
    "official": lambda: network(pretraining=True, more={"pre_norm": True, "position": "learned"}),
    "official with masks": lambda: network(masks=True, more={"pre_norm": True, "position": "learned"}),
    "hf": lambda: network(more={"position": "learned"}),
    "hf with masks": lambda: network(masks=True, more={"position": "learned"}),
    "detectron2": lambda: network(more={"pre_norm": True}),
    "detectron2 with masks": lambda: network(masks=True, more={"pre_norm": True}),
}
TABLES = {"official": detr_names.official_table, "hf": detr_names.hf_table, "detectron2": detr_names.detectron2_table}


@pytest.mark.parametrize("kind", EVERYTHING)
def test_there_and_back_is_the_same_to_the_last_bit(kind):
    ours = EVERYTHING[kind]()
    foreign = detr_names.theirs({f"net.{key}": value for key, value in ours.items()}, kind.split()[0])
    assert detr_names.kind_of(foreign) == kind.split()[0]
    back, told = detr_names.to_ours(foreign)
    assert checkpoint.same(back, ours) and told == kind.split()[0]


@pytest.mark.parametrize("kind", EVERYTHING)
def test_one_letter_more_in_any_part_of_a_name_and_it_has_no_place(kind):
    foreign = detr_names.theirs(EVERYTHING[kind](), kind.split()[0])
    table = TABLES[kind.split()[0]]("masks" in kind)
    ours = checkpoint.rename(foreign, table, whose="these")
    for key in list(foreign)[::3]:
        parts = key.split(".")
        for i, part in enumerate(parts):
            other = ".".join([*parts[:i], f"{part}x", *parts[i + 1 :]])
            assert _place(other, table) not in ours, other


def _place(name: str, table: checkpoint.Table) -> str:
    try:
        return next(iter(checkpoint.rename({name: torch.ones(1)}, table, whose="these")))
    except BadData:
        return "none"


def test_a_name_without_a_place_is_told():
    foreign = detr_names.to_official(network()) | {"transformer.encoder.layer.0.linear1.weight": torch.ones(1)}
    with pytest.raises(BadData, match=r"the official DETR's names: 'transformer.encoder.layer.0.linear1.weight' is none that we know"):
        detr_names.ours(foreign)


@pytest.mark.parametrize(("foreign", "ours"), [*OFFICIAL.items(), *((f"detr.{k}", v) for k, v in OFFICIAL.items()), *MASKS.items()])
def test_the_authors_call_it(foreign, ours):
    value = torch.rand(1)
    masks = foreign.startswith("detr.") or foreign in MASKS
    assert checkpoint.rename({foreign: value}, detr_names.official_table(masks), whose="these") == {ours: value}
    assert checkpoint.rename({ours: value}, detr_names.official_table(masks), back=True, whose="these") == {foreign: value}


@pytest.mark.parametrize(("foreign", "ours"), [*HF.items(), *((f"detr.{k}", v) for k, v in HF.items()), *MASKS.items()])
def test_hugging_face_calls_it(foreign, ours):
    value = torch.rand(1)
    masks = foreign.startswith("detr.") or foreign in MASKS
    assert checkpoint.rename({foreign: value}, detr_names.hf_table(masks), whose="these") == {ours: value}
    assert checkpoint.rename({ours: value}, detr_names.hf_table(masks), back=True, whose="these") == {foreign: value}


@pytest.mark.parametrize("masks", [False, True])
def test_each_name_fits_one_rule_and_each_rule_a_name(masks):
    for kind, table in ((kind, TABLES[kind](masks)) for kind in ("official", "detectron2")):
        ours = EVERYTHING[kind + " with masks" * masks]() | (network(pretraining=True) if kind == "official" else {})
        for back, names in ((True, ours), (False, checkpoint.rename(ours, table, back=True))):
            hits = [checkpoint.rename(names, [_marked(rule, back)], back=back).keys() - names.keys() for rule in table]
            assert all(hits), [rule for rule, hit in zip(table, hits, strict=True) if not hit]
            assert sorted(key.removeprefix("hit ") for hit in hits for key in hit) == sorted(names)


def _marked(rule: tuple[str, str], back: bool) -> tuple[str, str]:
    theirs, ours = rule
    return (f"hit {ours}", ours) if back else (theirs, f"hit {theirs}")


def as_detectron2(key: str) -> str:
    """What the script that the authors wrote for detectron2 makes of a name, step by step."""
    if key.startswith("backbone.0.body."):
        key = key.removeprefix("backbone.0.body.")
        key = key if key.startswith("layer") else f"stem.{key}"
        for stage in (1, 2, 3, 4):
            key = key.replace(f"layer{stage}", f"res{stage + 1}")
        for i in (1, 2, 3):
            key = key.replace(f"bn{i}", f"conv{i}.norm")
        key = "backbone.0.backbone." + key.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return f"detr.{key}"


def test_detectron2s_names_are_those_that_the_authors_script_gives():
    ours = network(more={"pre_norm": True})
    official, detectron2 = detr_names.to_official(ours), detr_names.to_detectron2(ours)
    assert checkpoint.same({as_detectron2(key): value for key, value in official.items()}, detectron2)
    masked = detr_names.to_detectron2(network(masks=True))
    assert {"detr.detr.backbone.0.backbone.res2.0.conv1.norm.weight", "detr.mask_head.lay1.weight"} <= masked.keys()


def test_what_is_no_weight_is_left_out():
    ours = network()
    count = {"backbone.0.body.bn1.num_batches_tracked": torch.tensor(3)}
    assert checkpoint.same(detr_names.from_official(detr_names.to_official(ours) | count), ours)
    loss = {"criterion.empty_weight": torch.ones(6)}
    assert checkpoint.same(detr_names.from_detectron2(detr_names.to_detectron2(ours) | loss), ours)
    with pytest.raises(BadData, match=r"criterion.empty_weight' is none that we know"):
        detr_names.from_official(detr_names.to_official(ours) | loss)


def test_queries_lie_on_top_then_keys_then_values():
    ours = network()
    hf = detr_names.to_hf(ours)
    joined = ours["decoder.layers.1.cross_attention.in_proj_weight"]
    for i, part in enumerate("qkv"):
        assert torch.equal(hf[f"model.decoder.layers.1.encoder_attn.{part}_proj.weight"], joined[32 * i : 32 * (i + 1)])
    del hf["model.decoder.layers.1.encoder_attn.k_proj.weight"]
    with pytest.raises(BadData, match=r"the attention decoder.layers.1.cross_attention has no \S+cross_attention.k.weight"):
        detr_names.from_hf(hf)
    short = {**detr_names.to_hf(ours), "model.encoder.layers.0.self_attn.v_proj.bias": torch.ones(3)}
    with pytest.raises(BadData, match=r"the attention encoder.layers.0.attention has parts of several shapes"):
        detr_names.from_hf(short)


def test_what_another_program_cannot_hold_is_refused_by_name():
    with pytest.raises(BadData, match=r"Hugging Face DETR's names: 'encoder.norm.weight' has none"):
        detr_names.to_hf(network(more={"pre_norm": True}))
    with pytest.raises(BadData, match=r"detectron2's DETR's names: 'patch_to_query.weight' has none"):
        detr_names.to_detectron2(network(pretraining=True))
    with pytest.raises(BadData, match=r"detectron2's DETR's names: 'position.rows.weight' has none"):
        detr_names.to_detectron2(network(more={"position": "learned"}))


def test_a_runs_names_begin_with_net_whatever_they_were():
    ours = network()
    run = {f"net.{key}": value for key, value in ours.items()}
    for given, kind in ((ours, "ours"), (run, "ours"), (detr_names.to_official(ours), "official"), (detr_names.to_hf(ours), "hf")):
        found, told = detr_names.ours(given)
        assert checkpoint.same(found, run) and told == kind
    assert detr_names.kind_of({"backbone.conv1.weight": torch.ones(1)}) == detr_names.kind_of({}) == ""
    with pytest.raises(BadData, match=r"no weights of a DETR: none of backbone\.0\.body\.conv1\.weight, "):
        detr_names.ours({"fc.weight": torch.ones(1)})


def test_pre_training_is_told_from_detection():
    assert detr_names.is_pretraining(network(pretraining=True)) and not detr_names.is_pretraining(network())
    assert detr_names.is_pretraining({f"net.{key}": value for key, value in network(pretraining=True).items()})


# ---- classes ----------------------------------------------------------------------------------------------------------


def test_a_head_by_category_id_becomes_one_of_the_classes_in_order_and_no_object_stays_last():
    head = {"class_head.weight": torch.arange(12.0).reshape(6, 2), "class_head.bias": torch.arange(6.0), "queries.weight": torch.ones(1)}
    chosen = detr_names.choose_classes(head, detr_names.class_rows(6, [1, 2, 4]))
    assert chosen["class_head.bias"].tolist() == [1, 2, 4, 5]
    assert chosen["class_head.weight"].tolist() == [[2, 3], [4, 5], [8, 9], [10, 11]]
    assert chosen["queries.weight"] is head["queries.weight"] and len(head["class_head.bias"]) == 6
    assert detr_names.choose_classes({f"net.{k}": v for k, v in head.items()}, [0])["net.class_head.bias"].tolist() == [0, 5]


def test_a_head_spread_over_category_ids_gives_each_class_what_it_had_and_the_rest_nothing():
    head = {"class_head.weight": torch.randn(4, 2), "class_head.bias": torch.randn(4)}
    state = torch.randn(7, 2)
    before = (state @ head["class_head.weight"].T + head["class_head.bias"]).softmax(-1)
    spread = detr_names.spread_classes(head, [1, 2, 4], 6)
    after = (state @ spread["class_head.weight"].T + spread["class_head.bias"]).softmax(-1)
    torch.testing.assert_close(after[:, [1, 2, 4, 5]], before)
    assert (after[:, [0, 3]] == 0).all()
    assert checkpoint.same(detr_names.choose_classes(spread, [1, 2, 4]), head)


def test_the_rows_of_classes_are_their_ids_unless_the_head_has_no_others():
    assert detr_names.class_rows(92, [1, 90]) == [1, 90]
    assert detr_names.class_rows(3, [1, 90]) == [0, 1]
    assert detr_names.class_rows(3, [0, 1]) == [0, 1]
    with pytest.raises(BadData, match="a class head of 92 rows, the last of which is no-object, has none for the category 91"):
        detr_names.class_rows(92, [1, 91])


def test_rows_that_a_head_does_not_have_are_refused():
    head = {"class_head.weight": torch.randn(4, 2), "class_head.bias": torch.randn(4)}
    with pytest.raises(BadData, match=r"class_head.weight has 4 rows, the last of which is no-object; there is no class in row 3"):
        detr_names.choose_classes(head, [0, 3])
    for rows, num_rows in (([0, 1], 6), ([0, 1, 1], 6), ([0, 1, 5], 6)):
        with pytest.raises(BadData, match=r"class_head.weight has 3 classes and no-object; they cannot lie in \d of 6 rows"):
            detr_names.spread_classes(head, rows, num_rows)
    for do in (lambda: detr_names.num_class_rows({}), lambda: detr_names.choose_classes({}, [0])):
        with pytest.raises(BadData, match="these weights have no class_head"):
            do()
