"""How often Python looks for reference cycles, and where it does not look.

A frame makes no cycle and leaves nothing behind, so the collector runs only because sockets come:
by default once for some 35 handshakes (100 since Python 3.13), and now and then over everything
there is, modules and configuration included, while every client waits.
"""

import gc
from typing import Final

_THRESHOLDS: Final = (5_000, 5, 4)
"""The young are looked through seven times as rarely as by default (since Python 3.13, two and a
half times), the old about as often: so what a cycle holds is bounded as before."""


def settle() -> None:
    """Call once, when everything is there that lasts as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
