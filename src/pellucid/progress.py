"""Progress of long work, told on stderr."""

import sys
from typing import Any

from rich.console import Console


class Watching:
    """Progress on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self, quiet: bool):
        self.plain = quiet or not sys.stderr.isatty()
        self.console = Console(stderr=True)
        self.bar: Any = None
        self.next_line = 0.0

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def show(self, at: Any) -> None:
        """Takes one `Progress`."""
        share = at.step / at.total
        dev = "  ".join(f"{k} {v:.4f}" for k, v in at.dev.items())
        if dev:
            self.console.print(f"epoch {at.epoch}: {dev}", highlight=False)
        elif self.plain and share >= self.next_line:
            print(f"step {at.step}/{at.total}  loss {at.loss:.4f}", file=sys.stderr, flush=True)
            self.next_line = share + 0.1
        elif not self.plain:
            self._bar(at)

    def count(self, at: int, of: int, what: str) -> None:
        """Takes how many of how many are done."""
        if self.plain:
            if at / of >= self.next_line and of > 20:
                print(f"{what}: {at} of {of}", file=sys.stderr, flush=True)
                self.next_line = at / of + 0.1
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self.bar is None:
            self.bar = Progress(
                TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=self.console, transient=True
            )
            self.job = self.bar.add_task(what, total=of)
            self.bar.start()
        self.bar.update(self.job, completed=at)

    def _bar(self, at: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self.bar is None:
            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("loss {task.fields[loss]:.4f}"),
            )
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.job = self.bar.add_task("train", total=at.total, loss=at.loss)
            self.bar.start()
        self.bar.update(self.job, completed=at.step, loss=at.loss)
