/* WebSocket: one publisher to any number of subscribers, and idle connections. To hubbub we speak
 * `hubbub.v1`; with --raw to a server that sends each text message to all who sent "subscribe". */
#include "bench.h"
#include <unistd.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

typedef struct {
  int opcode;
  const uint8_t *payload;
  size_t length, total; /* bytes of the payload, and of the whole frame */
} Frame;

/* Parse the frame of a server at bytes[0..n); false if it is incomplete. */
static bool parse(const uint8_t *bytes, size_t n, Frame *frame) {
  if (n < 2) return false;
  size_t length = bytes[1] & 127, head = 2;
  int more = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (n < head + more) return false;
  if (more) length = 0;
  for (int i = 0; i < more; i++) length = length << 8 | bytes[head++];
  if (!(bytes[0] & 128)) die("the server sends fragments");
  *frame = (Frame){bytes[0] & 15, bytes + head, length, head + length};
  return n >= frame->total;
}

/* Add the head of a client's frame. The masking key is zero: the payload follows as it is. */
static void add_head(Buffer *b, int opcode, size_t length) {
  buffer_byte(b, 128 | opcode);
  if (length < 126) buffer_byte(b, 128 | length);
  else {
    buffer_byte(b, 128 | 126);
    buffer_byte(b, length >> 8);
    buffer_byte(b, length);
  }
  buffer_add(b, "\0\0\0\0", 4);
}

static void check(const Frame *frame) {
  if (frame->opcode == CLOSE) die("the server closed a WebSocket");
  if (frame->length > 13 && !memcmp(frame->payload, "{\"op\":\"error\"", 13))
    die("%.*s", (int)frame->length, (const char *)frame->payload);
}

/* Blocking: send a text message and wait for one. */
static void ask(Connection *c, const char *text) {
  Frame frame;
  add_head(&c->out, TEXT, strlen(text));
  buffer_add(&c->out, text, strlen(text));
  connection_send(c);
  while (!parse(buffer_bytes(&c->in), buffer_length(&c->in), &frame)) connection_receive(c);
  check(&frame);
  c->in.start += frame.total;
}

static Connection *connect_client(void) {
  Connection *c = connection_open();
  buffer_format(&c->out,
                "GET /ws HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                options.host, options.port,
                options.raw ? "" : "Sec-WebSocket-Protocol: hubbub.v1\r\n");
  connection_send(c);
  const uint8_t *end;
  while (!(end = memmem(buffer_bytes(&c->in), buffer_length(&c->in), "\r\n\r\n", 4)))
    connection_receive(c);
  if (memcmp(buffer_bytes(&c->in), "HTTP/1.1 101", 12))
    die("no WebSocket: %.*s", (int)buffer_length(&c->in), (const char *)buffer_bytes(&c->in));
  c->in.start += end + 4 - buffer_bytes(&c->in);
  if (!options.raw) ask(c, "{\"op\":\"hello\",\"id\":0}");
  return c;
}

/* Take the whole frames: messages are counted, pings answered. */
static void on_bytes(Connection *c) {
  Frame frame;
  while (parse(buffer_bytes(&c->in), buffer_length(&c->in), &frame)) {
    check(&frame);
    if (frame.opcode == PING) {
      add_head(&c->out, PONG, frame.length);
      buffer_add(&c->out, frame.payload, frame.length);
    } else if (frame.opcode == TEXT) {
      const uint8_t *body = frame.payload, *end = frame.payload + frame.length;
      if (!options.raw) {
        body = memmem(body, frame.length, "\"body\":\"", 8);
        if (!body) die("no body: %.*s", (int)frame.length, (const char *)frame.payload);
        body += 8;
        end = memchr(body, '"', end - body);
      }
      body_received(c, body, end - body);
    }
    c->in.start += frame.total;
  }
}

static Buffer start; /* the frame up to the body */

static void publish(Connection *publisher, uint64_t time) {
  Buffer *b = &publisher->out;
  const char *end = options.raw ? "" : "\"}}";
  add_head(b, TEXT, buffer_length(&start) + options.size + strlen(end));
  buffer_add(b, buffer_bytes(&start), buffer_length(&start));
  buffer_reserve(b, options.size);
  uint8_t *body = b->data + b->end;
  memset(body, 'x', options.size);
  body_fill(body, time);
  b->end += options.size;
  buffer_add(b, end, strlen(end));
}

void load_websocket(void) {
  char subscribe[128];
  snprintf(subscribe, sizeof subscribe,
           options.raw ? "subscribe" : "{\"op\":\"subscribe\",\"id\":1,\"pattern\":\"bench/%d\"}",
           (int)getpid());
  for (int i = 0; i < options.subscribers; i++) {
    Connection *c = connect_client();
    ask(c, subscribe);
    traffic_watch(c, on_bytes);
  }
  Connection *publisher = connect_client();
  traffic_watch(publisher, on_bytes);
  if (!options.raw)
    buffer_format(&start, "{\"op\":\"publish\",\"to\":\"bench/%d\",\"message\":{\"body\":\"",
                  (int)getpid());
  traffic.receivers = options.subscribers;
  traffic.publish = publish;
  traffic_run(publisher);
}

void load_websocket_idle(void) {
  Connection **all = calloc(options.connections, sizeof *all);
  mark("begin");
  uint64_t began = now_ns();
  for (int i = 0; i < options.connections; i++) all[i] = connect_client();
  double seconds = (now_ns() - began) / 1e9;
  mark("end");
  for (int i = 0; i < options.connections; i++) ask(all[i], options.raw ? "subscribe" : "{\"op\":\"ping\",\"id\":1}");
  printf("{\"messages\": %d, \"seconds\": %.3f}\n", options.connections, seconds);
}
