"""The bridge from an MQTT broker: a message is acknowledged once its events are on the disk, and counts once by its id."""
