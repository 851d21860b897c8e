// The Kinesis client of the AWS SDK for JavaScript v3, which speaks HTTP/2 by prior knowledge.
import {
  CreateStreamCommand,
  DescribeStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  PutRecordCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  ResourceInUseException,
  ResourceNotFoundException,
  SubscribeToShardCommand,
} from "@aws-sdk/client-kinesis";

import { tell, within } from "./harness.mjs";

const stories = { records, subscribing, errors };
const text = (data) => Buffer.from(data).toString();

await tell(async ({ endpoint, story, name }) => {
  const client = new KinesisClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
  });
  const call = (Command, input = {}) => client.send(new Command(input));
  const protocol = client.config.requestHandler.metadata.handlerProtocol;
  return { protocol, ...(await stories[story](call, name)) };
});

async function make(call, StreamName, ShardCount = 1) {
  await call(CreateStreamCommand, { StreamName, ShardCount });
  const { StreamDescriptionSummary: summary } = await call(DescribeStreamSummaryCommand, {
    StreamName,
  });
  const { Shards } = await call(ListShardsCommand, { StreamName });
  return { arn: summary.StreamARN, shards: Shards.map(({ ShardId }) => ShardId) };
}

/** Five hundred records in one request, read back; and one of a megabyte. */
async function records(call, StreamName) {
  const { shards } = await make(call, StreamName);
  const put = await call(PutRecordsCommand, {
    StreamName,
    Records: Array.from({ length: 500 }, (_, index) => ({
      PartitionKey: `k${index}`,
      Data: Buffer.from(`record ${index}`),
    })),
  });
  const large = Buffer.alloc(1_000_000, "x");
  await call(PutRecordCommand, { StreamName, PartitionKey: "large", Data: large });
  let { ShardIterator } = await call(GetShardIteratorCommand, {
    StreamName,
    ShardId: shards[0],
    ShardIteratorType: "TRIM_HORIZON",
  });
  const read = [];
  while (read.length < 501) {
    const got = await call(GetRecordsCommand, { ShardIterator });
    read.push(...got.Records);
    ShardIterator = got.NextShardIterator;
  }
  return {
    failed: put.FailedRecordCount,
    ordered: read.slice(0, 500).every(({ Data }, index) => text(Data) === `record ${index}`),
    large: Buffer.from(read[500].Data).equals(large),
  };
}

/** Enhanced fan-out: records are pushed while others are put on the same connection. */
async function subscribing(call, StreamName) {
  const { arn, shards } = await make(call, StreamName);
  const { Consumer } = await call(RegisterStreamConsumerCommand, {
    StreamARN: arn,
    ConsumerName: "fan",
  });
  const { ConsumerDescription: consumer } = await call(DescribeStreamConsumerCommand, {
    ConsumerARN: Consumer.ConsumerARN,
  });
  const { EventStream } = await call(SubscribeToShardCommand, {
    ConsumerARN: Consumer.ConsumerARN,
    ShardId: shards[0],
    StartingPosition: { Type: "TRIM_HORIZON" },
  });
  const events = EventStream[Symbol.asyncIterator]();
  const pushed = [];
  for (const word of ["one", "two", "three"]) {
    await call(PutRecordCommand, { StreamName, PartitionKey: "k", Data: Buffer.from(word) });
    while (pushed.at(-1) !== word) {
      const { value } = await within(events.next(), `record ${word}`);
      const got = value.SubscribeToShardEvent;
      pushed.push(...got.Records.map(({ Data }) => text(Data)));
    }
  }
  await within(events.return(), "end of the subscription");
  return { status: consumer.ConsumerStatus, pushed };
}

async function errors(call, StreamName) {
  const { arn } = await make(call, StreamName);
  const told = {};
  for (const [name, [Command, input], kind] of [
    ["missing", [PutRecordCommand, { StreamName: "none", PartitionKey: "k", Data: Buffer.from("") }],
      ResourceNotFoundException],
    ["again", [CreateStreamCommand, { StreamName, ShardCount: 1 }], ResourceInUseException],
    ["consumer", [SubscribeToShardCommand, {
      ConsumerARN: `${arn}/consumer/none:1`,
      ShardId: "shardId-000000000000",
      StartingPosition: { Type: "LATEST" },
    }], ResourceNotFoundException],
  ]) {
    try {
      await call(Command, input);
    } catch (error) {
      told[name] = [error instanceof kind, error.$metadata.httpStatusCode];
    }
  }
  return told;
}
