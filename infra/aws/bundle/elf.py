"""Compiled modules without what nothing loads: symbols for debuggers are nine tenths of fastavro's.

A loader reads an ELF file by its program headers alone; sections are for linkers and debuggers.

Source: System V ABI, chapters 4 (ELF header, sections) and 5 (program headers): https://gabi.xinuos.com/elf/
"""

import struct

_MAGIC_64_LITTLE = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SHARED_OBJECT = 3  # e_type ET_DYN


def loadable(content: bytes) -> bytes:
    """Return the shared object *content* up to the end of its last segment, without section headers.

    Every segment keeps its bytes and its place. What is not a whole 64-bit little-endian shared object is returned as
    it is.
    """
    if not content.startswith(_MAGIC_64_LITTLE) or len(content) < _HEADER.size:
        return content
    fields = list(_HEADER.unpack_from(content))
    kind, table_offset, entry_bytes, count = fields[1], fields[5], fields[9], fields[10]
    end = table_offset + count * _SEGMENT.size
    if kind != _SHARED_OBJECT or entry_bytes != _SEGMENT.size or not count or end > len(content):
        return content
    for number in range(count):
        segment = _SEGMENT.unpack_from(content, table_offset + number * _SEGMENT.size)
        offset, file_bytes = segment[2], segment[5]
        end = max(end, offset + file_bytes)
    if end > len(content):
        return content
    fields[6] = fields[12] = fields[13] = 0  # e_shoff, e_shnum, e_shstrndx: there is no section table
    return _HEADER.pack(*fields) + content[_HEADER.size : end]
