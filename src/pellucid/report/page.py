"""One self-contained HTML page per run: no script, nothing fetched, readable in light and dark, on a phone and on paper."""

import functools
import pathlib
from typing import Any

import jinja2

from pellucid.report import confidence, headline, objects, parses, qualities, read, records, sections, spoiled, whole, words


def write(run: pathlib.Path) -> pathlib.Path:
    """The path of `report.html` in the run folder, new or replaced as a whole.

    Raises:
        BadUsage: the folder cannot be written to.
        BadData: not a run, or a file of it is cut short or holds something else.
    """
    text = render(read.read(run), f"{run}/results/explanations.json")
    return whole.write(run / "report.html", text.encode())


def render(run: read.Run, explanations_source: str = "explanations.json") -> str:
    """The page of a run, as text."""
    copies, run = spoiled.view(run), spoiled.without_copies(run)
    return _page(
        "report.html",
        headline=headline.verdict(run),
        tiles=headline.tiles(run),
        setting=sections.setting(run),
        learning=sections.learning(run),
        shift=sections.shifted(run),
        spoiled=copies,
        compare=sections.compared(run),
        objects=objects.view(run),
        parses=parses.view(run),
        qualities=qualities.view(run),
        reliability=confidence.reliability(run),
        detection=confidence.detection(run),
        data=confidence.data(run),
        explained=words.view(run.explanations, explanations_source) if run.explanations and run.explanations["examples"] else None,
    )


def explanations(found: dict[str, Any]) -> str:
    """A page of explained examples alone.

    Args:
        found: what results/explanations.json holds.
    Raises:
        BadData: it holds something else.
    """
    checked: records.Explanations = read.fitted(found, records.Explanations, "explanations")
    return _page("explanations.html", explained=words.view(checked, "explanations"))


def _page(template: str, **views: Any) -> str:
    text = _templates().get_template(template).render(**views)
    return text.encode("utf-8", "replace").decode()  # JSON may hold half a character (a lone surrogate), a page may not


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pellucid.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
