"""Which names a channel may have.

A name goes to brokers and sources as it is: into a Redis SUBSCRIBE, a NATS subject, a quoted
NOTIFY channel, a log line, a URL. What would be a wildcard or a separator in any of them is
refused here, once, instead of being escaped in each of them.
"""

from typing import Final

from gateway.errors import ChannelNameError

MAX_BYTES: Final = 255
_WILDCARDS: Final = ("*", ">")


def check(name: str) -> str:
    """Return the name if a channel may have it; ChannelNameError says why it may not.

    At least one character, at most 255 bytes of UTF-8; neither white space nor anything
    invisible (controls, direction marks, surrogates); neither "*" nor ">".
    """
    if not name:
        raise ChannelNameError(name, "a channel needs a name")
    # Surrogates are not printable, so that the name can be encoded once this has passed.
    if " " in name or not name.isprintable():
        raise ChannelNameError(ascii(name[:MAX_BYTES]), "a name has only visible characters")
    size = len(name.encode())
    if size > MAX_BYTES:
        raise ChannelNameError(name[:MAX_BYTES], f"{size} bytes, at most {MAX_BYTES} are allowed")
    for wildcard in _WILDCARDS:
        if wildcard in name:
            raise ChannelNameError(name, f'a name is no pattern, "{wildcard}" is refused')
    return name
