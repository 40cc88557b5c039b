"""The metrics once more, for people: a few totals, a line for each upstream and each source."""

from typing import Any, Final

from gateway.metrics import Snapshot

_TOTALS: Final = {
    "connections": "wsgate_connections",
    "subscriptions": "wsgate_subscriptions",
    "channels": "wsgate_channels",
    "messages_received": "wsgate_messages_received_total",
    "messages_sent": "wsgate_messages_sent_total",
    "publications": "wsgate_publications_total",
    "deliveries": "wsgate_deliveries_total",
    "slow_consumers": "wsgate_slow_consumers_total",
    "worker_restarts": "wsgate_worker_restarts_total",
}
_DURATIONS: Final = "wsgate_fastcgi_request_duration_seconds"


def overview(snapshot: Snapshot) -> dict[str, object]:
    """The snapshot's `totals`, its `upstreams` by name, and its `sources`."""
    totals = {
        word: sum(value for _, value in snapshot.get(name, [])) for word, name in _TOTALS.items()
    }
    sources = [
        {"type": kind, "match": match, "heard": not away}
        for (kind, match), away in snapshot.get("wsgate_source_away", [])
    ]
    return {"totals": totals, "upstreams": _upstreams(snapshot), "sources": sources}


def _upstreams(snapshot: Snapshot) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}

    def line(name: str) -> dict[str, Any]:
        zeros = dict.fromkeys(("busy", "idle", "queued", "requests", "errors", "retries"), 0)
        return lines.setdefault(name, {"name": name, **zeros, "seconds": 0.0})

    for (name, state), value in snapshot.get("wsgate_fastcgi_connections", []):
        if state in {"busy", "idle"}:
            line(name)[state] += value
    for (name,), value in snapshot.get("wsgate_fastcgi_queue_length", []):
        line(name)["queued"] += value
    for (name, _, _), (counts, seconds) in snapshot.get(_DURATIONS, []):
        line(name)["requests"] += sum(counts)
        line(name)["seconds"] += seconds
    for metric, word in (("errors", "errors"), ("retries", "retries")):
        for (name, _), value in snapshot.get(f"wsgate_fastcgi_{metric}_total", []):
            line(name)[word] += value
    for entry in lines.values():
        seconds = entry.pop("seconds")
        requests = entry["requests"]
        entry["mean_ms"] = round(1000 * seconds / requests, 2) if requests else None
    return [lines[name] for name in sorted(lines)]
