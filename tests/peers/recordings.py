"""Recordings as other programs write them, for the tests of `import-data`, and a check of those that `infer --record` writes.

    recordings.py write [OUT=tests/data/recordings]
    recordings.py check FILE ANSWERS IMAGE…

`write` needs PyPI mcap, mcap-protobuf-support, foxglove-schemas-protobuf, rosbags, numpy and Pillow; `check` needs mcap and compares
a recording with what `infer --json` printed (ANSWERS) of these images. mcap 1.6.0 and rosbags 0.11.9 wrote the files in the repository.
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
    else:
        sys.exit(__doc__)
