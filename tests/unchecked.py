"""Modules without the check of types at every call, which takes twenty times as long as a short call: for tests of many of them."""

import importlib.util
import sys
import types
from unittest import mock


def unchecked(*names: str) -> list[types.ModuleType]:
    """Fresh copies of modules; each imports those before it from among the copies."""
    copies = []
    with mock.patch.dict(sys.modules):
        for name in names:
            found = importlib.util.find_spec(name)
            assert found and found.origin
            spec = importlib.util.spec_from_file_location(name, found.origin)
            assert spec and spec.loader
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
            copies.append(sys.modules[name])
    return copies
