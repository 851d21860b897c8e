// The SNS client of the AWS SDK for JavaScript v3, which speaks the Query protocol; SQS receives.
import {
  CreateTopicCommand,
  EmptyBatchRequestException,
  GetSubscriptionAttributesCommand,
  InvalidParameterException,
  NotFoundException,
  PublishBatchCommand,
  PublishCommand,
  SNSClient,
  SubscribeCommand,
  paginateListSubscriptionsByTopic,
} from "@aws-sdk/client-sns";
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

import { tell } from "./harness.mjs";

const stories = { fanout, errors };

await tell(async ({ endpoint, story, name }) => {
  const options = {
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
  };
  const clients = { sns: new SNSClient(options), sqs: new SQSClient(options) };
  return stories[story](clients, name);
});

/** One batch, of which the filter of the queue lets one message through, as it was published. */
async function fanout({ sns, sqs }, name) {
  const { TopicArn } = await sns.send(new CreateTopicCommand({ Name: name }));
  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: name }));
  const { Attributes: queue } = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }),
  );
  const { SubscriptionArn } = await sns.send(
    new SubscribeCommand({
      TopicArn,
      Protocol: "sqs",
      Endpoint: queue.QueueArn,
      Attributes: { RawMessageDelivery: "true", FilterPolicy: '{"kind": ["tea"]}' },
    }),
  );
  const published = await sns.send(
    new PublishBatchCommand({
      TopicArn,
      PublishBatchRequestEntries: [
        { Id: "plain", Message: "nobody's" },
        {
          Id: "tea",
          Message: " hällo <☃> & more ",
          MessageAttributes: {
            kind: { DataType: "String", StringValue: "tea" },
            bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
          },
        },
      ],
    }),
  );
  const { Messages } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl,
      WaitTimeSeconds: 10,
      MaxNumberOfMessages: 10,
      MessageAttributeNames: ["All"],
    }),
  );
  const { Attributes: kept } = await sns.send(
    new GetSubscriptionAttributesCommand({ SubscriptionArn }),
  );
  const endpoints = [];
  for await (const page of paginateListSubscriptionsByTopic({ client: sns }, { TopicArn }))
    endpoints.push(...page.Subscriptions.map(({ Endpoint }) => Endpoint === queue.QueueArn));
  return {
    published: published.Successful.map(({ Id }) => Id),
    failed: published.Failed,
    bodies: Messages.map(({ Body }) => Body),
    kind: Messages[0].MessageAttributes.kind.StringValue,
    bytes: [...Messages[0].MessageAttributes.bytes.BinaryValue],
    policy: kept.FilterPolicy,
    endpoints,
  };
}

/** Refusals, each as the class of error that the SDK has for it. */
async function errors({ sns }, name) {
  const { TopicArn } = await sns.send(new CreateTopicCommand({ Name: name }));
  const refused = async (type, command) => {
    try {
      await sns.send(command);
    } catch (error) {
      const { httpStatusCode, requestId } = error.$metadata;
      return [error instanceof type, error.message, httpStatusCode, Boolean(requestId)];
    }
    return "accepted";
  };
  return {
    topic: await refused(
      NotFoundException,
      new PublishCommand({ TopicArn: `${TopicArn}-none`, Message: "x" }),
    ),
    name: await refused(InvalidParameterException, new CreateTopicCommand({ Name: "a b" })),
    batch: await refused(
      EmptyBatchRequestException,
      new PublishBatchCommand({ TopicArn, PublishBatchRequestEntries: [] }),
    ),
  };
}
