"""What the doctor has found: one line."""

from dataclasses import dataclass
from typing import Final

AWAY: Final = "start the server, or correct the address or the password"
UNUSABLE: Final = "without it the gateway does not start"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at a key of the file; `cure` is what to change, empty where all is well."""

    place: str
    text: str
    cure: str = ""
    serious: bool = True
    """Whether what was found must be changed."""

    def __str__(self) -> str:
        mark = "ok  " if not self.cure else "FIX " if self.serious else "note"
        return f"{mark} {self.place}: {self.text}" + (f"; {self.cure}" if self.cure else "")
