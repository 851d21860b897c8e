// MQTT.js publishes to a queue, the AWS SDK takes the messages from it, and answers by MQTT.
import { DeleteMessageCommand, GetQueueUrlCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import mqtt from "mqtt";

import { Inbox, tell } from "./harness.mjs";

await tell(async ({ mqttUrl, endpoint }) => {
  const device = await mqtt.connectAsync(mqttUrl, { protocolVersion: 5, reconnectPeriod: 0 });
  const replies = new Inbox();
  device.on("message", (topic, payload) => replies.push([topic, payload.toString()]));
  await device.subscribeAsync("replies/device-1", { qos: 1 });
  for (const item of ["tea", "Käse"]) {
    await device.publishAsync("$queue/orders", item, {
      qos: 1,
      properties: { contentType: "text/plain", userProperties: { device: "1" } },
    });
  }

  const sqs = new SQSClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
  });
  const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: "orders" }));
  const orders = [];
  while (orders.length < 2) {
    const { Messages } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 10, MessageAttributeNames: ["All"] }),
    );
    for (const { Body, MessageAttributes, ReceiptHandle } of Messages) {
      orders.push([Body, MessageAttributes.device.StringValue]);
      await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
    }
  }

  const worker = await mqtt.connectAsync(mqttUrl, { reconnectPeriod: 0 });
  await worker.publishAsync("replies/device-1", `${orders.length} orders`, { qos: 1 });
  const reply = await replies.next("reply");
  await Promise.all([device.endAsync(), worker.endAsync()]);
  return { orders, reply };
});
