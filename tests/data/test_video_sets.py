"""Videos in folders and tables, UCF101, HMDB51 and Kinetics as they are published; whatever is not as promised is named by file and row."""

import logging

import pytest

from pellucid.data.groups import disjoint
from pellucid.data.layouts import kind_of
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data


def lay(root, files: str | dict[str, str]) -> str:
    """Files below a folder: names between spaces, or name -> text."""
    for name, text in (files if isinstance(files, dict) else dict.fromkeys(files.split(), "x")).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def seen(source: str, **more) -> dict[str, str | None]:
    """Path below the test's folder -> label."""
    return {row["video"].rpartition("/0/")[2]: row.get("label") for row in read(Data(source, **more))}


def refused(source: str, match: str, error: type[Exception] = BadData) -> None:
    with pytest.raises(error, match=match) as told:
        read(Data(source))
    assert "\n" not in str(told.value)


# ---- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_of_videos_has_a_class_per_folder_and_a_folder_of_frames_is_one_video(tmp_path):
    lay(tmp_path, "wave/b.mp4 wave/a/img_00001.jpg wave/a/img_00002.jpg wave/a/flow_x_00001.jpg run/deep/c.AVI run/.x.mp4")
    rows = read(Data(f"videos:{tmp_path}"))
    name = tmp_path.name
    assert [(row["id"], row["label"]) for row in rows] == [
        (f"{name}/run/deep/c.AVI", "run"),
        (f"{name}/wave/a", "wave"),
        (f"{name}/wave/b.mp4", "wave"),
    ]
    assert rows[1]["video"] == f"{tmp_path}/wave/a" and rows[0]["classes"] == ("run", "wave")


def test_a_flat_folder_of_videos_and_of_folders_of_frames_has_no_labels(tmp_path):
    lay(tmp_path, "b.mp4 a/img_00001.png a/img_00002.png c/frame000001.jpg d/flow_x_00001.jpg")
    rows = read(Data(f"videos:{tmp_path}"))
    assert [row["video"] for row in rows] == [f"{tmp_path}/{name}" for name in ("a", "b.mp4", "c", "d")]
    assert not any("label" in row for row in rows)


def test_pictures_beside_videos_do_not_make_their_folder_one(tmp_path):
    lay(tmp_path, "wave/a.mp4 wave/img_00001.jpg")
    assert [row["label"] for row in read(Data(f"videos:{tmp_path}"))] == ["wave"]


def test_folders_of_videos_have_the_options_of_folders_of_pictures(tmp_path, caplog):
    lay(tmp_path, "train/wave/a.mp4 train/wave/notes.txt train/run/readme.md train/stray.mp4 test/wave/b.mp4")
    refused(f"videos:{tmp_path}?split=train", r"1 videos lie beside the class folders \(stray.mp4\)")
    refused(f"videos:{tmp_path}?split=train&loose=drop", r"/run: a class folder without videos; remove it, or add \?empty=drop")
    refused(f"videos:{tmp_path}?split=val", "no folder 'val'; there are test, train")
    with caplog.at_level(logging.WARNING, "pellucid"):
        (row,) = read(Data(f"videos:{tmp_path}?split=train&loose=drop&empty=drop"))
    assert row["label"] == "wave"
    assert "2 files that are no videos are left out" in caplog.text and "1 class folders without videos" in caplog.text
    (tmp_path / "names.txt").write_text("wave\n")
    refused(f"videos:{tmp_path}?split=test&classes={tmp_path}/names.txt", "folder wave: class 'wave' is not in the list of 1 classes")


def test_a_folder_without_videos_says_what_is_there(tmp_path):
    lay(tmp_path, "cat/a.jpg cat/b.jpg")
    refused(f"videos:{tmp_path}", r"no videos \(2 .jpg\); expected files ending in .mp4, .* or folders of img_00001.jpg")


def test_a_bare_folder_tells_what_it_holds(tmp_path):
    kinds = {
        "videos": "videos/train/wave/a.mp4 videos/readme.txt",
        "folder": "folder/train/wave/img_00001.jpg folder/train/wave/z.mp4",
        "ucf101": "ucf101/ucfTrainTestlist/classInd.txt ucf101/UCF-101/Wave/v_Wave_g01_c01.avi",
        "hmdb51": "hmdb51/testTrainMulti_7030_splits/wave_test_split1.txt hmdb51/wave/a.avi",
    }
    for kind, files in kinds.items():
        lay(tmp_path, files)
        assert kind_of(f"{tmp_path}/{kind}") == kind
    assert list(seen(f"{tmp_path}/videos?split=train").values()) == ["wave"]


# ---- UCF101 -------------------------------------------------------------------------------------------------------

UCF = {
    "ucfTrainTestlist/classInd.txt": "1 Archery\r\n2 HandstandPushups\r\n",
    "ucfTrainTestlist/trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\nHandstandPushups/v_HandStandPushups_g09_c02.avi 2\n",
    "ucfTrainTestlist/testlist01.txt": "Archery/v_Archery_g01_c01.avi\n",
    "ucfTrainTestlist/trainlist02.txt": "Archery/v_Archery_g01_c01.avi 1\n",
    **{f"UCF-101/Archery/v_Archery_{clip}.avi": "" for clip in ("g08_c01", "g01_c01")},
    "UCF-101/HandstandPushups/v_HandStandPushups_g09_c02.avi": "",
}


def test_ucf101_gives_the_clips_of_a_fold_with_the_group_of_their_class(tmp_path):
    source = f"ucf101:{lay(tmp_path, UCF)}"
    train, test = (read(Data(f"{source}?split={split}")) for split in ("train", "test"))
    clip = f"{tmp_path}/UCF-101/HandstandPushups/v_HandStandPushups_g09_c02.avi"
    group, classes = "ucf101/HandstandPushups/g09", ("Archery", "HandstandPushups")
    assert train[1] == {"id": "trainlist01.txt:2", "video": clip, "label": "HandstandPushups", "group": group, "classes": classes}
    assert [(row["label"], row["group"]) for row in test] == [("Archery", "ucf101/Archery/g01")]
    disjoint(train, {"test": test})
    fold2 = read(Data(f"{source}?split=train&fold=2"))
    assert [row["group"] for row in fold2] == ["ucf101/Archery/g01"]
    with pytest.raises(BadData, match=r"testlist01.txt:1 of home: cut from what training row trainlist02.txt:1 is cut from"):
        disjoint(fold2, {"home": test})


@pytest.mark.parametrize(
    "clip", ["v_Archery_g08_c01.mp4", "videos/Archery/v_archery_g08_c01.mkv", "rawframes/Archery/v_Archery_g08_c01/img_00001.jpg"]
)
def test_ucf101s_clips_may_lie_flat_or_elsewhere_and_be_frames_or_other_files(tmp_path, clip):
    lists = {name: text for name, text in UCF.items() if name.startswith("ucf")}
    lists["ucfTrainTestlist/trainlist01.txt"] = "Archery/v_Archery_g08_c01.avi 1\n"
    lay(tmp_path / "0", {**lists, clip: ""})
    assert seen(f"ucf101:{tmp_path}/0?split=train") == {clip.removesuffix("/img_00001.jpg"): "Archery"}
    (tmp_path / "away").mkdir()
    refused(
        f"ucf101:{tmp_path}/0?split=train&videos={tmp_path}/away",
        r"trainlist01.txt:1: no file .*away/Archery/v_Archery_g08_c01.avi; none of",
    )


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "trainlist01",
            "Archery/v_Archery_g08_c01.avi 2",
            r"trainlist01.txt:1: Archery with the number 2, which is HandstandPushups in classInd",
        ),
        (
            "trainlist01",
            "Archer/v_Archer_g08_c01.avi 1",
            r"trainlist01.txt:1: class 'Archer' is not in classInd.txt; did you mean 'Archery'",
        ),
        ("trainlist01", "\nArchery/first.avi 1", r"trainlist01.txt:2: 'Archery/first.avi 1'; expected a clip as UCF101 names them"),
        (
            "trainlist01",
            "Archery/v_Archery_g08_c01.avi 1\n" * 2,
            r"trainlist01.txt:2: the same clip as trainlist01.txt:1, v_Archery_g08_c01.avi",
        ),
        ("trainlist01", "", r"trainlist01.txt: lists no clip"),
        ("classInd", "1 Archery\n1 HandstandPushups", r"classInd.txt:2: '1 HandstandPushups'; expected the number of a class, each once"),
        ("classInd", "1 Archery\n2 Archery", r"classInd.txt: two classes are called 'Archery'"),
    ],
)
def test_what_is_wrong_in_ucf101s_lists_is_named_by_row(tmp_path, file, text, said):
    refused(f"ucf101:{lay(tmp_path, {**UCF, f'ucfTrainTestlist/{file}.txt': text})}?split=train", said)


def test_a_missing_list_side_or_fold_is_named(tmp_path, caplog):
    source = f"ucf101:{lay(tmp_path, UCF)}"
    refused(f"{source}?split=train&fold=3", r"no file .*trainlist03.txt")
    refused(f"{source}?split=train&fold=4", "ucf101: fold=4: expected 1 or 2 or 3", BadUsage)
    refused(source, r"ucf101: choose a side with \?split=train or \?split=test", BadUsage)
    refused(f"ucf101:{tmp_path}/UCF-101?split=train", r"UCF-101: no ucfTrainTestlist/classInd.txt")
    (tmp_path / "UCF-101/Archery/v_Archery_g08_c01.avi").unlink()
    refused(f"{source}?split=train", r"trainlist01.txt:1: no file .*g08_c01.avi; 1 of 2 videos are missing: add \?missing=skip")
    with caplog.at_level(logging.WARNING, "pellucid"):
        assert [row["id"] for row in read(Data(f"{source}?split=train&missing=skip"))] == ["trainlist01.txt:2"]
    assert "1 of 2 videos are missing and left out" in caplog.text


# ---- HMDB51 -------------------------------------------------------------------------------------------------------


def hmdb(root, wave: str, folder: str = "", clips: str = "a b c d") -> str:
    """Films a, b, c, d of the class wave, one clip each, and one of the class run whose name does not tell its film."""
    names = {f"{folder}wave/{film}_wave_f_cm_np1_ba_med_0.avi": "" for film in clips.split()}
    lists = {"wave_test_split1.txt": wave, "run_test_split1.txt": "jog.avi 1 \n"}
    return lay(root, {**names, f"{folder}run/jog.avi": "", **{f"testTrainMulti_7030_splits/{name}": text for name, text in lists.items()}})


def flags(**films: int) -> str:
    return "".join(f"{film}_wave_f_cm_np1_ba_med_0.avi {flag} \n" for film, flag in films.items())


@pytest.mark.parametrize("folder", ["", "hmdb51_org/", "videos/"])
def test_hmdb51s_flags_say_which_clips_are_of_which_side_and_the_film_is_the_group(tmp_path, folder):
    source = f"hmdb51:{hmdb(tmp_path, flags(a=1, b=2, c=0, d=1), folder)}"
    train, test = (read(Data(f"{source}?split={split}")) for split in ("train", "test"))
    assert [(row["id"], row["label"], row["group"]) for row in train] == [
        ("run_test_split1.txt:1", "run", "hmdb51/run/jog"),
        ("wave_test_split1.txt:1", "wave", "hmdb51/wave/a"),
        ("wave_test_split1.txt:4", "wave", "hmdb51/wave/d"),
    ]
    assert train[1]["video"] == f"{tmp_path}/{folder}wave/a_wave_f_cm_np1_ba_med_0.avi"
    assert [row["group"] for row in test] == ["hmdb51/wave/b"] and test[0]["classes"] == ("run", "wave")


def test_a_film_that_the_official_lists_part_is_a_group_on_either_side(tmp_path):
    parted = "a_wave_f_cm_np1_ba_med_0.avi 1\na_wave_u_nm_np2_fr_bad_11.avi 2\n"
    source = f"hmdb51:{hmdb(tmp_path, parted, clips='a')}"
    lay(tmp_path, "wave/a_wave_u_nm_np2_fr_bad_11.avi")
    train, test = (read(Data(f"{source}?split={split}")) for split in ("train", "test"))
    assert (train[1]["group"], test[0]["group"]) == ("hmdb51/wave/a/train", "hmdb51/wave/a/test")
    disjoint(train, {"test": test})


@pytest.mark.parametrize(
    ("wave", "said"),
    [
        (flags(a=1) + "b.avi 3\n", r"wave_test_split1.txt:2: 'b.avi 3'; expected a clip's name and 1 \(train\), 2 \(test\) or 0"),
        (flags(a=1) * 2, r"wave_test_split1.txt:2: the same clip as wave_test_split1.txt:1"),
        (flags(a=1, e=1), r"wave_test_split1.txt:2: no file .*wave/e_wave_f_cm_np1_ba_med_0.avi; 1 of 3 videos are missing"),
        ("../b.avi 1\n", r"wave_test_split1.txt:1: '../b.avi 1'; expected a clip's name"),
    ],
)
def test_what_is_wrong_in_hmdb51s_lists_is_named_by_row(tmp_path, wave, said):
    refused(f"hmdb51:{hmdb(tmp_path, wave)}?split=train", said)


def test_a_class_without_a_list_of_the_fold_is_named(tmp_path):
    source = hmdb(tmp_path, flags(a=1))
    lay(tmp_path, {"testTrainMulti_7030_splits/wave_test_split2.txt": flags(a=1)})
    refused(f"hmdb51:{source}?split=train&fold=2", r"no file .*run_test_split2.txt")
    refused(f"hmdb51:{source}/wave?split=train", r"wave: no testTrainMulti_7030_splits/CLASS_test_split1.txt")


def test_parts_are_drawn_by_group(tmp_path):
    names = [f"f{film}_wave_f_cm_np1_ba_med_{clip}.avi" for film in range(10) for clip in range(3)]
    lay(tmp_path, {f"wave/{name}": "" for name in names})
    lay(tmp_path, {"testTrainMulti_7030_splits/wave_test_split1.txt": "".join(f"{name} 1\n" for name in names)})
    parts = {part: read(Data(f"hmdb51:{tmp_path}?split=train", part=part)) for part in ("train", "dev", "test")}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 24, "dev": 3, "test": 3}
    disjoint(parts["train"], {"dev": parts["dev"], "test": parts["test"]})


# ---- Kinetics -----------------------------------------------------------------------------------------------------

HEAD = "label,youtube_id,time_start,time_end,split\n"
TABLE = HEAD + "abseiling,-3B32lodo2M,59,69,train\nair drumming,0XDf2niMkZw,10,20,train\nabseiling,b_1,0,10,validate\n"


def test_a_table_of_kinetics_finds_clips_in_class_folders_or_flat_and_keeps_to_its_split(tmp_path):
    root = tmp_path / "0"
    lay(
        root,
        {"train.csv": TABLE, "train/abseiling/-3B32lodo2M_000059_000069.mp4": "", "train/air_drumming/0XDf2niMkZw_000010_000020.webm": ""},
    )
    lay(root, "val/b_1_000000_000010.mp4")
    rows = read(Data(f"kinetics:{root}?split=train"))
    assert [row["group"] for row in rows] == ["kinetics/-3B32lodo2M", "kinetics/0XDf2niMkZw"]
    assert rows[0]["id"] == "train.csv:1" and rows[0]["classes"] == ("abseiling", "air drumming") and "start_s" not in rows[0]
    assert seen(f"kinetics:{root}?split=train") == {
        "train/abseiling/-3B32lodo2M_000059_000069.mp4": "abseiling",
        "train/air_drumming/0XDf2niMkZw_000010_000020.webm": "air drumming",
    }
    assert seen(f"kinetics:{root}/train.csv?split=val") == {"val/b_1_000000_000010.mp4": "abseiling"}  # the table calls it validate
    refused(f"kinetics:{root}/train.csv", r"train.csv: holds several splits; choose one with \?split=, of train, validate")
    refused(f"kinetics:{root}/train.csv?split=test", r"no row of split 'test'; there are train, validate")


def test_the_layout_of_cvdf_is_read_as_it_lies(tmp_path):
    lay(tmp_path / "0", {"annotations/train.csv": HEAD + "abseiling,a1,1,11,train\nabseiling,a2,1,11,train\n", "annotations/val.csv": HEAD})
    lay(tmp_path / "0", "train/a1_000001_000011.mp4 replacement/replacement_for_corrupted_k400/a2_000001_000011.mp4")
    assert set(seen(f"kinetics:{tmp_path}/0?split=train")) == {
        "train/a1_000001_000011.mp4",
        "replacement/replacement_for_corrupted_k400/a2_000001_000011.mp4",
    }


def test_whole_videos_are_read_in_part_and_must_be_called_so(tmp_path):
    lay(tmp_path, {"v.csv": HEAD + "abseiling,a1,1.5,11.5,val\n", "videos/a1.mp4": ""})
    source = f"kinetics:{tmp_path}/v.csv"
    refused(source, r"v.csv:1: a1.mp4 may be the whole video or the clip; say which with \?parts=yes \(whole\) or \?parts=no", BadUsage)
    (whole,), (clip,) = read(Data(f"{source}?parts=yes")), read(Data(f"{source}?parts=no"))
    assert (whole["start_s"], whole["end_s"]) == (1.5, 11.5) and whole["video"] == clip["video"] == f"{tmp_path}/videos/a1.mp4"
    assert "start_s" not in clip


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "youtube_id,time_start,time_end,split\na1,1,11,test\n",
            r"t.csv: no column 'label'; expected label, youtube_id, .*; the columns are",
        ),
        (HEAD + "run,a1,1,x,train\n", r"t.csv:1: time_end 'x' is no number of seconds"),
        (HEAD + "run,a1,11,1,train\n", r"t.csv:1: time_start 11 and time_end 1; expected the end after the start"),
        (HEAD + "run,#NAME?,1,11,train\n", r"t.csv:1: youtube_id '#NAME\?'; expected letters, digits, - and _"),
        (HEAD + "run,a1,1,11,train\nrun,a1,1,11,train\n", r"t.csv:2: the same clip as t.csv:1, a1 from 1 s"),
        (HEAD + "run,a1,1,11,train\n,a1,2,11,train\n", r"t.csv:2: class '' is not one of the 1"),
        (HEAD + "run,a1,1,11,train\nrun,a9,1,11,train\n", r"t.csv:2: no file .*run/a9_000001_000011.mp4; 1 of 2 videos are missing"),
    ],
)
def test_what_is_wrong_in_a_table_of_kinetics_is_named_by_row(tmp_path, table, said):
    lay(tmp_path, {"t.csv": table, "run/a1_000001_000011.mp4": ""})
    refused(f"kinetics:{tmp_path}/t.csv", said)


def test_classes_that_a_file_does_not_name_are_refused_and_missing_clips_counted(tmp_path, caplog):
    lay(tmp_path, {"t.csv": HEAD + "run,a1,1,11,train\nrun,a9,1,11,train\n", "run/a1_000001_000011.mp4": "", "names.txt": "runs\n"})
    refused(f"kinetics:{tmp_path}/t.csv?classes={tmp_path}/names.txt", r"t.csv:1: class 'run' is not one of the 1; did you mean 'runs'")
    with caplog.at_level(logging.WARNING, "pellucid"):
        assert len(read(Data(f"kinetics:{tmp_path}/t.csv?missing=skip"))) == 1
    assert "1 of 2 videos are missing and left out" in caplog.text


def test_a_list_of_paths_and_class_numbers_names_them_by_a_file(tmp_path):
    frames = "run/b 3 1\n"
    lay(tmp_path / "0", {"list.txt": f"air drumming/a.mp4 0\n{frames}", "names.txt": "air drumming\nrun\n", "air drumming/a.mp4": ""})
    lay(tmp_path / "0", "run/b/img_00001.jpg")
    source = f"kinetics:{tmp_path}/0/list.txt"
    assert seen(f"{source}?classes={tmp_path}/0/names.txt") == {"air drumming/a.mp4": "air drumming", "run/b": "run"}
    assert seen(source) == {"air drumming/a.mp4": "0", "run/b": "1"}
    refused(f"{source}?split=train", "is of one split; leave", BadUsage)
    for text, said in {
        "run/b 3 7\n": "list.txt:1: class '7' is not in the list of 2",
        f"{frames}b\n": "list.txt:2: 'b'; expected a path",
    }.items():
        lay(tmp_path / "0", {"list.txt": text})
        refused(f"{source}?classes={tmp_path}/0/names.txt", said)
    lay(tmp_path / "0", {"list.txt": frames * 2})
    refused(source, "list.txt:2: the same clip as list.txt:1")


def test_a_folder_with_no_or_several_tables_of_a_split_says_which_there_are(tmp_path):
    refused(f"kinetics:{lay(tmp_path, 'a.mp4')}?split=val", r"expected one table val.csv, here or in annotations/; there are none")
    lay(tmp_path, {"train.csv": HEAD, "annotations/k_train.csv": HEAD})
    refused(f"kinetics:{tmp_path}?split=train", r"there are train.csv, annotations/k_train.csv; name the file")


# ---- tables -------------------------------------------------------------------------------------------------------


def test_a_tables_column_of_videos_is_read_from_its_folder_with_times_as_numbers(tmp_path):
    lay(tmp_path, {"t.csv": "video,label,start_s,end_s\nv/a.mp4,run,1.5,2\nv/a.mp4,sit,,\n", "v/a.mp4": ""})
    rows = read(Data(f"csv:{tmp_path}/t.csv"))
    assert rows[0] == {"id": "t.csv:1", "video": f"{tmp_path}/v/a.mp4", "label": "run", "start_s": 1.5, "end_s": 2.0}
    assert rows[1] == {"id": "t.csv:2", "video": f"{tmp_path}/v/a.mp4", "label": "sit"}
    lay(tmp_path, {"t.csv": "video,start_s,end_s\nv/a.mp4,3,2\n"})
    refused(f"csv:{tmp_path}/t.csv", "t.csv:1: the part from 3 to 2 s; expected the end after the start")
    lay(tmp_path, {"t.csv": "video,start_s\nv/a.mp4,soon\n"})
    refused(f"csv:{tmp_path}/t.csv", "t.csv:1: start_s 'soon'; expected seconds from the video's beginning")


def test_columns_of_videos_times_labels_and_groups_can_be_mapped_and_the_folder_named(tmp_path):
    rows = "".join(f"c{i},{i},a|b,g{i // 2}\n" for i in range(6))
    lay(tmp_path, {"t.csv": "film,begin,tags,of\n" + rows, **{f"v/c{i}/img_00001.jpg": "" for i in range(6)}})
    columns = {"video": "film", "start_s": "begin", "labels": "tags", "group": "of"}
    read_rows = read(Data(f"csv:{tmp_path}/t.csv?videos={tmp_path}/v", columns=columns))
    assert (read_rows[3]["video"], read_rows[3]["start_s"], read_rows[3]["labels"]) == (f"{tmp_path}/v/c3", 3.0, ["a", "b"])
    dev = read(Data(f"csv:{tmp_path}/t.csv?videos={tmp_path}/v", columns=columns, part="dev"))
    assert len(dev) == 2 and len({row["group"] for row in dev}) == 1


def test_a_missing_video_of_a_table_is_named_with_its_row_or_skipped(tmp_path):
    lay(tmp_path, {"t.csv": "path,label\na.mp4,x\nb.mp4,y\n", "a.mp4": ""})
    refused(f"csv:{tmp_path}/t.csv", r"t.csv:2: no file .*b.mp4; 1 of 2 videos are missing")
    assert [row["label"] for row in read(Data(f"csv:{tmp_path}/t.csv?missing=skip"))] == ["x"]
    refused(f"csv:{tmp_path}/t.csv?images={tmp_path}", "images= is for pictures; name their column with --column image=NAME", BadUsage)
    lay(tmp_path, {"t.csv": "text\nhello\n"})
    refused(f"csv:{tmp_path}/t.csv?videos=x", "videos= is for videos; name their column with --column video=NAME", BadUsage)
