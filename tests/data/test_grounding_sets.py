"""Groundings as people publish them: every span says what its box shows, and a wrong line is told by its number."""

import json
import logging
import os
import pathlib
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from pellucid.data.grounding import builder, captions, clevr, flickr, lvis, merge, modulated, programs
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.recipe import Data

SIZE = (100, 80)


def picture(path: pathlib.Path, size: tuple[int, int] = SIZE, turned: bool = False) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    Image.new("RGB", size).save(path, exif=exif)
    return str(path)


def dump(path: pathlib.Path, tree) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def said(row) -> list[tuple[list[str], list[float]]]:
    """The words and the box of each object."""
    return [([row["caption"][b:e] for b, e in o["spans"]], o["box_xyxy"]) for o in row["objects"]]


# ---- the modulated annotation ---------------------------------------------------------------------------------------


def modulated_tree(**more) -> dict:
    image = {"id": 7, "file_name": "a.jpg", "width": "100", "height": "80", "caption": "a cup and a dog", "dataset_name": "flickr"}
    annotation = {"id": 3, "image_id": 7, "bbox": [1, 2, 30, 40], "category_id": 1, "tokens_positive": [[0, 5]], "isfinal": 1, "area": 9}
    other = {"id": 4, "image_id": 7, "bbox": [50, 2, 30, 40], "category_id": 1, "tokens_positive": [[10, 15]]}
    image |= {"sentence_id": 2, "original_img_id": 33, "tokens_positive_eval": [[[10, 15]]]}
    return {
        "images": [image | more.get("image", {})],
        "annotations": [annotation | more.get("annotation", {}), other],
        "categories": [{"id": 1, "name": "object"}],
    }


def lay_modulated(tmp_path, **more) -> Data:
    picture(tmp_path / "a.jpg")
    return Data(f"modulated:{dump(tmp_path / 'm.json', modulated_tree(**more))}")


def test_the_modulated_annotation_is_read_with_its_phrases(tmp_path):
    (row,) = read(lay_modulated(tmp_path))
    assert said(row) == [(["a cup"], [1, 2, 31, 42]), (["a dog"], [50, 2, 80, 42])]
    assert row["phrases"] == [{"spans": [[10, 15]], "boxes_xyxy": [[50, 2, 80, 42]], "kind": None}]
    assert (row["width"], row["height"], row["sentence_id"], row["image_id"]) == (100, 80, 2, 33)
    assert (row["objects"][0]["final"], row["objects"][0]["area"], row["objects"][1]["area"]) == (True, 9, 1200)
    assert (row["id"], row["group"], row["image"]) == ("m.json:7", "flickr/a", f"{tmp_path}/a.jpg")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"image": {"caption": "  "}}, r"m.json:7: the caption is empty"),
        ({"image": {"caption": None}}, r"m.json:7: the caption is empty"),
        ({"image": {"height": "tall"}}, r"m.json:7: the height is 'tall'; expected pixels"),
        ({"image": {"answer": "maybe"}}, r"the answer 'maybe' is none of CLEVR's"),
        ({"annotation": {"tokens_positive": [[10, 16]]}}, r"m.json:7, annotation 3: the span \[10, 16\] lies outside the caption of 15"),
        ({"annotation": {"tokens_positive": []}}, r"annotation 3: a box without a phrase, \[1, 2, 31, 42\]; .*\?spans=caption"),
        ({"annotation": {"bbox": [1, 2, 0, 40]}}, r"annotation 3: the box \[1, 2, 1, 42\] has no width or no height"),
        ({"annotation": {"bbox": [1, 2, 300, 40]}}, r"reaches over the edge, in a picture of 100 x 80; add \?boxes=clip"),
        ({"annotation": {"bbox": [101, 2, 3, 4]}}, "lies outside, in a picture of 100 x 80"),
        ({"annotation": {"bbox": None}}, r"annotation 3: the box None; expected \[x, y, width, height\]"),
        ({"annotation": {"image_id": 8}}, "annotation 3 is of image 8, which the file does not have"),
    ],
)
def test_what_is_wrong_in_a_modulated_annotation_is_told_in_one_line(tmp_path, more, told):
    with pytest.raises(BadData, match=told) as error:
        read(lay_modulated(tmp_path, **more))
    assert "\n" not in str(error.value)


def test_a_name_that_leads_outside_the_pictures_is_refused(tmp_path):
    with pytest.raises(UnsafeInput, match="leads outside"):
        read(lay_modulated(tmp_path, image={"file_name": "../a.jpg"}))


def test_a_box_without_phrase_answers_the_whole_caption_where_asked(tmp_path):
    data = lay_modulated(tmp_path, annotation={"tokens_positive": []})
    assert said(read(Data(data.source + "?spans=caption"))[0])[0][0] == ["a cup and a dog"]


def test_a_mixed_file_finds_each_picture_in_the_folder_of_its_source(tmp_path):
    picture(tmp_path / "vg/a.jpg")
    data = lay_modulated(tmp_path, image={"data_source": "vg"})
    assert read(Data(f"{data.source}?vg={tmp_path}/vg&coco={tmp_path}/coco"))[0]["image"] == f"{tmp_path}/vg/a.jpg"


@pytest.mark.parametrize("emoji", ["the 🐕 שמאל", "naïve cafe\u0301 👩‍👩‍👧"])
def test_what_is_written_is_read_back_as_it_was(tmp_path, emoji):
    picture(tmp_path / "p/a.png")
    end = len(emoji)
    objects = [
        {"box_xyxy": [1.0, 2.0, 3.5, 4.0], "spans": [[0, 3], [4, end]], "label": "dog", "area": 5.0, "crowd": False, "final": True},
        {
            "box_xyxy": [9.0, 2.0, 13.5, 4.0],
            "spans": [[4, end]],
            "label": "cup",
            "area": 9.0,
            "crowd": False,
            "segmentation": [[1, 2, 3, 2, 3, 4]],
        },
    ]
    row = {"image": f"{tmp_path}/p/a.png", "caption": emoji, "objects": objects, "width": 100, "height": 80, "group": "p/a"}
    row |= {"expression": True, "answer": {"type": "obj", "value": "dog"}, "question_type": "obj", "id": "x"}
    row |= {
        "sentence_id": 4,
        "image_id": 12,
        "phrases": [{"spans": [[4, end]], "boxes_xyxy": [o["box_xyxy"] for o in objects], "kind": None}],
    }
    modulated.write([row], tmp_path / "m.json", str(tmp_path))
    assert read(Data(f"modulated:{tmp_path}/m.json?masks=yes")) == [row | {"id": "m.json:0"}]


def test_a_mixed_file_and_flickrs_are_read_as_one_set_each_with_its_pictures(tmp_path):
    for name in ("c/a.jpg", "f/a.jpg"):
        picture(tmp_path / name)
    for name, more in (("mixed", {"data_source": "coco"}), ("flickr", {})):
        dump(tmp_path / f"{name}.json", modulated_tree(image=more))
    rows = read(Data(f"modulated:{tmp_path}/mixed.json,{tmp_path}/flickr.json?coco={tmp_path}/c&images={tmp_path}/f"))
    assert [(row["id"], row["image"]) for row in rows] == [
        ("mixed.json:7", f"{tmp_path}/c/a.jpg"),
        ("flickr.json:7", f"{tmp_path}/f/a.jpg"),
    ]
    with pytest.raises(BadData, match=r"no file .*other\.json"):
        read(Data(f"modulated:{tmp_path}/mixed.json,{tmp_path}/other.json?coco={tmp_path}/c"))


def test_rows_that_the_format_cannot_hold_are_refused(tmp_path):
    row = {"id": "t:1", "image": "/elsewhere/a.png", "caption": "x", "objects": [], "width": 1, "height": 1, "group": "a"}
    for spoiled, told in (({}, "lies outside"), ({"image": b"x"}, "is no file of its own")):
        with pytest.raises(BadData, match=told):
            modulated.write([row | spoiled], tmp_path / "m.json", str(tmp_path))
    without = {key: value for key, value in row.items() if key != "width"} | {"image": f"{tmp_path}/a.png"}
    with pytest.raises(BadData, match="no width and height"):
        modulated.write([without], tmp_path / "m.json", str(tmp_path))


# ---- a table of one's own -------------------------------------------------------------------------------------------


def table(tmp_path, *lines: str, header: str = "image,caption,phrase,box") -> str:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return f"phrases:{tmp_path}/t.csv"


def test_a_phrase_is_found_in_its_caption_and_lines_of_one_box_are_one_object(tmp_path):
    lines = ("a.png,The Red cup by a dog,red cup,10 20 30 40", 'a.png,The Red cup by a dog,a dog,"[50, 5, 90, 45.5]"')
    more = ("a.png,The Red cup by a dog,dog,50;5;90;45.5", "a.png,A cup,cup,1 2 3 4", "b.png,A cup,cup,1 2 3 4")
    first, second, third = read(Data(table(tmp_path, *lines, *more)))
    assert said(first) == [(["Red cup"], [10, 20, 30, 40]), (["a dog", "dog"], [50, 5, 90, 45.5])]
    assert (first["width"], first["height"], first["id"]) == (100, 80, "t.csv:1")
    assert first["group"] == second["group"] != third["group"]


def test_without_a_caption_it_is_made_of_the_pictures_phrases(tmp_path):
    lines = ("a.png,A cup,1 2 3 4", "a.png,cup,5 6 7 8", "a.png,a  CUP,20 2 30 4", "b.png,dog.,1 2 3 4")
    first, second = read(Data(table(tmp_path, *lines, header="image,phrase,box")))
    assert (first["caption"], second["caption"]) == ("A cup. cup.", "dog.")
    assert said(first) == [(["A cup"], [1, 2, 3, 4]), (["cup"], [5, 6, 7, 8]), (["A cup"], [20, 2, 30, 4])]
    assert said(second) == [(["dog"], [1, 2, 3, 4])]


def test_a_phrase_that_is_there_twice_needs_a_span_only_where_two_boxes_have_it(tmp_path):
    one = "a.png,a cup and a cup,a cup,1 2 3 4"
    assert said(read(Data(table(tmp_path, one)))[0]) == [(["a cup", "a cup"], [1, 2, 3, 4])]
    with pytest.raises(BadData, match=r"t.csv:1: the caption says 'a cup' 2 times and 2 boxes have it; tell which in a column span"):
        read(Data(table(tmp_path, one, "a.png,a cup and a cup,a cup,5 6 7 8")))
    lines = ("a.png,a cup and a cup,a cup,1 2 3 4,0:5", 'a.png,a cup and a cup,a cup,5 6 7 8,"[10, 15]"')
    (row,) = read(Data(table(tmp_path, *lines, header="image,caption,phrase,box,span")))
    assert [o["spans"] for o in row["objects"]] == [[[0, 5]], [[10, 15]]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.png,,a cup,1 2 3 4", r"t.csv:1: the caption is empty"),
        ("a.png,a mug,a cup,1 2 3 4", r"t.csv:1: the phrase 'a cup' is not in the caption 'a mug'"),
        ("a.png,a woman,man,1 2 3 4", r"t.csv:1: the phrase 'man' is not in the caption"),
        ("a.png,a cup,a cup,", r"t.csv:1: the phrase 'a cup' has no box; give one, or add \?empty=keep"),
        ("a.png,a cup,,1 2 3 4", r"t.csv:1: a box without a phrase, 1 2 3 4; .*\?spans=caption"),
        ("a.png,a cup,,", r"t.csv:1: a picture without any phrase or box"),
        ("a.png,a cup,a cup,1 2 3", r"t.csv:1: the box '1 2 3'; expected \[x0, y0, x1, y1\]"),
        ("a.png,a cup,a cup,1 2 3 nan", r"the box '1 2 3 nan'; expected"),
        ("a.png,a cup,a cup,30 2 3 4", r"t.csv:1: the box \[30, 2, 3, 4\] has no width or no height"),
        ("a.png,a cup,a cup,1 2 300 4", r"t.csv:1: the box \[1, 2, 300, 4\] reaches over the edge, in a picture of 100 x 80"),
        ("c.png,a cup,a cup,1 2 3 4", "no file .*c.png"),
        ("https://x/a.png,a cup,a cup,1 2 3 4", "is an address"),
    ],
)
def test_a_line_that_says_too_little_or_too_much_is_told_by_its_number(tmp_path, line, told):
    with pytest.raises(BadData, match=told) as error:
        read(Data(table(tmp_path, line)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("span", "told"),
    [
        ("2:9", r"t.csv:1: the span \[2, 9\] lies outside the caption of 5 characters, 'a cup'"),
        ("0:1", r"t.csv:1: the span 0:1 is 'a' in the caption, and the phrase is 'cup'; one of them is wrong"),
        ("5:2", "is reversed"),
        ("two", "the span 'two'; expected begin:end"),
    ],
)
def test_a_span_that_contradicts_its_caption_or_phrase_is_told(tmp_path, span, told):
    with pytest.raises(BadData, match=told):
        read(Data(table(tmp_path, f"a.png,a cup,cup,1 2 3 4,{span}", header="image,caption,phrase,box,span")))


@pytest.mark.parametrize(
    ("caption", "phrase"), [("see the 🐕‍🦺 run", "the 🐕‍🦺"), ("הכלב השחור ליד הספל", "הכלב השחור"), ("左边的红杯子", "红杯子")]
)
def test_captions_in_any_script_keep_their_phrases(tmp_path, caption, phrase):
    assert said(read(Data(table(tmp_path, f"a.png,{caption},{phrase},1 2 3 4")))[0]) == [([phrase], [1, 2, 3, 4])]


def test_phrases_of_what_is_not_there_stay_in_the_caption_where_asked(tmp_path):
    source = table(tmp_path, "a.png,a cup,1 2 3 4", "a.png,a dog,", header="image,phrase,box")
    (row,) = read(Data(source + "?empty=keep"))
    assert row["caption"] == "a cup. a dog." and said(row) == [(["a cup"], [1, 2, 3, 4])]


def test_columns_go_by_other_names_and_boxes_by_their_sides(tmp_path):
    source = table(tmp_path, "a.png,a cup,1 2 3 4,mug", header="file,text,bbox,kind")
    (row,) = read(Data(source + "?image=file&phrase=text&box=bbox&label=kind&format=xywh"))
    assert said(row) == [(["a cup"], [1, 2, 4, 6])] and row["objects"][0]["label"] == "mug"
    with pytest.raises(BadData, match=r"no column 'image'; the columns are file, text, bbox, kind: name one with \?image=COLUMN"):
        read(Data(source))
    with pytest.raises(BadUsage, match=r"expected a table; endings are .csv"):
        read(Data(f"phrases:{tmp_path}/t.xls"))


def test_boxes_are_for_the_upright_picture(tmp_path):
    source = table(tmp_path, "turned.jpg,cup,10 85 20 95", header="image,phrase,box")
    picture(tmp_path / "turned.jpg", turned=True)
    (row,) = read(Data(source))
    assert (row["width"], row["height"]) == (80, 100)


def test_rows_are_printed_so_that_a_wrong_offset_is_seen():
    objects = [{"box_xyxy": [1.0, 2.0, 3.5, 4.0], "spans": [[2, 5], [6, 7]], "label": "mug", "final": True}]
    lines = list(
        builder.printed([{"id": "t:1", "caption": "a cup, here", "objects": objects}, {"id": "t:2", "caption": "x", "objects": []}])
    )
    assert lines == ["t:1: a cup, here", "  [2:5], [6:7] 'cup ...  ' -> 1 2 3.5 4 (mug) final", "t:2: x", "  no box"]


# ---- captions of categories -----------------------------------------------------------------------------------------


def lay_coco(tmp_path, boxes: list[tuple[int, list[int], int]]) -> str:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    images = [{"id": i, "file_name": f"{name}.jpg", "width": 100, "height": 80} for i, name in ((1, "a"), (2, "b"))]
    annotations = [
        {"id": i, "image_id": 1, "category_id": category, "bbox": box, "area": 1, "iscrowd": crowd}
        for i, (category, box, crowd) in enumerate(boxes)
    ]
    names = {1: "person", 2: "cup", 3: "umbrella", 4: "wine glass"}
    tree = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": name} for i, name in names.items()]}
    return f"coco-captions:{dump(tmp_path / 'c.json', tree)}"


def test_categories_become_captions_that_count_them(tmp_path, caplog):
    box = [1, 2, 10, 10]
    source = lay_coco(tmp_path, [(1, box, 0), (2, box, 0), (1, [30, 2, 5, 5], 0), (1, box, 1), (3, box, 0), *[(4, box, 0)] * 12])
    with caplog.at_level(logging.WARNING, "pellucid"):
        (row,) = read(Data(source))
    assert row["caption"] == "two people. a cup. an umbrella. many wine glasses."
    assert [(words[0], label["label"]) for (words, _), label in zip(said(row), row["objects"], strict=True)][:3] == [
        ("two people", "person"),
        ("two people", "person"),
        ("a cup", "cup"),
    ]
    assert len(row["objects"]) == 16  # the crowd is none
    assert "1 pictures without objects are left out" in caplog.text


def test_two_of_a_category_are_told_apart_by_where_they_lie(tmp_path):
    boxes = [(2, [60, 2, 10, 10], 0), (2, [5, 3, 10, 10], 0), (1, [5, 50, 10, 10], 0), (1, [9, 5, 10, 10], 0), (3, [1, 1, 5, 5], 0)]
    (row,) = read(Data(lay_coco(tmp_path, boxes) + "?style=positions"))
    assert row["caption"] == "the left cup. the right cup. the upper person. the lower person. an umbrella."
    assert [(words[0], box[:2]) for words, box in said(row)][:4] == [
        ("the left cup", [5, 3]),
        ("the right cup", [60, 2]),
        ("the upper person", [9, 5]),
        ("the lower person", [5, 50]),
    ]


def test_real_categories_say_what_their_boxes_show(shared):
    rows = read(Data(f"coco-captions:{shared}/data/coco128?split=train2017"))
    assert len(rows) == 126
    for row in rows:
        for words, found in zip((words for words, _ in said(row)), row["objects"], strict=True):
            singular = {found["label"], captions.plural(found["label"])}
            assert any(words[0].endswith(name) for name in singular)


# ---- RefCOCO --------------------------------------------------------------------------------------------------------


def lay_refcoco(tmp_path, references=None, **annotation) -> str:
    name = "COCO_train2014_000000000042.jpg"
    picture(tmp_path / "train2014" / name)
    images = [{"id": 42, "file_name": name, "width": 100, "height": 80}]
    known = {"id": 5, "image_id": 42, "bbox": [1, 2, 30, 40], "category_id": 9, "area": 900, "segmentation": [[1, 2, 3, 4, 5, 6]]}
    tree = {"images": images, "annotations": [known | annotation], "categories": [{"id": 9, "name": "cup"}]}
    dump(tmp_path / "instances.json", tree)
    reference = {
        "ref_id": 0,
        "ann_id": 5,
        "image_id": 42,
        "split": "testA",
        "sentences": [{"sent": "red cup left of dog"}, {"sent": "the mug"}],
    }
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([reference] if references is None else references, 0))
    return f"refcoco:{tmp_path}?split=testA"


def test_every_sentence_of_refcoco_asks_for_one_box(tmp_path):
    first, second = read(Data(lay_refcoco(tmp_path) + "&masks=yes"))
    assert said(first) == [(["red cup left of dog"], [1, 2, 31, 42])] and said(second)[0][0] == ["the mug"]
    assert first["expression"] and first["group"] == "coco/42" and first["id"] == "refs(unc).p:0.0"
    assert first["objects"][0]["label"] == "cup" and first["objects"][0]["segmentation"] == [[1, 2, 3, 4, 5, 6]]
    assert said(read(Data(lay_refcoco(tmp_path) + "&spans=head"))[0])[0][0] == ["red cup"]


class Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_a_pickle_of_references_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeInput, match=r"refs\(unc\).p: a pickle that asks for posix.mkdir, which could run code; refused"):
        read(Data(lay_refcoco(tmp_path, references=[Runs()])))
    assert not (tmp_path / "ran").exists()


def test_references_to_what_is_not_there_are_told(tmp_path):
    with pytest.raises(BadData, match=r"refs\(unc\).p:0: annotation 5 is not in instances.json"):
        read(Data(lay_refcoco(tmp_path, id=6)))
    with pytest.raises(BadData, match=r"no sentence of split 'val'; there are testA"):
        read(Data(lay_refcoco(tmp_path).replace("testA", "val")))
    with pytest.raises(BadData, match=r"no refs\(umd\).p; there is refs\(unc\).p"):
        read(Data(lay_refcoco(tmp_path) + "&by=umd"))


def test_texts_of_an_old_python_are_read_as_utf8():
    from pellucid.data import pickles

    assert pickles.plain(b"(dp0\nS'caf\\xc3\\xa9'\np1\nI3\ns.", "x") == {"café": 3}


# ---- Flickr30k Entities ---------------------------------------------------------------------------------------------


def test_the_reference_set_has_the_phrases_that_the_published_recall_counts(references):
    rows = flickr.sentences(references / "detection/metrics/flickr_mini", "val")
    assert [[row["caption"][b:e] for p in row["phrases"] for b, e in p["spans"]] for row in rows] == [
        ["A man", "two balls"],
        ["Someone"],
        ["A woman", "a dog"],
    ]
    assert [p["kind"] for row in rows for p in row["phrases"]] == ["people", "other", "people", "people", "animals"]
    assert rows[0]["phrases"][1]["boxes_xyxy"] == [[80, 20, 120, 60], [130, 20, 170, 60]]
    merged = flickr.sentences(references / "detection/metrics/flickr_mini", "val", merged=True)
    assert merged[0]["phrases"][1]["boxes_xyxy"] == [[80, 20, 170, 60]] and len(merged[0]["objects"]) == 2


def lay_flickr(tmp_path, line: str, boxes: dict[str, list[int]]) -> str:
    def xml(name, box):
        sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"

    picture(tmp_path / "flickr30k-images/9.jpg")
    (tmp_path / "val.txt").write_text("9\n")
    for folder in ("Sentences", "Annotations"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "Sentences/9.txt").write_text(line + "\n", encoding="utf-8")
    size = "<size><width>100</width><height>80</height></size>"
    (tmp_path / "Annotations/9.xml").write_text(f"<annotation>{size}{''.join(xml(n, b) for n, b in boxes.items())}</annotation>")
    return f"flickr:{tmp_path}"


def test_entities_of_one_box_are_one_object_and_an_entity_named_twice_has_both_spans(tmp_path):
    line = "[/EN#1/people A man] and [/EN#2/people/clothing his suit] , [/EN#0/notvisual it] fits [/EN#1/people him] ."
    (row,) = read(Data(lay_flickr(tmp_path, line, {"1": [10, 10, 60, 70], "2": [10, 10, 60, 69], "3": [1, 1, 5, 5]})))
    assert row["caption"] == "A man and his suit , it fits him ."
    assert said(row) == [(["A man", "his suit", "him"], [10, 10, 60, 69])]
    assert [p["kind"] for p in row["phrases"]] == ["people", "people/clothing", "people"]
    with pytest.raises(BadData, match=r"9.txt:1: the phrase of entity 1 is not closed"):
        read(Data(lay_flickr(tmp_path, "[/EN#1/people A man runs .", {})))
    with pytest.raises(BadData, match=r"no file .*test.txt; choose a list with \?split=, of val"):
        read(Data(f"flickr:{tmp_path}?split=test"))


# ---- Visual Genome, PhraseCut, GQA ----------------------------------------------------------------------------------


def test_regions_of_one_text_are_one_row_and_overlapping_ones_one_box(tmp_path):
    picture(tmp_path / "VG_100K_2/5.jpg")
    dump(tmp_path / "image_data.json", [{"image_id": 5, "width": 100, "height": 80, "coco_id": 77}])
    region = {"region_id": 1, "phrase": "a red cup ", "x": 1, "y": 2, "width": 30, "height": 40}
    regions = [region, region | {"phrase": "A red  cup", "y": 3}, region | {"x": 60}, region | {"phrase": "dog on mat"}]
    dump(tmp_path / "region_descriptions.json", [{"id": 5, "regions": regions}])
    cup, dog = read(Data(f"genome:{tmp_path}?spans=head"))
    assert said(cup) == [(["a red cup"], [1, 2, 31, 42]), (["a red cup"], [60, 2, 90, 42])]
    assert said(dog)[0][0] == ["dog"] and dog["group"] == "coco/77" and dog["image"].endswith("VG_100K_2/5.jpg")
    dump(tmp_path / "region_descriptions.json", [{"id": 6, "regions": regions}])
    with pytest.raises(BadData, match=r"picture 6 \(see image_data.json\): no 'about'"):
        read(Data(f"genome:{tmp_path}"))


def test_all_polygons_of_an_instance_are_kept(tmp_path):
    picture(tmp_path / "images/5.jpg")
    dump(tmp_path / "image_data_split.json", [{"image_id": 5, "width": 100, "height": 80}])
    task = {"task_id": "5__1", "image_id": 5, "phrase": "wooden desk", "instance_boxes": [[1, 2, 30, 40], [50, 2, 30, 40]]}
    two, one = [[[1, 2], [3, 2], [3, 4]], [[9, 9], [11, 9], [11, 12]]], [[[50, 2], [55, 2], [55, 9]]]
    dump(tmp_path / "refer_val.json", [task | {"Polygons": [two, one]}])
    (row,) = read(Data(f"phrasecut:{tmp_path}?masks=yes"))
    assert said(row)[0] == (["wooden desk"], [1, 2, 31, 42]) and row["task"] == "5__1"
    assert row["objects"][0]["segmentation"] == [[1, 2, 3, 2, 3, 4], [9, 9, 11, 9, 11, 12]]
    assert row["phrase_masks"] == [*row["objects"][0]["segmentation"], [50, 2, 55, 2, 55, 9]]
    dump(tmp_path / "refer_val.json", [task | {"Polygons": [two]}])
    with pytest.raises(BadData, match=r"refer_val.json:5__1: 2 instance_boxes and 1 Polygons"):
        read(Data(f"phrasecut:{tmp_path}?masks=yes"))


def lay_gqa(tmp_path, **more) -> str:
    picture(tmp_path / "images/5.jpg")
    sides = {"x": 1, "y": 2, "w": 30, "h": 40}
    objects = {"11": {"name": "table", **sides}, "12": {"name": "dog", **sides, "x": 5}, "13": {"name": "bowl", **sides, "x": 9}}
    dump(tmp_path / "val_sceneGraphs.json", {"5": {"width": 100, "height": 80, "objects": objects}})
    question = {"imageId": "5", "question": "What is on the wooden table, by the dog?", "answer": "bowl", "types": {"semantic": "obj"}}
    question["annotations"] = {"question": {"4:6": "11", "5": "11"}, "answer": {"0": "13"}}
    question["semantic"] = [{"operation": "select", "argument": "dog (12)"}, {"operation": "select", "argument": "cat (99)"}]
    dump(tmp_path / "val_balanced_questions.json", {"q1": question | more})
    return f"gqa:{tmp_path}"


def test_words_selections_and_answers_of_gqa_point_at_objects(tmp_path):
    (row,) = read(Data(lay_gqa(tmp_path)))
    assert said(row) == [(["wooden table"], [1, 2, 31, 42]), (["dog"], [5, 2, 35, 42]), (["What"], [9, 2, 39, 42])]
    assert [o["label"] for o in row["objects"]] == ["table", "dog", "bowl"]
    assert row["answer"] == {"type": "obj", "value": "bowl"} and row["question_type"] == "obj" and row["group"] == "vg/5"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"annotations": {"question": {"9": "11"}}}, "q1: annotation of the words '9'; the question has 9"),
        ({"annotations": {"question": {"4": "98"}}}, "q1: object '98' is not in the scene graph of picture 5"),
        ({"types": {"semantic": "why"}}, "q1: the semantic type is 'why'; expected one of obj"),
        ({"question": " "}, "q1: the caption is empty"),
    ],
)
def test_questions_of_gqa_that_do_not_fit_are_told(tmp_path, more, told):
    with pytest.raises(BadData, match=told):
        read(Data(lay_gqa(tmp_path, **more)))


# ---- LVIS -----------------------------------------------------------------------------------------------------------


def lay_lvis(tmp_path) -> str:
    images = []
    for i in range(1, 5):
        picture(tmp_path / f"val2017/{i:012d}.jpg")
        address = f"http://images.cocodataset.org/val2017/{i:012d}.jpg"
        absent = [2] if i < 3 else []
        images.append(
            {"id": i, "coco_url": address, "width": 100, "height": 80, "neg_category_ids": absent, "not_exhaustive_category_ids": []}
        )
    annotations = [{"id": i, "image_id": (i % 4) + 1, "category_id": 1, "bbox": [1, 2, 30, 40], "area": 7} for i in range(5)]
    names = {1: "flag_(of_nation)", 2: "hot-air_balloon"}
    tree = {"images": images, "annotations": annotations}
    tree["categories"] = [{"id": i, "name": name, "frequency": "r", "image_count": i} for i, name in names.items()]
    return f"lvis:{dump(tmp_path / 'lvis_v1_val.json', tree)}"


def test_lvis_asks_for_each_class_that_is_there_and_for_those_known_not_to_be(tmp_path):
    rows = read(Data(lay_lvis(tmp_path)))
    assert [(row["caption"], len(row["objects"])) for row in rows][:3] == [("flag", 2), ("hot-air balloon", 0), ("flag", 1)]
    assert len(rows) == 6 and rows[0]["category"] == "flag_(of_nation)" and rows[0]["frequency"] == "r" and rows[0]["group"] == "coco/1"
    assert said(rows[0])[0] == (["flag"], [1, 2, 31, 42]) and rows[0]["objects"][0]["area"] == 7
    assert len(read(Data(lay_lvis(tmp_path) + "?negatives=no"))) == 4


def test_a_subset_of_lvis_is_drawn_by_seed_and_has_its_share_of_pictures(tmp_path):
    def kept(more):
        return {row["image_id"] for row in read(Data(f"{lay_lvis(tmp_path)}?subset=50{more}"))}

    assert len(kept("")) == 2 and kept("") == kept("&seed=42")
    with pytest.raises(BadUsage, match=r"subset=0: expected a percentage"):
        read(Data(lay_lvis(tmp_path) + "?subset=0"))


def test_the_class_that_came_least_is_drawn_next_and_one_in_ten_is_for_an_absent_one():
    there = {"a": set(range(40)), "b": {100, 101, 102}, "c": {200}}
    absent = {"a": {300, 301}, "b": set(), "c": set()}
    chosen = lvis.balanced(there, absent, ["a", "b", "c"], 11, 42)
    assert len(chosen) == 11 and {200, 100, 101, 102} <= chosen and {300, 301} <= chosen
    with pytest.raises(BadData, match="only 1 of 2 pictures can be drawn; no other is known for a class that is there"):
        lvis.balanced({"a": set()}, {"a": {1}}, ["a"], 2, 42)


# ---- CLEVR ----------------------------------------------------------------------------------------------------------


def thing(size: str, color: str, material: str, shape: str, x: int, **more) -> dict:
    found = {"size": size, "color": color, "material": material, "shape": shape, "pixel_coords": [x, 100, 10.0], "rotation": 0.0}
    return found | {"bbox": [x, 90, 20, 30]} | more


SCENE = {
    "image_filename": "CLEVR_val_000000.png",
    "directions": {"right": [1.0, 0.0, 0.0]},
    "objects": [
        thing("large", "red", "metal", "cube", 10),
        thing("small", "red", "metal", "cube", 60),
        thing("small", "blue", "rubber", "sphere", 200),
    ],
    "relationships": {"left": [[], [0], [0, 1]], "right": [[1, 2], [2], []]},
}


def program(*steps: str) -> list[dict]:
    """`filter_color red` after the step before it; `union 1,3` of these."""
    found = []
    for i, step in enumerate(steps):
        kind, *values = step.split()
        inputs = [] if kind == "scene" else [i - 1]
        if values and values[-1][0].isdigit():
            inputs = [int(x) for x in values.pop().split(",")]
        found.append({"function": kind, "inputs": inputs, "value_inputs": values})
    return found


def meant(caption: str, *steps: str) -> list[tuple[tuple[int, ...], list[str]]]:
    found = programs.named(caption, program(*steps), SCENE, "q")
    return [(one.objects, [caption[b:e] for b, e in one.spans]) for one in found]


def test_programs_tell_which_phrases_name_which_objects():
    steps = ("scene", "filter_color blue", "filter_shape sphere", "unique", "relate left", "filter_size large", "unique", "query_shape")
    assert meant("What shape is the big thing left of the blue ball?", *steps) == [((2,), ["blue ball"]), ((0,), ["big thing"])]
    same = ("scene", "filter_size large", "unique", "same_color", "count")
    assert meant("How many other things are the same color as the large object?", *same) == [((0,), ["large object"]), ((1,), ["things"])]
    either = ("scene", "filter_shape cube", "scene", "filter_color blue", "union 1,3", "count")
    assert meant("How many things are cubes or blue things?", *either) == [((0, 1), ["cubes"]), ((2,), ["blue things"])]


def test_phrases_that_could_mean_either_of_two_objects_are_not_guessed():
    steps = ("scene", "filter_shape cube", "filter_size large", "unique", "relate right", "filter_shape cube", "unique", "query_size")
    with pytest.raises(programs.Unclear, match="0 phrases say 'cube large'"):
        meant("What size is the cube right of the cube?", *steps)
    with pytest.raises(BadData, match="q: the program expects one object and the scene has 2"):
        meant("the cube", "scene", "filter_shape cube", "unique")
    with pytest.raises(BadData, match="a step 'filter_smell'"):
        meant("the cube", "scene", "filter_smell sweet")
    with pytest.raises(BadData, match="step 1 of the program does not fit its scene"):
        meant("the cube", "scene", "filter_shape cube 7")


def lay_clevr(tmp_path, *questions: dict) -> str:
    picture(tmp_path / "images/val/CLEVR_val_000000.png", clevr.SIZE)
    dump(tmp_path / "scenes/CLEVR_val_scenes.json", {"scenes": [SCENE]})
    known = {"image_filename": SCENE["image_filename"], "question_index": 0}
    dump(tmp_path / "questions/CLEVR_val_questions.json", {"questions": [known | question for question in questions]})
    return f"clevr:{tmp_path}"


def test_questions_of_clevr_have_boxes_answers_and_types(tmp_path, caplog):
    counted = {"question": "How many small things are there?", "answer": "2", "program": program("scene", "filter_size small", "count")}
    two = ("scene", "filter_size large", "count", "scene", "filter_color red", "count", "greater_than 2,5")
    more = {"question": "Are there more big objects than red objects?", "answer": "no", "program": program(*two)}
    unclear = {"question": "How many are there?", "answer": "2", "program": program("scene", "filter_size small", "count")}
    with caplog.at_level(logging.WARNING, "pellucid"):
        first, second = read(Data(lay_clevr(tmp_path, counted, more, unclear)))
    assert said(first) == [(["small things"], [60, 90, 80, 120]), (["small things"], [200, 90, 220, 120])]
    assert (first["answer"], first["question_type"]) == ({"type": "reg", "value": "2"}, "count")
    assert (second["answer"], second["question_type"]) == ({"type": "binary", "value": "no"}, "compare number")
    assert (
        said(second)[0] == (["big objects", "red objects"], [10, 90, 30, 120]) and second["objects"][0]["label"] == "large red metal cube"
    )
    assert "1 of 3 captions are left out, first CLEVR_val_questions.json:0: 0 phrases say 'small'" in caplog.text
    assert len(read(Data(lay_clevr(tmp_path, counted, more) + "?subset=medium"))) == 1  # the big cube is red, and named twice
    with pytest.raises(BadData, match="0 phrases say 'small'"):
        read(Data(lay_clevr(tmp_path, unclear) + "?unclear=refuse"))


def test_questions_without_programs_have_answers_alone(tmp_path):
    (row,) = read(Data(lay_clevr(tmp_path, {"question": "Is it red?", "answer": "red"})))
    assert row["objects"] == [] and row["answer"] == {"type": "attr", "value": "red"}


def test_what_an_expression_asks_for_is_final_and_what_it_goes_by_is_not(tmp_path):
    picture(tmp_path / "images/val/CLEVR_val_000000.png", clevr.SIZE)
    boxes = {str(i): [10 * i, 20, 30, 40] for i in (1, 2, 3)}
    things = [{key: value for key, value in one.items() if key != "bbox"} for one in SCENE["objects"]]
    dump(tmp_path / "scenes/clevr_ref+_val_scenes.json", {"scenes": [SCENE | {"objects": things, "obj_bbox": boxes}]})
    steps = program("scene", "filter_color blue", "unique", "relate left", "filter_shape cube")
    renamed = [{"type": s["function"], "inputs": s["inputs"], "side_inputs": s["value_inputs"]} for s in steps]
    entry = {"image_filename": SCENE["image_filename"], "refexp": "The cubes left of the blue thing", "program": renamed}
    alone = entry | {"refexp": "The blue thing", "program": renamed[:3]}
    dump(tmp_path / "refexps/clevr_ref+_val_refexps.json", {"refexps": [entry, alone]})
    row, single = read(Data(f"clevr-ref:{tmp_path}"))
    assert single["expression"] and [found["final"] for found in single["objects"]] == [True] and "expression" not in row
    assert [(words, found["final"]) for (words, _), found in zip(said(row), row["objects"], strict=True)] == [
        (["cubes"], True),
        (["cubes"], True),
        (["blue thing"], False),
    ]
    assert [box for _, box in said(row)] == [[10, 20, 40, 60], [20, 20, 50, 60], [30, 20, 60, 60]]


def test_an_estimated_box_is_as_wide_as_its_object_is_at_its_depth():
    ball = clevr.estimated(thing("large", "red", "metal", "sphere", 100), [1, 0, 0])
    assert ball == pytest.approx([100 - 36.75, 100 - 36.75, 100 + 36.75, 100 + 36.75])  # 0.7 of a unit, 525 pixels of focal length, 10 deep
    far = clevr.estimated(thing("large", "red", "metal", "sphere", 100) | {"pixel_coords": [100, 100, 20.0]}, [1, 0, 0])
    assert far[2] - far[0] == pytest.approx((ball[2] - ball[0]) / 2)
    flat = clevr.estimated(thing("large", "red", "metal", "cube", 100), [1, 0, 0])
    edge = clevr.estimated(thing("large", "red", "metal", "cube", 100) | {"rotation": 45.0}, [1, 0, 0])
    assert (edge[2] - edge[0]) / (flat[2] - flat[0]) == pytest.approx(2**0.5)


# ---- joining sentences ----------------------------------------------------------------------------------------------


def sentence(caption: str, *boxes: list[float], group: str = "p") -> dict:
    objects = [{"box_xyxy": box, "spans": [[0, len(caption)]], "label": caption} for box in boxes]
    return {"id": caption, "image": "a.png", "caption": caption, "objects": objects, "width": 9, "height": 9, "group": group}


def test_sentences_of_a_picture_are_joined_unless_they_share_a_box():
    left, right = [0, 0, 10, 10], [20, 0, 30, 10]
    rows = [sentence("a cup", left), sentence("the mug?", [0, 0, 10, 9]), sentence("the dog", right), sentence("cup", left, group="q")]
    found = merge.merged(rows)
    assert [row["caption"] for row in found] == ["a cup. the dog.", "the mug?", "cup."]
    assert said(found[0]) == [(["a cup"], left), (["the dog"], right)]
    assert found[0]["id"] == "a cup+1" and found[0]["group"] == "p" and "label" in found[0]["objects"][0]


def test_joined_captions_are_no_longer_than_asked_and_lose_no_box():
    draw = np.random.default_rng(0)
    rows = [
        sentence(" ".join(draw.choice(["red", "cup", "dog", "a"], size=draw.integers(1, 14))), [x, 0, x + 9.0, 9.0])
        for x in draw.integers(0, 300, 80).tolist()
    ]
    found = merge.merged(rows, longest=120)
    assert len(found) < 40 and max(len(row["caption"]) for row in found) <= 120
    assert sum(len(row["objects"]) for row in found) == 80
    assert sorted(words[0] for row in found for words, _ in said(row)) == sorted(row["caption"] for row in rows)
    for row in found:
        boxes = np.array([o["box_xyxy"] for o in row["objects"]], dtype=float)
        assert (merge.pair_iou(boxes, boxes) - np.eye(len(boxes))).max() <= 0.5


def test_rows_of_pictures_that_another_set_tests_on_can_be_left_out():
    rows = [sentence("a"), sentence("b", group="coco/3")]
    assert [row["id"] for row in merge.apart(rows, {"coco/3"})] == ["a"]


def test_any_source_of_groundings_can_be_joined(tmp_path):
    lines = ("a.png,a cup,a cup,1 2 30 40", "a.png,a dog,a dog,50 2 80 40")
    assert [row["caption"] for row in read(Data(table(tmp_path, *lines) + "?merge=yes"))] == ["a cup. a dog."]


def test_captions_of_one_picture_never_lie_on_both_sides_of_a_split(tmp_path):
    lines = [f"p{i // 4}.png,a cup {i},a cup,1 2 30 40" for i in range(40)]
    source = table(tmp_path, *lines)
    for i in range(10):
        picture(tmp_path / f"p{i}.png")
    sides = [{row["group"] for row in read(Data(source, part=part))} for part in ("train", "dev", "test")]
    assert [len(side) for side in sides] == [8, 1, 1] and not sides[0] & sides[1] and not sides[0] & sides[2]


def test_the_page_about_own_phrases_shows_what_its_table_gives(tmp_path):
    page = (pathlib.Path(__file__).parents[2] / "docs/own-phrases.md").read_text(encoding="utf-8")
    text, _, shown = re.findall(r"```(?:python)?\n(.*?)```", page, re.DOTALL)[:3]
    (tmp_path / "cups.csv").write_text(text)
    for name in ("desk", "street"):
        picture(tmp_path / f"{name}.jpg", (320, 240))
    assert list(builder.printed(read(Data(f"phrases:{tmp_path}/cups.csv")))) == shown.splitlines()
