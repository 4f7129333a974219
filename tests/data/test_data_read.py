"""A Data gives examples under the task's names, whatever the file calls them."""

import subprocess
import sys

import pytest

from pellucid.data.read import kinds, read, require
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data

FILE = "review,stars,genre,id,length\n" + "".join(f"text {i},{i % 3},{'ab'[i % 2]},x,9\n" for i in range(12))


@pytest.fixture
def reviews(tmp_path) -> str:
    (tmp_path / "reviews.csv").write_text(FILE)
    return str(tmp_path / "reviews.csv")


def test_columns_are_mapped_and_the_rest_stays_under_its_own_name(reviews):
    first = read(Data(f"csv:{reviews}", columns={"text": "review", "label": "stars"}))[0]
    assert first == {"review": "text 0", "stars": "0", "genre": "a", "text": "text 0", "label": "0", "id": "reviews.csv:1"}


def test_reserved_names_are_read_only_when_asked_for(reviews):
    assert read(Data(reviews, columns={"text": "length"}))[0]["text"] == "9"


def test_a_plain_path_and_the_kind_table_go_by_the_ending(reviews):
    assert read(Data(reviews)) == read(Data(f"csv:{reviews}")) == read(Data(f"table:{reviews}"))
    assert len(read(Data(f"{reviews}?header=no"))) == 13


def test_where_keeps_the_rows_that_match_and_their_row_numbers(reviews):
    rows = read(Data(reviews, where={"genre": "b", "stars": "1"}))
    assert [row["id"] for row in rows] == ["reviews.csv:2", "reviews.csv:8"]


def test_labels_are_renamed_and_those_not_named_stay(reviews):
    rows = read(Data(reviews, columns={"label": "stars"}, labels={"0": "bad", "2": "good"}))
    assert [row["label"] for row in rows[:4]] == ["bad", "1", "good", "bad"]


def test_labels_of_json_are_matched_as_they_are_written(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"label": 0}\n{"label": 1.0}\n{"label": true}\n{"label": 2.5}\n')
    rows = read(Data(f"jsonl:{tmp_path}/a.jsonl", labels={"0": "zero", "1": "one", "true": "yes"}))
    assert [row["label"] for row in rows] == ["zero", "one", "yes", 2.5]


def test_limit_draws_by_seed_and_keeps_the_order_of_the_file(reviews):
    def drawn(seed: int) -> list[int]:
        return [int(row["id"].split(":")[1]) for row in read(Data(reviews, limit=5, seed=seed))]

    assert drawn(0) == drawn(0) == sorted(drawn(0))
    assert len(drawn(0)) == 5
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1
    assert len(read(Data(reviews, limit=100))) == 12
    with pytest.raises(BadUsage, match="limit 0"):
        read(Data(reviews, limit=0))


def test_a_missing_column_names_file_column_nearest_and_those_there_are(reviews):
    with pytest.raises(BadData, match=r"reviews.csv: no column 'reviw' \(asked for as text\); did you mean 'review'\? The columns are"):
        read(Data(reviews, columns={"text": "reviw"}))
    with pytest.raises(BadData, match="no column 'year'"):
        read(Data(reviews, where={"year": "1999"}))


def test_a_filter_or_labels_that_fit_no_row_name_the_values(reviews):
    with pytest.raises(BadData, match="no row has genre = 'c'; its values are a, b"):
        read(Data(reviews, where={"genre": "c"}))
    with pytest.raises(BadData, match="no stars is '7'; the values are 0, 1, 2"):
        read(Data(reviews, columns={"label": "stars"}, labels={"7": "x"}))


def test_a_json_row_without_the_column_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"t": "x"}\n{"u": "y"}\n')
    with pytest.raises(BadData, match=r"a.jsonl:2: the row has no 't'"):
        read(Data(f"jsonl:{tmp_path}/a.jsonl", columns={"text": "t"}))


def test_a_role_that_is_not_there_names_the_flag(reviews):
    with pytest.raises(BadData, match=r"reviews.csv: no column 'text'; the columns are review, stars, genre: .*--column text=NAME"):
        require(read(Data(reviews)), ["text"], f"csv:{reviews}")
    require(read(Data(reviews, columns={"text": "review"})), ["text"], reviews)


def test_a_role_that_one_row_lacks_names_the_row(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": null}\n')
    with pytest.raises(BadData, match=r"a.jsonl:2: the row has no text"):
        require(read(Data(f"jsonl:{tmp_path}/a.jsonl")), ["text"], f"jsonl:{tmp_path}/a.jsonl")


def test_unknown_kinds_and_endings_are_usage_errors(reviews):
    with pytest.raises(BadUsage, match="no kind of data 'cvs'; did you mean 'csv'"):
        read(Data("cvs:somewhere"))
    with pytest.raises(BadUsage, match="ending does not tell the kind"):
        read(Data("table:somewhere.xyz"))
    with pytest.raises(BadUsage, match="nothing after csv:"):
        read(Data("csv:"))
    with pytest.raises(BadUsage, match="no sentiment set 'movie'; did you mean 'movies'"):
        read(Data("sentiment:movie"))
    with pytest.raises(BadUsage, match="'tweets' has no split 'train'"):
        read(Data("sentiment:tweets/train"))


def test_a_question_mark_may_be_part_of_a_file_name(tmp_path):
    (tmp_path / "what?.csv").write_text("text\nhi\n")
    assert read(Data(f"csv:{tmp_path}/what?.csv"))[0]["text"] == "hi"


def test_naming_the_kinds_imports_nothing_heavy():
    heavy = "('torch', 'numpy', 'pyarrow', 'transformers', 'datasets')"
    code = f"import sys; from pellucid.data.read import kinds; kinds(); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    assert {"csv", "tsv", "jsonl", "parquet", "hf", "sentiment", "table"} <= kinds().keys()


def test_two_columns_can_be_one_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("title,body,a+b\nGood,a film,x\n")
    assert read(Data(str(path), {"text": "title+body"}))[0]["text"] == "Good a film"
    assert read(Data(str(path), {"text": "a+b"}))[0]["text"] == "x"
    with pytest.raises(BadData, match="no column 'title\\+text'"):
        read(Data(str(path), {"text": "title+text"}))
