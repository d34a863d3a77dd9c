"""The AWS SDK for JavaScript v3 as it comes: HTTP/2 with prior knowledge, to the plain port."""

import json
import re
import subprocess
from pathlib import Path

from interop.programs import npm_folder
from interop.served import served
from support.paths import ROOT

LOCKED = ROOT / "requirements" / "javascript"
VERSION: str = json.loads((LOCKED / "package.json").read_text())["dependencies"]["@aws-sdk/client-kinesis"]
PROGRAM = """
import { KinesisClient, PutRecordsCommand, ListShardsCommand, GetShardIteratorCommand, GetRecordsCommand }
  from "@aws-sdk/client-kinesis";
const client = new KinesisClient({
  region: "us-east-1", endpoint: process.argv[2], maxAttempts: 1,
  credentials: { accessKeyId: "x", secretAccessKey: "y" },
});
console.log("handler", client.config.requestHandler.metadata.handlerProtocol);
const puts = Array.from({ length: 20 }, (_, n) => client.send(new PutRecordsCommand({
  StreamName: "s",
  Records: Array.from({ length: 500 }, (_, m) => ({ Data: Buffer.alloc(1000, n), PartitionKey: `${n}/${m}` })),
})));
const failed = (await Promise.all(puts)).reduce((sum, each) => sum + each.FailedRecordCount, 0);
const { ShardIterator } = await client.send(new GetShardIteratorCommand({
  StreamName: "s", ShardId: "shardId-000000000000", ShardIteratorType: "TRIM_HORIZON" }));
const { Records } = await client.send(new GetRecordsCommand({ ShardIterator, Limit: 10000 }));
console.log("failed", failed, "read", Records.length, "bytes", Records.reduce((sum, each) => sum + each.Data.length, 0));
try { await client.send(new ListShardsCommand({ StreamName: "absent" })); }
catch (error) { console.log("error", error.name); }
process.exit(0);
"""


def test_the_javascript_sdk_speaks_http_2_to_the_plain_port(tmp_path: Path) -> None:
    program = npm_folder(LOCKED, "@aws-sdk/client-kinesis") / "program.mjs"
    program.write_text(PROGRAM)
    with served(tmp_path) as running:
        running.client.create_stream(StreamName="s", ShardCount=1)
        done = subprocess.run(
            ["node", str(program), running.plain.url], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        said = dict(re.findall(r"(\w+) (\S+)", done.stdout))
        assert said == {
            "handler": "h2",
            "failed": "0",
            "read": "10000",
            "bytes": "10000000",
            "error": "ResourceNotFoundException",
        }
        assert sum(len(records) for records in running.read("s").values()) == 10_000
