"""Weak labels spread generated pairs evenly, give identical pictures exactly 1, and are measured once."""

import io
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import BadData, BadUsage
from pellucid.tasks.quality import weak
from pellucid.tasks.quality.classic import find, measure
from pellucid.tasks.quality.weak import Table, graded, labelled, table_of, weak_label, weak_labels


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 24), (value, value, value)).save(file, "PNG")
    return file.getvalue()


def row(name: str, photo: bytes, level: int = 1, **more) -> dict:
    return {"id": name, "image": photo, "reference": photo, "distortion": {"kind": "brighten", "level": level, "seed": 0}, **more}


class Opener:
    """Opens a pair by making it: grey of the photo's first pixel, brighter by the level; counts how often."""

    def __init__(self):
        self.times = 0

    def __call__(self, example) -> SimpleNamespace:
        self.times += 1
        reference = torch.from_numpy(np.array(Image.open(io.BytesIO(example["reference"])))).movedim(2, 0).contiguous()
        return SimpleNamespace(reference=reference, image=reference + 10 * example["distortion"]["level"])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and tables that a hand can work out."""
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    told = {"psnr": Table((20.0, 40.0, 100.0), (0.0, 0.5, 1.0)), "mdsi": Table((0.5, 0.1, 0.0), (0.0, 0.75, 1.0))}
    monkeypatch.setattr(weak, "tables", lambda: told)
    return tmp_path / "weak-labels"


# ---- tables -------------------------------------------------------------------------------------------------------


def test_a_table_holds_the_quantiles_from_the_worst_and_identical_pictures_one_step_beyond():
    assert table_of("psnr", np.array([42.0, 10.0, 26.0]), 3) == Table((10.0, 26.0, 42.0, 100.0), (0.0, 0.333333, 0.666667, 1.0))
    assert table_of("mdsi", np.array([0.1, 0.5, 0.3]), 3) == Table((0.5, 0.3, 0.1, 0.0), (0.0, 0.333333, 0.666667, 1.0))


def test_values_met_often_or_beyond_the_best_leave_a_table_that_only_rises():
    values = np.array([0.2] * 40 + [0.6] * 20 + [0.9] * 20 + [1.0] * 10 + [1.3] * 10)
    table = table_of("vsi", values, 11)
    assert {0.2, 0.6, 0.9} < set(table.values) and table.values[-1] == 1.0
    assert list(table.values) == sorted(set(table.values)) and list(table.qualities) == sorted(set(table.qualities))
    assert (table.qualities[0], table.qualities[-1]) == (0, 1)


def test_between_two_values_the_quality_is_on_the_line_and_beyond_the_ends_it_stays(cache):
    assert [graded("psnr", value) for value in (5, 20, 30, 40, 70, 100, 120)] == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1])
    assert [graded("mdsi", value) for value in (0.7, 0.3, 0.1, 0.05, 0)] == pytest.approx([0, 0.375, 0.75, 0.875, 1])
    assert weak_label({"psnr": 30.0, "mdsi": 0.1}) == pytest.approx((0.25 + 0.75) / 2)


def test_the_tables_that_come_with_the_program_rise_from_0_to_exactly_1_at_the_best():
    known = weak.tables()
    assert set(weak.NAMES) <= set(known)
    for name, table in known.items():
        sign = 1 if find(name).higher_is_better else -1
        assert (np.diff(sign * np.array(table.values)) > 0).all() and (np.diff(table.qualities) > 0).all()
        assert (table.values[-1], table.qualities[0], table.qualities[-1]) == (find(name).best, 0, 1) and len(table.values) > 20


def test_an_identical_pair_gets_exactly_1_and_more_noise_less():
    reference = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), (64, 64), mode="bicubic").clamp(0, 1)
    images = [(reference + noise * torch.randn_like(reference)).clamp(0, 1) for noise in (0, 0.02, 0.08, 0.25)]
    labels = weak_labels(torch.cat(images), reference.expand(4, -1, -1, -1)).tolist()
    assert labels[0] == 1.0 and labels == sorted(labels, reverse=True) and len(set(labels)) == 4 and labels[3] < 0.6


# ---- whole sets ---------------------------------------------------------------------------------------------------


def test_generated_pairs_without_a_label_get_one_and_all_others_stay(cache):
    rows = [row("a", png(50)), {"id": "b", "image": png(1), "reference": png(2), "label": 0.3}, row("c", png(60), label=0.9)]
    found = labelled(rows, Opener(), ("psnr",))
    decibels = 20 * np.log10(255 / 10)
    assert found[0]["scores"]["psnr"] == pytest.approx(decibels, abs=1e-3)
    assert found[0]["label"] == pytest.approx((decibels - 20) / 40, abs=1e-4) and found[0].keys() - rows[0].keys() == {"label", "scores"}
    assert found[1:] == rows[1:] and "label" not in rows[0]


def test_a_pair_is_opened_once_and_another_level_photo_size_or_metric_anew(cache):
    opener = Opener()
    rows = [row("a", png(50)), row("b", png(50), level=2), row("c", png(51)), row("d", png(50), short=12)]
    first = labelled(rows, opener, ("psnr",))
    assert opener.times == 4
    assert labelled(rows, opener, ("psnr",)) == first and opener.times == 4
    labelled([row("e", png(50))], opener, ("psnr",))
    assert opener.times == 4
    labelled(rows[:1], opener, ("psnr", "mdsi"))
    assert opener.times == 5


@pytest.mark.parametrize("damage", ["", '{"psnr": 3', "[1]", '{"psnr": NaN}', '{"psnr": "high"}', '{"mdsi": 0.5}'])
def test_a_damaged_file_of_the_cache_is_measured_again(damage, cache):
    opener = Opener()
    rows = [row("a", png(50))]
    first = labelled(rows, opener, ("psnr",))
    (file,) = cache.rglob("*.json")
    file.write_text(damage)
    assert labelled(rows, opener, ("psnr",)) == first and opener.times == 2
    assert json.loads(file.read_text()) == first[0]["scores"]


def test_two_that_measure_at_once_leave_one_whole_file_and_nothing_else(cache):
    meet, found = threading.Barrier(2), {}

    class Waiting(Opener):
        def __call__(self, example):
            meet.wait(5)
            return super().__call__(example)

    def work(who: int) -> None:
        found[who] = labelled([row("a", png(50))], Waiting(), ("psnr",))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert [json.loads(file.read_text()) for file in cache.rglob("*") if file.is_file()] == [found[0][0]["scores"]]


def test_what_cannot_be_labelled_is_told_by_its_row(cache, monkeypatch):
    with pytest.raises(BadData, match=r"^a: MDSI needs pictures of at least 8 px a side, got 4 x 4"):
        labelled(
            [row("a", png(9))], lambda _: SimpleNamespace(**dict.fromkeys(("reference", "image"), torch.zeros(3, 4, 4).byte())), ("mdsi",)
        )
    with pytest.raises(BadData, match=r"a: lost\.png: no such file"):
        labelled([row("a", "lost.png")], Opener(), ("psnr",))
    (cache.parent / "file").write_text("")
    monkeypatch.setenv("PELLUCID_CACHE", str(cache.parent / "file"))
    with pytest.raises(BadData, match=r"cannot write .*; set PELLUCID_CACHE to a folder that can be written"):
        labelled([row("a", png(9))], Opener(), ("psnr",))


def test_metrics_that_cannot_label_are_refused_before_any_picture_is_opened(cache):
    for names, message in (
        (("pnsr",), "no classic metric 'pnsr'; did you mean 'psnr'"),
        (("vif",), "no weak labels by 'vif'; there are psnr, mdsi"),
        ((), "no metric: expected one or more, each once"),
        (("psnr", "psnr"), "psnr, psnr: expected one or more, each once"),
    ):
        opener = Opener()
        with pytest.raises(BadUsage, match=message):
            labelled([row("a", png(9))], opener, names)
        assert opener.times == 0


def test_the_raw_scores_are_the_metrics_own(cache):
    found = labelled([row("a", png(50), level=3)], Opener(), ("psnr", "mdsi"))[0]["scores"]
    reference = torch.full((1, 3, 24, 24), 50 / 255)
    assert found == {
        name: pytest.approx(measure(name, torch.full_like(reference, 80 / 255), reference).item()) for name in ("psnr", "mdsi")
    }
