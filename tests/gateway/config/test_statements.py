"""`:field` in a statement is found where PostgreSQL would read it, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.statements import Statement, parse_event_statement, parse_statement


@pytest.mark.parametrize(
    ("sql", "text", "fields"),
    [
        ("select :a", "select $1", ("a",)),
        ("select :a, :b, :a", "select $1, $2, $1", ("a", "b")),
        ("select :a::int", "select $1::int", ("a",)),
        ("select '1'::int", "select '1'::int", ()),
        ("select now()::date,:_x9", "select now()::date,$1", ("_x9",)),
        ("select ':a'", "select ':a'", ()),
        ("select 'it''s :a', :b", "select 'it''s :a', $1", ("b",)),
        (r"select E'\':a', :b", r"select E'\':a', $1", ("b",)),
        (r"select '\', :b", r"select '\', $1", ("b",)),
        (r"select e'\\', :b", r"select e'\\', $1", ("b",)),
        ('select ":a", :b', 'select ":a", $1', ("b",)),
        ('select "x"":a"', 'select "x"":a"', ()),
        ("select 1 -- :a\n, :b", "select 1 -- :a\n, $1", ("b",)),
        ("select /* :a /* :b */ :c */ :d", "select /* :a /* :b */ :c */ $1", ("d",)),
        ("select $$:a$$, :b", "select $$:a$$, $1", ("b",)),
        ("select $x$ $$ :a $y$ $x$, :b", "select $x$ $$ :a $y$ $x$, $1", ("b",)),
        ("select a$b$c, :b", "select a$b$c, $1", ("b",)),
        ("select f(x := :a)", "select f(x := $1)", ("a",)),
        ("select :a;", "select $1;", ("a",)),
        ("select :a ; -- done", "select $1 ; -- done", ("a",)),
        ("select typE':a'", "select typE':a'", ()),
    ],
)
def test_a_field_is_found_where_postgresql_reads_one(sql, text, fields) -> None:
    assert parse_statement(sql) == Statement(text, fields)


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("", "expected a statement"),
        (" -- nothing", "expected a statement"),
        ("select 1; drop table x", "one statement"),
        ("select $1", "write :name"),
        ("select 'x", "not closed"),
        (r"select E'\'", "not closed"),
        ('select "x', "not closed"),
        ("select /* /* */", "not closed"),
        ("select $a$ x $b$", "not closed"),
        ("select '\0'", "NUL"),
    ],
)
def test_what_is_no_single_statement_is_refused(sql, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_statement(sql)


def test_a_parameter_of_an_event_is_text_until_the_statement_makes_something_else_of_it() -> None:
    statement = parse_event_statement("select :wildcard::int, :user, ':channel', :wildcard")
    assert statement.text == "select $1::text::int, $2::text, ':channel', $1::text"
    assert statement.fields == ("wildcard", "user")


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("select :chanel", "unknown parameter :chanel; did you mean :channel"),
        ("select :id", "known: :channel, :connection, :user, :route, :wildcard"),
        ("select 1; select 2", "one statement"),
    ],
)
def test_what_an_event_does_not_have_is_refused_with_what_it_has(sql, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_event_statement(sql)


_HIDDEN = st.sampled_from(["':x'", '":x"', "$$:x$$", "$t$:x$t$", "/*:x*/", "--:x\n", r"E'\':x'"])
_OPEN = st.sampled_from([":a", ":b", ":c1"])
_PLAIN = st.sampled_from(["select", "1", "::int", "=", "(", ")", ",", "a.b", "*", "$", ":"])


@given(st.lists(st.one_of(_HIDDEN, _OPEN, _PLAIN), min_size=1))
def test_whatever_stands_around_it_a_field_is_a_parameter_and_a_hidden_one_is_not(pieces) -> None:
    statement = parse_statement("x " + " ".join(pieces))
    expected = list(dict.fromkeys(piece[1:] for piece in pieces if piece in (":a", ":b", ":c1")))
    assert list(statement.fields) == expected
    numbers = {f":{field}": f"${index}" for index, field in enumerate(expected, 1)}
    assert statement.text == "x " + " ".join(numbers.get(piece, piece) for piece in pieces)


@given(st.text(alphabet="'\"$:-/*;eEa1_\\\n ", max_size=40))
def test_any_text_is_a_statement_or_a_mistake_and_loses_nothing(sql) -> None:
    try:
        statement = parse_statement(sql)
    except ValueError:
        return
    text = statement.text
    if not statement.fields:
        assert text == sql
