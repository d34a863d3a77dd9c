"""What `streamgage init` writes into a folder: a pipeline that runs as it is."""
