"""CPU seconds to write the answers to SCAN's 4,182 simple test commands, evaluate() beside transformers' generate(), two threads.

The same weights in both: T5's architecture, two layers of 128, trained here for some minutes on the simple training set (kept in
pellucid's cache) so that lengths are those of real answers. The peer goes through the commands in file order at batch 16, greedily, as
its examples do; ours sorts them by their own length, as `evaluate` does with examples of any kind, and has no labels to sort by. Both
begin with prepared tokens and end with ids, at the same greatest length. They take turns, half of the commands at a time, so that
whatever else the machine does falls on both; threads sleep while they wait for each other, so that CPU seconds are work. `equal`: the
same ids everywhere. `wall_ratio` is by the clock; `labelled` is the ratio where examples bring labels, whose lengths help to sort.
"""

import argparse
import importlib.metadata
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch.nn.utils.rnn import pad_sequence

from pellucid import checkpoint
from pellucid.data.packages import cache_folder
from pellucid.data.read import read
from pellucid.evaluate import Pass, evaluate
from pellucid.recipe import Data
from pellucid.tasks.parsing.settings import ParsingSettings

STEPS, BATCH, PEER_BATCH, OUR_BATCH, MOST, PARTS = 900, 64, 16, 1050, 64, 2


def say(line: str) -> None:
    print(line, file=sys.stderr)


def trained(train: list[dict[str, Any]], steps: int) -> Any:
    """The task with weights that were learned here, or kept from before."""
    torch.manual_seed(0)
    task = ParsingSettings("transformer", width=128, layers=2, max_target=MOST).build(train)
    kept = cache_folder() / "bench" / f"generate-{steps}.safetensors"
    if kept.is_file():
        task.model.load_state_dict(checkpoint.load(kept))
        return task
    rows = sorted(task.prepare(train, "train"), key=lambda row: row["length"])
    adam, draw, start = torch.optim.Adam(task.model.parameters(), lr=1e-3), random.Random(0), time.perf_counter()
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 2e-3 * min(1.0, step / 100, (steps - step) / (0.4 * steps))
        first = draw.randrange(len(rows) - BATCH)
        batch = task.train_batch(rows[first : first + BATCH], [0] * BATCH)
        loss = sum(task.loss(task.model(batch), batch).values())
        adam.zero_grad()
        loss.backward()
        adam.step()
        if not step % 100:
            say(f"training, step {step} of {steps}: loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s")
    kept.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(task.model.state_dict(), kept)
    return task


def ours(task: Any, rows: list[dict[str, Any]]) -> list[list[int]]:
    return [p["tokens"] for p in evaluate(task, rows, Pass(OUR_BATCH), labelled=False).predictions]


def generated(task: Any, rows: list[dict[str, Any]]) -> list[list[int]]:
    inner, end, pad, found = task.model.net.inner, task.tokenizer.end_id, task.tokenizer.pad_id, []
    for i in range(0, len(rows), PEER_BATCH):
        tokens = [torch.from_numpy(row["tokens"].tokens).long() for row in rows[i : i + PEER_BATCH]]
        ids = pad_sequence(tokens, batch_first=True, padding_value=pad)
        written = inner.generate(ids, attention_mask=(ids != pad).long(), max_new_tokens=MOST, do_sample=False, num_beams=1)
        found += [row[: row.index(end) + 1] if end in row else row for row in written[:, 1:].tolist()]
    return found


def spent(work: Callable[..., Any], *given: Any) -> tuple[Any, float, float]:
    start, clock = time.process_time(), time.perf_counter()
    found = work(*given)
    return found, time.process_time() - start, time.perf_counter() - clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    parser.add_argument("--commands", type=int, default=0, help="the first so many alone")
    given = parser.parse_args()
    torch.set_num_threads(2)
    test = read(Data("scan:simple/test"))
    random.Random(1).shuffle(test)  # ours are sorted by command; in the authors' file they stand in no order
    test = test[: given.commands or len(test)]
    task = trained(read(Data("scan:simple/train")), given.steps)
    task.model.eval()
    labelled = task.prepare(test, "test")
    rows = task.prepare([{"id": row["id"], "text": row["text"]} for row in test], "test")
    ours(task, rows[:64]), generated(task, rows[:16])
    size, columns, equal, right = -(-len(rows) // PARTS), [], True, 0
    for i in range(0, len(rows), size):
        part, gold = rows[i : i + size], labelled[i : i + size]
        (mine, cpu, wall), (theirs, their_cpu, their_wall) = spent(ours, task, part), spent(generated, task, part)
        known, known_cpu, _ = spent(ours, task, gold)
        equal = equal and mine == theirs == known
        right += sum(ids == row["target"].tolist() for ids, row in zip(mine, gold, strict=True))
        columns.append((cpu, their_cpu, wall, their_wall, known_cpu))
        told = f"ours {cpu:.2f} CPU s ({wall:.2f} s), generate {their_cpu:.2f} ({their_wall:.2f} s)"
        say(f"{len(part)} commands: {told}, same {mine == theirs}")
    cpu, their_cpu, wall, their_wall, known_cpu = (sum(column) for column in zip(*columns, strict=True))
    result = {
        "name": "generate",
        "ours": cpu,
        "peer": their_cpu,
        "peer_name": f"transformers {importlib.metadata.version('transformers')} generate, file order, batch {PEER_BATCH}",
        "unit": "CPU s",
        "ratio": their_cpu / cpu,
        "equal": equal,
        "wall_ratio": their_wall / wall,
        "labelled": their_cpu / known_cpu,
        "commands": len(rows),
        "exact_match": right / len(rows),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
