package streamgage.interop;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * Runs the whole KCL, by polling: prints "record SHARD DATA" and "ended SHARD" a line until as many user records have
 * come as were asked for, and as many shards have ended. The Kinesis client is the SDK's asynchronous one as it comes.
 *
 * <p>Arguments: Kinesis' URL, that of DynamoDB, the stream, user records, ended shards.
 */
public final class KclRun {
  private static final long PATIENCE_S = 150;

  private KclRun() {}

  private static final class Reader implements ShardRecordProcessor {
    private final AtomicInteger records;
    private final AtomicInteger shards;
    private String shard;

    Reader(AtomicInteger records, AtomicInteger shards) {
      this.records = records;
      this.shards = shards;
    }

    @Override
    public void initialize(InitializationInput input) {
      shard = input.shardId();
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
      for (KinesisClientRecord each : input.records()) {
        ByteBuffer data = each.data();
        byte[] bytes = new byte[data.remaining()];
        data.get(bytes);
        say("record " + shard + " " + new String(bytes, StandardCharsets.UTF_8));
        records.decrementAndGet();
      }
      checkpoint(() -> input.checkpointer().checkpoint());
    }

    @Override
    public void leaseLost(LeaseLostInput input) {}

    @Override
    public void shardEnded(ShardEndedInput input) {
      checkpoint(() -> input.checkpointer().checkpoint());
      say("ended " + shard);
      shards.decrementAndGet();
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
      checkpoint(() -> input.checkpointer().checkpoint());
    }
  }

  private interface Checkpoint {
    void write() throws Exception;
  }

  private static void checkpoint(Checkpoint checkpoint) {
    try {
      checkpoint.write();
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  private static synchronized void say(String line) {
    System.out.println(line);
  }

  private static <B extends AwsClientBuilder<B, C>, C> C client(B builder, String url) {
    return builder
        .endpointOverride(URI.create(url))
        .region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
        .build();
  }

  public static void main(String[] arguments) throws Exception {
    String stream = arguments[2];
    AtomicInteger records = new AtomicInteger(Integer.parseInt(arguments[3]));
    AtomicInteger shards = new AtomicInteger(Integer.parseInt(arguments[4]));
    KinesisAsyncClient kinesis = client(KinesisAsyncClient.builder(), arguments[0]);
    DynamoDbAsyncClient dynamo = client(DynamoDbAsyncClient.builder(), arguments[1]);
    CloudWatchAsyncClient metrics = client(CloudWatchAsyncClient.builder(), arguments[1]);
    ConfigsBuilder configs =
        new ConfigsBuilder(
            new SingleStreamTracker(
                StreamIdentifier.singleStreamInstance(stream),
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON)),
            "app-" + stream,
            kinesis,
            dynamo,
            metrics,
            UUID.randomUUID().toString(),
            () -> new Reader(records, shards));
    Scheduler scheduler =
        new Scheduler(
            configs.checkpointConfig(),
            configs.coordinatorConfig().parentShardPollIntervalMillis(500),
            configs.leaseManagementConfig().shardSyncIntervalMillis(1000).failoverTimeMillis(2000),
            configs.lifecycleConfig(),
            configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            configs
                .retrievalConfig()
                .retrievalSpecificConfig(
                    new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(250)));
    Thread running = new Thread(scheduler);
    running.setDaemon(true);
    running.start();
    long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
    while (running.isAlive() && System.nanoTime() < until && (records.get() > 0 || shards.get() > 0)) {
      Thread.sleep(100);
    }
    System.out.flush();
    System.exit(records.get() <= 0 && shards.get() <= 0 ? 0 : 1);
  }
}
