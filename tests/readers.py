"""Clients that only receive, without sockets: for `tests.fakes.House`."""

import json
from dataclasses import dataclass, field

from msgspec.structs import replace

from gateway.sessions.admission import begin, complete
from gateway.sessions.client import TransportKind
from tests.fakes import FakeClient, House, handshake

SSE, POLL = TransportKind.SSE, TransportKind.LONGPOLL


@dataclass
class Event:
    """One event as the client gets it."""

    data: str
    name: str = ""
    id: str = ""
    type: str = ""


@dataclass
class Reader(FakeClient):
    """An event stream, or a poll that takes its first message alone."""

    encoding: object = "events"
    events: list[Event] = field(default_factory=list)
    last_id: str = ""
    read_id: str = ""
    encoded: int = 0
    written: list[bytes] = field(default_factory=list)

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        return self.encode_event(payload, text=text, content_type="") if self.kind is SSE else b""

    def encode_event(
        self, payload: bytes, *, text: bool, content_type: str, event: str = "", event_id: str = ""
    ) -> bytes:
        if self.kind is POLL and (event or not event_id):
            return b""
        self.encoded += 1
        data = payload.decode() if text else payload.hex()
        return json.dumps(
            [data, event or ("" if text else "binary"), event_id, content_type]
        ).encode()

    def encode_position(self, event_id: str) -> bytes:
        return json.dumps(["", "", event_id, "position"]).encode() if self.kind is SSE else b""

    def write(self, encoded: bytes) -> None:
        if not encoded or self.closed is not None or (self.kind is POLL and self.events):
            return
        self.written.append(encoded)
        event = Event(*json.loads(encoded))
        self.last_id = event.id or self.last_id
        if event.type != "position":
            self.events.append(event)
        else:
            self.read_id = event.id

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events if not event.name]

    @property
    def gaps(self) -> list[str]:
        return [json.loads(event.data)["channel"] for event in self.events if event.name == "gap"]


async def come(
    house: House, kind: TransportKind = SSE, resume: str = "", path: str = "/ws"
) -> Reader:
    found = house.runtime.match(path)
    assert found is not None
    route, gate, variables = found
    asked = replace(handshake(path), kind=kind, resume=resume)
    arrival = begin(asked, route, variables, gate, house.services)
    if arrival.waits:
        await complete(arrival)
    client = Reader(kind=kind)
    client.session = arrival.session.attach(client)
    return client
