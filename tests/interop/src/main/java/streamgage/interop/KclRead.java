package streamgage.interop;

import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/**
 * Reads a stream by the AWS SDK for Java and takes its records apart by the Kinesis Client Library.
 *
 * <p>Arguments: endpoint, stream. Prints a JSON line for each user record, with its partition key in base64, in the order
 * of its shard; as the KCL does, with the shard's hash keys, so that what does not belong there is not there.
 */
public final class KclRead {
    private KclRead() {}

    public static void main(String[] arguments) {
        try (KinesisClient client = client(arguments[0]);
                PrintStream output = new PrintStream(System.out, false, StandardCharsets.US_ASCII)) {
            for (Shard shard : client.listShards(request -> request.streamName(arguments[1])).shards()) {
                read(client, arguments[1], shard, output);
            }
        }
    }

    static KinesisClient client(String endpoint) {
        return KinesisClient.builder()
                .endpointOverride(URI.create(endpoint))
                .region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
                .httpClient(UrlConnectionHttpClient.create())
                .build();
    }

    private static void read(KinesisClient client, String stream, Shard shard, PrintStream output) {
        AggregatorUtil deaggregator = new AggregatorUtil();
        String iterator = client.getShardIterator(request -> request
                        .streamName(stream)
                        .shardId(shard.shardId())
                        .shardIteratorType(ShardIteratorType.TRIM_HORIZON))
                .shardIterator();
        boolean behind = true;
        while (iterator != null && behind) {
            String position = iterator;
            GetRecordsResponse answer = client.getRecords(request -> request.shardIterator(position));
            List<KinesisClientRecord> records =
                    answer.records().stream().map(KinesisClientRecord::fromRecord).toList();
            deaggregator
                    .deaggregate(
                            records,
                            shard.hashKeyRange().startingHashKey(),
                            shard.hashKeyRange().endingHashKey())
                    .forEach(record -> output.println(json(shard.shardId(), record)));
            iterator = answer.nextShardIterator();
            behind = answer.millisBehindLatest() > 0;
        }
    }

    private static String json(String shardId, KinesisClientRecord record) {
        Base64.Encoder base64 = Base64.getEncoder();
        String hashKey = record.explicitHashKey() == null ? "null" : '"' + record.explicitHashKey() + '"';
        return String.format(
                "{\"shard\":\"%s\",\"sequence\":\"%s\",\"subsequence\":%d,\"aggregated\":%b,\"arrival_ms\":%d,"
                        + "\"key\":\"%s\",\"hash_key\":%s,\"data\":\"%s\"}",
                shardId,
                record.sequenceNumber(),
                record.subSequenceNumber(),
                record.aggregated(),
                record.approximateArrivalTimestamp().toEpochMilli(),
                base64.encodeToString(record.partitionKey().getBytes(StandardCharsets.UTF_8)),
                hashKey,
                base64.encodeToString(SdkBytes.fromByteBuffer(record.data()).asByteArray()));
    }
}
