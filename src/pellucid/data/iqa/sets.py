"""LIVE, CSIQ, TID2008 and TID2013, KADID-10k, KADIS-700k and PIPAL as they are published."""

import pathlib
import re
from collections.abc import Mapping

from pellucid.data import sources, tables
from pellucid.data.iqa import pairs
from pellucid.data.iqa.names import KADID, readable, told
from pellucid.data.iqa.pairs import SCALES, Files, Scale
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

_LIVE = (("jp2k", 227), ("jpeg", 233), ("wn", 174), ("gblur", 174), ("fastfading", 174))  # the order of its scores
_CSIQ = ("awgn", "jpeg", "jpeg2000", "fnoise", "blur", "contrast")  # by the numbers 1 to 6
# in the order of KADIS's table; what the metrics give, and which end is good
_WEAK = {
    **{name: Scale("KADIS-700k", 0, 1, "high") for name in ("msssim", "iwssim", "vsi", "fsim", "sff", "scqi", "sr_sim")},
    "ssim": Scale("KADIS-700k", -1, 1, "high"),
    **{name: Scale("KADIS-700k", 0, 1, "low") for name in ("mdsi", "gmsd")},
}


def live(place: str, options: Mapping[str, str]) -> Rows:
    """The 779 distorted pictures of LIVE release 2: DMOS, about 0 to 100, high is bad; the range is -3 to 112.

    The realigned scores reach from -2.64 to 111.77. Entries that are originals (`orgs`) are left out.

    Args:
        place: the folder of `dmos_realigned.mat`, `refnames_all.mat`, `refimgs` and a folder a distortion.
        options: as of all these readers, `references` and `without` (names of originals, without ending), `kinds` and `without_kinds`,
            `range=LOW,HIGH` instead of the set's, `missing=skip` to leave out rows without a picture.
    Raises:
        BadData: a file is missing or damaged, a score is outside the range, a row is there twice.
    """
    from pellucid.data import matlab

    chosen = sources.checked("live", options, pairs.OPTIONS)
    files, scale = Files(), SCALES["live"].ranged(chosen)
    root = pairs.root_of(place, files, "dmos_realigned.mat", "refnames_all.mat")
    path = files.find(root, "dmos_realigned.mat")
    scores, originals = matlab.numbers(path, "dmos_new"), matlab.numbers(path, "orgs")
    references = matlab.texts(files.find(root, "refnames_all.mat"), "refnames_all")
    names = [(folder, f"img{number}.bmp") for folder, num in _LIVE for number in range(1, num + 1)]
    for length in (len(scores), len(originals), len(references)):
        if length != len(names):
            raise BadData(f"{root}: {length} values in a .mat file, expected {len(names)}, one a picture of LIVE release 2")
    rows = []
    for index, (folder, name) in enumerate(names):
        where, score = f"dmos_realigned.mat:{index + 1}", float(scores[index])
        if originals[index] == 1:
            continue
        image = files.find(root, f"{folder}/{name}")
        reference = files.inside(root, f"refimgs/{references[index]}", where)
        label = scale.quality(score, where)
        rows.append(pairs.pair(where, "live", image, reference, label=label, score=score, kind=readable(folder)))
    return pairs.finished(rows, chosen, place)


def csiq(place: str, options: Mapping[str, str]) -> Rows:
    """The 866 distorted pictures of CSIQ: DMOS, 0 to 1, high is bad.

    Args:
        place: the folder of `src_imgs`, `dst_imgs` and `DMOS.csv`, the spreadsheet's sheet all_by_image with the columns image (or
            name), dst_idx, dst_type, dst_lev, dmos_std, dmos.
    """
    chosen = sources.checked("csiq", options, pairs.OPTIONS)
    files, scale = Files(), SCALES["csiq"].ranged(chosen)
    root = pairs.root_of(place, files, "src_imgs", "dst_imgs")
    table = next((name for name in ("DMOS.csv", "csiq.DMOS.csv", "csiq_dmos.csv") if files.has(root, name)), "DMOS.csv")
    rows = []
    for row in tables.read("csv", files.find(root, table)):
        where, name = row["id"], _column(row, "image", "name")
        kind = _csiq_kind(_column(row, "dst_idx", "dst_type"), where)
        level = pairs.whole(_column(row, "dst_lev"), where, "dst_lev")
        score = pairs.number(_column(row, "dmos"), where)
        image = files.inside(root, f"dst_imgs/{kind}/{name}.{kind}.{level}.png", where)
        reference = files.inside(root, f"src_imgs/{name}.png", where)
        more = {"label": scale.quality(score, where), "score": score, "kind": readable(kind), "level": level}
        rows.append(pairs.pair(where, "csiq", image, reference, **more))
    return pairs.finished(rows, chosen, place)


def tid(place: str, options: Mapping[str, str]) -> Rows:
    """The 3000 distorted pictures of TID2013, or the 1700 of TID2008: MOS, 0 to 9, high is good.

    Both sets have the same originals, and the same names of groups.

    Args:
        place: the folder of `mos_with_names.txt`, `reference_images` and `distorted_images`.
        options: `year` 2013 or 2008, beside those of all.
    """
    chosen = sources.checked("tid", options, {**pairs.OPTIONS, "year": ("2013", "2008")})
    data_set = f"tid{chosen.get('year', '2013')}"
    files, scale = Files(), SCALES[data_set].ranged(chosen)
    root = pairs.root_of(place, files, "mos_with_names.txt", "reference_images", "distorted_images")
    path = files.find(root, "mos_with_names.txt")
    rows = []
    for number, line in enumerate(sources.read_text(pathlib.Path(path)).splitlines(), 1):
        where, fields = f"mos_with_names.txt:{number}", line.split()
        if not fields:
            continue
        more = told(data_set, fields[-1])
        if len(fields) != 2 or not more:
            raise BadData(f"{where}: {line[:60]!r}; expected a score and the name of a picture of {scale.name}, 5.51 i01_01_1.bmp")
        score = pairs.number(fields[0], where)
        image = files.inside(root, f"distorted_images/{fields[1]}", where)
        reference = files.inside(root, f"reference_images/{fields[1].split('_')[0]}.bmp", where)
        rows.append(pairs.pair(where, "tid", image, reference, label=scale.quality(score, where), score=score, **more))
    return pairs.finished(rows, chosen, place)


def kadid(place: str, options: Mapping[str, str]) -> Rows:
    """The 10,125 distorted pictures of KADID-10k: 1 to 5, high is good, although the column is called dmos.

    Args:
        place: the folder of `dmos.csv` (dist_img, ref_img, dmos, var) and `images`.
    """
    chosen = sources.checked("kadid", options, pairs.OPTIONS)
    files, scale = Files(), SCALES["kadid"].ranged(chosen)
    root = pairs.root_of(place, files, "dmos.csv", "images")
    rows = []
    for row in tables.read("csv", files.find(root, "dmos.csv")):
        where, score = row["id"], pairs.number(_column(row, "dmos"), row["id"])
        name = _column(row, "dist_img")
        image = files.inside(root, f"images/{name}", where)
        reference = files.inside(root, f"images/{_column(row, 'ref_img')}", where)
        more = {"label": scale.quality(score, where), "score": score, **told("kadid", name)}
        rows.append(pairs.pair(where, "kadid", image, reference, **more))
    return pairs.finished(rows, chosen, place)


def kadis(place: str, options: Mapping[str, str]) -> Rows:
    """The distorted pictures of KADIS-700k, made with its generator, with another metric's score as weak label.

    Args:
        place: the folder of `ref_imgs` and `dist_imgs`, or the one around it; `kadis700k_friqa.csv` in either.
        options: `label` the column of scores, vsi unless told, or none, where `kadis700k_ref_imgs.csv` names the pairs; of a column that
            is not KADIS's own also `range` and `better`, low or high; `scores=FILE`; beside those of all.
    """
    extra: sources.Choices = {"label": (), "scores": (), "better": ("low", "high")}
    chosen = sources.checked("kadis", options, {**pairs.OPTIONS, **extra})
    files, metric = Files(), chosen.get("label", "vsi").lower()
    root = pairs.root_of(place, files, "ref_imgs", "dist_imgs")
    if metric == "none":
        return pairs.finished(_unlabelled(root, _beside(place, root, "kadis700k_ref_imgs.csv", files), files), chosen, place)
    scale = _weak_scale(metric, chosen).ranged(chosen)
    rows = []
    for row in tables.read("csv", chosen.get("scores") or _beside(place, root, "kadis700k_friqa.csv", files)):
        where, score = row["id"], pairs.number(_column(row, metric), row["id"])
        name, kind, level = _kadis_name(_column(row, "dist_im"), where)
        reference = files.inside(root, f"ref_imgs/{_column(row, 'ref_im')}", where)
        # its table names the two kinds of saturation, and the files bear the number of either
        numbers = (7, 8) if kind.startswith("colour_saturation") else (KADID.index(kind) + 1,)
        stored = [f"{name}_{number:02d}_{level:02d}.bmp" for number in numbers]
        found = next((file for file in stored if files.has(root, f"dist_imgs/{file}")), stored[0])
        image = files.inside(root, f"dist_imgs/{found}", where)
        more = {"label": scale.quality(score, where), "score": score, "kind": kind, "level": level}
        rows.append(pairs.pair(where, "kadis", image, reference, **more))
    return pairs.finished(rows, chosen, place)


def pipal(place: str, options: Mapping[str, str]) -> Rows:
    """The 23,200 training pictures of PIPAL, 116 of each original: Elo ratings, high is good; the range is 850 to 1900.

    Args:
        place: the folder of `Train_Ref`, `Train_Label` (a text file an original) and `Train_Dist`, or `Distortion_1` to `Distortion_4`.
    """
    chosen = sources.checked("pipal", options, pairs.OPTIONS)
    files, scale = Files(), SCALES["pipal"].ranged(chosen)
    root = pairs.root_of(place, files, "Train_Ref", "Train_Label")
    folders = [name for name in ("Train_Dist", *(f"Distortion_{i}" for i in range(1, 5))) if files.has(root, name)]
    rows = []
    for path in sorted(sources.folder_of(files.find(root, "Train_Label")).glob("*.txt")):
        for number, line in enumerate(sources.read_text(path).splitlines(), 1):
            where, (name, _, text) = f"{path.name}:{number}", line.partition(",")
            if not line.strip():
                continue
            if not (more := told("pipal", name)):
                raise BadData(f"{where}: {line[:60]!r}; expected a picture's name and its score, A0001_00_00.bmp,1520.06")
            score = pairs.number(text, where)
            folder = next((f for f in folders if files.has(root, f"{f}/{name}")), "Train_Dist")
            image = files.inside(root, f"{folder}/{name}", where)
            reference = files.inside(root, f"Train_Ref/{name.split('_')[0]}.bmp", where)
            more |= {"label": scale.quality(score, where), "score": score}
            rows.append(pairs.pair(where, "pipal", image, reference, **more))
    return pairs.finished(rows, chosen, place)


# ---- the parts of them --------------------------------------------------------------------------------------------


def _column(row: Mapping[str, str], *names: str) -> str:
    """The text of the first of these columns that the row has, in any case."""
    found = next((row[name] for name in names if name in row), None)
    if found is None:
        lower = {key.lower().strip(): value for key, value in row.items()}
        found = next((lower[name] for name in names if name in lower), None)
    if found is None:
        raise BadData(f"{row['id']}: no column {' or '.join(names)}; the columns are {', '.join(key for key in row if key != 'id')}")
    return found.strip()


def _csiq_kind(text: str, where: str) -> str:
    """The folder of a distortion that is numbered or named."""
    plain = text.lower().replace(" ", "")
    kind = {"noise": "awgn", **{str(i): name for i, name in enumerate(_CSIQ, 1)}}.get(plain, plain)
    if kind not in _CSIQ:
        raise BadData(f"{where}: no distortion {text!r}; CSIQ has 1 to 6, {', '.join(_CSIQ)}")
    return kind


def _weak_scale(metric: str, chosen: Mapping[str, str]) -> Scale:
    if metric not in _WEAK and not {"range", "better"} <= chosen.keys():
        raise BadUsage(f"label={metric}: say what its scores mean with &range=LOW,HIGH&better=low or high; known are {', '.join(_WEAK)}")
    better = chosen.get("better") or _WEAK[metric].better
    low, high = (_WEAK[metric].low, _WEAK[metric].high) if metric in _WEAK else (0.0, 1.0)
    return Scale("KADIS-700k", low, high, "low" if better == "low" else "high")


def _kadis_name(text: str, where: str) -> tuple[str, str, int]:
    """Original, kind and level of `some_original_gblur_3.png`."""
    match = re.fullmatch(r"(.+)_([A-Za-z]+)_0?(\d)\.\w+", text)
    kind = readable(match[2]) if match else ""
    if not match or kind not in KADID:
        raise BadData(f"{where}: {text!r}; expected the name of a picture as KADIS has them, NAME_gblur_1.png")
    return match[1], kind, int(match[3])


def _beside(place: str, root: str, name: str, files: Files) -> str:
    """A file in the set's folder, or in the one around it."""
    return files.find(root if files.has(root, name) else place, name)


def _unlabelled(root: str, table: str, files: Files) -> Rows:
    """Five levels of the one kind that the set's list gives each original."""
    rows = []
    for row in tables.read("csv", table):
        where, name = row["id"], _column(row, "ref_im")
        kind = pairs.whole(_column(row, "dist_type", "dist_type_1"), where, "dist_type")
        if not 1 <= kind <= len(KADID):
            raise BadData(f"{where}: no distortion {kind}; KADIS has 1 to {len(KADID)}")
        reference = files.inside(root, f"ref_imgs/{name}", where)
        for level in range(1, 6):
            image = files.inside(root, f"dist_imgs/{name.rpartition('.')[0]}_{kind:02d}_{level:02d}.bmp", where)
            rows.append(pairs.pair(f"{where}:{level}", "kadis", image, reference, kind=KADID[kind - 1], level=level))
    return rows
