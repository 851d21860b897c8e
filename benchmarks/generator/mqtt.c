/* MQTT 3.1.1: one publisher to any number of subscribers on one topic; and idle connections. */
#include "bench.h"
#include <unistd.h>

enum {
  CONNACK = 2, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK = 9, PINGRESP = 13
};

#define KEEP_ALIVE_S 600
static Buffer packet; /* the PUBLISH to send, but for packet id, time and sequence number */
static size_t packet_id_at, body_at;

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

static void answer(Connection *c, int type, const uint8_t *packet_id) {
  const uint8_t bytes[4] = {type << 4 | (type == PUBREL ? 2 : 0), 2, packet_id[0], packet_id[1]};
  buffer_add(&c->out, bytes, sizeof bytes);
}

static void on_bytes(Connection *c) {
  size_t length, head;
  const uint8_t *p;
  while ((head = read_head(p = buffer_bytes(&c->in), buffer_length(&c->in), &length))) {
    int type = p[0] >> 4, qos = (p[0] >> 1) & 3;
    if (type == PUBACK || type == PUBCOMP) traffic.acked++;
    if (type == PUBREC) answer(c, PUBREL, p + head);
    if (type == PUBREL) answer(c, PUBCOMP, p + head);
    if (type == PUBLISH) {
      size_t body = head + 2 + read16(p + head);
      if (qos) {
        answer(c, qos == 1 ? PUBACK : PUBREC, p + body);
        body += 2;
      }
      body_received(c, p + body, head + length - body);
    }
    c->in.start += head + length;
  }
}

static Connection *set_up(void) {
  char topic[64];
  snprintf(topic, sizeof topic, "bench/%d", (int)getpid());
  for (int i = 0; i < options.subscribers; i++) {
    Connection *c = connect_client("subscriber", i);
    add_head(&c->out, 0x82, 2 + 2 + strlen(topic) + 1);
    add16(&c->out, 1);
    add_text(&c->out, topic);
    buffer_byte(&c->out, options.qos);
    connection_send(c);
    await(c, SUBACK);
    traffic_watch(c, on_bytes);
  }
  Connection *publisher = connect_client("publisher", 0);
  traffic_watch(publisher, on_bytes);
  add_head(&packet, 0x30 | options.qos << 1,
           2 + strlen(topic) + (options.qos ? 2 : 0) + options.size);
  add_text(&packet, topic);
  packet_id_at = buffer_length(&packet);
  if (options.qos) add16(&packet, 0);
  body_at = buffer_length(&packet);
  for (int i = 0; i < options.size; i++) buffer_byte(&packet, 'x');
  return publisher;
}

static void publish(Connection *publisher, uint64_t time) {
  uint8_t *bytes = buffer_bytes(&packet);
  if (options.qos) {
    unsigned id = traffic.sent % 65535 + 1;
    bytes[packet_id_at] = id >> 8;
    bytes[packet_id_at + 1] = id;
  }
  body_fill(bytes + body_at, time);
  buffer_add(&publisher->out, bytes, buffer_length(&packet));
}

void load_mqtt(void) {
  traffic.receivers = options.subscribers;
  traffic.confirmed = options.qos;
  traffic.publish = publish;
  traffic_run(set_up());
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
