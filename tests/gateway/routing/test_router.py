"""From a path to its route."""

from gateway.config.model import Config
from gateway.routing.router import Router


def router(*paths: str, **keys: object) -> Router:
    routes = [{"path": path, "events": [], **keys} for path in paths]
    return Router.of(Config.model_validate({"routes": routes}))


def found(table: Router, path: str) -> str | None:
    match = table.match(path)
    return match.destination.route.path if match else None


def test_the_first_route_that_matches_counts() -> None:
    table = router("/ws/lobby", "/ws/{room}", "/{rest:.*}")

    assert found(table, "/ws/lobby") == "/ws/lobby"
    assert found(table, "/ws/7") == "/ws/{room}"
    assert found(table, "/ws/7/8") == "/{rest:.*}"


def test_a_path_as_the_file_has_it_is_no_exception_from_the_order() -> None:
    table = router("/ws/{room}", "/ws/lobby")

    assert found(table, "/ws/lobby") == "/ws/{room}"
    assert found(table, "/ws/{room}") == "/ws/{room}"


def test_a_path_without_a_route_has_no_match() -> None:
    assert router("/ws").match("/other") is None
    assert router().match("/") is None


def test_a_path_that_is_refused_matches_nothing() -> None:
    assert router("/{rest:.*}").match("/a/%2e%2e/b") is None


def test_a_match_has_the_variables_of_the_path() -> None:
    match = router("/ws/{room}").match("/ws/a%20b")

    assert match is not None
    assert match.variables == {"room": "a b"}


def test_a_destination_is_ready_for_use() -> None:
    table = router(
        "/ws/{room}",
        subscribe=["room.{room}"],
        client_subscribe=["room.*"],
        client={"max_message": "2KiB"},
    )
    (destination,) = table.destinations

    assert destination.route.name == "ws-room"
    assert destination.client.max_message == 2048
    assert [template.text for template in destination.channels] == ["room.{room}"]
    assert destination.may_subscribe.matches("room.1")
    assert not destination.may_publish.matches("room.1")
    assert destination.rules is None
