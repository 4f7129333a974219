"""Verbs that check: data, tasks, methods, tables, speed."""

import pathlib
import subprocess
import sys

from pellucid import recipe as recipes
from pellucid.coerce import nearest
from pellucid.errors import BadUsage, GateMissed
from pellucid.progress import Watching
from pellucid.verbs.shared import Given, data_of, print_json, settings_of


def check_data(given: Given) -> int:
    """Rows, columns, labels, lengths, duplicates; and what is shared with other sets. Or, of groundings, every span as text."""
    if given.spans:
        return _spans(given)
    from pellucid.data.about import about

    found = about(data_of(given, given.source), [data_of(given, s) for s in given.against])
    if given.json:
        print_json(found)
    else:
        print("\n".join(f"{name:<14} {value}" for name, value in found.items()))
    return 0


def _spans(given: Given) -> int:
    """Each caption, and the words of every box, as they are read."""
    from pellucid.data.grounding.builder import printed
    from pellucid.data.grounding.spans import text_of
    from pellucid.data.read import read

    if given.against:
        raise BadUsage("--against: --spans prints one source; leave one of them out")
    rows = read(data_of(given, given.source))
    if not all("caption" in row and "objects" in row for row in rows) or not all("spans" in one for row in rows for one in row["objects"]):
        raise BadUsage(f"--spans: {given.source} has no captions with boxes; `pellucid list data` names the kinds that have, as phrases")
    if given.json:
        kept = ("spans", "words", "box_xyxy", "label", "final")
        for row in rows:
            row["objects"] = [{**one, "words": text_of(one["spans"], row["caption"])} for one in row["objects"]]
            row["objects"] = [{key: one[key] for key in kept if key in one} for one in row["objects"]]
        print_json([{key: row[key] for key in ("id", "caption", "objects")} for row in rows])
        return 0
    for line in printed(rows):
        print(line)
    return 0


def check(given: Given) -> int:
    """Holds a recipe's task to its promises on its own data."""
    from pellucid import run
    from pellucid.data.read import read
    from pellucid.testing import check_task

    chosen = recipes.override(recipes.get(given.recipe), settings_of(given))
    rows = read(chosen.train)
    task = chosen.task.build(rows)
    try:
        check_task(task, run.prepare(task, rows[:6], chosen.train.source))
    except AssertionError as broken:
        raise GateMissed(str(broken)) from None
    print(f"{given.recipe}: {type(task).__name__} keeps its promises at {', '.join(task.sites)}")
    return 0


def check_method(given: Given) -> int:
    """Holds a method to its promises, then to known explanations."""
    from pellucid.leaderboard import board, check

    asked = board.from_flags(**{k: v for k, v in vars(given).items() if k in board.FLAGS})
    found = check.check(asked, given.only, lambda line: print(line, file=sys.stderr, flush=True))
    if given.json:
        print_json(found)
    else:
        print(check.text(found))
    if given.write and found["benchmark"]:
        board.write(found["benchmark"], pathlib.Path(given.write), board.command(asked, given.write))
    if check.broken(found):
        raise GateMissed(check.broken(found))
    return 0


def table(given: Given) -> int:
    """A paper's table, ours beside it."""
    from pellucid import table as tables

    wanted = tables.Wanted(given.only, given.seeds, pathlib.Path(given.out))
    with Watching(True) as watching:
        found = tables.measure(given.table, wanted, given.run, watching.show, lambda line: print(line, file=sys.stderr, flush=True))
    if given.write:
        tables.write(found, pathlib.Path(given.write))
    if given.json:
        print_json(found)
    else:
        print(tables.markdown(found))
    return 0


def bench(given: Given) -> int:
    """Runs a benchmark of the checkout that pellucid is installed from, or of this folder."""
    places = [pathlib.Path.cwd() / "benchmarks", pathlib.Path(__file__).parents[3] / "benchmarks"]
    found = {p.stem: p for place in reversed(places) for p in place.glob("*.py")}
    if given.benchmark not in found:
        raise BadUsage(
            f"no benchmark {given.benchmark!r}" + (nearest(given.benchmark, list(found)) if found else "; they come with a checkout")
        )
    return subprocess.run([sys.executable, str(found[given.benchmark])], check=False).returncode
