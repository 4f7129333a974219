"""Pictures under their relevance: colours that are even to the eye, maps by method or label, nothing from strangers."""

import base64
import io
import re

import numpy as np
import pytest
import report_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import BadData
from pellucid.explained import Explained
from pellucid.report import colour, maps, number, page, picture, words


def source(side: int = 8, kind: str = "png") -> str:
    into = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(into, kind)
    return f"data:image/{kind};base64,{base64.b64encode(into.getvalue()).decode()}"


def explained(answers=("cat",), id="a.jpg", grid=(2, 3), flow=None):
    """One picture, a record for each answer; the strongest patch is the last for the first answer, the first for the others."""
    rows = []
    for k, answer in enumerate(answers):
        values = [0.1, -0.2, 0.0, 0.3, 0.0, 0.5] if not k else [1.0, 0.0, 0.0, 0.0, 0.0, -0.5]
        curve = report_run.degradation(0.0)
        methods = {name: {"relevance": values, "degradation": curve, "checks": {"deletion_auc": 0.1}} for name in ("iba", "gradcam")}
        row = {"set": "pets", "id": id, "prediction": list(answers), "label": None, "answer": answer, "score": -0.1}
        rows.append(
            row
            | {"words": ["0,0", "0,1", "0,2", "1,0", "1,1", "1,2"], "methods": methods, "picture": {"src": source(), "grid": list(grid)}}
        )
        if flow:
            rows[-1]["flow"] = flow
    return {"site": "layer3", "score_unit": "log-probability", "examples": rows}


# ---- colours ----------------------------------------------------------------------------------------------------------


def test_oklab_of_known_colours():
    told = {(1, 1, 1): (1.0, 0.0, 0.0), (1, 0, 0): (0.628, 0.225, 0.126), (0, 0, 1): (0.452, -0.032, -0.312)}  # Ottosson 2020
    for rgb, lab in told.items():
        assert colour.oklab(np.array(rgb, dtype=float)) == pytest.approx(lab, abs=1e-3)


@pytest.mark.parametrize("dark", [False, True])
def test_equal_steps_of_relevance_are_equal_steps_to_the_eye_on_both_sides(dark):
    ground = np.full(3, colour.GROUND_DARK if dark else colour.GROUND)
    away = []
    for side in colour.ramp(dark) / 255:
        seen = ground + side[:, 3:] * (side[:, :3] - ground)
        away.append(np.linalg.norm(colour.oklab(seen) - colour.oklab(ground), axis=1))
    expected = np.linspace(0, away[0][-1], colour.STEPS)
    assert np.abs(np.stack(away) - expected).max() < 0.004 and away[0][-1] > 0.25  # 0.02 is just noticeable


@given(st.lists(st.floats(-2, 2) | st.just(float("nan")), min_size=1, max_size=9))
def test_turning_the_sign_turns_the_colour_and_nothing_is_clear(shares):
    there, back = colour.over(np.array([shares])), colour.over(-np.array([shares]))
    for share, one, other in zip(shares, there[0].tolist(), back[0].tolist(), strict=True):
        known = 0 if share != share else share
        assert (tuple(one[:3]) == colour.FOR) == (known >= 0) and (known != 0 or one[3] == 0)
        assert known == 0 or tuple(one[:3]) != tuple(other[:3])


# ---- maps -------------------------------------------------------------------------------------------------------------


def test_where_nothing_is_told_the_picture_is_blanked_out_in_page_and_png_and_not_where_relevance_is_0():
    found = maps.view({"src": source(), "grid": [1, 2]}, "IBA", ["0,0", "0,1"], [None, 0.0], "here")
    assert found.spoken == "Relevance by IBA over 1 x 2 patches. Nothing is told of 1 patches."
    for layer, dark in ((found.light, False), (found.dark, True)):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer.partition(",")[2]))))
        assert tuple(pixels[0, 0]) == (colour.BLANK_DARK if dark else colour.BLANK) and pixels[0, 1, 3] == 0
        drawn = np.asarray(maps.drawn(found, 64, dark, smooth=True)).astype(int)
        assert np.ptp(drawn[:, :32]) < np.ptp(drawn[:, 32:]) / 4  # the picture is hardly seen


def test_a_layer_has_a_pixel_for_each_patch_and_the_strongest_are_outlined():
    found = maps.view({"src": source(), "grid": [2, 3]}, "IBA", list("abcdef"), [0.1, -0.2, None, 0.3, 0.0, 0.5], "here")
    layer = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.light.partition(",")[2]))))
    strength = np.where(found.untold, 0, layer[..., 3])
    assert layer.shape == (2, 3, 4) and strength.argmax() == 5 and layer[1, 1, 3] == 0
    assert tuple(layer[0, 1, :3]) == colour.AGAINST
    assert [(s.row, s.column, s.title) for s in found.spots] == [(1, 2, "f 0.50"), (1, 0, "d 0.30"), (0, 1, f"b {number.MINUS}0.20")]


def test_a_drawn_map_is_coloured_where_its_patch_is():
    found = maps.view({"grid": [2, 2]}, "IBA", list("abcd"), [0.0, 0.0, 1.0, -1.0], "here")
    pixels = np.asarray(maps.drawn(found, 40)).astype(int)
    assert pixels.shape == (40, 40, 3)
    assert (pixels[5, 5] == pixels[5, 35]).all() and np.ptp(pixels[5, 5]) == 0  # grey above
    assert pixels[35, 5, 2] > pixels[35, 5, 0] + 50 and pixels[35, 35, 0] > pixels[35, 35, 2] + 50  # blue, orange
    edge = np.asarray(maps.drawn(found, 40, smooth=True)).astype(int)
    assert 0 < np.ptp(edge[22, 5]) < np.ptp(edge[39, 0])  # smoothly from grey to blue


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"src": "https://elsewhere.example/x.png"}, "no PNG or JPEG as base64"),
        ({"src": "data:image/svg+xml;base64,PHN2Zz4="}, "no PNG or JPEG as base64"),
        ({"src": 'data:image/png;base64,AA" onload="x'}, "no PNG or JPEG as base64"),
        ({"grid": [6]}, "not rows and columns"),
        ({"grid": [4, 4]}, "6 numbers for 4 x 4 patches"),
    ],
)
def test_a_picture_that_is_none_is_refused_by_name(change, message):
    found = explained()
    found["examples"][0]["picture"] |= change
    with pytest.raises(BadData, match=rf"example 'a.jpg'.*{message}"):
        page.explanations(found)


def test_a_broken_picture_is_a_grey_ground():
    found = explained()
    found["examples"][0]["picture"]["src"] = "data:image/png;base64,AAAA"
    assert picture.draw(found).size[0] > 0 and "data:image/png;base64,AAAA" in page.explanations(found)


# ---- pages and PNG ----------------------------------------------------------------------------------------------------


def test_labels_of_one_picture_stand_side_by_side_and_methods_below_each_other():
    (example,) = words.view(explained(("cat", "dog")), "here").examples
    assert example.photo is not None and example.prediction == "cat, dog"
    assert [(name, [c.title for c in columns]) for name, columns in example.photo.rows] == [
        ("IBA", ["cat", "dog"]),
        ("Grad-CAM", ["cat", "dog"]),
    ]
    spots = [column.method.map.spots[0].title for column in example.photo.rows[0][1]]
    assert spots == ["1,2 0.50", "0,0 1.0"]
    assert words.view(explained(("cat", "dog")), "here").shown == "2 explanations of 1 picture"


def test_methods_of_one_answer_stand_side_by_side():
    (example,) = words.view(explained(), "here").examples
    assert example.photo is not None and [[c.title for c in columns] for _, columns in example.photo.rows] == [["IBA", "Grad-CAM"]]


def test_pictures_of_other_names_are_not_put_together():
    first, second = explained(id="a.jpg"), explained(id="b.jpg")
    both = {**first, "examples": first["examples"] + second["examples"]}
    assert len(words.view(both, "here").examples) == 2


def test_the_page_holds_its_pictures_and_a_name_from_strangers_is_text():
    text = page.explanations(explained(id="<img src=x onerror=alert(1)>.jpg"))
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in text and "<img src=x" not in text
    assert all(address.startswith("data:image/") for address in re.findall(r'(?:src|srcset)="([^"]*)"', text))
    assert not re.search(r"https?://", text) and "img-src data:" in text and "<script" not in text
    assert "most relevant patches removed first" in text and "the most relevant patches go" in text


def test_the_flow_of_a_picture_is_a_map_for_each_site_on_its_own_grid():
    flow = {
        "method": "iba",
        "unit": "nats",
        "sites": ["layer3", "layer4"],
        "relevance": [[1.0, 0.0, 0.0, 0.0], [1.0]],
        "grids": [[2, 2], [1, 1]],
    }
    (example,) = words.view(explained(flow=flow), "here").examples
    assert example.photo is not None and [(site, one.grid) for site, one in example.photo.flow] == [("layer3", (2, 2)), ("layer4", (1, 1))]
    with pytest.raises(BadData, match="flow has 2 sites, 1 grids"):
        words.view(explained(flow=flow | {"grids": [[2, 2]]}), "here")


@pytest.mark.parametrize("dark", [False, True])
def test_the_png_shows_every_map(dark):
    found = Explained(explained(("cat", "dog")))
    one = Image.open(io.BytesIO(found.png(dark)))
    assert one.width == picture.WIDTH * picture.SCALE
    pixels = np.asarray(one).reshape(-1, 3).astype(int)
    blue, orange = pixels[:, 2] - pixels[:, 0] > 90, pixels[:, 0] - pixels[:, 2] > 60
    assert blue.sum() > 5000 and orange.sum() > 500
    assert found.png(dark, smooth=True) != found.png(dark)


# ---- regions ----------------------------------------------------------------------------------------------------------


def test_the_lines_around_a_region_are_the_edges_between_its_cells_and_others():
    found = {"grid": [1, 1], "region": ["0110", "0010"]}
    across = {(0.25, 0, 0.75, 0), (0.25, 0.5, 0.5, 0.5), (0.5, 1, 0.75, 1)}
    down = {(0.25, 0, 0.25, 0.5), (0.5, 0.5, 0.5, 1), (0.75, 0, 0.75, 1)}
    assert set(maps.outline_of(found, "here")) == across | down


def test_a_hole_has_lines_of_its_own_and_the_whole_picture_has_its_border():
    assert len(maps.outline_of({"grid": [1, 1], "region": ["111", "101", "111"]}, "here")) == 4 + 4
    assert set(maps.outline_of({"grid": [1, 1], "region": ["11"]}, "here")) == {(0, 0, 1, 0), (0, 1, 1, 1), (0, 0, 0, 1), (1, 0, 1, 1)}
    assert maps.outline_of({"grid": [1, 1], "region": ["00"]}, "here") == maps.outline_of({"grid": [1, 1]}, "here") == ()


@pytest.mark.parametrize("rows", [["01", "1"], ["0<"], ["012"]])
def test_a_region_that_is_none_is_named_and_never_drawn(rows):
    found = explained()
    found["examples"][0]["picture"]["region"] = rows
    with pytest.raises(BadData, match=r"a\.jpg.*its region is no grid of 0 and 1"):
        Explained(found).html()
