"""Why this box, why this class: a detection is asked about by label and query, and its box goes with the map."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import recipe as recipes
from pellucid import run
from pellucid.errors import BadUsage
from pellucid.explain.attribution import Statistics
from pellucid.explain.explain import Known, Question, explain
from pellucid.explain.methods import METHODS
from pellucid.explain.probe import ask
from pellucid.explained import Explained
from pellucid.report import maps, photos, words
from pellucid.train.loop import start_fabric
from toy_detection import CELL, Detector, scene
from toys import Pictures, pictures

TWO = {"red": (8, 16, 12), "blue": (48, 4, 16)}
WIDE = scene(70, 44, **TWO)  # 9 x 6 cells, the last of each row and column not filled
SMALL = scene(24, 40, green=(5, 20, 12))


def png(picture) -> bytes:
    into = io.BytesIO()
    Image.fromarray(picture).save(into, "PNG")
    return into.getvalue()


def examples():
    return [{"id": "wide", "image": png(WIDE)}, {"id": "small", "image": png(SMALL)}]


def told(answer="each", site="encoder", methods=("occlusion",), checks=(), some=None, **more):
    task = Detector()
    known = Known(lambda site: Statistics(torch.zeros(1), torch.ones(1)), gold=task.gold)
    return explain(task, some or examples(), Question(methods, site, answer, checks, **more), known)


def shown(row) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(row["picture"]["src"].partition(",")[2]))).convert("RGB"))


@pytest.mark.parametrize("site", ["input", "encoder"])
def test_each_box_is_explained_by_its_own_square_and_its_place_is_told(site):
    rows = told(site=site)["examples"]
    assert [(row["id"], row["answer"]) for row in rows] == [("wide", "blue@2"), ("wide", "red@0"), ("small", "green@1")]
    assert rows[0]["prediction"] == ["blue@2", "red@0"]
    assert [row["box_xyxy"] for row in rows] == [[48, 4, 64, 20], [8, 16, 20, 28], [5, 20, 17, 32]]
    assert rows[0]["picture"]["box_xyxy"] == pytest.approx([48 / 70, 4 / 44, 64 / 70, 20 / 44], abs=1e-5)
    for row in rows:
        left, top, right, bottom = row["box_xyxy"]
        for word, value in zip(row["words"], row["methods"]["occlusion"]["relevance"], strict=True):
            y, x = (CELL * int(part) for part in word.split(","))
            assert (value > 1e-4) == (x < right and x + CELL > left and y < bottom and y + CELL > top)


def test_what_is_shown_is_the_picture_without_its_padding_and_the_grid_says_how_far_it_reaches():
    wide, _, small = told()["examples"]
    np.testing.assert_array_equal(shown(small), SMALL)
    np.testing.assert_array_equal(shown(wide), WIDE)
    assert (small["picture"]["grid"], wide["picture"]["grid"]) == ([5, 3], [6, 9])
    assert "span" not in small["picture"]  # 40 x 24 is whole cells
    assert wide["picture"]["span"] == pytest.approx([48 / 44, 72 / 70], abs=1e-5)
    assert len(small["words"]) == 15 and small["words"][-1] == "4,2"


def test_a_label_alone_asks_about_whichever_query_says_it_most_and_shows_that_ones_box():
    (row,) = told("red", some=examples()[:1])["examples"]
    assert row["answer"] == "red" and row["box_xyxy"] == [8, 16, 20, 28]
    (other,) = told("red@2", some=examples()[:1])["examples"]  # the query of the blue square, asked about red
    assert other["answer"] == "red@2" and other["box_xyxy"] == [48, 4, 64, 20] and other["score"] < row["score"] - 5


def test_the_answer_that_is_predicted_is_named_with_its_query_also_where_nothing_is_sure():
    grey = [{"id": "grey", "image": png(scene(32, 32))}]
    (row,) = told("predicted", some=grey)["examples"]
    assert row["prediction"] == [] and row["answer"].partition("@")[1] == "@"
    assert told("each", some=grey)["examples"][0]["answer"] == row["answer"]


def test_an_explanation_is_the_same_alone_and_beside_a_larger_picture():
    together, alone = told()["examples"][2], told(some=examples()[1:])["examples"][0]
    assert together["words"] == alone["words"] and together["picture"] == alone["picture"]
    assert together["methods"]["occlusion"]["relevance"] == pytest.approx(alone["methods"]["occlusion"]["relevance"], abs=1e-5)


def test_maps_at_every_site_have_their_own_grids():
    row = told("predicted", flow=("input", "encoder"))["examples"][1]
    assert row["flow"]["grids"] == [[5, 3], [5, 3]] and [len(r) for r in row["flow"]["relevance"]] == [15, 15]


# ---- attention of the query ---------------------------------------------------------------------------------------------


def test_query_attention_is_that_of_the_answers_query_and_is_checked_like_any_map():
    rows = told(methods=("query_attention", "random"), checks=None)["examples"]
    for row in rows[:2]:
        one = row["methods"]["query_attention"]
        left, top, _, _ = row["box_xyxy"]
        strongest = row["words"][int(np.argmax(one["relevance"]))]
        y, x = (CELL * int(part) for part in strongest.split(","))
        assert x >= left - CELL and y >= top - CELL and "not tied to the score" in one["note"]
        assert sum(one["relevance"]) == pytest.approx(1, abs=1e-3)
        assert one["checks"] and one["degradation"]["area"] > row["methods"]["random"]["degradation"]["area"]


def test_attention_over_other_units_than_the_sites_is_refused_and_so_is_a_model_without():
    task = Detector()
    probe = ask(task, task.collate(examples()), "encoder")
    assert METHODS["query_attention"](probe, None, 0).relevance[1, -1] == 0  # padding
    other = Pictures()
    with pytest.raises(BadUsage, match="PictureNet does not offer what its queries attend to"):
        METHODS["query_attention"](ask(other, other.collate(pictures()), "body"), None, 0)


# ---- drawn ------------------------------------------------------------------------------------------------------------


def test_the_map_of_a_box_reaches_over_the_edge_as_its_cells_do():
    found = told()
    view = words.view(found, "here").examples[0].photo
    one = view.rows[0][1][0].method.map
    assert one.shown == pytest.approx((5.5, 8.75), abs=1e-3)
    image = np.asarray(maps.drawn(one, 350))
    assert image.shape == (220, 350, 3)
    tinted = (image.max(-1).astype(int) - image.min(-1)) > 30
    ys, xs = np.nonzero(tinted)
    cell = 350 / 8.75
    assert (xs.min() / cell, (xs.max() + 1) / cell) == pytest.approx((6, 8), abs=0.05)  # cells 6 and 7 hold pixels 48 to 64
    assert (ys.min() / cell, (ys.max() + 1) / cell) == pytest.approx((0, 3), abs=0.05)


def test_the_page_and_the_picture_show_the_box_over_the_map():
    found = Explained(told())
    page = found.html()
    assert page.count('class="spots box"') == 3 + 3  # on each map, and on the two pictures all that was asked
    assert f'x="{round(48 / 70, 5)}"' in page
    image = np.asarray(Image.open(io.BytesIO(found.png())).convert("RGB"))
    assert (image == photos.BOXED).all(-1).sum() > 200


# ---- without a training set ---------------------------------------------------------------------------------------------


def test_without_a_training_set_an_example_is_measured_against_itself_and_the_map_says_so(tmp_path, caplog):
    chosen = recipes.override(recipes.get("rsb:tiny"), {"train.source": "folder:${NOWHERE_AT_ALL}"})
    done = run.Run(tmp_path, chosen, Detector(), start_fabric("32-true"))
    rows = done.explain(examples(), methods=("occlusion", "iba"), site="encoder", answer="each", checks=()).examples
    assert [row["answer"] for row in rows] == ["blue@2", "red@0", "green@1"]
    assert all("no training set being at hand" in one["note"] for row in rows for one in row["methods"].values())
    assert "NOWHERE_AT_ALL" in caplog.text and not (tmp_path / "statistics").exists()
    task = Detector()
    probe = ask(task, task.collate(examples()[1:]), "encoder")
    expected = METHODS["occlusion"](probe, None, 0).relevance[0].tolist()
    assert rows[2]["methods"]["occlusion"]["relevance"] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(BadUsage, match="readout learns from the training set"):
        done.explain(examples(), methods=("readout",), site="encoder")
