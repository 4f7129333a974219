"""One picture and many captions: the same answers as one by one, and the backbone runs once."""

import numpy as np
import pytest
from test_grounding import made

from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data
from pellucid.tasks.grounding.looking import ask, ground, look

CAPTIONS = ("the red circle", "a large blue square left of the small one", "square", "two crosses and the triangle above the third")


@pytest.fixture(scope="module")
def rows():
    return read(Data("grounding-world:train?num=4&size=64"))


def apart(task, row, caption):
    """The answer of a pass of its own."""
    [ready] = task.prepare([{"id": row["id"], "image": row["image"], "caption": caption}], "world")
    batch = task.collate([ready])
    return task.predict(task.model(batch), batch)[0]


@pytest.mark.parametrize(
    "changes", [{}, {"mask_padding": False, "masks": "per_head", "width": 128, "num_heads": 8}, {"contrast": 0.1, "final": 1.0}]
)
@pytest.mark.parametrize("together", [1, 3, 16])
def test_captions_asked_together_are_answered_as_one_by_one(rows, together, changes):
    task = made(rows, **changes)
    found = ground(task, rows[0], CAPTIONS, together)
    for caption, one in zip(CAPTIONS, found, strict=True):
        alone = apart(task, rows[0], caption)
        assert one["queries"] == alone["queries"] and one["spans"] == alone["spans"] and one["labels"] == alone["labels"]
        assert ("masks" in one) == ("masks" in changes) and one.get("masks") == alone.get("masks")
        assert one["scores"] == pytest.approx(alone["scores"], abs=1e-5)
        assert np.array(one["boxes_xyxy"]) == pytest.approx(np.array(alone["boxes_xyxy"]), abs=1e-3)
        assert one.get("final_scores") == (pytest.approx(alone["final_scores"], abs=1e-5) if "final_scores" in alone else None)


def test_the_picture_goes_through_the_backbone_once(rows, monkeypatch):
    task = made(rows)
    seen, whole = [], task.model.net.look
    monkeypatch.setattr(task.model.net, "look", lambda *given: seen.append(len(given[0])) or whole(*given))
    ground(task, rows[0], CAPTIONS * 5, 2)
    assert seen == [1]


def test_what_was_seen_can_be_asked_about_again_and_the_pictures_own_caption_plays_no_part(rows):
    task = made(rows)
    first, second = (look(task, task.collate(task.prepare([{**rows[1], **own}], "world"))) for own in ({}, {"caption": "x", "objects": []}))
    found = [ask(task, seen, [caption])[0] for seen in (first, second) for caption in CAPTIONS[:2]]
    assert found[0]["scores"] == found[2]["scores"] and found[1]["boxes_xyxy"] == found[3]["boxes_xyxy"]
    assert found[0]["scores"] != found[1]["scores"]


def test_captions_that_cannot_be_asked_are_refused_by_name(rows):
    task = made(rows)
    with pytest.raises(BadUsage, match="no captions"):
        ground(task, rows[0], [])
    with pytest.raises(BadData, match="the caption is empty"):
        ground(task, rows[0], ["a cup", " "])
    with pytest.raises(BadData, match=r"caption 'word word.*a caption of 400 words has more than 31 tokens"):
        ground(task, rows[0], ["a cup", "word " * 400])
