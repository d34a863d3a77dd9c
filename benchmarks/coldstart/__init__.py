"""The parts of ``benchmarks.cold_start``.

``handlers`` is what is started, ``stage`` puts bundles and the event together, ``aws_stub`` answers in place of AWS,
``start`` measures one start, ``cpu_cap`` gives it a share of a core, ``zygote`` forks it, ``imports`` tells what it loads.
"""
