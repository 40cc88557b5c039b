"""What a reply asks for: directives in headers, effects in a JSON list."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backend import effects
from gateway.backend.effects import Close, Publish, Send, SetMeta, SetUser, Subscribe, Unsubscribe
from gateway.backend.reply import Head, _memo, effects_of, head_of
from gateway.errors import ReplyError
from tests.fakes import response


def head(*headers: tuple[str, str], status: int = 200, content_type: str = "a/b") -> Head:
    return head_of(response("", status, headers=headers, content_type=content_type))


@pytest.mark.parametrize(
    ("headers", "effects"),
    [
        ((), [Send(b"body", "a/b")]),
        ((("ws-subscribe", "a, b ,,c"),), [Subscribe("a"), Subscribe("b"), Subscribe("c")]),
        ((("ws-subscribe", "a"), ("ws-subscribe", "b")), [Subscribe("a"), Subscribe("b")]),
        ((("ws-unsubscribe", "a"),), [Unsubscribe("a")]),
        ((("ws-meta-cart-id", "7"),), [SetMeta("cart-id", "7")]),
        ((("ws-meta-x", ""),), [SetMeta("x", "")]),
        ((("ws-subscribe", "a"), ("ws-user", "42")), [SetUser("42"), Subscribe("a")]),
    ],
)
def test_directives_come_before_the_body(
    headers: tuple[tuple[str, str], ...], effects: list[object]
) -> None:
    found = list(effects_of(head(*headers), b"body"))
    body = Send(b"body", "a/b")

    assert found == effects + ([] if body in effects else [body])


def test_a_close_comes_after_the_frame() -> None:
    assert effects_of(head(("ws-close", "4001 good bye")), b"x") == (
        Send(b"x", "a/b"),
        Close(4001, "good bye"),
    )


def test_a_close_needs_no_reason() -> None:
    assert effects_of(head(("ws-close", "1000")), b"") == (Close(1000, ""),)


def test_a_publication_takes_the_body_from_the_sender() -> None:
    found = effects_of(head(("ws-publish", "a, b"), ("ws-exclude", "self")), b"x")

    assert found == (Publish("a", b"x", "a/b", True), Publish("b", b"x", "a/b", True))


def test_an_empty_body_may_be_published() -> None:
    assert effects_of(head(("ws-publish", "a")), b"") == (Publish("a", b"", "a/b"),)


@pytest.mark.parametrize("status", [204])
def test_no_content_sends_nothing(status: int) -> None:
    assert effects_of(head(("ws-meta-a", "b"), status=status), b"x") == (SetMeta("a", "b"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ws-close", ""),
        ("ws-close", "soon"),
        ("ws-close", "4001,bye"),
        ("ws-close", "-4001"),
        ("ws-close", "\u0664\u0660\u0660\u0660"),
        ("ws-close", "999"),
        ("ws-close", "1004"),
        ("ws-close", "1005"),
        ("ws-close", "1006"),
        ("ws-close", "1015"),
        ("ws-close", "2999"),
        ("ws-close", "5000"),
        ("ws-close", "9" * 100),
        ("ws-close", "4000 " + "ü" * 62),
        ("ws-exclude", "all"),
    ],
)
def test_a_directive_that_cannot_be_carried_out_says_so(name: str, value: str) -> None:
    with pytest.raises(ReplyError):
        head((name, value))


def test_other_headers_ask_for_nothing() -> None:
    plain = head(("x-powered-by", "PHP"), ("ws-unknown", "x"))

    assert plain.plain
    assert effects_of(plain, b"x") == (Send(b"x", "a/b"),)


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("text/html; charset=UTF-8", True),
        ("application/json", True),
        ("application/octet-stream", False),
        ("Application/Octet-Stream ; x=y", False),
        ("", True),
    ],
)
def test_only_octet_stream_is_binary(content_type: str, text: bool) -> None:
    assert head(content_type=content_type).text is text


def test_set_cookie_is_never_kept_in_the_memo() -> None:
    _memo.clear()
    assert head(("set-cookie", "secret=1")).cookies == ("secret=1",)
    assert head(("ws-user", "42"))
    assert not _memo


def test_the_memo_is_bounded() -> None:
    for number in range(2000):
        head(("x-request-id", str(number)))
    assert len(_memo) <= 256


class TestEffects:
    def test_every_effect_in_order(self) -> None:
        body = json.dumps(
            [
                {"send": {"a": 1}},
                {"publish": {"channel": "c", "data": [1], "exclude_self": True}},
                {"subscribe": ["a", "b"]},
                {"subscribe": "c"},
                {"unsubscribe": ["a"]},
                {"meta": {"x": "y", "n": 1, "gone": None, "yes": True}},
                {"close": {"code": 4000, "reason": "bye"}},
            ]
        ).encode()

        assert effects.parse(body) == (
            Send(b'{"a": 1}', "application/json"),
            Publish("c", b"[1]", "application/json", True),
            Subscribe("a"),
            Subscribe("b"),
            Subscribe("c"),
            Unsubscribe("a"),
            SetMeta("x", "y"),
            SetMeta("n", "1"),
            SetMeta("gone", ""),
            SetMeta("yes", "1"),
            Close(4000, "bye"),
        )

    def test_headers_stand_around_the_list(self) -> None:
        found = effects_of(
            head(
                ("ws-meta-a", "b"),
                ("ws-close", "4000"),
                content_type="application/vnd.wsgate+json; charset=utf-8",
            ),
            b'[{"send":1}]',
        )

        assert found == (SetMeta("a", "b"), Send(b"1", "application/json"), Close(4000, ""))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b"1",
            b"[1]",
            b"[{}]",
            b'[{"send":1,"close":{}}]',
            b'[{"sned":1}]',
            b'[{"publish":{"channel":"a"}}]',
            b'[{"publish":{"channel":"a","data":1,"more":1}}]',
            b'[{"publish":{"channel":5,"data":1}}]',
            b'[{"subscribe":5}]',
            b'[{"subscribe":[5]}]',
            b'[{"meta":[]}]',
            b'[{"meta":{"a":{}}}]',
            b'[{"meta":{"a":"\\ud800"}}]',
            b'[{"subscribe":"\\udc00x"}]',
            b'[{"close":{"code":1006}}]',
            b'[{"close":{"code":"4000"}}]',
            b'[{"close":{"reason":"' + b"x" * 124 + b'"}}]',
            b"[" * 100_000,
            b'[{"send":' + b"[" * 10_000,
            b'[{"send":\xff}]',
            b"[" + b'{"send":1},' * 1000 + b'{"send":1}]',
            b"\xef\xbb\xbf[]",
        ],
    )
    def test_what_is_malformed_says_so(self, body: bytes) -> None:
        with pytest.raises(ReplyError):
            effects.parse(body)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_effects_or_an_error(self, body: bytes) -> None:
        with contextlib.suppress(ReplyError):
            assert isinstance(effects.parse(body), tuple)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["send", "publish", "subscribe", "meta", "close", "channel"]),
                    inner,
                    max_size=2,
                )
            ),
        )
    )
    def test_any_json_is_effects_or_an_error(self, value: object) -> None:
        with contextlib.suppress(ReplyError):
            effects.parse(json.dumps(value).encode())
