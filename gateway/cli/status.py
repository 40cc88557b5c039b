"""`wsgate status [--watch]`: what the internal listener knows, as tables."""

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .internal import call, reached_by

_INTERVAL: Final = 2.0
_HEAD: Final = frozenset({"ready", "reasons", "degraded", "totals"})


@click.command()
@reached_by
@click.option("--watch", is_flag=True, help="Ask again every two seconds, until Ctrl-C.")
def status(*, api: str, key: str, watch: bool) -> None:
    """Show connections, channels, upstreams and what else the gateway tells of itself."""
    console = Console()
    if not watch:
        console.print(render(ask(api, key)))
        return
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                live.update(_render_whatever_comes(api, key), refresh=True)
                time.sleep(_INTERVAL)
    except KeyboardInterrupt:
        return


def ask(api: str, key: str) -> dict[str, Any]:
    """What /status says; ClickException when it says nothing."""
    answer = call(api, key, "GET", "status")
    if not answer.succeeded:
        raise click.ClickException(answer.complaint)
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise click.ClickException(f"{api} is no internal listener of wsgate")
    return body


def _render_whatever_comes(api: str, key: str) -> RenderableType:
    """A gateway that is restarted must not end the watching."""
    try:
        return render(ask(api, key))
    except click.ClickException as exc:
        return Text(exc.message, style="red")


def render(body: Mapping[str, Any]) -> RenderableType:
    """The state, the totals, then every list of things as a table and the rest as facts."""
    degraded = body.get("degraded", ())
    if not body.get("ready"):
        state = Text("not ready", style="bold red")
    elif degraded:
        state = Text("ready, degraded", style="bold yellow")
    else:
        state = Text("ready", style="bold green")
    parts: list[RenderableType] = [state]
    parts.extend(Text(f"  {reason}", style="red") for reason in body.get("reasons", ()))
    parts.extend(Text(f"  {what}", style="yellow") for what in degraded)
    parts.append(_pairs("totals", body.get("totals", {})))
    facts: dict[str, Any] = {}
    for name, value in body.items():
        if name in _HEAD:
            continue
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            parts.append(_rows(name, value))
        elif value != []:
            facts[name] = value
    if facts:
        parts.append(_pairs("gateway", facts))
    return Group(*parts)


def _pairs(title: str, pairs: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right" if title == "totals" else "left", overflow="fold")
    for name, value in pairs.items():
        table.add_row(_words(name), _shown(name, value))
    return table


def _rows(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=_words(title), title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(_words(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_shown(name, row.get(name)) for name in names))
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(name: str, value: Any) -> Text:
    """A value for people. Text, not markup: names of routes may have brackets."""
    if value is None or value in ("", [], {}):
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if name == "uptime" and isinstance(value, int | float):
        return Text(str(timedelta(seconds=int(value))))
    if isinstance(value, int | float):
        # A process id is a name: it is copied, not read as an amount.
        return Text(str(value) if name == "pid" else f"{value:,}")
    if isinstance(value, list):
        return Text(", ".join(str(item) for item in value))
    if isinstance(value, dict):
        return Text(", ".join(f"{_words(key)}: {_shown(key, item)}" for key, item in value.items()))
    return Text(str(value))
