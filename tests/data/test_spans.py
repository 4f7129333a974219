"""Characters, tokens and words of a caption speak of the same things, in whatever script."""

import random

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pellucid.data.grounding import spans
from pellucid.errors import BadData

_SAID = """The a man MAN's red-haired dog cup, left of 🐕 👩‍👩‍👧 naïve café Zürich! כלב חתול شجرة 犬 कुत्ता don't well-known 3rd (blue) x"""
WORDS = _SAID.split()


def captions(num: int = 100) -> list[tuple[str, list[list[int]]]]:
    """Random captions with spans of one to three words each."""
    draw, found = random.Random(0), []
    for _ in range(num):
        words = draw.choices(WORDS, k=draw.randint(1, 12))
        text, places = draw.choice(["", " "]), []
        for word in words:
            places.append((len(text), len(text) + len(word)))
            text += word + draw.choice([" ", " ", "  ", ". ", " - "])
        starts = draw.sample(range(len(words)), min(3, len(words)))
        found.append((text, [[places[i][0], places[min(i + draw.randint(0, 2), len(words) - 1)][1]] for i in starts]))
    return found


def byte_level(request) -> Tokenizer:
    """The reference's byte-level BPE; where it is absent one of our own."""
    try:
        folder = request.getfixturevalue("references") / "detection/mdetr_tokenizer"
        assert (folder / "vocab.json").is_file()
        made = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    except (pytest.skip.Exception, AssertionError):
        made = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.train_from_iterator(WORDS * 3, trainer)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    made.decoder = decoders.ByteLevel()
    return made


def word_piece(request) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        [*WORDS, *"abcdefgh"], trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False)
    )
    return made


@pytest.mark.parametrize("make", [byte_level, word_piece])
def test_spans_go_to_tokens_and_come_back_as_the_words_they_were(request, make):
    tokenizer = make(request)
    for caption, told in captions():
        offsets = tokenizer.encode(caption).offsets
        for span in told:
            mapped = spans.token_map([[span]], offsets)
            back = spans.spans_of(mapped.own[0], offsets)
            assert not mapped.lost
            assert spans.whole_words(back, caption) == spans.whole_words([span], caption), (caption, span)
            assert spans.text_of(spans.whole_words(back, caption), caption).strip() in caption[span[0] :]


OFFSETS = [(0, 0), (0, 3), (4, 7), (7, 9), (12, 15), (0, 0)]  # <s> The red ish · dog </s>, three spaces before dog


def test_a_span_owns_all_tokens_from_its_first_to_its_last():
    own, lost = spans.token_map([[[4, 9]], [[0, 3], [12, 15]], []], OFFSETS)
    assert own.tolist() == [[False, False, True, True, False, False], [False, True, False, False, True, False], [False] * 6]
    assert lost == []


def test_a_border_on_a_space_is_looked_for_up_to_two_characters_further_in():
    assert spans.token_map([[[10, 15]]], OFFSETS).own[0].tolist() == [False] * 4 + [True, False]  # 10 and 11 are spaces, 12 is not
    assert spans.token_map([[[4, 11]]], OFFSETS).own[0].tolist() == [False, False, True, True, False, False]
    own, lost = spans.token_map([[[0, 3]], [[9, 15]]], OFFSETS)  # 9, 10 and 11 are spaces: one too many
    assert lost == [(1, [9, 15])] and not own[1].any() and own[0].any()


def test_a_span_of_spaces_is_told_as_lost_and_reaches_no_word_outside_it():
    assert spans.token_map([[[10, 12]]], OFFSETS).lost == [(0, [10, 12])]


def test_all_tokens_of_an_emoji_are_its_own():
    offsets = [(0, 1), (1, 2), (1, 2), (1, 2), (3, 4)]
    assert spans.token_map([[[0, 2]]], offsets).own[0].tolist() == [True, True, True, True, False]


def test_tokens_beside_each_other_are_one_span_and_special_ones_none():
    assert spans.spans_of(np.array([True, False, True, True, True, True]), OFFSETS) == [[4, 15]]
    assert spans.spans_of([True, True, False, True, False, True], OFFSETS) == [[0, 3], [7, 9]]


@pytest.mark.parametrize(
    ("caption", "given", "expected"),
    [
        ("a man, tall.", [[0, 6]], ["a man"]),
        ("a red-haired man", [[2, 5]], ["red-haired"]),
        ("a red-haired man", [[6, 12]], ["red-haired"]),
        ("one - two", [[0, 4]], ["one"]),
        ("a dog and a cat", [[10, 15], [0, 5]], ["a dog", "a cat"]),
        ("a big dog", [[0, 5], [2, 9]], ["a big dog"]),
        ("look 🐕 !", [[5, 6]], ["🐕"]),
        ("cafe\u0301, here", [[0, 6]], ["cafe\u0301"]),
        ("הכלב השחור, כאן", [[0, 11]], ["הכלב השחור"]),
        ("a  b", [[1, 3]], []),
    ],
)
def test_spans_are_brought_to_the_borders_of_words(caption, given, expected):
    found = spans.whole_words(given, caption)
    assert [caption[b:e] for b, e in found] == expected
    assert spans.whole_words(found, caption) == found


@pytest.mark.parametrize(
    ("span", "told"),
    [
        ([3, 30], r"t.csv:4: the span \[3, 30\] lies outside the caption of 9 characters, 'a red cup'"),
        ([-1, 3], "lies outside"),
        ([3, 3], "is empty; its end is the character after its last"),
        ([5, 2], "is reversed"),
        ([0.0, 3], r"expected \[begin, end\], characters"),
        ([1, 2, 3], r"expected \[begin, end\], characters"),
        ("ab", r"expected \[begin, end\], characters"),
    ],
)
def test_a_span_that_is_none_is_told_by_its_row(span, told):
    with pytest.raises(BadData, match=told):
        spans.checked([span], "a red cup", "t.csv:4")


@pytest.mark.parametrize(
    ("phrase", "caption", "hits"),
    [
        ("man", "A woman and a Man", ["Man"]),
        ("red cup", "the RED  cup, a red cup", ["RED  cup", "red cup"]),
        ("cup (blue)", "one cup (blue) here", ["cup (blue)"]),
        ("🐕", "a 🐕🐕", ["🐕", "🐕"]),
        ("杯", "左边的红杯子", ["杯"]),
        ("cafe", "cafe\u0301", []),
        ("  ", "a  b", []),
    ],
)
def test_a_phrase_is_found_as_whole_words_whatever_its_case(phrase, caption, hits):
    assert [caption[b:e] for b, e in spans.find(phrase, caption)] == hits


@pytest.mark.parametrize(
    ("caption", "head"),
    [
        ("the red cup left of the laptop", "the red cup"),
        ("man in blue, sitting", "man"),
        ("left man", "left man"),
        ("in front", "in front"),
        ("woman wearing a hat", "woman"),
    ],
)
def test_the_head_ends_before_what_tells_where_it_is(caption, head):
    begin, end = spans.head(caption)
    assert caption[begin:end] == head
