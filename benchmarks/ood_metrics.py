"""AUROC and FAR95 on two million scores, ours beside pytorch-ood's, in one process, runs alternating.

The peer runs its leanest form: one collection of just AUROC and FPR at 95% TPR, which share a sort. Both take outliers
as the positive class. Ours is `detection_numbers`, which also gives AUPR in the same time.
"""

import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

SCORES_PER_CLASS, ROUNDS = 1_000_000, 9


def timed(work: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    numbers = work()
    return time.perf_counter() - start, numbers


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> int:
    try:
        from pytorch_ood.metrics import AUROC, FPRAtTPR, MetricCollection
    except ImportError:
        say("ood_metrics: pytorch-ood 0.4 is not installed; pip install 'pytorch-ood>=0.4'")
        return 1
    import torch

    from pellucid.metrics.outlier import detection_numbers

    rng = np.random.default_rng(0)
    home = rng.normal(size=SCORES_PER_CLASS).astype(np.float32)
    ood = rng.normal(1.0, 1.5, size=SCORES_PER_CLASS).astype(np.float32)
    scores = torch.from_numpy(np.concatenate([home, ood]))
    labels = torch.from_numpy(np.repeat(np.array([0, -1]), SCORES_PER_CLASS))  # the peer marks outliers by labels below 0

    def ours() -> dict[str, float]:
        return detection_numbers(ood, home)

    def peer() -> dict[str, float]:
        return MetricCollection([AUROC(), FPRAtTPR(0.95)]).update(scores=scores, labels=labels).compute()

    ours(), peer()  # neither pays for first use
    rounds = [(timed(ours), timed(peer)) for _ in range(ROUNDS)]
    for (mine_s, mine), (peer_s, theirs) in rounds:
        say(
            f"ours {mine_s * 1e3:6.1f} ms  AUROC {mine['auroc']:.9f} FAR95 {mine['far95']:.6f}   "
            f"peer {peer_s * 1e3:6.1f} ms  AUROC {theirs['AUROC']:.9f} FAR95 {theirs['FPR95TPR']:.6f}"
        )
    equal = all(abs(m["auroc"] - t["AUROC"]) < 1e-9 and abs(m["far95"] - t["FPR95TPR"]) < 1e-9 for (_, m), (_, t) in rounds)
    result = {
        "name": "ood_metrics",
        "ours": statistics.median(mine_s for (mine_s, _), _ in rounds),
        "peer": statistics.median(peer_s for _, (peer_s, _) in rounds),
        "peer_name": f"pytorch-ood {importlib.metadata.version('pytorch-ood')}",
        "unit": "s",
        "ratio": statistics.median(peer_s / mine_s for (mine_s, _), (peer_s, _) in rounds),
        "equal": equal,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
