"""Generated sentences are COGS's grammar with their right logical forms, and what a kind tests is not in training."""

import collections
import functools
import logging
from typing import Any

import pytest

from pellucid.data.cogs_kinds import EXPOSURES, KINDS, LEXICAL, RECURSIONS
from pellucid.data.read import read
from pellucid.errors import BadUsage
from pellucid.recipe import Data
from unchecked import unchecked

GRAMMAR, LIKE = unchecked("pellucid.data.cogs_grammar", "pellucid.data.cogs_like")
parsed, lexicon = GRAMMAR.parsed, GRAMMAR.lexicon


@functools.cache
def rows(part: str, options: str) -> list[dict[str, Any]]:
    return LIKE.read(part, dict(pair.split("=") for pair in options.removeprefix("?").split("&")))


@functools.cache
def training() -> list[tuple[str, Any]]:
    """Category and structure of the rows that are sentences."""
    return [(row["category"], parsed(row["text"])) for row in rows("train", "?num=2000") if row["category"] != "primitive"]


def uses(sentence: Any) -> set[tuple[str, str]]:
    """Every word with its use: nouns and names by role, subject or not and the innermost frame; verbs by frame."""
    found = {(lemma, "agent ccomp") for _, lemma in sentence.outer} | {(sentence.verb, sentence.frame)}
    found |= {(noun, f"subject of {lemma}") for phrase, lemma in sentence.outer for _, noun in phrase.nouns}
    for k, (role, phrase) in enumerate(zip(GRAMMAR.roles_of(sentence.frame), sentence.phrases, strict=True)):
        found.add((phrase.nouns[0][1], "object" if k else f"subject of {sentence.frame}"))
        found |= {(noun, "place") for _, noun in phrase.nouns[1:]}
        found |= {("noun", f"{role} with places at {min(k, 1)}")} if phrase.prepositions else set()
    if sentence.infinitive:
        found.add((sentence.infinitive, "infinitive"))
    return found


@pytest.mark.parametrize("part", ["train?num=400", "dev?num=50", "gen?num=210"])
def test_logical_forms_are_what_the_oracle_reads_off_the_sentence(part):
    name, _, options = part.partition("?")
    found = rows(name, f"?{options}")
    assert len(found) == int(options.removeprefix("num="))
    for row in found:
        assert row["label"] == GRAMMAR.logical_form(row["text"])


def test_the_same_seed_gives_the_same_rows_and_another_gives_others():
    first, second, other = (read(Data(f"cogs-like:dev?num=30&seed={seed}")) for seed in (1, 1, 2))
    assert first == second
    assert len({row["text"] for row in first} & {row["text"] for row in other}) < 15


def test_a_part_begins_alike_whatever_its_size():
    assert [row["text"] for row in rows("pp_recursion", "?num=30")] == [row["text"] for row in rows("pp_recursion", "?num=60")][:30]


@pytest.mark.parametrize("seeds", [(0, 0), (1, 2)])
def test_no_sentence_is_in_two_parts_or_twice_in_one_whatever_the_seeds(seeds):
    dev, test = (f"?num=200&seed={seed}" for seed in seeds)
    sources = [("train", "?num=2000"), ("dev", dev), ("test", test), ("gen", "?num=420")]
    texts = [row["text"] for part, options in sources for row in rows(part, options)]
    assert len(set(texts)) == len(texts) == 2000 + 2 * 200 + 420
    for part, options in sources[1:3]:
        assert {LIKE._part_of(parsed(row["text"])) for row in rows(part, options)} == {part}


def test_training_has_every_primitive_and_exposure_example_once_and_anywhere():
    categories = [row["category"] for row in rows("train", "?num=2000")]
    assert collections.Counter(categories) == {"primitive": 143, **dict.fromkeys(EXPOSURES, 1), "in_distribution": 2000 - 155}
    assert 30 < categories[:1000].count("primitive") < 113


def test_every_word_of_every_part_occurs_in_training():
    known = {word.lower() for row in rows("train", "?num=2000") for word in row["text"].split()}
    for part, options in [("dev", "?num=200"), ("test", "?num=200"), ("gen", "?num=420")]:
        assert {word.lower() for row in rows(part, options) for word in row["text"].split()} <= known


def test_training_has_every_verb_in_every_frame_that_is_not_tested():
    known = {(lemma, frame) for _, sentence in training() for lemma, frame in uses(sentence)}
    for verb in lexicon().verbs.values():
        if verb.lemma not in LIKE.HELD_OUT:
            assert {(verb.lemma, frame) for frame, count in verb.uses.items() if count} <= known


def test_a_word_held_out_is_in_training_in_its_exposure_example_and_alone_only():
    for category, sentence in training():
        words = {word for word, _ in uses(sentence)} & LIKE.HELD_OUT
        assert words == ({LIKE.EXPOSED[category].word} if category in EXPOSURES else set())


SUBJECT_FRAMES = ("agent theme", "agent recipient theme", "agent theme recipient", "agent xcomp", "agent")
HELD = {  # how the tested word is used, where it is not object, subject of any frame or a verb in its frame
    "only_seen_as_transitive_subj_as_unacc_subj": {"subject of theme"},
    "only_seen_as_unacc_subj_as_obj_omitted_transitive_subj": {"subject of agent"},
    "only_seen_as_unacc_subj_as_unerg_subj": {"subject of agent"},
    "subj_to_obj_common": {"object"},
    "subj_to_obj_proper": {"object"},
    "prim_to_obj_common": {"object"},
    "prim_to_obj_proper": {"object"},
    "prim_to_inf_arg": {"infinitive"},
    "active_to_passive": {"was theme", "was theme agent"},
    "passive_to_active": {"agent theme"},
    "obj_omitted_transitive_to_transitive": {"agent theme"},
    "unacc_to_transitive": {"agent theme"},
    "do_dative_to_pp_dative": {"agent theme recipient"},
    "pp_dative_to_do_dative": {"agent recipient theme"},
}
WORDS = {
    "subj_to_obj_common": "hedgehog",
    "subj_to_obj_proper": "Lina",
    "obj_to_subj_common": "cockroach",
    "obj_to_subj_proper": "Charlie",
    "prim_to_subj_common": "shark",
    "prim_to_subj_proper": "Paula",
    "prim_to_obj_common": "shark",
    "prim_to_obj_proper": "Paula",
    "prim_to_inf_arg": "crawl",
    "active_to_passive": "bless",
    "passive_to_active": "squeeze",
    "obj_omitted_transitive_to_transitive": "bake",
    "unacc_to_transitive": "shatter",
    "do_dative_to_pp_dative": "teleport",
    "pp_dative_to_do_dative": "ship",
    "only_seen_as_transitive_subj_as_unacc_subj": "cobra",
    "only_seen_as_unacc_subj_as_obj_omitted_transitive_subj": "hippo",
    "only_seen_as_unacc_subj_as_unerg_subj": "hippo",
}


@pytest.mark.parametrize("kind", LEXICAL)
def test_a_lexical_kind_uses_its_word_as_training_never_does(kind):
    word = WORDS[kind]
    in_training = {use for _, sentence in training() for name, use in uses(sentence) if name == word}
    subjects = {
        f"subject of {frame}" for frame in ("agent theme", "agent recipient theme", "agent theme recipient", "agent xcomp", "agent")
    }
    tested = HELD.get(kind, subjects)
    assert not in_training & tested
    for row in rows(kind, "?num=60"):
        here = {use for name, use in uses(parsed(row["text"])) if name == word}
        assert len(here) == 1 and here <= tested


def test_the_verbs_of_the_two_kinds_of_intransitives_can_and_cannot_have_an_object():
    for kind, can in [("only_seen_as_unacc_subj_as_obj_omitted_transitive_subj", True), ("only_seen_as_unacc_subj_as_unerg_subj", False)]:
        verbs = {parsed(row["text"]).verb for row in rows(kind, "?num=60")}
        assert len(verbs) > 8 and {"agent theme" in lexicon().verbs[verb].uses for verb in verbs} == {can}


def test_a_subject_has_places_in_its_own_kind_and_never_in_training():
    with_places = ("noun", "agent with places at 0"), ("noun", "theme with places at 0"), ("noun", "recipient with places at 0")
    in_training = {use for _, sentence in training() for use in uses(sentence)}
    assert ("noun", "theme with places at 1") in in_training and not in_training & set(with_places)
    for row in rows("obj_pp_to_subj_pp", "?num=60"):
        assert uses(parsed(row["text"])) & set(with_places)


def test_training_recurses_to_2_and_the_kinds_of_recursion_from_3_as_deep_as_told():
    for _, sentence in training():
        assert len(sentence.outer) <= 2 and max(len(phrase.prepositions) for phrase in sentence.phrases) <= 2
    for kind, role in RECURSIONS.items():
        depths = [row["depth"] for row in rows(kind, "?num=40")]
        assert depths == list(range(3, 13)) * 4
        assert [row["depth"] for row in rows(kind, "?num=6&depth=20")] == [20] * 6
        for row in rows(kind, "?num=20&depth=30-33"):
            assert row["label"].split().count(role) == row["depth"]
        assert {row["depth"] for row in rows(kind, "?num=20&depth=30-33")} == {30, 31, 32, 33}
    deepest = rows("pp_recursion", "?num=1&depth=200")[0]
    assert deepest["text"].count(" in ") + deepest["text"].count(" on ") + deepest["text"].count(" beside ") == 200
    assert len(parsed(rows("cp_recursion", "?num=1&depth=200")[0]["text"]).outer) == 200


def test_gen_is_as_many_of_each_kind_in_order_and_the_same_as_each_alone():
    found = rows("gen", "?num=210&seed=3")
    assert [row["category"] for row in found] == [kind for kind in KINDS for _ in range(10)]
    assert [row["text"] for row in found if row["category"] == "pp_recursion"] == [
        row["text"] for row in rows("pp_recursion", "?num=10&seed=3")
    ]
    assert found[0]["id"] == "cogs-like:gen:1" and found[0].keys() == {"id", "text", "label", "category"}


def test_too_few_rows_for_every_word_are_told(caplog):
    with caplog.at_level(logging.WARNING, "pellucid"):
        rows("train", "?num=200&seed=1")
        assert "too few rows for every word" in caplog.text
        caplog.clear()
        rows("train", "?num=2000&seed=1")
    assert not caplog.text


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("tset", "did you mean 'test'"),
        ("subj_to_obj_comon", "did you mean 'subj_to_obj_common'"),
        ("gen?num=1000", "expected a multiple of its 21 kinds, like 1008"),
        ("train?num=155", "155 rows are the primitives"),
        ("dev?num=0", "from 1"),
        ("dev?num=many", "whole number"),
        ("dev?seed=-1", "whole number"),
        ("dev?depth=5", "only cp_recursion, pp_recursion and gen"),
        ("pp_recursion?depth=2", "expected 3 to 200"),
        ("pp_recursion?depth=3-201", "expected 3 to 200"),
        ("pp_recursion?depth=9-4", "expected 3 to 200"),
        ("pp_recursion?depth=deep", "whole number"),
        ("dev?size=3", "no option 'size'"),
    ],
)
def test_what_cannot_be_generated_is_refused(source, told):
    with pytest.raises(BadUsage) as error:
        read(Data(f"cogs-like:{source}"))
    assert told in str(error.value)


def test_more_rows_than_there_are_sentences_are_refused_and_not_repeated(monkeypatch):
    monkeypatch.setattr(LIKE, "_OUTER", (1, 0, 0))  # without clauses around, the cobra is subject of 21 verbs, with two articles
    kind = "only_seen_as_transitive_subj_as_unacc_subj"
    assert len(LIKE.read(kind, {"num": "38"})) == 38
    with pytest.raises(BadUsage, match="no new sentence after 40; expected fewer"):
        LIKE.read(kind, {"num": "43"})
