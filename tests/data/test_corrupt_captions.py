"""Corrupted captions: spans go where their words go, what is negated has no box, and a copy depends on its own example alone."""

import itertools
import random
import re
import statistics

import pytest

from pellucid.data import corrupt
from pellucid.data.corrupt import CAPTIONS, SEVERITIES, TEXT, corrupt_caption, corrupt_text, rewording, traced
from pellucid.data.corrupt.captions import word_order
from pellucid.data.grounding import world, world_captions
from pellucid.errors import BadUsage
from pellucid.shift.corruption import corrupted, kinds_of

KINDS = [*TEXT, *CAPTIONS]


def row(caption, *phrases, **more):
    """A caption and one object for each phrase, which is found in it; of `a|b` both are spans of one object."""
    objects = []
    for i, phrase in enumerate(phrases):
        parts = [(m.start(), m.end()) for part in phrase.split("|") for m in [re.search(rf"(?<!\w){re.escape(part)}(?!\w)", caption)]]
        objects.append({"box_xyxy": [i, i, i + 1, i + 1], "spans": [list(part) for part in parts], "final": i == 0})
    return {"id": f"row {caption}", "image": "x.jpg", "caption": caption, "objects": objects, **more}


def said(found):
    return found["caption"], [[found["caption"][b:e] for b, e in thing["spans"]] for thing in found["objects"]]


def whole(caption, *phrases, kind="paraphrase", **more):
    return said(corrupt_caption(row(caption, *phrases, **more), kind, 5, 0))


ODD = [
    row("A man riding a horse near a red car.", "A man", "a horse", "a red car"),
    row("a 👩‍👩‍👧 and the left cup 🙂", "👩‍👩‍👧", "the left cup", "🙂"),
    row("הכלב השחור ליד הבית", "הכלב השחור", "הבית"),
    row("the Straße, naïve\tcafé's  red sign", "Straße", "café's  red sign"),
    row("I", "I", expression=True),
    {**row("no spans here"), "absent": [[3, 8]]},
]


@pytest.fixture(scope="module")
def rows():
    return world.read("train", {"num": "16", "size": "64", "captions": "3", "absent": "0.1"}) + ODD


# ---- spans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_spans_lie_in_the_caption_in_order_and_begin_and_end_with_letters(kind, severity, rows):
    for before in rows:
        found = corrupt_caption(before, kind, severity, 0)
        assert found["caption"].strip()
        assert len(found["objects"]) == len(before["objects"]) or kind == "negation"
        for thing in [*found["objects"], *found.get("phrases", ())]:
            flat = list(itertools.chain(*thing["spans"]))
            assert flat == sorted(flat) and flat and flat[-1] <= len(found["caption"])
            for b, e in thing["spans"]:
                assert b < e and found["caption"][b:e].strip() == found["caption"][b:e]


@pytest.mark.parametrize("kind", ["swap", "word_order"])
def test_moved_words_stay_in_their_spans(kind, rows):
    for before in rows:
        found = corrupt_caption(before, kind, 5, 1)
        for old, new in zip(said(before)[1], said(found)[1], strict=True):
            assert sorted("".join(old).replace(" ", "")) == sorted(re.sub(r"\s", "", "".join(new))) or re.search(
                r"\W\s|\W$", before["caption"]
            )


def test_a_span_is_cut_in_pieces_where_other_words_come_between():
    pieces = [
        *traced.part("the red cup there", 0, 4),
        *traced.part("the red cup there", 12, 17),
        *traced.written(" "),
        *traced.part("the red cup there", 4, 11),
    ]
    assert traced.text_of(pieces) == "the there red cup"
    assert traced.spans_in(pieces, [[0, 11]]) == [[0, 3], [10, 17]]
    assert traced.spans_in(pieces, [[12, 17]]) == [[4, 9]]


def test_new_words_between_a_spans_own_are_its_own_and_those_beside_it_are_not():
    text = "the red cup"
    pieces = [
        *traced.written("see "),
        *traced.part(text, 0, 4),
        *traced.written("very "),
        *traced.part(text, 4, 11),
        *traced.written(" now"),
    ]
    assert traced.spans_in(pieces, [[0, 11]]) == [[4, 20]]
    assert traced.text_of(pieces)[4:20] == "the very red cup"


@pytest.mark.parametrize("kind", TEXT)
def test_a_caption_is_spoiled_as_any_text_is_but_for_words_put_back(kind, rows):
    same = 0
    for before in rows:
        found = corrupt_caption(before, kind, 3, 4)["caption"]
        text = corrupt_text(before["caption"], kind, 3, 4, f"{before['id']}\0caption")
        assert found == text or (kind in ("drop", "typos") and (len(found) > len(text) or text == before["caption"]))
        same += found == text
    assert same > 0.6 * len(rows)


def test_of_a_phrase_whose_words_are_all_dropped_the_last_stays_where_it_was():
    dropped = {
        corrupt_caption(row("see a dog under the table now", "a dog", "the table") | {"id": i}, "drop", 5, 0)["caption"] for i in range(300)
    }
    assert all(re.search(r"\b(a|dog)\b.*\b(the|table)\b", caption) for caption in dropped)
    assert {"dog table", "see a dog under the table now"} <= dropped
    assert not any("  " in caption or caption != caption.strip() for caption in dropped)
    text = "I see"
    assert traced.text_of(traced.with_words_of([("", 0), *traced.part(text, 1, 5)], text, [[(0, 1)]])) == text


# ---- paraphrase ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "phrases", "after"),
    [
        ("the left cup", ["the left cup"], ("the mug on the left", [["the mug on the left"]])),
        ("the top shelf", ["the top shelf"], ("the shelf at the top", [["the shelf at the top"]])),
        ("the blue bird", ["the blue bird"], ("the bird that is azure", [["the bird that is azure"]])),
        ("two blue birds", ["two blue birds"], ("2 azure birds", [["2 azure birds"]])),
        ("the two blue birds", ["the two blue birds"], ("the 2 birds that are azure", [["the 2 birds that are azure"]])),
        ("an orange car", ["an orange car"], ("an automobile that is tangerine", [["an automobile that is tangerine"]])),
        ("the leftmost diamond", ["the leftmost diamond"], ("the rhombus farthest to the left", [["the rhombus farthest to the left"]])),
        (
            "the couch left of the tv",
            ["the couch", "the tv"],
            ("the sofa that has the television to its right", [["the sofa"], ["the television"]]),
        ),
        (
            "the cup between a fork and a dish",
            ["the cup", "a fork", "a dish"],
            ("the mug with a fork on one side and a dish on the other", [["the mug"], ["a fork"], ["a dish"]]),
        ),
        ("a fox chasing a hen", ["a fox", "a hen"], ("a hen chased by a fox", [["a fox"], ["a hen"]])),
        ("A fox is chasing the hens", ["A fox", "the hens"], ("The hens are chased by a fox", [["a fox"], ["The hens"]])),
        ("a black man", ["a black man"], ("a black guy", [["a black guy"]])),
        ("cars cross the street", ["cars"], ("automobiles cross the street", [["automobiles"]])),
        ("גשר ישן 🙂", ["גשר ישן"], ("גשר ישן 🙂", [["גשר ישן"]])),
    ],
)
def test_a_caption_is_said_otherwise(before, phrases, after):
    caption, spans = whole(before, *phrases)
    assert caption.replace("gentleman", "guy") == after[0]
    assert [[span.replace("gentleman", "guy") for span in several] for several in spans] == after[1]


def test_what_a_caption_asks_for_stays_its_first_thing():
    assert whole("the fox chasing a hen", "the fox", "a hen", expression=True) == (
        "the fox that is chasing a hen",
        [["the fox"], ["a hen"]],
    )
    assert whole("the foxes chasing a hen", "the foxes", "a hen", expression=True)[0] == "the foxes that are chasing a hen"


def test_a_pronoun_still_stands_for_what_it_stood_for():
    caption, spans = whole("a blue bird and the car left of it", "a blue bird|it", "the car")
    assert (caption, spans) == ("a bird that is azure and the automobile left of it", [["a bird that is azure", "it"], ["the automobile"]])


def test_the_world_is_said_otherwise_in_words_that_mean_the_same():
    back = {
        other: word
        for word, others in {**rewording.COLOURS, **{"circle": ("disc", "disk"), "square": ("box",), "cross": ("plus sign",)}}.items()
        for other in others
    }
    back |= {
        "rhombus": "diamond",
        "three-sided figure": "triangle",
        "tiny": "small",
        "little": "small",
        "big": "large",
        "stripy": "striped",
    }
    for before in world.read("dev", {"num": "25", "size": "64", "kinds": "plain,size,pattern"}):
        after = corrupt_caption(before, "paraphrase", 5, 0)["caption"]
        for other, word in back.items():
            after = re.sub(rf"(?<![\w-]){other}(?![\w-])", word, after)
        after = after.replace("spotted", "dotted").replace("figure", "shape")
        shown = re.sub(r"^the (.*?)(\w+) that is (\w+)$", r"the \1\3 \2", after)
        assert shown == before["caption"]


def test_no_caption_of_the_world_with_a_colour_a_size_or_a_shape_stays_as_it_was():
    wanted = {*world_captions.COLOURS, *world_captions.SHAPES, *world_captions.SIZES}
    some = world.read("train", {"num": "9", "size": "64", "captions": "4"})
    assert all(
        corrupt_caption(r, "paraphrase", 5, 0)["caption"] != r["caption"] for r in some if wanted & set(re.findall(r"\w+", r["caption"]))
    )


# ---- negation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "phrases", "found"),
    [
        ("the cup", ["the cup"], {"no cup"}),
        ("A cup", ["A cup"], {"No cup"}),
        ("cups", ["cups"], {"no cups"}),
        ("the red cup", ["the red cup"], {"no red cup", "the red cup that is not red"}),
        ("the red cups", ["the red cups"], {"no red cups"}),
        ("it", ["it"], {"nothing"}),
        ("a cup by a plate", ["a cup", "a plate"], {"no cup by no plate"}),
    ],
)
def test_all_phrases_are_negated_at_the_highest_severity_and_no_box_is_right(before, phrases, found):
    copies = [corrupt_caption(row(before, *phrases) | {"id": i}, "negation", 5, 0) for i in range(30)]
    assert {copy["caption"] for copy in copies} == found
    assert all(copy["objects"] == [] for copy in copies)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_severity_is_the_share_of_phrases_that_lose_their_box(severity):
    before = row("a cup, a plate, a fork and a knife", "a cup", "a plate", "a fork", "a knife")
    copies = [corrupt_caption(before | {"id": i}, "negation", severity, 0) for i in range(150)]
    for copy in copies:
        left = [text for (text,) in said(copy)[1]]
        assert len(left) + len(re.findall(r"\bno \w+", copy["caption"])) == 4
        assert not any(f"no {text.split()[1]}" in copy["caption"] for text in left)
    assert 1 - statistics.mean(len(copy["objects"]) for copy in copies) / 4 == pytest.approx(severity / 5, abs=0.06)


def test_an_expression_loses_what_it_asks_for_and_keeps_what_it_mentions():
    before = row("the cup left of the plate", "the cup", "the plate", expression=True, answer={"type": "obj", "value": "cup"})
    found = corrupt_caption(before, "negation", 5, 0)
    assert said(found) == ("no cup left of the plate", [["the plate"]])
    assert "expression" not in found and "answer" not in found and before["expression"]


def test_a_phrase_within_a_negated_one_and_one_around_it_lose_their_boxes_too():
    before = row("the man in a hat", "the man in a hat", "a hat")
    for i in range(30):
        found = corrupt_caption(before | {"id": i}, "negation", 2, 0)
        assert found["objects"] == [] if found["caption"] != before["caption"] else found["objects"] == before["objects"]


def test_what_is_spoken_of_again_takes_the_rest_with_it():
    before = row("a cup and the plate below it", "a cup|it", "the plate")
    found = {corrupt_caption(before | {"id": i}, "negation", 3, 0)["caption"] for i in range(40)}
    assert found == {before["caption"], "no cup and no plate below it", "a cup and no plate below it"}


def test_the_phrases_of_a_row_go_with_its_objects(rows):
    for before in rows:
        found = corrupt_caption(before, "negation", 3, 0)
        if "phrases" in found:
            spans = {str(thing["spans"]) for thing in found["objects"]}
            assert {str(phrase["spans"]) for phrase in found["phrases"]} == spans


# ---- word order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "moved"), [(0.2, 2), (0.5, 5), (1.0, 10)])
def test_the_stated_share_of_words_leaves_its_place_and_none_is_lost(rate, moved):
    words = [f"w{i}" for i in range(10)]
    found = word_order({"id": 1, "caption": " ".join(words), "objects": []}, rate, random.Random(0))["caption"].split()
    assert sorted(found) == sorted(words)
    assert sum(a != b for a, b in zip(found, words, strict=True)) == moved


def test_one_word_stays_and_spaces_keep_their_place():
    assert whole("cup", "cup", kind="word_order") == ("cup", [["cup"]])
    assert whole("big  cup", "cup", kind="word_order") == ("cup  big", [["cup"]])


# ---- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_depends_on_the_example_seed_kind_and_severity_alone_and_leaves_the_example_as_it_was(kind, rows):
    shown = repr(rows[:20])
    first = corrupted(rows[:20], kind, 2, seed=3)
    assert first[::-1] == corrupted(rows[:20][::-1], kind, 2, seed=3)
    assert [r["caption"] for r in first] != [r["caption"] for r in corrupted(rows[:20], kind, 2, seed=4)]
    assert repr(rows[:20]) == shown


@pytest.mark.parametrize("kind", CAPTIONS)
def test_a_higher_severity_changes_more_captions_words(kind, rows):
    def changed(severity):
        copies = [(before, corrupt_caption(before, kind, severity, seed)) for before in rows[::3] for seed in range(6)]
        pairs = [(old["caption"].split(), new["caption"].split()) for old, new in copies]
        return sum(a != b for old, new in pairs for a, b in itertools.zip_longest(old, new))

    counts = [changed(severity) for severity in SEVERITIES]
    assert counts == sorted(counts) and counts[0] > 0 and counts[-1] > 1.5 * counts[0]


def test_a_row_of_picture_and_caption_has_the_corruptions_of_both():
    kinds = kinds_of(ODD)
    assert kinds == [*TEXT, *CAPTIONS, *corrupt.PICTURES]
    (fog,), (typos,) = corrupted(ODD[:1], "fog", 2), corrupted(ODD[:1], "typos", 5)
    assert fog["caption"] == ODD[0]["caption"] and fog["corruption"]["kind"] == "fog"
    assert typos["caption"] != ODD[0]["caption"] and "corruption" not in typos


def test_what_has_no_caption_is_refused_by_name():
    with pytest.raises(BadUsage, match="'a' has no caption; negation needs it"):
        corrupted([{"id": "a", "text": "the cup"}], "negation", 1)
    with pytest.raises(BadUsage, match="did you mean 'paraphrase'"):
        corrupt_caption(ODD[0], "paraphrases", 1, 0)
    with pytest.raises(BadUsage, match="severity 6"):
        corrupt_caption(ODD[0], "negation", 6, 0)
    assert corrupt.find("caption", "negation", 5).about.startswith("Negates a share")
