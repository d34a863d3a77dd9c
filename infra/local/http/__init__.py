"""HTTP servers of one kind: bounded, guarded, and every handler a plain function of a request."""
