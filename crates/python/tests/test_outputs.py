"""Outputs of a pass: predictions, scores, features and batches; threads and memory beside them."""

import gc
import os
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from conftest import MODEL
from test_frames import resident, said

import fieldfit


def test_scores_and_ranks_agree(runtime, frame):
    """Catches: scores in another order than the labels, or of other bits than the ranks."""
    prediction, scores = runtime.infer(frame), runtime.scores(frame)
    assert scores.dtype == np.float32 and scores.shape == (len(runtime.labels),)
    assert abs(scores.sum() - 1) < 1e-4
    assert int(scores.argmax()) == prediction.index
    assert runtime.labels[prediction.index] == prediction.label
    for ranked in prediction.top:
        assert scores[ranked.index] == np.float32(ranked.probability)
    assert str(prediction).endswith("%") and prediction.label in str(prediction)
    assert prediction.base is None and prediction.novelty is None
    assert prediction.version == runtime.version and runtime.version.is_base and runtime.version.number is None


def test_results_go_to_the_callers_array(runtime, frame):
    """Catches: a new array for each frame, a write beyond one or to one that is read-only, and another dtype."""
    for compute, length in [(runtime.scores, len(runtime.labels)), (runtime.embed, runtime.embedding_len)]:
        out = np.full(length, np.nan, np.float32)
        assert compute(frame, out=out) is out
        assert np.array_equal(out, compute(frame))
        out.flags.writeable = False
        for wrong in [out, np.zeros(length + 1, np.float32), np.zeros(2 * length, np.float32)[::2]]:
            with pytest.raises(fieldfit.FrameError):
                compute(frame, out=wrong)
        with pytest.raises(TypeError):
            compute(frame, out=np.zeros(length))


def test_a_precision_is_asked_for_by_name(runtime, tmp_path):
    """Catches: a precision that is ignored, a base without calibration that runs in f32 silently, an unknown name."""
    assert runtime.running_precision == "f32"
    model = shutil.copytree(MODEL, tmp_path / "model", ignore=shutil.ignore_patterns("activation-ranges.json"))
    with pytest.raises(fieldfit.FieldfitError, match="fieldfit calibrate"):
        fieldfit.Runtime(model, precision="int8")
    stored = fieldfit.Runtime(model, store=tmp_path / "store", precision="int8")
    assert stored.running_precision == "f32"
    with pytest.raises(ValueError, match="f32, int8"):
        fieldfit.Runtime(model, precision="f64")


def test_a_batch_is_each_of_its_frames(runtime, frame):
    """Catches: frames of a batch in another order, or other bits than alone."""
    frames = [frame, frame[100:], frame[:, 200:500]]
    assert [said(prediction) for prediction in runtime.infer_many(frames)] == [said(runtime.infer(one)) for one in frames]
    assert runtime.infer_many([]) == []
    with pytest.raises(fieldfit.FrameError, match="frame 1 of the batch"):
        runtime.infer_many([frame, b"no image"])


def test_other_threads_run_meanwhile(runtime, frame):
    """Catches: a frame that holds the interpreter's lock."""
    steps, over = 0, threading.Event()

    def count():
        nonlocal steps
        while not over.is_set():
            steps += 1
            # Gives the lock up, which nobody takes away.
            time.sleep(1e-4)

    counter = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    # Without a switch that is asked for, the other thread runs only while this one is detached.
    sys.setswitchinterval(3600)
    try:
        counter.start()
        before = steps
        for _ in range(5):
            runtime.infer(frame)
        assert steps > before
    finally:
        sys.setswitchinterval(interval)
        over.set()
        counter.join()


def test_threads_share_a_runtime(runtime, frame):
    """Catches: buffers that two threads write at once."""
    expected, found = said(runtime.infer(frame)), []
    threads = [threading.Thread(target=lambda: found.extend(said(runtime.infer(frame)) for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and all(one == expected for one in found)


def test_frames_leak_nothing(runtime):
    """Catches: memory that each frame keeps. FIELDFIT_FRAMES sets their number."""
    frame, out = np.zeros((24, 32, 3), np.uint8), np.empty(runtime.embedding_len, np.float32)
    frames = int(os.environ.get("FIELDFIT_FRAMES", "200"))

    def run(count):
        for _ in range(count):
            runtime.infer(frame)
            runtime.embed(frame, out=out)
        gc.collect()
        return resident()

    before = run(20)
    # A kilobyte a frame would be found in the long run, the pages of an allocator are not in the short one.
    assert run(frames) - before < (8 << 20) + 100 * frames


def test_a_closed_runtime_says_so(frame):
    """Catches: a runtime that is used after it was closed."""
    from conftest import MODEL

    with fieldfit.Runtime(MODEL, threads=1) as runtime:
        runtime.infer(frame)
    with pytest.raises(fieldfit.FieldfitError, match="closed"):
        runtime.infer(frame)
    runtime.close()


def test_a_model_that_is_not_there(tmp_path):
    """Catches: an untyped error, or one without its path."""
    with pytest.raises(fieldfit.ModelError) as error:
        fieldfit.Runtime(tmp_path / "no-model")
    assert str(tmp_path) in str(error.value.path)
    with pytest.raises(TypeError):
        fieldfit.Runtime(tmp_path, thread=1)


def test_a_checkpoint_is_imported(tmp_path):
    """Catches: an import that needs the command, or whose error is untyped."""
    from conftest import MODEL

    with pytest.raises(fieldfit.ModelError, match="weights"):
        fieldfit.import_model(tmp_path / "weights.pth", tmp_path / "model")
    model = fieldfit.import_model(
        MODEL / "weights.safetensors", tmp_path / "model", labels=MODEL / "labels.txt", architecture="efficientnet-lite0"
    )
    assert fieldfit.Runtime(model, threads=1).labels == fieldfit.Runtime(MODEL, threads=1).labels
