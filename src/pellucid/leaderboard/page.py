"""A leaderboard as text: for a terminal, for Markdown, and as one page of HTML that fetches nothing."""

import html as escape
from collections.abc import Sequence
from typing import Any

COLUMNS = {
    "exact": "exact",
    "stated": "as labelled",
    "f1": "F1",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "sound": "sound",
    "gap": "gap",
    "violates_monotone": "P3 broken",
    "official_property": "authors' property",
    "top": "top k*",
    "average_precision": "AP",
    "area_over_levels": "area",
    "stability": "stable",
}
MEANING = """**exact**: the selection is one of the right explanations, mean over problems x 100, with the middle 95% when
problems are drawn again and the level is tuned again; **as labelled**: it is what the problem's maker says, which is wrong for
some points; **F1, IoU, precision, recall**: overlap with the nearest right explanation; **sound**: the selection decides the
point (P4); **gap**: columns selected more than needed; **P3 broken**: a point that agrees on the selection needs more columns;
**authors' property**: their check, which exact solutions break too. Without a threshold: **top k\\***: the k largest weights,
k known, are right; **AP**: average precision of the weights; **area**: exact over all levels. **stable**: overlap between two
seeds."""
SHARES = {name for name in COLUMNS if name != "gap"}


def scored(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows with numbers."""
    return [row for row in found["rows"] if "metrics" in row]


def figure(row: dict[str, Any], name: str) -> str:
    """A number as the tables print it; a dash where the method has none."""
    value = row["metrics"].get(name, {}).get("value")
    if value is None:
        return "–"  # noqa: RUF001 - a dash, as printed
    return f"{100 * value:.1f}" if name in SHARES else f"{value:+.2f}"


def spread(row: dict[str, Any], name: str = "exact") -> str:
    """The interval in brackets."""
    one = row["metrics"][name]
    return "" if one["low"] is None else f" [{100 * one['low']:.0f}, {100 * one['high']:.0f}]"


def heading(found: dict[str, Any]) -> str:
    """Which problems and which model, in one line."""
    form, sizes = found["form"], found["sizes"]
    model = (
        "the exact mixture"
        if form["model"] == "exact"
        else f"networks fitted to draws (right at {100 * (found['fidelity'] or 0):.1f}% of the points)"
    )
    how = f"{sizes['multivariate']['problems']} {found['problems']} multivariate problems, {sizes['multivariate']['points']} points"
    kind = "" if found["kind"] == "plain" else f", {found['kind']}"
    kind += f", std {found['std']:g}" if found["std"] else ""
    if form["certainty"] is not None:
        kind += f", truth at certainty {form['certainty']:g}"
    if found["determined"] < 1:
        kind += f" ({100 * (1 - found['determined']):.0f}% of the points have no explanation and do not count)"
    official = "; the authors' program and levels" if form["official"] else f"; levels tuned on {sizes['tuning']['problems']} others"
    return f"{how}{kind}; {model}, met as {form['embedding']}{official}."


def _head(names: Sequence[str]) -> list[str]:
    return ["method", *(COLUMNS[n] for n in names), "univariate: exact", "top 1", "ms a point", "level"]


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    numbers = [figure(row, n) + (spread(row) if n == "exact" else "") for n in names]
    one = {"metrics": row["univariate"]}
    level = "–" if row["level"] is None else f"{row['level']:.2f}"  # noqa: RUF001
    return [row["name"], *numbers, figure(one, "exact"), figure(one, "top"), f"{row['ms_per_point']:.2f}", level]


def markdown(found: dict[str, Any], command: str) -> str:
    """The page in Markdown: the table, what its columns mean, strata, and who was left out."""
    names = [n for n in COLUMNS if n not in ("precision", "recall")]
    lines = ["# Methods against known explanations", "", heading(found), ""]
    lines += _table(_head(names), [_cells(row, names) for row in scored(found)])
    lines += ["", MEANING.replace("\n", " "), "", f"Written by `{command}`.", ""]
    for stratum, about in (("|I*|", "columns of the right explanation"), ("d", "columns"), ("K", "points of a problem")):
        bands = list(dict.fromkeys(band for row in scored(found) for band in row["strata"][stratum]))
        lines += [f"## Exact by {about}", ""]
        rows = [[row["name"], *(_percent(row["strata"][stratum].get(band)) for band in bands)] for row in scored(found)]
        lines += [*_table(["method", *bands], rows), ""]
    left = [f"- {row['name']}: {row['skipped']}" for row in found["rows"] if "skipped" in row]
    return "\n".join(lines + (["## Left out", "", *left, ""] if left else []))


def _percent(one: dict[str, Any] | None) -> str:
    return "–" if one is None or one["value"] is None else f"{100 * one['value']:.1f}"  # noqa: RUF001


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [[h.replace("|", "\\|") for h in head], ["---"] * len(head), *rows]]


STYLE = """
:root{color-scheme:light dark;--ink:#1d2429;--soft:#5c6a73;--line:#d9dfe3;--paper:#fff;--bar:#7aa6c2;--span:#1d242955}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebee;--soft:#9fb0ba;--line:#36424a;--paper:#14191d;--bar:#3f6f8d;--span:#e6ebee66}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:78rem;margin:2rem auto;padding:0 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}
.bar{position:relative;width:9rem;height:.8rem;display:inline-block;background:var(--line);border-radius:2px}
.bar i{position:absolute;left:0;top:0;bottom:0;background:var(--bar);border-radius:2px}
.bar b{position:absolute;top:.28rem;height:.24rem;background:var(--span)}
p,li{max-width:60rem}code{background:var(--line);padding:.1rem .3rem;border-radius:3px}
"""


def html(found: dict[str, Any], command: str) -> str:
    """The page by itself: no script, nothing fetched, light and dark."""
    names = [n for n in COLUMNS if n not in ("precision", "recall")]
    rows = "".join(_html_row(row, names) for row in scored(found))
    head = "".join(f"<th>{escape.escape(h)}</th>" for h in ["method", "exact, 95% interval", *_head(names)[1:]])
    meaning = escape.escape(MEANING.replace("\\*", "*").replace("**", ""))
    left = "".join(f"<li>{escape.escape(row['name'])}: {escape.escape(row['skipped'])}</li>" for row in found["rows"] if "skipped" in row)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Methods against known explanations</title><style>{STYLE}</style></head><body>"
        f"<h1>Methods against known explanations</h1><p>{escape.escape(heading(found))}</p>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div><p>{meaning}</p>'
        + (f"<h2>Left out</h2><ul>{left}</ul>" if left else "")
        + f"<p>Written by <code>{escape.escape(command)}</code>.</p></body></html>\n"
    )


def _html_row(row: dict[str, Any], names: Sequence[str]) -> str:
    one = row["metrics"]["exact"]
    value, low, high = (100 * (one[k] or 0.0) for k in ("value", "low", "high"))
    bar = f'<span class="bar"><i style="width:{value:.1f}%"></i><b style="left:{low:.1f}%;width:{high - low:.1f}%"></b></span>'
    name, *cells = _cells(row, names)
    told = f'<td title="{escape.escape(row["about"])}">{escape.escape(name)}</td><td>{bar}</td>'
    return f"<tr>{told}{''.join(f'<td>{escape.escape(c)}</td>' for c in cells)}</tr>"


def terminal(found: dict[str, Any]) -> str:
    """One method in full, or several in a narrow table, as plain text."""
    rows = scored(found)
    lines = [heading(found)]
    if len(rows) == 1:
        row = rows[0]
        lines += [f"  {COLUMNS[n]:<18} {figure(row, n)}{spread(row, n) if n in SHARES else ''}" for n in COLUMNS if n in row["metrics"]]
        one = {"metrics": row["univariate"]}
        lines += [f"  {'univariate':<18} {figure(one, 'exact')}, top 1 {figure(one, 'top')}"]
        for stratum, bands in row["strata"].items():
            lines.append(f"  {'exact by ' + stratum:<18} " + ", ".join(f"{band}: {_percent(told)}" for band, told in bands.items()))
        level = "none" if row["level"] is None else f"{row['level']:.2f}"
        return "\n".join([*lines, f"  {'level':<18} {level}", f"  {'ms a point':<18} {row['ms_per_point']:.2f}"])
    names = ("exact", "f1", "sound", "gap", "top", "average_precision")
    table = [["method", *(COLUMNS[n] for n in names), "ms a point"]]
    table += [
        [row["name"], *(figure(row, n) + (spread(row) if n == "exact" else "") for n in names), f"{row['ms_per_point']:.2f}"]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines += [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in table
    ]
    return "\n".join(lines + [f"{row['name']}: left out: {row['skipped']}" for row in found["rows"] if "skipped" in row])
