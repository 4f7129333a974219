"""Text corruptions: what each may do, how often, and on what alone a copy depends."""

import itertools
import random
import subprocess
import sys
from collections import Counter

import pytest

from pellucid.data import corrupt
from pellucid.data.corrupt import SEVERITIES, TEXT, corrupt_text
from pellucid.data.corrupt.text import KEYS, swap
from pellucid.data.corrupt.traced import text_of
from pellucid.errors import BadUsage

TEXTS = [f"the quick brown fox number {i} jumps over a very lazy dog and sleeps until the morning comes again" for i in range(40)]


def copies(kind, severity, seed=0):
    return [corrupt_text(text, kind, severity, seed, f"fox.csv:{i}") for i, text in enumerate(TEXTS)]


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@pytest.mark.parametrize("kind", TEXT)
def test_a_higher_severity_moves_texts_farther(kind):
    means = [sum(map(edit_distance, TEXTS[:12], copies(kind, s)[:12])) for s in SEVERITIES]
    assert means[0] > 0
    assert all(a < b for a, b in itertools.pairwise(means))
    assert list(TEXT[kind].rates) == sorted(set(TEXT[kind].rates))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_stated_share_of_letters_changes_case(severity):
    turned = sum(c.isupper() for text in copies("case", severity) for c in text)
    assert turned / sum(c.isalpha() for text in TEXTS for c in text) == pytest.approx(TEXT["case"].rates[severity - 1], abs=0.03)
    assert [text.lower() for text in copies("case", severity)] == TEXTS


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_stated_share_of_words_is_dropped_and_the_rest_keeps_its_order(severity):
    kept = copies("drop", severity)
    words = [len(text.split()) for text in (" ".join(TEXTS), " ".join(kept))]
    assert 1 - words[1] / words[0] == pytest.approx(TEXT["drop"].rates[severity - 1], abs=0.04)
    for text, short in zip(TEXTS, kept, strict=True):
        left = iter(text.split())
        assert all(word in left for word in short.split())


@pytest.mark.parametrize("severity", SEVERITIES)
def test_swaps_keep_every_character_and_the_space_between_words(severity):
    for text, swapped in zip(TEXTS, copies("swap", severity), strict=True):
        assert Counter(swapped) == Counter(text)
        assert len(swapped.split()) == len(text.split())
    assert corrupt_text("ab  cd\n", "swap", severity, 1, "x").count("  ") == 1


def test_what_has_been_swapped_once_moves_no_further():
    assert text_of(swap("one  twofold", 1.0, random.Random(0))) == "wtfolod  noe"


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_stated_share_of_letters_is_mistyped_each_by_one_edit(severity):
    edits = sum(map(edit_distance, TEXTS[:12], copies("typos", severity)[:12]))
    share = edits / sum(c.isalpha() for text in TEXTS[:12] for c in text)
    assert share == pytest.approx(TEXT["typos"].rates[severity - 1], abs=0.04)


def test_a_mistyped_letter_is_a_neighbour_or_nothing_or_itself_twice_in_its_own_case():
    found = {corrupt_text(f"xx {c} xx", "typos", 5, seed, "i") for c in "G" for seed in range(400)}
    middles = {text.split(" ")[1] for text in found if text.count(" ") == 2}
    assert middles == {"G", "", "GG", *"FTYHBV"}


def test_neighbouring_keys_are_neighbours_both_ways():
    assert all(key in KEYS[other] for key, others in KEYS.items() for other in others)
    assert len(KEYS) == 26


@pytest.mark.parametrize("kind", TEXT)
def test_a_copy_depends_on_seed_id_kind_and_severity_alone(kind):
    assert copies(kind, 3)[::-1] == [corrupt_text(TEXTS[i], kind, 3, 0, f"fox.csv:{i}") for i in reversed(range(40))]
    assert copies(kind, 3) != copies(kind, 3, seed=1)
    assert corrupt_text(TEXTS[0], kind, 3, 0, "a") != corrupt_text(TEXTS[0], kind, 3, 0, "b")


def test_another_process_makes_the_same_copy():
    code = f"from pellucid.data.corrupt import corrupt_text; print(corrupt_text({TEXTS[0]!r}, 'typos', 4, 7, 'fox.csv:1'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "12"})
    assert other.stdout.strip() == corrupt_text(TEXTS[0], "typos", 4, 7, "fox.csv:1")


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("text", ["", " ", "a", "7", "字"])
def test_a_text_is_never_spoiled_into_nothing(kind, text):
    for seed in range(20):
        assert bool(corrupt_text(text, kind, 5, seed, "i").strip()) == bool(text.strip())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadUsage, match="'typo'; did you mean 'typos'"):
        corrupt_text("a", "typo", 1, 0, "i")
    with pytest.raises(BadUsage, match="severity 6; there are 1 to 5"):
        corrupt_text("a", "typos", 6, 0, "i")
    with pytest.raises(BadUsage, match="'sound'"):
        corrupt.find("sound", "noise")
