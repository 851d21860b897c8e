// Chromium holds a page with a WebSocket and an EventSource. Its argument says where; commands come
// in as lines of JSON, and what the page hears goes out as lines of JSON.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const { executable, page: home, socket, events, client } = JSON.parse(process.argv[2]);
const profile = await mkdtemp(join(tmpdir(), "chromium-"));
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const context = await chromium.launchPersistentContext(profile, {
  executablePath: executable,
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage",
  ],
});
try {
  const page = await context.newPage();
  await page.exposeFunction("say", say);

  // A page of no origin that is allowed: the handshake must fail.
  const refused = await page.evaluate((url) => new Promise((resolve) => {
    const stranger = new WebSocket(url, "hubbub.v1");
    stranger.onopen = () => resolve(false);
    stranger.onerror = () => resolve(true);
  }), socket);
  say({ refused });

  await page.goto(home);
  await page.evaluate(async ({ socket, events, client }) => {
    const module = URL.createObjectURL(new Blob([client], { type: "text/javascript" }));
    const { connect } = await import(module);
    window.hub = await connect(socket);
    await hub.ask("subscribe", { pattern: "shop/#" }, ({ message }) => say({ topic: message }));
    await hub.ask("consume", { queue: "orders" }, async ({ message, delivery }) => {
      await hub.ask("ack", { delivery });
      say({ queue: message });
    });
    window.source = new EventSource(events);
    source.onmessage = ({ data }) => say({ event: JSON.parse(data) });
    await new Promise((resolve, reject) => Object.assign(source, { onopen: resolve, onerror: reject }));
  }, { socket, events, client });
  say({ ready: await page.evaluate(() => navigator.userAgent) });

  for await (const line of createInterface({ input: process.stdin })) {
    const { op, ...members } = JSON.parse(line);
    say({ answer: await page.evaluate(([op, members]) => hub.ask(op, members), [op, members]) });
  }
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
