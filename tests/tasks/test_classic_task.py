"""Classic metrics as tasks: the same promises as a network's, their values untouched, slopes that training fits."""

import io
from dataclasses import replace

import numpy as np
import piq
import pytest
import torch
from PIL import Image

from pellucid import run
from pellucid.errors import BadData, BadUsage
from pellucid.explain.attribution import baseline
from pellucid.explain.gradient import integrated_gradients
from pellucid.explain.probe import ask
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.quality.classic import METRICS
from pellucid.tasks.quality.settings import ClassicSettings
from pellucid.testing import check_task


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def pair(seed: int, noise: float, height: int = 40, width: int = 48, **more) -> dict:
    """Squares of a colour each, and the same under noise."""
    draw = np.random.default_rng(seed)
    squares = np.kron(draw.integers(40, 216, (-(-height // 8), -(-width // 8), 3)), np.ones((8, 8, 1)))[:height, :width]
    spoiled = squares + draw.normal(0, noise, squares.shape)
    return {"id": str(seed), "image": png(spoiled), "reference": png(squares), **more}


def pixels(file: bytes) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(file))).copy()).permute(2, 0, 1)[None] / 255


def answered(task, rows) -> list[dict]:
    ready = task.prepare(rows, "here")
    batch = task.collate(ready)
    with torch.no_grad():
        return task.predict(task.model(batch), batch)


SIZES = ((40, 48), (33, 50), (40, 48))  # no multiples of the patch, and two of a size
LABELLED = [pair(i, 8.0 * (i + 1), *size, label=0.8 - 0.2 * i) for i, size in enumerate(SIZES)]


@pytest.mark.parametrize("metric", ["ssim", "psnr", "gmsd"])
def test_a_metric_keeps_the_promises_of_a_task(metric):
    check_task(ClassicSettings(metric).build(()), LABELLED)


def test_preferences_keep_them_too_and_the_preferred_costs_less():
    task = ClassicSettings("psnr").build(())
    rows = [{**pair(i, 5.0), "other": pair(i, 40.0)["image"], "preference": share} for i, share in enumerate((1.0, 0.0))]
    check_task(task, [*rows, LABELLED[0]])
    costs = []
    for row in rows:
        batch = task.collate([row])
        costs.append(task.loss(task.model(batch), batch)["preference"].item())
    assert costs[0] < 0.01 < 0.9 < costs[1]  # the less spoiled of the two is some 18 dB better


def test_a_pair_is_measured_on_its_own_pixels_whatever_its_neighbours_sizes():
    made = answered(ClassicSettings("ssim").build(()), LABELLED)
    luma = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    for row, one in zip(LABELLED, made, strict=True):
        ours, theirs = ((luma * pixels(row[name])).sum(1, keepdim=True).clamp(0, 1) for name in ("image", "reference"))
        assert one["ssim"] == pytest.approx(piq.ssim(ours, theirs, downsample=True).item(), abs=1e-5)
        assert one["quality"] == one["ssim"]


@pytest.mark.parametrize("name", METRICS)
def test_quality_is_higher_where_the_picture_is_better_whatever_the_metrics_direction(name):
    metric = METRICS[name]
    side = max(40, metric.smallest)
    row = pair(0, 30.0, side, side)
    rows = [row, {**pair(0, 6.0, side, side), "id": "better"}, {**row, "id": "same", "image": row["reference"]}]
    worse, better, same = answered(ClassicSettings(name).build(()), rows)
    assert worse["quality"] < better["quality"] < same["quality"]
    assert same[name] == metric.best
    assert (better[name] > worse[name]) == metric.higher_is_better


def test_relevance_is_told_of_what_was_done_and_sums_to_the_quality_that_was_lost():
    whole = pair(0, 0.0)
    squares = np.asarray(Image.open(io.BytesIO(whole["reference"]))).copy()
    squares[16:32, 32:48] = 255 - squares[16:32, 32:48]
    task = ClassicSettings("psnr").build(())
    batch = task.collate([{**whole, "image": png(squares)}])
    probe = ask(task, batch)
    assert [name for name, unit in zip(probe.names[0], probe.units[0], strict=True) if unit.any()] == ["1,2"]
    assert torch.equal(probe.score(baseline(probe, "zero")), torch.tensor([100.0]))  # undone, it is the reference
    near = ask(task, task.collate([pair(1, 12.0)]))
    start = near.units / 2
    found = integrated_gradients(near, start, steps=32).relevance.sum()
    assert found.item() == pytest.approx((near.score(near.units) - near.score(start)).item(), rel=0.01)
    assert found < -5  # half of the noise is 6 dB


@pytest.mark.parametrize("metric", ["gmsd", "mdsi", "psnr"])
def test_identical_pictures_have_a_gradient_and_it_is_0(metric):
    task = ClassicSettings(metric).build(())
    row = pair(0, 10.0)
    probe = ask(task, task.collate([{**row, "image": row["reference"]}, row]))
    units = probe.units.requires_grad_()
    (slope,) = torch.autograd.grad(probe.score(units).sum(), units)
    assert not slope[0].any() and slope[1].isfinite().all() and slope[1].any()


def test_training_brings_the_metric_to_the_scale_of_the_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    lines, labels = ["image,reference,label"], []
    for i in range(4):
        row = pair(i, 5.0 + 25 * i, 24, 24)
        for name in ("image", "reference"):
            (tmp_path / f"{name}{i}.png").write_bytes(row[name])
        labels.append(0.5 * answered(ClassicSettings("ssim").build(()), [row])[0]["ssim"] + 0.2)
        lines.append(f"image{i}.png,reference{i}.png,{labels[-1]}")
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    loop = Loop(12, 1, log_every=1000, save_every=1000, keep="last")
    data, optim = Data(f"csv:{tmp_path}/set.csv"), Optim("adam", 0.1, 0.0)
    trained = run.train(Recipe(ClassicSettings("ssim"), data, optim=optim, schedule=Schedule("cosine", 0), loop=loop), tmp_path / "run")
    rows = [{name: f"{tmp_path}/{name}{i}.png" for name in ("image", "reference")} for i in range(4)]
    assert [one["quality"] for one in trained.predict(rows)] == pytest.approx(labels, abs=0.02)
    assert max(abs(one["ssim"] - label) for one, label in zip(trained.predict(rows), labels, strict=True)) > 0.1


def test_pictures_below_the_metrics_least_size_are_told_before_anything_is_measured():
    rows = [LABELLED[0], {**pair(5, 3.0, 10, 40), "id": "flat"}]
    with pytest.raises(BadData, match=r"flat.*40 x 10"):
        ClassicSettings("ssim").build(()).prepare(rows, "here")


def test_settings_that_name_nothing_are_refused():
    with pytest.raises(BadUsage, match="no classic metric 'sssim'; did you mean 'ssim'"):
        ClassicSettings("sssim").build(())
    with pytest.raises(BadUsage, match=r"task.patch=0"):
        replace(ClassicSettings(), patch=0).build(())
