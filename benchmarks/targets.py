"""What wsgate wants to reach, and whether it does. A target that is missed is shown as missed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.results import Results, Spread


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what was wanted, what was measured, and whether that is enough."""

    title: str
    wanted: str
    measured: str
    met: bool


def verdicts(results: Results) -> Iterator[Verdict]:
    """The targets for which there are numbers."""
    for title, wanted, form, spread, enough in _targets(results):
        if spread is not None:
            yield Verdict(title, wanted, spread.text(form), enough(spread.median))


_Target = tuple[str, str, Callable[[float], str], Spread | None, Callable[[float], bool]]


def _targets(results: Results) -> Iterator[_Target]:
    def against(measure: str, case: str, value: str, peer: str) -> Spread | None:
        return results.ratio(measure, case, value, of="wsgate", to=peer)

    def own(measure: str, case: str, value: str) -> Spread | None:
        return results.spread(measure, "wsgate", case, value)

    for case, age in (("0", "new sockets"), ("1000", "sockets after 1,000 frames")):
        yield (
            f"CPU per frame against nginx + Lua, tuned ({age})",
            "at most 0.35",
            _two_digits,
            against("aging", case, "cpu_us", "nginx_lua_tuned"),
            lambda ratio: ratio <= 0.35,
        )
    yield (
        "CPU per frame against the minimal Node gateway",
        "at most 1.0",
        _two_digits,
        against("echo", "64", "cpu_us", "node"),
        lambda ratio: ratio <= 1.0,
    )
    yield (
        "CPU per frame against a bare aiohttp loop",
        "at most 1.3",
        _two_digits,
        against("echo", "64", "cpu_us", "bare"),
        lambda ratio: ratio <= 1.3,
    )
    yield (
        "Memory growth per frame",
        "0 bytes",
        # A page now and then over thousands of frames is noise of the allocator, not growth.
        lambda grown: "0 bytes" if abs(grown) < 1 else f"{grown:.1f} bytes",
        own("growth", "open sockets", "bytes_per_frame"),
        lambda grown: grown < 1,
    )
    yield (
        "Burst of 5,000 frames: answered",
        "all",
        lambda share: f"{share:.2%}",
        own("burst", "burst", "share"),
        lambda share: share == 1,
    )
    for case in ("1000", "8000"):
        yield (
            f"Fan-out to {int(case):,}: deliveries/s against Nchan",
            "at least 1.0",
            _two_digits,
            against("fanout", case, "rate", "nchan"),
            lambda ratio: ratio >= 1.0,
        )
    yield (
        "Handshakes/s against nginx + Lua",
        "at least 0.8",
        _two_digits,
        against("handshakes", "handshakes", "rate", "nginx_lua"),
        lambda ratio: ratio >= 0.8,
    )
    for measure, case in (("memory", "idle"), ("memory_subscribed", "subscribed")):
        yield (
            f"Memory per {case} connection",
            "at most 12 KB",
            lambda size: f"{size / 1000:.1f} KB",
            own(measure, case, "bytes_per_connection"),
            lambda size: size <= 12_000,
        )
    yield (
        "php-fpm children held after 2 s of silence",
        "0",
        lambda held: f"{held:.0f}",
        own("idle_children", "after 2 s", "held"),
        lambda held: held == 0,
    )
    yield (
        "The hub: CPU of frames that publish nothing",
        "at most 1.05, which is noise",
        _two_digits,
        results.ratio("hub", "silent", "cpu_us", of="wsgate_hub", to="wsgate"),
        lambda ratio: ratio <= 1.05,
    )
    yield (
        "The hub: frames/s that PHP publishes",
        "at least 0.9",
        _two_digits,
        results.ratio("hub", "publishing", "rate", of="wsgate_hub", to="wsgate"),
        lambda ratio: ratio >= 0.9,
    )


def _two_digits(ratio: float) -> str:
    return f"{ratio:.2f}"
