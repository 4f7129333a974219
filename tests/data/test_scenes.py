"""Generated pictures: boxes and outlines are where the pixels say, nothing is hidden, and every picture is a function of its number."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from pellucid.data import scenes
from pellucid.data.polygons import to_masks
from pellucid.data.read import read
from pellucid.errors import BadUsage
from pellucid.recipe import Data


def pixels(row):
    return np.asarray(Image.open(io.BytesIO(row["image"]))).astype(int)


@pytest.fixture(scope="module", params=["train", "away"])
def rows(request):
    return read(Data(f"shapes:{request.param}?num=60&sizes=mixed&masks=yes"))


def test_a_picture_depends_on_its_part_and_number_alone():
    some, more = read(Data("shapes:train?num=3")), read(Data("shapes:train?num=5"))
    assert some == more[:3]
    assert len({row["image"] for row in more + read(Data("shapes:test?num=5")) + read(Data("shapes:away?num=5"))}) == 15
    assert read(Data("textures:train?num=2"))[1] == read(Data("textures:train?num=4"))[1]


def test_sizes_are_as_told_and_mixed_where_asked(rows):
    assert {pixels(row).shape for row in read(Data("shapes:train?num=4"))} == {(96, 96, 3)}
    assert all(pixels(row).shape == (row["height"], row["width"], 3) for row in rows)
    assert len({row["width"] for row in rows}) > 30 and all(64 <= row[side] <= 128 for row in rows for side in ("width", "height"))


def test_boxes_hold_their_outlines_exactly_and_lie_in_the_picture(rows):
    for row in rows:
        for found in row["objects"]:
            x, y = np.array(found["segmentation"][0]).reshape(-1, 2).T
            x0, y0, x1, y1 = found["box_xyxy"]
            assert (x0, y0, x1, y1) == (x.min(), y.min(), x.max(), y.max())
            assert min(x0, y0) >= 0 and x1 <= row["width"] and y1 <= row["height"]
            assert min(x1 - x0, y1 - y0) >= 14


def test_the_area_is_what_the_outline_covers(rows):
    for row in rows:
        masks = to_masks([found["segmentation"] for found in row["objects"]], row["height"], row["width"])
        for found, mask in zip(row["objects"], masks, strict=True):
            assert found["area"] == pytest.approx(mask.sum().item(), abs=0.06 * found["area"] + 12)


def test_shapes_differ_from_the_ground_where_their_outline_says_and_nowhere_else(rows):
    for row in rows[:20]:
        values, masks = pixels(row), to_masks([o["segmentation"] for o in row["objects"]], row["height"], row["width"]).any(0).numpy()
        # the ground is a plane: fitted to its pixels it holds everywhere but in the shapes
        y, x = np.mgrid[: row["height"], : row["width"]]
        plane = np.stack([x, y, np.ones_like(x)], -1).astype(float)
        fitted = plane @ np.linalg.lstsq(plane[~masks], values[~masks].astype(float), rcond=None)[0]
        differs = np.abs(values - fitted.clip(0, 255)).max(-1) > 30
        assert (differs == masks).mean() > 0.93, row["id"]


def test_no_shape_hides_another(rows):
    for row in rows:
        masks = to_masks([o["segmentation"] for o in row["objects"]], row["height"], row["width"])
        for one, other in itertools.combinations(masks, 2):
            assert (one & other).sum() <= 0.03 * min(one.sum(), other.sum())


def test_all_classes_and_one_to_three_shapes_are_met(rows):
    assert {len(row["objects"]) for row in rows} == {1, 2, 3}
    assert {o["label"] for row in rows for o in row["objects"]} == set(scenes.CLASSES) == set(rows[0]["classes"])
    assert all(row["labels"] == [c for c in scenes.CLASSES if c in {o["label"] for o in row["objects"]}] for row in rows)
    ids = [o["id"] for row in rows for o in row["objects"]]
    assert len(set(ids)) == len(ids)


def test_the_shapes_of_away_are_paler_than_their_ground_and_those_at_home_stronger():
    def saturation(part):
        found = []
        for row in read(Data(f"shapes:{part}?num=20&masks=yes")):
            values, mask = pixels(row), to_masks([o["segmentation"] for o in row["objects"]], 96, 96).any(0).numpy()
            strength = (values.max(-1) - values.min(-1)) / values.max(-1).clip(1)
            found.append(strength[mask].mean() - strength[~mask].mean())
        return np.array(found)

    assert (saturation("train") > 0.2).all() and (saturation("test") > 0.2).all() and (saturation("away") < -0.2).all()


def test_outlines_are_left_out_unless_asked_for():
    assert "segmentation" not in read(Data("shapes:test?num=1"))[0]["objects"][0]


def test_a_piece_of_a_texture_is_found_again_in_one_place():
    for row in read(Data("textures:test?num=5")):
        values = pixels(row)
        piece = values[30:54, 40:64]
        far = [
            np.abs(values[y : y + 24, x : x + 24] - piece).mean()
            for y in range(0, 73, 3)
            for x in range(0, 73, 3)
            if max(abs(y - 30), abs(x - 40)) > 12
        ]
        assert min(far) > 15  # of 255
        assert set(row) == {"id", "image", "width", "height"}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("shapes:trian", "shapes:trian: no such part; did you mean 'train'"),
        ("textures:away", "textures:away: no such part"),
        ("shapes:train?num=0", "shapes: num=0: expected a whole number above 0"),
        ("shapes:train?masks=1", "shapes: masks=1: expected yes or no"),
        ("textures:train?masks=yes", "textures: has no option 'masks'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(source, told):
    with pytest.raises(BadUsage, match=told.replace("?", r"\?")):
        read(Data(source))
