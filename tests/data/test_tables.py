"""Tables are read as written, and a file that is not what it says is refused by file, row and remedy."""

import csv
import gzip
import io
import json

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pellucid.data import tables
from pellucid.errors import BadData, BadUsage


def written(tmp_path, name: str, content: str | bytes):
    raw = content.encode() if isinstance(content, str) else content
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(path)


ROWS = [{"text": "good", "label": "1"}, {"text": "bad, very", "label": "0"}]
SAME = {
    "a.csv": b'text,label\ngood,1\n"bad, very",0\n',
    "a.csv.gz": b'text,label\r\ngood,1\r\n"bad, very",0\r\n',
    "a.tsv": b"\xef\xbb\xbftext\tlabel\ngood\t1\n\nbad, very\t0",
    "a.jsonl": b'{"text": "good", "label": "1"}\n\n{"text": "bad, very", "label": "0"}\n',
    "a.json.gz": json.dumps(ROWS).encode(),
}


@pytest.mark.parametrize("name", SAME)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    place = written(tmp_path, name, SAME[name])
    rows = tables.read(tables.kind_of(name), place)
    assert [{k: v for k, v in row.items() if k != "id"} for row in rows] == ROWS
    assert rows[0]["id"] == f"{name}:1"


@pytest.mark.parametrize("zipped", [False, True])
def test_parquet_gives_the_same_rows(tmp_path, zipped):
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), buffer)
    place = written(tmp_path, "a.parquet" + ".gz" * zipped, buffer.getvalue())
    assert [{**row, "id": None} for row in tables.read("parquet", place)] == [{**row, "id": None} for row in ROWS]


def test_a_quoted_field_may_hold_lines_tabs_and_quotes(tmp_path):
    place = written(tmp_path, "a.tsv", 'sentence\tlabel\n"one\n\ttwo ""three"""\t0\nfour\t1\n')
    rows = tables.read("tsv", place)
    assert [row["sentence"] for row in rows] == ['one\n\ttwo "three"', "four"]
    assert [row["id"] for row in rows] == ["a.tsv:1", "a.tsv:2"]


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2), min_size=1))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    place = written(tmp_path_factory.mktemp("t"), "a.csv", buffer.getvalue())
    assert [[row["a"], row["b"]] for row in tables.read("csv", place)] == rows


def test_the_longest_field_of_the_csv_module_is_no_limit_and_stays_as_it_was(tmp_path):
    csv.field_size_limit(131_072)
    place = written(tmp_path, "a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(tables.read("csv", place)[0]["text"]) == 200_000
    assert csv.field_size_limit() == 131_072


def test_quotes_may_be_plain_characters(tmp_path):
    place = written(tmp_path, "a.tsv", 'text\tlabel\n"so said he\t0\n" never"\t1\n')
    assert [row["text"] for row in tables.read("tsv", place, {"quoting": "none"})] == ['"so said he', '" never"']


def test_a_stray_quote_is_refused_with_the_remedy_instead_of_eating_rows(tmp_path):
    for content in ('text\tlabel\n"so said he\t0\nfine\t1\n', 'text\tlabel\n"so" said he\t0\n'):
        with pytest.raises(BadData, match=r"a.tsv line \d: .*quoting=none"):
            tables.read("tsv", written(tmp_path, "a.tsv", content))


def test_a_file_without_header_has_numbered_columns(tmp_path):
    place = written(tmp_path, "a.csv", "3,same\n4,same\n")
    assert tables.read("csv", place, {"header": "no"}) == [
        {"c1": "3", "c2": "same", "id": "a.csv:1"},
        {"c1": "4", "c2": "same", "id": "a.csv:2"},
    ]


def test_a_row_of_another_length_is_named(tmp_path):
    place = written(tmp_path, "a.csv", "text,label\ngood,1\nbad\n")
    with pytest.raises(BadData, match=r"a.csv row 2: 1 fields, expected 2 \(text, label\)$"):
        tables.read("csv", place)
    place = written(tmp_path, "a.csv", "text,label\ngood,1\nbad,0,more\n")
    with pytest.raises(BadData, match=r"a.csv row 2: 3 fields, expected 2 \(text, label\); .*extra=drop"):
        tables.read("csv", place)
    assert tables.read("csv", place, {"extra": "drop"})[1] == {"text": "bad", "label": "0", "id": "a.csv:2"}


def test_a_column_named_twice_is_refused(tmp_path):
    with pytest.raises(BadData, match="two columns are called 'text'"):
        tables.read("csv", written(tmp_path, "a.csv", "text,label,text\na,b,c\n"))
    with pytest.raises(BadData, match="line 2: the key 'text' occurs twice"):
        tables.read("jsonl", written(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "a", "text": "b"}\n'))
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array([1])] * 2, names=["x", "x"]), buffer)
    with pytest.raises(BadData, match="two columns are called 'x'"):
        tables.read("parquet", written(tmp_path, "a.parquet", buffer.getvalue()))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet", "lines"])
def test_an_empty_or_missing_file_is_one_line(tmp_path, kind):
    for content in (b"", b"\n\n"):
        with pytest.raises(BadData, match="the file is empty"):
            tables.read(kind, written(tmp_path, "a.gz", content))
    with pytest.raises(BadData, match=r"no file .*gone"):
        tables.read(kind, str(tmp_path / "gone"))
    with pytest.raises(BadData, match=r"cannot read .*: Is a directory"):
        tables.read(kind, str(tmp_path))


def test_a_header_alone_has_no_rows(tmp_path):
    with pytest.raises(BadData, match="no rows"):
        tables.read("csv", written(tmp_path, "a.csv", "text,label\n"))
    with pytest.raises(BadData, match="no rows"):
        tables.read("json", written(tmp_path, "a.json", "[]"))


def test_unreadable_encoding_names_the_byte_and_the_encoding_that_would_do(tmp_path):
    place = written(tmp_path, "a.csv", "text,label\nfine,1\ncafé,0\n".encode("latin-1"))
    with pytest.raises(BadData, match=r"a.csv line 3: byte 0xe9 at offset 21 is not utf-8; cp1252 would .*\?encoding=cp1252"):
        tables.read("csv", place)
    assert tables.read("csv", place, {"encoding": "cp1252"})[1]["text"] == "café"
    place = written(tmp_path, "b.csv", "text,label\nfine,1\n".encode("utf-16"))
    with pytest.raises(BadData, match=r"add .encoding=utf-16"):
        tables.read("csv", place)
    assert tables.read("csv", place, {"encoding": "utf-16"})[0]["text"] == "fine"
    with pytest.raises(BadUsage, match="no encoding 'utf8x'"):
        tables.read("csv", place, {"encoding": "utf8x"})


def test_a_bad_json_line_is_named_and_dropped_only_on_demand(tmp_path):
    place = written(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "b\n"}\n[1]\n{"text": "c"}\n')
    with pytest.raises(BadData, match=r"a.jsonl line 2: not JSON .*broken=drop"):
        tables.read("jsonl", place)
    rows = tables.read("jsonl", place, {"broken": "drop"})
    assert [(row["text"], row["id"]) for row in rows] == [("a", "a.jsonl:1"), ("c", "a.jsonl:5")]
    with pytest.raises(BadData, match="line 1: expected an object"):
        tables.read("jsonl", written(tmp_path, "a.jsonl", "3\n"))
    with pytest.raises(BadData, match="expected a list of objects, found dict"):
        tables.read("json", written(tmp_path, "a.json", '{"text": "a"}'))


def test_lines_are_taken_apart_by_a_pattern(tmp_path):
    place = written(tmp_path, "a.txt", "IN: jump OUT: I_JUMP\nIN: look OUT: I_LOOK\n")
    assert [row["text"] for row in tables.read("lines", place)] == ["IN: jump OUT: I_JUMP", "IN: look OUT: I_LOOK"]
    rows = tables.read("lines", place, {"pattern": "IN: (?P<text>.*) OUT: (?P<label>.*)"})
    assert rows[1] == {"text": "look", "label": "I_LOOK", "id": "a.txt:2"}
    with pytest.raises(BadData, match=r"a.txt line 1: .* does not match"):
        tables.read("lines", place, {"pattern": "(?P<text>[a-z]*)"})
    with pytest.raises(BadUsage, match="names no column"):
        tables.read("lines", place, {"pattern": ".*"})
    with pytest.raises(BadUsage, match="pattern"):
        tables.read("lines", place, {"pattern": "(?P<text>"})


def test_damaged_gzip_and_parquet_are_bad_data(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\ngood\n")[:-9])
    with pytest.raises(BadData, match="damaged gzip file"):
        tables.read("csv", str(tmp_path / "a.csv.gz"))
    with pytest.raises(BadData, match="not a readable Parquet file"):
        tables.read("parquet", written(tmp_path, "a.parquet", b"PAR1 nothing"))


def test_unknown_options_give_the_nearest(tmp_path):
    place = written(tmp_path, "a.csv", "text\ngood\n")
    with pytest.raises(BadUsage, match="did you mean 'encoding'"):
        tables.read("csv", place, {"encodin": "utf-8"})
    with pytest.raises(BadUsage, match="header=maybe: expected yes or no"):
        tables.read("csv", place, {"header": "maybe"})
    with pytest.raises(BadUsage, match="parquet: has no option 'header'"):
        tables.read("parquet", place, {"header": "no"})
