import pytest

from gateway.brokers.books import Books
from gateway.channels.broker import ChannelRules, Member
from gateway.channels.publication import Message
from gateway.errors import TooManyChannelsError

PLAIN = ChannelRules()
SEEN = ChannelRules(presence=True)
KEPT = ChannelRules(history_size=5, history_ttl=60)


def test_a_dead_worker_takes_its_members_and_the_others_are_told() -> None:
    books = Books()
    for channel, rules in (("seen", SEEN), ("plain", PLAIN)):
        books.join(channel, "A", Member("a1"), rules, 0)
        books.join(channel, "A", Member("a2"), rules, 0)
        books.join(channel, "B", Member("b1"), rules, 0)
    books.join("empty", "A", Member("a3"), SEEN, 0)

    departures = books.drop_node("A", 0)

    told = {(each.channel, each.member.id): tuple(each.tell) for each in departures}
    assert told == {
        ("seen", "a1"): ("B",),
        ("seen", "a2"): ("B",),
        ("plain", "a1"): (),
        ("plain", "a2"): (),
        ("empty", "a3"): (),
    }
    assert books.presence("seen") == (Member("b1"),)
    assert books.drop_node("A", 0) == []


def test_a_publication_goes_to_the_workers_with_members_only() -> None:
    books = Books()
    books.join("room", "A", Member("a1"), PLAIN, 0)
    books.join("room", "B", Member("b1"), PLAIN, 0)
    books.leave("room", "b1", 0)

    published = books.publish("room", Message(b"x"), PLAIN, 0)

    assert list(published.nodes) == ["A"]


def test_a_message_to_nobody_leaves_no_trace() -> None:
    books = Books()
    for n in range(100):
        assert books.publish(f"room.{n}", Message(b"x"), PLAIN, 0).publication is None

    assert len(books) == 0


def test_there_is_an_end_to_channels_and_idle_ones_make_room() -> None:
    books = Books(limit=2)
    books.publish("a", Message(b"x"), KEPT, 0)
    books.join("b", "A", Member("a1"), PLAIN, 0)

    with pytest.raises(TooManyChannelsError):
        books.open("c", PLAIN, 0)

    books.sweep(90)
    assert books.open("c", PLAIN, 90)


def test_a_sweep_looks_at_a_few_channels_at_a_time_and_at_all_in_the_end() -> None:
    books = Books()
    for n in range(100):
        books.publish(f"room.{n}", Message(b"x"), KEPT, 0)

    books.sweep(90, steps=10)
    assert len(books) == 90
    for _ in range(10):
        books.sweep(90, steps=10)

    assert len(books) == 0


def test_rules_may_change_while_a_channel_lives() -> None:
    books = Books()
    books.join("room", "A", Member("a1"), PLAIN, 0)
    assert books.publish("room", Message(b"x"), PLAIN, 0).receipt.position.offset == 0

    first = books.publish("room", Message(b"x"), KEPT, 0).receipt.position
    again = books.publish("room", Message(b"x"), ChannelRules(history_size=1, history_ttl=60), 0)
    off = books.publish("room", Message(b"x"), PLAIN, 0)
    anew = books.publish("room", Message(b"x"), KEPT, 0).receipt.position

    assert first.offset == 1
    assert again.receipt.position.offset == 2
    assert off.receipt.position.offset == 0
    assert anew.offset == 1
    assert anew.epoch != first.epoch
