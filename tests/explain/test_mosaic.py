"""Maps on the terminal, in colour and without."""

import base64
import io

import numpy as np
from PIL import Image
from rich.console import Console

from pellucid.explain.mosaic import Mosaic, beside, maps, mosaic


def printed(what, color_system=None, width=80):
    console = Console(file=io.StringIO(), force_terminal=True, color_system=color_system, width=width, legacy_windows=False)
    console.print(what)
    return console.file.getvalue()


def test_without_colour_letters_say_strength_and_side():
    lines = printed(mosaic([0.0, 0.5, -1.0, 1.0], {"grid": [2, 2]})).splitlines()
    above, below = lines[0], lines[7]
    assert len(lines) == 14 and above == " " * 14 + "▒" * 14 and below == "#" * 14 + "█" * 14


def test_in_colour_the_strongest_patch_is_full_blue_and_the_rest_shows_the_picture():
    into = io.BytesIO()
    Image.fromarray(np.array([[[255] * 3, [0] * 3]] * 2, dtype=np.uint8)).save(into, "png")
    source = "data:image/png;base64," + base64.b64encode(into.getvalue()).decode()
    text = printed(mosaic([0.0, 0.0, 0.0, 1.0], {"grid": [2, 2], "src": source}), "truecolor")
    first, last = text.splitlines()[0], text.splitlines()[13]
    assert "38;2;191;191;191" in first and "38;2;64;64;64" in first  # white and black, both towards grey
    assert "38;2;33;113;181;48;2;33;113;181" in last and len(text.splitlines()) == 14


def test_many_patches_become_means_of_neighbours():
    values = np.zeros((40, 40))
    values[0, 0] = values[0, 1] = values[1, 0] = values[1, 1] = 2.0
    found = mosaic(values.ravel().tolist(), {"grid": [40, 40]})
    assert found.shares.shape == (20, 20) and found.shares[0, 0] == 1 and found.shares.sum() == 1


def test_maps_that_do_not_fit_a_line_go_on_below():
    one = Mosaic(np.ones((2, 2)))
    assert len(printed(beside([(28, one)] * 3, 60)).splitlines()) == 30  # two lines of maps, a free line after each
    assert max(map(len, printed(beside([(28, one)] * 3, 60)).splitlines())) <= 60


def test_a_map_tells_its_strongest_patches_and_checks():
    method = {"relevance": [0.0, 0.5, -1.0, 0.1], "gap": 0.01, "degradation": None, "checks": {"deletion_auc": 0.25}}
    record = {"words": ["0,0", "0,1", "1,0", "1,1"], "picture": {"grid": [2, 2]}, "methods": {"integrated_gradients": method}}
    text = printed(maps(record, 80))
    assert "integrated gradients" in text and "1,0 -1, 0,1 +0.5, 1,1" in text and "gap +1.0%" in text and "deletion auc 0.25" in text
