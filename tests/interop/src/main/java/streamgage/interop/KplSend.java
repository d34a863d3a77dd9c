package streamgage.interop;

import com.google.common.util.concurrent.ListenableFuture;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordFailedException;
import software.amazon.kinesis.producer.UserRecordResult;

/**
 * Sends user records from standard input by the Kinesis Producer Library.
 *
 * <p>A line is a partition key in base64, an explicit hash key or nothing, and data in base64, with tabs between them;
 * an empty line waits until everything before it is stored. Prints, for each user record, its shard and sequence number
 * with a tab between them, in the order of the input; ends with status 1 where one was not stored.
 */
public final class KplSend {
    private KplSend() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = Stream.of(arguments)
                .map(argument -> argument.split("=", 2))
                .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
        KinesisProducer producer = new KinesisProducer(configuration(options));
        List<ListenableFuture<UserRecordResult>> results = new ArrayList<>();
        try {
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                if (line.isEmpty()) {
                    producer.flushSync();
                } else {
                    results.add(put(producer, options.get("stream"), line.split("\t", -1)));
                }
            }
            producer.flushSync();
            StringBuilder stored = new StringBuilder();
            for (ListenableFuture<UserRecordResult> result : results) {
                stored.append(result.get().getShardId()).append('\t');
                stored.append(result.get().getSequenceNumber()).append('\n');
            }
            System.out.print(stored);
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UserRecordFailedException failed) {
                failed.getResult().getAttempts().forEach(attempt ->
                        System.err.println(attempt.getErrorCode() + ": " + attempt.getErrorMessage()));
            }
            error.printStackTrace();
            System.exit(1);
        } finally {
            producer.destroy();
        }
        System.exit(0); // its threads would keep the process
    }

    private static KinesisProducerConfiguration configuration(Map<String, String> options) {
        String host = options.get("host");
        long port = Long.parseLong(options.get("port"));
        return new KinesisProducerConfiguration()
                .setRegion("us-east-1")
                .setCredentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
                .setKinesisEndpoint(host)
                .setKinesisPort(port)
                .setStsEndpoint(host)
                .setStsPort(port)
                .setVerifyCertificate(false)
                .setMetricsLevel("none")
                .setTempDirectory(options.get("temp"))
                .setLogLevel("info")
                .setRecordMaxBufferedTime(1_000)
                .setRecordTtl(30_000)
                .setAggregationMaxCount(Long.parseLong(options.getOrDefault("max_count", "4294967295")));
    }

    private static ListenableFuture<UserRecordResult> put(KinesisProducer producer, String stream, String[] fields) {
        Base64.Decoder base64 = Base64.getDecoder();
        String partitionKey = new String(base64.decode(fields[0]), StandardCharsets.UTF_8);
        String hashKey = fields[1].isEmpty() ? null : fields[1];
        return producer.addUserRecord(stream, partitionKey, hashKey, ByteBuffer.wrap(base64.decode(fields[2])));
    }
}
