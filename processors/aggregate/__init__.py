"""The aggregate function: a batch of Kinesis records becomes exact aggregates."""
