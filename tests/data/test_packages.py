"""Packages come by name, version and hash, once; the package client here is the real pip, pointed at a local folder."""

import hashlib
import pathlib
import subprocess
import sys
import zipfile

import pytest

from pellucid.data import packages
from pellucid.errors import BadData


def wheel_of(folder: pathlib.Path, text: str = "weights", machine: str = "any") -> packages.Package:
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny_store-1.0-py3-none-{machine}.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny_store/data.txt", text)
        file.writestr("tiny_store-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-store\nVersion: 1.0\n")
        file.writestr("tiny_store-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny_store-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return packages.Package("tiny-store", "1.0", path.name, digest, "wheel", "MIT")


@pytest.fixture
def store(tmp_path, monkeypatch) -> packages.Package:
    """A package that pip finds in a folder, and an empty cache."""
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    return wheel_of(tmp_path / "links")


def have_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


needs_pip = pytest.mark.skipif(not have_pip(), reason="this Python has no pip")


def refuse_to_run(*_args, **_kwargs):
    raise AssertionError("the package client was run")


@needs_pip
def test_a_package_is_downloaded_once_and_read_offline_afterwards(store, tmp_path, monkeypatch):
    assert packages.members(store, ["tiny_store/data.txt"]) == {"tiny_store/data.txt": b"weights"}
    monkeypatch.setattr(subprocess, "run", refuse_to_run)
    assert packages.members(store, ["tiny_store/data.txt"]) == {"tiny_store/data.txt": b"weights"}
    assert [p.name for p in (tmp_path / "cache/packages").iterdir()] == [store.file]


@needs_pip
@pytest.mark.usefixtures("store")
def test_a_package_made_for_another_machine_is_had_too_since_it_is_only_read(tmp_path):
    package = wheel_of(tmp_path / "links", machine="win_arm64")
    assert packages.members(package, ["tiny_store/data.txt"]) == {"tiny_store/data.txt": b"weights"}


@needs_pip
def test_a_file_of_another_hash_is_refused_before_it_is_kept(store, tmp_path):
    wheel_of(tmp_path / "links", "other weights")
    with pytest.raises(BadData, match=r"tiny-store 1.0 cannot be had: the registry's file has another sha256"):
        packages.fetch(store)
    assert not list((tmp_path / "cache/packages").iterdir())


@needs_pip
def test_a_package_that_is_not_there_gives_one_line_with_a_remedy(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BadData, match=r"No matching distribution found.*put tiny_store-1.0-py3-none-any.whl into") as caught:
        packages.fetch(store)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_in_the_cache_is_not_opened(store, tmp_path, monkeypatch):
    (tmp_path / "cache/packages").mkdir(parents=True)
    (tmp_path / "cache/packages" / store.file).write_bytes(b"cut short")
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no network\n")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: failed)
    with pytest.raises(BadData, match="cannot be had: no network"):
        packages.members(store, ["tiny_store/data.txt"])


def test_what_the_client_brings_is_checked_again(store, monkeypatch):
    def run(command, cwd, **_kwargs):
        (cwd / store.file).write_bytes(b"something else")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(BadData, match=r"its sha256 is [0-9a-f]{12}\.\.\., not the pinned"):
        packages.fetch(store)


def test_a_python_without_pip_is_told_how_to_get_it(store, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "/usr/bin/python: No module named pip\n")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: failed)
    with pytest.raises(BadData, match="-m ensurepip"):
        packages.fetch(store)


def test_a_pip_lying_in_the_current_folder_is_not_run(store, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/pip.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BadData):
        packages.fetch(store)
    assert not (tmp_path / "ran").exists()


def test_a_cache_that_cannot_be_written_is_one_line(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "file"))
    with pytest.raises(BadData, match="cannot be had: Not a directory"):
        packages.fetch(store)


def test_the_pins_are_whole_hashes_of_distinct_files():
    assert all(len(bytes.fromhex(p.sha256)) == 32 for p in packages.PACKAGES)
    assert len({p.sha256 for p in packages.PACKAGES}) == len({p.file for p in packages.PACKAGES}) == len(packages.PACKAGES)
