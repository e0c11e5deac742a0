"""Fixtures: the shipped base, images of it, and frames."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import fieldfit

TOP = Path(__file__).resolve().parents[3]
MODEL = TOP / "models" / "efficientnet-lite0"
IMAGES = TOP / "tests" / "data" / "emoji" / "google" / "train"

# Few and small steps: what is tested is the package, not what a run learns.
QUICK = {"epochs": 1, "size": 32, "batch": 16, "method": "linear-probe", "augmentation": "none"}


@pytest.fixture(scope="session")
def runtime():
    return fieldfit.Runtime(MODEL, threads=1)


@pytest.fixture
def stored(tmp_path):
    return fieldfit.Runtime(MODEL, store=tmp_path / "store", threads=1)


@pytest.fixture(scope="session")
def image():
    """Path of an image."""
    return next(IMAGES.glob("*/*.png"))


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of two classes of a few images each."""
    folder = tmp_path_factory.mktemp("images")
    for source in sorted(path for path in IMAGES.iterdir() if path.is_dir())[:2]:
        (folder / source.name).mkdir()
        for number, path in enumerate(sorted(source.glob("*.png"))[:24]):
            shutil.copy(path, folder / source.name / f"{number}.png")
    return folder


@pytest.fixture
def frame():
    """A frame of a camera, (480, 640, 3), BGR."""
    return np.random.default_rng(7).integers(0, 256, (480, 640, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def command():
    """Path of the command that the package is compared with."""
    path = os.environ.get("FIELDFIT_COMMAND")
    if path is None:
        pytest.skip("FIELDFIT_COMMAND names no command")
    return path
