from gateway.brokers.window import Window
from gateway.channels.broker import Receipt
from gateway.channels.publication import Position


def receipt(n: int) -> Receipt:
    return Receipt(n, Position(n, "e"))


def test_a_key_counts_for_five_minutes_from_its_first_use() -> None:
    window = Window()
    window.keep("a", receipt(1), now=0)

    assert window.find("a", now=299.9) == receipt(1)
    assert window.find("a", now=300) is None
    assert window.find("b", now=0) is None


def test_a_full_window_forgets_the_oldest_key() -> None:
    window = Window(limit=2)
    for n, key in enumerate("abc"):
        window.keep(key, receipt(n), now=n)

    assert len(window) == 2
    assert window.find("a", now=2) is None
    assert window.find("c", now=2) == receipt(2)


def test_keys_whose_time_is_over_take_no_room() -> None:
    window = Window()
    for n in range(10):
        window.keep(str(n), receipt(n), now=n)

    window.expire(now=305)

    assert len(window) == 4
