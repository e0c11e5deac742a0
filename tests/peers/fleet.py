"""The fleet's command against real peers: a folder, moto as S3, eclipse-zenoh as router with a storage and as peers.

    fleet.py BUILD FOLDER          BUILD has `fieldfit-fleet` and `examples/fleet_fixture`; FOLDER is new
    fleet.py router PORT FOLDER [HOST:PORT …]

The second form is what the first one starts as a router: it keeps what is put under `fleet/` in files of FOLDER.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROBOTS = 6


# A router with a storage.


def router(port: int, folder: Path, others: list[str]) -> None:
    """Routes, and stores what is put: whole files alone, since a message is whole or not there."""
    import zenoh

    config = zenoh.Config()
    config.insert_json5("mode", '"router"')
    config.insert_json5("listen/endpoints", json.dumps([f"tcp/0.0.0.0:{port}"]))
    config.insert_json5("connect/endpoints", json.dumps([f"tcp/{other}" for other in others]))
    config.insert_json5("connect/timeout_ms", "0")
    config.insert_json5("scouting/multicast/enabled", "false")
    folder.mkdir(parents=True, exist_ok=True)

    def stored(sample: zenoh.Sample) -> None:
        path = folder / str(sample.key_expr).replace("/", "%")
        beside = folder / f".{path.name}.tmp"
        beside.write_bytes(sample.payload.to_bytes())
        beside.rename(path)

    def asked(query: zenoh.Query) -> None:
        for path in sorted(folder.glob("fleet*")):
            key = zenoh.KeyExpr(path.name.replace("%", "/"))
            if query.key_expr.intersects(key):
                query.reply(key, path.read_bytes())

    with zenoh.open(config) as session:
        session.declare_subscriber("fleet/**", stored)
        session.declare_queryable("fleet/**", asked, complete=False)
        print("ready", flush=True)
        threading.Event().wait()


class Router:
    """A router in a process of its own, which can be killed."""

    def __init__(self, port: int, folder: Path, others: list[str] = [], namespace: str | None = None):
        self.port, self.folder, self.others, self.namespace = port, folder, others, namespace
        self.process: subprocess.Popen | None = None

    def start(self) -> "Router":
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        command = [*inside, sys.executable, __file__, "router", str(self.port), str(self.folder), *self.others]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", "the router does not start"
        return self

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Cutter(threading.Thread):
    """A TCP proxy to a port of this machine that kills what is behind it after so many bytes of its clients."""

    def __init__(self, to: int, after: int, kill):
        super().__init__(daemon=True)
        self.to, self.left, self.kill = to, after, kill
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_cut = False

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(1024):
                if counts:
                    part = data[: self.left]
                    self.left -= len(part)
                    sink.sendall(part)
                    if self.left == 0 and not self.is_cut:
                        self.is_cut = True
                        self.kill()
                        self.listener.close()
                        return
                else:
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()


# The command.


class Fleet:
    """The robots of a scenario, with stores of their own, and one carrier."""

    def __init__(self, build: Path, origin: Path, folder: Path):
        self.command, self.folder = build / "fieldfit-fleet", folder
        shutil.copytree(origin, folder)

    def run(self, *words: str, robot: int, carrier: str, environment: dict = {}, namespace: str | None = None, fails=False):
        store = str(self.folder / f"robot-{robot}" / "store")
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        command = [*inside, str(self.command), "--json", words[0], store, "--carrier", carrier, "--robot", f"robot-{robot}", *words[1:]]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
        if fails:
            assert ran.returncode == 1, f"{command} should fail: {ran.stdout}{ran.stderr}"
            return ran.stderr
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        return json.loads(ran.stdout)

    def key(self, robot: int) -> str:
        return str(self.folder / f"robot-{robot}" / "key.pem")

    def publish(self, robot: int, carrier: str, **options):
        return self.run("publish", "--key", self.key(robot), robot=robot, carrier=carrier, **options)

    def sync(self, robot: int, carrier: str, **options):
        gate = ["--model", str(self.folder / "model"), "--gate", str(self.folder / "images"), "--threads", "1"]
        return self.run("sync", *gate, robot=robot, carrier=carrier, **options)

    def recall(self, robot: int, delta: str, carrier: str, **options):
        return self.run("recall", delta, "--key", self.key(robot), "--reason", "a test", robot=robot, carrier=carrier, **options)


    def go_around(self, carrier: str, **options) -> None:
        """What every engine must do: publish, receive, judge, recall, and a robot that joins late."""
        first = self.publish(1, carrier, **options)
        assert first["sent"], first
        again = self.publish(1, carrier, **options)
        assert not again["sent"] and again["delta"] == first["delta"], again
        report = self.sync(2, carrier, **options)
        assert [received["delta"] for received in report["received"]] == [first["delta"]], report
        assert report["judged"][0]["accepted"] and report["activated"] == 2, report
        second = self.publish(3, carrier, **options)
        late = self.sync(0, carrier, **options)
        assert {received["delta"] for received in late["received"]} == {first["delta"], second["delta"]}, late
        assert late["activated"] is not None, late
        self.recall(4, first["delta"], carrier, **options)
        report = self.sync(2, carrier, **options)
        assert report["recalled"][0]["was_active"] and report["active"] in (1, 3), report
        after = self.sync(5, carrier, **options)
        assert [received["delta"] for received in after["received"]] == [second["delta"]], after
        status = self.run("status", robot=0, carrier=carrier, **options)
        assert len(status["deltas"]) == 2 and len(status["recalls"]) == 1 and not status["problems"], status


# Scenarios.


def folder(fleet: Fleet) -> str:
    stick = fleet.folder / "stick"
    stick.mkdir()
    fleet.go_around(f"file://{stick}")
    return verified_by_dsse(fleet, stick)


def verified_by_dsse(fleet: Fleet, stick: Path) -> str:
    """Cards and recalls are verified by another implementation of DSSE, and a changed one is not."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    verified = 0
    for path in [*stick.glob("fleet/*/cards/*"), *stick.glob("fleet/*/recall/*")]:
        text = json.loads(path.read_text())
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text["signatures"][0]["keyid"]))
        key = SSlibKey.from_crypto(public, keyid=text["signatures"][0]["keyid"])
        assert key.keyid in Envelope.from_dict(json.loads(path.read_text())).verify([key], 1)
        text["payload"] = base64.b64encode(base64.b64decode(text["payload"]) + b" ").decode()
        try:
            Envelope.from_dict(text).verify([key], 1)
            raise AssertionError("a changed statement is verified")
        except Exception as error:
            assert "verif" in str(error).lower() or "signature" in str(error).lower(), error
        verified += 1
    assert verified == 3, verified
    return f"{verified} statements verified by securesystemslib"


def s3(fleet: Fleet) -> str:
    import boto3

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ALLOW_HTTP": "true",
    }
    moto = str(Path(sys.executable).parent / "moto_server")
    serve = lambda: subprocess.Popen([moto, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: E731
    server = serve()
    try:
        wait_for(url)
        client = boto3.client("s3", endpoint_url=url, region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket="fleet", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        carrier = "s3://fleet/site-7"
        fleet.go_around(carrier, environment=environment)
        keys = [found["Key"] for found in client.list_objects_v2(Bucket="fleet")["Contents"]]
        assert all(key.startswith("site-7/fleet/") for key in keys), keys

        # A flipped byte, and what is left of a delta that was cut off.
        published = fleet.publish(6, carrier, environment=environment)
        name = next(key for key in client_keys(client) if published["delta"] in key and "/deltas/" in key)
        whole = client.get_object(Bucket="fleet", Key=name)["Body"].read()
        for damaged in [whole[:-1], whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:], b""]:
            client.put_object(Bucket="fleet", Key=name, Body=damaged)
            report = fleet.sync(4, carrier, environment=environment)
            assert published["delta"] not in str(report["received"]) and report["problems"], report
        assert fleet.publish(6, carrier, environment=environment)["sent"], "publishing again mends it"
        report = fleet.sync(4, carrier, environment=environment)
        assert published["delta"] in str(report["received"]), report
    finally:
        server.kill()
        server.wait()
    started = time.monotonic()
    error = fleet.run("sync", robot=4, carrier="s3://fleet/site-7", environment=environment, fails=True)
    assert "cannot list" in error, error
    return f"{len(keys)} objects; without a server an error after {time.monotonic() - started:.0f} s"


def client_keys(client) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket="fleet")["Contents"]]


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url)
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers at {url}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def zenoh_router(fleet: Fleet) -> str:
    hub = Router(free_port(), fleet.folder / "hub").start()
    carrier = f"zenoh:127.0.0.1:{hub.port}"
    try:
        fleet.go_around(carrier)
        # The router is killed after so many bytes of a publisher, from the handshake to the last ones.
        cuts, lost = 0, 0
        for after in [50, 400, 1500, 3000, 6000, 12000, 18000]:
            cutter = Cutter(hub.port, after, hub.kill)
            cutter.start()
            try:
                error = fleet.publish(6, f"zenoh:127.0.0.1:{cutter.port}", fails=True)
                lost += 1
                assert "cannot" in error or "does not have it" in error, error
            except AssertionError as error:
                # It was through before the cut.
                assert "should fail" in str(error), error
            cuts += cutter.is_cut
            hub.kill()
            fleet.run("sync", robot=5, carrier=carrier, fails=True)
            hub.start()
            report = fleet.sync(4, carrier)
            assert all("its sha256" not in problem["reason"] for problem in report["problems"]), report
        assert cuts >= 3 and lost >= 3, (cuts, lost)
        published = fleet.publish(6, carrier)
        report = fleet.sync(5, carrier)
        assert published["delta"] in str(report["received"]) + str(fleet.sync(5, carrier)), report
    finally:
        hub.kill()
    return f"router killed in the middle {cuts} times, {lost} publishes failed and were repeated, nothing lost"


def zenoh_peers(fleet: Fleet) -> str:
    """Two robots without a router: a peer answers for what it published, also after its restart."""
    port = free_port()
    listening = f"zenoh-peer:127.0.0.1:{port}"
    joining = f"zenoh-peer:127.0.0.1:{free_port()},127.0.0.1:{port}"
    watch = [str(fleet.command), "--json", "watch", str(fleet.folder / "robot-1/store"), "--carrier", listening]
    watch += ["--robot", "robot-1", "--key", fleet.key(1), "--every", "1s"]
    fleet.publish(1, f"zenoh-peer:127.0.0.1:{free_port()}")
    for _ in range(2):
        process = subprocess.Popen(watch, stdout=subprocess.PIPE, text=True)
        try:
            assert json.loads(process.stdout.readline())["version"] == 1
            report = fleet.sync(2, joining)
            if report["received"]:
                assert report["activated"] == 2, report
        finally:
            process.kill()
            process.wait()
    status = fleet.sync(2, joining.split(",")[0])
    assert status["waits_for"] == 2, status
    return "a peer answers for what it published, without a router"


def split_hubs(fleet: Fleet) -> str:
    """Two hubs, each in a network namespace of its own, whose link is cut and joined."""
    names = ("fieldfit-hub-a", "fieldfit-hub-b")
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        remove_namespaces(names)
        return f"NOT RUN: no network namespaces here: {error}"
    hubs = []
    try:
        ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: E731
        ip("link", "add", "ffa", "type", "veth", "peer", "name", "ffb")
        for name, link, address in zip(names, ("ffa", "ffb"), ("10.77.0.1", "10.77.0.2")):
            ip("link", "set", link, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        hubs.append(Router(7461, fleet.folder / "a", [], names[0]).start())
        hubs.append(Router(7461, fleet.folder / "b", ["10.77.0.1:7461"], names[1]).start())
        carrier = "zenoh:127.0.0.1:7461"
        on_a, on_b = {"namespace": names[0]}, {"namespace": names[1]}
        before = fleet.publish(1, carrier, **on_a)
        assert received(fleet, 4, carrier, before, on_b), "joined"
        ip("-n", names[0], "link", "set", "ffa", "down")
        time.sleep(12)  # The lease of a connection is 10 s.
        during = fleet.publish(2, carrier, **on_a)
        other = fleet.publish(3, carrier, **on_b)
        assert not received(fleet, 5, carrier, during, on_b), "split"
        assert received(fleet, 5, carrier, other, on_b), "its own hub"
        recalled = fleet.recall(6, other["delta"], carrier, **on_b)
        ip("-n", names[0], "link", "set", "ffa", "up")
        deadline = time.monotonic() + 60
        while not received(fleet, 5, carrier, during, on_b):
            assert time.monotonic() < deadline, "joined again, and the delta of the split does not come"
            time.sleep(1)
        report = fleet.sync(0, carrier, **on_a)
        assert other["delta"] not in str(report["received"]), f"recalled on the other side: {report}"
        assert recalled["delta"] == other["delta"] and during["delta"] in str(report["received"]), report
    finally:
        for hub in hubs:
            hub.kill()
        remove_namespaces(names)
    return "two hubs split and joined: what each side published and recalled is on both"


def received(fleet: Fleet, robot: int, carrier: str, published: dict, options: dict) -> bool:
    """Syncs a robot; whether its store has a delta that was published."""
    fleet.run("sync", robot=robot, carrier=carrier, **options)
    versions = (fleet.folder / f"robot-{robot}" / "store" / "versions").glob("*.delta")
    from hashlib import sha256

    return published["delta"] in {sha256(path.read_bytes()).hexdigest() for path in versions}


def remove_namespaces(names: tuple[str, ...]) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def main() -> None:
    if sys.argv[1] == "router":
        return router(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of scenarios")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    origin = arguments.folder / "origin"
    subprocess.run([arguments.build / "examples" / "fleet_fixture", origin, str(ROBOTS)], check=True)
    for scenario in [folder, s3, zenoh_router, zenoh_peers, split_hubs]:
        if arguments.only and scenario.__name__ not in arguments.only:
            continue
        started = time.monotonic()
        result = scenario(Fleet(arguments.build, origin, arguments.folder / scenario.__name__))
        print(f"{scenario.__name__}: {result} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
