"""`wsgate publish CHANNEL [DATA|-]`: hand one message to a channel."""

import sys

import click

from .internal import call, reached_by


@click.command()
@click.argument("channel")
@click.argument("data", default="")
@reached_by
@click.option(
    "--content-type",
    default="text/plain; charset=utf-8",
    show_default=True,
    metavar="TYPE",
    help="application/json makes it a JSON value, application/octet-stream binary.",
)
@click.option(
    "--idempotency-key",
    default="",
    metavar="KEY",
    help="The same key within five minutes publishes once.",
)
def publish(
    *, channel: str, data: str, api: str, key: str, content_type: str, idempotency_key: str
) -> None:
    """Publish DATA to CHANNEL through the internal API; "-" reads it from standard input.

    Prints who was subscribed and where the message stands.
    """
    body = sys.stdin.buffer.read() if data == "-" else data.encode()
    headers = {"Content-Type": content_type}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    answer = call(api, key, "POST", "channels", channel, body=body, headers=headers)
    if not answer.succeeded:
        raise click.ClickException(answer.complaint)
    click.echo(answer.body.decode(errors="replace").strip())
