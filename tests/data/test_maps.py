"""Maps of classes: read from palettes, MATLAB files and outlines, they are their picture's, and a bad one is named by its file."""

import io
import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from pellucid.data.joint import usable
from pellucid.data.map_sources import Drawn, Recoded
from pellucid.data.maps import encode, indices_of, palette, read_map
from pellucid.data.read import read
from pellucid.errors import BadData
from pellucid.recipe import Data

WIDE, HIGH = 40, 30
PAGE = "<annotation><size><width>40</width><height>30</height></size>{}</annotation>"
DOG = (
    "<object><name>dog</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>11</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
DOG_INDEX = 12  # of VOC's twenty
SQUARE = [[10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]]
INNER = [[12.0, 12.0, 16.0, 12.0, 16.0, 16.0, 12.0, 16.0]]


def indices(value: int = DOG_INDEX) -> np.ndarray:
    found = np.zeros((HIGH, WIDE), np.uint8)
    found[10:30, :20] = value
    found[9] = 255
    return found


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (WIDE, HIGH)).save(file, "JPEG")
    return file.getvalue()


def row(found: np.ndarray | bytes, **more) -> dict:
    source = found if isinstance(found, bytes) else encode(found)
    return {"id": "set:1", "image": picture(), "classes": ("cat", "dog"), "map": source} | more


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def lay_voc(root, names="01 02 03", annotated="01 02 03", mapped="01 03", page=None, mode="Main"):
    """A VOC folder: pictures, annotations and palette maps of those named."""
    for folder in ("ImageSets/Main", "ImageSets/Segmentation", "JPEGImages", "Annotations", "SegmentationClass"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / f"ImageSets/{mode}/trainval.txt").write_text("\n".join(names.split()) + "\n")
    for name in names.split():
        (root / f"JPEGImages/{name}.jpg").write_bytes(picture())
    for name in annotated.split():
        (root / f"Annotations/{name}.xml").write_text(page or PAGE.format(DOG.format(1, 20, 30)))
    for name in mapped.split():
        (root / f"SegmentationClass/{name}.png").write_bytes(encode(indices()))
    return f"voc:{root}?set=trainval"


def save_sbd(path, found: np.ndarray) -> None:
    empty = np.zeros((1, 1), dtype=object)
    scipy.io.savemat(path, {"GTcls": {"Boundaries": empty, "Segmentation": found, "CategoriesPresent": np.unique(found)}})


# ---- reading ------------------------------------------------------------------------------------------------------


def test_the_palette_is_vocs():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 12: (64, 0, 128), 20: (0, 64, 128)}
    assert {k: tuple(palette()[k].tolist()) for k in known} == known
    assert tuple(palette()[255].tolist()) == (224, 224, 192)


def test_what_is_written_with_a_palette_or_grey_is_read_again():
    assert (read_map(row(indices(2))) == indices(2)).all()
    assert (read_map(row(png(Image.fromarray(indices(2))))) == indices(2)).all()


def test_indices_follow_the_names_of_the_model_and_void_stays():
    found = read_map(row(indices(2)), labels=("dog", "horse", "cat"))
    assert set(np.unique(found)) == {0, 1, 255} and ((found == 1) == (indices(2) == 2)).all()


def test_a_matlab_file_of_sbd_is_read(tmp_path):
    save_sbd(tmp_path / "a.mat", indices())
    assert (indices_of(str(tmp_path / "a.mat")) == indices()).all()
    scipy.io.savemat(tmp_path / "b.mat", {"GTcls": np.eye(2)})
    with pytest.raises(BadData, match=r"b.mat: GTcls is no struct with a field Segmentation"):
        indices_of(str(tmp_path / "b.mat"))


def test_later_outlines_lie_over_earlier_ones():
    drawn = Drawn(HIGH, WIDE, ((1, SQUARE), (2, INNER)), ("a", "b"))
    found = indices_of(drawn)
    assert ((found == 1).sum(), (found == 2).sum()) == (100 - 16, 16)
    assert (indices_of(Recoded(drawn, (0, 2, 2))) == 2 * (found > 0)).all()


def test_two_names_made_one_are_one_class_of_the_map():
    example = read(Data("shapes:train?num=1&maps=yes", labels={"disc": "round", "square": "cornered", "triangle": "cornered"}))[0]
    before = read(Data("shapes:train?num=1&maps=yes"))[0]
    assert example["classes"] == ("round", "cornered")
    assert (read_map(example) == np.array([0, 1, 2, 2])[read_map(before)]).all()


# ---- VOC ----------------------------------------------------------------------------------------------------------


def test_pictures_with_and_without_maps_are_one_set(tmp_path):
    rows = read(Data(lay_voc(tmp_path) + "&maps=yes"))
    assert ["map" in r for r in rows] == [True, False, True] and all(len(r["objects"]) == 1 for r in rows)
    assert (read_map(rows[0]) == indices()).all()
    assert [r["id"].split(":")[1] for r in read(Data(f"voc:{tmp_path}?set=trainval&maps=only"))] == ["01", "03"]
    assert not any("map" in r for r in read(Data(f"voc:{tmp_path}?set=trainval")))


def test_pictures_may_have_only_a_map_where_that_is_asked_for(tmp_path):
    source = lay_voc(tmp_path, annotated="02") + "&maps=yes"
    with pytest.raises(BadData, match=r"no file .*01.xml; the picture has a map, and may be without where \?boxes=some"):
        read(Data(source))
    rows = read(Data(source + "&boxes=some"))
    assert ["objects" in r for r in rows] == [False, True, False] and "labels" not in rows[0] and rows[1]["labels"] == ["dog"]
    (tmp_path / "SegmentationClass/03.png").unlink()
    with pytest.raises(BadData, match=r"no file .*03.xml"):  # it would have neither
        read(Data(source + "&boxes=some"))


def test_maps_alone_need_no_annotation(tmp_path):
    rows = read(Data(lay_voc(tmp_path, annotated="", mapped="01 02 03", mode="Segmentation") + "&lists=Segmentation&maps=only&boxes=no"))
    assert len(rows) == 3 and not any("objects" in r for r in rows) and len(rows[0]["classes"]) == 20


def test_train_aug_is_sbd_and_train_without_val_and_vocs_own_map_goes_first(tmp_path):
    lay_voc(tmp_path / "voc", names="01 02 03 04", annotated="01 02 03 04", mapped="01 04")
    (tmp_path / "voc/ImageSets/Segmentation/train.txt").write_text("01\n")
    (tmp_path / "voc/ImageSets/Segmentation/val.txt").write_text("04\n")
    sbd = tmp_path / "sbd/dataset"
    (sbd / "cls").mkdir(parents=True)
    (sbd / "train.txt").write_text("02\n01\n")
    (sbd / "val.txt").write_text("03\n04\n")
    for name in ("01", "02", "03", "04"):
        save_sbd(sbd / f"cls/{name}.mat", indices(3))
    rows = read(Data(f"voc:{tmp_path}/voc?set=train_aug&maps=yes&sbd={tmp_path}/sbd"))
    assert [r["id"].split(":")[1] for r in rows] == ["01", "02", "03"]
    assert [read_map(r).ravel()[-40] for r in rows] == [DOG_INDEX, 3, 3]
    with pytest.raises(BadData, match=r"no file .*train_aug.txt; say where SBD is with \?sbd=FOLDER"):
        read(Data(f"voc:{tmp_path}/voc?set=train_aug&maps=yes"))


def test_a_set_without_any_map_is_told(tmp_path):
    with pytest.raises(BadData, match=r"no picture has a map: no file .*SegmentationClass/01.png; read without \?maps"):
        read(Data(lay_voc(tmp_path, mapped="") + "&maps=yes"))


# ---- COCO ---------------------------------------------------------------------------------------------------------


def coco(root, annotations: list[dict]) -> str:
    tree = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": WIDE, "height": HIGH}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [{"id": i, "image_id": 7, "iscrowd": 0, **a} for i, a in enumerate(annotations, 1)],
    }
    (root / "a.jpg").write_bytes(picture())
    (root / "a.json").write_text(json.dumps(tree))
    return f"coco:{root}/a.json?maps=yes"


def test_small_objects_lie_over_big_ones_and_crowds_are_void_beneath_all(tmp_path):
    crowd = {"size": [HIGH, WIDE], "counts": [0, 15 * HIGH, (WIDE - 15) * HIGH]}  # the first fifteen columns
    given = [
        {"category_id": 9, "bbox": [12, 12, 4, 4], "area": 16, "segmentation": INNER},
        {"category_id": 3, "bbox": [10, 10, 10, 10], "area": 100, "segmentation": SQUARE},
        {"category_id": 9, "bbox": [0, 0, 15, 30], "area": 9, "segmentation": crowd, "iscrowd": 1},
    ]
    found = read_map(read(Data(coco(tmp_path, given)))[0])
    assert ((found == 2).sum(), (found == 1).sum(), (found == 255).sum()) == (16, 84, 450 - 50)
    assert (read_map(read(Data(coco(tmp_path, given) + "&crowds=class"))[0]) == 2).sum() == 16 + 400


def test_an_object_without_an_outline_makes_no_map(tmp_path):
    with pytest.raises(BadData, match=r"a.json: annotation 1 has no segmentation, so its pixels are not known; read without \?maps=yes"):
        read(Data(coco(tmp_path, [{"category_id": 3, "bbox": [1, 1, 2, 2], "area": 4}])))


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (png(Image.new("RGB", (WIDE, HIGH))), "its map: a picture of mode RGB, without a palette; expected a picture of class indices"),
        (png(Image.fromarray(indices(200))), "its map: a pixel is of class 200, and the boxes have the 2 classes cat, dog"),
        (encode(indices(3)), "its map: a pixel is of class 3, and the boxes have the 2 classes cat, dog"),
        (encode(indices(2)[:, :30]), "the map is 30 x 30 pixels and its picture 40 x 30; give the map that belongs to this picture"),
        (encode(indices(2).T), "the map is 30 x 40 pixels and its picture 40 x 30; perhaps the picture is turned by its EXIF block"),
        (png(Image.fromarray(indices(2)), "JPEG"), "its map: a JPEG, which changes indices as it compresses"),
        (encode(indices(2))[:-40], "its map: a broken PNG picture"),
        (b"nothing", "its map: no picture of a format read here"),
    ],
    ids=["rgb", "grey out of range", "class without boxes", "size", "turned", "jpeg", "truncated", "no picture"],
)
def test_a_map_that_is_none_is_named(found, told):
    with pytest.raises(BadData, match=f"set:1.*{told}"):
        read_map(row(found), size=(WIDE, HIGH))
    with pytest.raises(BadData, match=f"src: 1 of 2 maps cannot be used: .*{told}"):
        usable([row(indices(2)), row(found)], "src", "header", "refuse")
    good = row(indices(2))
    assert usable([good, row(found)], "src", "header", "skip") == [good]


def test_a_missing_palette_and_a_wrong_size_are_told_by_file(tmp_path):
    Image.new("RGB", (WIDE, HIGH)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(encode(indices(2)[:9]))
    for name, told in (("a", "a.png: a picture of mode RGB"), ("b", "b.png: the map is 40 x 9 pixels"), ("c", "c.png: no such file")):
        with pytest.raises(BadData, match=told):
            usable([row(b"", map=str(tmp_path / f"{name}.png"))], "src", "header", "refuse")


def test_a_class_that_the_model_does_not_know_is_named():
    with pytest.raises(BadData, match="a pixel is of class 'dog', which is none of the 1 labels of the model"):
        read_map(row(indices(2)), labels=("cat",))
    with pytest.raises(BadData, match=r"src: 1 of 2 maps cannot be used: .*labels of the model: cat"):
        usable([row(indices(2)), row(indices(1))], "src", "header", "refuse", ("cat",))


def test_a_map_that_is_all_void_is_fine():
    assert len(usable([row(np.full((HIGH, WIDE), 255, np.uint8))], "src", "full", "refuse")) == 1


def test_outlines_are_compared_with_their_picture_and_painted_only_when_all_is_looked_at():
    wrong, far = Drawn(HIGH, WIDE + 1, ((1, SQUARE),), ("a",)), Drawn(HIGH, WIDE, ((3, SQUARE),), ("a",))
    with pytest.raises(BadData, match=f"the map is {WIDE + 1} x {HIGH} pixels and its picture {WIDE} x {HIGH}"):
        usable([row(b"", map=wrong)], "src", "header", "refuse")
    assert len(usable([row(b"", map=far)], "src", "header", "refuse")) == 1
    with pytest.raises(BadData, match="a pixel is of class 3"):
        usable([row(b"", map=far)], "src", "full", "refuse")


def test_boxes_of_another_picture_are_met_before_the_map():
    objects = [{"label": "cat", "box_xyxy": [1, 1, 2, 2], "area": 1}]
    with pytest.raises(BadData, match=r"src: 1 of 1 pictures' boxes cannot be used: .* its boxes are for 50 x 30"):
        usable([row(indices(9), objects=objects, width=50, height=HIGH)], "src", "header", "refuse")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("<annotation></annotation>", r"01.xml: no size/width; expected a number of pixels"),
        (PAGE.replace("40", "0").format(""), r"01.xml: the size is 0 x 30; expected that of the picture"),
    ],
)
def test_an_annotation_without_a_size_is_named(tmp_path, page, told):
    with pytest.raises(BadData, match=told):
        read(Data(lay_voc(tmp_path, page=page) + "&maps=yes"))


def test_a_box_of_one_pixel_is_told_and_stays(tmp_path, caplog):
    found = read(Data(lay_voc(tmp_path, page=PAGE.format(DOG.format(5, 5, 11)))))
    assert found[0]["objects"][0]["box_xyxy"] == [4, 10, 5, 11]
    assert "01.xml: the box of a dog is one pixel" in caplog.text
