// amqplib, the AMQP 0-9-1 client for Node.js.
import { isDeepStrictEqual } from "node:util";

import amqp from "amqplib";

import { Inbox, tell, within } from "./harness.mjs";

const stories = { properties, acknowledgements, deadLetters, topics, rpc, errors, prefetch };

await tell(async ({ url, story, name }) => {
  const connection = await within(amqp.connect(url), "connection");
  connection.on("error", () => {}); // what a story provokes
  const told = await stories[story](connection, name);
  await connection.close();
  return told;
});

/** All properties and types of a table go through; confirmed; the body in several frames. */
async function properties(connection, name) {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(name, { durable: true });
  const body = Buffer.alloc(400_000, "ab");
  const sent = {
    contentType: "application/x",
    contentEncoding: "none",
    headers: {
      text: "größe",
      int: 7,
      big: 2 ** 40,
      float: 1.5,
      yes: true,
      nothing: null,
      list: [1, "two", { three: 3 }],
      table: { inner: "value" },
      date: { "!": "timestamp", value: 1_700_000_000 },
      decimal: { "!": "decimal", value: { digits: 314, places: 2 } },
    },
    deliveryMode: 2,
    priority: 4,
    correlationId: "c1",
    replyTo: "somewhere",
    expiration: "60000",
    messageId: "m1",
    timestamp: 1_700_000_000,
    type: "order",
    appId: "test",
  };
  channel.sendToQueue(name, body, sent);
  await within(channel.waitForConfirms(), "confirm");
  const message = await channel.get(name);
  channel.ack(message);
  const empty = await channel.get(name);
  const differing = Object.keys(sent).filter(
    (key) => !isDeepStrictEqual(message.properties[key], sent[key]),
  );
  return {
    differing,
    body: message.content.equals(body),
    fields: [message.fields.exchange, message.fields.routingKey === name, message.fields.redelivered],
    empty,
  };
}

/** Several at once acknowledged and refused; recover; what a closed channel held. */
async function acknowledgements(connection, name) {
  const publisher = await connection.createConfirmChannel();
  await publisher.assertQueue(name);
  for (let index = 0; index < 6; index++) publisher.sendToQueue(name, Buffer.from(`${index}`));
  await within(publisher.waitForConfirms(), "confirms");
  const channel = await connection.createChannel();
  const inbox = new Inbox();
  const { consumerTag } = await channel.consume(name, inbox.push, { consumerTag: `${name}-tag` });
  const all = await inbox.take(6);
  channel.ack(all[2], true); // the first three
  channel.nack(all[3], false, true);
  channel.reject(all[4], false);
  const requeued = await inbox.next("redelivery");
  await channel.cancel(consumerTag);
  await channel.close(); // gives back two
  const { messageCount, consumerCount } = await publisher.checkQueue(name);
  const left = [await publisher.get(name), await publisher.get(name)];
  return {
    tag: consumerTag === `${name}-tag`,
    bodies: all.map((message) => message.content.toString()),
    requeued: [requeued.content.toString(), requeued.fields.redelivered],
    counts: [messageCount, consumerCount],
    left: left.map(({ content, fields }) => [content.toString(), fields.redelivered]),
  };
}

/** Rejected, expired and dropped by length: each arrives with its reason. */
async function deadLetters(connection, name) {
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(`${name}-dead`, "fanout");
  await channel.assertQueue(`${name}-dead`);
  await channel.bindQueue(`${name}-dead`, `${name}-dead`, "");
  await channel.assertQueue(name, { deadLetterExchange: `${name}-dead`, maxLength: 2 });
  const dead = new Inbox();
  await channel.consume(`${name}-dead`, dead.push, { noAck: true });
  const send = async (body, options) => {
    channel.sendToQueue(name, Buffer.from(body), options);
    await within(channel.waitForConfirms(), "confirm");
  };
  await send("rejected");
  channel.nack(await channel.get(name), false, false);
  const letters = [await dead.next("rejected")];
  await send("expired", { expiration: "1" });
  letters.push(await dead.next("expired"));
  for (const body of ["dropped", "kept", "kept"]) await send(body);
  letters.push(await dead.next("dropped"));
  return letters.map(({ content, properties: { headers } }) => {
    const [{ reason, queue, count, exchange, "routing-keys": keys }] = headers["x-death"];
    return [content.toString(), reason, queue === name, count, exchange, keys[0] === name];
  });
}

/** Exchanges of each type, bound to one another; what no queue takes is returned. */
async function topics(connection, name) {
  const channel = await connection.createConfirmChannel();
  const exchange = (type) => `${name}-${type}`;
  for (const type of ["direct", "fanout", "topic", "headers"]) {
    await channel.assertExchange(exchange(type), type, { autoDelete: true });
  }
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, exchange("topic"), "*.error.#");
  await channel.bindQueue(queue, exchange("headers"), "", { "x-match": "all", a: 1, b: "2" });
  await channel.bindQueue(queue, exchange("direct"), "key");
  await channel.bindExchange(exchange("direct"), exchange("fanout"), "");
  const inbox = new Inbox();
  await channel.consume(queue, inbox.push, { noAck: true });
  const returned = new Inbox();
  channel.on("return", returned.push);
  const publish = async (type, key, options) => {
    channel.publish(exchange(type), key, Buffer.from(`${type} ${key}`), options);
    await within(channel.waitForConfirms(), "confirm");
  };
  await publish("topic", "app.error.disk.full");
  await publish("topic", "app.info");
  await publish("headers", "", { headers: { a: 1, b: "2", c: 3 } });
  await publish("headers", "", { headers: { a: 1 } });
  await publish("direct", "key");
  await publish("fanout", "key");
  await publish("direct", "nobody", { mandatory: true });
  const found = await inbox.take(4);
  const back = await returned.next("return");
  return {
    generated: queue.startsWith("amq.gen-"),
    found: found.map((message) => message.content.toString()),
    returned: [back.fields.replyCode, back.fields.replyText, back.content.toString()],
    left: inbox.size,
  };
}

/** Direct reply-to. */
async function rpc(connection, name) {
  const server = await connection.createChannel();
  await server.assertQueue(name, { autoDelete: true });
  await server.consume(name, (request) => {
    const { replyTo, correlationId } = request.properties;
    const answer = Buffer.from(`${Number(request.content) ** 2}`);
    server.sendToQueue(replyTo, answer, { correlationId });
    server.ack(request);
  });
  const client = await connection.createChannel();
  const replies = new Inbox();
  await client.consume("amq.rabbitmq.reply-to", replies.push, { noAck: true });
  for (const number of [3, 4]) {
    client.sendToQueue(name, Buffer.from(`${number}`), {
      replyTo: "amq.rabbitmq.reply-to",
      correlationId: `${number}`,
    });
  }
  const answers = await replies.take(2);
  return answers.map(({ content, properties }) => [properties.correlationId, content.toString()]);
}

/** Errors that close a channel, with RabbitMQ's words; the connection goes on. */
async function errors(connection, name) {
  const refused = async (act) => {
    const channel = await connection.createChannel();
    const failed = new Promise((resolve) => channel.once("error", resolve));
    act(channel).catch(() => {});
    const error = await within(failed, "channel error");
    return [error.code, error.message.match(/message "(.*)"$/)[1].replaceAll(name, "N")];
  };
  const channel = await connection.createChannel();
  await channel.assertQueue(name, { durable: true });
  return {
    missing: await refused((each) => each.checkQueue(`${name}-none`)),
    inequivalent: await refused((each) => each.assertQueue(name, { durable: false })),
    tag: await refused(async (each) => each.ack({ fields: { deliveryTag: 99 } })),
    name: await refused((each) => each.assertExchange("amq.own", "direct")),
  };
}

/** A consumer gets no more than it asked for until it acknowledges; then it is told its end. */
async function prefetch(connection, name) {
  const publisher = await connection.createConfirmChannel();
  await publisher.assertQueue(name);
  for (let index = 0; index < 5; index++) publisher.sendToQueue(name, Buffer.from(`${index}`));
  await within(publisher.waitForConfirms(), "confirms");
  const channel = await connection.createChannel();
  await channel.prefetch(2);
  const inbox = new Inbox();
  await channel.consume(name, inbox.push);
  const first = await inbox.take(2);
  const { messageCount: ready } = await publisher.checkQueue(name);
  channel.ack(first[1], true);
  const next = await inbox.take(2);
  const held = inbox.size;
  await publisher.deleteQueue(name);
  const cancelled = await inbox.next("cancel");
  return {
    first: first.map((message) => message.content.toString()),
    ready,
    next: next.map((message) => message.content.toString()),
    held,
    cancelled,
  };
}
