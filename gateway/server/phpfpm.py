"""A php-fpm of one's own, for `wsgate dev`: found, started and stopped again with its children.

Its pool file, socket and sessions lie in a temporary folder that goes with it. It runs in a
process group of its own, so that Ctrl-C in the terminal reaches the gateway alone, which first
finishes its requests. Whichever way the gateway ends, php-fpm ends too: `stop` ends the whole
group, and if the gateway is killed, Linux sends the master SIGTERM (PR_SET_PDEATHSIG), which
ends its children. Nothing here is used by `wsgate serve`: there php-fpm is somebody else's.
"""

import contextlib
import ctypes
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from gateway.errors import GatewayError

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_DAEMON_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/sbin")
_NAME: Final = re.compile(r"php-fpm(\d+(?:\.\d+)?)?")
# sockaddr_un has room for 107 bytes and a NUL; a long TMPDIR would not leave enough.
_LONGEST_SOCKET_PATH: Final = 107

_POOL_FILE: Final = """\
[global]
error_log = /dev/fd/2
daemonize = no
log_limit = 8192

[wsgate]
{identity}
listen = {folder}/php-fpm.sock
listen.mode = 0600
pm = static
pm.max_children = {children}
catch_workers_output = yes
decorate_workers_output = no
clear_env = no
php_admin_flag[log_errors] = on
php_admin_value[error_log] =
php_admin_flag[display_errors] = off
php_admin_value[session.save_path] = {folder}/sessions
"""


class PhpFpmError(GatewayError):
    """php-fpm could not be started; the message says what to do."""


class PhpFpmNotFoundError(PhpFpmError):
    """There is no php-fpm on this machine."""

    def __init__(self) -> None:
        super().__init__(f"php-fpm is not installed; {installation_hint()}")


def find_php_fpm() -> Path | None:
    """The php-fpm to use: the plain name first, else the newest version, in PATH and sbin."""
    found: dict[tuple[int, ...], Path] = {}
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), *_DAEMON_FOLDERS):
        if not folder or not Path(folder).is_dir():
            continue
        for file in Path(folder).glob("php-fpm*"):
            match = _NAME.fullmatch(file.name)
            if match is None or not os.access(file, os.X_OK):
                continue
            digits = match[1]
            # Alpine writes php-fpm83 where Debian writes php-fpm8.3.
            if digits and "." not in digits and len(digits) > 1:
                digits = f"{digits[0]}.{digits[1:]}"
            version = tuple(int(part) for part in digits.split(".")) if digits else (sys.maxsize,)
            found.setdefault(version, file)
    return found[max(found)] if found else None


def installation_hint(os_release: Path = Path("/etc/os-release")) -> str:
    """The command that installs php-fpm on this system."""
    names: set[str] = set()
    with contextlib.suppress(OSError):
        for line in os_release.read_text().splitlines():
            key, _, value = line.partition("=")
            if key in {"ID", "ID_LIKE"}:
                names.update(value.strip('"').split())
    if sys.platform == "darwin":
        return "install it with: brew install php"
    for family, command in (
        ({"debian", "ubuntu"}, "apt-get install php-fpm"),
        ({"fedora", "rhel", "centos"}, "dnf install php-fpm"),
        ({"suse", "opensuse"}, "zypper install php8-fpm"),
        ({"arch"}, "pacman -S php-fpm"),
        ({"alpine"}, "apk add php83-fpm"),
    ):
        if names & family:
            return f"install it with: {command}"
    return "install your distribution's package, usually named php-fpm"


class PrivatePhpFpm:
    """One php-fpm master with `children` processes, serving the PHP files of `document_root`.

    PHP runs as the owner of `document_root`: as root (in a container, say, or with sudo) it has
    that person's rights, otherwise the caller's. `on_line` gets every line php-fpm and the
    scripts write to stderr, from a thread; `on_exit` is called from a thread if the master ends
    by itself. Use it as a context manager; leaving it waits `patience` seconds before killing.
    """

    def __init__(
        self,
        document_root: Path,
        *,
        children: int,
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None] = lambda _status: None,
        binary: Path | None = None,
        patience: float = 5.0,
    ) -> None:
        self.binary = binary
        self.children = children
        self.document_root = document_root
        self.folder = Path()
        self.socket = Path()
        self._on_line = on_line
        self._on_exit = on_exit
        self._patience = patience
        self._last_lines: deque[str] = deque(maxlen=5)
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: tuple[threading.Thread, ...] = ()

    @property
    def pid(self) -> int:
        """The master's process id, which is also its group's; 0 when it is not running."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End master and children, wait for them, remove the folder. May be called again."""
        self._stopping = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._patience)
            # Also after a clean end: a master that was killed leaves its children to serve on.
            _kill_group(process.pid)
            process.wait()
            for thread in self._threads:
                thread.join(self._patience)
            if process.stderr is not None:
                process.stderr.close()
            self._process = None
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = Path()

    def _start(self) -> None:
        binary = self.binary or find_php_fpm()
        if binary is None:
            raise PhpFpmNotFoundError
        self.folder = _temporary_folder()
        self.socket = self.folder / "php-fpm.sock"
        pool_file = self.folder / "pool.conf"
        sessions = self.folder / "sessions"
        sessions.mkdir(mode=0o700)
        command = [str(binary), "--nodaemonize", "--fpm-config", str(pool_file)]
        identity = ""
        if os.geteuid() == 0:
            owner = self.document_root.stat()
            identity = f"user = {_user_name(owner.st_uid)}\ngroup = {owner.st_gid}"
            command.append("--allow-to-run-as-root")
            # The master is root and makes the socket; the scripts are the owner's.
            self.folder.chmod(0o711)
            os.chown(sessions, owner.st_uid, owner.st_gid)
        pool_file.write_text(
            _POOL_FILE.format(folder=self.folder, children=self.children, identity=identity)
        )
        self._process = subprocess.Popen(  # noqa: S603 - a binary found by its own name
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - it makes one prctl call, no more
        )
        process = self._process
        self._threads = (
            threading.Thread(target=self._read, name="php-fpm stderr", daemon=True),
            threading.Thread(target=self._watch, args=(process,), name="php-fpm", daemon=True),
        )
        for thread in self._threads:
            thread.start()
        self._wait_until_it_listens(process)

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(self.socket))
                return
            time.sleep(0.01)
        self._threads[0].join(0.5)
        said = "; ".join(self._last_lines) or "it said nothing"
        raise PhpFpmError(f"php-fpm did not start: {said}")

    def _read(self) -> None:
        process = self._process
        if process is None or process.stderr is None:
            return
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            if line:
                self._last_lines.append(line)
                self._on_line(line)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        # The end of stderr would not tell: children outlive a master that was killed, hold its
        # stderr open, and would go on serving unseen.
        status = process.wait()
        if not self._stopping:
            _kill_group(process.pid)
            self._on_exit(status)


def _temporary_folder() -> Path:
    for parent in (None, "/tmp"):  # noqa: S108 - mkdtemp makes a folder of our own there
        folder = Path(tempfile.mkdtemp(prefix="wsgate-", dir=parent))
        if len(os.fsencode(folder / "php-fpm.sock")) <= _LONGEST_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise PhpFpmError("no temporary folder with a path short enough for a unix socket")


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _die_with_parent() -> Callable[[], None] | None:
    """What the child runs before php-fpm: asks the kernel for SIGTERM when the gateway dies."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask
