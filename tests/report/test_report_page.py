import html.parser
import json
import pathlib
import re

import pytest
import report_run

from pellucid.errors import BadData, BadUsage
from pellucid.report import page

VOID, CLOSED = {"meta", "br"}, {"line", "path", "circle", "rect"}  # of HTML; of SVG, where they close themselves
FILES = ("environment", "evaluate", "shift", "detection", "leaks", "explanations", "comparison")
SECTION_OF = {"detection": "detection", "explanations": "explained", "comparison": "comparison"}


class Balance(html.parser.HTMLParser):
    """Every tag that opens closes, in order; ids are unique; gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.said = [], [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in CLOSED, f"<{tag}/> does not close itself in HTML"

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self.said += [" "] if tag in ("td", "th") else []

    def handle_data(self, data):
        self.said.append(data)


def balanced(text: str) -> Balance:
    found = Balance()
    found.feed(text)
    found.close()
    assert not found.open
    assert len(set(found.ids)) == len(found.ids)
    return found


def said(text: str) -> str:
    """What a reader sees, spaces made single."""
    return " ".join("".join(balanced(text).said).split())


@pytest.fixture
def run(tmp_path) -> pathlib.Path:
    return report_run.write_run(tmp_path / "run")


def change(run: pathlib.Path, name: str, edit) -> None:
    path = run / "results" / f"{name}.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_the_page_is_well_formed_and_its_labels_point_at_something(run):
    text = page.write(run).read_text()
    ids = balanced(text).ids
    for named in re.findall(r'aria-labelledby="([^"]+)"', text):
        assert set(named.split()) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing(run):
    text = page.write(run).read_text().lower()
    for forbidden in ("http://", "https://", "<script", "src=", "@import", "url(", "javascript:", "<link", " onload", "xlink"):
        assert forbidden not in text
    assert "default-src 'none'" in text


def test_the_first_sentence_says_home_and_every_clear_loss(run):
    expected = (
        "84.9% accuracy at home [82.7, 87.1]; loses 9.9 points on tweets and 4.1 points on amazon; no clear change on editorials; "
        "mean change \u22124.8 (MiniLM, fine-tuned) against \u221212.6 to \u221216.7 (the 3 others)."
    )
    assert expected in said(page.write(run).read_text())


def test_the_numbers_of_every_file_are_on_the_page(run):
    text = said(page.write(run).read_text())
    shown = {
        "environment": ["22,713,986", "4 min 14 s", "2dcbf35aa19b", "3.1%", report_run.ENVIRONMENT["command"]],
        "shift": ["80.8% [79.4, 82.2]", "\u22129.9 [\u221212.5, \u22127.3]", "ECE 0.087 \u2192 0.029 at temperature 1.46"],
        "detection": ["\u2605 mahalanobis 0.747 0.580 86.0%", "base rate 33.2%"],
        "leaks": ["8,057 rows", "movies/train:4021"],
        "comparison": ["60.5%", "\u221216.7"],
        "explanations": ["moving +0.40", "completeness gap 0.2%", "area 0.330", "probability 96.9%", "wrong, label is positive"],
        "recipe": ["sentiment:editorials", "optim.betas 0.9, 0.999"],
    }
    assert [number for numbers in shown.values() for number in numbers if number not in text] == []


def test_repeats_with_their_labels_are_told_as_leaks_or_as_contradictions(run):
    plain = said(page.write(run).read_text()).rpartition("Data checks")[2].partition("Repeated rows")[0]
    assert "movies leaks" in plain and "label" not in plain
    change(run, "leaks", lambda v: v["sets"]["movies"].update(same_label=0, other_label=2, near_same_label=0))
    change(run, "leaks", lambda v: v["sets"]["movies"]["examples"][0].update(label="other"))
    text = said(page.write(run).read_text())
    assert "movies contradicted" in text and "movies leaks" not in text
    assert "2 (0 same label, 2 other) 5 (0 same label)" in text and "exact, other label" in text
    assert "is a contradiction in the data" in text


@pytest.mark.parametrize("name", SECTION_OF)
def test_a_missing_result_leaves_its_section_out(run, name):
    (run / "results" / f"{name}.json").unlink()
    text = page.write(run).read_text()
    assert f'id="{SECTION_OF[name]}"' not in text
    assert f'href="#{SECTION_OF[name]}"' not in text
    others = set(SECTION_OF.values()) - {SECTION_OF[name]}
    assert all(f'id="{other}"' in text for other in others)


def test_a_recipe_alone_makes_a_page(tmp_path):
    (tmp_path / "recipe.yaml").write_text("recipe: a:b\n")
    text = page.write(tmp_path).read_text()
    assert "not yet measured" in said(text)
    assert "pellucid train a:b" in said(text)
    assert re.findall(r'<section id="(\w+)"', text) == ["setting"]


def test_without_shift_the_first_test_set_of_the_recipe_is_the_headline(run):
    (run / "results/shift.json").unlink()
    (run / "results/comparison.json").unlink()
    change(run, "evaluate", lambda v: v.update(sets=dict(reversed(v["sets"].items()))))
    text = page.write(run).read_text()
    assert "84.9% accuracy on movies (1,008 examples)." in said(text)
    assert 'id="reliability"' not in text


def test_a_set_measured_after_the_shift_is_in_the_table_without_a_change(run):
    change(run, "evaluate", lambda v: v["sets"].update(mine={"n": 7, "metrics": {"accuracy": {"value": 0.5, "higher_is_better": True}}}))
    assert "mine 7 50.0%" in said(page.write(run).read_text())


def test_an_error_that_grows_is_told_as_a_loss(run):
    def rename(value):
        for found in value["sets"].values():
            accuracy = found["metrics"]["accuracy"]
            low, high = -accuracy["drop_high"], -accuracy["drop_low"]
            flipped = {"value": 1 - accuracy["value"], "drop": -accuracy["drop"], "drop_low": low, "drop_high": high}
            found["metrics"] = {"error": flipped | {"higher_is_better": False}}

    change(run, "shift", rename)
    (run / "results/evaluate.json").unlink()
    text = page.write(run).read_text()
    assert "is worse by 9.9 points on tweets" in said(text)
    assert "\u25bc +9.9" in said(text)
    assert "\u25b2" not in text.split("<tbody>", 2)[2]


def test_the_best_of_a_column_is_the_least_where_less_is_better(run):
    def flip(value):
        for found in value["sets"].values():
            found["metrics"]["accuracy"]["higher_is_better"] = False

    change(run, "shift", flip)
    change(run, "evaluate", flip)
    assert re.findall(r"\u2605 (\d\d\.\d%)", said(page.write(run).read_text())) == ["78.0%", "60.5%", "61.6%", "62.7%"]


def test_markup_in_names_and_texts_stays_text(run):
    bad = "<script>alert('x')</script>\"><b onload=1>"
    results = run / "results"
    for path in results.glob("*.json"):
        text = path.read_text()
        for word in ("movies", "mahalanobis", "moving", "macro_f1", "MiniLM, fine-tuned", "0.1.0", "movies/test:17", "iba", "positive"):
            text = text.replace(json.dumps(word), json.dumps(bad)) if path.stem != "detection" or word != "positive" else text
        path.write_text(text)
    (run / "recipe.yaml").write_text("recipe: " + json.dumps(bad) + "\ntests: {" + json.dumps(bad) + ": 1}\n")
    text = page.write(run).read_text()
    assert "<script" not in text
    assert "<b onload" not in text
    assert said(text).count("<script>alert('x')</script>") > 20


def test_numbers_that_are_none_or_nan_are_told_as_missing(run):
    def spoil(value):
        value["sets"]["tweets"]["metrics"]["accuracy"] |= dict.fromkeys(
            ("value", "low", "high", "drop", "drop_low", "drop_high"), float("nan")
        )
        value["sets"]["amazon"]["calibration"]["ece"] = None

    change(run, "shift", spoil)
    change(run, "explanations", lambda v: v["examples"][0]["methods"]["lime"]["relevance"].__setitem__(0, float("nan")))
    change(run, "comparison", lambda v: v["rows"][0]["values"].update(tweets=None))
    text = page.write(run).read_text()
    assert "tweets 3,432 n/a" in said(text)
    assert "ECE n/a" in said(text)
    assert 'title="a: n/a"' in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


@pytest.mark.parametrize("name", FILES)
def test_a_result_cut_short_is_refused_by_name(run, name):
    path = run / "results" / f"{name}.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(BadData, match=rf"results.{name}\.json: not JSON"):
        page.write(run)
    assert not list(run.glob("*report*")) + list(run.glob(".report*"))


@pytest.mark.parametrize("name", FILES)
def test_a_result_of_another_kind_is_refused_by_name(run, name):
    (run / "results" / f"{name}.json").write_text("[1]")
    with pytest.raises(BadData, match=rf"results.{name}\.json: it is \[1\], expected an object"):
        page.write(run)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        (
            "shift",
            lambda v: v["sets"]["tweets"]["metrics"]["accuracy"].update(low="x"),
            r"sets\.tweets\.metrics\.accuracy\.low is \"x\", expected a number",
        ),
        ("shift", lambda v: v["sets"]["tweets"].pop("n"), r"no field 'sets\.tweets\.n'"),
        ("leaks", lambda v: v.update(train=True), r"train is true, expected a whole number"),
        ("detection", lambda v: v["sets"]["scan"]["methods"]["energy"].update(roc=[[0, "1"]]), r"roc\[0\]\[1\] is \"1\""),
        ("explanations", lambda v: v["examples"][1]["words"].pop(), r"example 'movies/test:18', method 'iba': 25 numbers for 24 words"),
    ],
)
def test_a_wrong_field_is_named(run, name, edit, message):
    change(run, name, edit)
    with pytest.raises(BadData, match=rf"{name}\.json: .*{message}"):
        page.write(run)


def test_a_log_cut_short_is_refused_with_its_line(run):
    path = run / "metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    count = len(path.read_text().splitlines())
    with pytest.raises(BadData, match=rf"metrics\.jsonl:{count}: not JSON"):
        page.write(run)


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(BadData, match="not a run"):
        page.write(tmp_path)


def test_a_page_that_stood_there_survives_a_failure(run):
    before = page.write(run).read_bytes()
    (run / "results/shift.json").write_text("{")
    with pytest.raises(BadData):
        page.write(run)
    assert (run / "report.html").read_bytes() == before
    assert [p.name for p in run.iterdir() if "report" in p.name] == ["report.html"]


def test_a_reader_of_the_old_page_never_sees_half_of_the_new_one(run):
    with page.write(run).open() as old:
        (run / "results/detection.json").unlink()
        page.write(run)
        assert 'id="detection"' in old.read()


def test_a_place_that_cannot_be_written_is_said_in_one_line(run):
    (run / "report.html").mkdir()
    with pytest.raises(BadUsage, match=r"report\.html: cannot be written"):
        page.write(run)
    assert not list(run.glob(".report*"))


def test_the_same_run_gives_the_same_bytes(run):
    assert page.write(run).read_bytes() == page.write(run).read_bytes()


def test_half_a_character_from_json_still_makes_a_page(run):
    change(run, "explanations", lambda v: v["examples"][0]["words"].__setitem__(0, "\ud83d"))
    assert 'title="?: ' in page.write(run).read_text(encoding="utf-8")


def test_explanations_alone_make_a_page_of_their_own():
    text = page.explanations(report_run.explanations())
    assert "2 of 1,000 explained examples" in said(text)
    assert "moving +0.40" in said(text)
    assert "<section id=" not in text


def test_explanations_written_before_there_were_checks_and_flows_make_a_page():
    found = report_run.explanations()
    for name in ("num", "passes", "summary"):
        del found[name]
    for example in found["examples"]:
        del example["answer"], example["flow"]
        for method in example["methods"].values():
            del method["checks"]
    text = page.explanations(found)
    assert "2 explained examples" in said(text)
    assert "moving +0.40" in said(text)
    assert not any(new in text for new in ("Information flow", 'class="checkline"', 'class="summary"', "None"))


def test_the_page_tells_every_check_its_better_side_and_the_best_of_all():
    text = said(page.explanations(report_run.explanations()))
    assert "deletion↑ 0.41 sufficiency↓ 0.020 agreement 0.80" in text
    assert "All 1,000 examples" in text
    assert "IBA ★ 0.410 [0.390, 0.430] ★ 0.020 [0.010, 0.030] 52" in text
    assert "occlusion 0.360 [0.340, 0.380] 0.070 [0.060, 0.080] ★ 12" in text
    assert "IBA \u2013 0.60 0.50 0.40" in text


def test_an_answer_that_was_not_predicted_and_whole_passes_are_said():
    found = report_run.explanations()
    assert "explained: " not in page.explanations(found)
    found["examples"][1]["answer"] = "positive"
    found["passes"] = "the encoder drops out"
    text = said(page.explanations(found))
    assert text.count("explained: positive") == 1
    assert "ran the whole model, not only what lies above the site: the encoder drops out." in text


def test_a_flow_that_fits_neither_words_nor_sites_is_refused_by_name(run):
    change(run, "explanations", lambda v: v["examples"][1]["flow"]["relevance"].pop())
    with pytest.raises(BadData, match=r"explanations\.json: example 'movies/test:18': flow has 6 rows of \[25\] for 7 sites and 25 words"):
        page.write(run)


def test_explanations_without_curves_labels_or_scores_make_a_page():
    found = {
        "examples": [{"id": "1", "prediction": 3.25, "label": None, "words": ["a", "b"], "methods": {"iba": {"relevance": [0.5, 1.0]}}}]
    }
    text = page.explanations(found)
    assert "3.25" in said(text)
    assert "<figure" not in text
    assert 'class="tag' not in text


def test_explanations_of_another_form_are_refused():
    with pytest.raises(BadData, match="examples is 3, expected a list"):
        page.explanations({"examples": 3})
