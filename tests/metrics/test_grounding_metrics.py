"""Recall of phrases, precision of expressions, AP of any kind of box, answers: by hand and against the definitions written out."""

import math
import pickle
import time

import numpy as np
import pytest
import torch

from pellucid.data.grounding.spans import token_map
from pellucid.errors import BadData
from pellucid.metrics.bootstrap import draws
from pellucid.metrics.grounding import box_metrics, generalized_iou, owned, phrase_metrics, referring_metrics
from pellucid.metrics.replies import reply_metrics
from pellucid.nn import boxes as nn_boxes
from pellucid.task import Metric

CAPTION = "the cat by a dog"
TOKENS = [[0, 0], [0, 3], [4, 7], [8, 10], [11, 12], [13, 16], [0, 0]]
CAT, DOG = [[0, 7]], [[11, 16]]
A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [50, 0, 60, 10]


def fill(metrics, *pairs):
    for pair in pairs:
        for metric in metrics.values():
            metric.update(*pair)
    return metrics


def values(metrics):
    return {name: metric.compute() for name, metric in metrics.items()}


def answered(boxes, probs, scores=None, **more):
    """A prediction whose boxes answer each word with a probability."""
    scores = [1 - i / 100 for i in range(len(boxes))] if scores is None else scores
    return {"boxes_xyxy": boxes, "scores": scores, "token_probs": np.array(probs, dtype=np.float32), "token_spans": TOKENS, **more}


def sentence(*phrases, i=0):
    return {
        "id": f"pair {i}",
        "caption": CAPTION,
        "phrases": [dict(zip(("spans", "boxes_xyxy", "kind"), p, strict=False)) for p in phrases],
    }


def crowded(pictures=30, queries=14, seed=0, levels=None):
    """Captions with phrases, boxes near them and far, and probabilities, some equal where there are `levels`."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(pictures):
        low = rng.uniform(0, 60, (6, 2))
        objects = np.concatenate([low, low + rng.uniform(5, 40, (6, 2))], axis=1)
        found = objects[rng.integers(0, 6, queries)] + rng.normal(0, 4, (queries, 4))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        probs, scores = rng.random((queries, len(TOKENS))), np.sort(rng.random(queries))[::-1]
        if levels:
            probs, scores = np.round(probs * levels) / levels, np.round(scores * levels) / levels
        phrases = [(CAT, objects[:2].tolist(), "animals"), (DOG, objects[2:3].tolist(), "animals/other"), ([[8, 10]], [])]
        row = sentence(*phrases[: rng.integers(0, 4)], i=i)
        row |= {"expression": bool(i % 3), "objects": [{"box_xyxy": objects[3].tolist()}], "kind": "plain" if i % 2 else "relation"}
        pairs.append((answered(found.tolist(), probs, scores.tolist()), row))
    return pairs


# ---- the definitions, written out ---------------------------------------------------------------------------------


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def literal_iou(a, b):
    sides = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
    both = sides[0] * sides[1] if min(sides) > 0 else 0
    return both / (area(a) + area(b) - both)


def literal_giou(a, b):
    around = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
    return literal_iou(a, b) - (area(around) - (area(a) + area(b)) / (1 + literal_iou(a, b))) / area(around)


def literal_recall(pairs, k, merged, kind=None):
    hits = total = 0
    for prediction, row in pairs:
        for phrase in row["phrases"]:
            boxes = phrase["boxes_xyxy"]
            if not boxes or (kind and kind not in phrase["kind"].split("/")):
                continue
            if merged:
                boxes = [[min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)]]
            ((begin, end),) = phrase["spans"]
            mine = [t for t, (b, e) in enumerate(TOKENS) if e > b and b >= begin and e <= end]
            scored = [
                (max(float(p[t]) for t in mine), box) for p, box in zip(prediction["token_probs"], prediction["boxes_xyxy"], strict=True)
            ]
            best = [box for _, box in sorted(scored, key=lambda one: -one[0])][:k]
            hits += any(literal_iou(box, other) >= 0.5 for box in best for other in boxes)
            total += 1
    return hits / total


def literal_precision(pairs, k, overlap):
    hits = []
    for prediction, row in pairs:
        if row["expression"]:
            best = sorted(zip(prediction["scores"], prediction["boxes_xyxy"], strict=True), key=lambda one: -one[0])[:k]
            hits.append(any(overlap(box, row["objects"][0]["box_xyxy"]) >= 0.5 for _, box in best))
    return sum(hits) / len(hits)


# ---- phrases ------------------------------------------------------------------------------------------------------


def test_a_phrase_is_answered_by_the_box_with_its_likeliest_word():
    # the second box is surest of "the", the first of no word of the phrase
    found = answered([B, A], [[0, 0.3, 0.3, 0, 0.9, 0.9, 0], [0, 0.4, 0, 0, 0, 0, 0.9]])
    told = fill(phrase_metrics(), (found, sentence((CAT, [A], "animals"), (DOG, [A], "animals"))))
    assert told["R@1"].compute() == 0.5 and told["R@5"].compute() == 1.0


def test_one_box_around_all_is_another_thing_than_any_of_them():
    # the two boxes of the entity make [0, 0, 30, 30]: A covers a ninth of it
    told = values(fill(phrase_metrics(), (answered([A], [[0, 1, 0, 0, 0, 0, 0]]), sentence((CAT, [A, B])))))
    assert (told["R@1"], told["merged_R@1"], told["R_upper"], told["merged_R_upper"]) == (1, 0, 1, 0)
    told = values(fill(phrase_metrics(), (answered([[0, 0, 30, 30]], [[0, 1, 0, 0, 0, 0, 0]]), sentence((CAT, [A, B])))))
    assert (told["R@1"], told["merged_R@1"]) == (0, 1)


@pytest.mark.parametrize("levels", [None, 4])
def test_recall_is_that_of_the_definition_written_out(levels):
    pairs = crowded(levels=levels)
    told = fill(phrase_metrics(), *pairs)
    for merged, prefix in ((False, ""), (True, "merged_")):
        for k, name in ((1, "R@1"), (5, "R@5"), (10, "R@10"), (None, "R_upper")):
            assert told[prefix + name].compute() == pytest.approx(literal_recall(pairs, k, merged))
        assert told[f"{prefix}R@5"].per_kind() == pytest.approx(
            {kind: literal_recall(pairs, 5, merged, kind) for kind in ("animals", "other")}
        )


def test_phrases_without_boxes_do_not_count_and_phrases_that_were_not_read_are_missed():
    cut = answered([A], [[0.5, 0.5]]) | {"token_spans": TOKENS[:2]}  # the caption was cut after its first word
    told = fill(phrase_metrics(), (cut, sentence((CAT, []), (CAT, [A]), (DOG, [A]))))
    assert told["R@1"].compute() == told["R_upper"].compute() == 0.5
    assert math.isnan(fill(phrase_metrics(), (cut, sentence((CAT, []))))["R@1"].compute())


def test_phrases_are_the_spans_of_the_objects_where_none_are_listed():
    objects = [{"box_xyxy": A, "spans": CAT}, {"box_xyxy": B, "spans": CAT}, {"box_xyxy": C, "spans": DOG}]
    row = {"id": 1, "caption": CAPTION, "objects": [*objects, {"box_xyxy": C, "spans": CAT, "crowd": True}, {"box_xyxy": C}]}
    found = answered([B, A, C], [[0, 0.9, 0, 0, 0, 0, 0], [0, 0.1, 0, 0, 0.9, 0, 0], [0, 0, 0, 0, 0.1, 0, 0]])
    told = fill(phrase_metrics(), (found, row))
    assert told["R@1"].compute() == 0.5 and told["R@5"].compute() == 1
    assert told["merged_R@5"].compute() == 0.5  # no box is around both cats


def test_the_tokens_of_a_phrase_are_those_that_training_gives_it():
    text = "A man's red-brown hat,  two (2) cats"
    offsets = [
        [0, 0],
        [0, 1],
        [2, 5],
        [5, 7],
        [8, 11],
        [11, 12],
        [12, 17],
        [18, 21],
        [21, 22],
        [24, 27],
        [28, 29],
        [29, 30],
        [30, 31],
        [32, 36],
    ]
    letters = [i for i, letter in enumerate(text) if letter != " "]
    spans = [[begin, end + 1] for begin in letters[::2] for end in letters if end >= begin]
    expected = token_map([[span] for span in spans], offsets).own
    assert [owned(np.array(offsets), [span]).tolist() for span in spans] == expected.tolist()


def test_phrases_whose_order_hangs_on_equal_scores_are_told():
    told = fill(phrase_metrics(), (answered([B, A], np.ones((2, 7))), sentence((CAT, [A]), (DOG, [C]))))
    assert told["R@1"].compute() == 0 and told["R@1"].ties() == 1  # of the dog both are wrong
    assert told["R@5"].ties() == 0
    both = fill(phrase_metrics(), (answered([A, A], np.ones((2, 7))), sentence((CAT, [A]))))
    assert both["R@1"].ties() == 0


# ---- expressions --------------------------------------------------------------------------------------------------


def expression(box, i=0, **more):
    return {"id": i, "expression": True, "objects": [{"box_xyxy": box}], **more}


def test_giou_is_the_stricter_rule_where_boxes_are_shifted_both_ways():
    wanted = [0, 0, 10, 10]
    for box, iou, giou in (
        ([3, 0, 13, 10], 70 / 130, 70 / 130),  # no room around them that neither fills
        ([1.6, 1.6, 11.6, 11.6], 70.56 / 129.44, 70.56 / 129.44 - 5.12 / 134.56),
        ([1.7, 1.7, 11.7, 11.7], 68.89 / 131.11, 68.89 / 131.11 - 5.78 / 136.89),
        ([2, 2, 12, 12], 64 / 136, 64 / 136 - 8 / 144),
    ):
        assert generalized_iou(np.array([box], float), np.array([wanted], float))[0, 0] == pytest.approx(giou)
        told = values(fill(referring_metrics(), ({"boxes_xyxy": [box], "scores": [0.9]}, expression(wanted))))
        assert (told["P@1"], told["giou_P@1"]) == (float(iou >= 0.5), float(giou >= 0.5))


def test_generalized_iou_is_that_of_the_losses():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 9, (40, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 4, (40, 2))], axis=1)  # some without area
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).any(1)]
    expected = nn_boxes.generalized_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).numpy()
    assert generalized_iou(boxes, boxes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 4])
def test_precision_is_that_of_the_definition_written_out(levels):
    pairs = crowded(60, levels=levels)
    told = fill(referring_metrics(), *pairs)
    for prefix, overlap in (("", literal_iou), ("giou_", literal_giou)):
        for k in (1, 5, 10):
            assert told[f"{prefix}P@{k}"].compute() == pytest.approx(literal_precision(pairs, k, overlap))
    for kind in ("plain", "relation"):
        mine = [pair for pair in pairs if pair[1]["kind"] == kind]
        assert told["P@1"].per_kind()[kind] == pytest.approx(literal_precision(mine, 1, literal_iou))


def test_the_rule_asked_for_chooses_the_checkpoint():
    assert [next(iter(referring_metrics(rule))) for rule in ("iou", "giou")] == ["P@1", "giou_P@1"]


def test_what_is_final_is_what_the_expression_asks_for():
    objects = [{"box_xyxy": A, "final": False}, {"box_xyxy": B, "final": True}]
    found = {"boxes_xyxy": [A, B], "scores": [0.9, 0.8]}
    row = {"id": 1, "expression": True, "objects": objects}
    assert values(fill(referring_metrics(), (found, row)))["P@1"] == 0
    assert values(fill(referring_metrics(), (found | {"final_scores": [0.1, 0.8]}, row)))["P@1"] == 1
    none = row | {"objects": objects[:1]}
    for other in (none, {**row, "expression": False}):
        assert math.isnan(values(fill(referring_metrics(), (found, other)))["P@1"])


def test_expressions_whose_order_hangs_on_equal_scores_are_told():
    boxes = [A, A, B]
    for scores, tied in (([0.9, 0.8, 0.8], 0), ([0.9, 0.9, 0.9], 1), ([0.1, 0.1, 0.9], 0)):
        told = fill(referring_metrics(), ({"boxes_xyxy": boxes, "scores": scores}, expression(B)))
        assert told["P@1"].ties() == tied


# ---- boxes of any kind --------------------------------------------------------------------------------------------


def test_a_box_is_right_wherever_an_object_is_and_two_captions_of_a_picture_are_measured_apart():
    rows = [{"id": f"9.{i}", "image_id": 9, "objects": [{"box_xyxy": box, "label": "cat", "id": 7}]} for i, box in enumerate((A, B))]
    right = [{"boxes_xyxy": [box], "scores": [0.9], "labels": ["the dog"]} for box in (A, B)]
    assert values(fill(box_metrics(), *zip(right, rows, strict=True)))["AP"] == pytest.approx(1)
    assert values(fill(box_metrics(), *zip(right[::-1], rows, strict=True)))["AP"] == 0


# ---- answers ------------------------------------------------------------------------------------------------------


def asked(type_, value, **more):
    return {"id": 1, "answer": {"type": type_, "value": value}, **more}


def test_an_answer_is_right_if_its_type_and_its_value_are():
    replies = [("obj", "yes"), ("attr", "yes"), ("obj", "no"), ("reg", 3)]
    rows = [asked("obj", "yes"), asked("obj", "yes"), asked("obj", "yes"), asked("reg", "3")]
    pairs = [({"reply": {"type": t, "value": v}}, row) for (t, v), row in zip(replies, rows, strict=True)]
    told = fill(reply_metrics(), *pairs, ({}, {"id": 2}), ({}, {"id": 3, "answer": None}))
    assert (told["answer_accuracy"].compute(), told["answer_type_accuracy"].compute()) == (0.5, 0.75)
    assert told["answer_accuracy"].per_kind() == {"obj": pytest.approx(1 / 3), "reg": 1.0}


def test_answers_are_told_by_the_question_where_its_kind_is_known():
    pairs = [
        ({"reply": {"type": "binary", "value": v}}, asked("binary", "yes", question_type=q))
        for v, q in (("yes", "exist"), ("no", "compare"))
    ]
    assert fill(reply_metrics(), *pairs)["answer_accuracy"].per_kind() == {"exist": 1.0, "compare": 0.0}


# ---- what is wrong is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "prediction", "example", "message"),
    [
        (phrase_metrics, answered([A], [[0] * 6]), sentence((CAT, [A])), "pair 0.*not 1 rows.*7 finite"),
        (phrase_metrics, answered([A], [[np.nan] * 7]), sentence((CAT, [A])), "finite"),
        (phrase_metrics, {"boxes_xyxy": [A], "scores": [1]}, sentence((CAT, [A])), "no token_probs, token_spans"),
        (phrase_metrics, answered([A], [[0] * 7]), sentence(([], [A])), "phrase 0 has no spans"),
        (phrase_metrics, answered([A], [[0] * 7]), sentence((CAT, [A, [0, 0, 1]])), "'1 of phrase 0'.*expected x0"),
        (phrase_metrics, {"phrase_boxes_xyxy": [[A]]}, sentence((CAT, [A]), (DOG, [B])), "1 phrases; the caption has 2"),
        (referring_metrics, {"boxes_xyxy": [A], "scores": [math.inf]}, expression(A), "score inf"),
        (referring_metrics, {"boxes_xyxy": [A], "scores": [1], "final_scores": []}, expression(A), "final_scores"),
        (referring_metrics, [A], expression(A), "no labels, scores, boxes_xyxy"),
        (reply_metrics, {"reply": "yes"}, asked("obj", "yes"), "reply is 'yes'; expected a type"),
        (reply_metrics, {"reply": {"type": "a", "value": "b"}}, {"id": 1, "answer": "yes"}, "example 1: answer is 'yes'"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_example(make, prediction, example, message):
    with pytest.raises(BadData, match=message):
        fill(make(), (prediction, example))


# ---- promises -----------------------------------------------------------------------------------------------------


MAKES = {"phrases": phrase_metrics, "expressions": referring_metrics, "boxes": box_metrics, "replies": reply_metrics}


def everything(pictures=8):
    """Pairs that every metric counts."""
    rng = np.random.default_rng(1)
    kinds = ["obj", "attr"]
    return [
        (
            prediction | {"reply": {"type": kinds[rng.integers(2)], "value": "yes"}},
            row | asked("obj", "yes", question_type=kinds[i % 2]) | {"id": row["id"]},
        )
        for i, (prediction, row) in enumerate(crowded(pictures))
    ]


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_unknown_before_updates_and_halves_merged_are_the_whole(make):
    assert all(isinstance(metric, Metric) and math.isnan(metric.compute()) for metric in make().values())
    pairs = everything()
    whole, first, second = fill(make(), *pairs), fill(make(), *pairs[:3]), fill(make(), *pairs[3:])
    for name, metric in pickle.loads(pickle.dumps(first)).items():
        metric.merge(second[name])
        metric.merge(make()[name])
        assert metric.compute() == pytest.approx(whole[name].compute(), nan_ok=True)


@pytest.mark.parametrize("make", [phrase_metrics, referring_metrics, reply_metrics])
def test_resampling_is_gathering_the_drawn_examples(make):
    pairs = everything()
    told = fill(make(), *pairs)
    weights = np.random.default_rng(0).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=2).astype(float)
    for name, metric in told.items():
        for row, value in zip(weights, metric.resample(weights), strict=True):
            drawn = [pair for pair, times in zip(pairs, row, strict=True) for _ in range(int(times))]
            assert value == pytest.approx(fill({name: make()[name]}, *drawn)[name].compute())


def test_examples_that_do_not_count_leave_a_draw_unknown():
    pairs = [({"boxes_xyxy": [A], "scores": [1]}, expression(A)), ({"boxes_xyxy": [A], "scores": [1]}, {"id": 2, "objects": []})]
    found = draws(referring_metrics, *zip(*pairs, strict=True), resamples=50)["P@1"]
    assert np.isnan(found).any() and set(found[~np.isnan(found)]) == {1.0}


@pytest.mark.slow
def test_five_thousand_captions_of_a_hundred_boxes_take_seconds():
    pairs = crowded(5000, queries=100)
    started = time.process_time()
    values(fill(phrase_metrics() | referring_metrics(), *pairs))
    assert time.process_time() - started < 60
