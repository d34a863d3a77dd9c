"""Store and forward: sealed records on the disk until the stream has them."""

from producers.client.outbox import PATIENT
from producers.spool.forwarder import Forwarder
from producers.spool.row import Spooled
from producers.spool.spool import Spool
from producers.spool.told import SpoolError, SpoolFull, SpoolStats

__all__ = ["PATIENT", "Forwarder", "Spool", "SpoolError", "SpoolFull", "SpoolStats", "Spooled"]
