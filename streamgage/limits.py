"""Limits of the services, each with its unit and source. Checked 2026-11-21.

- Kinesis: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
- PutRecords: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
- Lambda: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html
- DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
- SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
"""

MIB = 1024 * 1024

# Kinesis. A record's size is its data blob plus its partition key in UTF-8.
KINESIS_RECORD_BYTES = MIB
KINESIS_LARGE_RECORD_BYTES = 10 * MIB  # at most, where a stream opted into larger records
KINESIS_PARTITION_KEY_CHARS = 256
KINESIS_HASH_KEYS = 2**128
PUT_RECORDS_ENTRIES = 500
PUT_RECORDS_BYTES = 5 * MIB  # 10 MiB where the stream opted into larger records; 5 works everywhere
PUT_RECORDS_LARGE_BYTES = 10 * MIB  # what AWS takes; checked 2026-11-29
SHARD_IN_BYTES_PER_S = MIB
SHARD_IN_RECORDS_PER_S = 1000
SHARD_OUT_BYTES_PER_S = 2 * MIB
SHARD_READS_PER_S = 5
GET_RECORDS_BYTES = 10 * MIB
GET_RECORDS_ENTRIES = 10_000
ITERATOR_LIFE_MS = 300_000

# Lambda's event source mapping.
ESM_PAYLOAD_BYTES = 6 * MIB
ESM_BATCH_RECORDS = 10_000
ESM_WINDOW_S = 300
ESM_PARALLELIZATION_FACTOR = 10
ESM_RETRY_ATTEMPTS = 10_000
ESM_RECORD_AGE_S = 604_800

# DynamoDB.
DYNAMODB_ITEM_BYTES = 400 * 1024
DYNAMODB_PARTITION_KEY_BYTES = 2048
DYNAMODB_SORT_KEY_BYTES = 1024
DYNAMODB_WRITE_UNIT_BYTES = 1024
DYNAMODB_BATCH_GET_KEYS = 100
DYNAMODB_NUMBER_DIGITS = 38

# SQS. A message or a batch may be 1 MiB since 2025-08; 256 KiB works on every queue and emulator.
SQS_BATCH_ENTRIES = 10
SQS_BATCH_BYTES = 256 * 1024
