/* MQTT 3.1.1: one publisher to any number of subscribers on one topic; and idle connections.
 *
 * A body is 16 hex digits of time (ns), 16 of a sequence number, and filler.
 */
#include "bench.h"
#include <time.h>
#include <unistd.h>

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9, PINGRESP = 13 };

#define KEEP_ALIVE_S 600
#define MAX_QUEUED_BYTES 262144 /* the publisher's own send buffer */
#define COALESCE_NS 200000
#define STALL_NS 1000000000ull
#define DRAIN_NS 10000000000ull
#define SILENCE_NS 2000000000ull

static Connection *publisher, **subscribers;
static uint64_t sent, acked, delivered, lost, out_of_order, malformed;
static bool measuring, broken;
static Buffer packet; /* the PUBLISH to send, but for packet id, time and sequence number */
static size_t packet_id_at, body_at;

static void hex16(uint8_t *out, uint64_t v) {
  for (int i = 15; i >= 0; i--, v >>= 4) out[i] = "0123456789abcdef"[v & 15];
}

static uint64_t unhex16(const uint8_t *text) {
  uint64_t v = 0;
  for (int i = 0; i < 16; i++) v = v << 4 | (text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
  return v;
}

static unsigned read16(const uint8_t *bytes) { return bytes[0] << 8 | bytes[1]; }

static void add16(Buffer *b, unsigned v) {
  buffer_byte(b, v >> 8);
  buffer_byte(b, v);
}

static void add_text(Buffer *b, const char *text) {
  add16(b, strlen(text));
  buffer_add(b, text, strlen(text));
}

static void add_head(Buffer *b, unsigned first, size_t length) {
  buffer_byte(b, first);
  do {
    buffer_byte(b, (length & 127) | (length > 127 ? 128 : 0));
    length >>= 7;
  } while (length);
}

/* Length of the fixed header of the packet at bytes[0..n), 0 if the packet is incomplete. */
static size_t read_head(const uint8_t *bytes, size_t n, size_t *length) {
  size_t value = 0;
  for (size_t i = 1; i < n && i < 5; i++) {
    value |= (size_t)(bytes[i] & 127) << (7 * (i - 1));
    if (bytes[i] & 128) continue;
    *length = value;
    return n >= i + 1 + value ? i + 1 : 0;
  }
  return 0;
}

/* Blocking: wait for a packet of that type. */
static void await(Connection *c, int type) {
  for (;;) {
    const uint8_t *p = buffer_bytes(&c->in);
    size_t length, head = read_head(p, buffer_length(&c->in), &length);
    if (!head) {
      connection_receive(c);
      continue;
    }
    int got = p[0] >> 4;
    if (got == CONNACK && p[head + 1]) die("CONNECT refused with %d", p[head + 1]);
    if (got == SUBACK && p[head + length - 1] > 2) die("SUBSCRIBE refused");
    c->in.start += head + length;
    if (got == type) return;
  }
}

static Connection *connect_client(const char *role, int number) {
  Connection *c = connection_open();
  char id[64];
  snprintf(id, sizeof id, "%s-%d-%d", role, (int)getpid(), number);
  add_head(&c->out, 0x10, 10 + 2 + strlen(id));
  add_text(&c->out, "MQTT");
  buffer_byte(&c->out, 4); /* 3.1.1 */
  buffer_byte(&c->out, 2); /* clean session */
  add16(&c->out, KEEP_ALIVE_S);
  add_text(&c->out, id);
  connection_send(c);
  await(c, CONNACK);
  return c;
}

static void on_publish(Connection *c, const uint8_t *body, size_t length) {
  delivered++;
  if (length != (size_t)options.size) {
    malformed++;
    return;
  }
  uint64_t then = unhex16(body), sequence = unhex16(body + 16);
  if (sequence != c->sequence) out_of_order++;
  c->sequence = sequence + 1;
  if (measuring) latency_add(received_at > then ? received_at - then : 0);
}

static void on_bytes(Connection *c) {
  size_t length, head;
  const uint8_t *p;
  while ((head = read_head(p = buffer_bytes(&c->in), buffer_length(&c->in), &length))) {
    int type = p[0] >> 4;
    if (type == PUBACK) acked++;
    if (type == PUBLISH) {
      size_t body = head + 2 + read16(p + head);
      if ((p[0] >> 1) & 3) {
        const uint8_t puback[4] = {PUBACK << 4, 2, p[body], p[body + 1]};
        buffer_add(&c->out, puback, sizeof puback);
        body += 2;
      }
      on_publish(c, p + body, head + length - body);
    }
    c->in.start += head + length;
  }
}

static void on_end(Connection *c) {
  c->closed = broken = true;
  close(c->fd);
}

static void watch(Connection *c) {
  c->on_bytes = on_bytes;
  c->on_end = on_end;
  connection_watch(c);
}

static void set_up(void) {
  char topic[64];
  snprintf(topic, sizeof topic, "bench/%d", (int)getpid());
  subscribers = calloc(options.subscribers, sizeof *subscribers);
  for (int i = 0; i < options.subscribers; i++) {
    Connection *c = subscribers[i] = connect_client("subscriber", i);
    add_head(&c->out, 0x82, 2 + 2 + strlen(topic) + 1);
    add16(&c->out, 1);
    add_text(&c->out, topic);
    buffer_byte(&c->out, options.qos);
    connection_send(c);
    await(c, SUBACK);
    watch(c);
  }
  publisher = connect_client("publisher", 0);
  watch(publisher);
  add_head(&packet, 0x30 | options.qos << 1,
           2 + strlen(topic) + (options.qos ? 2 : 0) + options.size);
  add_text(&packet, topic);
  packet_id_at = buffer_length(&packet);
  if (options.qos) add16(&packet, 0);
  body_at = buffer_length(&packet);
  for (int i = 0; i < options.size; i++) buffer_byte(&packet, 'x');
}

static void publish(uint64_t time) {
  uint8_t *bytes = buffer_bytes(&packet);
  if (options.qos) {
    unsigned id = sent % 65535 + 1;
    bytes[packet_id_at] = id >> 8;
    bytes[packet_id_at + 1] = id;
  }
  hex16(bytes + body_at, time);
  hex16(bytes + body_at + 16, sent);
  buffer_add(&publisher->out, bytes, buffer_length(&packet));
  sent++;
}

/* How many messages may be sent now, by the windows. */
static int64_t room(void) {
  int64_t receivers = options.subscribers;
  int64_t waiting = (int64_t)(sent * receivers) - (int64_t)(delivered + lost);
  if (waiting < 0) waiting = 0; /* what counted as lost came late */
  int64_t free = options.window - (waiting + receivers - 1) / receivers;
  int64_t unacked = options.qos ? (int64_t)(sent - acked) : 0;
  return unacked > options.unacked - free ? options.unacked - unacked : free;
}

/* As fast as the windows allow. We look at the sockets at most every COALESCE_NS, so that we read
   and write many messages with one system call and leave the cores to the server. */
static void publish_saturated(void) {
  uint64_t now = now_ns();
  for (int64_t n = room(); n > 0; n--) publish(now);
  if (buffer_length(&publisher->out)) connection_flush(publisher);
  const struct timespec pause = {.tv_nsec = COALESCE_NS};
  nanosleep(&pause, NULL);
  poll_connections(50000000);
}

/* At a rate. A message carries the time it was due: a late one doesn't hide the delay. */
static void publish_paced(uint64_t began) {
  uint64_t step = 1e9 / options.rate, now = now_ns();
  while (began + sent * step <= now && room() > 0) publish(began + sent * step);
  if (buffer_length(&publisher->out)) connection_flush(publisher);
  uint64_t due = began + sent * step, wait = due > now ? due - now : 0;
  poll_connections(wait < 50000000 ? wait : 50000000);
}

/* Wait for what was sent but not received; a silence ends it. */
static void drain(void) {
  uint64_t began = now_ns(), moved = began, last = delivered + acked;
  while ((delivered < sent * options.subscribers || (options.qos && acked < sent)) && !broken) {
    poll_connections(50000000);
    uint64_t now = now_ns();
    if (delivered + acked != last) {
      last = delivered + acked;
      moved = now;
    }
    if (now - moved > SILENCE_NS || now - began > DRAIN_NS) break;
  }
}

void load_mqtt(void) {
  set_up();
  uint64_t now = now_ns(), began = now, moved = now, last = 0, start = 0, first = 0;
  uint64_t end = now + (uint64_t)(options.warm * 1e9);
  for (;; now = now_ns()) {
    if (broken) die("the server closed a connection after %lu messages", delivered);
    if (now >= end) {
      if (measuring) break;
      mark("begin");
      measuring = true;
      start = now_ns();
      end = start + (uint64_t)(options.seconds * 1e9);
      first = delivered;
    }
    if (delivered + acked != last) {
      last = delivered + acked;
      moved = now;
    }
    uint64_t expected = sent * options.subscribers;
    if (now - moved > STALL_NS && expected > delivered + lost) {
      fprintf(stderr, "bench: nothing came for a second, %lu messages count as lost\n",
              expected - delivered - lost);
      lost = expected - delivered;
      moved = now;
    }
    if (buffer_length(&publisher->out) >= MAX_QUEUED_BYTES) poll_connections(50000000);
    else if (options.rate > 0) publish_paced(began);
    else publish_saturated();
  }
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  measuring = false;
  uint64_t messages = delivered - first;
  drain();
  printf("{\"messages\": %lu, \"seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"missing\": %ld, \"out_of_order\": %lu, \"unacked\": %lu, \"errors\": %lu}\n",
         messages, seconds, latency_ms(.5), latency_ms(.99),
         (long)(sent * options.subscribers) - (long)delivered, out_of_order,
         options.qos ? sent - acked : 0, malformed);
}

void load_mqtt_idle(void) {
  Connection **idle = calloc(options.connections, sizeof *idle);
  mark("begin");
  uint64_t start = now_ns();
  for (int i = 0; i < options.connections; i++) idle[i] = connect_client("idle", i);
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  for (int i = 0; i < options.connections; i++) {
    buffer_add(&idle[i]->out, "\xc0\0", 2); /* PINGREQ */
    connection_send(idle[i]);
  }
  for (int i = 0; i < options.connections; i++) await(idle[i], PINGRESP);
  printf("{\"messages\": %d, \"seconds\": %.3f}\n", options.connections, seconds);
}
