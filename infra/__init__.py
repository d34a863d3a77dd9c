"""Where the pipeline runs: on AWS from one template, and on one machine from the same."""
