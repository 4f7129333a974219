"""What a person reads: colours, the legend, the record of an example."""

from rich.console import Console

from pellucid.explain import render
from pellucid.explain.render import coloured, legend


def test_words_for_are_blue_words_against_orange_and_the_strongest_is_full():
    text = coloured(["good", "dull", "and", "fine"], [2.0, -2.0, 0.0, 1.0])
    assert text.plain == "good dull and fine"
    grounds = [span.style.bgcolor and tuple(span.style.bgcolor.triplet) for span in text.spans]
    assert grounds == [(33, 113, 181), (217, 95, 2), (144, 184, 218)]  # "and" has no ground


def test_markup_in_the_words_is_only_text():
    console = Console(force_terminal=True, color_system="truecolor", width=200)
    with console.capture() as capture:
        console.print(coloured(["[red]", "x[/]"], [1.0, 0.0]))
    assert "[red]" in capture.get() and "x[/]" in capture.get()


def test_nothing_relevant_has_no_colour():
    assert all(not span.style for span in coloured(["a", "b"], [0.0, 0.0]).spans)


def test_the_legend_tells_the_strongest_words_in_figures():
    text = legend(["good", "dull", "and", "fine"], [2.0, -2.5, 0.0, 1.0]).plain
    assert "for" in text and "against" in text
    assert text.endswith("strongest: dull -2.5, good +2, fine +1")


FLOW = {"method": "iba", "unit": "nats", "sites": ["embedding", "layer.0"], "relevance": [[1.0, 4.0, 0.0], [2.0, -4.0, 0.4]]}


def told(*parts, width: int = 80) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(*parts)
    return capture.get()


def test_a_flow_is_shaded_from_below_to_above_without_needing_colour():
    assert render.flow(["not", "bad", "."], FLOW).plain.split("\n") == [
        "     flow iba 4 nats is full",
        "  layer.0 ▒▒▒ ###  ",
        "embedding ░░░ ███  ",
        "          not bad .",
    ]


def test_words_that_do_not_fit_the_line_go_on_below_with_their_sites():
    words = [f"word{i}" for i in range(30)]
    row = [float(i) for i in range(30)]
    lines = render.flow(words, {"sites": ["a", "b"], "relevance": [row, row]}, 40).plain.split("\n")
    assert max(len(line) for line in lines) <= 40
    assert " ".join(lines[3::3]).split() == words
    assert [line.split()[0] for line in lines[1::3]] == ["b"] * len(lines[1::3])


def test_wide_letters_take_two_cells_and_long_words_are_cut():
    lines = render.flow(["好看", "x" * 40, ""], {"sites": ["a"], "relevance": [[1.0, None, 1.0]]}).plain.split("\n")
    assert lines[1:] == ["a ████ " + " " * 14 + " █", "  好看 " + "x" * 13 + "… ·"]


def test_the_checks_of_one_explanation_are_a_line():
    assert render.checks({"deletion_auc": 0.4567, "sufficiency": None}).plain == "deletion auc 0.46 · sufficiency n/a"
    assert render.meanings(["sufficiency", "unknown"]).plain == "sufficiency: score lost with those words alone (ERASER); smaller is better"


def test_the_summary_holds_every_mean_over_its_interval_however_narrow_the_terminal():
    one = {"mean": 0.3456, "low": 0.3, "high": 0.4, "n": 1000}
    checks = {m: {"comprehensiveness": one, "deletion": None if m == "lime" else one} for m in ("iba", "lime", "integrated_gradients")}
    checks["lime"]["deletion"] = {"mean": None, "low": None, "high": None, "n": 0}
    found = {"n": 1000, "checks": checks, "ms_per_example": {"iba": 1234.5, "lime": 0.5}}
    for width in (60, 120):
        text = told(render.summary(found), width=width)
        assert "1,000 examples" in text and "comprehensiveness" in text and "n/a" in text
        assert text.count("0.346") == 5 and "1,234" in text
        assert "…" not in text
