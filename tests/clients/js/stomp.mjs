// stompjs over WebSocket, as in a browser; Node.js 20 needs the package ws for it.
import { Client, Versions } from "@stomp/stompjs";
import { WebSocket } from "ws";

import { Inbox, tell, within } from "./harness.mjs";

const stories = { queue, topic, transaction, refusal };
let receipts = 0;

await tell(({ url, version, story, name, own }) => {
  const connect = async (options = {}) => {
    const errors = new Inbox();
    const closed = new Inbox();
    const client = new Client({
      brokerURL: url,
      stompVersions: new Versions([version]),
      reconnectDelay: 0,
      heartbeatIncoming: 5000,
      heartbeatOutgoing: 5000,
      connectHeaders: { host: "/" },
      onStompError: errors.push,
      onWebSocketClose: closed.push,
      ...options,
    });
    const connected = new Promise((resolve) => (client.onConnect = resolve));
    client.activate();
    const { headers } = await within(connected, "CONNECTED");
    return { client, errors, closed, headers };
  };
  globalThis.WebSocket ??= WebSocket;
  return stories[story](connect, name, own);
});

/** Subscribe with a receipt, so that what is sent later is seen. */
async function subscribe(client, destination, headers = {}) {
  const inbox = new Inbox();
  const subscription = await withReceipt(client, (receipt) =>
    client.subscribe(destination, inbox.push, { ...headers, receipt }),
  );
  return { inbox, subscription };
}

async function withReceipt(client, act) {
  const receipt = `receipt-${receipts++}`;
  const received = new Promise((resolve) => client.watchForReceipt(receipt, resolve));
  const result = act(receipt);
  await within(received, "RECEIPT");
  return result;
}

function publish(client, destination, body, headers = {}) {
  return withReceipt(client, (receipt) =>
    client.publish({ destination, body, headers: { ...headers, receipt } }),
  );
}

/** A queue: acknowledged one by one, refused, delivered again; text, bytes, headers. */
async function queue(connect, name, own) {
  const { client, headers: connected } = await connect();
  const destination = `/queue/${name}`;
  await publish(client, destination, "größe ☃", {
    "content-type": "text/plain",
    "correlation-id": "c1",
    own,
  });
  const { inbox, subscription } = await subscribe(client, destination, {
    ack: "client-individual",
    "prefetch-count": "1",
  });
  const first = await inbox.next();
  first.nack();
  const again = await inbox.next("redelivery");
  again.ack();
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  await withReceipt(client, (receipt) =>
    client.publish({ destination, binaryBody: bytes, headers: { receipt } }),
  );
  const binary = await inbox.next("bytes");
  binary.ack();
  subscription.unsubscribe();
  await client.deactivate();
  return {
    version: connected.version,
    beats: connected["heart-beat"].split(",").every((beat) => Number(beat) > 0),
    body: [first.body, again.body],
    headers: ["content-type", "correlation-id", "own"].map((header) => again.headers[header]),
    destination: again.headers.destination,
    binary: Buffer.from(binary.binaryBody).equals(Buffer.from(bytes)),
  };
}

/** A topic with wildcards for two subscribers; a large body in several frames. */
async function topic(connect, name) {
  const { client } = await connect();
  const { client: other } = await connect({ splitLargeFrames: true });
  const { inbox: orders } = await subscribe(client, `/topic/${name}.orders.*`);
  const { inbox: all } = await subscribe(other, `/topic/${name}.#`);
  await publish(other, `/topic/${name}.orders.new`, "1");
  await publish(client, `/topic/${name}.users.new`, "2");
  const large = "x".repeat(100_000);
  await publish(other, `/topic/${name}.orders.large`, large);
  const [small, big] = await orders.take(2);
  const seen = await all.take(3);
  await Promise.all([client.deactivate(), other.deactivate()]);
  return {
    orders: [small.body, big.body === large],
    all: seen.map((message) => message.headers.destination.replace(name, "")),
  };
}

/** What is sent in a transaction comes at its end or never, and so does its receipt. */
async function transaction(connect, name) {
  const { client } = await connect();
  const destination = `/queue/${name}`;
  const { inbox } = await subscribe(client, destination);
  const aborted = client.begin();
  client.publish({ destination, body: "aborted", headers: { transaction: aborted.id } });
  aborted.abort();
  const committed = client.begin();
  client.publish({ destination, body: "one", headers: { transaction: committed.id } });
  client.publish({ destination, body: "two", headers: { transaction: committed.id } });
  await publish(client, destination, "outside");
  const outside = await inbox.next();
  committed.commit();
  const inside = await inbox.take(2);
  await client.deactivate();
  return [outside, ...inside].map((message) => message.body);
}

/** An error frame says what was wrong, and the connection ends. */
async function refusal(connect, name) {
  const { client, errors, closed } = await connect();
  client.publish({ destination: `/nowhere/${name}`, body: "x" });
  const error = await errors.next("ERROR");
  await closed.next("close");
  await client.deactivate();
  return { message: error.headers.message };
}
