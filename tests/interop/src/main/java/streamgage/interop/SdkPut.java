package streamgage.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;

/**
 * Puts records from standard input by the AWS SDK for Java, in one request.
 *
 * <p>Arguments: endpoint, stream. Lines are those of {@link KplSend}, and so is the output.
 */
public final class SdkPut {
    private SdkPut() {}

    public static void main(String[] arguments) throws IOException {
        List<PutRecordsRequestEntry> entries = new ArrayList<>();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            entries.add(entry(line.split("\t", -1)));
        }
        try (KinesisClient client = KclRead.client(arguments[0])) {
            client.putRecords(request -> request.streamName(arguments[1]).records(entries))
                    .records()
                    .forEach(stored -> System.out.println(stored.shardId() + '\t' + stored.sequenceNumber()));
        }
    }

    private static PutRecordsRequestEntry entry(String[] fields) {
        Base64.Decoder base64 = Base64.getDecoder();
        return PutRecordsRequestEntry.builder()
                .partitionKey(new String(base64.decode(fields[0]), StandardCharsets.UTF_8))
                .explicitHashKey(fields[1].isEmpty() ? null : fields[1])
                .data(SdkBytes.fromByteArray(base64.decode(fields[2])))
                .build();
    }
}
