// The AWS SDK for JavaScript v3, which checks the MD5 of every body it sends and receives.
import {
  ChangeMessageVisibilityBatchCommand,
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueueTagsCommand,
  PurgeQueueCommand,
  QueueDoesNotExist,
  ReceiptHandleIsInvalid,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
  TagQueueCommand,
  TooManyEntriesInBatchRequest,
  paginateListQueues,
} from "@aws-sdk/client-sqs";

import { tell } from "./harness.mjs";

const everything = { MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] };
const stories = { standard, batches, fifo, queues, errors };

await tell(async ({ endpoint, story, name }) => {
  const client = new SQSClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
  });
  const call = (Command, input = {}) => client.send(new Command(input));
  return stories[story](call, name, client);
});

/** A message with attributes of each type, its second receive, its end. */
async function standard(call, QueueName) {
  const { QueueUrl } = await call(CreateQueueCommand, { QueueName });
  const sent = await call(SendMessageCommand, {
    QueueUrl,
    MessageBody: "hällo ☃",
    MessageAttributes: {
      text: { DataType: "String", StringValue: "wörld" },
      number: { DataType: "Number.int", StringValue: "42" },
      bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
    },
    MessageSystemAttributes: {
      AWSTraceHeader: { DataType: "String", StringValue: "Root=1-2-3" },
    },
  });
  const receive = async () => {
    const { Messages } = await call(ReceiveMessageCommand, {
      QueueUrl,
      WaitTimeSeconds: 10,
      ...everything,
    });
    return Messages[0];
  };
  const first = await receive();
  await call(ChangeMessageVisibilityCommand, {
    QueueUrl,
    ReceiptHandle: first.ReceiptHandle,
    VisibilityTimeout: 0,
  });
  const second = await receive();
  await call(DeleteMessageCommand, { QueueUrl, ReceiptHandle: second.ReceiptHandle });
  const { Messages: left } = await call(ReceiveMessageCommand, { QueueUrl });
  const { text, number, bytes } = second.MessageAttributes;
  return {
    sameId: sent.MessageId === second.MessageId,
    body: second.Body,
    sentMd5: sent.MD5OfMessageAttributes,
    receivedMd5: second.MD5OfMessageAttributes,
    systemMd5: sent.MD5OfMessageSystemAttributes,
    text,
    number,
    bytes: [...bytes.BinaryValue],
    trace: second.Attributes.AWSTraceHeader,
    counts: [first, second].map((message) => message.Attributes.ApproximateReceiveCount),
    left: left ?? [],
  };
}

/** Ten messages at once, one of them refused. */
async function batches(call, QueueName) {
  const { QueueUrl } = await call(CreateQueueCommand, { QueueName });
  const sent = await call(SendMessageBatchCommand, {
    QueueUrl,
    Entries: Array.from({ length: 10 }, (_, index) => ({
      Id: `e${index}`,
      MessageBody: `body ${index}`,
      DelaySeconds: index === 3 ? 901 : 0,
    })),
  });
  const messages = [];
  while (messages.length < 9) {
    const { Messages } = await call(ReceiveMessageCommand, {
      QueueUrl,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: 10,
    });
    messages.push(...Messages);
  }
  const handles = messages.map(({ ReceiptHandle }, index) => ({ Id: `h${index}`, ReceiptHandle }));
  const changed = await call(ChangeMessageVisibilityBatchCommand, {
    QueueUrl,
    Entries: handles.map((entry) => ({ ...entry, VisibilityTimeout: 60 })),
  });
  const deleted = await call(DeleteMessageBatchCommand, { QueueUrl, Entries: handles });
  const { Attributes } = await call(GetQueueAttributesCommand, {
    QueueUrl,
    AttributeNames: ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
  });
  return {
    sent: sent.Successful.map((entry) => entry.Id),
    failed: sent.Failed.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault]),
    bodies: messages.map((message) => message.Body).sort(),
    changed: changed.Successful.length,
    deleted: deleted.Successful.length,
    left: Attributes,
  };
}

/** Order in a group, a duplicate, and a group that is closed while another flows on. */
async function fifo(call, name) {
  const { QueueUrl } = await call(CreateQueueCommand, {
    QueueName: `${name}.fifo`,
    Attributes: { FifoQueue: "true", ContentBasedDeduplication: "true" },
  });
  const send = (MessageGroupId, MessageBody) =>
    call(SendMessageCommand, { QueueUrl, MessageGroupId, MessageBody });
  const first = await send("a", "a1");
  const duplicate = await send("a", "a1");
  await send("a", "a2");
  await send("b", "b1");
  const receive = async (count) => {
    const { Messages } = await call(ReceiveMessageCommand, {
      QueueUrl,
      MaxNumberOfMessages: count,
      WaitTimeSeconds: 2,
      ...everything,
    });
    return Messages ?? [];
  };
  const [head] = await receive(1);
  const others = await receive(10);
  await call(DeleteMessageCommand, { QueueUrl, ReceiptHandle: head.ReceiptHandle });
  const [next] = await receive(10);
  return {
    duplicate: first.SequenceNumber === duplicate.SequenceNumber,
    head: head.Body,
    others: others.map((message) => message.Body),
    next: next.Body,
    group: next.Attributes.MessageGroupId,
    ordered: BigInt(head.Attributes.SequenceNumber) < BigInt(next.Attributes.SequenceNumber),
  };
}

/** The life of queues: attributes, tags, pages of names, purge, end. */
async function queues(call, name, client) {
  for (const suffix of ["-1", "-2", "-3"]) {
    await call(CreateQueueCommand, { QueueName: name + suffix });
  }
  const { QueueUrl } = await call(GetQueueUrlCommand, { QueueName: `${name}-1` });
  await call(SetQueueAttributesCommand, {
    QueueUrl,
    Attributes: { VisibilityTimeout: "7", ReceiveMessageWaitTimeSeconds: "1" },
  });
  await call(TagQueueCommand, { QueueUrl, Tags: { team: "hübbub" } });
  const { Attributes } = await call(GetQueueAttributesCommand, {
    QueueUrl,
    AttributeNames: ["All"],
  });
  const { Tags } = await call(ListQueueTagsCommand, { QueueUrl });
  const pages = [];
  for await (const page of paginateListQueues({ client, pageSize: 2 }, { QueueNamePrefix: name })) {
    pages.push((page.QueueUrls ?? []).map((url) => url.split("/").pop()));
  }
  await call(SendMessageCommand, { QueueUrl, MessageBody: "to be purged" });
  await call(PurgeQueueCommand, { QueueUrl });
  const { Messages } = await call(ReceiveMessageCommand, { QueueUrl });
  await call(DeleteQueueCommand, { QueueUrl });
  return {
    visibility: Attributes.VisibilityTimeout,
    arn: Attributes.QueueArn.split(":").pop() === `${name}-1`,
    tags: Tags,
    pages,
    purged: Messages ?? [],
  };
}

/** Refusals, each as the class of error that the SDK has for it. */
async function errors(call, QueueName) {
  const { QueueUrl } = await call(CreateQueueCommand, { QueueName });
  const refused = async (type, Command, input) => {
    try {
      await call(Command, input);
    } catch (error) {
      const { httpStatusCode, requestId } = error.$metadata;
      return [error instanceof type, error.name, httpStatusCode, Boolean(requestId)];
    }
    return "accepted";
  };
  const entries = Array.from({ length: 11 }, (_, index) => ({ Id: `${index}`, MessageBody: "x" }));
  return {
    queue: await refused(QueueDoesNotExist, GetQueueUrlCommand, { QueueName: `${QueueName}-none` }),
    handle: await refused(ReceiptHandleIsInvalid, DeleteMessageCommand, {
      QueueUrl,
      ReceiptHandle: "not-a-handle",
    }),
    batch: await refused(TooManyEntriesInBatchRequest, SendMessageBatchCommand, {
      QueueUrl,
      Entries: entries,
    }),
  };
}
