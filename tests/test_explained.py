"""What `run.explain` gives back: a dict to index, a page, a picture, a frame in a notebook."""

import html
import html.parser
import json
import pathlib
import sys

import pytest
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent / "report"))
import report_run

from pellucid.errors import BadUsage
from pellucid.explained import Explained
from pellucid.report import page


@pytest.fixture
def explained() -> Explained:
    return Explained(report_run.explanations())


def test_it_reads_like_the_dict_that_it_holds(explained):
    found = report_run.explanations()
    assert explained["examples"] == found["examples"]
    assert dict(explained) == {**explained} == explained.to_dict() == found
    assert "summary" in explained and "nothing" not in explained
    with pytest.raises(KeyError):
        explained["nothing"]


def test_its_parts_have_names_and_old_files_lack_some(explained):
    assert (explained.site, explained.score_unit, explained.summary["n"]) == ("embedding", "log-probability", 1000)
    assert explained.methods == ["iba", "integrated_gradients", "occlusion", "lime"]
    assert Explained({"examples": []}).summary == {}
    assert repr(explained) == "Explained(2 examples by iba, integrated_gradients, occlusion, lime; site 'embedding')"


def test_the_top_words_are_the_strongest_on_either_side():
    record = {"words": ["not", "very", "good", "?"], "methods": {"lime": {"relevance": [-0.9, 0.1, 0.5, None]}}}
    explained = Explained({"examples": [record, {"words": ["x"], "methods": {}}]})
    assert explained.top("lime", 2) == [[("not", -0.9), ("good", 0.5)], []]
    with pytest.raises(BadUsage, match="not explained by 'iba'; there are lime"):
        explained.top("iba")


def test_the_suffix_says_how_it_is_saved(explained, tmp_path):
    assert explained.save(tmp_path / "a.html").read_text() == explained.html() == page.explanations(report_run.explanations())
    assert json.loads(explained.save(str(tmp_path / "new" / "a.json")).read_text()) == report_run.explanations()
    assert Image.open(explained.save(tmp_path / "a.PNG")).format == "PNG"
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["a.PNG", "a.html", "a.json"]


def test_a_number_that_is_none_is_null_in_json(tmp_path):
    record = {"id": "1", "prediction": 1.0, "words": ["a"], "methods": {"iba": {"relevance": [float("nan")]}}}
    text = Explained({"examples": [record]}).save(tmp_path / "a.json").read_text()
    assert json.loads(text)["examples"][0]["methods"]["iba"]["relevance"] == [None]


@pytest.mark.parametrize("name", ["a.pdf", "a", "html"])
def test_another_suffix_is_refused_with_the_three_that_serve(explained, tmp_path, name):
    with pytest.raises(BadUsage, match=rf"{name}: explanations are saved as \.html, \.png or \.json"):
        explained.save(tmp_path / name)


@pytest.mark.parametrize("name", ["a.html", "a.png", "a.json"])
def test_a_place_that_cannot_be_written_is_said_in_one_line(explained, tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUsage, match="cannot be written"):
        explained.save(tmp_path / "file" / name)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


class Frames(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.frames, self.others = [], []

    def handle_starttag(self, tag, attrs):
        (self.frames if tag == "iframe" else self.others).append(dict(attrs))


def test_a_notebook_shows_the_whole_page_in_a_frame_that_can_run_nothing(explained):
    found = Frames()
    found.feed(explained._repr_html_())
    (frame,) = found.frames
    assert not found.others
    assert frame["srcdoc"] == explained.html()
    assert frame["sandbox"] is None  # present and empty: no script, no form, no way out
    assert "src" not in frame


def test_the_frame_is_as_high_as_needed_and_no_higher_than_a_screen():
    def height(examples):
        return int(Explained({"examples": examples})._repr_html_().rsplit("height: ", 1)[1].split("px")[0])

    one = {"id": "1", "prediction": "x", "words": ["a"], "methods": {"iba": {"relevance": [1.0]}}}
    assert height([one]) < height([one] * 3) <= height([one] * 100) == 900
