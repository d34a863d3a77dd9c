"""The quarantine: what cannot be counted is kept, with its reason."""
