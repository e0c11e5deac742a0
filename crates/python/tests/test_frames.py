"""Frames: what is taken, where it is read, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

import fieldfit


def said(prediction):
    """All that a prediction says, to the bit."""
    return [(ranked.index, ranked.label, ranked.probability) for ranked in prediction.top]


def test_predictions_are_those_of_the_command(command, runtime, image):
    """Catches: another preprocessing, precision or order than the command's."""
    from conftest import MODEL

    arguments = [command, "infer", "--json", "--top", "16", "--model", str(MODEL), str(image)]
    answer = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    expected = [(ranked["index"], ranked["label"], np.float32(ranked["score"])) for ranked in answer["top"]]
    for frame in (image, str(image), image.read_bytes()):
        found = [(index, label, np.float32(probability)) for index, label, probability in said(runtime.infer(frame))]
        assert found == expected


def test_arrays_are_bgr_by_default(runtime, frame):
    """Catches: channels in the wrong order, a format that is ignored, or alpha that is read."""
    expected = said(runtime.infer(frame))
    rgb = np.ascontiguousarray(frame[..., ::-1])
    alpha = np.zeros((480, 640, 1), np.uint8)
    assert said(runtime.infer(rgb, format="rgb")) == expected
    assert said(runtime.infer(rgb)) != expected
    assert said(runtime.infer(np.concatenate([frame, alpha], 2), format="bgra")) == expected
    assert said(runtime.infer(np.concatenate([rgb, alpha], 2), format="rgba")) == expected


def test_grey_frames(runtime, frame):
    """Catches: 16 bits read as 8, or grey of one byte order read in the other."""
    grey = frame[..., 0]
    expected = said(runtime.infer(np.repeat(grey[..., None], 3, 2)))
    assert said(runtime.infer(np.ascontiguousarray(grey))) == expected
    assert said(runtime.infer(grey.astype(np.uint16) * 257)) == expected
    with pytest.raises(fieldfit.FrameError):
        runtime.infer(grey)  # Every third byte: the pixels of a row do not lie side by side.


def test_parts_are_read_where_they_lie(runtime, frame):
    """Catches: a stride that is ignored, a crop of another place, and a copy of a large array."""
    part = frame[100:400, 50:350]
    expected = said(runtime.infer(np.ascontiguousarray(part)))
    assert not part.flags["C_CONTIGUOUS"]
    assert said(runtime.infer(part)) == expected
    assert said(runtime.infer(frame, crop=(50, 100, 300, 300))) == expected
    # 768 MiB of address space, of which a few pages are read: a copy would need them all.
    large = np.zeros((16384, 16384, 3), np.uint8)
    large[100:400, 50:350] = part
    before = resident()
    assert said(runtime.infer(large[100:400, 50:350])) == expected
    assert resident() - before < 64 << 20


def resident():
    """Resident memory of the process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_flat_arrays_have_any_stride(runtime):
    """Catches: sides of one pixel, whose strides NumPy leaves open, taken for mirrored or overlapping rows."""
    for shape in [(1, 40, 3), (40, 1, 3)]:
        flat = np.full(shape, 90, np.uint8)
        assert said(runtime.infer(flat[::-1] if shape[0] == 1 else flat[:, ::-1])) == said(runtime.infer(flat))


def test_yuv_frames(runtime):
    """Catches: planes in the wrong place, or a format that is taken for another of as many bytes."""
    y, u, v = 120, 90, 180
    nv12 = np.full((720, 640), y, np.uint8)
    nv12[480:, 0::2], nv12[480:, 1::2] = u, v
    yuyv = np.full((480, 640, 2), y, np.uint8)
    yuyv[:, 0::2, 1], yuyv[:, 1::2, 1] = u, v
    expected = said(runtime.infer(nv12, format="nv12"))
    assert said(runtime.infer(yuyv, format="yuyv")) == expected
    assert said(runtime.infer(np.ascontiguousarray(yuyv[..., ::-1]), format="uyvy")) == expected


class Tensor:
    """A tensor that is no array, as other libraries' are."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class DeviceTensor(Tensor):
    def __dlpack_device__(self):
        return (2, 0)


def test_tensors_are_read_by_dlpack(runtime, frame):
    """Catches: a tensor that is refused, or one in another device's memory that is read as if it were in the CPU's."""
    assert said(runtime.infer(Tensor(frame))) == said(runtime.infer(frame))
    with pytest.raises(fieldfit.FrameError, match="CPU"):
        runtime.infer(DeviceTensor(frame))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.astype(np.float32), "float32"),
        (lambda frame: frame.astype(np.int64), "int64"),
        (lambda frame: frame[:, ::-1], "ascontiguousarray"),
        (lambda frame: frame[::-1], "ascontiguousarray"),
        (lambda frame: frame[..., ::-1], "ascontiguousarray"),
        (lambda frame: frame.transpose(2, 0, 1), "shape"),
        (lambda frame: frame.transpose(1, 0, 2), "ascontiguousarray"),
        (lambda frame: frame[:, ::2], "ascontiguousarray"),
        (lambda frame: np.broadcast_to(frame[:1], frame.shape), "ascontiguousarray"),
        (lambda frame: np.concatenate([frame, frame], 2)[..., :4], "bgra"),
        (lambda frame: frame[..., :2], "yuyv"),
        (lambda frame: frame.ravel(), "shape"),
        (lambda frame: frame[:0], "shape"),
        (lambda frame: frame[None], "shape"),
        (lambda frame: b"no image", "not a readable"),
        (lambda frame: "there/is/no/such.png", "no/such.png"),
        (lambda frame: None, "NoneType"),
        (lambda frame: [[1, 2], [3, 4]], "list"),
    ],
)
def test_what_is_no_frame_is_refused(runtime, frame, change, words):
    """Catches: memory that is read beyond an array, pixels that are misread in silence, an error without advice."""
    with pytest.raises(fieldfit.FrameError, match=words):
        runtime.infer(change(frame))


def test_what_does_not_fit_its_format_is_refused(runtime, frame, image):
    """Catches: a format or a crop that is ignored."""
    for arguments in [
        {"format": "bgrx"},
        {"format": "gray"},
        {"format": "nv12"},
        {"format": "gray16"},
        {"crop": (600, 0, 100, 100)},
        {"crop": (0, 0, 0, 10)},
    ]:
        with pytest.raises(fieldfit.FrameError):
            runtime.infer(frame, **arguments)
    for arguments in [{"format": "bgr"}, {"crop": (0, 0, 8, 8)}]:
        with pytest.raises(fieldfit.FrameError, match="encoded"):
            runtime.infer(image, **arguments)


def test_the_error_of_a_file_names_it(runtime, tmp_path):
    """Catches: a path that is lost on the way to Python."""
    with pytest.raises(fieldfit.FrameError) as error:
        runtime.infer(tmp_path / "no.png")
    assert error.value.path == tmp_path / "no.png"


def test_frames_leave_no_references(runtime, frame):
    """Catches: an array, or its buffer, that every call keeps."""
    before = sys.getrefcount(frame)
    for _ in range(20):
        runtime.infer(frame)
        runtime.embed(frame)
        with pytest.raises(fieldfit.FrameError):
            runtime.infer(frame, crop=(0, 0, 0, 0))
    assert sys.getrefcount(frame) == before
