"""AWS on one machine: the emulator, the Kinesis data plane, Lambda sandboxes and the event source mapping."""
