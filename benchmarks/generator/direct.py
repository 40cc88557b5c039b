"""php-fpm without any gateway: the limit that no gateway can pass."""

import asyncio
import time

from benchmarks.generator.statistics import latencies
from benchmarks.peers.bare.fastcgi import Pool, environment


async def direct(
    *, socket: str, root: str, script: str, kept: int, clients: int, frames: int, size: int
) -> dict[str, object]:
    """`clients` callers share `kept` connections; each asks again as soon as it is answered."""
    pool = Pool(socket, kept)
    params = environment(root, script)
    body = b"x" * size
    times: list[float] = []
    left = frames
    on_way = 0
    finished = asyncio.Event()

    def ask() -> None:
        nonlocal left, on_way
        left -= 1
        on_way += 1
        sent_at = time.perf_counter()

        def done(answer: bytes | None) -> None:
            nonlocal on_way
            on_way -= 1
            if answer == body:
                times.append(time.perf_counter() - sent_at)
            if left:
                ask()
            elif not on_way:
                finished.set()

        pool.request(params, body, done)

    started = time.perf_counter()
    for _ in range(min(clients, frames)):
        ask()
    async with asyncio.timeout(300):
        await finished.wait()
    seconds = time.perf_counter() - started
    pool.close()
    return {
        "answered": len(times),
        "lost": frames - len(times),
        "seconds": seconds,
        "rate": len(times) / seconds,
        **latencies(times),
    }
