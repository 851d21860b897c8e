/* AMQP 0-9-1: one publisher to one consumer of a queue. With --reliable the queue and the messages
 * are durable, the server confirms them, and the consumer acknowledges. */
#include "bench.h"
#include <unistd.h>

enum { METHOD = 1, HEADER = 2, BODY = 3, END = 0xce, OVERHEAD = 8 };

/* class << 16 | method */
enum {
  CONNECTION_START = 10 << 16 | 10, CONNECTION_START_OK, CONNECTION_TUNE = 10 << 16 | 30,
  CONNECTION_TUNE_OK, CONNECTION_OPEN = 10 << 16 | 40, CONNECTION_OPEN_OK,
  CONNECTION_CLOSE = 10 << 16 | 50, CHANNEL_OPEN = 20 << 16 | 10, CHANNEL_OPEN_OK,
  CHANNEL_CLOSE = 20 << 16 | 40, QUEUE_DECLARE = 50 << 16 | 10, QUEUE_DECLARE_OK,
  BASIC_QOS = 60 << 16 | 10, BASIC_QOS_OK, BASIC_CONSUME = 60 << 16 | 20, BASIC_CONSUME_OK,
  BASIC_CANCEL = 60 << 16 | 30, BASIC_PUBLISH = 60 << 16 | 40, BASIC_DELIVER = 60 << 16 | 60,
  BASIC_ACK = 60 << 16 | 80, BASIC_NACK = 60 << 16 | 120, CONFIRM_SELECT = 85 << 16 | 10,
  CONFIRM_SELECT_OK,
};

#define PREFETCH 500
#define ACK_EVERY 50
#define CONFIRMS 65536 /* more than may be without confirm */

static Buffer packet; /* the three frames to send, but for time, sequence number and end mark */
static size_t body_at, size_at;
static bool awaited[CONFIRMS]; /* by number, which the server has not confirmed */
static uint64_t confirmed;     /* all up to this number are */
static uint64_t delivery_tag, acknowledged;

static uint64_t read_number(const uint8_t *bytes, int length) {
  uint64_t v = 0;
  while (length--) v = v << 8 | *bytes++;
  return v;
}

static void add_number(Buffer *b, uint64_t v, int length) {
  while (length--) buffer_byte(b, v >> (8 * length) & 255);
}

static void add_short(Buffer *b, const char *text) {
  buffer_byte(b, strlen(text));
  buffer_add(b, text, strlen(text));
}

static void begin_frame(Buffer *b, int type, int channel) {
  buffer_byte(b, type);
  add_number(b, channel, 2);
  size_at = buffer_length(b);
  add_number(b, 0, 4);
}

static void end_frame(Buffer *b) {
  size_t size = buffer_length(b) - size_at - 4;
  for (int i = 0; i < 4; i++) buffer_bytes(b)[size_at + i] = size >> (8 * (3 - i)) & 255;
  buffer_byte(b, END);
}

static void begin_method(Buffer *b, int channel, int method) {
  begin_frame(b, METHOD, channel);
  add_number(b, method, 4);
}

static void check_method(int method, const uint8_t *arguments) {
  if (method == CONNECTION_CLOSE || method == CHANNEL_CLOSE)
    die("closed by the server: %d %.*s", (int)read_number(arguments, 2), arguments[2],
        (const char *)arguments + 3);
  if (method == BASIC_CANCEL) die("the server cancelled the consumer");
}

/* Blocking: send what is in `out`, and wait for a method. */
static void ask(Connection *c, int wanted) {
  connection_send(c);
  for (;;) {
    const uint8_t *p = buffer_bytes(&c->in);
    size_t n = buffer_length(&c->in);
    if (n >= 4 && !memcmp(p, "AMQP", 4)) die("the server wants another version of AMQP");
    size_t size = n >= OVERHEAD ? read_number(p + 3, 4) : 0;
    if (n < OVERHEAD || n < size + OVERHEAD) {
      connection_receive(c);
      continue;
    }
    int method = p[0] == METHOD ? read_number(p + 7, 4) : 0;
    check_method(method, p + 11);
    c->in.start += size + OVERHEAD;
    if (method == wanted) return;
  }
}

static Connection *connect_client(void) {
  static const char login[] = "\0guest\0guest";
  Connection *c = connection_open();
  Buffer *b = &c->out;
  buffer_add(b, "AMQP\0\0\x09\x01", 8);
  ask(c, CONNECTION_START);
  begin_method(b, 0, CONNECTION_START_OK);
  add_number(b, 0, 4); /* client properties */
  add_short(b, "PLAIN");
  add_number(b, sizeof login - 1, 4);
  buffer_add(b, login, sizeof login - 1);
  add_short(b, "en_US");
  end_frame(b);
  ask(c, CONNECTION_TUNE);
  begin_method(b, 0, CONNECTION_TUNE_OK);
  add_number(b, 2047, 2);
  add_number(b, 131072, 4);
  add_number(b, 0, 2); /* no heartbeats */
  end_frame(b);
  begin_method(b, 0, CONNECTION_OPEN);
  add_short(b, "/");
  add_number(b, 0, 2);
  end_frame(b);
  ask(c, CONNECTION_OPEN_OK);
  begin_method(b, 1, CHANNEL_OPEN);
  buffer_byte(b, 0);
  end_frame(b);
  ask(c, CHANNEL_OPEN_OK);
  return c;
}

static void confirm(uint64_t number) {
  if (!awaited[number % CONFIRMS]) return;
  awaited[number % CONFIRMS] = false;
  traffic.acked++;
}

static void on_method(const uint8_t *payload) {
  int method = read_number(payload, 4);
  const uint8_t *arguments = payload + 4;
  if (method == BASIC_DELIVER) delivery_tag = read_number(arguments + 1 + arguments[0], 8);
  else if (method == BASIC_ACK || method == BASIC_NACK) {
    uint64_t number = read_number(arguments, 8);
    if (method == BASIC_NACK) traffic.malformed++;
    if (arguments[8] & 1)
      while (confirmed < number) confirm(++confirmed);
    else
      confirm(number);
  } else {
    check_method(method, arguments);
  }
}

static void on_bytes(Connection *c) {
  for (;;) {
    const uint8_t *p = buffer_bytes(&c->in);
    size_t n = buffer_length(&c->in);
    if (n < OVERHEAD) return;
    size_t size = read_number(p + 3, 4);
    if (n < size + OVERHEAD) return;
    if (p[0] == METHOD) on_method(p + 7);
    if (p[0] == BODY) {
      body_received(c, p + 7, size);
      if (options.reliable && delivery_tag - acknowledged >= ACK_EVERY) {
        begin_method(&c->out, 1, BASIC_ACK);
        add_number(&c->out, delivery_tag, 8);
        buffer_byte(&c->out, 1); /* multiple */
        end_frame(&c->out);
        acknowledged = delivery_tag;
      }
    }
    c->in.start += size + OVERHEAD;
  }
}

static void publish(Connection *publisher, uint64_t time) {
  awaited[(traffic.sent + 1) % CONFIRMS] = options.reliable;
  body_fill(buffer_bytes(&packet) + body_at, time);
  buffer_add(&publisher->out, buffer_bytes(&packet), buffer_length(&packet));
}

static void make_packet(const char *queue) {
  Buffer *b = &packet;
  begin_method(b, 1, BASIC_PUBLISH);
  add_number(b, 0, 2);
  add_short(b, ""); /* the default exchange */
  add_short(b, queue);
  buffer_byte(b, 0);
  end_frame(b);
  begin_frame(b, HEADER, 1);
  add_number(b, 60, 2);
  add_number(b, 0, 2);
  add_number(b, options.size, 8);
  add_number(b, 0x1000, 2); /* one property: the delivery mode */
  buffer_byte(b, options.reliable ? 2 : 1);
  end_frame(b);
  begin_frame(b, BODY, 1);
  body_at = buffer_length(b);
  for (int i = 0; i < options.size; i++) buffer_byte(b, 'x');
  end_frame(b);
}

void load_amqp(void) {
  char queue[64];
  snprintf(queue, sizeof queue, "bench-%d", (int)getpid());
  Connection *consumer = connect_client();
  Buffer *b = &consumer->out;
  begin_method(b, 1, QUEUE_DECLARE);
  add_number(b, 0, 2);
  add_short(b, queue);
  buffer_byte(b, options.reliable ? 2 : 0); /* durable */
  add_number(b, 0, 4);
  end_frame(b);
  ask(consumer, QUEUE_DECLARE_OK);
  if (options.reliable) {
    begin_method(b, 1, BASIC_QOS);
    add_number(b, 0, 4);
    add_number(b, PREFETCH, 2);
    buffer_byte(b, 0);
    end_frame(b);
    ask(consumer, BASIC_QOS_OK);
  }
  begin_method(b, 1, BASIC_CONSUME);
  add_number(b, 0, 2);
  add_short(b, queue);
  add_short(b, "");
  buffer_byte(b, options.reliable ? 0 : 2); /* no-ack */
  add_number(b, 0, 4);
  end_frame(b);
  ask(consumer, BASIC_CONSUME_OK);
  traffic_watch(consumer, on_bytes);

  Connection *publisher = connect_client();
  if (options.reliable) {
    begin_method(&publisher->out, 1, CONFIRM_SELECT);
    buffer_byte(&publisher->out, 0);
    end_frame(&publisher->out);
    ask(publisher, CONFIRM_SELECT_OK);
  }
  traffic_watch(publisher, on_bytes);
  make_packet(queue);
  traffic.receivers = 1;
  traffic.confirmed = options.reliable;
  traffic.publish = publish;
  traffic_run(publisher);
}
