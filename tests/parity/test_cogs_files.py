"""Against COGS's own files: every logical form, every count, the lexicon, and what new sentences in its manner are like."""

import collections
import functools
from collections.abc import Iterable
from typing import Any

import pytest

from pellucid.data.cogs_grammar import PREPOSITIONS
from pellucid.data.cogs_kinds import EXPOSURES, KINDS, RECURSIONS
from pellucid.data.read import read
from pellucid.recipe import Data
from unchecked import unchecked

ROWS = {"train": 24155, "dev": 3000, "test": 3000, "gen": 21000}
Counts = collections.Counter[str]

GRAMMAR, LIKE = unchecked("pellucid.data.cogs_grammar", "pellucid.data.cogs_like")
parsed, lexicon, roles_of = GRAMMAR.parsed, GRAMMAR.lexicon, GRAMMAR.roles_of
Sentence = Any  # of that copy of the module


@pytest.fixture(scope="module")
def rows(shared):
    @functools.cache
    def of(part: str, options: str = "") -> list[dict[str, Any]]:
        return read(Data(f"cogs:{shared}/data/cogs/{part}.tsv.gz{options}"))

    return of


@pytest.fixture(scope="module")
def training(rows) -> list[tuple[str, Sentence]]:
    return [(row["category"], parsed(row["text"])) for row in rows("train") if row["category"] != "primitive"]


# ---- files --------------------------------------------------------------------------------------------------------


def test_the_files_have_the_rows_and_types_that_the_paper_says(rows):
    counts = {part: collections.Counter(row["category"] for row in rows(part)) for part in ROWS}
    assert counts["train"] == {"in_distribution": 24000, "primitive": 143, **dict.fromkeys(EXPOSURES, 1)}
    assert counts["dev"] == counts["test"] == {"in_distribution": 3000}
    assert counts["gen"] == dict.fromkeys(KINDS, 1000)
    texts = [row["text"] for part in ROWS for row in rows(part)]
    assert len(set(texts)) == len(texts) == sum(ROWS.values())


def test_each_recursion_has_depths_3_to_12_a_hundred_times_each(rows):
    for kind in RECURSIONS:
        depths = collections.Counter(row["depth"] for row in rows("gen") if row["category"] == kind)
        assert depths == dict.fromkeys(range(3, 13), 100)


@pytest.mark.parametrize(("depth", "left"), [(3, 20800), (9, 19600), (11, 19200)])
def test_recursion_splits_have_as_many_rows_as_orhans(rows, depth, left):
    test, train = rows("gen", f"?to_depth={depth}"), rows("gen", f"?to_depth={depth}&part=train")
    assert (len(test), len(train)) == (left, 21000 - left)
    assert {row["id"] for row in test}.isdisjoint(row["id"] for row in train)
    assert max(row["depth"] for row in train) == depth and min(row["depth"] for row in test if "depth" in row) == depth + 1


def test_recursion_can_be_added_to_training(rows):
    assert rows("train", "?with=gen.tsv.gz&to_depth=3") == rows("train") + rows("gen", "?to_depth=3&part=train")


@pytest.mark.parametrize("part", ROWS)
def test_the_oracle_is_right_on_every_row_and_writes_every_sentence_back(rows, part):
    right = sum(GRAMMAR.logical_form(row["text"]) == row["label"] for row in rows(part))
    back = sum(row["category"] == "primitive" or GRAMMAR.written(parsed(row["text"]))[0] == row["text"] for row in rows(part))
    assert (right, back) == (ROWS[part], ROWS[part])


# ---- words --------------------------------------------------------------------------------------------------------


def nouns_by_place(sentences: Iterable[Sentence]) -> dict[str, Counts]:
    """How often each noun and name stands where."""
    found: dict[str, Counts] = collections.defaultdict(collections.Counter)
    for sentence in sentences:
        for phrase in [*(phrase for phrase, _ in sentence.outer), *sentence.phrases]:
            article, noun = phrase.nouns[0]
            found["head" if article else "names"][noun] += 1
            for preposition, (_, inner) in zip(phrase.prepositions, phrase.nouns[1:], strict=True):
                found[preposition][inner] += 1
    return found


def test_the_lexicon_is_what_train_tsv_counts(rows, training):
    known = lexicon()
    found = nouns_by_place(sentence for category, sentence in training if category == "in_distribution")
    assert found["names"] == {name: count for name, count in known.names.items() if count}
    assert found["head"] == {**known.nouns["animate"], **known.nouns["inanimate"]}
    for preposition in PREPOSITIONS:
        assert found[preposition] == known.nouns[preposition]
    assert collections.Counter(s.frame for category, s in training if category == "in_distribution") == known.sentences
    assert sorted(row["text"] for row in rows("train") if row["category"] == "primitive") == known.primitives
    uses: dict[str, Counts] = collections.defaultdict(collections.Counter)
    for _, sentence in training:
        uses[sentence.verb][sentence.frame] += 1
        uses[sentence.infinitive]["infinitive"] += 1
        for _, lemma in sentence.outer:
            uses[lemma]["agent ccomp"] += 1
    uses.pop("")
    assert {lemma: dict(of) for lemma, of in uses.items()} == {
        verb.lemma: {frame: count for frame, count in verb.uses.items() if count}
        for verb in known.verbs.values()
        if any(verb.uses.values())
    }


def test_who_acts_is_animate_and_what_is_passed_on_is_not(training):
    known = lexicon()
    for _, sentence in training:
        for role, phrase in zip(roles_of(sentence.frame), sentence.phrases, strict=True):
            article, noun = phrase.nouns[0]
            if article and noun not in LIKE.HELD_OUT and (role != "theme" or sentence.frame not in ("agent theme", "theme")):
                assert noun in known.nouns["inanimate" if role == "theme" else "animate"]


# ---- what is generated, against the files -------------------------------------------------------------------------


def plants(use: Any, sentence: Sentence) -> bool:
    """Whether a sentence has the word where the use says, in one of its frames."""
    roles = ["subject", *roles_of(sentence.frame)[1:], "verb", "infinitive"]
    words = [*(phrase.nouns[0][1] for phrase in sentence.phrases), sentence.verb, sentence.infinitive]
    return (use.role, use.word) in zip(roles, words, strict=True) and sentence.frame in use.frames


def test_exposure_examples_and_tests_use_the_words_of_the_files_in_their_places(rows, training):
    for category, sentence in training:
        if category in EXPOSURES:
            assert plants(LIKE.EXPOSED[category], sentence)
    for row in rows("gen"):
        if row["category"] in LIKE.TESTED:
            assert plants(LIKE.TESTED[row["category"]], parsed(row["text"]))


def shares(sentences: Iterable[Sentence]) -> dict[str, float]:
    """How much of what there is, in sentences, and in objects that are nouns."""
    found: Counts = collections.Counter()
    objects: Counts = collections.Counter()
    total = 0
    for sentence in sentences:
        total += 1
        found[sentence.frame] += 1
        found["passive"] += sentence.frame.startswith("was")
        found["dative"] += "recipient" in sentence.frame
        found[f"{len(sentence.outer)} clauses around"] += 1
        found["a name in it"] += any(not phrase.nouns[0][0] for phrase in sentence.phrases)
        found["subject with a place"] += bool(sentence.phrases[0].prepositions)
        for role, phrase in list(zip(roles_of(sentence.frame), sentence.phrases, strict=True))[1:]:
            if role == "theme" and phrase.nouns[0][0]:
                objects[f"object with {len(phrase.prepositions)} places"] += 1
            found["a name as object"] += role == "theme" and not phrase.nouns[0][0]
    nouns = max(1, sum(objects.values()))
    return {name: n / total for name, n in found.items()} | {name: n / nouns for name, n in objects.items()}


def far(found: dict[str, float], wanted: dict[str, float], most: float) -> dict[str, tuple[float, float]]:
    pairs = {name: (found.get(name, 0.0), wanted.get(name, 0.0)) for name in {*found, *wanted}}
    return {name: pair for name, pair in pairs.items() if abs(pair[0] - pair[1]) > most}


@pytest.fixture(scope="module")
def like() -> list[Sentence]:
    return [parsed(row["text"]) for row in LIKE.read("train", {}) if row["category"] == "in_distribution"]


def test_training_sentences_have_the_shares_of_train_tsv(training, like):
    wanted = shares(sentence for category, sentence in training if category == "in_distribution")
    assert wanted["passive"] > 0.4 and wanted["dative"] > 0.3 and wanted["object with 1 places"] > 0.4  # not an agreement about nothing
    assert not far(shares(like), wanted, 0.025)


def test_the_commonest_words_are_those_of_train_tsv(training, like):
    wanted, found = nouns_by_place(s for c, s in training if c == "in_distribution"), nouns_by_place(like)
    for place in ("names", "head", *PREPOSITIONS):
        ours, theirs = (dict(counts[place].most_common(5)).keys() for counts in (found, wanted))
        assert len(ours & theirs) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_shares_of_gen_tsv(rows, kind):
    num = 600 if kind.startswith("only_seen") else 300  # these have so few sentences without a clause around that they run out
    wanted = shares(parsed(row["text"]) for row in rows("gen") if row["category"] == kind)
    found = shares(parsed(row["text"]) for row in LIKE.read(kind, {"num": str(num)}))
    assert not far(found, wanted, 0.1)
