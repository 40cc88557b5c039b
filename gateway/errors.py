"""The errors of the gateway, each with the facts that made it.

Which of them closes or answers with which code is decided in `gateway.codes`.
"""


class GatewayError(Exception):
    """Everything the gateway raises of its own."""


class ConfigurationError(GatewayError):
    """The configuration cannot be used; each problem is a line that names place and cure."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ChannelError(GatewayError):
    """Something about one channel."""

    def __init__(self, channel: str, message: str) -> None:
        super().__init__(f"{channel}: {message}")
        self.channel = channel


class ChannelNameError(ChannelError):
    """The name is empty, too long or has characters a channel must not have."""


class ChannelNotFoundError(ChannelError):
    """An explicit channel that nobody has opened."""

    def __init__(self, channel: str) -> None:
        super().__init__(channel, "the channel is not open")


class ChannelFullError(ChannelError):
    """The channel has as many subscribers as it may."""

    def __init__(self, channel: str, limit: int) -> None:
        super().__init__(channel, f"the channel has its {limit} subscribers")
        self.limit = limit


class TooManyJoinedError(ChannelError):
    """The client has joined as many channels as one connection may join by itself."""

    def __init__(self, channel: str, limit: int) -> None:
        super().__init__(channel, f"the connection has joined its {limit} channels")
        self.limit = limit


class ChannelForbiddenError(ChannelError):
    """This client may not join or publish to the channel."""

    def __init__(self, channel: str) -> None:
        super().__init__(channel, "not permitted")


class UnrecoverablePositionError(ChannelError):
    """What followed the position is not, or not wholly, kept any more."""

    def __init__(self, channel: str, offset: int, epoch: str) -> None:
        super().__init__(channel, f"cannot resume after offset {offset} of epoch {epoch!r}")
        self.offset, self.epoch = offset, epoch


class BrokerError(GatewayError):
    """The broker could not do what was asked."""


class BrokerUnavailableError(BrokerError):
    """The broker is away; the caller should say so and may try again."""


class TooManyChannelsError(BrokerUnavailableError):
    """The broker keeps as many channels as it may; idle ones must be forgotten first."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the broker keeps its {limit} channels")
        self.limit = limit


class UnsupportedByBrokerError(BrokerError):
    """This kind of broker cannot do that at all."""


class NodeGoneError(BrokerError):
    """No worker of that name is alive; its connections are gone with it."""


class ConnectionIdError(GatewayError):
    """What was given cannot be a connection's id."""


class ConnectionGoneError(GatewayError):
    """The connection is not, or no longer, open anywhere."""


class SubscriberGoneError(ConnectionGoneError):
    """The connection ended, or left the channel, while it was joining; nothing of it remains."""

    def __init__(self, channel: str) -> None:
        super().__init__(f"{channel}: the connection left while joining")
        self.channel = channel


class NotTextError(GatewayError):
    """Bytes that should go out as text are not UTF-8."""


class MessageError(GatewayError):
    """A client's message cannot be understood; the message says what is wrong with it."""


class ReplyError(GatewayError):
    """PHP's reply cannot be carried out; the message says why, for the log."""


class DatabaseUnavailableError(GatewayError):
    """The database is away; the caller should say so and may try again."""


class TooManyQueriesError(GatewayError):
    """As many queries wait for the database as may; the caller should shed load."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} queries wait for the database")
        self.limit = limit


class QueryError(GatewayError):
    """The database refuses the configured query; `state` is the SQLSTATE. For the log alone."""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(f"{message} ({state})")
        self.state = state
