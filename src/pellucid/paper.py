"""What `pellucid table` measures beside a paper: recipes over seeds, or attribution methods on the same examples. Imports nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pellucid.recipe import Recipe

LEFT_OUT = "left out"  # the test set of a recipe that is trained on the rest


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a recipe, trained once per seed.

    Args:
        group: recipes whose numbers are comparable.
        train: what the recipe learns from; the column of home.
        model: the row.
        corrupt: severities at which corrupted copies of home are measured, too.
        first: trained before, once for all seeds, and what the recipe starts from.
        fixed: nothing in it is drawn, so that one seed says all.
        resplit: each seed draws anew which rows are for training and which for testing, where the recipe says `part`.
    """

    group: str
    train: str
    model: str
    recipe: Recipe
    corrupt: tuple[int, ...] = ()
    first: Recipe | None = None
    fixed: bool = False
    resplit: bool = False


@dataclass(frozen=True)
class Table:
    """What `pellucid table` trains, measures and prints beside a paper's claims.

    Args:
        notes: said above the numbers; what a reader must know to read them fairly.
        metrics: that are told, a table for each, of the cells that have it; without any, the first of each cell's.
    """

    title: str
    cells: Sequence[Cell]
    seeds: tuple[int, ...] = (0, 1, 2)
    notes: str = ""
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contender:
    """One setting of an attribution method.

    Args:
        options: of the method, as `pellucid explain --set METHOD.OPTION=VALUE` gives them.
        target: what it explains: the model's `answer`, or, mistaken, always the label of this index.
    """

    method: str
    site: str = "input"
    options: Mapping[str, str] = field(default_factory=dict)
    target: Literal["answer"] | int = "answer"


@dataclass(frozen=True)
class Study:
    """Explanations compared: `pellucid table` trains the recipes, explains, deletes, and prints the degradation scores.

    Args:
        recipes: name of a set -> recipe; its dev set chooses, its first test set measures.
        contenders: name -> settings, of which the one that does best on the examples that choose is measured.
        main: the contender whose differences from the others are told.
        num_choose: examples of the dev set that choose.
        num_test: examples of the test set that measure.
    """

    title: str
    recipes: Mapping[str, str]
    contenders: Mapping[str, Sequence[Contender]]
    main: str
    num_choose: int = 16
    num_test: int = 200
    notes: str = ""
