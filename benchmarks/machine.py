"""The machine that the numbers belong to."""

import os
import platform
from pathlib import Path


def describe() -> dict[str, str]:
    return {
        "processor": _after_colon(Path("/proc/cpuinfo"), "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def load_average() -> float:
    """How many processes wanted a core in the last minute: others blur the numbers."""
    return os.getloadavg()[0]


def _after_colon(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return platform.machine()
