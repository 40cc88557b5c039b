"""TLS for the public listener."""

import ssl

from gateway.config.model import Config
from gateway.errors import ConfigurationError


def tls_context(config: Config) -> ssl.SSLContext | None:
    """TLS for the public listener, where it is configured."""
    if config.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
    except OSError as exc:
        raise ConfigurationError(
            f"tls: {config.tls.certificate} and {config.tls.key} cannot be used together: "
            f"{exc.strerror or exc}"
        ) from exc
    return context
