import math

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from pellucid.errors import BadData
from pellucid.metrics.patches import NUMBERS, PatchNumber, ious, patch_metrics

# overlaps 1, 1/2 and 0; then 1/3 alone
FIRST = {
    "boxes_xyxy": [[0, 0, 2, 4], [9, 9, 10, 10], [0, 0, 4, 4], [0, 0, 1, 1]],
    "best": [2, 0, 3],
    "patches_xyxy": [[0, 0, 4, 4], [0, 0, 4, 4], [2, 2, 3, 3]],
    "cosines": [1.0, 0.5, -0.5],
}
SECOND = {"boxes_xyxy": [[0, 0, 2, 2]], "best": [0], "patches_xyxy": [[1, 0, 3, 2]], "cosines": [0.0]}


def computed(*predictions):
    metrics = patch_metrics()
    for metric in metrics.values():
        for prediction in predictions:
            metric.update(prediction, {"id": "a"})
    return {name: metric.compute() for name, metric in metrics.items()}


def test_every_patch_counts_the_same_whatever_picture_it_is_of():
    assert computed(FIRST, SECOND) == pytest.approx({"recall_iou50": 2 / 4, "mean_iou": (1.5 + 1 / 3) / 4, "feature_cosine": 1 / 4})


def test_recall_comes_first_and_chooses_the_checkpoint():
    assert next(iter(patch_metrics())) == "recall_iou50" and all(m.higher_is_better for m in patch_metrics().values())


def test_overlaps_are_torchvisions():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 50, (2, 300, 2, 2)), axis=2).reshape(2, 300, 4)
    a, b = torch.from_numpy(corners)
    assert np.allclose(ious(*corners.tolist()), box_iou(a, b).diagonal().numpy())
    assert ious([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [0], "boxes without area have none"


def test_without_reconstruction_there_is_no_cosine():
    plain = {key: value for key, value in FIRST.items() if key != "cosines"}
    found = computed(plain)
    assert math.isnan(found["feature_cosine"]) and found["mean_iou"] == pytest.approx(0.5)
    assert all(math.isnan(PatchNumber(name).compute()) for name in NUMBERS)


def test_resampling_by_how_often_each_picture_comes_is_computing_over_them():
    metric = PatchNumber("mean_iou")
    for prediction in (FIRST, SECOND):
        metric.update(prediction, {})
    found = metric.resample(np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 1.0]]))
    assert found.tolist() == pytest.approx([metric.compute(), 1 / 3, (3.0 + 1 / 3) / 7])


def test_patches_from_elsewhere_cannot_be_measured():
    with pytest.raises(BadData, match="street: its patches come from elsewhere"):
        PatchNumber().update({"boxes_xyxy": [[0, 0, 1, 1]], "best": [0]}, {"id": "street"})
    with pytest.raises(ValueError, match="no number 'recall'"):
        PatchNumber("recall")
