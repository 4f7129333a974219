"""The generated world of shapes: what a caption says is true of the picture and of nothing else in it, and held combinations stay back."""

import io
import itertools
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pellucid.data.read import read
from pellucid.errors import BadUsage
from pellucid.recipe import Data
from unchecked import unchecked

_, CAPTIONS, WORLD = unchecked("pellucid.data.paint", "pellucid.data.grounding.world_captions", "pellucid.data.grounding.world")
HELD = set(WORLD.HELD)
VOCABULARY = CAPTIONS.VOCABULARY
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "white", "black"]
SHAPES = ["circle", "square", "triangle", "diamond", "cross"]


def rows_of(part, **options):
    return WORLD.read(part, {name: str(value) for name, value in options.items()})


@pytest.fixture(scope="module")
def rows():
    return rows_of("train", num=70, captions=6, absent=0.1)


@pytest.fixture(scope="module")
def new():
    return rows_of("combinations", num=50, captions=3)


# ---- a reader of captions that knows nothing of how they are made --------------------------------------------------------

NOUN = re.compile(
    r"\b(?P<article>the|an?) (?:(?P<count>two|three|four) |(?P<place>\w+th|first|second|third) |(?P<most>\w+most|\w+est) )?"
    r"(?:(?P<size>small|large) )?(?:(?P<pattern>plain|striped|dotted) )?"
    rf"(?:(?P<colour>{'|'.join(COLOURS)}) )?(?P<shape>{'|'.join(SHAPES)}|shape)(?:e?s)?\b"
)
ORDER = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]


def middle(thing):
    x0, y0, x1, y1 = thing["box_xyxy"]
    return (x0 + x1) / 2, (y0 + y1) / 2


def side_of(things, i, side):
    x, y = middle(things[i])
    return {"left": x, "right": -x, "top": y, "bottom": -y}[side]


def called(noun, things):
    told = {k: noun[k] for k in ("size", "pattern", "colour") if noun[k]}
    told |= {"shape": noun["shape"]} if noun["shape"] != "shape" else {}
    return [i for i, thing in enumerate(things) if all(thing[k] == v for k, v in told.items())]


def meant(noun, caption, things, nouns):
    """Which things a noun phrase of a caption can mean, read as generously as anyone would."""
    some, tail = called(noun, things), caption[noun.end() :]
    if noun["most"]:
        side = noun["most"].removesuffix("most")
        if noun["most"] in ("largest", "smallest"):
            widths = {i: things[i]["box_xyxy"][2] - things[i]["box_xyxy"][0] for i in some}
            best = max(widths.values()) if noun["most"] == "largest" else min(widths.values())
            return [i for i in some if abs(widths[i] / best - 1) < 0.1]
        nearest = min(side_of(things, i, side) for i in some)
        return [i for i in some if side_of(things, i, side) < nearest + 3]
    if noun["place"]:
        side = re.match(r" from the (\w+)", tail)[1]
        row = sorted(some, key=lambda i: side_of(things, i, side))
        at = row[ORDER.index(noun["place"])]
        return [i for i in some if abs(side_of(things, i, side) - side_of(things, at, side)) < 3]
    if found := re.match(r" (left of|right of|above|below) ", tail):
        behind = nouns[0] if tail[found.end() :].startswith("it") else next(n for n in nouns if n.start() == noun.end() + found.end())
        (anchor,) = meant(behind, caption[: behind.end()], things, nouns)
        side = {"left of": "left", "right of": "right", "above": "top", "below": "bottom"}[found[1]]
        return [i for i in some if i != anchor and side_of(things, i, side) < side_of(things, anchor, side)]
    if tail.startswith(" between "):
        ends = [meant(n, caption[: n.end()], things, nouns)[0] for n in nouns[1:]]
        a, b = (np.array(middle(things[i])) for i in ends)
        shares = {i: (np.array(middle(things[i])) - a) @ (b - a) / ((b - a) @ (b - a)) for i in some if i not in ends}
        return [i for i, share in shares.items() if 0 < share < 1]
    return some


def understood(row):
    """(span, things) of every noun phrase of a row's caption, by the reader above."""
    nouns = list(NOUN.finditer(row["caption"]))
    return [(n, meant(n, row["caption"], row["things"], nouns)) for n in nouns]


def told(row):
    """(span, boxes) as the row has it; nothing for phrases that nothing is called."""
    found = {}
    for thing in row["objects"]:
        for span in thing["spans"]:
            found.setdefault(tuple(span), []).append(thing["box_xyxy"])
    return found | {tuple(span): [] for span in row.get("absent", ())}


# ---- captions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["rows", "new"])
def test_every_phrase_means_the_boxes_it_has_and_nothing_else_in_the_picture(which, request):
    for row in request.getfixturevalue(which):
        here = told(row)
        for noun, things in understood(row):
            boxes = [row["things"][i]["box_xyxy"] for i in things]
            assert sorted(here.pop(noun.span())) == sorted(boxes), (row["caption"], noun[0])
            assert len(boxes) == {None: min(1, len(boxes)), "two": 2, "three": 3, "four": 4}[noun["count"]], row["caption"]
        assert all(row["caption"][b:e] == "it" for b, e in here), row["caption"]


def test_of_a_relation_there_are_others_of_that_name_so_that_it_must_be_read(rows):
    for row in rows:
        if row["kind"] in ("relation", "between", "size", "pattern", "ordinal", "superlative"):
            noun = next(NOUN.finditer(row["caption"]))
            bare = {"article": "the", "size": None, "pattern": None, "colour": noun["colour"], "shape": noun["shape"]}
            assert len(called(bare, row["things"])) > 1, row["caption"]


def test_a_list_of_all_words_is_answered_by_each_thing_with_what_it_is_and_leaves_the_other_captions_as_they_were():
    some = rows_of("train", num=12, captions=2, listed="yes")
    lists = [row for row in some if row["kind"] == "listed"]
    assert len(lists) == 12 and [row for row in some if row["kind"] != "listed"] == rows_of("train", num=12, captions=2)
    for row in lists:
        words = row["caption"].split(" ")
        assert words == ["small", "large", "plain", "striped", "dotted", *COLOURS, *SHAPES]
        found = {tuple(o["box_xyxy"]): {row["caption"][b:e] for b, e in o["spans"]} for o in row["objects"]}
        assert found == {tuple(t["box_xyxy"]): {t[k] for k in ("size", "pattern", "colour", "shape")} for t in row["things"]}
        assert {row["caption"][b:e] for b, e in row["absent"]} == set(words) - set().union(*found.values())


def test_a_list_of_all_words_may_stand_alone():
    some = rows_of("train", num=12, listed="only")
    assert {row["kind"] for row in some} == {"listed"}
    assert [row["image"] for row in some] == [row["image"] for row in rows_of("train", num=12)]


def test_the_vocabulary_of_the_world_is_that_of_its_captions():
    some = rows_of("train", num=400, captions=8, size=64, absent=0.1, listed="yes", held="none") + rows_of(
        "train", num=40, captions=4, merge="yes"
    )
    found = {word for row in some for word in re.findall(r"\w+|[^\w\s]", row["caption"])}
    assert found <= set(VOCABULARY) and len(VOCABULARY) == len(set(VOCABULARY))
    assert set(VOCABULARY) - found <= {"sixth", "seventh", "eighth"}


def test_a_pronoun_is_a_second_span_of_what_it_stands_for(rows):
    some = [row for row in rows if row["kind"] == "pronoun"]
    for row in some:
        first = next(o for o in row["objects"] if len(o["spans"]) == 2)
        (b, e), (b2, e2) = first["spans"]
        assert row["caption"][b2:e2] == "it" and e2 == len(row["caption"])
        assert row["caption"][b:e].split()[0] in ("a", "an") and b == 0
    assert len(some) > 10


def test_captions_of_one_box_are_expressions_and_say_which_box_is_the_asked(rows):
    for row in rows:
        asked = [o for o in row["objects"] if o["final"]]
        assert row.get("expression", False) == (row["kind"] in CAPTIONS.EXPRESSIONS)
        if row.get("expression"):
            assert len(asked) == 1 and asked[0]["spans"][0][0] == 0
            assert len(row["objects"]) == {"relation": 2, "between": 3}.get(row["kind"], 1)
        else:
            assert asked == row["objects"]


def test_all_kinds_are_met_about_equally_and_one_can_be_asked_for():
    kinds = Counter(row["kind"] for row in rows_of("dev", num=200, size=64))
    assert set(kinds) == set(CAPTIONS.KINDS) and min(kinds.values()) > 6
    some = rows_of("train", num=20, size=64, kinds="between,ordinal")
    assert {row["kind"] for row in some} == {"between", "ordinal"}


def test_a_vowel_takes_an():
    articles = {
        tuple(noun[0].split()[:2]) for row in rows_of("train", num=150, size=64, kinds="several") for noun in NOUN.finditer(row["caption"])
    }
    assert ("an", "orange") in articles and ("a", "red") in articles
    assert all((article == "an") == (word == "orange") for article, word in articles)


def test_phrases_that_nothing_is_called_have_no_box_and_the_share_that_was_asked_for():
    some = rows_of("test", num=120, size=64, absent=0.4)
    lacking = [row for row in some if row["kind"] == "absent"]
    assert len(lacking) / len(some) == pytest.approx(0.4, abs=0.12)
    assert all(row["absent"] and "expression" not in row for row in lacking)
    assert {len(row["objects"]) for row in lacking} == {0, 1}
    assert all("absent" not in row for row in some if row["kind"] != "absent")
    for row in lacking:
        ((b, e),) = row["absent"]
        *_, colour, shape = row["caption"][b:e].split()
        assert colour in {t["colour"] for t in row["things"]} and shape in {t["shape"] for t in row["things"]}


def test_things_mentioned_in_passing_can_be_left_out():
    some, all_of_it = (rows_of("train", num=20, kinds="relation", mentioned=m) for m in ("no", "yes"))
    assert [row["caption"] for row in some] == [row["caption"] for row in all_of_it]
    for less, more in zip(some, all_of_it, strict=True):
        assert less["objects"] == [o for o in more["objects"] if o["final"]]
        assert [p["kind"] for p in more["phrases"]] == ["relation", "mentioned"] and len(less["phrases"]) == 1


# ---- combinations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_held_combinations_are_in_no_picture_and_no_caption(part):
    for row in rows_of(part, num=150, size=64, absent=0.5):
        assert not HELD & {(t["colour"], t["shape"]) for t in row["things"]}
        assert not HELD & {(n["colour"], n["shape"]) for n in NOUN.finditer(row["caption"])}


def test_new_combinations_are_what_is_asked_for_by_both_words(new):
    met = set()
    for row in new:
        asked = {tuple(span) for o in row["objects"] if o["final"] for span in o["spans"]}
        found = {(n["colour"], n["shape"]) for n in NOUN.finditer(row["caption"]) if n.span() in asked} & HELD
        assert found, row["caption"]
        met |= found
    assert met == HELD


def test_every_other_combination_every_colour_and_every_shape_is_met_in_training():
    there = {(t["colour"], t["shape"]) for row in rows_of("train", num=180, size=64) for t in row["things"]}
    assert there == set(itertools.product(COLOURS, SHAPES)) - HELD


def test_other_combinations_can_be_held_back():
    mine = {("red", "circle"), ("blue", "cross")}
    for row in rows_of("train", num=60, size=64, held="red-circle,blue-cross"):
        assert not mine & {(t["colour"], t["shape"]) for t in row["things"]}
    for row in rows_of("combinations", num=15, size=64, held="red-circle,blue-cross", kinds="plain"):
        assert row["caption"] in ("the red circle", "the blue cross")
    assert HELD & {(t["colour"], t["shape"]) for row in rows_of("train", num=60, size=64, held="none") for t in row["things"]}


# ---- pictures ------------------------------------------------------------------------------------------------------


def pixels(row):
    return np.asarray(Image.open(io.BytesIO(row["image"]))).astype(float)


def test_a_box_is_where_the_pixels_differ_from_the_ground_and_nowhere_else():
    for row in rows_of("test", num=12):
        values, inside = pixels(row), np.zeros((128, 128), bool)
        for thing in row["things"]:
            x0, y0, x1, y1 = thing["box_xyxy"]
            assert min(x0, y0) >= 0 and max(x1, y1) <= 128
            inside[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] = True
        y, x = np.mgrid[:128, :128]
        plane = np.stack([x, y, np.ones_like(x)], -1).astype(float)
        ground = plane @ np.linalg.lstsq(plane[~inside], values[~inside], rcond=None)[0]
        differs = np.abs(values - ground).max(-1) > 16
        assert differs[~inside].mean() < 0.001
        for thing in row["things"]:
            x0, y0, x1, y1 = thing["box_xyxy"]
            part = differs[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
            rows_in, columns_in = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            seen = columns_in[0] + int(x0), rows_in[0] + int(y0), columns_in[-1] + 1 + int(x0), rows_in[-1] + 1 + int(y0)
            assert seen == pytest.approx((x0, y0, x1, y1), abs=1.6)


def test_things_look_as_they_are_called():
    for row in rows_of("test", num=40):
        values = pixels(row)
        for thing in row["things"]:
            x, y = (round(v) for v in middle(thing))
            patch = values[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
            red, green, blue = patch[patch.sum(1).argsort()[-5:]].mean(0)  # where a pattern is lightest
            grey = max(red, green, blue) - min(red, green, blue) < 30
            name = thing["colour"]
            assert grey == (name in ("white", "black"))
            if grey:
                assert (red > 160) == (name == "white")
            else:
                hue = {"red": red > 3 * max(green, blue), "orange": 1.5 * green < red < 3 * green, "yellow": green > 0.75 * red > blue}
                hue |= {"green": green > 1.5 * max(red, blue), "blue": blue > 1.3 * max(red, green) and green > red}
                hue |= {"purple": blue > 1.5 * green and red > 1.4 * green and blue > red}
                assert hue[name], (name, red, green, blue)


def test_a_row_depends_on_its_part_number_and_options_alone():
    some, more = rows_of("train", num=2), rows_of("train", num=4)
    assert some == more[:2]
    assert rows_of("train", num=2, captions=3)[0] == {**some[0], "id": some[0]["id"] + ".1"}
    others = [rows_of("train", num=2, seed=1), rows_of("dev", num=2)]
    assert len({row["image"] for row in itertools.chain(some, *others)}) == 6
    assert len({row["group"] for row in itertools.chain(some, *others)}) == 6
    assert rows_of("train", num=2, group="no") == [{key: value for key, value in row.items() if key != "group"} for row in some]


def test_captions_of_one_picture_share_it_and_differ(rows):
    for _, some in itertools.groupby(rows, lambda row: row["group"]):
        mine = list(some)
        assert len({id(row["image"]) for row in mine}) == 1 and 2 < len(mine) <= 6
        assert len({(row["caption"], row["kind"]) for row in mine}) == len(mine) == len({row["id"] for row in mine})
    sizes = Counter(len(row["things"]) for row in rows)
    assert set(sizes) == set(range(3, 9))


def test_a_larger_picture_has_larger_things():
    small, large = (rows_of("train", num=4, size=s) for s in (64, 256))
    assert all((row["width"], row["height"]) == (256, 256) and pixels(row).shape == (256, 256, 3) for row in large)
    widths = [np.mean([t["box_xyxy"][2] - t["box_xyxy"][0] for row in some for t in row["things"]]) for some in (small, large)]
    assert 3 < widths[1] / widths[0] < 5


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("trian", "no such part; did you mean 'train'"),
        ("train?num=0", "num=0: expected a whole number from 1"),
        ("train?size=32", "size=32: expected a whole number from 64 to 1024"),
        ("train?held=red", "'red' is no COLOUR-SHAPE"),
        ("train?held=rde-circle", "did you mean 'red'"),
        ("train?held=" + ",".join(f"red-{s}" for s in SHAPES[:4]), "fewer than two combinations with 'red'"),
        ("combinations?held=none", "nothing is held back"),
        ("train?absent=2", "absent=2: expected a number from 0 to 1"),
        ("train?absent=few", "absent=few: expected a number"),
        ("train?kinds=plain,ordnial", "did you mean 'ordinal'"),
        ("train?captoins=2", "did you mean 'captions'"),
        ("train?mentioned=maybe", "expected yes or no"),
        ("train?scale=3", "scale=3: expected a number from 1 to 2"),
        ("train?most=9", "most=9: expected a whole number from 3 to 8"),
    ],
)
def test_a_wrong_option_is_refused_in_a_line_that_names_it(source, message):
    with pytest.raises(BadUsage, match=message):
        read(Data(f"grounding-world:{source}"))


def test_few_large_things_are_larger_and_fewer_and_a_picture_s_captions_may_be_one():
    usual, few = (read(Data(f"grounding-world:train?num=12&captions=3{more}")) for more in ("", "&scale=1.7&most=4"))
    area = [[(b[2] - b[0]) * (b[3] - b[1]) for row in rows for b in (o["box_xyxy"] for o in row["things"])] for rows in (usual, few)]
    assert max(len(row["things"]) for row in few) == 4 < max(len(row["things"]) for row in usual)
    assert sum(area[1]) / len(area[1]) > 2 * sum(area[0]) / len(area[0])
    joined = read(Data("grounding-world:train?num=12&captions=3&merge=yes"))
    assert len(joined) < len(usual) and sum(len(row["objects"]) for row in joined) == sum(len(row["objects"]) for row in usual)
