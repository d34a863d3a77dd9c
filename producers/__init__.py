"""Everything that sends: batching, importers, simulators, and their command line."""
