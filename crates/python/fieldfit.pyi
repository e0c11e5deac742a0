"""Embedded inference and adaptation runtime for vision models on robots.

    import cv2, fieldfit

    runtime = fieldfit.Runtime("models/efficientnet-lite0", store="field-store")
    camera = cv2.VideoCapture(0)
    while True:
        ok, frame = camera.read()               # (height, width, 3), uint8, BGR: read where it lies
        print(runtime.infer(frame))             # "owl 91 %"

A frame is one of

- a NumPy array of uint8 and shape (height, width, 3), **BGR unless `format` says otherwise**, as OpenCV reads images, or
  (height, width), grey; other formats by `format`. Rows may be strided, as those of a part of a larger array; the pixels of a
  row lie side by side. Nobody may write to the array while it is computed;
- a tensor with `__dlpack__` in the memory of the CPU, as such an array;
- `bytes` of a JPEG, PNG, WebP, BMP, TIFF or GIF file, or the path of one.

`crop` is (left, top, width, height) in pixels of an array; it copies nothing.

Calls that compute run without the interpreter's lock. Every error is a `FieldfitError`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__version__: str
__all__ = [
    "AdaptError",
    "Adaptation",
    "Adapted",
    "Collector",
    "Dataset",
    "DatasetError",
    "DeltaError",
    "DeviceError",
    "Drift",
    "Estimate",
    "FieldfitError",
    "FrameError",
    "Gate",
    "ModelError",
    "Novelty",
    "Prediction",
    "Ranked",
    "Runtime",
    "Segmentation",
    "Stopped",
    "StoreError",
    "Tags",
    "Version",
    "VersionError",
    "__version__",
    "import_model",
]

class _DLPack(Protocol):
    def __dlpack__(self) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, int]: ...

_Path: TypeAlias = str | os.PathLike[str]
_Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | _DLPack
_Frame: TypeAlias = _Pixels | bytes | _Path
_Format: TypeAlias = Literal["bgr", "rgb", "bgra", "rgba", "gray", "gray16", "yuyv", "uyvy", "nv12"]
_Rect: TypeAlias = tuple[int, int, int, int]
_Labelled: TypeAlias = tuple[_Frame, str] | tuple[_Frame, str, str | None]
_Images: TypeAlias = _Path | Dataset | Iterable[_Labelled]
_Event: TypeAlias = dict[str, Any]

def import_model(
    weights: _Path, out: _Path, *, labels: _Path | None = None, architecture: str | None = None
) -> os.PathLike[str]:
    """Makes the model folder `out` of a checkpoint or network file, and returns its path.

    `weights` is a `.pth`, `.safetensors`, `.pt2` or `.onnx` file, or a folder of Hugging Face; nothing in a pickle is executed.
    `labels` is a file of one class a line, `architecture` a name where it cannot be told from the weights.
    """

@final
class Runtime:
    """Base model and the adaptation that runs on it, shared by any number of threads.

    Each frame is answered by one whole version, also while another thread adapts and swaps the result in.
    """

    def __new__(
        cls,
        model: _Path,
        *,
        store: _Path | None = None,
        create: bool = True,
        delta: _Path | None = None,
        key: _Path | None = None,
        threads: int | None = None,
        trials: bool = True,
        copy_base: bool = False,
        base_answers: bool = False,
        novelty: bool = False,
        memory_budget: int | None = None,
        precision: Literal["f32", "int8"] = "f32",
    ) -> Runtime:
        """Maps and verifies the base in the folder `model`, and prepares the version that runs first.

        `store` holds adaptations, and is created if it is missing and `create` is true. `delta` is a delta file that runs until the
        first swap. `key` signs the adaptations that are made here. `threads` are those of a frame, all cores by default. Without
        `trials`, neither starts nor predictions of a version on trial count. `copy_base` reads the weights instead of mapping them.
        `base_answers` and `novelty` fill `Prediction.base` and `Prediction.novelty`. `memory_budget` is in bytes, for a version
        that runs. `precision` is that of inference: int8 takes the scales of activations from what an adaptation for int8 recorded, else
        from `fieldfit calibrate`.
        """

    def infer(self, frame: _Frame, *, format: _Format | None = None, crop: _Rect | None = None) -> Prediction:
        """Classifies a frame."""

    def infer_many(self, frames: Iterable[_Frame], *, format: _Format | None = None) -> list[Prediction]:
        """Classifies frames with one version, in a few passes: the bits of `infer`."""

    def segment(self, frame: _Frame, *, format: _Format | None = None, crop: _Rect | None = None) -> Segmentation:
        """Names the class of each pixel of a frame, by a version that does segmentation."""

    def estimate(self, frame: _Frame, *, format: _Format | None = None, crop: _Rect | None = None) -> Estimate:
        """Estimates the values of a frame's targets, by a version that does regression."""

    def tag(self, frame: _Frame, *, format: _Format | None = None, crop: _Rect | None = None) -> Tags:
        """Tells which labels a frame has, by a version that does multi-label classification."""

    def scores(
        self,
        frame: _Frame,
        *,
        format: _Format | None = None,
        crop: _Rect | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Returns the probability of every class, (classes,), in the order of `labels`. Writes to `out` if it is given."""

    def embed(
        self,
        frame: _Frame,
        *,
        format: _Format | None = None,
        crop: _Rect | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Returns the features of a frame, (embedding_len,), which the head reads. Writes to `out` if it is given."""

    def adapt(
        self,
        data: _Images,
        *,
        resume: bool = False,
        on_event: Callable[[_Event], object] | None = None,
        method: str = ...,
        settings: Mapping[str, float] = ...,
        epochs: int = ...,
        size: int | None = ...,
        batch: int = ...,
        optimiser: Literal["adamw", "sgd"] = ...,
        learning_rate: float = ...,
        warm_up: int = ...,
        clip: float | None = ...,
        augmentation: Literal["none", "basic", "robust"] = ...,
        seed: int = ...,
        fractions: tuple[float, float] = ...,
        exclude: Sequence[str] = ...,
        radii_per: Literal["tensor", "stage", "network"] = ...,
        retain: _Path | None = ...,
        freeze: str | None = ...,
        views: int = ...,
        codec: Literal["auto", "sign", "ternary", "int4", "int8", "sparse", "f16", "f32"] = ...,
        micro_batch: int | None = ...,
        nice: int = ...,
        memory_budget: int | None = ...,
        class_weights: Literal["uniform", "balanced"] = ...,
        early_stop: int | None = ...,
        flip_negates: Sequence[str] | None = ...,
        branches: int = ...,
        common_epochs: int = ...,
        branch_average: Literal["mean", "stock"] = ...,
        head: Literal["replace", "keep"] = ...,
        novelty: float | None = ...,
        start: Literal["base", "active"] = ...,
    ) -> Adapted:
        """Adapts the base to labelled images, stores the delta with the gate's verdict, and runs it if it was accepted.

        `data` is a folder of classes, a `Dataset`, or what a `Dataset` is made of. `on_event` is called on this thread with each
        event, as `fieldfit adapt --json` prints it. Ctrl-C, and an exception of `on_event`, stop the run, which leaves a
        checkpoint: `resume=True` goes on from it. Options have the names and defaults of the command's flags; `fractions`
        are those of the validation and the gate slice.
        """

    def adapt_async(
        self,
        data: _Images,
        *,
        resume: bool = False,
        method: str = ...,
        settings: Mapping[str, float] = ...,
        epochs: int = ...,
        size: int | None = ...,
        batch: int = ...,
        optimiser: Literal["adamw", "sgd"] = ...,
        learning_rate: float = ...,
        warm_up: int = ...,
        clip: float | None = ...,
        augmentation: Literal["none", "basic", "robust"] = ...,
        seed: int = ...,
        fractions: tuple[float, float] = ...,
        exclude: Sequence[str] = ...,
        radii_per: Literal["tensor", "stage", "network"] = ...,
        retain: _Path | None = ...,
        freeze: str | None = ...,
        views: int = ...,
        codec: Literal["auto", "sign", "ternary", "int4", "int8", "sparse", "f16", "f32"] = ...,
        micro_batch: int | None = ...,
        nice: int = ...,
        memory_budget: int | None = ...,
        class_weights: Literal["uniform", "balanced"] = ...,
        early_stop: int | None = ...,
        flip_negates: Sequence[str] | None = ...,
        branches: int = ...,
        common_epochs: int = ...,
        branch_average: Literal["mean", "stock"] = ...,
        head: Literal["replace", "keep"] = ...,
        novelty: float | None = ...,
        start: Literal["base", "active"] = ...,
    ) -> Adaptation:
        """Starts `adapt` on a thread of its own."""

    def teach(
        self,
        label: str,
        frames: Iterable[_Frame],
        *,
        known: _Images | None = None,
        format: _Format | None = None,
    ) -> Adapted:
        """Adds a class by the mean of its frames' features, without training. `known` are images of the classes that are there."""

    def remove_taught(self, label: str) -> Adapted:
        """Removes a class that was taught."""

    def activate(self, version: int) -> None:
        """Runs that version of the store, on trial unless it was confirmed before."""

    def confirm(self) -> None:
        """Confirms the running version, if it is on trial."""

    def rollback(self) -> Version:
        """Runs the version that was active before, at last the base, and returns it."""

    def poll(self) -> Version | None:
        """Runs the store's active version if it has changed, by this process or another. Returns it, or None if nothing has changed."""

    def add(self, delta: _Path) -> int:
        """Adds a delta file to the store, as a candidate, and returns its number."""

    def agrees_with_base(self, frame: _Frame, *, format: _Format | None = None, crop: _Rect | None = None) -> bool:
        """Returns whether the running version's backbone gives a frame the base's class; `drift` counts it. Computes two networks."""

    def take_events(self) -> list[_Event]:
        """Returns and removes the runtime's events since the last call, at most 256: swaps, fallbacks, confirmations."""

    def close(self) -> None:
        """Frees the runtime once running calls have ended. Later calls raise."""

    def __enter__(self) -> Runtime: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    @property
    def version(self) -> Version:
        """Version that runs."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names of the running version, in the order of its scores."""

    @property
    def task(self) -> str:
        """What the running version answers: classification, segmentation, regression or multi-label classification."""

    @property
    def running_precision(self) -> Literal["f32", "int8"]:
        """Precision that the running version is inferred in: f32 for a base that was never calibrated, where a store's versions run in
        int8.
        """

    @property
    def embedding_len(self) -> int:
        """Number of values of an embedding, the same for every version."""

    @property
    def drift(self) -> Drift:
        """Drift figures of the running version."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """Operations on the store, the latest last, as `fieldfit store log --json` prints them."""

@final
class Segmentation:
    """Segmentation of one frame: a class for each pixel, and the version that answered."""

    @property
    def classes(self) -> NDArray[np.uint16]:
        """Class of each pixel of the network's output, (height, width): an index into `labels`. A new array."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the classes."""

    @property
    def shares(self) -> dict[str, float]:
        """Share of pixels of each class, 0..1, by its name."""

    @property
    def version(self) -> Version:
        """Version that answered."""

    def resized(self, height: int, width: int) -> Segmentation:
        """The segmentation at another size, such as the frame's: each pixel has the class of the nearest one."""

@final
class Estimate:
    """Values of one frame's targets, and the version that answered."""

    @property
    def values(self) -> dict[str, float]:
        """Value of each target, by its name without the unit."""

    @property
    def units(self) -> dict[str, str | None]:
        """Unit of each target, by its name; None without one."""

    @property
    def version(self) -> Version:
        """Version that answered."""

@final
class Tags:
    """Labels of one frame, each with its probability, and the version that answered."""

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each label, 0..1, by its name. They do not add up to 1."""

    @property
    def present(self) -> tuple[str, ...]:
        """Labels that are predicted, by each label's threshold."""

    @property
    def version(self) -> Version:
        """Version that answered."""

@final
class Prediction:
    """Prediction for one frame: the top classes by descending probability, and the version that answered."""

    @property
    def label(self) -> str:
        """Name of the top class."""

    @property
    def index(self) -> int:
        """Index of the top class in the labels."""

    @property
    def probability(self) -> float:
        """Probability of the top class, 0..1."""

    @property
    def version(self) -> Version:
        """Version that answered."""

    @property
    def top(self) -> tuple[Ranked, ...]:
        """Up to 16 classes by descending probability."""

    @property
    def base(self) -> tuple[Ranked, ...] | None:
        """The base's own classes; None unless the runtime was opened with `base_answers=True`."""

    @property
    def novelty(self) -> Novelty | None:
        """Novelty; None unless the runtime was opened with `novelty=True` and the version has a threshold."""

@final
class Ranked:
    """Ranked class of a prediction."""

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def index(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def probability(self) -> float: ...

@final
class Novelty:
    """Distance of a frame's features from all that the version was trained on."""

    @property
    def distance(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def false_alarm_rate(self) -> float: ...
    @property
    def is_unknown(self) -> bool: ...

@final
class Version:
    """Version of the weights: the base, the base with a delta file, or a version of the store."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    @property
    def number(self) -> int | None:
        """Number in the store; None for the base and for a delta file."""

    @property
    def is_base(self) -> bool:
        """Whether it is the base without a delta."""

@final
class Drift:
    """Drift figures of the running version over its latest 256 frames, without labels."""

    @property
    def version(self) -> Version: ...
    @property
    def frames(self) -> int:
        """Answered frames that count."""

    @property
    def confidence(self) -> float | None:
        """Mean probability of the top class, 0..1."""

    @property
    def compared(self) -> int:
        """Frames that `Runtime.agrees_with_base` compared."""

    @property
    def agreement(self) -> float | None:
        """Share of them with the base's class, 0..1."""

@final
class Dataset:
    """Labelled images, of a folder or from memory."""

    def __new__(cls, images: Iterable[_Labelled], *, format: _Format | None = None) -> Dataset:
        """Copies labelled frames: pairs of a frame and its class, or triples with the frame's group.

        Frames of one group, such as those of a sequence, stay in one slice when the images are split. `format` is that of arrays.
        """

    @staticmethod
    def open(folder: _Path, *, group: str | None = None) -> Dataset:
        """Opens a folder of classes, or a collection. `group` is a regular expression on file names: what it captures is the group."""

    def replaying(self, earlier: _Images, *, budget: int | None = None, seed: int = 0) -> Dataset:
        """Adds images of earlier days, of at most `budget` bytes: class after class in turn, drawn by `seed`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: its own sorted, then those of replayed images."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the images, for people to read."""

    def __len__(self) -> int: ...

@final
class Collector:
    """Collector of labelled images: a collection on disk, and the frames before a label in memory.

    `Runtime.adapt` and `Dataset.open` read a collection in place. Any thread may call it; `observe` never waits for the disk.
    """

    def __new__(
        cls,
        collection: _Path,
        *,
        session: str | None = ...,
        rate: float = ...,
        all: bool = ...,
        buffer: float = ...,
        buffer_bytes: int = ...,
        block: float = ...,
        quality: int = ...,
        bytes: int = ...,
        per_class: int = ...,
        min_per_class: int | None = ...,
        age: float | None = ...,
        free_disk: int = ...,
        masks: Sequence[Sequence[tuple[float, float]]] = ...,
        max_side: int | None = ...,
    ) -> Collector:
        """Opens a collector that stores into a collection, which is made if there is none. Times are in seconds; `all` keeps every
        frame, whatever its exposure, sharpness and likeness to others; `masks` are polygons in shares of width and height.
        """

    def observe(
        self, frame: _Frame, *, at: float, prediction: Prediction | None = None, format: _Format | None = None
    ) -> bool:
        """Takes a frame of the camera's time `at`, in seconds, into the buffer, and tells whether it is there now."""

    def label(
        self,
        label: str,
        *,
        last: float | None = None,
        between: tuple[float, float] | None = None,
        origin: str = "operator",
        confidence: float = 1.0,
        by: str | None = None,
    ) -> dict[str, Any]:
        """Labels the buffered frames of the `last` seconds, or those `between` two times, and stores those that are worth it.

        `origin` is operator, outcome, tag, zone, track, import or teacher:MODEL, whose labels never judge. What was stored and what was
        left out is returned.
        """

    def statistics(self) -> dict[str, Any]:
        """Numbers of the collection: images of each class and origin, bytes, frames that they stand for."""

    @property
    def session(self) -> str:
        """Name of the recording."""

@final
class Adaptation:
    """A run on a thread of its own: an iterator over its events. It goes on if nobody iterates, or keeps it."""

    def __iter__(self) -> Adaptation: ...
    def __next__(self) -> _Event: ...
    def pause(self) -> None:
        """Asks the run to wait after the batch that it is at."""

    def resume(self) -> None:
        """Lets a paused run go on."""

    def stop(self) -> bool:
        """Asks the run to save a checkpoint and stop. Returns whether it will: False once its result stands."""

    @property
    def done(self) -> bool:
        """Whether the run has ended."""

    def result(self, timeout: float | None = None) -> Adapted:
        """Waits for the end, and returns the result or raises what ended the run; `TimeoutError` after `timeout` seconds."""

@final
class Adapted:
    """Result of an adaptation. It is in the store, whatever the gate decided."""

    @property
    def version(self) -> int:
        """Its number in the store."""

    @property
    def delta(self) -> os.PathLike[str]:
        """Its delta file."""

    @property
    def delta_bytes(self) -> int: ...
    @property
    def active(self) -> bool:
        """Whether the gate accepted it, so that it runs now."""

    @property
    def reason(self) -> str:
        """Reason of the verdict."""

    @property
    def gate(self) -> Gate: ...
    @property
    def seconds(self) -> float: ...
    @property
    def peak_bytes(self) -> int | None:
        """Peak resident memory of the process, where the system reports it."""

@final
class Gate:
    """Accuracies on the gate slice, 0..1, of the reference and of the new version."""

    @property
    def images(self) -> int: ...
    @property
    def before(self) -> float: ...
    @property
    def after(self) -> float: ...

class FieldfitError(Exception):
    """Any error of this package. `path` names the file it is about, or is None."""

    path: os.PathLike[str] | None

class ModelError(FieldfitError):
    """A model folder that cannot be used, or has no head to answer with."""

class FrameError(FieldfitError):
    """A frame, or a buffer for its results, that cannot be used."""

class DatasetError(FieldfitError):
    """Labelled images that cannot be used."""

class DeltaError(FieldfitError):
    """A delta or key file that cannot be used."""

class StoreError(FieldfitError):
    """A store that cannot be used, or refuses the operation."""

class VersionError(FieldfitError):
    """A version that cannot answer."""

class AdaptError(FieldfitError):
    """An adaptation that was not completed; nothing was stored."""

class Stopped(AdaptError):
    """An adaptation that was stopped on request."""

class DeviceError(FieldfitError):
    """A computation that failed, or an unavailable device."""
