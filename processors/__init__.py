"""Everything that runs in Lambda: a batch of Kinesis records to aggregates in DynamoDB, and the way to ask for them."""
