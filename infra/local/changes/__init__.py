"""Lambda's event source mapping of a table's stream: what changed is told to a function, as news."""
