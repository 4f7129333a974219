"""The page's section of judged pictures: direction stated, dots where they belong, the hardest kinds first, nothing from strangers."""

import json
import re

import pytest
import report_run
from test_report_maps import source

from pellucid.errors import BadData
from pellucid.report import number, page, qualities, read

KIND = {"n": 2, "srocc": 0.9, "plcc_5": 0.8, "rmse_5": 0.1, "residual": 0.05}


def kept(**more):
    points = [{"id": f"{i}", "label": i / 4, "quality": q, "kind": "jpeg", "spread": 0.01} for i, q in enumerate((0.0, 1.0, 0.5))]
    miss = {**points[1], "level": 3, "over": 0.75, "image": source(), "reference": source(4), "width": 8, "height": 8}
    numbers = {"srocc": 0.5, "plcc_5": 0.6, "rmse_5": 0.2}
    one = {"n": 3, "numbers": numbers, "points": points, "curve": [[0.0, 0.0], [0.5, 1.0]], "kinds": {"jpeg": KIND}, "levels": []}
    return {"sets": {"home": {**one, "misses": [miss], "preferences": None} | more}}


@pytest.fixture
def folder(tmp_path):
    return report_run.write_run(tmp_path / "run")


def viewed(folder, found):
    (folder / "results" / "qualities.json").write_text(json.dumps(found))
    return qualities.view(read.read(folder))


def test_label_runs_across_and_quality_up(folder):
    (one,) = viewed(folder, kept()).sets
    frame, dots = one.plot.frame, one.plot.curves[-1].dots
    left, bottom, top = frame.left, frame.height - frame.bottom, frame.top
    assert (dots[0].x, dots[0].y) == (left, bottom) and dots[1].y == top and left < dots[1].x < dots[2].x
    assert dots[1].title == "1: score 0.250, quality 1.000 ± 0.010, jpeg"
    assert one.plot.curves[-1].path == ""  # dots that no line joins


def test_the_curve_and_the_line_of_equality_are_drawn_over_the_same_axes(folder):
    (one,) = viewed(folder, kept()).sets
    equal, curve, _ = one.plot.curves
    frame = one.plot.frame
    corner = f"M{frame.left:g} {frame.height - frame.bottom:g}L"
    assert equal.path == f"{corner}{frame.width - frame.right:g} {frame.top:g}" and equal.style == "guide"
    assert curve.path == f"{corner}{(frame.left + frame.width - frame.right) / 2:g} {frame.top:g}"


@pytest.mark.parametrize(
    ("values", "ends", "labels"),
    [
        ([0.2, 0.9], (0, 1), ["0.00", "", "0.50", "", "1.00"]),
        ([-0.1, 1.3], (-0.25, 1.5), ["", "0.00", "", "0.50", "", "1.00", "", "1.50"]),
        ([-20.0, 35.0], (-20, 40), [f"{number.MINUS}20", "0", "20", "40"]),
    ],
)
def test_an_axis_goes_from_0_to_1_and_as_far_beyond_as_it_must(values, ends, labels):
    axis = qualities._axis("quality", values)
    assert (axis.low, axis.high) == ends and list(axis.labels) == labels


def test_hard_kinds_stand_first_those_without_a_number_last(folder):
    kinds = {"easy": KIND, "none": KIND | {"srocc": None}, "hard": KIND | {"srocc": -0.2}}
    (one,) = viewed(folder, kept(kinds=kinds)).sets
    assert [row.kind for row in one.kinds] == ["hard", "easy", "none"] and one.kinds[0].residual == "+0.050"


def test_few_kinds_have_colours_and_a_legend_many_have_one(folder):
    def points(count):
        return [{"id": str(i), "label": 0.5, "quality": 0.5, "kind": f"k{i}"} for i in range(count)]

    (few,) = viewed(folder, kept(points=points(3), n=3)).sets
    (many,) = viewed(folder, kept(points=points(9), n=9)).sets
    assert few.legend == (("k0", "c1"), ("k1", "c2"), ("k2", "c3")) and [c.style for c in few.plot.curves[-3:]] == ["c1", "c2", "c3"]
    assert many.legend == () and len(many.plot.curves[-1].dots) == 9


def test_a_miss_says_by_how_much_and_to_which_side(folder):
    (one,) = viewed(folder, kept()).sets
    (miss,) = one.misses
    assert (miss.lean, miss.what, miss.label, miss.quality) == ("0.75 too good", "jpeg, level 3", "score 0.250", "quality 1.000")
    low = kept()["sets"]["home"]["misses"][0] | {"over": -0.2}
    assert viewed(folder, kept(misses=[low])).sets[0].misses[0].lean == "0.20 too bad"


def test_preferences_alone_have_no_chart(folder):
    found = kept(n=0, points=[], curve=None, kinds={}, misses=[], numbers={}, preferences={"n": 40, "decided": 30, "agreement": 0.9})
    (one,) = viewed(folder, found).sets
    assert one.plot is None and one.note == "40 preferences" and one.preferences == "90.0% of 30 decided preferences (40 in all)"
    text = page.render(read.read(folder))
    assert "90.0% of 30 decided preferences" in text and "A dot is a pair" not in text


def test_the_page_says_range_and_direction_and_calls_weak_labels_so(folder):
    assert 'id="qualities"' not in page.render(read.read(folder))
    viewed(folder, kept())
    text = page.render(read.read(folder))
    assert "1 = as good as the reference, higher is better" in text and len(re.findall(r'<path class="dot" d="M[^"]*Z"><title>', text)) == 3
    viewed(folder, kept(weak=True))
    weak = page.render(read.read(folder))
    assert "Weak labels are made by classic metrics" in weak and "across its weak label" in weak and "Weak labels" not in text


def test_names_are_escaped(folder):
    evil = "<script>alert(1)</script>"
    found = kept()
    found["sets"]["home"]["misses"][0] |= {"id": evil, "kind": evil}
    found["sets"]["home"]["points"][0] |= {"id": evil, "kind": evil}
    viewed(folder, {"sets": {evil: found["sets"]["home"]}})
    text = page.render(read.read(folder))
    assert "<script" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"misses": [kept()["sets"]["home"]["misses"][0] | {"image": "https://elsewhere/x.png"}]}, "a picture of '1' is no PNG or JPEG"),
        ({"curve": [[0.0]]}, "its curve is not made of points"),
        ({"points": [{"id": "a", "label": "good", "quality": 1.0}]}, r"points\[0\].label is \"good\", expected a number"),
    ],
)
def test_what_is_no_picture_curve_or_number_is_refused_by_name(folder, wrong, message):
    with pytest.raises(BadData, match=rf"qualities.json.*{message}"):
        viewed(folder, kept(**wrong))
