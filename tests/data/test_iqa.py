"""Sets of distorted pictures on their published layouts: every label from 0 to 1, higher better, whatever the set's own scale says."""

import csv
import gzip
import pathlib

import numpy as np
import pytest
from scipy.io import savemat

from pellucid.data.distort import KINDS
from pellucid.data.iqa.names import KADID, readable
from pellucid.data.iqa.pairs import SCALES
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.recipe import Data

LIVE = (("jp2k", 227), ("jpeg", 233), ("wn", 174), ("gblur", 174), ("fastfading", 174))
TABLE = "ref_name,dist_name,mos,std,split,ratio802_seed123_split01,official_split\n"


def rows_of(source: str) -> list[dict]:
    return read(Data(source))


def lay(root: pathlib.Path, *pictures: str, **texts: str) -> pathlib.Path:
    """Empty pictures, and text files whose names have __ for the dot."""
    for picture in pictures:
        (root / picture).parent.mkdir(parents=True, exist_ok=True)
        (root / picture).write_bytes(b"x")
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def told(row: dict) -> tuple:
    return row["label"], row["score"], row.get("kind"), row.get("level"), row["group"]


# ---- the published layouts ----------------------------------------------------------------------------------------


def lay_live(root: pathlib.Path, scores: dict[int, float], num: int = 982) -> pathlib.Path:
    """LIVE with these entries, all others originals."""
    dmos, originals = np.zeros((1, num)), np.ones((1, num))
    for index, score in scores.items():
        dmos[0, index], originals[0, index] = score, 0
    savemat(root / "dmos_realigned.mat", {"dmos_new": dmos, "orgs": originals})
    names = np.empty((1, num), dtype=object)
    names[:] = "bikes.bmp"
    savemat(root / "refnames_all.mat", {"refnames_all": names})
    folders = [(folder, k) for folder, n in LIVE for k in range(1, n + 1)]
    return lay(root, "refimgs/Bikes.bmp", *(f"{folders[i][0]}/img{folders[i][1]}.bmp" for i in scores if i < len(folders)))


def test_live_counts_pictures_within_each_distortion_and_leaves_its_originals_out(tmp_path):
    found = rows_of(f"live:{lay_live(tmp_path, {0: -3, 226: 112, 227: 54.5, 981: 0})}")
    assert [pathlib.Path(row["image"]).relative_to(tmp_path).as_posix() for row in found] == [
        *("jp2k/img1.bmp", "jp2k/img227.bmp", "jpeg/img1.bmp", "fastfading/img174.bmp"),
    ]
    assert told(found[0]) == (1.0, -3.0, "jpeg_2000", None, "live/bikes")
    assert [row["label"] for row in found] == pytest.approx([1, 0, 0.5, 112 / 115])
    assert found[0]["reference"] == f"{tmp_path}/refimgs/Bikes.bmp"  # its list says bikes.bmp
    assert found[3]["id"] == "dmos_realigned.mat:982"


def test_live_of_another_length_and_matlab_files_that_are_not_read_are_refused(tmp_path):
    with pytest.raises(BadData, match=r"981 values in a .mat file, expected 982"):
        rows_of(f"live:{lay_live(tmp_path, {0: 1.0}, 981)}")
    (tmp_path / "dmos_realigned.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(BadData, match=r"dmos_realigned.mat: a MATLAB 7.3 file .*; save it again in MATLAB with -v7"):
        rows_of(f"live:{tmp_path}")
    (tmp_path / "dmos_realigned.mat").write_bytes(b"no matlab at all")
    with pytest.raises(BadData, match=r"dmos_realigned.mat: not a readable MATLAB file"):
        rows_of(f"live:{tmp_path}")
    savemat(tmp_path / "dmos_realigned.mat", {"dmos": np.zeros(3)})
    with pytest.raises(BadData, match="no variable 'dmos_new'"):
        rows_of(f"live:{tmp_path}")


def test_csiq_tells_kinds_by_number_or_name_in_whatever_case_its_files_have(tmp_path):
    table = "image,dst_idx,dst_type,dst_lev,dmos_std,dmos\n1600,1,noise,2,0.1,0.25\n1600,3,jpeg 2000,1,0.1,0\n"
    pictures = ("src_imgs/1600.png", "dst_imgs/awgn/1600.AWGN.2.png", "dst_imgs/JPEG2000/1600.jpeg2000.1.png")
    first, second = rows_of(f"csiq:{lay(tmp_path, *pictures, DMOS__csv=table)}")
    assert told(first) == (0.75, 0.25, "white_noise", 2, "csiq/1600")
    assert told(second) == (1.0, 0.0, "jpeg_2000", 1, "csiq/1600")
    assert (first["image"], second["image"]) == (f"{tmp_path}/{pictures[1]}", f"{tmp_path}/{pictures[2]}")
    (tmp_path / "DMOS.csv").write_text(table.replace("dst_idx,", "").replace(",1,noise", ",noise").replace(",3,jpeg", ",jpeg"))
    assert [told(row) for row in rows_of(f"csiq:{tmp_path}")] == [told(first), told(second)]
    (tmp_path / "DMOS.csv").write_text(table.replace(",1,noise", ",7,noise"))
    with pytest.raises(BadData, match=r"DMOS.csv:1: no distortion '7'; CSIQ has 1 to 6"):
        rows_of(f"csiq:{tmp_path}")
    (tmp_path / "DMOS.csv").write_text(table.replace("noise,2", "noise,nan"))
    with pytest.raises(BadData, match=r"DMOS.csv:1: dst_lev 'nan' is no whole number"):
        rows_of(f"csiq:{tmp_path}")


def test_tid_finds_its_originals_in_either_case_and_a_high_score_is_good(tmp_path):
    pictures = ("reference_images/I01.BMP", "distorted_images/i01_10_5.bmp", "distorted_images/I01_24_1.bmp")
    lay(tmp_path / "tid", *pictures, mos_with_names__txt="5.4 I01_10_5.bmp\n9 i01_24_1.bmp\n")
    first, second = rows_of(f"tid:{tmp_path}")  # the folder around it does
    assert told(first) == (pytest.approx(0.6), 5.4, "jpeg", 5, "tid/i01")
    assert told(second) == (1.0, 9.0, "sparse_sampling", 1, "tid/i01")
    assert first["reference"] == f"{tmp_path}/tid/reference_images/I01.BMP" and first["image"].endswith("/i01_10_5.bmp")
    with pytest.raises(BadData, match=r"mos_with_names.txt:2: '9 i01_24_1.bmp'; expected a score and the name of a picture of TID2008"):
        rows_of(f"tid:{tmp_path}?year=2008")


def test_what_kadid_calls_dmos_is_good_when_it_is_high(tmp_path):
    table = "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.6,0.5\nI01_25_05.png,I01.png,1.2,0.5\n"
    lay(tmp_path, *(f"images/{name}.png" for name in ("I01", "I01_01_01", "I01_25_05")), dmos__csv=table)
    good, bad = rows_of(f"kadid:{tmp_path}")
    assert told(good) == (pytest.approx(0.9), 4.6, "gaussian_blur", 1, "kadid/i01")
    assert told(bad) == (pytest.approx(0.05), 1.2, "contrast_change", 5, "kadid/i01")


def lay_kadis(root: pathlib.Path) -> pathlib.Path:
    table = "dist_im,ref_im,mdsi,vsi,mine\na_b_gblur_3.png,a_b.png,0.1,0.9,70\na_b_saturate_1.png,a_b.png,0.3,0.8,20\n"
    pictures = ("kadis700k/ref_imgs/a_b.png", "kadis700k/dist_imgs/a_b_01_03.bmp", "kadis700k/dist_imgs/a_b_08_01.bmp")
    return lay(root, *pictures, kadis700k_friqa__csv=table)


def test_kadis_pictures_bear_the_number_of_the_kind_that_its_table_names(tmp_path):
    blur, saturated = rows_of(f"kadis:{lay_kadis(tmp_path)}")
    assert told(blur) == (0.9, 0.9, "gaussian_blur", 3, "kadis/a_b")
    assert told(saturated) == (0.8, 0.8, "colour_saturation_lab", 1, "kadis/a_b")
    assert saturated["image"].endswith("dist_imgs/a_b_08_01.bmp")
    assert [row["label"] for row in rows_of(f"kadis:{tmp_path}?label=mdsi")] == [0.9, 0.7]  # 0 is the best of it
    assert [row["label"] for row in rows_of(f"kadis:{tmp_path}?label=mine&range=0,100&better=low")] == pytest.approx([0.3, 0.8])
    with pytest.raises(BadUsage, match="label=mine: say what its scores mean"):
        rows_of(f"kadis:{tmp_path}?label=mine")


def test_kadis_without_scores_has_five_levels_of_each_originals_kind(tmp_path):
    lay_kadis(tmp_path)
    lay(tmp_path / "kadis700k", *(f"dist_imgs/a_b_10_0{level}.bmp" for level in range(1, 6)))
    (tmp_path / "kadis700k/kadis700k_ref_imgs.csv").write_text("ref_im,dist_type\na_b.png,10\n")
    found = rows_of(f"kadis:{tmp_path}?label=none")
    assert [(row["kind"], row["level"], "label" in row) for row in found] == [("jpeg", level, False) for level in range(1, 6)]


def lay_pieapp(root: pathlib.Path) -> pathlib.Path:
    for split in ("train", "test"):
        lay(root, f"reference_images/{split}/ref_1.png")
        lay(root, *(f"distorted_images/{split}/ref_1/distort_1_{n}.png" for n in ("awgn_inter_1", "my_blur_intra_2")))
        (root / f"labels/{split}").mkdir(parents=True)
    names = "ref_1.png,distort_1_awgn_inter_1.png,distort_1_my_blur_intra_2.png"
    (root / "labels/train/ref_1_pairwise_labels.csv").write_text(f"ref,A,B,raw,processed\n{names},,0.25\n")
    (root / "labels/test/ref_1_per_image_score.csv").write_text("ref,A,score\nref_1.png,distort_1_awgn_inter_1.png,1\n")
    (root / "labels/test/ref_1_pairwise_labels.csv").write_text("ref,A,B,p\nref_1.png,ref_1.png,distort_1_awgn_inter_1.png,0.9\n")
    return root


def test_pieapp_rows_have_two_pictures_and_the_processed_preference_for_the_first(tmp_path):
    (row,) = rows_of(f"pieapp:{lay_pieapp(tmp_path)}")
    assert (row["preference"], row["kind"], row["group"], "label" in row) == (0.25, "white_noise", "pieapp/ref_1", False)
    assert row["image"].endswith("train/ref_1/distort_1_awgn_inter_1.png") and row["other"].endswith("distort_1_my_blur_intra_2.png")
    (tmp_path / "labels/train/ref_1_pairwise_labels.csv").write_text("ref,A,B,raw,processed\nref_1.png,a.png,b.png,,1.25\n")
    with pytest.raises(BadData, match=r"ref_1_pairwise_labels.csv:1: preference 1.25; expected a share from 0 to 1"):
        rows_of(f"pieapp:{tmp_path}")


def test_pieapps_test_has_errors_of_single_pictures_and_pairs_with_the_original_itself(tmp_path):
    (row,) = rows_of(f"pieapp:{lay_pieapp(tmp_path)}?split=test")
    assert told(row) == (pytest.approx(9 / 12), 1.0, "white_noise", None, "pieapp/ref_1") and "other" not in row
    (voted,) = rows_of(f"pieapp:{tmp_path}?split=test&label=preferences")
    assert voted["image"] == voted["reference"] and voted["preference"] == 0.9
    with pytest.raises(BadUsage, match="train has preferences alone"):
        rows_of(f"pieapp:{tmp_path}?label=scores")


def test_pipal_pictures_are_found_in_any_of_its_folders(tmp_path):
    pictures = ("Train_Ref/A0001.bmp", "Distortion_1/A0001_00_07.bmp", "Distortion_3/A0001_06_26.bmp")
    lay(tmp_path, *pictures, "Train_Label/x.bmp")
    (tmp_path / "Train_Label/A0001.txt").write_text("A0001_00_07.bmp,1375\nA0001_06_26.bmp,1900\n")
    first, second = rows_of(f"pipal:{tmp_path}")
    assert told(first) == (0.5, 1375.0, "type_00", None, "pipal/a0001") and told(second)[:3] == (1.0, 1900.0, "type_06")
    assert second["image"] == f"{tmp_path}/{pictures[2]}" and second["id"] == "A0001.txt:2"


# ---- tables -------------------------------------------------------------------------------------------------------


def lay_table(root: pathlib.Path, *lines: str) -> str:
    table = TABLE + "".join(f"{line}\n" for line in lines)
    lay(root, *(f"p/{name}.bmp" for name in ("a", "b", "a_1", "a_2", "b_1")), t__csv=table)
    return f"iqa:{root}/t.csv?images={root}/p"


LINES = ("a.bmp,a_1.bmp,20,1,0,train,test", "a.bmp,a_2.bmp,60,1,0,train,test", "b.bmp,b_1.bmp,100,1,0,test,train")


def test_an_interchange_table_says_its_scale_and_gives_any_of_its_splits(tmp_path):
    source = lay_table(tmp_path, *LINES)
    assert [row["label"] for row in rows_of(f"{source}&range=0,100&better=high")] == [0.2, 0.6, 1.0]
    assert [row["label"] for row in rows_of(f"{source}&range=0,100&better=low")] == pytest.approx([0.8, 0.4, 0.0])
    scaled = f"{source}&range=0,100&better=high&split="
    assert [row["group"] for row in rows_of(f"{scaled}official_split:train")] == ["t/b"]
    assert [row["id"] for row in rows_of(f"{scaled}ratio802_seed123_split01:train")] == ["t.csv:1", "t.csv:2"]
    with pytest.raises(BadData, match="no row has split = 'train'; its values are 0"):
        rows_of(f"{scaled}split:train")
    with pytest.raises(BadData, match="no column 'split02'"):
        rows_of(f"{scaled}split02:train")


def test_a_table_that_does_not_say_which_end_is_good_is_refused(tmp_path):
    source = lay_table(tmp_path, *LINES)
    for options in ("", "&range=0,100", "&better=low"):
        with pytest.raises(BadUsage, match=r"say what the scores mean with \?range=LOW,HIGH&better=low or high, or with \?set="):
            rows_of(source + options)
    for wrong in ("100,0", "0", "low,high", "0,inf"):
        with pytest.raises(BadUsage, match="expected two numbers, the lower one first"):
            rows_of(f"{source}&better=low&range={wrong}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b.bmp,b_1.bmp,101,1,0,x,y", r"t.csv:2: score 101 is outside 0 to 100, the range of t.csv; give another with \?range=LOW,HIGH"),
        ("b.bmp,b_1.bmp,nan,1,0,x,y", "t.csv:2: score nan is outside 0 to 100"),
        ("b.bmp,b_1.bmp,good,1,0,x,y", "t.csv:2: score 'good' is no number"),
        ("a.bmp,a_1.bmp,30,1,0,x,y", "t.csv:2: the same pictures as t.csv:1, a_1.bmp"),
        ("A.bmp,A_1.bmp,30,1,0,x,y", "t.csv:2: the same pictures as t.csv:1"),  # one file in another case
        ("none.bmp,b_1.bmp,30,1,0,x,y", r"t.csv:2: no file .*p/none.bmp; 1 of 2 pictures are missing: add \?missing=skip"),
        ("b.bmp,none.bmp,30,1,0,x,y", "t.csv:2: no file .*p/none.bmp"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(tmp_path, line, message):
    source = lay_table(tmp_path, LINES[0], line) + "&range=0,100&better=high"
    with pytest.raises(BadData, match=message):
        rows_of(source)


def test_missing_pictures_are_left_out_on_request_and_none_is_looked_for_outside(tmp_path):
    source = lay_table(tmp_path, *LINES, "none.bmp,a_1.bmp,1,1,0,x,y") + "&range=0,100&better=high"
    assert len(rows_of(f"{source}&missing=skip")) == 3
    with pytest.raises(UnsafeInput, match=r"t.csv:1: '\.\./secret.bmp' leads outside"):
        rows_of(lay_table(tmp_path, "../secret.bmp,a_1.bmp,1,1,0,x,y") + "&range=0,100&better=high")


def test_originals_and_kinds_are_kept_or_left_out_by_name(tmp_path):
    source = lay_table(tmp_path, *LINES) + "&range=0,100&better=high"
    assert [row["id"] for row in rows_of(f"{source}&references=B")] == ["t.csv:3"]
    assert [row["id"] for row in rows_of(f"{source}&without=b")] == ["t.csv:1", "t.csv:2"]
    with pytest.raises(BadUsage, match=r"without=c: no row has it.* there are a, b"):
        rows_of(f"{source}&without=c")
    with pytest.raises(BadUsage, match="nothing is left"):
        rows_of(f"{source}&references=a&without=a")
    lay(tmp_path / "tid", *(f"distorted_images/i01_0{kind}_1.bmp" for kind in (1, 2, 3)), "reference_images/i01.bmp")
    (tmp_path / "tid/mos_with_names.txt").write_text("1 i01_01_1.bmp\n2 i01_02_1.bmp\n3 i01_03_1.bmp\n")
    assert [row["score"] for row in rows_of(f"tid:{tmp_path}/tid?kinds=white_noise,pink_noise")] == [1, 3]
    assert [row["score"] for row in rows_of(f"tid:{tmp_path}/tid?without_kinds=white_noise,pink_noise")] == [2]


def test_columns_of_other_names_are_named(tmp_path):
    lay(tmp_path, "x.png", "y.png", t__csv="pristine,bad,opinion,what\nx.png,y.png,3,GBLUR\n")
    with pytest.raises(BadData, match=r"no column ref_name or .* name one with .reference=COLUMN"):
        rows_of(f"iqa:{tmp_path}/t.csv?range=1,5&better=high")
    (row,) = rows_of(f"iqa:{tmp_path}/t.csv?range=1,5&better=high&reference=pristine&image=bad&score=opinion&kind=what&name=Mine")
    assert told(row) == (0.5, 3.0, "gaussian_blur", None, "mine/x")
    (plain,) = read(Data(f"csv:{tmp_path}/t.csv", columns={"image": "bad", "reference": "pristine"}))
    assert (plain["image"], plain["reference"]) == (f"{tmp_path}/y.png", f"{tmp_path}/x.png")  # a table is read as one, too


def test_the_kinds_of_kadid_bear_the_names_that_ours_are_made_by():
    assert tuple(KINDS) == KADID
    assert (readable("Contrast Dist."), readable("JP2K"), readable("Odd thing")) == ("contrast_change", "jpeg_2000", "odd_thing")


# ---- real lists ---------------------------------------------------------------------------------------------------


def listed(shared: pathlib.Path, name: str) -> list[dict[str, str]]:
    with gzip.open(shared / f"data/iqa_score_lists/{name}.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


NUM = {"CSIQ": 866, "KADID-10k": 10125, "LIVE": 779, "PIPAL": 23200, "TID2008": 1700, "TID2013": 3000}


@pytest.mark.parametrize("name", NUM)
def test_every_score_of_the_real_sets_lies_in_its_range(shared, name):
    scale = SCALES["kadid" if name == "KADID-10k" else name.lower()]
    labels = np.array([scale.quality(float(row["score"]), row["dis_img_path"]) for row in listed(shared, name)])
    assert len(labels) == NUM[name] and labels.min() >= 0 and labels.max() <= 1
    assert np.ptp(labels) > 0.75  # and the range is not much wider than they are


def test_csiq_as_published_and_as_a_list_of_paths_are_one(shared, tmp_path):
    rows = listed(shared, "CSIQ")
    numbers = {"awgn": 1, "jpeg": 2, "jpeg2000": 3, "fnoise": 4, "blur": 5, "contrast": 6}
    lay(tmp_path, *{row["ref_img_path"] for row in rows}, *(row["dis_img_path"] for row in rows))
    lines = ["image,dst_idx,dst_type,dst_lev,dmos_std,dmos"]
    for row in rows:
        _, _, kind, name = row["dis_img_path"].split("/")
        stem, _, level, _ = name.split(".")
        lines.append(f"{stem},{numbers[kind.lower()]},{kind},{level},0.1,{row['score']}")
    (tmp_path / "CSIQ/DMOS.csv").write_text("\n".join(lines))
    published = rows_of(f"csiq:{tmp_path}/CSIQ")
    as_list = rows_of(f"iqa:{shared}/data/iqa_score_lists/CSIQ.csv.gz?set=csiq&images={tmp_path}")
    keys = ("image", "reference", "label", "score", "kind", "level", "group")
    assert len(published) == 866 and len({row["group"] for row in published}) == 30
    assert [[row[key] for key in keys] for row in published] == [[row[key] for key in keys] for row in as_list]


def test_the_live_subset_has_46_pictures_of_5_originals_and_a_copy_is_nearly_the_best(shared):
    folder = shared / "data/live_iqa_subset"
    source = f"iqa:{folder}/scores.csv?images={folder}/images&set=live"
    found = rows_of(source)
    assert len(found) == 46 and len({row["group"] for row in found}) == 5
    assert {row["kind"] for row in found} == {"gaussian_blur", "white_noise"}
    copies = [row["label"] for row in found if row["assigned_by"] == "identical"]
    assert len(copies) == 5 and min(copies) == max(row["label"] for row in found)
    one, rest = (rows_of(f"{source}&{option}=ref_parrots") for option in ("references", "without"))
    assert len(one) + len(rest) == 46 and {row["group"] for row in one} == {"live/ref_parrots"}
    assert not {row["group"] for row in one} & {row["group"] for row in rest}
