"""Every command and program the README shows is run, in order, in one empty folder."""

import json
import pathlib
import re
import shlex
import shutil
import tomllib

import pytest

from pellucid import cli

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LONG = ("pellucid demo", "robustness:minilm")  # minutes and a download: `pytest -m slow` runs them


DEMO = (re.search(r"<!-- demo -->\n```text\n(.*?)```", README, re.S) or [""] * 2)[1].splitlines()


def blocks(language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    return [text for kind, text in fenced if kind == language]


def commands():
    lines = [line for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line.startswith("pellucid ")]


def run(line):
    assert cli.main(shlex.split(line)[1:]) == 0, line


def test_every_quick_command_of_the_readme_works(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    quick = [line for line in commands() if not any(word in line for word in LONG)]
    assert len(quick) >= 7
    for line in quick:
        run(line)
    printed = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    for line in "".join(blocks("text")).splitlines():  # the output shown is the output given, but for the demo's
        assert " ".join(line.split()) in printed or line in DEMO, line
    for line in ("pellucid report runs/quick", 'pellucid predict runs/quick "a dreadful plot"', "pellucid evaluate runs/quick"):
        assert line in README.replace("`", "")
        run(line)


def test_the_python_of_the_readme_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "1.0"
    assert (tmp_path / "runs/python/report.html").exists()


@pytest.mark.slow
def test_the_demo_finds_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("pellucid demo --quiet")

    found = json.loads((tmp_path / "runs/demo/minilm/results/comparison.json").read_text())
    ours, bag = found["rows"]
    assert ours["values"]["movies"] >= 0.84
    assert all(ours["values"][s] - bag["values"][s] >= 0.08 for s in ("amazon", "tweets", "editorials"))
    assert ours["mean_drop"] / bag["mean_drop"] <= 0.6


def test_files_that_the_readme_names_are_there():
    for place in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / place).exists(), place


def test_the_package_says_the_same_version_everywhere():
    import pellucid

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == pellucid.__version__
    assert f"## {pellucid.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_measured_numbers_are_those_of_the_table():
    rows = json.loads((ROOT / "docs/results/robustness.json").read_text())["rows"]
    for model in ("MiniLM", "LSTM", "bag of words"):
        mine = [r["values"] for r in rows if r["model"] == model and r["train"] == "sst2"]
        home, away = (100 * sum(v[s] for v in mine) / len(mine) for s in ("sst2", "imdb"))
        assert f"{model} {home:.1f} → {away:.1f}" in README


def test_the_degradation_scores_are_those_of_the_study():
    for one in json.loads((ROOT / "docs/results/iba.json").read_text())["sets"]:
        told = [f"{one['scores'][name]['mean']:.2f}" for name in ("IBA", "integrated gradients", "LIME")]
        assert f"{one['set']} {' / '.join(told)}" in README


def means(paper, group):
    rows = [r for r in json.loads((ROOT / f"docs/results/{paper}.json").read_text())["rows"] if r["group"] == group]
    values = {model: [r["values"][r["home"]] for r in rows if r["model"] == model] for model in dict.fromkeys(r["model"] for r in rows)}
    return [f"{100 * sum(v) / len(v):.1f}" for v in values.values()]


def test_the_losses_are_as_measured():
    ours, _, focal, bce = means("asl", "digit grid")
    assert f"digit grid {ours} / {focal} / {bce}" in README
    ours, bce = means("asl", "COCO-128")
    assert f"asymmetric {ours}, binary cross-entropy {bce}" in README


def test_the_picture_recipes_are_as_measured():
    for group in ("digits", "CIFAR-10", "Tiny-ImageNet"):
        assert f"{group} {' / '.join(means('rsb', group))}" in README
