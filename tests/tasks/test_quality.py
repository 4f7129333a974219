"""The task of judging a picture beside its reference: promises, anchors, what is refused, what a label means."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import BadData, BadUsage
from pellucid.explain.probe import ask
from pellucid.tasks.quality import task as room
from pellucid.tasks.quality.data import open_pair, thumbnail
from pellucid.tasks.quality.settings import HeadShape, QualitySettings, Sampling, VitShape, published
from pellucid.testing import check_task

VIT = VitShape(32, 4, 64, 3, patch=8, grid=6, registers=2)
SETTINGS = QualitySettings(VIT, HeadShape(1, 1, 4), Sampling(num_train=12, num_test=16), drop_path=0.0)
TWICE = replace(SETTINGS, vit=replace(VIT, scales=2), sampling=replace(SETTINGS.sampling, samplings=2, scales=2))


def png(values, mode=None):
    held = io.BytesIO()
    Image.fromarray(np.asarray(values), mode).save(held, "png")
    return held.getvalue()


def scene(height=48, width=64, seed=0):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(40, 215, (height // 8, width // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def noisy(picture, amount, seed=9):
    return np.clip(picture + amount * np.random.default_rng(seed).normal(size=picture.shape), 0, 255).astype(np.uint8)


def pairs(num=4):
    scenes = [scene(48, 64 + 8 * i, i) for i in range(num)]
    return [
        {"id": f"pair {i}", "reference": png(s), "image": png(noisy(s, 12 * i)), "label": 1 - i / num, "kind": "noise"}
        for i, s in enumerate(scenes)
    ]


def built(settings=SETTINGS, rows=None, seed=0):
    torch.manual_seed(seed)
    task = room.build(settings, pairs() if rows is None else rows)
    task.model.eval()
    return task


@torch.no_grad()
def told(task, rows):
    batch = task.collate(task.prepare(rows, "rows"))
    return task.predict(task.model(batch), batch)


# ---- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SETTINGS, TWICE], ids=["one sampling", "two, at two scales"])
def test_the_task_keeps_its_promises(settings):
    check_task(built(settings), pairs())


def test_the_layout_of_2021_keeps_them_too():
    legacy = replace(
        published("2021"), vit=replace(VIT, registers=0, layer_scale=False, legacy=True), head=HeadShape(1, 1, 4, False, "prelu")
    )
    check_task(
        built(
            replace(legacy, sampling=replace(legacy.sampling, num_train=12, num_test=16), dropout=0.0, token_dropout=0.0, linearise=False)
        ),
        pairs(),
    )


def test_two_samplings_are_averaged_and_their_standard_error_is_told():
    task = built(TWICE)
    batch = task.collate(pairs())
    each = []
    for r in range(2):
        alone = {k: v[:, r : r + 1] if k in ("reference", "image", "position", "scale_index") else v for k, v in batch.items()}
        each.append(task.model(alone)["quality"])
    found = task.model(batch)
    torch.testing.assert_close(found["quality"], torch.stack(each).mean(0))
    torch.testing.assert_close(found["spread"], (each[0] - each[1]).abs() / 2)  # of two values: deviation / sqrt(2)
    assert found["spread"].max() > 0


def test_patches_are_taken_by_the_examples_id_and_nothing_else():
    task, rows = built(), pairs(2)
    again, other = task.collate(rows[::-1]), task.collate([{**rows[0], "id": "another"}])
    first = task.collate(rows)
    assert torch.equal(first["position"], again["position"].flip(0))
    assert not torch.equal(first["position"][0], other["position"][0])


def test_a_training_pair_is_mirrored_alike():
    task = built()
    same = [{**row, "image": row["reference"]} for row in pairs(3)]
    batch = task.train_batch(same, [1, 2, 3])
    assert torch.equal(batch["reference"], batch["image"])
    assert any(not torch.equal(batch["reference"], task.train_batch(same, [s, s + 1, s + 2])["reference"]) for s in range(4, 8))


# ---- what an identical pair is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize("anchor", ["zero", "positive"])
def test_an_identical_pair_has_quality_1(anchor):
    task = built(replace(SETTINGS, anchor=anchor))
    found = told(task, [{**row, "image": row["reference"]} for row in pairs(3)])
    assert [one["quality"] for one in found] == pytest.approx([1, 1, 1], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_folded_no_picture_is_better_than_its_reference(seed):
    task = built(replace(SETTINGS, anchor="positive"), seed=seed)
    assert all(one["quality"] <= 1 for one in told(task, pairs()))
    assert min(one["quality"] for one in told(task, pairs())) < 1


def test_undoing_every_change_gives_the_reference_its_quality():
    task = built()
    probe = ask(task, task.collate(pairs(3)), "input")
    assert probe.score(torch.zeros_like(probe.units)).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert probe.score(probe.units).tolist() == pytest.approx([one["quality"] for one in told(task, pairs(3))], abs=1e-5)
    assert probe.units[0].abs().max() == 0  # the first pair is identical


def test_the_cell_of_a_patch_lies_where_its_middle_lies_in_the_thumbnail():
    task = built()
    batch = task.collate(pairs(1))
    height, width = thumbnail(open_pair(pairs(1)[0]).image).shape[1:]
    # the transformer is told (origin + 4) / (side - 4), the fraction of a pixel with it
    origin = (batch["position"][0, 0] * (torch.tensor([48.0, 64.0]) - 4) - 4 + 1e-3).floor()
    middle = (origin + 4) / torch.tensor([48.0, 64.0]) * torch.tensor([height, width]) / 224
    place = middle.double() * task.settings.cells
    within = ((place - place.round()).abs() > 1e-4).all(1)  # on the line between two cells rounding decides
    cells = place.long()[:, 0] * task.settings.cells + place.long()[:, 1]
    assert within.sum() > 10
    assert torch.equal(batch["cell_of_patch"][0][within], cells[within])


# ---- losses and labels ------------------------------------------------------------------------------------------------


def test_the_loss_of_a_hand_worked_batch():
    task = built(replace(SETTINGS, mae=1.0, rank=1.0, pearson=0.2))
    output = {"quality": torch.tensor([0.0, 1.0])}  # errors 1 and 0, where 0 and 1 are right
    batch = {"label": torch.tensor([1.0, 0.0]), "label_present": torch.tensor([True, True])}
    parts = task.loss(output, batch)
    assert {name: round(float(value), 4) for name, value in parts.items()} == {
        "mae": round(1 / 2.2, 4),
        "rank": round(1 / 2.2, 4),
        "pearson": round(0.2 * 2 / 2.2, 4),
    }


def test_preferring_the_better_of_two_costs_less_than_preferring_the_worse():
    task = built()
    base = {"preference": torch.tensor([0.9]), "preference_present": torch.tensor([True]), "other_present": torch.tensor([True])}
    right = task.loss({"quality": torch.tensor([0.8]), "other_quality": torch.tensor([0.3])}, base)
    wrong = task.loss({"quality": torch.tensor([0.3]), "other_quality": torch.tensor([0.8])}, base)
    assert right["preference"] < wrong["preference"]


def test_pairs_with_scores_and_preferences_train_together():
    task, rows = built(), pairs(3)
    preferred = {k: v for k, v in rows[1].items() if k != "label"} | {"id": "p", "other": rows[1]["reference"], "preference": 0.2}
    rows = task.prepare([*rows, preferred], "rows")
    batch = task.train_batch(rows, [0, 1, 2, 3])
    assert set(task.loss(task.model(batch), batch)) == {"mae", "rank", "pearson", "preference"}
    found = told(task, rows)
    assert found[3]["other_quality"] == pytest.approx(1, abs=1e-6)  # the reference itself
    assert "other_quality" not in found[0]


def test_bent_labels_are_bent_back_and_survive_a_run_folder(tmp_path):
    labels = np.linspace(0, 1, 40) ** 3
    rows = [{**pairs(1)[0], "id": str(i), "label": float(v)} for i, v in enumerate(labels)]
    task = built(replace(SETTINGS, linearise=True), rows)
    room.write(task, tmp_path)
    again = room.restore(task.settings, tmp_path)
    bent = again._bent(torch.tensor(labels[[10, 20, 30]]))
    assert bent.diff().min() > 0
    assert not torch.allclose(bent.double(), torch.tensor(labels[[10, 20, 30]]), atol=0.05)
    assert again._straight(bent) == pytest.approx(labels[[10, 20, 30]].tolist(), abs=1e-3)


def test_a_table_of_scales_is_as_long_as_the_scales_that_are_sampled():
    with pytest.raises(BadUsage, match=r"task\.vit\.scales=1, task\.sampling\.scales=3"):
        built(replace(SETTINGS, sampling=replace(SETTINGS.sampling, scales=3)))


# ---- pictures ---------------------------------------------------------------------------------------------------------


def test_a_camera_that_spoils_everything_spoils_picture_and_reference_alike():
    row = {**pairs(1)[0], "corruption": {"kind": "gaussian_noise", "severity": 3, "seed": 5}}
    pair = open_pair(row)
    assert torch.equal(pair.reference, pair.image)
    assert not torch.equal(pair.reference, open_pair(pairs(1)[0]).reference)


def test_a_generated_picture_is_its_reference_distorted():
    row = {"id": "g", "reference": png(scene()), "image": png(scene()), "distortion": {"kind": "mean_shift", "level": 5, "seed": 0}}
    pair = open_pair({**row, "short": 32})
    assert min(pair.image.shape[1:]) == 32
    assert not torch.equal(pair.image, pair.reference)


@pytest.mark.parametrize(
    "stored",
    [
        scene()[..., :1].repeat(3, 2)[..., 0],  # grey
        np.dstack([scene()[..., :1].repeat(3, 2), np.full((48, 64), 255, np.uint8)]),  # with an opaque alpha
        scene()[..., 0].astype(np.uint16) * 257,  # 16 bits
    ],
    ids=["grey", "alpha", "16 bits"],
)
def test_pictures_stored_otherwise_with_the_same_pixels_are_the_same(stored):
    row = {"id": "a", "image": png(stored), "reference": png(scene()[..., :1].repeat(3, 2)), "label": 1.0}
    pair = open_pair(row)
    assert torch.equal(pair.image, pair.reference)


def test_see_through_pixels_lie_on_white():
    stored = np.dstack([scene(), np.zeros((48, 64), np.uint8)])
    assert (open_pair({"id": "a", "image": png(stored), "reference": png(scene())}).image == 255).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": png(scene(40, 64))}, "pair 0: the picture is 64 x 40, its reference 64 x 48; a pair must have one size"),
        ({"image": png(scene()[:6, :6]), "reference": png(scene()[:6, :6])}, "pair 0: 6 x 6 pixels; it needs at least 8 on each side"),
        ({"label": 4.2}, "pair 0: label 4.2 is outside 0 to 1, where 1 is as good as the reference"),
        ({"label": "good"}, "pair 0: label 'good' is no number"),
        ({"label": float("nan")}, "pair 0: label nan is outside 0 to 1"),
        ({"reference": None}, "pair 0: the row has no reference"),
        ({"image": b"no picture"}, "no picture of a format read here"),
        ({"distortion": {"kind": "blurr", "level": 1, "seed": 0}}, "pair 0: no distortion 'blurr'"),
    ],
)
def test_what_cannot_be_a_pair_is_refused_by_row(change, message):
    rows = pairs()
    with pytest.raises(BadData) as caught:
        built().prepare([{**rows[0], **change}, *rows[1:]], "rows")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pair_that_is_there_twice_is_refused(tmp_path):
    for name in ("a", "b", "r"):
        (tmp_path / f"{name}.png").write_bytes(png(scene()))
    rows = [{"id": f"t.csv:{i}", "image": f"{tmp_path}/a.png", "reference": f"{tmp_path}/r.png", "label": 0.5} for i in (1, 2)]
    with pytest.raises(BadData, match=r"t.csv:2 .* the same pair as t.csv:1"):
        built().prepare(rows, "t.csv")
    rows[1]["image"] = f"{tmp_path}/b.png"
    assert len(built().prepare(rows, "t.csv")) == 2


def test_broken_pictures_are_left_out_where_that_was_asked(tmp_path):
    rows = [*pairs(3), {**pairs(1)[0], "id": "broken", "image": b"\x89PNG broken"}]
    kept = built(replace(SETTINGS, broken="skip")).prepare(rows, "rows")
    assert [row["id"] for row in kept] == ["pair 0", "pair 1", "pair 2"]
