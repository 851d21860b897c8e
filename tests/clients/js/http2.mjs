// Node's own HTTP/2 client, by prior knowledge on plain TCP.
import http2 from "node:http2";

import { tell, within } from "./harness.mjs";

const { HTTP2_HEADER_STATUS, NGHTTP2_REFUSED_STREAM } = http2.constants;
const stories = { exchanges, refused };

await tell(async ({ endpoint, story }) => {
  const session = http2.connect(endpoint);
  const told = await stories[story](session);
  await within(new Promise((resolve) => session.close(resolve)), "end of the session");
  return told;
});

/** Send a request; resolves with its status and the body that was answered. */
function ask(session, headers, body) {
  const answered = new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined });
    const parts = [];
    let status;
    stream.on("response", (fields) => (status = fields[HTTP2_HEADER_STATUS]));
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => resolve({ status, body: Buffer.concat(parts) }));
    stream.on("error", reject);
    if (body !== undefined) stream.end(body);
  });
  return within(answered, "answer");
}

/** Many requests at once on one connection, and bodies larger than every window. */
async function exchanges(session) {
  const settings = await within(
    new Promise((resolve) => session.once("remoteSettings", resolve)),
    "settings",
  );
  const action = (name, body) =>
    ask(
      session,
      {
        ":method": "POST",
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": `AmazonSQS.${name}`,
      },
      JSON.stringify(body),
    );
  const many = await Promise.all(
    Array.from({ length: 50 }, (_, index) => action("ListQueues", { QueueNamePrefix: `${index}` })),
  );
  const large = await action("SendMessage", { QueueUrl: "x", MessageBody: "x".repeat(1_500_000) });
  return {
    streams: settings.maxConcurrentStreams,
    statuses: [...new Set(many.map(({ status }) => status))],
    large: [large.status, JSON.parse(large.body).__type !== undefined],
  };
}

/** More requests than the server takes at once: the client keeps to the server's limit. */
async function refused(session) {
  const codes = [];
  const asked = Array.from({ length: 300 }, () =>
    ask(session, { ":method": "GET", ":path": "/" }).catch((error) => codes.push(error.code)),
  );
  await Promise.all(asked);
  return { codes, refusedIs: NGHTTP2_REFUSED_STREAM };
}
