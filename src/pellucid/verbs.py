"""What each verb does: calls the Python face and prints. Data goes to stdout, progress to stderr."""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from pellucid import grids
from pellucid import recipe as recipes
from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage, GateMissed
from pellucid.progress import Watching
from pellucid.recipe import Data

Given = argparse.Namespace
MANY = 20  # examples that a terminal still shows one by one


# ---- shared by verbs --------------------------------------------------------------------------------------------------


def pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    """`["a=b"]` as a dict.

    Raises:
        BadUsage: an entry without `=`.
    """
    wrong = [entry for entry in given if "=" not in entry]
    if wrong:
        raise BadUsage(f"{flag} {wrong[0]}: expected {'NAME=VALUE'}")
    return dict(entry.split("=", 1) for entry in given)


def data_of(given: Given, source: str) -> Data:
    """The source with the command line's columns, labels and limit."""
    return Data(source, columns=pairs("--column", given.column), labels=pairs("--label", given.label), limit=given.limit)


def settings_of(given: Given) -> dict[str, str]:
    """The `--set` flags."""
    return recipes.parse_settings(given.set)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


# ---- looking around -----------------------------------------------------------------------------------------------------


def list_(given: Given) -> int:
    """Names and one line each."""
    rows = {
        "recipes": _recipes,
        "models": _models,
        "data": _data,
        "methods": _methods,
        "checks": _checks_told,
        "shifts": _shifts,
    }[given.what]()
    if given.json:
        print_json(rows)
    else:
        width = max(map(len, rows))
        print("\n".join(f"{name:<{width}}  {about}" for name, about in rows.items()))
    return 0


def _recipes() -> dict[str, str]:
    return {f"{place}:{name}": about for place in recipes.places() for name, about in recipes.functions(place).items()}


def _models() -> dict[str, str]:
    from pellucid.data.encoders import ENCODERS
    from pellucid.tasks.text_classification.settings import BASELINES

    return {**ENCODERS, "NAME or FOLDER": "any Hugging Face encoder with safetensors weights", **BASELINES}


def _data() -> dict[str, str]:
    from pellucid.data.read import kinds

    return kinds()


def _methods() -> dict[str, str]:
    from pellucid.explain.catalog import FITTED, METHODS

    return {**METHODS, **FITTED}


def _checks_told() -> dict[str, str]:
    from pellucid.explain.checks import CHECKS

    return {name: check.about for name, check in CHECKS.items()}


def _shifts() -> dict[str, str]:
    from pellucid.data.corrupt import MODALITIES

    return {f"{name} ({of})": kind.about for of, kinds in MODALITIES.items() for name, kind in kinds.items()}


def show(given: Given) -> int:
    """The recipe as YAML."""
    print(recipes.to_yaml(recipes.override(recipes.get(given.recipe), settings_of(given))), end="")
    return 0


def doctor(given: Given) -> int:
    """What is installed and works."""
    from pellucid.doctor import look

    found = look()
    if given.json:
        print_json(found)
    else:
        print("\n".join(f"{name:<18} {value}" for name, value in found.items()))
    return 0 if found["torchvision"].endswith("compiled operators work") else 1


# ---- making -------------------------------------------------------------------------------------------------------------


def train(given: Given) -> int:
    """Trains, measures the test sets, prints them."""
    from pellucid import run

    settings: dict[str, Any] = dict(settings_of(given))
    if given.init:
        settings |= {"init": given.init, "init_skip": tuple(given.init_skip)}
    data = _own_data(given)
    with Watching(given.quiet) as watching:
        done = run.train(given.recipe, given.out, settings, data, watching.show)
    if done.fabric.is_global_zero:
        return _told(given, done.folder, given.gate)
    return 0


def _own_data(given: Given) -> dict[str, Data] | None:
    if not given.data:
        if given.dev or given.test:
            raise BadUsage("--dev and --test go with --data")
        return None
    sets = {"train": data_of(given, given.data)}
    if given.dev:
        sets["dev"] = data_of(given, given.dev)
    return sets | {name: data_of(given, source) for name, source in pairs("--test", given.test).items()}


def _told(given: Given, folder: pathlib.Path, gates: Sequence[str]) -> int:
    path = folder / "results" / "evaluate.json"
    found = json.loads(path.read_text())["sets"] if path.exists() else {}
    if found:
        Console().print(grids.measured(found))
    print(
        f"{folder}: explain, shift and report it with `pellucid shift {folder}`, `pellucid explain {folder}`, `pellucid report {folder}`",
        file=sys.stderr,
    )
    hold_gates(found, gates)
    return 0


def hold_gates(found: Mapping[str, Any], gates: Sequence[str]) -> None:
    """Raises GateMissed where a number is worse than `SET/METRIC=VALUE` asks."""
    for name, wanted in pairs("--gate", gates).items():
        place, _, metric = name.rpartition("/")
        if metric not in found.get(place, {}).get("metrics", {}):
            known = [f"{s}/{m}" for s, row in found.items() for m in row["metrics"]]
            raise BadUsage(f"--gate {name}" + nearest(name, known))
        number = found[place]["metrics"][metric]
        try:
            bound = float(wanted)
        except ValueError:
            raise BadUsage(f"--gate {name}={wanted}: expected a number") from None
        if (number["value"] < bound) if number["higher_is_better"] else (number["value"] > bound):
            raise GateMissed(f"{name} is {grids.figure(number['value'])}, the gate is {wanted}")


def demo(given: Given) -> int:
    """The main job on real text."""
    from pellucid import demo as main_job

    with Watching(given.quiet) as watching:
        print(main_job.main(pathlib.Path(given.out), given.quick, watching.show, lambda line: print(line, file=sys.stderr, flush=True)))
    return 0


# ---- measuring ----------------------------------------------------------------------------------------------------------


def evaluate(given: Given) -> int:
    """Metrics of the recipe's test sets, or of --data, which leaves the run's own results as they are."""
    from pellucid import run

    done = run.load(given.run)
    found = done.measured({pathlib.Path(given.data).name: data_of(given, given.data)}) if given.data else done.evaluate()
    if done.fabric.is_global_zero:
        if given.json:
            print_json(found)
        else:
            Console().print(grids.measured(found["sets"]))
        hold_gates(found["sets"], given.gate)
    return 0


def shift(given: Given) -> int:
    """The shift table and the detection table."""
    from pellucid import run

    done = run.load(given.run)
    tests = _sets(given) if given.home or given.away else None
    site = None if given.site == "none" else given.site
    found = done.shift(tests, severities(given.corrupt), site, kinds=_names(given.kinds), against=given.against or None)
    if given.json:
        print_json(found)
    elif done.fabric.is_global_zero:
        Console().print(*grids.shift(found))
        path = done.folder / "results" / "detection.json"
        if path.exists():
            Console().print(*grids.detection(json.loads(path.read_text())))
    return 0


def _sets(given: Given) -> dict[str, Data]:
    if not given.home:
        raise BadUsage("--away needs --home, the set it is compared with")
    away = [entry.split("=", 1) if "=" in entry.split(":")[0] else (entry, entry) for entry in given.away]
    return {"home": data_of(given, given.home)} | {name: data_of(given, source) for name, source in away}


def severities(text: str) -> list[int]:
    """`1-5` or `1,3` as numbers.

    Raises:
        BadUsage: not severities.
    """
    try:
        first, _, last = text.partition("-")
        found = list(range(int(first), int(last) + 1)) if last else [int(s) for s in text.split(",") if s]
    except ValueError:
        found = [0]
    if any(not 1 <= s <= 5 for s in found):
        raise BadUsage(f"--corrupt {text}: expected severities between 1 and 5, as in 1-5 or 1,3")
    return found


def predict(given: Given) -> int:
    """A line of JSON per input."""
    from pellucid import run

    done = run.load(given.run)
    rows = done.predict(_inputs(given, given.inputs))
    if given.json:
        print_json(rows)
    else:
        print("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return 0


def _inputs(given: Given, inputs: Sequence[str]) -> list[Any]:
    from pellucid.data.read import read
    from pellucid.data.tables import kind_of

    rows: list[Any] = []
    for entry in inputs:
        kind, _, place = entry.partition(":")
        if kind in {**_data()} and place:
            rows += read(data_of(given, entry) if hasattr(given, "column") else Data(entry))
        elif kind_of(entry) and not pathlib.Path(entry).exists():
            raise BadData(f"{entry}: no such file")
        elif kind_of(entry):
            rows += read(data_of(given, entry) if hasattr(given, "column") else Data(entry))
        else:
            rows.append(entry)
    return rows


def explain(given: Given) -> int:
    """Coloured words on the terminal, JSON, a page, a picture; for many examples what they say together."""
    from pellucid import run

    done = run.load(given.run)
    inputs = _inputs(given, given.input) if given.input else None
    with Watching(given.quiet) as watching:
        found = done.explain(
            inputs,
            None if given.all else given.num,
            given.out,
            lambda at, of: watching.count(at, of, "explaining"),
            methods=_names(given.compare or given.method),
            site=given.site,
            answer=given.answer,
            checks=_checks(given.check),
            options=settings_of(given),
            flow="all" if given.all_layers else (),
            batch_size=given.batch_size,
            seed=given.seed,
        )
    for path in (given.html, given.png):
        if path:
            print(found.save(path), file=sys.stderr)
    if found["passes"]:
        print(f"every pass ran the whole model: {found['passes']}", file=sys.stderr)
    if given.json:
        print_json(found.to_dict())
        return 0
    console = Console()
    if len(found.examples) <= MANY:
        for record in found.examples:
            grids.explanation(console, record, found.score_unit)
    if len(found.examples) > 1:
        from pellucid.explain import render

        console.print(render.summary(found.summary))
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(m.strip() for m in text.split(",") if m.strip())


def _checks(text: str) -> tuple[str, ...] | None:
    """Which checks: None for the cheap ones."""
    from pellucid.explain.checks import CHECKS

    return {"cheap": None, "none": (), "all": tuple(CHECKS)}.get(text, _names(text))


def report(given: Given) -> int:
    """The page's path."""
    from pellucid.report import page

    path = page.write(pathlib.Path(given.run))
    print(json.dumps({"report": str(path)}) if given.json else path)
    return 0


# ---- checking -----------------------------------------------------------------------------------------------------------


def check_data(given: Given) -> int:
    """Rows, columns, labels, lengths, duplicates; and what is shared with other sets."""
    from pellucid.data.about import about

    found = about(data_of(given, given.source), [data_of(given, s) for s in given.against])
    if given.json:
        print_json(found)
    else:
        print("\n".join(f"{name:<14} {value}" for name, value in found.items()))
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
    places = [pathlib.Path.cwd() / "benchmarks", pathlib.Path(__file__).parents[2] / "benchmarks"]
    found = {p.stem: p for place in reversed(places) for p in place.glob("*.py")}
    if given.benchmark not in found:
        raise BadUsage(
            f"no benchmark {given.benchmark!r}" + (nearest(given.benchmark, list(found)) if found else "; they come with a checkout")
        )
    return subprocess.run([sys.executable, str(found[given.benchmark])], check=False).returncode
