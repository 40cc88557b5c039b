"""How much all unfinished messages of a worker may hold together.

Each connection alone may hold one message up to its limit. Hundreds that never finish theirs
would add up; so they share a budget, and whoever would take it over the limit is turned away.
"""


class MessageBudget:
    """The books of one worker, in bytes."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = 64 << 20) -> None:
        self.limit = limit
        self.held = 0

    def change(self, difference: int) -> bool:
        """Book more or fewer bytes; False when more than the limit are held now.

        They are booked even then: the caller closes the connection and gives them back.
        """
        self.held += difference
        return difference <= 0 or self.held <= self.limit
