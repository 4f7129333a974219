"""A run as a model that others can take: its card, a copy, the Hugging Face hub."""

import json
import pathlib
import shutil
from typing import Any

import yaml

from pellucid.errors import BadData, BadUsage
from pellucid.grids import figure

KEPT = ("recipe.yaml", "model.safetensors", "README.md", "report.html", "preprocessing", "results", "statistics")


def write_card(run: pathlib.Path) -> pathlib.Path:
    """Writes the run's README.md: what it is, what was measured, how to use it; the front matter is the hub's."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    found, environment = _json(run, "evaluate"), _json(run, "environment")
    shift = _json(run, "shift")
    sets = shift.get("sets") or found.get("sets") or {}
    name = recipe.get("recipe", run.name)
    front = {"library_name": "pellucid", "tags": ["pellucid"], "model-index": [{"name": name, "results": _index(sets)}]}
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).strip(),
        "---",
        f"# {name}",
        "",
        f"Trained by pellucid {environment.get('pellucid', '')} on `{recipe['train']['source']}`, seed {recipe['loop']['seed']}, "
        f"{environment.get('num_parameters', 0):,} parameters, {environment.get('train_time_s', 0):.0f} s.",
        "",
        "## Measured",
        "",
        *_table(sets, shift.get("home") or next(iter(sets), "")),
        "",
        "## Use",
        "",
        "```python",
        "import pellucid",
        "",
        f'run = pellucid.from_pretrained("{run.name}")',
        f'run.predict(["{"cat.jpg" if "view" in recipe["task"] else "a text"}"])',
        "```",
        "",
        "## Limits",
        "",
        "The numbers hold for the sets named above and say nothing of others; away from home they drop as the table shows.",
        "",
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).strip(),
        "```",
        "",
    ]
    path = run / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _json(run: pathlib.Path, name: str) -> dict[str, Any]:
    path = run / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _index(sets: dict[str, Any]) -> list[dict[str, Any]]:
    def metrics(row: dict[str, Any]) -> list[dict[str, Any]]:
        known = {metric: number["value"] for metric, number in row["metrics"].items() if number["value"] is not None}
        return [{"type": metric, "value": round(value, 4)} for metric, value in known.items()]

    return [{"task": {"type": "other"}, "dataset": {"name": name, "type": name}, "metrics": metrics(row)} for name, row in sets.items()]


def _table(sets: dict[str, Any], home: str) -> list[str]:
    if not sets:
        return ["Nothing yet."]
    metrics = list(next(iter(sets.values()))["metrics"])
    rows = [f"| set | examples | {' | '.join(metrics)} |", "|---|---|" + "---|" * len(metrics)]
    for name, row in sets.items():
        cells = [_cell(row["metrics"][metric]) for metric in metrics]
        rows.append(f"| {name}{' (home)' if name == home else ''} | {row['n']} | {' | '.join(cells)} |")
    return rows


def _cell(number: dict[str, Any]) -> str:
    interval = f" [{figure(number['low'])}, {figure(number['high'])}]" if "low" in number else ""
    return f"{figure(number['value'])}{interval}"


def copy_model(run: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Copies what is needed to use the run elsewhere into a new folder.

    Raises:
        BadUsage: the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise BadUsage(f"{folder} is not empty; choose another folder")
    write_card(run)
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        source = run / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def upload(run: pathlib.Path, name: str, private: bool) -> str:
    """Uploads the run to the hub as `owner/name`, with the user's own token; gives its address."""
    from huggingface_hub import HfApi

    write_card(run)
    hub = HfApi()
    address = hub.create_repo(name, private=private, exist_ok=True)
    hub.upload_folder(repo_id=name, folder_path=run, allow_patterns=[*KEPT, *(f"{k}/*" for k in KEPT)])
    return str(address)


def download(name: str) -> pathlib.Path:
    """A run from the hub, in its cache.

    Raises:
        BadData: neither a folder nor reachable.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return pathlib.Path(snapshot_download(name, allow_patterns=[*KEPT, *(f"{k}/*" for k in KEPT)]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadData(f"{name}: neither a folder nor reachable on the hub ({str(error).splitlines()[0]})") from None
