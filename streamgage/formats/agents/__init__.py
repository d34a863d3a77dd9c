"""What agents put on a stream: line protocol, OTLP metrics, CloudEvents, plain JSON; each item of it becomes an event.

Nothing here is imported unless a pipeline says ``[[sources.from]]``. Each format has a module that yields items, in the
order of the bytes; ``mapping`` says which source an item belongs to, and ``decoder`` makes its event, by the same rules as
every other entrance (``streamgage.formats.json_event``).
"""
