"""Whether Weights & Biases can be had: the package, a key, the network.

Owns all questions that are asked before anything is sent; each is answered in about two seconds at most. Does not own
what follows from the answers (wandb.py, workspace.py).
"""

import contextlib
import netrc
import os
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from fitness.errors import ConfigError

MODES = ("auto", "online", "offline", "disabled")
CONNECT_SECONDS = 2.0
"""How long the network is looked for, name lookup included."""

# Names of W&B's own service: a key that was stored under one of them counts for all.
_OWN_SERVERS = frozenset({"api.wandb.ai", "api.forge.coreweave.com"})


def import_wandb() -> Any:
    """Return the package wandb.

    Raises:
        ConfigError: It is not installed.
    """
    # Here and not at the top: reading a configuration must not cost two seconds.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B's reports about itself would leave an offline machine
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            "tracking.wandb.mode: expected the package wandb to be installed, found none; write disabled to do without"
        ) from error
    return wandb


def given_mode(configured: str) -> str:
    """Return the mode to use: what is written, or in auto what W&B's own variable says."""
    wanted = os.environ.get("WANDB_MODE", "").lower()
    return wanted if configured == "auto" and wanted in MODES else configured


def base_url(module: Any) -> str:
    """Return the address of the W&B server, which may be one's own: from W&B's files and variables."""
    return str(module.setup().settings.base_url)


def address(url: str) -> tuple[str, int]:
    """Return host and port to connect to."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def has_key(module: Any) -> bool:
    """Return whether W&B would find an API key without asking for one."""
    settings = module.setup().settings
    if os.environ.get("WANDB_API_KEY") or settings.api_key or settings.identity_token_file:
        return True
    machines = {urlsplit(base_url(module)).netloc}
    if machines & _OWN_SERVERS:
        machines |= _OWN_SERVERS
    try:
        keys = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(keys.authenticators(machine) for machine in machines)


def answers(place: tuple[str, int], seconds: float = CONNECT_SECONDS) -> bool:
    """Return whether the server takes a connection within `seconds`, name lookup included."""
    connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(place, timeout=seconds):
            connected.set()

    # A thread, because a name lookup takes no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return connected.is_set()
