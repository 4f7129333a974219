"""Who may import whom: DESIGN's table, read from the source and nothing else."""

import ast
import pathlib

import pytest

import pellucid

SOURCE = pathlib.Path(pellucid.__file__).parent
_FILES = {str(p.relative_to(SOURCE).with_suffix("")).replace("/", "."): p for p in sorted(SOURCE.rglob("*.py"))}
MODULES = {name.removesuffix(".__init__"): path for name, path in _FILES.items()}
CONTRACT = {"task", "recipe", "paper", "coerce", "errors"}
PARTS = {"nn", "losses", "data", "metrics", "checkpoint"}
PROBE = {"explain.probe", "explain.hooks", "explain.quick"}
WING = CONTRACT | PARTS | PROBE | {"evaluate"}
FACE = {
    "run",
    "explained",
    "explaining",
    "features",
    "filming",
    "finding",
    "predicting",
    "pairing",
    "judging",
    "drawing",
    "wording",
    "parses",
    "qualities",
    "showing",
    "starting",
    "study",
    "cli",
    "verbs",
    "grids",
    "progress",
    "demo",
    "table",
    "testing",
    "doctor",
    "export",
    "convert",
    "publish",
    "leaderboard",
    "__init__",
    "__main__",
}
MAY = {
    **dict.fromkeys(CONTRACT, CONTRACT),
    **{part: CONTRACT | {part} for part in PARTS},
    "losses": CONTRACT | {"losses", "nn.boxes"},
    "nn": CONTRACT | {"nn", "data.views", "data.networks", "checkpoint"},  # a backbone finds its weights and how they see pixels
    "explain.probe": CONTRACT | {"explain.hooks", "explain.quick", "nn.queries"},
    "evaluate": CONTRACT | PARTS | PROBE,
    **{room: WING | {room} for room in ("train", "explain", "shift", "report")},
    "recipes": CONTRACT | PARTS | {"tasks"},
}
HEAVY = {"torch", "transformers", "numpy", "lightning_fabric", "sklearn", "scipy", "timm", "pyarrow", "safetensors"}
LIGHT = {"recipe", "paper", "coerce", "errors", "cli", "__init__", "__main__", "explain.catalog"}


def imports(path: pathlib.Path, anywhere: bool = True) -> set[str]:
    """Dotted names of all modules a file imports, or only those it imports at its top."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("pellucid.") in MODULES else node.module for name in inner.values()}
    return found


def room_of(module: str) -> str:
    """`explain.probe` with its hooks is a room of its own; else the first name, a task's with its own."""
    parts = module.split(".")
    if module in PROBE:
        return "explain.probe"
    return ".".join(parts[:2]) if parts[0] == "tasks" and len(parts) > 1 else parts[0]


def allowed(room: str) -> set[str]:
    if room.startswith("tasks."):
        return CONTRACT | PARTS | {room}
    return MAY.get(room, set())


def breaches(module: str, imported: set[str]) -> list[str]:
    """What `module` (dotted, without `pellucid.`) imports of pellucid against the table."""
    room = room_of(module)
    if room in FACE:
        return []
    inside = {name.removeprefix("pellucid.") for name in imported if name.startswith("pellucid.")}
    may = allowed(room)
    return sorted(name for name in inside if not any(name == ok or name.startswith(ok + ".") for ok in may))


@pytest.mark.parametrize("module", MODULES)
def test_every_room_imports_only_what_it_may(module):
    assert breaches(module, imports(MODULES[module])) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("tasks.text_classification.task", "pellucid.explain.probe"),
        ("tasks.text_classification.task", "pellucid.tasks.detection"),
        ("explain.gradient", "pellucid.tasks.text_classification.task"),
        ("shift.compare", "pellucid.train.loop"),
        ("metrics.regression", "pellucid.data.read"),
        ("recipe", "pellucid.run"),
        ("evaluate", "pellucid.shift"),
    ],
)
def test_a_forbidden_import_is_found(module, imported):
    assert breaches(module, {imported, "pellucid.errors"}) == [imported.removeprefix("pellucid.")]


def test_fabric_is_imported_in_train_and_evaluate_alone():
    users = {room_of(name) for name, path in MODULES.items() if any(i.split(".")[0] == "lightning_fabric" for i in imports(path))}
    assert users <= {"train", "evaluate", "run"}


def test_hooks_are_registered_in_the_probe_alone():
    assert [name for name, path in MODULES.items() if "register_forward" in path.read_text()] == ["explain.hooks"]


@pytest.mark.parametrize("module", [*sorted(LIGHT), *(m for m in MODULES if m.startswith("recipes."))])
def test_what_the_help_needs_imports_nothing_heavy_at_its_top(module):
    path = MODULES.get(module, MODULES["__init__"])
    assert not {name.split(".")[0] for name in imports(path, anywhere=False)} & HEAVY


def test_only_the_command_line_prints_and_exits():
    for name, path in MODULES.items():
        calls = {n.func.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert room_of(name) in FACE or not calls & {"print", "exit", "quit"}, name
