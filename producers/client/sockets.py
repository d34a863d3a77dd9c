"""The connections of a boto3 client, closed in a forked child: the parent goes on with them undisturbed.

A socket that two processes write to mixes their requests, and TLS breaks. Closing the child's copy of a descriptor sends
nothing: neither a FIN, for the parent's is open, nor TLS's farewell, which would end the parent's session.
"""

import os
from contextlib import suppress
from typing import Any
from weakref import WeakSet


class OwnSockets:
    """Takes note of the connections that a client opens, idle and in use alike."""

    def __init__(self, client: Any) -> None:
        self._connections: WeakSet[Any] = WeakSet()
        # A PoolManager has its own classes of pools, "so other PoolManagers can override them" (urllib3); botocore has one,
        # makes others for proxies, and shows none of them.
        session = client._endpoint.http_session  # noqa: SLF001 - there is no other way to a client's connections
        pools = {
            scheme: self._noting(pool_class)
            for scheme, pool_class in session._manager.pool_classes_by_scheme.items()  # noqa: SLF001 - as above
        }
        session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme = pools  # noqa: SLF001 - as above

    def _noting(self, pool_class: Any) -> Any:
        connections = self._connections

        class Connection(pool_class.ConnectionCls):  # type: ignore[misc]  # a base that is known when it runs
            def connect(self) -> None:
                super().connect()
                connections.add(self)

        return type(pool_class.__name__, (pool_class,), {"ConnectionCls": Connection})

    def close_copies(self) -> None:
        """Close this process's descriptors, and nothing else: no lock is taken, no byte is sent."""
        for each in list(self._connections):
            if each.sock is not None:
                with suppress(OSError):
                    os.close(each.sock.detach())
                each.sock = None
