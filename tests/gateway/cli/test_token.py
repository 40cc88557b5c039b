import time

import jwt
import pytest
from click.testing import CliRunner

from gateway.cli.token import token

SECRET = "a secret of more than thirty-two bytes"


def sign(*options: str) -> dict[str, object]:
    result = CliRunner().invoke(token, ["--secret", SECRET, "--user", "42", *options])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    claims: dict[str, object] = jwt.decode(result.stdout.strip(), SECRET, algorithms=["HS256"])
    return claims


def test_the_token_names_the_user_and_the_channels() -> None:
    claims = sign("--channel", "room.1", "--channel", "room.2")
    assert claims["sub"] == "42"
    assert claims["channels"] == ["room.1", "room.2"]


def test_without_channels_there_is_no_claim_of_them() -> None:
    assert "channels" not in sign()


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("1h", 3600), ("250ms", 0)])
def test_it_expires_after_the_duration(text: str, seconds: int) -> None:
    result = CliRunner().invoke(token, ["--secret", SECRET, "--user", "42", "--expires", text])
    claims = jwt.decode(
        result.stdout.strip(), SECRET, algorithms=["HS256"], options={"verify_exp": False}
    )
    assert claims["exp"] - claims["iat"] == seconds
    assert abs(claims["iat"] - time.time()) < 60


def test_off_makes_a_token_without_an_end() -> None:
    assert "exp" not in sign("--expires", "off")


def test_claims_are_json_where_they_read_as_json() -> None:
    claims = sign("--claim", "role=admin", "--claim", "level=3", "--claim", 'tags=["a","b"]')
    assert (claims["role"], claims["level"], claims["tags"]) == ("admin", 3, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--claim", "role"], 'expected NAME=VALUE, got "role"'),
        (["--claim", "sub=1"], "sub has an option of its own"),
        (["--expires", "soon"], "expected a duration"),
    ],
)
def test_a_wrong_option_is_explained(options: list[str], complaint: str) -> None:
    result = CliRunner().invoke(token, ["--secret", SECRET, "--user", "42", *options])
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_short_secret_is_used_but_not_in_silence() -> None:
    result = CliRunner().invoke(token, ["--secret", "short", "--user", "42"])
    assert result.exit_code == 0
    assert "too short to be safe" in result.stderr
    assert result.stdout.count(".") == 2
