"""What is listened on, by how many processes, and what is logged."""

from typing import Annotated, Literal

from pydantic import Field

from .fields import Address, File, Secret, Section, Size, word
from .units import Listen, MiB


class Tls(Section):
    """TLS on the public listener; a proxy in front may do it as well."""

    certificate: File = Field(
        description="PEM file with the certificate and its chain. A path that is not absolute "
        "starts at the folder of this file."
    )
    key: File = Field(description="PEM file with the private key.")


class Internal(Section):
    """The listener for the application and for operations; never on the public listener."""

    listen: Address = Field(
        default=Listen("127.0.0.1", 8081),
        description="Where the HTTP API, metrics, health and the status page are served.",
    )
    api_key: Secret = Field(
        default="",
        description="The key that callers send as `Authorization: Bearer KEY` or `X-API-Key`. "
        "Must be set unless `listen` is a loopback address or a unix socket.",
    )
    max_body: Size = Field(
        default=8 * MiB, description="The largest body of an API call; a larger one gets 413."
    )


class Log(Section):
    """What is written to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], *word("debug", "info", "warning", "error")
    ] = Field(
        default="info",
        description="`debug` also shows clients paths and PHP's error text: never in production.",
    )
    format: Annotated[Literal["console", "json"], *word("console", "json")] = Field(
        default="console", description="Lines for people, or one JSON object a line."
    )
