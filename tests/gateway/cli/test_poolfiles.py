"""Pool files of php-fpm, read as php-fpm reads them."""

from pathlib import Path

import pytest

from gateway.cli.poolfiles import pool_files

TEXT = """
[global]
error_log = /var/log/fpm.log

[www]
user = www-data
;listen = /nowhere
listen = /run/php/$pool.sock ; the socket
pm.max_children = 5
php_admin_value[session.save_handler] = "redis"
pm.status_path = "/status"

[api]
listen = 127.0.0.1:9000
pm.max_children = many
"""


def test_each_pool_has_its_settings(tmp_path: Path) -> None:
    (tmp_path / "www.conf").write_text(TEXT)
    www, api = pool_files([tmp_path / "missing.conf", tmp_path / "www.conf"])
    assert (www.name, www.max_children, www.settings["pm.status_path"]) == ("www", 5, "/status")
    assert www.settings["php_admin_value[session.save_handler]"] == "redis"
    assert (api.name, api.max_children) == ("api", None)
    assert www.listens_at("unix:/run/php/www.sock")
    assert not www.listens_at("unix:/nowhere")
    assert api.listens_at("127.0.0.1:9000")
    assert not api.listens_at("10.0.0.1:9000")


@pytest.mark.parametrize("listen", ["9000", "0.0.0.0:9000", "[::]:9000"])
def test_a_port_of_any_address_is_reached_by_any_name(tmp_path: Path, listen: str) -> None:
    (tmp_path / "www.conf").write_text(f"[www]\nlisten = {listen}\n")
    (pool,) = pool_files([tmp_path / "www.conf"])
    assert pool.listens_at("php:9000")
    assert not pool.listens_at("php:9001")
    assert not pool.listens_at("unix:/9000")
