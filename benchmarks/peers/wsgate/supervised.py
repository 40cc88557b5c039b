"""One worker under a supervisor that holds the hub: `python -m ...supervised FILE`.

`wsgate serve` needs no supervisor for one worker, so it starts none. What the hub costs can only
be seen with the same one worker on both sides.
"""

import sys
from pathlib import Path

from gateway.config.loading import load
from gateway.server.many import run_many

if __name__ == "__main__":
    sys.exit(run_many(load(Path(sys.argv[1]))))
