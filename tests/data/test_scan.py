"""SCAN from its grammar: the counts of the paper, hand-worked meanings, the rules of the splits, files of others."""

import collections
import gzip
import hashlib
import itertools
import json

import numpy as np
import pytest

from pellucid.data import scan
from pellucid.data.leaks import leaks
from pellucid.data.read import read
from pellucid.data.scan import splits
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data

L, R, WALK, LOOK, RUN, JUMP = "I_TURN_LEFT", "I_TURN_RIGHT", "I_WALK", "I_LOOK", "I_RUN", "I_JUMP"
LENGTHS = (
    "1:6 2:88 3:398 4:860 5:1184 6:1178 7:1104 8:1450 9:1256 10:1696 11:1072 12:1578 13:432 14:848 15:688 16:304 17:512 18:784 "
    "19:448 20:464 21:64 22:576 24:336 25:448 26:512 27:448 28:448 30:576 32:448 33:256 36:64 40:256 48:128"
)
SIZES = {
    "simple": (16728, 4182),
    "length": (16990, 3920),
    "addprim_jump": (14670, 7706),
    "addprim_turn_left": (21890, 1208),
    "template_around_right": (15225, 4476),
    "template_opposite_right": (15225, 4476),
    "template_right": (15225, 4476),
    "template_jump_around_right": (18528, 1173),
    "filler_num0": (15225, 1173),
    "filler_num1": (16290, 1173),
    "filler_num2": (17391, 1173),
    "filler_num3": (18528, 1173),
    "simple_p1": (209, 20701),
    "simple_p2": (418, 20492),
    "simple_p4": (836, 20074),
    "simple_p8": (1672, 19238),
    "simple_p16": (3345, 17565),
    "simple_p32": (6691, 14219),
    "simple_p64": (13382, 7528),
}


def texts(place):
    return [row["text"] for row in scan.read(place, {})]


def refusal(content, tmp_path, **options):
    """What is said about a file of this content."""
    file = tmp_path / "tasks.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadData) as caught:
        scan.read(str(file), options)
    return str(caught.value)


# ---- the grammar --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "done"),
    [
        ("run", [RUN]),
        ("look left", [L, LOOK]),
        ("jump opposite right", [R, R, JUMP]),
        ("walk around left", [L, WALK] * 4),
        ("turn right", [R]),
        ("turn opposite left", [L, L]),
        ("turn around right", [R] * 4),
        ("turn left twice", [L, L]),
        ("run around right thrice", [R, RUN] * 12),
        ("jump twice and turn left", [JUMP, JUMP, L]),
        ("jump twice after turn left", [L, JUMP, JUMP]),
        ("jump opposite left after walk around left", [L, WALK] * 4 + [L, L, JUMP]),
    ],
)
def test_a_command_means_what_the_paper_says(command, done):
    assert scan.actions(command) == done


def test_brackets_stand_from_the_left_and_after_turns_round_all_before_it():
    assert scan.actions("walk after run and jump") == [RUN, WALK, JUMP]  # from the right it would be run, jump, walk
    assert scan.actions("walk and run after jump") == [JUMP, WALK, RUN]  # from the right: walk, jump, run
    assert scan.actions("walk after run after jump and look") == [JUMP, RUN, WALK, LOOK]


def test_the_whole_set_is_the_published_one():
    rows = scan.read("all", {})
    assert len(rows) == len({row["text"] for row in rows}) == 20910
    lines = sorted(f"IN: {row['text']} OUT: {row['label']}\n" for row in rows)
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == "6be4b39bc8bf3a20be810b6991250d0493e608560609db6765dd679e1ed1c98e"
    counts = collections.Counter(len(row["label"].split()) for row in rows)
    assert " ".join(f"{length}:{count}" for length, count in sorted(counts.items())) == LENGTHS
    assert max(len(row["text"].split()) for row in rows) == 9


def test_the_oracle_reads_every_command_as_it_was_made():
    assert all(" ".join(scan.actions(row["text"])) == row["label"] for row in scan.read("all", {})[::11])


def test_the_oracle_takes_no_other_string_of_words():
    """All strings of up to four of these words, of which the whole set has what it should."""
    words = ("walk", "turn", "left", "opposite", "around", "twice", "and", "after")
    known = set(texts("all"))
    for length in range(5):
        for said in itertools.product(words, repeat=length):
            command = " ".join(said)
            try:
                scan.actions(command)
            except BadData:
                assert command not in known
            else:
                assert command in known


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("walk around up", "word 3 is 'up'; expected one of left, right"),
        ("jump left twice thrice", "word 4 is 'thrice'; expected one of and, after"),
        ("Walk", "word 1 is 'Walk'; expected one of walk, look, run, jump, turn"),
        ("turn", "ends after word 1; expected one more of opposite, around, left, right"),
        ("run and", "ends after word 2; expected one more of walk, look, run, jump, turn"),
        ("", "ends after word 0"),
    ],
)
def test_a_command_outside_the_grammar_is_refused_at_its_word(command, said):
    with pytest.raises(BadData, match=f"^command '{command}': .*{said}"):
        scan.actions(command)


# ---- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_a_split_has_the_published_sizes_and_no_command_on_both_sides(name):
    train, test = texts(f"{name}/train"), texts(f"{name}/test")
    assert (len(train), len(test)) == SIZES[name]
    assert not set(train) & set(test)
    assert len(set(test)) == len(test)


def test_every_random_split_has_its_stored_membership_and_is_called_as_officially():
    with np.load(splits.__file__.replace("splits.py", "members.npz"), allow_pickle=False) as stored:
        names = set(stored["names"].tolist())
    assert len(names) == 93 and len(splits.NAMES) == len(set(splits.NAMES)) == 104
    assert names | {name for name in SIZES if name == "length" or name.startswith(("addprim", "template", "filler"))} == set(splits.NAMES)


@pytest.mark.parametrize(("name", "lone", "copies"), [("addprim_jump", "jump", 1467), ("addprim_turn_left", "turn left", 2189)])
def test_the_lone_command_of_addprim_is_a_tenth_of_the_training_rows(name, lone, copies):
    rows = scan.read(f"{name}/train", {})
    assert sum(row["text"] == lone for row in rows) == copies == len(rows) / 10
    assert len({row["id"] for row in rows}) == len(rows)
    assert sum(lone in row["text"] for row in rows) == copies


def test_turn_left_in_the_test_set_is_two_words_side_by_side():
    assert all("turn left" in text for text in texts("addprim_turn_left/test"))
    assert "turn opposite left" in texts("addprim_turn_left/train")


def test_the_length_split_parts_at_22_actions():
    train, test = ([len(row["label"].split()) for row in scan.read(f"length/{part}", {})] for part in ("train", "test"))
    assert (min(train), max(train), min(test), max(test)) == (1, 22, 24, 48)


def test_a_filler_is_the_only_one_seen_with_around_right():
    for number, seen in enumerate([set(), {"look"}, {"look", "walk"}, {"look", "walk", "run"}]):
        train = " | ".join(texts(f"filler_num{number}/train"))
        assert {verb for verb in ("walk", "look", "run", "jump", "turn") if f"{verb} around right" in train} == seen


@pytest.mark.parametrize("number", [1, 4, 32])
def test_complex_jump_adds_commands_to_the_lone_one_as_often_each(number):
    counts = collections.Counter(text for text in texts(f"addprim_complex_jump_num{number}_rep2/train") if "jump" in text)
    assert "jump" in counts and len(counts) == number + 1
    assert set(counts.values()) == {round(1467 / (number + 1))}
    assert len(texts(f"addprim_complex_jump_num{number}_rep2/test")) == 7706 - number


def test_few_shots_are_looks_around_right_on_top_of_filler_0():
    base = set(texts("filler_num0/train"))
    added = [set(texts(f"fewshot_num16_rep{repeat}/train")) - base for repeat in (1, 2)]
    assert [len(a) for a in added] == [16, 16]
    assert all("look around right" in text for text in added[0])
    assert added[0] != added[1]
    assert texts("fewshot_num16_rep1/test") == texts("filler_num0/test")


def test_rows_are_sorted_by_command_with_the_place_in_their_ids():
    rows = read(Data("scan:length/test"))
    assert rows[16]["id"] == "scan:length/test:17"
    assert set(rows[0]) == {"id", "text", "label"}
    for place in ("length/test", "addprim_jump/train", "fewshot_num8_rep1/train", "simple/train"):
        assert texts(place) == sorted(texts(place))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("smple/train", "no split 'smple'; did you mean 'simple'"),
        ("add_jump/test", "did you mean 'addprim_jump'"),
        ("fewshot_num3_rep1/train", "did you mean 'fewshot_num3"),
        ("xyz/train", "there are all, longer, simple, .*fewshot_numN_repR"),
        ("simple", "expected scan:simple/train or scan:simple/test"),
        ("simple/dev", "expected scan:simple/train or scan:simple/test"),
        ("all/test", "expected scan:all$"),
        ("longer/train", "expected scan:longer/test"),
        ("all?num=3", "has no option 'num'"),
    ],
)
def test_a_wrong_place_is_met_with_one_that_would_do(place, said):
    with pytest.raises(BadUsage, match=said):
        read(Data(f"scan:{place}"))


# ---- longer commands ----------------------------------------------------------------------------------------------


def test_longer_commands_have_their_clauses_and_the_oracles_actions():
    for parts in (3, 5):
        rows = read(Data(f"scan:longer/test?parts={parts}&num=60"))
        assert len({row["text"] for row in rows}) == len({row["id"] for row in rows}) == 60
        assert all(sum(row["text"].split().count(joint) for joint in ("and", "after")) == parts - 1 for row in rows)
        assert all(" ".join(scan.actions(row["text"])) == row["label"] for row in rows)


def test_longer_commands_can_all_be_longer_than_any_published():
    rows = read(Data("scan:longer/test?over=48&num=200"))
    lengths = [len(row["label"].split()) for row in rows]
    assert min(lengths) == 49 or min(lengths) == 50
    assert max(lengths) <= 72


def test_every_longest_command_is_drawn_once_and_no_more_can_be_asked_for():
    """24 actions are {walk, look, run, jump} around {left, right} thrice: 8 clauses, three of them in 8^3 ways, two joints in 4."""
    rows = read(Data("scan:longer/test?over=71&num=2048"))
    assert len({row["text"] for row in rows}) == 8**3 * 4
    assert {len(row["label"].split()) for row in rows} == {72}
    with pytest.raises(BadUsage, match="there are 2048 such commands"):
        read(Data("scan:longer/test?over=71&num=2049"))
    with pytest.raises(BadUsage, match="3 clauses have at most 72 actions"):
        read(Data("scan:longer/test?over=72"))


def test_all_clauses_are_drawn_equally_often():
    """Clauses of 1,000 commands, each of 102 expected 29 times: the statistic has 101 degrees of freedom, deviation 14."""
    rows = read(Data("scan:longer/test?num=1000&seed=1"))
    clauses = collections.Counter(clause for row in rows for clause in row["text"].replace(" after ", " and ").split(" and "))
    assert len(clauses) == 102 and sum(clauses.values()) == 3000
    assert 60 < sum((count - 3000 / 102) ** 2 / (3000 / 102) for count in clauses.values()) < 150
    assert 920 < sum(row["text"].split().count("after") for row in rows) < 1080


def test_a_seed_gives_the_same_commands_and_fewer_are_the_first_of_more():
    few, many, other = (read(Data(f"scan:longer/test?{query}")) for query in ("num=20", "num=50", "num=50&seed=7"))
    assert few == many[:20]
    assert not {row["text"] for row in many} & {row["text"] for row in other}


@pytest.mark.parametrize("query", ["parts=2", "parts=51", "parts=x", "num=0", "seed=-1", "over=1.5", "length=3"])
def test_a_wrong_option_of_longer_commands_is_refused(query):
    with pytest.raises(BadUsage, match=f"^scan:longer/test: (has no option )?'?{query.partition('=')[0]}"):
        read(Data(f"scan:longer/test?{query}"))


def test_a_number_of_thousands_of_digits_is_refused_like_any_other():
    with pytest.raises(BadUsage, match="expected a whole number of 1 to 100000"):
        scan.read("longer/test", {"num": "9" * 5000})


# ---- files --------------------------------------------------------------------------------------------------------


def test_files_in_either_form_plain_or_gzipped_give_the_same_rows(tmp_path):
    pairs = [("jump twice", f"{JUMP} {JUMP}"), ("zap ABOUT: it", "I_ZAP")]
    official = "".join(f"IN: {text} OUT: {label}\n" for text, label in pairs)
    orhan = "".join(json.dumps({"translation": {"en": text, "mentalese": label}}) + "\n" for text, label in pairs)
    (tmp_path / "tasks.txt").write_text(official)
    (tmp_path / "crlf.txt").write_bytes(official.replace("\n", "\r\n").encode("utf-8-sig"))
    (tmp_path / "tasks.txt.gz").write_bytes(gzip.compress(official.encode()))
    (tmp_path / "train.json").write_text(orhan)
    (tmp_path / "train.json.gz").write_bytes(gzip.compress(orhan.encode()))
    for name in ("tasks.txt", "crlf.txt", "tasks.txt.gz", "train.json", "train.json.gz"):
        rows = read(Data(f"scan:{tmp_path / name}"))
        assert rows == [{"id": f"{name}:{i}", "text": text, "label": label} for i, (text, label) in enumerate(pairs, 1)], name


def test_blanks_are_single_and_a_blank_line_is_counted_and_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("\nIN:  jump   left OUT:  I_TURN_LEFT  I_JUMP  \n\n\nIN: run OUT: I_RUN\n")
    first, second = scan.read(str(tmp_path / "a.txt"), {})
    assert first == {"id": "a.txt:2", "text": "jump left", "label": f"{L} {JUMP}"}
    assert second["id"] == "a.txt:5"


def test_a_split_is_generated_though_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all").write_text("IN: run OUT: I_RUN\n")
    assert len(scan.read("all", {})) == 20910
    assert len(scan.read("./all", {})) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("walk\tI_WALK", "tasks.txt line 2: 'walk\\tI_WALK' has no IN: and OUT:; expected 'IN: COMMAND OUT: ACTIONS'"),
        ("IN: walk", "tasks.txt line 2: 'IN: walk' has no IN: and OUT:"),
        ("IN: OUT: I_WALK", "tasks.txt line 2: no command for the actions 'I_WALK'"),
        ("IN: walk OUT:", "tasks.txt line 2: no actions for the command 'walk'"),
        ("IN: walk OUT: I_WALK IN: run OUT: I_RUN", "tasks.txt line 2: IN: stands there twice"),
        ("IN: walk OUT: I_WALK OUT: I_RUN", "tasks.txt line 2: OUT: stands there twice"),
    ],
)
def test_a_line_that_is_no_command_and_actions_is_refused_by_its_number(line, said, tmp_path):
    assert said in refusal(f"IN: jump OUT: I_JUMP\n{line}\n", tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"en": "walk", "mentalese": "I_WALK"}, "line 2: found 'en', 'mentalese'; expected"),
        ({"translation": ["walk", "I_WALK"]}, "line 2: found a translation that is list"),
        ({"translation": {"en": "walk"}}, "line 2: no 'mentalese' in its translation"),
        ({"translation": {"en": 3, "mentalese": "I_WALK"}}, "line 2: int as 'en' in its translation"),
        ({"translation": {"en": " ", "mentalese": "I_WALK"}}, "line 2: no command for the actions 'I_WALK'"),
        ({"translation": {"en": "walk", "mentalese": ""}}, "line 2: no actions for the command 'walk'"),
    ],
)
def test_a_translation_without_command_or_actions_is_refused_by_its_line(line, said, tmp_path):
    good = json.dumps({"translation": {"en": "jump", "mentalese": JUMP}})
    assert f"tasks.txt {said}" in refusal(f"{good}\n{json.dumps(line)}\n", tmp_path)


def test_other_damage_is_named_with_what_would_do(tmp_path):
    assert "line 2: byte 0xe9 at offset 28 is not utf-8" in refusal(b"IN: jump OUT: I_JUMP\nIN: caf\xe9 OUT: I_X\n", tmp_path)
    assert scan.read(str(tmp_path / "tasks.txt"), {"encoding": "latin-1"})[1]["text"] == "café"
    assert "the file is empty" in refusal("", tmp_path)
    assert "tasks.txt: no rows" in refusal("\ufeff\n \n", tmp_path)
    assert "damaged gzip file" in refusal(gzip.compress(b"IN: run OUT: I_RUN\n" * 50)[:-9], tmp_path)
    assert "line 2: not JSON" in refusal('{"translation": {"en": "a", "mentalese": "b"}}\n{"transl', tmp_path)
    with pytest.raises(BadData, match=r"no file .*other\.txt"):
        scan.read(str(tmp_path / "other.txt"), {})
    with pytest.raises(BadUsage, match="has no option 'num'"):
        scan.read(str(tmp_path / "tasks.txt"), {"num": "3"})


def test_a_command_of_the_training_set_in_a_test_file_is_reported(tmp_path):
    train = read(Data("scan:length/train", limit=500))
    lines = [*("IN: {text} OUT: {label}".format(**row) for row in train[:2]), "IN: jump jump jump OUT: I_JUMP"]
    (tmp_path / "test.txt").write_text("\n".join(lines))
    told = leaks(train, {"mine": read(Data(f"scan:{tmp_path / 'test.txt'}")), "theirs": read(Data("scan:length/test", limit=50))})["sets"]
    assert (told["mine"]["n"], told["mine"]["exact"]) == (3, 2)
    first = told["mine"]["examples"][0]
    assert (first["test_id"], first["train_id"], first["kind"]) == ("test.txt:1", train[0]["id"], "exact")
    assert told["theirs"]["exact"] == 0


def test_a_split_by_any_length_is_made_of_least_and_most():
    short, long = read(Data("scan:all?most=10")), read(Data("scan:all?least=11"))
    assert (len(short), len(short) + len(long)) == (9_220, 20_910)  # 6 + 88 + ... + 1,696 of the histogram
    assert max(len(row["label"].split()) for row in short) == 10
    assert not {row["text"] for row in short} & {row["text"] for row in long}
    for wrong in ("most=0", "most=many", "over=3"):
        with pytest.raises(BadUsage, match=wrong.split("=")[0]):
            read(Data(f"scan:all?{wrong}"))
