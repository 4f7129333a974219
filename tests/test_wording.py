"""What pictures are searched for: captions and labels checked before anything is looked at, and boxes that several labels claim."""

import pytest

from pellucid import wording
from pellucid.errors import BadData, BadUsage
from pellucid.wording import Words, labelled, wanted, worded
from toy_detection import Detector


class Searcher(Detector):
    """A task that takes words."""

    needs = ("caption",)


SEARCHER = Searcher()


@pytest.fixture
def any_length(monkeypatch):
    monkeypatch.setattr(wording, "_tokenised", lambda *_: None)


def said(*found: tuple[float, list[float]]) -> dict:
    """What is said of one label: score and box of queries 0, 1 and so on."""
    return {"scores": [s for s, _ in found], "boxes_xyxy": [b for _, b in found], "queries": list(range(len(found)))}


def test_a_box_that_several_labels_claim_is_the_surest_ones():
    cup = said((0.9, [0, 0, 10, 10]), (0.8, [50, 50, 60, 60]), (0.2, [90, 90, 99, 99]))
    mug = said((0.95, [0, 0, 10, 11]), (0.85, [20, 0, 40, 10]))
    found = labelled([cup, mug], ("cup", "mug"), 0.5)
    assert found["labels"] == ["mug", "mug", "cup"] and found["scores"] == [0.95, 0.85, 0.8]
    assert found["boxes_xyxy"] == [[0, 0, 10, 11], [20, 0, 40, 10], [50, 50, 60, 60]] and found["queries"] == [0, 1, 1]


def test_boxes_that_overlap_less_or_have_one_label_all_stay():
    cup = said((0.9, [0, 0, 10, 10]), (0.8, [0, 0, 10, 10]))
    plate = said((0.7, [0, 0, 10, 20]))  # half of it
    assert labelled([cup, plate], ("cup", "plate"), 0.5)["labels"] == ["cup", "cup", "plate"]


def test_a_box_that_lost_its_claim_takes_none_from_others():
    first = said((0.9, [0, 0, 100, 10]))
    second = said((0.8, [0, 0, 124, 10]))  # 0.81 of the first: gone
    third = said((0.7, [0, 0, 154, 10]))  # 0.65 of the first, 0.81 of the second
    assert labelled([first, second, third], ("a", "b", "c"), 0.5)["labels"] == ["a", "c"]


def test_of_no_boxes_there_are_none():
    assert labelled([said(), said((0.4, [0, 0, 1, 1]))], ("a", "b"), 0.5) == {"labels": [], "scores": [], "boxes_xyxy": [], "queries": []}


@pytest.mark.parametrize(
    ("texts", "labels", "error", "message"),
    [
        (["a cup"], ["cup"], BadUsage, "--text and --labels: both"),
        ([" "], [], BadData, "--text: the caption is empty"),
        ([], ["cup", ""], BadData, "--labels: a label is empty"),
    ],
)
def test_words_that_say_nothing_are_refused(texts, labels, error, message):
    with pytest.raises(error, match=message):
        wanted(SEARCHER, texts, labels)


def test_words_are_given_once_each_and_only_to_who_takes_them(any_length):
    assert wanted(SEARCHER, ["the cup", "a cup", "the cup"]) == Words(("the cup", "a cup"))
    assert wanted(SEARCHER, (), ["cup", " laptop ", "cup"]) == Words(("cup", "laptop"), True)
    assert wanted(SEARCHER) is None and wanted(Detector()) is None
    for flag, given in {"--text": (["a cup"], []), "--labels": ([], ["cup"])}.items():
        with pytest.raises(BadUsage, match=f"{flag}: Detector searches for no words"):
            wanted(Detector(), *given)


def test_every_picture_has_words_its_own_or_those_asked_for():
    words, own = Words(("a cup", "b")), {"id": "t.csv:1", "image": "p.png", "caption": "a dog"}
    assert worded(SEARCHER, ["p.png"], words) == [{"id": "p.png", "image": "p.png", "caption": "a cup"}]
    assert worded(SEARCHER, [own], None) == [own] and worded(Detector(), ["p.png"], None) == ["p.png"]
    with pytest.raises(BadUsage, match=r"p\.png: no words to look for; give --text"):
        worded(SEARCHER, ["p.png"], None)
    with pytest.raises(BadUsage, match=r"t\.csv:1: it has a caption of its own"):
        worded(SEARCHER, [own], words)
