// Uses a queue by the AWS SDK for JavaScript v3 and prints what it saw. Argument: the endpoint.
const {
  SQSClient,
  CreateQueueCommand,
  DeleteMessageCommand,
  PurgeQueueCommand,
  QueueDoesNotExist,
  ReceiveMessageCommand,
  SendMessageCommand,
} = require("@aws-sdk/client-sqs");

async function main() {
  const sqs = new SQSClient({
    endpoint: process.argv[2],
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: "by-js" }));
  const attribute = { DataType: "Binary", BinaryValue: new Uint8Array([0, 1]) };
  await sqs.send(
    new SendMessageCommand({
      QueueUrl,
      MessageBody: "hällo",
      MessageAttributes: { a: attribute },
    }),
  );
  const { Messages } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl,
      WaitTimeSeconds: 5,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["All"],
    }),
  );
  const [message] = Messages;
  await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));
  let missing = false;
  try {
    await sqs.send(new PurgeQueueCommand({ QueueUrl: `${QueueUrl}x` }));
  } catch (error) {
    missing = error instanceof QueueDoesNotExist;
  }
  const answer = {
    body: message.Body,
    attribute: [...message.MessageAttributes.a.BinaryValue],
    count: message.Attributes.ApproximateReceiveCount,
    missing,
  };
  console.log(JSON.stringify(answer));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
