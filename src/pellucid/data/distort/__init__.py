"""Distorted copies of a picture for learning what people see: the 25 kinds of KADID-10k at five levels, ours, seeded."""

from pellucid.data.distort.levels import KINDS, LEVELS, Distortion, find
from pellucid.data.distort.pictures import SMALLEST, check_available, distort

__all__ = ["KINDS", "LEVELS", "SMALLEST", "Distortion", "check_available", "distort", "find"]
