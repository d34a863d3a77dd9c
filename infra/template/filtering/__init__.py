"""Filter patterns of event source mappings: FilterCriteria, read and matched. No I/O; the local mapping and lint share it."""
