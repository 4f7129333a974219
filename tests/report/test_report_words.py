import re

import pytest
import report_run
from hypothesis import given
from hypothesis import strategies as st

from pellucid.report import page, words

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=30)  # half of the least subnormal is 0


def test_opacity_is_proportional_to_relevance_and_colour_to_its_sign():
    found = words.coloured(["a", "b", "c", "d"], [2.0, -1.0, 0.5, 0.0])
    assert [w.sign for w in found] == ["pos", "neg", "pos", ""]
    assert [w.alpha / words.STRONGEST for w in found] == pytest.approx([1, 0.5, 0.25, 0])


@given(numbers)
def test_a_stronger_word_never_has_a_paler_colour(relevance):
    found = sorted(zip(relevance, words.coloured(["w"] * len(relevance), relevance), strict=True), key=lambda pair: abs(pair[0]))
    alphas = [word.alpha for _, word in found]
    assert alphas == sorted(alphas)
    assert all(0 <= a <= words.STRONGEST for a in alphas)


@given(numbers)
def test_turning_every_sign_turns_every_colour_and_no_opacity(relevance):
    text = ["w"] * len(relevance)
    there, back = words.coloured(text, relevance), words.coloured(text, [-r for r in relevance])
    turned = {"pos": "neg", "neg": "pos", "": ""}
    assert [(turned[w.sign], w.alpha) for w in there] == [(w.sign, w.alpha) for w in back]


@given(numbers, st.floats(1e-3, 1e3))
def test_colours_do_not_depend_on_the_scale_of_a_method(relevance, factor):
    text = ["w"] * len(relevance)
    alphas = [[w.alpha for w in words.coloured(text, r)] for r in (relevance, [factor * v for v in relevance])]
    assert alphas[0] == pytest.approx(alphas[1], abs=0.05)  # a word at the faintest share may be rounded away


def test_words_without_relevance_stay_plain():
    assert [w.alpha for w in words.coloured(["a", "b", "c"], [0.0, None, float("nan")])] == [0, 0, 0]
    assert words.coloured([], []) == ()


def test_relevance_that_does_not_fit_its_words_is_refused():
    with pytest.raises(ValueError, match="1 numbers for 2 words"):
        words.coloured(["a", "b"], [1.0])


def test_the_page_carries_colour_sign_and_number_of_a_word():
    text = page.explanations(report_run.explanations())
    found = re.search(r'<span class="(\w+)" style="--a:([\d.]+)" title="moving: (\S+)">moving</span>', text)
    assert found
    assert found.groups() == ("pos", "0.72", "+0.40")
    assert '<span class="neg lined" style="--a:' in text


def test_punctuation_stands_at_its_word():
    text = page.explanations(report_run.explanations())
    shown = re.sub(r"<[^>]+>", "", text[text.index('<p class="words"') :].split("</p>")[0])
    assert shown == "a quietly moving film, never sentimental, and almost always funny."


def test_a_method_with_one_sign_is_not_said_to_speak_for_the_prediction():
    found = words.view(report_run.explanations(), "x").examples[0].methods
    assert {m.name: m.signed for m in found} == {"IBA": False, "integrated gradients": True, "occlusion": True, "LIME": True}
