"""What is true of the channels whose name matches a pattern."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .fields import CountOrOff, CountOrZero, Duration, Section, Switch, Text, word
from .scripts import check_script
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
    idle_ttl: Duration = Field(
        default=30.0,
        description="An auto channel without subscribers and history is forgotten after so long.",
    )
