"""Versions of other tasks than classification: values, labels, and pixels."""

import json
import subprocess

import numpy as np
import pytest
from conftest import QUICK, TOP

import fieldfit

DATA = TOP / "tests" / "data"
FRAME = DATA / "scenes" / "images" / "f00.png"


def answered(command, *arguments):
    """The first answer of the command `infer`."""
    ran = subprocess.run([command, "infer", *arguments, "--json"], capture_output=True, check=True, text=True)
    return json.loads(ran.stdout.splitlines()[0])


def test_values_are_estimated_in_their_units(stored, tmp_path, command):
    """Catches: values that lose their unit or name, other bits than the command's, a task that is not the running version's."""
    assert stored.task == "classification"
    stored.adapt(DATA / "scene-values", **QUICK, flip_negates=["car [px]"])
    assert stored.task == "regression" and stored.labels == ("horizon [px]", "car [px]")
    estimate = stored.estimate(FRAME)
    assert estimate.units == {"horizon": "px", "car": "px"} and estimate.version == stored.version
    model = ["--model", TOP / "models" / "efficientnet-lite0", "--store", tmp_path / "store", "--threads", "1"]
    values = {value["target"]: value["value"] for value in answered(command, *model, FRAME)["values"]}
    assert {name: np.float32(value) for name, value in estimate.values.items()} == {
        name: np.float32(value) for name, value in values.items()
    }
    assert "horizon: " in str(estimate) and " px" in str(estimate)
    with pytest.raises(fieldfit.ModelError, match="estimate"):
        stored.infer(FRAME)


def test_labels_are_told_by_their_thresholds(stored):
    """Catches: probabilities that exclude each other, labels beside their thresholds."""
    stored.adapt(DATA / "scene-labels", **QUICK)
    assert stored.task == "multi-label classification"
    tags = stored.tag(FRAME)
    assert set(tags.present) <= set(tags.probabilities) == {"low horizon", "car on the left"}
    assert all(0 <= probability <= 1 for probability in tags.probabilities.values())
    stored.rollback()
    with pytest.raises(fieldfit.ModelError, match="infer"):
        stored.tag(FRAME)


def test_pixels_have_classes(tmp_path):
    """Catches: rows and columns that change places, classes of another frame's size, an array that is not the caller's own."""
    network, labels = DATA / "networks" / "segmentation.pt2", DATA / "scenes" / "labels.txt"
    model = fieldfit.import_model(network, tmp_path / "roads", labels=labels)
    runtime = fieldfit.Runtime(model, threads=1)
    assert runtime.task == "segmentation"
    segmentation = runtime.segment(FRAME)
    assert segmentation.classes.shape == (24, 32) and segmentation.classes.dtype == np.uint16
    assert segmentation.labels == tuple(labels.read_text().split("\n")[:5])
    assert abs(sum(segmentation.shares.values()) - 1) < 1e-9
    large = segmentation.resized(48, 64).classes
    assert np.array_equal(large[::2, ::2], segmentation.classes) and np.array_equal(large[1::2, 1::2], segmentation.classes)
    segmentation.classes[:] = 9
    assert segmentation.classes.max() < 5
    with pytest.raises(ValueError):
        segmentation.resized(0, 3)
    with pytest.raises(fieldfit.ModelError, match="segment"):
        runtime.infer(FRAME)
