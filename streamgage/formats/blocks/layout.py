"""What a block looks like from outside: what it begins with, and its limits. The rest is docs/formats.md."""

from streamgage.formats.avro import AvroSchema
from streamgage.limits import MIB

MARKER = b"\xc3\xb1"  # Avro's single objects begin with C3 01
PREFIX_BYTES = 10
MAX_EVENTS = 65_536
MAX_RECORD_EVENTS = MAX_EVENTS
"""Of a Kinesis record, whatever its blocks say: more than 1 MiB of rows could be, so none asks for more than an honest one."""
MAX_INFLATED_BYTES = 16 * MIB
RAW, DEFLATED = 0x10, 0x11  # layout 1; the body as it is, or as a raw deflate stream (RFC 1951)


def block_prefix(schema: AvroSchema) -> bytes:
    """Return the first ten bytes of each block of *schema*'s events."""
    return MARKER + schema.prefix[len(MARKER) :]
