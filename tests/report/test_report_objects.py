"""The page's section of objects: pictures under both their boxes, classes by their precision, nothing from strangers."""

import json
import re

import pytest
import report_run
from hypothesis import given
from hypothesis import strategies as st
from test_report_maps import source

from pellucid.errors import BadData
from pellucid.report import objects, page, read
from pellucid.report.boxes import colour_of


def kept(**more):
    thing = {"label": "dog", "box_xyxy": [20.0, 10.0, 120.0, 60.0]}
    picture = {"id": "a.jpg", "src": source(), "width": 200, "height": 100, "found": [{**thing, "score": 0.9}], "objects": [thing]}
    return {
        "threshold": 0.5,
        "labels": ["cat", "dog"],
        "set": "home",
        "pictures": [picture | more],
        "classes": {"home": {"cat": 0.25, "dog": 0.75}},
    }


@pytest.fixture
def folder(tmp_path):
    return report_run.write_run(tmp_path / "run")


def viewed(folder, found):
    (folder / "results" / "objects.json").write_text(json.dumps(found))
    return objects.view(read.read(folder))


def test_a_box_is_placed_by_its_share_of_the_picture(folder):
    (picture,) = viewed(folder, kept()).pictures
    (found,), (there,) = picture.found, picture.true
    assert (found.left, found.top, found.width, found.height, found.bottom) == (10, 10, 50, 50, 90)
    assert (found.tag, found.title, there.tag, there.title) == ("dog 0.90", "dog 0.90", "", "dog")
    assert found.colour == "#{:02x}{:02x}{:02x}".format(*colour_of("dog", ("cat", "dog")))
    assert picture.spoken == "Found: dog 0.90. There: dog."


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_any_box_stays_within_its_picture(box):
    mark = objects._mark({"label": "dog", "box_xyxy": box, "score": 0.5}, (200, 100), (), "here")
    assert 0 <= mark.left <= 100 and 0 <= mark.top <= 100 and mark.left + mark.width <= 100.02 and mark.top + mark.height <= 100.02


def test_classes_stand_the_best_first_and_those_without_a_number_are_left_out(folder):
    found = kept()
    found["classes"]["home"] |= {"bird": None, "ant": 0.75}
    ((name, plot),) = viewed(folder, found).classes
    assert name == "home" and [row.label for row in plot.rows] == ["ant", "dog", "cat"]
    assert plot.desc == "Best ant, 0.750; worst cat, 0.250."


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"src": "https://elsewhere/x.png"}, "no PNG or JPEG as base64 data"),
        ({"found": [{"label": "dog", "score": 0.5, "box_xyxy": [0, 0, 1]}]}, r"its box is \[0.0, 0.0, 1.0\] in 200 x 100 pixels"),
        ({"objects": [{"label": "dog", "box_xyxy": [0, 0, 1, None]}]}, "its box is"),
        ({"width": 0}, "in 0 x 100 pixels"),
    ],
)
def test_what_is_no_picture_or_box_is_refused_by_name(folder, wrong, message):
    with pytest.raises(BadData, match=f"picture 'a.jpg'.*{message}"):
        viewed(folder, kept(**wrong))


def test_the_page_has_the_section_only_where_objects_were_found_and_escapes_names(folder):
    assert 'id="objects"' not in page.render(read.read(folder))
    evil = {"label": "<script>alert(1)</script>", "box_xyxy": [0, 0, 10, 10], "score": 0.7}
    viewed(folder, kept(found=[evil]))
    text = page.render(read.read(folder))
    assert 'id="objects"' in text and "<script" not in text and "&lt;script&gt;" in text
    assert text.count('class="dashed"') == 1 and len(re.findall(r'class="line" [^>]*style="stroke: #', text)) == 1


def test_the_words_that_a_box_answers_have_its_colour_and_what_is_there_is_marked(folder):
    box = {"box_xyxy": [20.0, 10.0, 120.0, 60.0]}
    found = [
        {**box, "label": "a red cup", "score": 0.9, "spans": [[0, 9]]},
        {**box, "label": "cup", "score": 0.8, "spans": [[6, 9], [13, 99]]},
    ]
    there = [{**box, "label": "red", "spans": [[2, 5]]}]
    view = viewed(folder, kept(caption="a red cup on it", found=found, objects=there) | {"metric": "P@1", "by": "kind"})
    (picture,) = view.pictures
    first, second = picture.found
    assert [(piece.text, piece.colour, piece.asked) for piece in picture.caption] == [
        ("a ", first.colour, False),
        ("red", first.colour, True),
        (" cup", first.colour, False),
        (" on ", "", False),
        ("it", second.colour, False),
    ]
    assert first.colour != second.colour and picture.caption[0].ink == first.ink
    assert view.by == "kind" and view.metric == "P@1" and view.classes[0][1].title == "P@1 by kind on home"
    html = page.render(read.read(folder))
    assert f'<span style="background: {first.colour}; color: {first.ink}" class="asked">red</span>' in html
