"""Adaptations: events, control, signals, results, versions and datasets."""

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import MODEL, QUICK

import fieldfit

# Far more steps than a test waits for.
ENDLESS = {**QUICK, "method": "lp-ft", "epochs": 10_000}


def test_an_adaptation_ends_in_a_version(stored, images):
    """Catches: events that are lost or of another shape than the command's, a version that does not run, or cannot be taken back."""
    events = []
    adapted = stored.adapt(images, on_event=events.append, **QUICK)
    kinds = [event["event"] for event in events]
    assert kinds[-1] == "done" and {"plan", "probe", "gate"} <= set(kinds)
    assert events[-1]["version"] == adapted.version == 1
    assert adapted.gate.images == next(event for event in events if event["event"] == "gate")["images"]
    assert adapted.active == (stored.version.number == 1)
    assert [entry["change"] for entry in stored.history][0] == "added"
    if adapted.active:
        assert stored.labels == tuple(sorted(path.name for path in images.iterdir()))
        assert [event["notice"] for event in stored.take_events()] == ["swapped"]
        assert stored.take_events() == []
        stored.confirm()
        assert stored.rollback().is_base
        stored.activate(1)
        assert stored.version.number == 1 and stored.version == stored.version and hash(stored.version)
        assert stored.poll() is None


def test_an_adaptation_beside_frames(stored, images, frame):
    """Catches: frames that wait for a run, a pause that does not hold, a stop that is not heard, or an error without its type."""
    adaptation = stored.adapt_async(images, **ENDLESS)
    first = next(adaptation)
    assert first["event"] == "plan"
    for event in adaptation:
        assert stored.infer(frame).version.is_base
        if event["event"] == "step":
            adaptation.pause()
        if event["event"] == "paused":
            break
    assert not adaptation.done
    with pytest.raises(TimeoutError):
        adaptation.result(timeout=0.2)
    adaptation.resume()
    assert any(event["event"] == "step" for event in adaptation)
    assert adaptation.stop()
    with pytest.raises(fieldfit.Stopped):
        adaptation.result()
    assert adaptation.done
    assert stored.version.is_base


def test_a_result_that_nobody_watched(stored, images):
    """Catches: a run that waits for somebody to take its events."""
    assert stored.adapt_async(images, **QUICK).result().version == 1


def test_ctrl_c_stops_an_adaptation(images, tmp_path):
    """Catches: a run that swallows a signal, or goes on after it; a checkpoint that is not kept."""
    program = textwrap.dedent(
        """
        import sys, fieldfit
        model, store, images = sys.argv[1:]
        runtime = fieldfit.Runtime(model, store=store, threads=1)
        def hear(event):
            if event["event"] == "checkpoint":
                print("checkpoint", flush=True)
        try:
            runtime.adapt(images, on_event=hear, method="lp-ft", epochs=10_000, size=32, batch=16, augmentation="none")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    arguments = [sys.executable, "-c", program, MODEL, tmp_path / "store", images]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "checkpoint\n"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert rest.splitlines()[-1] == "interrupted"
        assert process.wait() == 0
    assert list((tmp_path / "store").rglob("adapt.checkpoint*"))


def test_an_exception_of_the_listener_stops_the_run(stored, images):
    """Catches: an exception that is lost, or a run that goes on without its listener."""

    def refuse(event):
        raise ZeroDivisionError(event["event"])

    with pytest.raises(ZeroDivisionError, match="plan"):
        stored.adapt(images, on_event=refuse, **ENDLESS)
    # The store is free again.
    assert stored.adapt(images, **QUICK).version == 1


def test_options_are_checked(stored, images):
    """Catches: an option that is ignored or clamped in silence."""
    with pytest.raises(TypeError, match="epoch"):
        stored.adapt(images, epoch=3)
    with pytest.raises(ValueError, match="robust"):
        stored.adapt(images, augmentation="strong")
    with pytest.raises(ValueError, match="freeze"):
        stored.adapt(images, views=2)
    with pytest.raises((TypeError, OverflowError)):
        stored.adapt(images, epochs=-1)
    with pytest.raises(fieldfit.AdaptError, match="strength"):
        stored.adapt(images, method="l2-sp", settings={"strengh": 0.1})
    with pytest.raises(fieldfit.AdaptError, match="no-such-method"):
        stored.adapt(images, method="no-such-method")


def test_images_from_memory(stored, images):
    """Catches: frames that train otherwise than their files, a class or group that is lost, an error without the sample's number."""
    labelled = [(path.read_bytes(), path.parent.name, None) for path in sorted(images.glob("*/*.png"))]
    dataset = fieldfit.Dataset(labelled)
    assert len(dataset) == len(labelled) == len(fieldfit.Dataset.open(images))
    assert dataset.classes == fieldfit.Dataset.open(images).classes
    from_memory = stored.adapt(dataset, **QUICK)
    from_folder = stored.adapt(images, **QUICK)
    assert (from_memory.gate.images, from_memory.gate.after) == (from_folder.gate.images, from_folder.gate.after)
    with pytest.raises(fieldfit.DatasetError, match="sample 1"):
        fieldfit.Dataset([labelled[0], (b"no image", "bird")])
    with pytest.raises(fieldfit.DatasetError, match="sample 0"):
        fieldfit.Dataset([labelled[0][0]])
    with pytest.raises(fieldfit.DatasetError, match="no images"):
        fieldfit.Dataset([])
    with pytest.raises(fieldfit.DatasetError):
        fieldfit.Dataset.open(images / "no-such-folder")


def test_a_day_goes_on_from_the_version_before(stored, images):
    """Catches: a day that forgets the classes of the one before, or images of it that are not replayed."""
    stored.adapt(images, **QUICK)
    earlier = stored.labels
    today = [(path.read_bytes(), "today", None) for path in sorted(images.glob(f"{earlier[0]}/*.png"))]
    dataset = fieldfit.Dataset(today).replaying(images, budget=100_000)
    assert dataset.classes == ("today", *earlier) and len(dataset) > len(today)
    plans = []
    stored.adapt(dataset, start="active", on_event=plans.append, **QUICK)
    assert plans[0]["classes"] == [*earlier, "today"]
    with pytest.raises(fieldfit.DatasetError, match="hold no image"):
        dataset.replaying(images, budget=1)
    with pytest.raises(ValueError, match="base, active"):
        stored.adapt(dataset, start="yesterday", **QUICK)


def test_a_collection_is_learned_from(stored, images, tmp_path):
    """Catches: frames under another class, times that are none, a collection that an adaptation does not read in place."""
    field = tmp_path / "field"
    collector = fieldfit.Collector(field, rate=1000, all=True, block=1, session="drive")
    assert collector.session == "drive"
    paths = sorted(images.glob("*/*.png"))
    for at, path in enumerate(paths):
        frame = path.read_bytes()
        assert collector.observe(frame, at=at, prediction=stored.infer(frame))
        kept = collector.label(path.parent.name, between=(at, at), origin="tag", by="test")
        assert len(kept["images"]) == 1 and kept["evicted"] == 0
    statistics = collector.statistics()
    assert statistics["images"] == len(fieldfit.Dataset.open(field)) == len(paths)
    assert set(statistics["classes"]) == set(fieldfit.Dataset.open(field).classes)
    assert stored.adapt(field, **QUICK).gate.images > 0
    for wrong in [{"last": -1.0}, {"last": 1.0, "between": (0, 1)}, {}, {"last": 1.0, "origin": "boss"}]:
        with pytest.raises(ValueError):
            collector.label("mud", **wrong)
    with pytest.raises(ValueError, match="rates"):
        fieldfit.Collector(field, rates=3)


def test_frames_of_a_camera_are_data(stored):
    """Catches: a format that is not applied to the frames of a data set, or a generator that is not read."""
    random = np.random.default_rng(3)

    def labelled():
        for number in range(60):
            for shade, label in [(60, "dark"), (190, "bright")]:
                noise = random.integers(-20, 20, (48, 64, 3))
                yield (shade + noise).astype(np.uint8), label, f"{label} {number // 2}"

    adapted = stored.adapt(fieldfit.Dataset(labelled(), format="rgb"), **QUICK)
    assert adapted.active and adapted.gate.after == 1.0
    assert stored.infer(np.full((48, 64, 3), 190, np.uint8)).label == "bright"


def test_a_taught_class(stored, images):
    """Catches: a class that is taught and not there, or that cannot be taken out again."""
    frames = sorted(images.glob("*/*.png"))[:6]
    adapted = stored.teach("novelty", frames)
    assert adapted.version == 1
    if adapted.active:
        assert "novelty" in stored.labels
    with pytest.raises(fieldfit.AdaptError):
        stored.teach("blank", [])


def test_a_store_that_is_not_there(runtime, images, tmp_path):
    """Catches: work without a place for its result, or a store that is made where none was asked for."""
    with pytest.raises(fieldfit.StoreError, match="no store"):
        runtime.adapt(images, **QUICK)
    with pytest.raises(fieldfit.StoreError):
        runtime.rollback()
    with pytest.raises(fieldfit.StoreError):
        fieldfit.Runtime(MODEL, store=tmp_path / "store", create=False)
    with pytest.raises(fieldfit.DeltaError):
        fieldfit.Runtime(MODEL, delta=tmp_path / "no.delta")
