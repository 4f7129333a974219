"""COGS: logical forms worked by hand, and files refused by row."""

import gzip

import pytest

from pellucid.data import cogs, cogs_kinds
from pellucid.data.cogs_grammar import conjuncts, logical_form, parsed, written
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.recipe import Data

BY_HAND = {
    "Emma slept .": "sleep . agent ( x _ 1 , Emma )",
    "A rose froze .": "rose ( x _ 1 ) AND freeze . theme ( x _ 2 , x _ 1 )",
    "The king painted .": "* king ( x _ 1 ) ; paint . agent ( x _ 2 , x _ 1 )",
    "The king saw a TV .": "* king ( x _ 1 ) ; see . agent ( x _ 2 , x _ 1 ) AND see . theme ( x _ 2 , x _ 4 ) AND tv ( x _ 4 )",
    "Liam sold the pen to a poet .": (
        "* pen ( x _ 3 ) ; sell . agent ( x _ 1 , Liam ) AND sell . theme ( x _ 1 , x _ 3 ) AND sell . recipient ( x _ 1 , x _ 6 ) "
        "AND poet ( x _ 6 )"
    ),
    "Liam sold a poet the pen .": (
        "* pen ( x _ 5 ) ; sell . agent ( x _ 1 , Liam ) AND sell . recipient ( x _ 1 , x _ 3 ) AND sell . theme ( x _ 1 , x _ 5 ) "
        "AND poet ( x _ 3 )"
    ),
    "A pen was sold to Liam by the poet .": (
        "* poet ( x _ 8 ) ; pen ( x _ 1 ) AND sell . theme ( x _ 3 , x _ 1 ) AND sell . recipient ( x _ 3 , Liam ) "
        "AND sell . agent ( x _ 3 , x _ 8 )"
    ),
    "Liam was sold a pen by a poet .": (
        "sell . recipient ( x _ 2 , Liam ) AND sell . theme ( x _ 2 , x _ 4 ) AND sell . agent ( x _ 2 , x _ 7 ) AND pen ( x _ 4 ) "
        "AND poet ( x _ 7 )"
    ),
    "A cat in the bag on a table beside the bed slept .": (
        "* bag ( x _ 4 ) ; * bed ( x _ 10 ) ; cat ( x _ 1 ) AND cat . nmod . in ( x _ 1 , x _ 4 ) AND bag . nmod . on ( x _ 4 , x _ 7 ) "
        "AND table ( x _ 7 ) AND table . nmod . beside ( x _ 7 , x _ 10 ) AND sleep . agent ( x _ 11 , x _ 1 )"
    ),
    "A cat beside Emma slept .": ("cat ( x _ 1 ) AND cat . nmod . beside ( x _ 1 , Emma ) AND sleep . agent ( x _ 4 , x _ 1 )"),
    "Emma said that the king hoped that a cake was eaten .": (
        "* king ( x _ 4 ) ; say . agent ( x _ 1 , Emma ) AND say . ccomp ( x _ 1 , x _ 5 ) AND hope . agent ( x _ 5 , x _ 4 ) "
        "AND hope . ccomp ( x _ 5 , x _ 10 ) AND cake ( x _ 8 ) AND eat . theme ( x _ 10 , x _ 8 )"
    ),
    "A king wanted to sleep .": (
        "king ( x _ 1 ) AND want . agent ( x _ 2 , x _ 1 ) AND want . xcomp ( x _ 2 , x _ 4 ) AND sleep . agent ( x _ 4 , x _ 1 )"
    ),
    "king": "LAMBDA a . king ( a )",
    "TV": "LAMBDA a . tv ( a )",
    "Emma": "Emma",
    "sleep": "LAMBDA a . LAMBDA e . sleep . agent ( e , a )",
    "freeze": "LAMBDA a . LAMBDA e . freeze . theme ( e , a )",
    "paint": "LAMBDA a . LAMBDA b . LAMBDA e . paint . agent ( e , b ) AND paint . theme ( e , a )",
}


@pytest.mark.parametrize("text", BY_HAND)
def test_logical_forms_are_those_worked_by_hand(text):
    assert logical_form(text) == BY_HAND[text]


@pytest.mark.parametrize("text", [text for text in BY_HAND if " " in text])
def test_a_structure_is_written_as_the_sentence_that_it_was_read_from(text):
    assert written(parsed(text)) == (text, BY_HAND[text])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("The king slept a cake .", "word 3, 'slept'"),
        ("Emma wanted to sell .", "word 4, 'sell'"),
        ("Emma gave .", "word 2, 'gave'"),
        ("Emma slept that Liam ate .", "word 2, 'slept'"),
        ("Emma was slept .", "word 3, 'slept'"),
        ("Emma ate a hedgehg .", "'hedgehg': expected a noun of COGS; the nearest is 'hedgehog'"),
        ("Ema ate .", "'Ema': expected A, The or a name of COGS; the nearest is 'Emma'"),
        ("Emma ate the Liam .", "word 4, 'Liam'"),
        ("Emma in a house slept .", "word 2, 'in'"),
        ("Emma ate", "at its end"),
        ("Emma ate . Liam slept .", "word 4, 'Liam'"),
        ("the king slept .", "word 1, 'the'"),
        ("", "at its end"),
        ("give", "'give'"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused_by_its_word(text, told):
    with pytest.raises(BadData) as error:
        logical_form(text)
    assert told in str(error.value)


def test_order_does_not_matter_to_conjuncts_and_everything_else_does():
    right = "* king ( x _ 1 ) ; * pen ( x _ 4 ) ; see . agent ( x _ 2 , x _ 1 ) AND see . theme ( x _ 2 , x _ 4 )"
    turned = "* pen ( x _ 4 ) ; * king ( x _ 1 ) ; see . theme ( x _ 2 , x _ 4 ) AND see . agent ( x _ 2 , x _ 1 )"
    assert conjuncts(right) == conjuncts(turned) and len(conjuncts(right)) == 4
    for wrong in (
        right.replace("* pen", "pen"),
        right.replace("theme", "agent"),
        right.replace("x _ 4", "x _ 3"),
        right.rpartition(" AND ")[0],
        right + " AND pen ( x _ 4 )",
    ):
        assert conjuncts(wrong) != conjuncts(right)
    alone = logical_form("paint")
    head, _, statements = alone.partition("LAMBDA e . ")
    first, second = statements.split(" AND ")
    assert conjuncts(f"{head}LAMBDA e . {second} AND {first}") == conjuncts(alone)
    assert conjuncts(f"LAMBDA a . LAMBDA e . {statements}") != conjuncts(alone)
    assert conjuncts("") == frozenset()


def test_the_21_kinds_are_18_lexical_and_3_structural():
    assert len(set(cogs_kinds.KINDS)) == 21
    assert len(cogs_kinds.LEXICAL) == 18 and len(cogs_kinds.STRUCTURAL) == 3
    assert {*cogs_kinds.LEXICAL, *cogs_kinds.STRUCTURAL} == set(cogs_kinds.KINDS)
    assert len(set(cogs_kinds.CATEGORIES)) == 21 + 2 + 12


# ---- files --------------------------------------------------------------------------------------------------------

GOOD = "Emma slept .\tsleep . agent ( x _ 1 , Emma )\tin_distribution"


def deep(preposition_phrases: int) -> str:
    text = "Emma saw a cat" + " in a box" * preposition_phrases + " ."
    return f"{text}\t{logical_form(text)}\tpp_recursion"


def written_file(tmp_path, lines: list[str], name: str = "some.tsv") -> str:
    raw = "".join(line + "\n" for line in lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(tmp_path / name)


@pytest.mark.parametrize("name", ["some.tsv", "some.tsv.gz"])
def test_rows_have_sentence_form_type_and_the_depth_of_a_recursion(tmp_path, name):
    place = written_file(tmp_path, [GOOD, deep(3), "Emma \tEmma"], name)
    assert read(Data(f"cogs:{place}")) == [
        {"id": f"{name}:1", "text": "Emma slept .", "label": "sleep . agent ( x _ 1 , Emma )", "category": "in_distribution"},
        {
            "id": f"{name}:2",
            "text": "Emma saw a cat in a box in a box in a box .",
            "label": logical_form("Emma saw a cat in a box in a box in a box ."),
            "category": "pp_recursion",
            "depth": 3,
        },
        {"id": f"{name}:3", "text": "Emma", "label": "Emma"},
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Emma slept .\tsleep\tsubj_to_obj_comon", "no type 'subj_to_obj_comon' in COGS; the nearest is 'subj_to_obj_common'"),
        (" \tsleep\tprimitive", "the sentence is empty"),
        ("Emma slept .\t\tprimitive", "the logical form is empty"),
        ("Emma slept .", "expected 3 columns parted by tabs, sentence, logical form and type, found 1"),
        ("", "expected 3 columns parted by tabs, sentence, logical form and type, found 1"),
        (GOOD + "\tmore", "found 4"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_row(tmp_path, line, told):
    place = written_file(tmp_path, [GOOD, line, GOOD])
    with pytest.raises(BadData) as error:
        read(Data(f"cogs:{place}"))
    assert str(error.value).startswith("some.tsv row 2: ") and told in str(error.value)


def test_recursion_up_to_a_depth_goes_from_the_test_to_training(tmp_path):
    gen = written_file(tmp_path, [deep(3), GOOD.replace("in_distribution", "prim_to_subj_common"), deep(4), deep(5)], "gen.tsv")
    train = written_file(tmp_path, [GOOD], "train.tsv")
    ids = {
        options: [row["id"] for row in read(Data(f"cogs:{place}?{options}"))]
        for place, options in [
            (gen, "to_depth=4"),
            (gen, "to_depth=4&part=test"),
            (gen, "to_depth=4&part=train"),
            (train, "with=gen.tsv&to_depth=3"),
        ]
    }
    assert ids == {
        "to_depth=4": ["gen.tsv:2", "gen.tsv:4"],
        "to_depth=4&part=test": ["gen.tsv:2", "gen.tsv:4"],
        "to_depth=4&part=train": ["gen.tsv:1", "gen.tsv:3"],
        "with=gen.tsv&to_depth=3": ["train.tsv:1", "gen.tsv:1"],
    }


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ("with=../gen.tsv&to_depth=3", UnsafeInput, "nothing outside"),
        ("with=/etc/passwd&to_depth=3", UnsafeInput, "nothing outside"),
        ("with=..&to_depth=3", UnsafeInput, "nothing outside"),
        ("with=some.tsv&to_depth=3", BadUsage, "the file itself"),
        ("with=none.tsv&to_depth=3", BadData, "no file"),
        ("with=some.tsv", BadUsage, "add &to_depth=3"),
        ("part=train", BadUsage, "add &to_depth=3"),
        ("part=dev&to_depth=3", BadUsage, "expected train or test"),
        ("part=train&with=gen.tsv&to_depth=3", BadUsage, "one of them"),
        ("to_depth=two", BadUsage, "whole number"),
        ("to_depth=0", BadUsage, "whole number"),
        ("to_depth=2", BadData, "the least depth is 3"),
        ("to_depht=2", BadUsage, "did you mean 'to_depth'"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, kind, told):
    place = written_file(tmp_path, [GOOD, deep(3)])
    with pytest.raises(kind) as error:
        read(Data(f"cogs:{place}?{options}"))
    assert told in str(error.value)


def test_a_file_without_recursion_or_with_nothing_else_cannot_be_parted(tmp_path):
    with pytest.raises(BadData, match="no row of type cp_recursion and pp_recursion"):
        cogs.read(written_file(tmp_path, [GOOD]), {"to_depth": "3"})
    with pytest.raises(BadData, match="leaves no row"):
        cogs.read(written_file(tmp_path, [deep(3)]), {"to_depth": "3"})


def test_the_types_of_a_group_are_kept_alone(tmp_path):
    row = "Emma slept .\tsleep . agent ( x _ 1 , Emma )\t"
    rows = [f"{row}prim_to_subj_common", f"{row}cp_recursion"]
    (tmp_path / "gen.tsv").write_text("\n".join(rows) + "\n")
    for group, kind in (("lexical", "prim_to_subj_common"), ("structural", "cp_recursion")):
        [row] = read(Data(f"cogs:{tmp_path}/gen.tsv?kinds={group}"))
        assert row["category"] == kind
    (tmp_path / "train.tsv").write_text("Emma slept .\tsleep . agent ( x _ 1 , Emma )\tin_distribution\n")
    with pytest.raises(BadData, match="no row is of a lexical type"):
        read(Data(f"cogs:{tmp_path}/train.tsv?kinds=lexical"))


def test_a_packed_file_is_found_under_its_plain_name(tmp_path):
    with gzip.open(tmp_path / "train.tsv.gz", "wt") as file:
        file.write("Emma slept .\tsleep . agent ( x _ 1 , Emma )\tin_distribution\n")
    assert read(Data(f"cogs:{tmp_path}/train.tsv"))[0]["text"] == "Emma slept ."


def test_fewer_common_rows_leave_all_that_show_a_word_once(tmp_path):
    row = "Emma slept .\tsleep . agent ( x _ 1 , Emma )\t"
    (tmp_path / "train.tsv").write_text(
        "\n".join(row + kind for kind in ["in_distribution"] * 9 + ["primitive", "exposure_example_active"])
    )
    kept = read(Data(f"cogs:{tmp_path}/train.tsv?common=4"))
    assert [r["category"] for r in kept] == ["in_distribution"] * 4 + ["primitive", "exposure_example_active"]
    assert kept == read(Data(f"cogs:{tmp_path}/train.tsv?common=4"))
    with pytest.raises(BadUsage, match="common=10: expected a whole number up to 9"):
        read(Data(f"cogs:{tmp_path}/train.tsv?common=10"))
