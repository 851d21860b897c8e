// MQTT.js, as a client of MQTT 3.1.1 (version 4) and of MQTT 5.0.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";

import mqtt from "mqtt";

import { Inbox, tell, within } from "./harness.mjs";

const stories = { delivery, retained, will, shared, session, fields, scram };

await tell(({ url, version, story, name }) => {
  const connect = async ({ handleAuth, ...options } = {}) => {
    const client = mqtt.connect(url, {
      protocolVersion: version,
      reconnectPeriod: 0,
      connectTimeout: 10_000,
      ...options,
    });
    if (handleAuth) client.handleAuth = handleAuth;
    const inbox = new Inbox();
    client.on("message", (topic, payload, packet) => inbox.push({ topic, payload, packet }));
    const failed = new Promise((_, reject) => client.once("error", reject));
    const connected = new Promise((resolve) => client.once("connect", resolve));
    const connack = await within(Promise.race([connected, failed]), "CONNACK");
    return { client, inbox, connack };
  };
  return stories[story](connect, name, version);
});

function brief({ payload, packet }) {
  return [payload.toString(), packet.qos, packet.retain];
}

/** Each quality of service, both ways, in order; an empty body and a large one. */
async function delivery(connect, name) {
  const { client: publisher } = await connect();
  const { client: subscriber, inbox } = await connect();
  const granted = await subscriber.subscribeAsync(`${name}/+/#`, { qos: 2 });
  for (const qos of [0, 1, 2]) await publisher.publishAsync(`${name}/a`, `qos ${qos}`, { qos });
  await publisher.publishAsync(`${name}/a/empty`, "", { qos: 1 });
  await publisher.publishAsync(`${name}/a/large`, Buffer.alloc(300_000, 7), { qos: 2 });
  await Promise.all(
    Array.from({ length: 500 }, (_, index) =>
      publisher.publishAsync(`${name}/a/many`, `${index}`, { qos: 1 + (index % 2) }),
    ),
  );
  const found = await inbox.take(505);
  // MQTT promises an order for each QoS alone (4.6): one of QoS 2 may come after later ones of QoS 1.
  const on = (topic) => found.filter((each) => each.topic === `${name}/${topic}`);
  const [first, [empty], [large], many] = ["a", "a/empty", "a/large", "a/many"].map(on);
  const numbers = (qos) =>
    many.filter(({ packet }) => packet.qos === qos).map(({ payload }) => Number(payload));
  const ascending = (found) => found.every((number, index) => !index || number > found[index - 1]);
  await subscriber.unsubscribeAsync(`${name}/+/#`);
  await publisher.publishAsync(`${name}/a`, "nobody reads this", { qos: 2 });
  await Promise.all([publisher.endAsync(), subscriber.endAsync()]);
  return {
    granted: granted.map((each) => each.qos),
    first: first.map(brief).sort(),
    empty: empty.payload.length,
    large: large.payload.equals(Buffer.alloc(300_000, 7)),
    many: [numbers(1).length, numbers(2).length, ascending(numbers(1)), ascending(numbers(2))],
    left: inbox.size,
  };
}

/** A message for those who come later, until it is cleared. */
async function retained(connect, name) {
  const { client: publisher } = await connect();
  await publisher.publishAsync(`${name}/state`, "old", { qos: 1, retain: true });
  await publisher.publishAsync(`${name}/state`, "on", { qos: 1, retain: true });
  const { client: late, inbox } = await connect();
  await late.subscribeAsync(`${name}/#`, { qos: 1 });
  const stored = await inbox.next();
  await publisher.publishAsync(`${name}/state`, "live", { qos: 1, retain: true });
  const live = await inbox.next();
  await publisher.publishAsync(`${name}/state`, "", { qos: 1, retain: true });
  await inbox.next();
  const { client: later, inbox: nothing } = await connect();
  await later.subscribeAsync(`${name}/#`, { qos: 1 });
  await publisher.publishAsync(`${name}/other`, "marker", { qos: 1 });
  const marker = await nothing.next();
  await Promise.all([publisher, late, later].map((client) => client.endAsync()));
  return { stored: brief(stored), live: brief(live), marker: brief(marker) };
}

/** A will is published when the connection is lost, not when the client says goodbye. */
async function will(connect, name) {
  const { client: watcher, inbox } = await connect();
  await watcher.subscribeAsync(`${name}/wills/+`, { qos: 2 });
  const willOf = (who) => ({
    will: { topic: `${name}/wills/${who}`, payload: `${who} is gone`, qos: 2, retain: false },
  });
  const { client: polite } = await connect(willOf("polite"));
  await polite.endAsync();
  const { client: lost } = await connect(willOf("lost"));
  lost.on("error", () => {});
  lost.stream.destroy();
  const message = await inbox.next("will");
  lost.end(true);
  await watcher.endAsync();
  return { message: brief(message), left: inbox.size };
}

/** Two members share; a third subscriber on its own sees all. */
async function shared(connect, name) {
  const members = [await connect(), await connect()];
  for (const { client } of members) {
    await client.subscribeAsync(`$share/group/${name}/jobs`, { qos: 1 });
  }
  const alone = await connect();
  await alone.client.subscribeAsync(`${name}/jobs`, { qos: 1 });
  const { client: publisher } = await connect();
  const jobs = Array.from({ length: 20 }, (_, index) => `job ${index}`);
  const all = new Inbox();
  for (const { client } of members) client.on("message", (_, payload) => all.push(`${payload}`));
  await Promise.all(jobs.map((job) => publisher.publishAsync(`${name}/jobs`, job, { qos: 1 })));
  const shares = await all.take(20);
  const seen = await alone.inbox.take(20);
  const each = members.map(({ inbox }) => inbox.size);
  await Promise.all([...members, alone].map(({ client }) => client.endAsync()));
  await publisher.endAsync();
  return {
    once: [...shares].sort().join() === [...jobs].sort().join(),
    both: each.every((count) => count > 0),
    total: each[0] + each[1],
    alone: seen.length,
  };
}

/** What comes for a session while its client is away is there when it comes back. */
async function session(connect, name, version) {
  const keep = {
    clientId: name,
    clean: false,
    ...(version === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
  };
  const { client: first, connack: fresh } = await connect(keep);
  await first.subscribeAsync(`${name}/mail`, { qos: 2 });
  await first.endAsync();
  const { client: publisher } = await connect();
  for (const qos of [1, 2]) await publisher.publishAsync(`${name}/mail`, `qos ${qos}`, { qos });
  const { client: second, connack: resumed, inbox } = await connect(keep);
  const messages = await inbox.take(2);
  await Promise.all([publisher.endAsync(), second.endAsync()]);
  const { client: cleaner, connack: clean } = await connect({ clientId: name, clean: true });
  await cleaner.endAsync();
  return {
    present: [fresh, resumed, clean].map((connack) => connack.sessionPresent),
    messages: messages.map(brief),
  };
}

/** MQTT 5.0 alone: properties, identifiers, options, aliases, a request and its reply. */
async function fields(connect, name) {
  const { client: server, inbox: requests } = await connect();
  const { client, inbox, connack } = await connect({
    properties: { topicAliasMaximum: 10, receiveMaximum: 5 },
    autoAssignTopicAlias: true,
  });
  await server.subscribeAsync(`${name}/requests`, {
    qos: 1,
    properties: { subscriptionIdentifier: 17 },
  });
  await client.subscribeAsync(`${name}/#`, { qos: 1, nl: true });
  const options = {
    qos: 1,
    properties: {
      responseTopic: `${name}/reply`,
      correlationData: Buffer.from([1, 0, 2]),
      contentType: "application/json",
      payloadFormatIndicator: true,
      messageExpiryInterval: 100,
      userProperties: { a: ["1", "2"], ü: "ö" },
    },
  };
  await client.publishAsync(`${name}/requests`, "{}", options);
  await client.publishAsync(`${name}/requests`, "by alias", { qos: 1 });
  const request = await requests.next("request");
  const aliased = await requests.next("request by alias");
  const properties = request.packet.properties;
  await server.publishAsync(properties.responseTopic, "done", {
    qos: 1,
    properties: { correlationData: properties.correlationData },
  });
  const reply = await inbox.next("reply");
  const puback = new Promise((resolve) => {
    server.on("packetreceive", (packet) => packet.cmd === "puback" && resolve(packet));
  });
  await server.publishAsync(`${name}-nobody-reads-this`, "x", { qos: 1 });
  const nobody = await within(puback, "PUBACK");
  const refused = new Promise((resolve) => server.once("disconnect", resolve));
  server.on("error", () => {});
  const { client: taker } = await connect({ clientId: server.options.clientId });
  const disconnect = await within(refused, "DISCONNECT");
  await Promise.all([client.endAsync(), taker.endAsync()]);
  return {
    request: {
      ...properties,
      correlationData: [...properties.correlationData],
      userProperties: Object.entries(properties.userProperties),
    },
    aliased: [aliased.topic === `${name}/requests`, `${aliased.payload}`],
    reply: [reply.topic, [...reply.packet.properties.correlationData]],
    own: inbox.size,
    nobody: nobody.reasonCode,
    takenOver: disconnect.reasonCode,
    maximum: connack.properties.topicAliasMaximum > 0,
  };
}

/** Enhanced authentication by SCRAM-SHA-256 (RFC 5802), with the right password and a wrong one. */
async function scram(connect, name) {
  const authenticationMethod = "SCRAM-SHA-256";
  const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
  const attempt = async (password) => {
    const bare = `n=device,r=${randomBytes(18).toString("base64")}`;
    let signature;
    const handleAuth = (packet, done) => {
      const challenge = packet.properties.authenticationData.toString();
      const field = Object.fromEntries(challenge.split(",").map((each) => [each[0], each.slice(2)]));
      const salt = Buffer.from(field.s, "base64");
      const salted = pbkdf2Sync(password, salt, Number(field.i), 32, "sha256");
      const clientKey = hmac(salted, "Client Key");
      const message = `${bare},${challenge},c=biws,r=${field.r}`;
      const mask = hmac(createHash("sha256").update(clientKey).digest(), message);
      const proof = Buffer.from(clientKey.map((byte, index) => byte ^ mask[index]));
      signature = hmac(hmac(salted, "Server Key"), message).toString("base64");
      const final = `c=biws,r=${field.r},p=${proof.toString("base64")}`;
      const properties = { authenticationMethod, authenticationData: Buffer.from(final) };
      done(null, { cmd: "auth", reasonCode: 0x18, properties });
    };
    const authenticationData = Buffer.from(`n,,${bare}`);
    const properties = { authenticationMethod, authenticationData };
    const { client, inbox, connack } = await connect({ handleAuth, properties });
    await client.subscribeAsync(name);
    await client.publishAsync(name, "let in");
    const { payload } = await inbox.next();
    await client.endAsync();
    const told = connack.properties.authenticationData.toString();
    return [told === `v=${signature}`, payload.toString()];
  };
  const refused = await attempt("guess").catch((error) => error.code);
  return { verified: await attempt("secret"), refused };
}
