"""The real sets that tests and benchmarks use are read by the general readers, with nothing written for them."""

import collections
import functools
import pathlib

import pytest

from pellucid.data.read import read, require
from pellucid.recipe import Data

POLARITY = {"0": "negative", "1": "positive"}
SENTENCE = {"text": "sentence"}
PAIR = {"text": "c6", "text_pair": "c7", "label": "c5"}
RTE = {"text": "sentence1", "text_pair": "sentence2"}
TOPICS = {"1": "world", "2": "sports", "3": "business", "4": "technology"}
SCAN = "IN: (?P<text>.*) OUT: (?P<label>.*)"
STSB = "?header=no&quoting=none&extra=drop"

# name -> source below data/, its Data, rows, rows of each label (None: many or none)
SETS = {
    "sst2 dev": ("tsv:sst2/dev.tsv.gz?quoting=none", {"columns": SENTENCE, "labels": POLARITY}, 872, {"positive": 444, "negative": 428}),
    "sst2 test": (
        "tsv:sst2/test-labeled.tsv.gz?quoting=none",
        {"columns": SENTENCE, "labels": POLARITY},
        1821,
        {"negative": 917, "positive": 904},
    ),
    # 544 of its 12,500 lines are pieces of rows that were cut in two at a line break
    "imdb test": ("jsonl:imdb/test.jsonl.gz?broken=drop", {"labels": POLARITY}, 11956, {"positive": 6032, "negative": 5924}),
    "books train": (
        "tsv:amazon_multidomain/books/train.tsv.gz",
        {"columns": SENTENCE, "labels": POLARITY},
        1700,
        {"negative": 850, "positive": 850},
    ),
    "kitchen all": (
        "tsv:amazon_multidomain/kitchen/test-labeled.tsv.gz",
        {"columns": SENTENCE, "labels": POLARITY},
        2000,
        {"negative": 1000, "positive": 1000},
    ),
    "stsb train": (f"tsv:stsb/sts-train.csv.gz{STSB}", {"columns": PAIR}, 5749, None),
    "stsb dev": (f"tsv:stsb/sts-dev.csv.gz{STSB}", {"columns": PAIR}, 1500, None),
    "stsb MSRvid": (f"tsv:stsb/sts-train.csv.gz{STSB}", {"columns": PAIR, "where": {"c2": "MSRvid"}}, 1000, None),
    "rte train": ("tsv:rte/train.tsv.gz?quoting=none", {"columns": RTE}, 2490, {"entailment": 1249, "not_entailment": 1241}),
    "rte dev": ("tsv:rte/dev.tsv.gz?quoting=none", {"columns": RTE}, 277, {"entailment": 146, "not_entailment": 131}),
    "ag_news": (
        "csv:ag_news/test.csv.gz?header=no",
        {"columns": {"text": "c3", "label": "c1"}, "labels": TOPICS},
        7600,
        dict.fromkeys(TOPICS.values(), 1900),
    ),
    "subj": ("lines:sentconv/subj.all.gz?encoding=latin-1&pattern=(?P<label>[01]) (?P<text>.*)", {}, 10000, {"0": 5000, "1": 5000}),
    "trec": (
        "lines:sentconv/TREC.test.all.gz?encoding=latin-1&pattern=(?P<label>[0-5]) (?P<text>.*)",
        {},
        500,
        {"0": 138, "1": 94, "2": 9, "3": 65, "4": 81, "5": 113},
    ),
    "scan": (f"lines:scan/simple_split/tasks_test_simple.txt.gz?pattern={SCAN}", {}, 4182, None),
    "cogs": ("tsv:cogs/dev.tsv.gz?header=no&quoting=none", {"columns": {"text": "c1", "label": "c2"}}, 3000, None),
    "multi30k": ("lines:multi30k/test_2016_flickr.en.gz", {}, 1000, {None: 1000}),
}


@functools.cache
def rows_of(shared: pathlib.Path, name: str, limit: int | None = None) -> list[dict]:
    source, how, _, _ = SETS[name]
    kind, _, place = source.partition(":")
    return read(Data(f"{kind}:{shared}/data/{place}", **how, limit=limit))


@pytest.mark.parametrize("name", SETS)
def test_a_real_set_has_its_rows_and_labels(shared, name):
    source, _, num_rows, labels = SETS[name]
    rows = rows_of(shared, name)
    require(rows, ["text"], source)
    assert len(rows) == num_rows == len({row["id"] for row in rows})
    assert all(row["text"].strip() for row in rows)
    if labels is not None:
        assert collections.Counter(row.get("label") for row in rows) == labels


@pytest.mark.parametrize("name", SETS)
def test_twenty_rows_are_twenty_of_all(shared, name):
    every = {row["id"]: row for row in rows_of(shared, name)}
    some = rows_of(shared, name, limit=20)
    assert len(some) == 20
    assert all(every[row["id"]] == row for row in some)


def test_scores_of_stsb_are_numbers_from_0_to_5(shared):
    scores = [float(row["label"]) for row in rows_of(shared, "stsb train")]
    assert (min(scores), max(scores)) == (0, 5)
