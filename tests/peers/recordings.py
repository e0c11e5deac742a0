"""Recordings as other programs write them, for the tests of `import-data`, and checks of what Fieldfit writes for other programs.

    recordings.py write [OUT=tests/data/recordings]
    recordings.py check FILE ANSWERS IMAGE…
    recordings.py curves FOLDER EVENTS

`write` needs PyPI mcap, mcap-protobuf-support, foxglove-schemas-protobuf, rosbags, numpy and Pillow. mcap 1.6.0 and rosbags 0.11.9
wrote the files in the repository. `check` needs mcap, and compares a recording of `infer --record` with what `infer --json` printed
(ANSWERS) of these images. `curves` needs tensorboard, and compares the folder of `adapt --tensorboard` with what `adapt --json`
printed (EVENTS).
"""

import base64
import io
import json
import shutil
import sys
from pathlib import Path

SECOND = 1_000_000_000
START = 1_700_000_004 * SECOND
FRAMES = 8
# Seconds after the start, and the label from then on.
LABELS = [(1, "mud"), (7, "grass"), (11, "")]


def frame_time(frame: int) -> int:
    return START + 2 * frame * SECOND


def jpeg(frame: int) -> bytes:
    from PIL import Image

    image = Image.new("RGB", (16, 12))
    image.putdata([(x * 16, y * 20, frame * 30) for y in range(12) for x in range(16)])
    content = io.BytesIO()
    image.save(content, "JPEG", quality=70)
    return content.getvalue()


def ros():
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def header(types, time: int):
    stamp = types.types["builtin_interfaces/msg/Time"](sec=time // SECOND, nanosec=time % SECOND)
    return types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")


def compressed(types, frame: int):
    import numpy

    data = numpy.frombuffer(jpeg(frame), dtype=numpy.uint8)
    return types.types["sensor_msgs/msg/CompressedImage"](header=header(types, frame_time(frame)), format="jpeg", data=data)


def drive(types):
    """Messages of a drive in the order of time: topic, type, time, message."""
    image, text = "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
    messages = [("/camera/compressed", image, frame_time(frame), compressed(types, frame)) for frame in range(FRAMES)]
    messages += [("/label", text, START + time * SECOND, types.types[text](data=label)) for time, label in LABELS]
    speed = types.types["std_msgs/msg/Float64"]
    messages += [("/speed", "std_msgs/msg/Float64", START + second * SECOND, speed(data=0.5)) for second in range(-1, 16)]
    return sorted(messages, key=lambda message: message[2])


def write_ros(path: Path, types, messages, little_endian: bool = True, **options) -> None:
    """Writes ROS 2 messages with PyPI mcap."""
    from mcap.writer import Writer

    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile="ros2", library="recordings.py")
        channels = {}
        for topic, name, time, message in messages:
            if topic not in channels:
                definition = types.generate_msgdef(name)[0].encode()
                schema = writer.register_schema(name, "ros2msg", definition)
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            data = bytes(types.serialize_cdr(message, name, little_endian=little_endian))
            writer.add_message(channels[topic], time, data, time)
        writer.finish()


def raw_messages(types):
    """An image of 5 × 3 pixels in each format, with padded rows; and one of 16 bits on a topic of its own."""
    import numpy

    name = "sensor_msgs/msg/Image"
    colours = [[(x * 40, y * 60, 7 * x + y) for x in range(5)] for y in range(3)]
    pixels = {
        "rgb8": lambda r, g, b: (r, g, b),
        "bgr8": lambda r, g, b: (b, g, r),
        "rgba8": lambda r, g, b: (r, g, b, 9),
        "bgra8": lambda r, g, b: (b, g, r, 9),
        "mono8": lambda r, g, b: (r,),
    }

    def image(topic: str, encoding: str, width: int, rows: list[bytes], second: int):
        data = numpy.frombuffer(b"".join(rows), dtype=numpy.uint8)
        time = START + second * SECOND
        message = types.types[name](header=header(types, time), height=len(rows), width=width, encoding=encoding,
                                    is_bigendian=0, step=len(rows[0]), data=data)
        return topic, name, time, message

    text = "std_msgs/msg/String"
    yield "/label", text, START, types.types[text](data="mud")
    for second, (encoding, of) in enumerate(pixels.items()):
        rows = [b"".join(bytes(of(*colour)) for colour in row) + b"\xee\xee" for row in colours]
        yield image("/raw", encoding, 5, rows, second)
    yield image("/depth", "mono16", 2, [b"\0\1\2\3"], 9)


def write_foxglove(path: Path) -> None:
    """Images and labels in JSON and protobuf, with lz4."""
    from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
    from mcap.writer import CompressionType, Writer
    from mcap_protobuf.schema import build_file_descriptor_set

    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.LZ4)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b'{"type":"object"}')
        as_json = writer.register_channel("/camera/json", "json", schema)
        definition = build_file_descriptor_set(CompressedImage).SerializeToString()
        schema = writer.register_schema("foxglove.CompressedImage", "protobuf", definition)
        as_protobuf = writer.register_channel("/camera/protobuf", "protobuf", schema)
        mode = writer.register_channel("/mode", "json", 0)
        for time, label in LABELS:
            writer.add_message(mode, START + time * SECOND, json.dumps({"source": "tablet", "label": label}).encode(), 0)
        for frame in range(FRAMES):
            time = frame_time(frame)
            message = CompressedImage(frame_id="camera", data=jpeg(frame), format="jpeg")
            message.timestamp.seconds, message.timestamp.nanos = divmod(time, SECOND)
            fields = {"timestamp": {"sec": time // SECOND, "nsec": time % SECOND}, "frame_id": "camera", "format": "jpeg",
                      "data": base64.b64encode(jpeg(frame)).decode()}
            writer.add_message(as_json, time, json.dumps(fields).encode(), time)
            writer.add_message(as_protobuf, time, message.SerializeToString(), time)
        writer.finish()


def write_bag(path: Path, types, messages, storage: str) -> None:
    """A bag folder, by rosbags."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(path, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        connections = {}
        for topic, name, time, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=types)
            writer.write(connections[topic], time, types.serialize_cdr(message, name))


def check(file: Path, answers: Path, images: list[Path]) -> None:
    """Compares a recording with the answers that were printed and the images that were answered, in their order."""
    from mcap.reader import make_reader

    printed = [json.loads(line) for line in answers.read_text().splitlines()]
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        messages = list(reader.iter_messages())
    assert summary.statistics.message_count == len(messages) == 3 * len(images), len(messages)
    of = {topic: [(channel, schema, message) for schema, channel, message in messages if channel.topic == topic]
          for topic in ("/camera", "/fieldfit/annotations", "/fieldfit/answer")}
    for schema_name, topic in [("foxglove.CompressedImage", "/camera"), ("foxglove.ImageAnnotations", "/fieldfit/annotations")]:
        for channel, schema, _message in of[topic]:
            assert (schema.name, schema.encoding, channel.message_encoding) == (schema_name, "jsonschema", "json")
            json.loads(schema.data)
    recorded = [json.loads(message.data) for _, _, message in of["/camera"]]
    assert [base64.b64decode(image["data"]) for image in recorded] == [path.read_bytes() for path in images]
    assert [json.loads(message.data) for _, _, message in of["/fieldfit/answer"]] == printed
    for answer, (_, _, message) in zip(printed, of["/fieldfit/annotations"], strict=True):
        texts = [text["text"] for text in json.loads(message.data)["texts"]]
        assert texts[0].endswith(answer["top"][0]["label"]), texts
    times = [message.log_time for _, _, message in of["/camera"]]
    assert times == sorted(set(times)), times
    for image, time in zip(recorded, times, strict=True):
        assert image["timestamp"]["sec"] * SECOND + image["timestamp"]["nsec"] == time
    print(f"{file}: {len(images)} images, {len(messages)} messages")


def curves(folder: Path, events: Path) -> None:
    """Compares what TensorBoard reads of a folder with the events that `adapt --json` printed."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    printed = [json.loads(line) for line in events.read_text().splitlines()]
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()

    def compare(tag: str, event: str, field: str) -> None:
        expected = [line[field] for line in printed if line.get("event") == event]
        found = accumulator.Scalars(tag)
        assert len(found) == len(expected) > 0, (tag, len(found), len(expected))
        for scalar, value in zip(found, expected, strict=True):
            assert abs(scalar.value - value) <= 1e-6 * max(1, abs(value)), (tag, scalar, value)
        if event == "step":
            assert [scalar.step for scalar in found] == [line["step"] for line in printed if line.get("event") == "step"]

    compare("train/loss", "step", "loss")
    compare("train/learning_rate", "step", "learning_rate")
    compare("validation/accuracy", "epoch", "accuracy")
    if any(line.get("event") == "radii" for line in printed):
        compare("radii/mean_ratio", "radii", "mean_ratio")
    print(f"{folder}: {', '.join(accumulator.Tags()['scalars'])}")


def write(out: Path) -> None:
    from mcap.writer import CompressionType

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    types = ros()
    for frame in range(FRAMES):
        (out / f"frame-{frame}.jpg").write_bytes(jpeg(frame))
    messages = drive(types)
    write_ros(out / "zstd.mcap", types, messages, compression=CompressionType.ZSTD, chunk_size=2000)
    write_ros(out / "lz4.mcap", types, messages, compression=CompressionType.LZ4, chunk_size=2000)
    write_ros(out / "none.mcap", types, messages, compression=CompressionType.NONE, chunk_size=2000)
    write_ros(out / "without-chunks.mcap", types, messages, use_chunking=False)
    write_ros(out / "big-endian.mcap", types, messages, little_endian=False)
    write_ros(out / "raw.mcap", types, raw_messages(types))
    whole = (out / "zstd.mcap").read_bytes()
    (out / "cut-off.mcap").write_bytes(whole[: len(whole) * 2 // 5])
    write_foxglove(out / "foxglove.mcap")
    write_bag(out / "bag", types, messages, "MCAP")
    write_bag(out / "bag-sqlite", types, messages[:1], "SQLITE3")
    # Its description is what the refusal goes by.
    (out / "bag-sqlite/bag-sqlite.db3").unlink()


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parents[2] / "tests/data/recordings")
    elif sys.argv[1:2] == ["check"]:
        check(Path(sys.argv[2]), Path(sys.argv[3]), [Path(image) for image in sys.argv[4:]])
    elif sys.argv[1:2] == ["curves"]:
        curves(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(__doc__)
