"""What an operator is told about an answer that is not what a script meant to say.

php-fpm answers some mistakes of configuration with bare texts of its own (sapi/fpm/fpm_main.c);
each of them is explained with its cure, in the log and nowhere else.
"""

from typing import Final

from fastcgi import AddressForbiddenError, FastCGIError, Response, UpstreamUnavailableError

_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403


def explain_response(response: Response, script: str) -> str | None:
    """The cure for an answer that php-fpm itself gave instead of a script; None for others."""
    if response.status == _NOT_FOUND and (
        b"Primary script unknown" in response.stderr or response.body == b"File not found.\n"
    ):
        return (
            f"php-fpm finds no file {script}: document_root or script is wrong, "
            "or php-fpm runs in a chroot or container that sees another path"
        )
    if response.status == _FORBIDDEN and response.body == b"Access denied.\n":
        return (
            f"php-fpm refuses to run {script}: its ending is not among "
            "security.limit_extensions of the pool"
        )
    return None


def explain_failure(error: FastCGIError) -> str | None:
    """The cure for a failure that a change of configuration ends; None for others."""
    if isinstance(error, AddressForbiddenError):
        return (
            "the gateway's user may not open the socket: set listen.owner, listen.group and "
            "listen.mode in the php-fpm pool, or add the user to its group"
        )
    if isinstance(error, UpstreamUnavailableError):
        return "nothing answers at the upstream's address: is php-fpm running and listening there?"
    return None
