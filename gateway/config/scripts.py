"""What may be said to php-fpm: which params, which folder, which script.

php-fpm trusts its FastCGI peer completely; these checks keep a slip in the file from handing
that trust on.
"""

import re
from typing import Final

from .units import shown

_PARAM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_DANGEROUS: Final = {
    "PHP_VALUE": "its settings stay in the php-fpm child for later requests",
    "PHP_ADMIN_VALUE": "its settings stay in the php-fpm child for later requests",
    "REQUEST_BODY_FILE": "php-fpm would read a local file as the body",
    "REDIRECT_URL": "it changes which script runs",
    "PATH_TRANSLATED": "it changes which script runs",
    "PATH_INFO": "it changes which script runs",
    "SCRIPT_FILENAME": "the script comes from `document_root` and `script` alone",
    "SCRIPT_NAME": "the script comes from `document_root` and `script` alone",
    "DOCUMENT_ROOT": "set `document_root` instead",
    "HTTP_PROXY": "libraries take it for their proxy",
    "CONTENT_LENGTH": "the gateway counts it",
    "CONTENT_TYPE": "set `content_type` of the route instead",
    "REQUEST_METHOD": "it is always POST",
    "GATEWAY_INTERFACE": "the gateway sets it",
    "REDIRECT_STATUS": "the gateway sets it",
}


def check_param(name: str) -> str:
    """The name of a param the configuration may add; ValueError says why it may not."""
    if not _PARAM.fullmatch(name):
        raise ValueError(f"{shown(name)} is not a name of letters, digits and _")
    upper = name.upper()
    if reason := _DANGEROUS.get(upper):
        raise ValueError(f"{name} must not be sent to PHP: {reason}")
    if upper.startswith("ORIG_"):
        raise ValueError(f"{name} must not be sent to PHP: it changes which script runs")
    if upper.startswith(("WS_", "HTTP_")):
        raise ValueError(f"{name} must not be set: the gateway fills it from the client")
    return name


def check_document_root(path: str) -> str:
    """An absolute folder without `..`; it need not exist on this machine."""
    if not path.startswith("/"):
        raise ValueError(f"expected an absolute path, got {shown(path)}")
    if ".." in path.split("/"):
        raise ValueError(f"expected a path without .., got {shown(path)}")
    return path.rstrip("/") or "/"


def check_script(path: str) -> str:
    """A script below `document_root`, written with a leading slash."""
    if not path.startswith("/"):
        raise ValueError(
            f'expected a path below document_root such as "/ws.php", got {shown(path)}'
        )
    if ".." in path.split("/"):
        raise ValueError(f"the script would be outside document_root: {shown(path)}")
    if path.endswith("/"):
        raise ValueError(f"expected a script, got the folder {shown(path)}")
    return path
