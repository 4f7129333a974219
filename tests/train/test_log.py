import csv
import json

import pytest

from pellucid.errors import BadUsage
from pellucid.train.log import Log


def test_a_resumed_log_forgets_what_came_after(tmp_path):
    log = Log(tmp_path, (), 0)
    for step in (1, 2, 3):
        log.write({"step": step, "train/loss": 1 / step})
    (tmp_path / "metrics.jsonl").open("a").write('{"step": 4, "tr')  # cut short by a kill
    Log(tmp_path, (), 2)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_the_table_has_every_column(tmp_path):
    log = Log(tmp_path, ("csv",), 0)
    log.write({"step": 1, "train/loss": 0.5})
    log.write({"step": 1, "dev/accuracy": 0.75})
    log.close()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert rows == [{"step": "1", "train/loss": "0.5", "dev/accuracy": ""}, {"step": "1", "train/loss": "", "dev/accuracy": "0.75"}]


def test_tensorboard_gets_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(tmp_path, ("tensorboard",), 0)
    log.write({"step": 7, "train/loss": 0.5})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(7, 0.5)]


def test_a_tracker_that_is_not_there_says_so(tmp_path):
    with pytest.raises(BadUsage, match="did you mean 'tensorboard'"):
        Log(tmp_path, ("tensorbord",), 0)
    import importlib.util

    for name in ("wandb", "mlflow"):
        if importlib.util.find_spec(name) is None:
            with pytest.raises(BadUsage, match=f"package '{name}' is not installed; pip install {name}"):
                Log(tmp_path, (name,), 0)
