"""How long the command line takes to say what it can do, beside peers that import everything first; CPU seconds, medians of five.

Peers are the nearest commands of libraries that pellucid installs anyway: their own `--help`, or importing their training face.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

RUNS = 5
OURS = ("-m", "pellucid", "--help")
LIST = ("-m", "pellucid", "list", "recipes")
PEERS = {
    "transformers Trainer": ("-c", "from transformers import Trainer"),
    "timm": ("-c", "import timm"),
}


def once(arguments: Sequence[str]) -> tuple[float, float]:
    """CPU seconds and peak megabytes of one run."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)}: exit status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> int:
    commands = {"pellucid --help": OURS, "pellucid list recipes": LIST, **PEERS}
    for arguments in commands.values():
        once(arguments)  # warms the disk cache
    rounds = [{name: once(arguments) for name, arguments in commands.items()} for _ in range(RUNS)]
    seconds = {name: statistics.median(r[name][0] for r in rounds) for name in commands}
    megabytes = {name: statistics.median(r[name][1] for r in rounds) for name in commands}
    for name in commands:
        print(f"{name:<24} {seconds[name]:6.2f} CPU s {megabytes[name]:7.0f} MB", file=sys.stderr)
    ours, peer = seconds["pellucid list recipes"], min(seconds[name] for name in PEERS)
    # nothing to agree on here: equal says that both of ours stay under half a second and 80 MB
    fast = max(seconds[n] for n in list(commands)[:2]) < 0.5 and max(megabytes[n] for n in list(commands)[:2]) < 80
    found = {"ours": ours, "peer": peer, "peer_name": "quickest of " + ", ".join(PEERS), "unit": "CPU s", "ratio": peer / ours}
    print(json.dumps({"name": "help", **found, "equal": fast}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
