"""The Lua scripts of this folder. Each is atomic and touches the names of one hash tag only."""

from importlib.resources import files
from typing import Final

from gateway.remote.redis_commands import Script


def _script(*names: str) -> Script:
    folder = files(__package__)
    return Script("\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names))


PUBLISH: Final = _script("common", "rules", "publish")
JOIN: Final = _script("common", "rules", "join")
LEAVE: Final = _script("common", "leave")
OPEN: Final = _script("common", "rules", "open")
CLOSE: Final = _script("common", "close")
HISTORY: Final = _script("common", "rules", "history")
PRESENCE: Final = _script("common", "presence")
STATE: Final = _script("common", "state")
REAP: Final = _script("reap")
SWEEP: Final = _script("sweep")
BEAT: Final = _script("beat")
