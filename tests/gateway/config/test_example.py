"""The example file shows every key, and is right."""

import re
from pathlib import Path

import pytest
import yaml

from gateway.config.fields import Section
from gateway.config.loading import load, parse
from gateway.config.sections import keys_of, walk
from gateway.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[3] / "conf" / "wsgate.yaml"
# What only the machine it is meant for can have.
ACCEPTED = re.compile(r"cannot read|the environment has no")


def uncommented() -> str:
    return re.sub(r"^( *)# ", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)


def paths(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, list):
        return {found for item in value for found in paths(item, path)}
    if not isinstance(value, dict):
        return set()
    return {
        found
        for key, inner in value.items()
        for found in {(*path, key), *paths(inner, (*path, key))}
    }


def test_the_example_loads() -> None:
    config = load(EXAMPLE, environ={})

    assert config.routes[0].name == "chat"
    assert config.client_of(config.routes[0]).max_message == 65536


def test_its_settings_that_are_commented_out_are_right_too() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(uncommented(), name="wsgate.yaml", folder=EXAMPLE.parent, environ={})

    assert [one for one in caught.value.problems if not ACCEPTED.search(one)] == []


@pytest.mark.parametrize(
    ("section", "path"), [(section, path) for path, section in walk()], ids=str
)
def test_it_shows_every_key(section: type[Section], path: tuple[str, ...]) -> None:
    shown = paths(yaml.safe_load(uncommented()))
    wanted = tuple(part.removesuffix("[]") for part in path)
    if wanted == ("routes", "client"):
        pytest.skip("the keys of client, shown there")

    def is_shown(key: str) -> bool:
        return any(
            len(one) == len(wanted) + 1
            and one[-1] == key
            and all(want in (part, "NAME") for want, part in zip(wanted, one, strict=False))
            for one in shown
        )

    assert [key for key in keys_of(section) if not is_shown(key)] == []
