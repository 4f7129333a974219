"""Fine-tune a pretrained model, measure it at home and under shift, explain it, and check the explanation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.run import Run, from_pretrained, load, train

__version__ = "0.1.0"
__all__ = ["Run", "from_pretrained", "load", "train"]
_FACE = ("Run", "from_pretrained", "load", "train")


def __getattr__(name: str) -> Any:
    """The Python face, imported on first use: `import pellucid` itself stays light."""
    if name in _FACE:
        from pellucid import run

        return getattr(run, name)
    raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
