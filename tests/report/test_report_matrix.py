"""Answers down, words across: what is asked of one text more than once stands together on the page, in the picture and in Python."""

import re

import numpy as np
import pytest

from pellucid.errors import BadData, BadUsage
from pellucid.explain import render
from pellucid.explained import Explained
from pellucid.report import matrix, page, picture, words
from pellucid.report.records import Explained as Record

READ = ["jump", "left", "twice"]
ROWS = {"I_TURN_LEFT@1": [0.0, 4.0, -1.0], "I_JUMP@2": [2.0, 0.0, 0.0], "I_TURN_LEFT@3": [0.001, 0.002, 0.004]}


def record(answer: str, relevance: list[float], **more) -> Record:
    told = {"set": "input", "id": "1", "prediction": "I_TURN_LEFT I_JUMP I_TURN_LEFT", "answer": answer, "score": np.log(0.5)}
    return told | {"words": READ, "methods": {"iba": {"relevance": relevance, "checks": {"deletion": 0.25}}}} | more  # type: ignore[return-value]


def found(**more):
    examples = [record(answer, relevance, **more) for answer, relevance in ROWS.items()]
    return {"site": "input", "score_unit": "log-probability", "num": 3, "passes": "", "summary": None, "examples": examples}


def one(**more) -> matrix.Matrix:
    (example,) = words.view(found(**more), "here").examples
    (only,) = example.matrices
    assert not example.methods and example.text == "jump left twice"
    return only


def test_each_row_is_an_answer_with_its_strongest_word_ringed_named_and_fullest():
    rows = one().rows
    assert [(row.place, row.name) for row in rows] == [("1", "I_TURN_LEFT"), ("2", "I_JUMP"), ("3", "I_TURN_LEFT")]
    assert [row.most for row in rows] == [("left", "+4.0"), ("jump", "+2.0"), ("twice", "+0.0040")]
    assert [[cell.best for cell in row.cells].index(True) for row in rows] == [1, 0, 2]
    assert [(cell.sign, cell.alpha) for cell in rows[0].cells] == [("", 0), ("pos", 1), ("neg", 0.25)]
    assert [row.share for row in rows] == [1, 0.5, 0.001] and {row.score for row in rows} == {"50.0%"}


def test_a_row_that_is_hardly_anything_beside_the_others_is_pale():
    assert [max(cell.alpha for cell in row.cells) for row in one().rows] == [1, 1, matrix.PALE]


def test_the_first_wrong_word_says_what_should_stand_there():
    assert [row.wanted for row in one(label="I_TURN_LEFT I_WALK I_TURN_LEFT").rows] == ["", "I_WALK", ""]
    assert [row.wanted for row in one(label="I_TURN_LEFT I_JUMP").rows] == ["", "", "the end"]
    assert not one(label="I_TURN_LEFT I_JUMP I_TURN_LEFT").corrected
    longer = words.view(found(label="I_TURN_LEFT I_JUMP I_TURN_LEFT I_JUMP"), "here").examples[0]
    assert longer.right is False and longer.label.endswith("I_TURN_LEFT I_JUMP")  # no row of its own: told above


def test_rows_of_another_text_set_output_or_method_do_not_join():
    a = record("I_JUMP@2", [1.0, 0.0, 0.0])
    assert matrix.together(a, record("I_TURN_LEFT@3", [0.0] * 3))
    others: list[dict] = [{"id": "2"}, {"set": "other"}, {"words": ["a", "b", "c"]}, {"prediction": "I_JUMP"}, {"answer": None}]
    others += [{"methods": {"lime": {"relevance": [0.0] * 3}}}, {"picture": {"grid": [1, 3]}}]
    assert not any(matrix.together(a, record(**{"answer": "I_TURN_LEFT@3", "relevance": [0.0] * 3} | more)) for more in others)
    assert not matrix.together(a, a)  # the same question again


def test_labels_have_no_place_and_an_at_sign_alone_is_no_place():
    assert [matrix.answer_of(text) for text in ("I_JUMP@12", "sports", "a@b", "@3", "x@y@1")] == [
        ("12", "I_JUMP"),
        ("", "sports"),
        ("", "a@b"),
        ("", "@3"),
        ("1", "x@y"),
    ]


def test_long_outputs_are_folded_and_nothing_is_lost():
    many = [record(f"w{k}@{k + 1}", [1.0, 0.0, 0.0]) for k in range(40)]
    text = page.explanations(found() | {"examples": many, "num": 40})
    assert "<summary>16 more</summary>" in text
    assert re.findall(r'<span class="name" dir="auto">(w\d+)</span>', text) == [f"w{k}" for k in range(40)]
    assert "more</summary>" not in page.explanations(found() | {"examples": many[:30], "num": 30})


def test_the_page_says_in_letters_and_numbers_what_colours_say_and_escapes_what_was_written():
    text = page.explanations(found(prediction="<b>", words=["<i>", "left", "twice"]))
    assert "3 explanations of 1 text" in text and "Each word is coloured by" not in text
    assert 'title="left, I_TURN_LEFT@1: 4.0"' in text and '<b dir="auto">left</b> +4.0' in text
    assert "<i>" not in text and "&lt;i&gt;" in text
    assert "Checks, word by word" in text


def test_numbers_that_do_not_fit_the_words_are_refused():
    examples = [*found()["examples"], record("I_JUMP@4", [1.0])]
    with pytest.raises(BadData, match="here: example '1', method 'iba': 1 numbers for 3 words; explain it again"):
        words.view(found() | {"examples": examples}, "here")


def test_the_information_flow_of_each_word_is_kept_with_the_first_method():
    flow = {"method": "iba", "unit": "nats", "sites": ["input", "memory"], "relevance": [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]}
    assert [answer for answer, _ in one(flow=flow).flows] == list(ROWS)
    assert page.explanations(found(flow=flow)).count("Information flow (IBA)") == 3


# ---- the same elsewhere -----------------------------------------------------------------------------------------------


def test_python_has_the_numbers_as_an_array_by_place_or_id():
    told = Explained(found())
    written, read, relevance = told.matrix("iba", "1")
    assert (written, read) == (["I_TURN_LEFT", "I_JUMP", "I_TURN_LEFT"], READ)
    np.testing.assert_array_equal(relevance, list(ROWS.values()))
    np.testing.assert_array_equal(told.matrix("iba", -1)[2], relevance)
    with pytest.raises(BadUsage, match="no example 'x'; there are 1 texts: 1"):
        told.matrix("iba", "x")
    with pytest.raises(BadUsage, match="no example 1"):
        told.matrix("iba", 1)
    with pytest.raises(BadUsage, match="not explained by 'lime'"):
        told.matrix("lime")


def test_the_picture_has_a_tile_for_each_cell_ringed_where_it_is_strongest():
    sheet = picture.Sheet(picture.LIGHT)
    picture._heat(sheet, matrix.drawn(one()))
    tiles = [m for m in sheet.marks if isinstance(m, picture.Box) and m.height == picture.TILE - 1]
    assert [t.outline == picture.LIGHT.ink for t in tiles] == [False, True, False, True, False, False, False, False, True]
    assert tiles[1].fill == picture.LIGHT.pos and tiles[2].fill == picture.LIGHT.ground("neg", 0.25)
    names = {m.text: m.y for m in sheet.marks if isinstance(m, picture.Letters)}
    assert names["jump"] < tiles[0].y and names["left +4.0"] > tiles[0].y  # words above, the strongest at the row's end


def test_the_terminal_fills_the_strongest_word_and_names_it():
    lines = render.matrix(list(ROWS.items()), READ, 60).plain.splitlines()
    assert lines[0].split() == READ
    assert lines[1] == "I_TURN_LEFT@1      ████ .....  left +4"
    assert lines[2].endswith("jump +2") and "████" in lines[2]
    narrow = render.matrix(list(ROWS.items()), READ, 41).plain.splitlines()
    assert len(narrow) == 2 * 4 and narrow[0].split() + narrow[4].split() == READ
    assert "left +4" not in narrow[1] and narrow[5].endswith("left +4")  # at the end of the row, and there alone
    assert all(len(line.rstrip()) <= 41 for line in narrow)
