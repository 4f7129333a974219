"""Nothing but tensors comes out of a pickle, and nothing of it runs."""

import argparse
import fractions
import io
import os
import pathlib
import pickle
from collections import OrderedDict

import pytest
import torch

from pellucid.data import pickles
from pellucid.errors import BadData, UnsafeInput


class Runs:
    """A pickle of this calls whatever it names."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def dumped(value, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol)


STATE = OrderedDict(a=torch.arange(6.0).reshape(2, 3).t(), b=torch.tensor(3), c=torch.arange(10)[4:7])


@pytest.mark.parametrize(
    "read", [lambda s: pickles.weights_only(saved(s), "x"), *(lambda s, p=p: pickles.nested(dumped(s, p), "x") for p in (4, 5))]
)
def test_tensors_come_out_as_they_went_in(read):
    found = read(STATE)
    assert found.keys() == STATE.keys() and all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in STATE.items())


@pytest.mark.parametrize(
    "call", [(os.system, "echo"), (eval, "1"), (getattr, "x", "join"), (torch.load, "x"), (exec, ""), (__import__, "os"), (list,)]
)
def test_whatever_a_pickle_would_call_is_refused(call, tmp_path):
    spoiled = {**STATE, "d": Runs(*call)}
    with pytest.raises(UnsafeInput, match=r"x: a pickle that asks for .*refused"):
        pickles.nested(dumped(spoiled), "x")
    with pytest.raises(UnsafeInput, match="x: holds more than tensors"):
        pickles.weights_only(saved(spoiled), "x")


def test_nothing_is_run_before_the_refusal(tmp_path):
    for read, wrap in ((pickles.nested, dumped), (pickles.weights_only, saved)):
        with pytest.raises(UnsafeInput):
            read(wrap([Runs(os.mkdir, str(tmp_path / "ran"))]), "x")
    assert not (tmp_path / "ran").exists()


def test_a_tensors_bytes_are_not_a_way_in(tmp_path):
    inner = saved(Runs(os.mkdir, str(tmp_path / "ran")))
    with pytest.raises(BadData, match="x: not a whole pickle of tensors"):
        pickles.nested(dumped({"a": Runs(torch.storage._load_from_bytes, inner)}), "x")
    assert not (tmp_path / "ran").exists()


def test_the_three_names_are_not_torchs_own_functions():
    find = pickles._Nested(io.BytesIO(), "x").find_class
    assert find("torch._utils", "_rebuild_tensor_v2") is not torch._utils._rebuild_tensor_v2
    assert find("torch.storage", "_load_from_bytes") is not torch.storage._load_from_bytes


def test_a_tensor_may_not_reach_beyond_its_bytes():
    storage = Runs(torch.storage._load_from_bytes, saved(torch.arange(3.0)._typed_storage()))
    with pytest.raises(BadData, match="not a whole pickle"):
        pickles.nested(dumped({"a": Runs(torch._utils._rebuild_tensor_v2, storage, 0, (4,), (1,), False, OrderedDict())}), "x")


def test_weights_are_found_beside_other_things_and_inside_a_wrapper():
    wrapped = {"epoch": 3, "model": {f"module.{k}": v for k, v in STATE.items()}}
    assert pickles.weights_only(saved(wrapped), "x").keys() == STATE.keys()


@pytest.mark.parametrize(
    "raw", [b"", b"\x80\x04", b"plain text", dumped({"a": 1}), dumped([1]), saved({"a": 1}), saved([torch.ones(1)]), saved({})]
)
@pytest.mark.parametrize("read", [pickles.nested, pickles.weights_only])
def test_what_holds_no_named_tensors_is_bad_data(read, raw):
    with pytest.raises((BadData, UnsafeInput), match=r"^x: "):
        read(raw, "x")


@pytest.mark.parametrize("zipped", [True, False])
def test_flags_beside_the_weights_are_left_out_and_no_other_class_is_let_in(zipped):
    def checkpoint(**flags) -> bytes:
        file = io.BytesIO()
        told = {"model": STATE, "args": argparse.Namespace(lr=1e-4, device="cuda", masks=False, **flags), "epoch": 299}
        torch.save(told, file, _use_new_zipfile_serialization=zipped)
        return file.getvalue()

    found = pickles.weights_only(checkpoint(), "x")
    assert found.keys() == STATE.keys() and all(torch.equal(found[k], v) for k, v in STATE.items())
    for flag in (pathlib.PurePosixPath("x"), argparse.ArgumentParser, Runs(os.system, "echo"), fractions.Fraction(1)):
        with pytest.raises(UnsafeInput, match="x: holds more than tensors"):
            pickles.weights_only(checkpoint(flag=flag), "x")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_tensors_deep_in_lists_and_dicts_come_out_under_dotted_names_and_the_rest_is_left_out():
    told = {
        "net": "alex",
        "widths": [1, 2],
        "trunk": [{"bias": torch.ones(2), "stride": 4}, {"bias": torch.zeros(3)}],
        "line": (torch.ones(1),),
    }
    found = pickles.every_tensor(saved(told), "x")
    assert {key: value.tolist() for key, value in found.items()} == {"trunk.0.bias": [1, 1], "trunk.1.bias": [0, 0, 0], "line.0": [1]}
    with pytest.raises(BadData, match="x: no tensors in it"):
        pickles.every_tensor(saved({"a": [1, 2]}), "x")
    with pytest.raises(UnsafeInput, match="x: holds more than tensors"):
        pickles.every_tensor(saved(told | {"why": Runs(os.system, "echo")}), "x")
