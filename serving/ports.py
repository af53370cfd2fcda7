"""Which ports are free, and who listens on one."""

from __future__ import annotations

import socket

import psutil


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def can_bind(host: str, port: int) -> bool:
    """Tell whether a port is free at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def listens(pid: int, url: str) -> bool:
    """Tell whether it is this very process that listens on the port of `url`."""
    port = int(url.rsplit(":", 1)[1])
    try:
        process = psutil.Process(pid)
        # psutil 6 has renamed it.
        connections = getattr(process, "net_connections", None) or process.connections
        return any(
            held.status == psutil.CONN_LISTEN and held.laddr.port == port
            for held in connections(kind="tcp")
        )
    except psutil.Error:
        return False
