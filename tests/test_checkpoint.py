import pickle

import pytest
import torch
from torch import nn

from pellucid import checkpoint
from pellucid.errors import BadData, UnsafeInput


def model():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))


def test_weights_come_back_to_the_last_bit(tmp_path):
    first, second = model(), model()
    checkpoint.save(first.state_dict(), tmp_path / "w.safetensors")
    checkpoint.load_into(second, checkpoint.load(tmp_path / "w.safetensors"), "w")
    assert checkpoint.same(first.state_dict(), second.state_dict())


def test_every_key_that_does_not_fit_is_named():
    given = {**model().state_dict(), "extra": torch.zeros(1), "0.bias": torch.zeros(5)}
    del given["1.bias"]
    with pytest.raises(BadData, match=r"missing: 1\.bias; unknown: extra; other shape: 0\.bias \(5,\), here \(2,\)"):
        checkpoint.load_into(model(), given, "w")


def test_a_failed_load_leaves_the_model_as_it_was():
    one = model()
    before = {k: v.clone() for k, v in one.state_dict().items()}
    with pytest.raises(BadData):
        checkpoint.load_into(one, {"0.weight": torch.ones(2, 3)}, "w")
    assert checkpoint.same(before, one.state_dict())


def test_keys_are_left_out_only_by_name():
    one = model()
    given = {k: torch.ones_like(v) for k, v in one.state_dict().items()} | {"aux.x": torch.ones(1)}
    fit = checkpoint.load_into(one, given | {"1.old": torch.ones(1)}, "w", skip=["1."], drop=["aux.", "gone."])
    assert fit == checkpoint.Fit(loaded=["0.weight", "0.bias"], dropped=["aux.x", "1.old"], fresh=["1.weight", "1.bias"])
    assert (one[0].weight == 1).all()
    assert not (one[1].weight == 1).any()


def test_a_name_table_goes_both_ways():
    table = [("bert.encoder.layer.{}.attention.", "blocks.{}.attn."), ("bert.", "")]
    foreign = {"bert.encoder.layer.11.attention.q": torch.ones(1), "bert.embeddings.w": torch.zeros(1)}
    ours = checkpoint.rename(foreign, table)
    assert set(ours) == {"blocks.11.attn.q", "embeddings.w"}
    assert set(checkpoint.rename(ours, table[:1], back=True)) == {"bert.encoder.layer.11.attention.q", "embeddings.w"}


def test_two_keys_may_not_become_one():
    with pytest.raises(BadData, match="two keys become 'w'"):
        checkpoint.rename({"a.w": torch.ones(1), "b.w": torch.ones(1)}, [("a.", ""), ("b.", "")])


@pytest.mark.parametrize("name", ["w.pt", "model.safetensors"])
def test_a_pickle_is_refused_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(UnsafeInput, match="a pickle can run code"):
        checkpoint.load(tmp_path / name)


def test_truncated_weights_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    checkpoint.save(model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadData, match="not a whole safetensors file"):
        checkpoint.load(path)


def test_an_optimiser_state_comes_back_without_pickling(tmp_path):
    one = model()
    optimizer = torch.optim.AdamW(one.parameters(), betas=(0.8, 0.99))
    one(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint.save_state(optimizer.state_dict(), tmp_path)
    back = checkpoint.load_state(tmp_path)
    assert back["param_groups"] == optimizer.state_dict()["param_groups"]
    assert all(torch.equal(back["state"][i]["exp_avg"], s["exp_avg"]) for i, s in optimizer.state_dict()["state"].items())


def test_a_folder_is_found_after_a_crash_between_two_renames(tmp_path):
    (tmp_path / "last.old").mkdir()
    assert checkpoint.newest(tmp_path / "last") == tmp_path / "last.old"
    (tmp_path / "last.new").mkdir()
    checkpoint.replace_folder(tmp_path / "last.new", tmp_path / "last")
    assert checkpoint.newest(tmp_path / "last") == tmp_path / "last"
    assert not (tmp_path / "last.old").exists()
