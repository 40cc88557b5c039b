"""What is true of the channels whose name matches a pattern."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .fields import CountOrOff, CountOrZero, Duration, Lines, Section, Switch, Text, word
from .scripts import check_script
from .statements import check_event_statement
from .templates import check_pattern


class History(Section):
    """The publications that are kept; both must be above 0 to keep any."""

    size: CountOrZero = Field(default=0, description="How many publications are kept.")
    ttl: Duration = Field(default=0.0, description="How long they are kept.")


class Authorize(Section):
    """The script that is asked at every subscribe."""

    upstream: Text = Field(description="The upstream that runs it.")
    script: Annotated[Text, AfterValidator(check_script)] = Field(
        description="The script, below the upstream's document_root."
    )


class EventQuery(Section):
    """A statement that is run when a connection comes into a channel, or when it leaves it."""

    dsn: Text = Field(description="The name of one of the `databases`.")
    query: Annotated[Lines, AfterValidator(check_event_statement)] = Field(
        description="One statement; bound as parameters, all of them text, are `:channel`, "
        "`:connection` (the connection's id), `:user` (NULL when there is none), `:route` and "
        "`:wildcard` (what the first `*` of `match` stands for, NULL without one). "
        "`:wildcard::int` makes a number of it."
    )


class Reaction(Section):
    """What is done when a connection comes into a channel, or when it leaves it."""

    postgres: EventQuery | None = Field(default=None, description="The query that is run; needed.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.postgres is None:
            raise ValueError('does nothing; it needs postgres: {dsn: NAME, query: "…"}')
        return self


class Channel(Section):
    """The rules of some channels; the first entry that matches a name counts."""

    match: Annotated[Text, AfterValidator(check_pattern)] = Field(
        description="The channels it is about: a name, where `*` stands for any characters."
    )
    create: Annotated[Literal["auto", "explicit"], *word("auto", "explicit")] = Field(
        default="auto",
        description="`explicit`: the channel must be opened through the API first, else 403.",
    )
    max_subscribers: CountOrOff = Field(
        default=None, description="Subscribers it may have; beyond it 409."
    )
    history: History = Field(default=History(), description="What is kept for those who come back.")
    presence: Switch = Field(
        default=False, description="Whether members can see each other, and joins and leaves."
    )
    authorize: Authorize | None = Field(
        default=None, description="Asks PHP at every subscribe. Default: nobody is asked."
    )
    on_subscribe: Reaction | None = Field(
        default=None,
        description="Runs once a connection has come in, also by its route or the API; the rows "
        "are sent to it alone. Not for long polls. Default: nothing.",
    )
    on_unsubscribe: Reaction | None = Field(
        default=None,
        description="Runs when a connection has left, also by its end or the channel's; the rows "
        "are ignored. Not for long polls. Default: nothing.",
    )
    idle_ttl: Duration = Field(
        default=30.0,
        description="An auto channel without subscribers and history is forgotten after so long.",
    )
