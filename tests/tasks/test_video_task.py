"""Clips and their features to labels: the promises of a task, which local features are seen, what learns, and what is refused."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from pellucid import checkpoint, recipe, run
from pellucid.data import video
from pellucid.data.clips.held import Held
from pellucid.data.corrupt.moving import moved
from pellucid.data.views import TestView
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data, Loop, Recipe
from pellucid.tasks.video import task as room
from pellucid.tasks.video.settings import Cluster, Stream, VideoSettings
from pellucid.testing import check_task
from standin import Drawn, noise, tone

FEATURES = VideoSettings(cluster=Cluster(3), clusters={"sound": Cluster(2, "two_fc", hidden=5)}, num_local=6)
TINY = {"model": "resnet_tiny", "pretrained": "", "view": TestView(16, 1.0)}
SOUND = Stream(rate=2, window_s=0.2, mels=16, **TINY)
SEEN = VideoSettings({"rgb": Stream(rate=0, most=0, **TINY)}, Cluster(3), num_local=4)


def row(at: int, label: str = "", **lengths: int) -> dict:
    """Features of so many rows by modality, of width 4, of sound 3."""
    draw = np.random.default_rng(at)
    made = {name: draw.normal(size=(n, 3 if name == "sound" else 4)).astype(np.float32) for name, n in lengths.items()}
    return {"id": f"train:{at}", "features": made, "label": label or "ab"[at % 2]}


@pytest.fixture
def given() -> list[dict]:
    """Features of frames and of sound, of different lengths; one clip has no sound."""
    return [row(0, rgb=5, sound=2), row(1, rgb=9, sound=1), row(2, rgb=1), row(3, rgb=3, sound=4)]


@pytest.fixture
def drawn() -> list[dict]:
    """Clips of noise, of different lengths; one has sound."""
    waves = (None, tone(440, 1.5), None, None)
    clips = [Drawn(f"c{n}", noise(n, seed=n), wave) for n, wave in zip((3, 7, 1, 5), waves, strict=True)]
    return [{"id": f"train:{i}", "video": clip, "label": "ab"[i % 2]} for i, clip in enumerate(clips)]


def several(rows: list[dict]) -> list[dict]:
    """The same with any number of labels."""
    named = (["a"], ["b", "c"], [], ["a", "c"])
    return [{**{k: v for k, v in e.items() if k != "label"}, "labels": named[i % 4]} for i, e in enumerate(rows)]


# ---- the promises -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_a_classifier_of_features_keeps_its_promises(loss, given):
    rows = several(given) if loss == "bce" else given
    task = replace(FEATURES, loss=loss).build(rows)
    assert list(task.sites) == ["input", "sound"] and task.widths == {"rgb": 4, "sound": 3}
    check_task(task, rows)


def test_features_in_files_are_those_in_memory(given, tmp_path):
    kept = []
    for i, example in enumerate(given):
        for name, values in example["features"].items():
            np.save(tmp_path / f"{i}-{name}.npy", values)
        kept.append({**example, "features": {name: Held(str(tmp_path / f"{i}-{name}.npy")) for name in example["features"]}})
    task = FEATURES.build(kept)
    check_task(task, kept)
    assert torch.equal(task.collate(task.prepare(kept, "t"))["sound"], task.collate(task.prepare(given, "t"))["sound"])


def test_a_classifier_of_clips_keeps_its_promises(drawn, tmp_path):
    task = replace(SEEN, streams={**SEEN.streams, "audio": SOUND}, cache=str(tmp_path)).build(drawn)
    assert list(task.sites) == ["input", "audio"]
    check_task(task, drawn)


def test_a_classifier_whose_backbones_learn_keeps_them_too(drawn, tmp_path):
    rows = several(drawn)[:2]
    check_task(replace(SEEN, num_local=2, loss="bce", end_to_end=True, cache=str(tmp_path)).build(rows), rows)


# ---- which local features are seen ----------------------------------------------------------------------------------------


def scores(task, rows):
    batch = task.collate(rows)
    with torch.no_grad():
        output = task.model.eval()(batch)
    return task.score(output, task.gold(rows))


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_shuffled_clip_has_the_same_score_though_its_frames_are_seen_in_another_order(severity, drawn, tmp_path):
    long = [{**e, "video": Drawn(f"long{i}", noise(40, seed=i))} for i, e in enumerate(drawn)]
    how = {"kind": "frame_shuffle", "severity": severity, "seed": 7}
    task = replace(SEEN, num_local=16, cache=str(tmp_path)).build(long)
    plain, shuffled = task.prepare(long, "t"), task.prepare([{**e, "corruption": how} for e in long], "t")
    before, after = task.collate(plain), task.collate(shuffled)
    assert before["rgb_time"][0] != after["rgb_time"][0] and sorted(before["rgb_time"][0]) == sorted(after["rgb_time"][0])
    torch.testing.assert_close(scores(task, shuffled), scores(task, plain), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["frame_drop", "frame_repeat", "frame_rate"])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_a_clip_that_has_lost_frames_is_seen_at_what_is_left(kind, end_to_end, drawn, tmp_path):
    task = replace(SEEN, num_local=40, end_to_end=end_to_end, cache=str(tmp_path)).build(drawn)
    clip = {**drawn[0], "video": Drawn("long", noise(20)), "corruption": {"kind": kind, "severity": 3, "seed": 7}}
    batch = task.collate(task.prepare([clip], "t"))
    left = moved(20, kind, 3, 7)
    if kind == "frame_repeat":
        assert len(left) == 20 > len(set(left))
    else:
        assert left == sorted(left) and len(left) == {"frame_drop": 8, "frame_rate": 5}[kind]
    assert [float(name.split()[0]) for name in batch["rgb_time"][0]] == pytest.approx([i / 25 for i in left])
    assert len(set(batch["rgb_time"][0])) == len(left)  # a frame seen twice has two names, as explanations need
    if not end_to_end:
        whole = task.collate(task.prepare([{k: v for k, v in clip.items() if k != "corruption"}], "t"))
        assert torch.equal(batch["rgb"][0], whole["rgb"][0][left])


def test_noise_on_features_moves_every_number_and_nothing_else(given):
    task = FEATURES.build(given)
    noisy = {**given[1], "corruption": {"kind": "feature_noise", "severity": 3, "seed": 7}}
    before, after = (task.collate(task.prepare([e], "t")) for e in (given[1], noisy))
    assert before["rgb_time"] == after["rgb_time"] and torch.equal(before["rgb_present"], after["rgb_present"])
    assert (before["rgb"] != after["rgb"]).all()
    assert torch.equal(before["sound"], after["sound"])  # one local feature has no deviation to be a share of


def test_of_many_local_features_some_are_seen_evenly_when_measuring_and_by_the_seed_when_training():
    rows = [row(i, rgb=12, sound=2) for i in range(4)]
    task = replace(FEATURES, num_local=4).build(rows)
    even = task.collate(rows)
    assert even["rgb_time"][0] == ["1", "4", "7", "10"] and even["sound_time"][0] == ["0", "1"]
    assert torch.equal(even["rgb"][2], torch.from_numpy(rows[2]["features"]["rgb"][[1, 4, 7, 10]]))

    def places(seeds):
        batch = task.train_batch(rows, seeds)
        assert not any(key.endswith(("_time", "_film")) for key in batch)
        told = zip(batch["rgb"], rows, strict=True)
        return [[e["features"]["rgb"].tolist().index(one) for one in seen.tolist()] for seen, e in told]

    seen = places([1, 2, 3, 4])
    assert places([1, 2, 3, 4]) == seen != places([5, 6, 7, 8]) and places([9, 9, 3, 4])[2:] == seen[2:]
    assert all([place // 3 for place in one] == [0, 1, 2, 3] for one in seen)


def test_an_absent_modality_is_absent_and_its_clip_is_answered(given):
    batch = FEATURES.build(given).collate(given)
    assert batch["sound_present"].sum(1).tolist() == [2, 1, 0, 4] and not batch["sound"][2].any()
    assert batch["sound_time"][2] == [] and batch["sound_film"] == [None] * 4  # there is no clip to show


def test_films_are_of_the_frames_that_are_seen_and_sound_alone_has_none(drawn, tmp_path):
    both = {**SEEN.streams, "audio": SOUND}
    task = replace(SEEN, streams=both, cache=str(tmp_path)).build(drawn)
    batch = task.collate(task.prepare(drawn, "t"))
    assert batch["rgb_time"][1] == ["0.00 s", "0.08 s", "0.16 s", "0.24 s"]
    assert batch["rgb_film"][1].times_s == pytest.approx((0, 0.08, 0.16, 0.24)) and batch["rgb_film"][1].names == tuple(
        batch["rgb_time"][1]
    )
    assert len(batch["audio_film"][1].times_s) == len(batch["audio_time"][1]) > 0  # the picture beside each piece of sound
    assert batch["audio_film"][0] is None


# ---- what learns, and what is kept ----------------------------------------------------------------------------------------


def stepped(task, rows) -> None:
    """One step of training."""
    batch = task.train_batch(rows, range(len(rows)))
    task.model.train()
    sum(task.loss(task.model(batch), batch).values()).backward()
    torch.optim.SGD([p for p in task.model.parameters() if p.requires_grad], 0.1).step()


@pytest.mark.parametrize("end_to_end", [False, True])
def test_backbones_are_frozen_unless_training_is_end_to_end(end_to_end, drawn, tmp_path):
    task = replace(SEEN, end_to_end=end_to_end, cache=str(tmp_path)).build(drawn)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    stepped(task, task.prepare(drawn, "t"))
    changed = [name for name, value in task.model.state_dict().items() if not torch.equal(value, before[name])]
    weights = [name for name in changed if name.startswith("streams.") and name.endswith("weight")]
    assert bool(weights) == end_to_end and any(name.startswith("clusters.") for name in changed)
    assert any("running_mean" in name for name in changed) == end_to_end
    assert all((p.grad is None) != end_to_end for name, p in task.model.named_parameters() if name.startswith("streams."))


def table(folder, rows) -> str:
    """The rows' features in files, and a table of them."""
    lines = ["features,label" if "label" in rows[0] else "features,labels"]
    for i, example in enumerate(rows):
        np.savez(folder / f"{i}.npz", **example["features"])
        lines.append(f"{folder}/{i}.npz,{example['label'] if 'label' in example else '|'.join(example['labels'])}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return f"features:{folder}/rows.csv"


def of(settings: VideoSettings, source: str, epochs: int = 8) -> Recipe:
    """A recipe with a name of its own, which a run needs in order to be read again."""
    base = recipe.get("attention_clusters:tiny")
    told = {"optim": replace(base.optim, lr=2e-2), "loop": Loop(epochs, 4, eval_batch_size=3, keep="last")}
    return replace(base, task=settings, train=Data(source), tests={"home": Data(source)}, **told)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory) -> run.Run:
    """A run on features of clips with any number of labels, each a number of the features, and one of a sound."""
    folder = tmp_path_factory.mktemp("tagged")
    rows = several([row(i, rgb=2 + i % 3, sound=2) for i in range(16)])
    for example in rows:
        for at, name in enumerate("abc"):
            example["features"]["rgb"][0, at] = 6.0 if name in example["labels"] else -6.0
    return run.train(of(replace(FEATURES, dropout=0.0, loss="bce"), table(folder, rows), 40), folder / "run")


def test_a_run_on_several_labels_is_measured_as_youtube_8m_is(tagged):
    found = {name: told["value"] for name, told in tagged.measured({"home": tagged.recipe.train})["sets"]["home"]["metrics"].items()}
    assert list(found) == ["GAP20", "hit1", "PERR", "mAP"]
    assert found["GAP20"] > 0.95 and found["mAP"] > 0.95 and all(0 <= value <= 1 for value in found.values())
    assert found["hit1"] == 0.75  # a quarter of the clips have no label to be hit


def test_a_run_read_again_predicts_the_same(tagged):
    rows = [row(40, rgb=4, sound=1), row(41, sound=3), row(42, rgb=7)]
    again = run.load(tagged.folder)
    assert again.task.labels == tagged.task.labels == ("a", "b", "c") and again.task.widths == {"rgb": 4, "sound": 3}
    assert again.recipe == tagged.recipe
    assert again.predict(rows, probs=True) == tagged.predict(rows, probs=True)


def test_a_run_that_learned_end_to_end_is_read_again_with_its_backbones(tmp_path):
    (tmp_path / "train.csv").write_text("video,label\n" + "".join(f"{tmp_path}/{x}.mp4,{x}\n" for x in "ab"))
    for seed, name in enumerate("ab"):
        filmed(tmp_path / f"{name}.mp4", seed)
    settings = replace(SEEN, end_to_end=True, cache=str(tmp_path / "cache"))
    one = replace(of(settings, f"csv:{tmp_path}/train.csv", 2), tests={})
    done = run.train(one, tmp_path / "run")
    fresh = done.predict([{"id": "x", "video": str(tmp_path / "a.mp4")}], probs=True)
    again = run.load(tmp_path / "run")
    assert again.predict([{"id": "x", "video": str(tmp_path / "a.mp4")}], probs=True) == fresh
    saved = checkpoint.load(tmp_path / "run/model.safetensors")
    assert any(name.startswith("streams.rgb.net.") for name in saved)


def filmed(path, seed: int) -> None:
    with video.Writer(path, Fraction(25)) as film:
        for picture in noise(4, 32, seed):
            film.add(picture)


def test_features_are_made_where_the_model_will_learn(tmp_path, monkeypatch):
    """On a device that holds nothing: enough to see where the backbone is when clips are prepared."""

    class Elsewhere:
        device, is_global_zero = torch.device("meta"), True

    def looked(rows, source, streams, settings, device):
        raise InterruptedError(str(device), *{str(p.device) for p in streams["rgb"].parameters()})

    monkeypatch.setattr(run, "start_fabric", lambda _: Elsewhere())
    monkeypatch.setattr(room, "extracted", looked)
    flash = Data("flash:train?digits=digits&classes=1&length=2&per_class=2")
    with pytest.raises(InterruptedError) as told:
        run.train(Recipe(replace(SEEN, cache=str(tmp_path)), flash), tmp_path / "run")
    assert told.value.args == ("meta", "meta")


# ---- what is refused ------------------------------------------------------------------------------------------------------


def refused(kind: type[Exception], call) -> str:
    """The one line that a refusal says."""
    with pytest.raises(kind) as fault:
        call()
    assert type(fault.value) is kind and "\n" not in str(fault.value)
    return str(fault.value)


def test_features_that_the_model_does_not_know_are_named_with_their_row(given):
    task = FEATURES.build(given)
    wide = {**given[0], "features": {"rgb": np.zeros((2, 7), np.float32)}}
    assert refused(BadData, lambda: task.prepare([wide], "t")) == "train:0: rgb features of 7 numbers; the model has 4"
    strange = {**given[0], "features": {"touch": np.zeros((2, 4), np.float32)}}
    line = refused(BadData, lambda: task.prepare([strange], "t"))
    assert line == "train:0: features of touch; the model has rgb of 4, sound of 3"
    assert "features of nothing" in refused(BadData, lambda: task.prepare([{**given[0], "features": {}}], "t"))
    assert "no column 'features'" in refused(BadData, lambda: task.prepare([{"id": "t:1", "text": "hello"}], "t"))


def test_a_label_that_the_model_does_not_know_is_refused(given):
    line = refused(BadData, lambda: FEATURES.build(given).prepare([{**given[0], "label": "c"}], "t"))
    assert "'c'" in line and "which has 2" in line
    rows = several(given)
    line = refused(BadData, lambda: replace(FEATURES, loss="bce").build(rows).prepare([{**rows[0], "labels": ["d"]}], "t"))
    assert "'d'" in line


def test_clips_without_a_backbone_are_refused(given, drawn):
    assert "task.streams" in refused(BadUsage, lambda: FEATURES.build(drawn))
    assert "task.streams" in refused(BadUsage, lambda: FEATURES.build(given).prepare(drawn, "t"))


def test_settings_that_fit_nothing_are_refused(given, drawn):
    assert "task.end_to_end is for clips" in refused(BadUsage, lambda: replace(FEATURES, end_to_end=True).build(given))
    line = refused(BadUsage, lambda: replace(FEATURES, clusters={"smell": Cluster(2)}).build(given))
    assert line == "task.clusters.smell: no such modality; there are rgb, sound"
    streams = {"smell": SEEN.streams["rgb"]}
    assert "task.streams.smell" in refused(BadUsage, lambda: replace(SEEN, streams=streams).build(drawn))


def test_a_training_set_that_teaches_nothing_is_refused(given):
    assert "two or more" in refused(BadData, lambda: FEATURES.build([{**e, "label": "a"} for e in given]))
    assert "'label'" in refused(BadData, lambda: FEATURES.build(several(given)))
    assert "'labels'" in refused(BadData, lambda: replace(FEATURES, loss="bce").build(given))
