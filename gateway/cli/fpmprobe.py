"""What the doctor asks php-fpm, without running a script of the application.

It asks for a script of the doctor's own, a temporary file that only looks: which PHP this is, how
sessions are kept, and which of the configured scripts PHP can see, read and (where it has its
tokenizer) parse. Nothing of the application is executed, because no event says "only a test".
"""

import json
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastcgi import FastCGIError, Limits, Pool, params, parse_address

_TIMEOUT: Final = 5.0
_OK: Final = 200
_NOT_FOUND: Final = 404
_LOOK: Final = """<?php
$scripts = [];
foreach (json_decode(file_get_contents('php://input')) as $script) {
    $found = 'fine';
    if (!@is_file($script)) {
        $found = 'missing';
    } elseif (!@is_readable($script)) {
        $found = 'unreadable';
    } else {
        try {
            token_get_all(file_get_contents($script), TOKEN_PARSE);
        } catch (ParseError $error) {
            $found = 'line ' . $error->getLine() . ': ' . $error->getMessage();
        } catch (Error) {
            $found = 'fine';
        }
    }
    $scripts[$script] = $found;
}
header('Content-Type: application/json');
echo json_encode([
    'version' => PHP_VERSION,
    'handler' => ini_get('session.save_handler'),
    'output_buffering' => (int) ini_get('output_buffering'),
    'scripts' => $scripts,
], JSON_INVALID_UTF8_SUBSTITUTE);
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What PHP says; `scripts` is None where it could not run the doctor's script."""

    version: str = ""
    handler: str = ""
    output_buffering: int = 0
    scripts: dict[str, str] | None = None
    reason: str = ""


async def look(address: str, scripts: Sequence[str]) -> Seen:
    """Ask the php-fpm at an address about scripts; FastCGIError when there is no answer."""
    with tempfile.TemporaryDirectory(prefix="wsgate-doctor-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - three files of our own, in a command of its own
        script = folder / f"look-{secrets.token_hex(4)}.php"
        script.write_text(_LOOK)
        script.chmod(0o644)
        status, body = await _ask(address, str(script), json.dumps(list(scripts)).encode(), {})
    if status == _NOT_FOUND:
        return Seen(reason="php-fpm does not see the temporary files of this machine")
    try:
        found = json.loads(body)
        return Seen(
            str(found["version"]),
            str(found["handler"]),
            int(found["output_buffering"]),
            dict(found["scripts"] or {}),
        )
    except (ValueError, KeyError, TypeError):
        return Seen(reason=f"php-fpm answered the doctor's own script with {status}")


async def status(address: str, path: str) -> dict[str, Any] | None:
    """The status page of the pool (`pm.status_path`), None where it has none."""
    try:
        code, body = await _ask(address, path, b"", {"QUERY_STRING": "json"})
        found = json.loads(body) if code == _OK else None
    except (FastCGIError, ValueError):
        return None
    return found if isinstance(found, dict) else None


async def _ask(address: str, script: str, body: bytes, more: dict[str, str]) -> tuple[int, bytes]:
    limits = Limits(max_connections=1, keepalive=False, retry_for=0.0, queue_timeout=_TIMEOUT)
    pool = Pool([parse_address(address)], limits)
    pairs = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "POST" if body else "GET",
        "REDIRECT_STATUS": "200",
        "SCRIPT_FILENAME": script,
        "SCRIPT_NAME": script,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        **more,
    }
    try:
        block = params.encode(pairs.items())
        response = await pool.request((block,), body, timeout=_TIMEOUT, script=script)
    finally:
        await pool.close()
    return response.status, response.body
