"""The Python face: a run from its recipe to its report. Here, and in the command line, the two wings meet."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from lightning_fabric import Fabric

import pellucid
from pellucid import checkpoint, explaining, pairing, predicting, publish, showing, starting, wording
from pellucid import recipe as recipes
from pellucid.coerce import nearest
from pellucid.data.groups import disjoint
from pellucid.data.leaks import leaks
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.evaluate import Evaluation, evaluate
from pellucid.explain.attribution import Statistics
from pellucid.explain.catalog import canonical
from pellucid.explain.explain import Known, Question, told_right
from pellucid.explain.methods import Method
from pellucid.explain.probe import find_site
from pellucid.explain.readout import Readout, readout, train_readout
from pellucid.explained import Explained
from pellucid.export import export
from pellucid.recipe import Data, Loop, Recipe
from pellucid.report import page
from pellucid.shift import compare, corruption, corruption_error, detect
from pellucid.task import Example, Task
from pellucid.tasks.quality.settings import ClassicSettings
from pellucid.train.loop import Progress, Trainer, pass_of, start_fabric

METRIC = "metric:"  # before the name of a classic metric that stands for a run


@dataclass
class Run:
    """A trained task in its folder."""

    folder: pathlib.Path
    recipe: Recipe
    task: Task
    fabric: Fabric

    # ---- measuring ---------------------------------------------------------------------------------------------------

    def prepared(self, data: Data) -> list[Example]:
        """The examples of a data set, checked and made ready by the task."""
        return prepare(self.task, read(data), data.source)

    def measure(self, examples: Sequence[Example], site: str | None = None, labelled: bool = True) -> Evaluation:
        """One pass over prepared examples."""
        return evaluate(self.task, examples, pass_of(self.recipe.loop), self.fabric, site, labelled)

    def evaluate(self) -> dict[str, Any]:
        """The task's metrics on the recipe's test sets; kept in `results/evaluate.json`."""
        if not self.recipe.tests:
            raise BadUsage(f"{self.folder}: the recipe has no test sets; name one with --data")
        found = {name: self.measure(self.prepared(d)) for name, d in self.recipe.tests.items()}
        for name, seen in showing.shown(self.task, found).items():
            self._keep(name, seen)
        return self._keep("evaluate", self._told(found))

    def measured(self, data: Mapping[str, Data]) -> dict[str, Any]:
        """The task's metrics on any labelled sets; nothing is written."""
        return self._told({name: self.measure(self.prepared(d)) for name, d in data.items()})

    def _told(self, found: Mapping[str, Evaluation]) -> dict[str, Any]:
        sets = {name: {"n": len(e.examples), "metrics": _numbers(e)} for name, e in found.items()}
        return {"score_unit": self.task.score_unit, "sets": sets}

    def shift(
        self,
        tests: Mapping[str, Data] | None = None,
        corrupt: Sequence[int] = (),
        site: str | None = "last",
        resamples: int = 1000,
        kinds: Sequence[str] = (),
        against: str | os.PathLike[str] | None = None,
    ) -> dict[str, Any]:
        """Home against every other set: metrics with intervals, calibration, detection; kept in `results/`.

        Args:
            tests: the first is home; by default the recipe's.
            corrupt: severities at which corrupted copies of home join the sets.
            site: where feature distances are measured, `last` for the task's last site, None for none.
            kinds: of corruption; by default all that the examples' texts, pictures or clips have.
            against: a run whose errors under the same corruptions ours are divided by; ImageNet's have AlexNet's by default.
        """
        if (kinds or against) and not corrupt:
            raise BadUsage("kinds of corruption, or a run to compare them with, but no severities; give --corrupt 1-5")
        baseline = corruption_error.of_run(pathlib.Path(against), next(iter(self.task.metrics()))) if against else None
        tests = dict(tests or self.recipe.tests)
        if not tests:
            raise BadUsage("no test sets; give --home and --away, or a recipe with tests")
        sets = {name: self.prepared(data) for name, data in tests.items()}
        home = next(iter(sets))
        kinds = list(kinds or corruption.kinds_of(sets[home])) if corrupt else []
        raw = corruption.corrupted_sets(sets[home], kinds, corrupt, name=home)
        sets |= {name: prepare(self.task, rows, name) for name, rows in raw.items()}
        place = list(self.task.sites)[-1] if site == "last" else site
        found = {name: self.measure(rows, place) for name, rows in sets.items() if name not in raw}
        found |= {name: _slim(self.measure(sets[name])) for name in raw}
        dev = self.measure(self.prepared(self.recipe.dev)) if self.recipe.dev else None
        told = compare.compare(self.task, found, resamples, dev)
        if headlines := getattr(self.task, "headlines", ()):
            told["headlines"] = list(headlines)
        if raw:
            baseline = baseline or corruption_error.baseline_for(kinds, len(getattr(self.task, "labels", ())))
            told["corruption"] = corruption_error.summary(told, kinds, corrupt, baseline, told.get("headlines", ())[1:])
        outliers = {name: self.measure(self._unlabelled(data), place, labelled=False) for name, data in self.recipe.outliers.items()}
        away = {name: e for name, e in found.items() if name != home and name not in raw} | outliers
        if away:
            train = self._training_features(place) if place else None
            self._keep("detection", detect.detect(found[home], away, train, home_name=home))
        return self._keep("shift", told)

    def _training_features(self, site: str) -> Evaluation:
        """Up to 2,000 training examples, from which distances are measured."""
        some = replace(self.recipe.train, limit=_least(self.recipe.train.limit, 2000))
        return self.measure(told_right(self.task, self.prepared(some)), site)

    def _unlabelled(self, data: Data) -> list[Example]:
        rows = [{k: v for k, v in row.items() if k not in ("label", "labels")} for row in read(data)]
        return prepare(self.task, rows, data.source)

    # ---- explaining --------------------------------------------------------------------------------------------------

    def explain(
        self,
        examples: Sequence[Example | str] | None = None,
        num: int | None = 3,
        out: str | os.PathLike[str] | None = None,
        watch: Callable[[int, int], None] | None = None,
        **asked: Any,
    ) -> Explained:
        """Relevance of every word by each method, with checks of each explanation.

        Args:
            examples: by default `num` of each of the recipe's test sets (None takes all), right and wrong answers alike; these are
                kept in `results/`, line by line, and the same call goes on where it was interrupted.
            out: another folder to keep them in; with it, those of `examples` are kept, too.
            watch: called with the examples done and all.
            asked: fields of `pellucid.explain.explain.Question`: methods, site (several with commas; by default the task's inputs),
                answer, checks, options, flow ("all" for every site of that kind), batch_size, seed, score.
        """
        question = self._question(asked)
        rows = self._rows(examples) if examples is not None else self._some_of_each(num)
        if not rows:
            raise BadUsage(f"{self.folder}: the recipe has no test sets; give inputs with --input")
        folder = pathlib.Path(out) if out else None if examples is not None else self.folder / "results"
        fitted = {"readout": self.readout(question.site)} if "readout" in question.methods else {}
        known = Known(self.statistics, self._units, getattr(self.task, "gold", None), fitted)
        found = explaining.explain_all(self.task, rows, question, known, folder, watch)
        if folder:
            explaining.write(found, folder)
        return Explained(found)

    def _question(self, asked: Mapping[str, Any]) -> Question:
        names = [f.name for f in fields(Question)]
        for name in asked:
            if name not in names:
                raise BadUsage(f"explain: no argument {name!r}" + nearest(name, names))
        lists = {k: v if v is None else tuple(map(canonical, v)) for k, v in asked.items() if k in ("methods", "checks")}
        site, *beside = asked["site"].split(",") if asked.get("site") else getattr(self.task, "inputs", ("input",))
        beside = [*beside, *asked.get("beside", ())]
        if beside and "readout" in (lists.get("methods") or ()):
            raise BadUsage(f"readout is fitted to one site; name it, as in site {site!r}")
        over, flow = find_site(self.task, site).picture, asked.get("flow", ())
        flow = [name for name, one in self.task.sites.items() if one.picture == over] if flow == "all" else flow
        return Question(**{**asked, **lists, "site": site, "beside": tuple(beside), "flow": tuple(flow)})

    def _some_of_each(self, num: int | None) -> list[Example]:
        tests = self.recipe.tests.items()
        some = {name: data if num is None else replace(data, limit=_least(data.limit, num)) for name, data in tests}
        return [{**row, "set": name} for name, data in some.items() for row in self.prepared(data)]

    def statistics(self, site: str) -> Statistics | None:
        """Mean and spread of the units at a site over 300 training examples, kept in the folder; None where those cannot be read."""
        place = self.folder / "statistics" / f"{find_site(self.task, site).module}.{find_site(self.task, site).side}.safetensors"
        if not place.exists():
            if not (found := self._units(site, 300)):
                return None
            checkpoint.save({"mean": found.mean, "std": found.std}, place)
        kept = {k: v.to(self.fabric.device) for k, v in checkpoint.load(place).items()}
        return Statistics(kept["mean"], kept["std"])

    def _units(self, site: str, num: int = 64) -> Statistics | None:
        """The same over so many examples, of the model as it is now; nothing is kept."""
        return explaining.training_statistics(self.task, lambda: self._training_rows(num), site, self.recipe.loop.eval_batch_size)

    def _training_rows(self, num: int) -> list[Example]:
        if not self.recipe.train.source:
            raise BadUsage(f"{self.folder} was not trained")
        return told_right(self.task, self.prepared(replace(self.recipe.train, limit=_least(self.recipe.train.limit, num))))

    def readout(self, site: str) -> Method:
        """The readout bottleneck of a site, trained on 500 training examples the first time and kept in the folder."""
        names = list(self.task.sites)
        reads = list(dict.fromkeys([*names[: names.index(site) + 1][-2:], site, names[-1]])) if site in names else [site]
        statistics = {name: known for name in reads if (known := self.statistics(name))}
        if len(statistics) < len(reads):
            raise BadUsage(f"{self.folder}: readout learns from the training set, which cannot be read")
        place = self.folder / "readout" / f"{site}.safetensors"
        widths = [known.mean.shape[-1] for known in statistics.values()]
        network = Readout(sum(widths), statistics[site].mean.shape[-1]).to(self.fabric.device)
        if not place.exists():
            checkpoint.save(train_readout(self.task, self._training_rows(500), site, statistics).state_dict(), place)
        checkpoint.load_into(network, checkpoint.load(place), str(place))
        return readout(network.eval(), site, statistics)

    # ---- using -------------------------------------------------------------------------------------------------------

    def predict(
        self,
        examples: str | Sequence[Example | str],
        probs: bool = False,
        threshold: float | None = None,
        reference: str | os.PathLike[str] | None = None,
        texts: str | Sequence[str] = (),
        labels: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """A prediction and its score per example (`predicting.answers`); a string is a text or, of pictures, a path.

        Args:
            reference: what pictures are compared with where they do not name it themselves (`pairing.paired`).
            texts: what each picture is searched for, an answer each; the picture is looked at once.
            labels: names to search for, whose boxes are one answer (`wording.Words`).
        """
        words = wording.wanted(self.task, [texts] if isinstance(texts, str) else texts, labels)
        asked = pairing.paired(self.task, [examples] if isinstance(examples, str) else examples, reference)
        rows = self._rows(wording.worded(self.task, [predicting.unanswered(e) for e in asked], words))
        if words:
            return [row for told in predicting.searched(self, rows, words, probs, threshold) for row in told]
        return predicting.answers(self.task, rows, self.measure(rows, labelled=False), probs, threshold)

    def _rows(self, examples: Sequence[Example | str]) -> list[Example]:
        asked = wording.worded(self.task, pairing.paired(self.task, examples, None), None)
        rows = predicting.named(asked, getattr(self.task, "takes", "text"))
        return prepare(self.task, rows, "input")

    def export(self, to: str = "onnx", **asked: Any) -> dict[str, Any]:
        """Writes the model as a file that runs without pellucid; `asked` and what it gives: `pellucid.export.export`."""
        return export(self, to, **asked)

    def report(self) -> pathlib.Path:
        """Writes `report.html` from what the folder holds."""
        return page.write(self.folder)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> pathlib.Path:
        """Copies what is needed to use the model elsewhere: recipe, weights, preprocessing, results, card."""
        return publish.copy_model(self.folder, pathlib.Path(folder))

    def push_to_hub(self, name: str, private: bool = False) -> str:
        """Uploads the same to the Hugging Face hub; gives its address."""
        return publish.upload(self.folder, name, private)

    def _keep(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        if self.fabric.is_global_zero:
            checkpoint.write_json(self.folder / "results" / f"{name}.json", value)
        return value


def _numbers(found: Evaluation) -> dict[str, Any]:
    return {k: {"value": v, "higher_is_better": found.higher_is_better[k]} for k, v in found.metrics.items()}


def _slim(found: Evaluation) -> Evaluation:
    """Without the logits of many classes: those of ImageNet's corrupted copies would take 38 GB."""
    return replace(found, logits=None) if found.logits is not None and found.logits.shape[1] > 100 else found


def _least(limit: int | None, most: int) -> int:
    return most if limit is None else min(limit, most)


def prepare(task: Task, examples: Sequence[Example], source: str) -> list[Example]:
    """The examples through the task's `prepare`, where it has one.

    Raises:
        BadData: the set is empty.
    """
    if not examples:
        raise BadData(f"{source}: no examples left after filtering")
    ready = getattr(task, "prepare", None)
    return ready(examples, source) if ready else list(examples)


# ---- training ---------------------------------------------------------------------------------------------------------


def train(
    recipe: str | Recipe,
    out: str | os.PathLike[str],
    settings: Mapping[str, Any] | None = None,
    data: Mapping[str, Data] | None = None,
    watch: Callable[[Progress], None] | None = None,
    measure: bool = True,
) -> Run:
    """Trains a recipe into a folder and measures its test sets; a folder that holds this run already is resumed.

    Args:
        settings: fields by dotted name, over the recipe's.
        data: `train`, and perhaps `dev` and any test sets, instead of the recipe's; what is not given is held out of `train`.
        measure: false leaves the test sets to a later `shift`.
    """
    base = recipes.get(recipe) if isinstance(recipe, str) else recipe
    chosen = recipes.override(starting.own_data(base, data) if data else base, settings or {})
    folder = pathlib.Path(out)
    fabric = start_fabric(chosen.loop.precision)
    torch.manual_seed(chosen.loop.seed)
    raw = {"train": read(chosen.train), "dev": read(chosen.dev) if chosen.dev else []}
    task = chosen.task.build(raw["train"])
    task.model.to(fabric.device)  # `prepare` may ask it, as for local features of clips
    origin = {"train": chosen.train.source, "dev": chosen.dev.source if chosen.dev else ""}
    ready = {name: prepare(task, rows, origin[name]) if rows else [] for name, rows in raw.items()}
    tests = {name: prepare(task, read(d), d.source) for name, d in chosen.tests.items()}  # refused before training, not after
    disjoint(ready["train"], {"dev": ready["dev"], **tests})
    started = starting.start(task, chosen, (*base.init_skip, *base.init_drop)) if chosen.init else None
    if fabric.is_global_zero:
        starting.claim(folder, chosen)  # only now: whatever is refused above leaves no folder behind
        if started:
            starting.tell(started)
            checkpoint.write_json(folder / "results" / "init.json", started)
    fabric.barrier()
    done = Trainer(task, chosen, ready["train"], ready["dev"], fabric).fit(folder, watch)
    run = Run(folder, chosen, task, fabric)
    if fabric.is_global_zero:
        if hasattr(chosen.task, "write"):
            chosen.task.write(task, folder / "preprocessing")
        shares = {name: sum(bool(e.get("truncated")) for e in rows) / len(rows) for name, rows in {**ready, **tests}.items() if rows}
        told = {"seed": chosen.loop.seed, "processes": fabric.world_size, "train_time_s": round(done.time_s, 1), "truncated": shares}
        run._keep("environment", starting.environment(task, folder, **told))
        if tests:
            run._keep("leaks", leaks(ready["train"], tests))
    if tests and measure:
        run.evaluate()
    if fabric.is_global_zero:
        publish.write_card(folder)
    return run


# ---- restoring --------------------------------------------------------------------------------------------------------


def load(folder: str | os.PathLike[str]) -> Run:
    """A trained run: its recipe, its task, its weights.

    Raises:
        BadData: not a run, or its weights are missing, truncated or of another shape.
        UnsafeInput: the weights are a pickle, or the run brings its own code.
    """
    place = pathlib.Path(folder)
    if not (place / "recipe.yaml").is_file():
        raise BadData(f"{place}: not a run (no recipe.yaml); `pellucid train RECIPE --out {place}` makes one")
    weights = place / "model.safetensors"
    if not weights.is_file():
        pickled = sorted(p.name for p in place.iterdir() if p.suffix in checkpoint.PICKLES)
        if pickled:
            raise UnsafeInput(f"{place / pickled[0]}: a pickle can run code when loaded; give model.safetensors")
        raise BadData(f"{weights}: missing; the run has not finished, the same `pellucid train` goes on with it")
    tensors = checkpoint.load(weights)
    recipe = recipes.read(place / "recipe.yaml", run=place)
    task = recipe.task.read(place / "preprocessing") if hasattr(recipe.task, "read") else recipe.task.build(())
    checkpoint.load_into(task.model, tensors, str(weights))
    fabric = start_fabric("32-true")
    task.model.to(fabric.device).eval()
    return Run(place, recipe, task, fabric)


def opened(name: str) -> Run:
    """The run in a folder; or, of `metric:ssim`, a classic metric of pictures in the place of one, of which nothing is kept.

    Raises:
        BadUsage: no such metric.
    """
    if not name.startswith(METRIC):
        return load(name)
    settings: Any = ClassicSettings(name.removeprefix(METRIC))
    fabric, task = start_fabric("32-true"), settings.build(())
    task.model.to(fabric.device).eval()
    return Run(pathlib.Path(name), Recipe(settings, Data(""), loop=Loop(eval_batch_size=8)), task, fabric)


def from_pretrained(name: str) -> Run:
    """A run from a local folder, by name from the Hugging Face hub, or of a classic metric, as `metric:ssim`."""
    return opened(name if name.startswith(METRIC) or pathlib.Path(name).is_dir() else str(publish.download(name)))


pellucid.train = train  # importing the room of that name had hidden it
