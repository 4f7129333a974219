"""TFRecord files of YouTube-8M's kind, against messages that protobuf's own runtime writes."""

import functools
import pathlib
import struct

import numpy as np
import pytest

from pellucid.data.clips import tfrecord
from pellucid.data.clips.held import load
from pellucid.data.read import read
from pellucid.errors import BadData
from pellucid.recipe import Data

PACKAGE = "pellucid.test"


def _map(message, name: str, number: int, value: str) -> None:
    entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=f".{PACKAGE}.{value}")
    message.field.add(name=name, number=number, type=11, label=3, type_name=f".{PACKAGE}.{message.name}.{entry.name}")


@functools.cache
def messages() -> dict[str, type]:
    """TensorFlow's example.proto and feature.proto, described anew."""
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptors.FileDescriptorProto(name="example.proto", package=PACKAGE, syntax="proto3")
    for name, kind in (("BytesList", 12), ("FloatList", 2), ("Int64List", 3)):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        field = name.replace("List", "_list").lower()
        feature.field.add(name=field, number=number, type=11, label=1, type_name=f".{PACKAGE}.{name}", oneof_index=0)
    _map(file.message_type.add(name="Features"), "feature", 1, "Feature")
    file.message_type.add(name="FeatureList").field.add(name="feature", number=1, type=11, label=3, type_name=f".{PACKAGE}.Feature")
    _map(file.message_type.add(name="FeatureLists"), "feature_list", 1, "FeatureList")
    file.message_type.add(name="Example").field.add(name="features", number=1, type=11, label=1, type_name=f".{PACKAGE}.Features")
    sequence = file.message_type.add(name="SequenceExample")
    sequence.field.add(name="context", number=1, type=11, label=1, type_name=f".{PACKAGE}.Features")
    sequence.field.add(name="feature_lists", number=2, type=11, label=1, type_name=f".{PACKAGE}.FeatureLists")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Example", "SequenceExample")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names}


def video(name: str, labels: list[int], **frames: np.ndarray) -> bytes:
    found = messages()["SequenceExample"]()
    found.context.feature["id"].bytes_list.value.append(name.encode())
    found.context.feature["labels"].int64_list.value.extend(labels)
    for modality, values in frames.items():
        for row in values:
            feature = found.feature_lists.feature_list[modality].feature.add()
            if values.dtype == np.uint8:
                feature.bytes_list.value.append(row.tobytes())
            else:
                feature.float_list.value.extend(row.tolist())
    return found.SerializeToString()


def record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return b"".join(part + struct.pack("<I", tfrecord.masked(tfrecord.crc32c(part))) for part in (length, content))


def write(path: pathlib.Path, *contents: bytes) -> pathlib.Path:
    path.write_bytes(b"".join(map(record, contents)))
    return path


def frames(seed: int, n: int = 5, width: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, width), dtype=np.uint8)


def rows(source: str) -> list[dict]:
    return read(Data(source))


def test_the_checksum_is_castagnolis_at_any_length():
    assert tfrecord.crc32c(b"123456789") == 0xE3069283  # the check value of its definition
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA  # and these two of RFC 3720, B.4
    assert tfrecord.crc32c(b"\xff" * 32) == 0x62A8AB43
    long = np.random.default_rng(0).bytes(5000)
    slow = functools.reduce(lambda crc, byte: _step(crc ^ byte), long, 0xFFFFFFFF) ^ 0xFFFFFFFF
    assert tfrecord.crc32c(long) == slow  # by lanes and bit by bit


def test_records_are_those_that_tensorboard_writes(tmp_path):
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer").RecordWriter
    contents = [b"first", b"", np.random.default_rng(0).bytes(3000)]
    with open(tmp_path / "a.tfrecord", "wb") as file:
        for content in contents:
            writer(file).write(content)
    with tfrecord.mapped(str(tmp_path / "a.tfrecord")) as raw:
        assert [raw[start:end] for start, end in tfrecord.records(raw, "a", check=True)] == contents


def _step(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def test_frames_labels_and_names_are_those_that_protobuf_wrote(tmp_path):
    many = {"rgb": frames(0, 300, 1024), "audio": frames(1, 300, 128)}
    write(
        tmp_path / "train0000.tfrecord",
        video("abcd", [3, 0, 3861], **many),
        video("efgh", [], rgb=frames(2, 1, 1024), audio=frames(3, 2, 128)),
    )
    write(tmp_path / "train0001.tfrecord", video("ijkl", [300], rgb=frames(4, 7, 1024), audio=frames(5, 7, 128)))
    found = rows(f"youtube8m:{tmp_path}?check=all")
    assert [row["video_id"] for row in found] == ["abcd", "efgh", "ijkl"]
    assert [row["labels"] for row in found] == [["3", "0", "3861"], [], ["300"]] and len(found[0]["classes"]) == 3862
    assert [row["features"]["rgb"].rows for row in found] == [300, 1, 7]
    for modality, values in many.items():
        told = values.astype(np.float64) * 4 / 255 + 4 / 512 - 2
        np.testing.assert_allclose(load(found[0]["features"][modality]), told, atol=3e-7)
    assert len(rows(f"youtube8m:{tmp_path}/train{{0000..0001}}.tfrecord")) == len(rows(f"youtube8m:{tmp_path}/train*.tfrecord")) == 3


def test_floats_of_frames_and_of_whole_videos_are_as_they_were_written(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    write(tmp_path / "f.tfrecord", video("a", [1], clip=values))
    np.testing.assert_array_equal(load(rows(f"youtube8m:{tmp_path}/f.tfrecord")[0]["features"]["clip"]), values)
    whole = messages()["Example"]()
    whole.features.feature["id"].bytes_list.value.append(b"v")
    whole.features.feature["labels"].int64_list.value.append(2)
    whole.features.feature["mean_rgb"].float_list.value.extend(values[0].tolist())
    write(tmp_path / "v.tfrecord", whole.SerializeToString())
    row = rows(f"youtube8m:{tmp_path}/v.tfrecord?level=video")[0]
    assert row["labels"] == ["2"] and list(row["features"]) == ["rgb"]
    np.testing.assert_array_equal(load(row["features"]["rgb"]), values[:1])
    with pytest.raises(BadData, match=r"v.tfrecord: record 1: no lists of frames; .*level=video"):
        rows(f"youtube8m:{tmp_path}/v.tfrecord")
    with pytest.raises(BadData, match=r"f.tfrecord: record 1: lists of frames; .*level=frame"):
        rows(f"youtube8m:{tmp_path}/f.tfrecord?level=video")


def test_labels_are_called_as_the_vocabulary_says(tmp_path):
    write(tmp_path / "a.tfrecord", video("a", [0, 1, 2, 3], rgb=frames(0)), video("b", [4], rgb=frames(0)))
    (tmp_path / "v.csv").write_text("Index,TrainVideoCount,Name\n0,9,Game\n1,9,\n2,9,Car\n4,1,Car\n")
    found = rows(f"youtube8m:{tmp_path}/a.tfrecord?labels={tmp_path}/v.csv")
    assert [row["labels"] for row in found] == [["Game", "1", "Car (2)", "3"], ["Car (4)"]]
    with pytest.raises(BadData, match=r"a.tfrecord: record 2: label 4 of a vocabulary of 4; .*num_labels=N"):
        rows(f"youtube8m:{tmp_path}/a.tfrecord?num_labels=4")
    write(tmp_path / "n.tfrecord", video("a", [-1], rgb=frames(0)))
    with pytest.raises(BadData, match=r"n.tfrecord: record 1: label -1 of"):
        rows(f"youtube8m:{tmp_path}/n.tfrecord")


def test_damage_is_told_by_file_and_record(tmp_path):
    path = write(tmp_path / "a.tfrecord", video("a", [1], rgb=frames(0)), video("b", [1], rgb=frames(1)))
    raw = path.read_bytes()
    first = len(raw) // 2
    cuts = {len(raw) - 1: "record 2: the file is cut short", first + 5: "record 2: the file is cut short, 5 bytes", 0: "the file is empty"}
    for size, told in cuts.items():
        path.write_bytes(raw[:size])
        with pytest.raises(BadData, match=rf"a.tfrecord: {told}"):
            rows(f"youtube8m:{path}")
    path.write_bytes(raw[:first] + bytes([raw[first] ^ 1]) + raw[first + 1 :])
    with pytest.raises(BadData, match=r"a.tfrecord: record 2: the checksum of its length is wrong"):
        rows(f"youtube8m:{path}")
    path.write_bytes(raw[:-50] + bytes([raw[-50] ^ 1]) + raw[-49:])
    assert len(rows(f"youtube8m:{path}")) == 2  # inside a frame, where only check=all looks
    with pytest.raises(BadData, match=r"a.tfrecord: record 2: its checksum is wrong"):
        rows(f"youtube8m:{path}?check=all")
    write(path, video("a", [1], rgb=frames(0))[:-3])
    with pytest.raises(BadData, match=r"a.tfrecord: record 1: .*damaged"):
        rows(f"youtube8m:{path}")


def test_frames_of_several_widths_are_told_whether_they_show_at_once_or_when_read(tmp_path):
    found = messages()["SequenceExample"]()
    for width in (100, 90):
        found.feature_lists.feature_list["rgb"].feature.add().bytes_list.value.append(bytes(width))
    path = write(tmp_path / "a.tfrecord", found.SerializeToString())
    with pytest.raises(BadData, match=r"a.tfrecord: record 1: rgb: its frames differ in width"):
        rows(f"youtube8m:{path}")
    for width in (95, 115):  # four frames of 100 on average
        found.feature_lists.feature_list["rgb"].feature.add().bytes_list.value.append(bytes(width))
    write(path, found.SerializeToString())
    row = rows(f"youtube8m:{path}")[0]
    with pytest.raises(BadData, match=r"a.tfrecord:1: .*its local features differ in width"):
        load(row["features"]["rgb"])


def test_no_bytes_whatever_are_taken_for_a_message_without_an_error_of_ours(tmp_path):
    rng = np.random.default_rng(0)
    whole = video("a", [1], rgb=frames(0, 2, 20), audio=frames(0, 2, 10))
    told = []
    for _ in range(200):
        changed = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            changed[at] = rng.integers(0, 256)
        path = write(tmp_path / "a.tfrecord", bytes(changed))
        try:
            for row in rows(f"youtube8m:{path}"):
                for held in row["features"].values():
                    load(held)
        except BadData as error:
            told.append(str(error))
    assert 50 < len(told) < 200 and all("a.tfrecord" in line and line.isprintable() for line in told)
