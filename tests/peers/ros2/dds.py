"""A DDS participant with ROS 2's names: topics, and services as rmw_cyclonedds_cpp or as rmw_fastrtps_cpp maps them."""

import itertools
import random
import time
from collections.abc import Callable

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from messages import Service

PATIENCE = 60.0

KEEP = [Policy.Durability.Volatile, Policy.History.KeepLast(10)]
RELIABLE = Qos(Policy.Reliability.Reliable(duration(seconds=1)), *KEEP)


def until(is_met: Callable[[], object], what: str, patience: float = PATIENCE) -> object:
    """Waits until something is met, and returns it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := is_met():
            return found
        time.sleep(0.002)
    raise AssertionError(f"{what}: not within {patience} s")


def taken(reader: DataReader) -> list:
    """The messages that have come; a writer that ends leaves a sample without one."""
    return [sample for sample in reader.take(N=100) if sample.sample_info.valid_data]


class Peer:
    """The other side of the network."""

    def __init__(self, domain: int, node: str, has_header: bool) -> None:
        self.participant, self.node, self.has_header = DomainParticipant(domain), node, has_header
        self.clients: dict[str, tuple[DataWriter, DataReader, type]] = {}
        self.numbers, self.identity = itertools.count(1), random.getrandbits(63)

    def reader(self, topic: str, kind: type, qos: Qos = RELIABLE) -> DataReader:
        return DataReader(self.participant, Topic(self.participant, f"rt{topic}", kind), qos)

    def writer(self, topic: str, kind: type, qos: Qos = RELIABLE) -> DataWriter:
        return DataWriter(self.participant, Topic(self.participant, f"rt{topic}", kind), qos)

    def call(self, path: str, service: Service, *fields: object) -> object:
        """Calls a service of the node, and returns the response."""
        if path not in self.clients:
            request_type, response_type = service.types(self.has_header)
            topics = [
                Topic(self.participant, f"{prefix}{self.node}/{path}{suffix}", kind)
                for prefix, suffix, kind in (("rq", "Request", request_type), ("rr", "Reply", response_type))
            ]
            writer, reader = DataWriter(self.participant, topics[0], RELIABLE), DataReader(self.participant, topics[1], RELIABLE)
            until(lambda: writer.get_matched_subscriptions() and reader.get_matched_publications(), f"the service {path}")
            # A server that has just been found may not have found this client yet.
            time.sleep(0.3)
            self.clients[path] = writer, reader, request_type
        writer, reader, request_type = self.clients[path]
        taken(reader)
        number = next(self.numbers)
        header = [self.identity, number] if self.has_header else []
        writer.write(self.request(request_type, header, fields))

        def response() -> object:
            mine = (r for r in taken(reader) if not self.has_header or (r.client, r.number) == (self.identity, number))
            return next(mine, None)

        return until(response, f"a response of {path}")

    @staticmethod
    def request(kind: type, header: list, fields: tuple) -> object:
        return kind(*header, *(fields or (0,)))
