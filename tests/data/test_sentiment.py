"""The four domains of rated sentences: sizes, splits and labels; the real set where a package cache holds it."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from pellucid.data import packages, sentiment
from pellucid.data.read import read
from pellucid.errors import BadData
from pellucid.recipe import Data


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A store of the same layout with 40 rows a domain, rated -2.0, -1.9, ... 1.9."""
    text = "\r\n".join(f"{i}\t{(i - 20) / 10}\tsentence café {i}" for i in range(40)).encode()
    inner = tar({f"hutto_ICWSM_2014/{file}": text for file in sentiment.FILES.values()})
    content = tar({"vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz": inner})
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/v.tar.gz").write_bytes(content)
    pin = packages.Package("v", "1", "v.tar.gz", hashlib.sha256(content).hexdigest(), "sdist", "MIT")
    monkeypatch.setattr(packages, "VADER", pin)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    return tmp_path


def test_labels_are_the_sign_of_ratings_of_at_least_a_half(small):
    rows = read(Data("sentiment:tweets"))
    assert len(rows) == 31  # -2.0 to -0.5 and 0.5 to 1.9
    assert all((row["label"] == "positive") == (row["rating"] > 0) for row in rows)
    assert min(abs(row["rating"]) for row in rows) == 0.5
    assert rows[0] == {"text": "sentence café 0", "rating": -2.0, "label": "negative", "id": "tweets_GroundTruth.txt:1"}


def test_rated_sets_keep_every_row_with_its_mean(small):
    rows = read(Data("sentiment-rating:editorials"))
    assert [row["label"] for row in rows] == [(i - 20) / 10 for i in range(40)]


def test_splits_share_no_row_and_lose_none(small):
    for kind in ("sentiment", "sentiment-rating"):
        parts = [{row["id"] for row in read(Data(f"{kind}:movies/{split}"))} for split in ("train", "dev", "test")]
        assert set().union(*parts) == {row["id"] for row in read(Data(f"{kind}:movies"))}
        assert sum(map(len, parts)) == len(read(Data(f"{kind}:movies/all")))


def test_the_splits_are_eight_one_and_one_tenths_of_the_order_of_seed_0(small):
    order = read(Data("sentiment:movies"))
    np.random.default_rng(0).shuffle(order)
    assert read(Data("sentiment:movies/train")) == order[:24]
    assert read(Data("sentiment:movies/dev")) == order[24:27]
    assert read(Data("sentiment:movies/test")) == order[27:]


def test_a_rated_split_holds_the_rows_of_the_split_that_is_not(small):
    for split in ("train", "dev", "test"):
        rated = {row["id"] for row in read(Data(f"sentiment-rating:movies/{split}"))}
        assert {row["id"] for row in read(Data(f"sentiment:movies/{split}"))} <= rated


def test_the_set_stays_when_the_package_goes(small):
    before = read(Data("sentiment:amazon"))
    (small / "packages/v.tar.gz").unlink()
    assert read(Data("sentiment:amazon")) == before


def test_a_set_that_lost_a_file_says_what_to_do(small):
    read(Data("sentiment:amazon"))
    (small / "sentiment-3.3.2" / sentiment.FILES["tweets"]).unlink()
    with pytest.raises(BadData, match="delete the folder to get it anew"):
        read(Data("sentiment:amazon"))


@pytest.mark.skipif(not (packages.cache_folder() / "packages" / packages.VADER.file).is_file(), reason="the package is not in the cache")
def test_the_real_sets_have_the_sizes_of_the_benchmark():
    sizes = {"movies/train": 8057, "movies/dev": 1007, "movies/test": 1008, "amazon": 2985, "tweets": 3432, "editorials": 2970}
    assert {name: len(read(Data(f"sentiment:{name}"))) for name in sizes} == sizes
    rated = {"movies": 10605, "amazon": 3708, "tweets": 4200, "editorials": 5190}
    assert {name: len(read(Data(f"sentiment-rating:{name}"))) for name in rated} == rated
    assert sum("clichés disappear" in row["text"] for row in read(Data("sentiment:movies"))) == 1
