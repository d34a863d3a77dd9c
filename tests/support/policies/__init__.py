"""IAM policies as values: what a role allows, what a call needs, and whether the two are the same."""
