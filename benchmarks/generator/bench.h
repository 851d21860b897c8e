/* What the files of the load generator share: buffers, options, counters, connections, HTTP. */
#ifndef BENCH_H
#define BENCH_H
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options (main.c) ---- */
struct options {
  const char *host; /* an IPv4 address */
  int port;
  double warm, seconds;    /* not measured, then measured */
  int size;                /* bytes of a body, at least 32 */
  int connections;         /* AWS, HTTP and idle loads */
  int subscribers;         /* MQTT and WebSocket loads */
  int qos;                 /* MQTT load */
  int reliable;            /* AMQP, STOMP loads: confirms, and acknowledgements */
  int window;              /* messages between publisher and subscribers at most */
  int unacked;             /* messages that the server has not confirmed at most */
  double rate;             /* messages a second; 0: as fast as the window allows */
  int batch;               /* SQS load: messages in a request */
  int raw;                 /* SNS load: whether queues get messages without envelope; WebSocket
                              loads: whether the server has no protocol of its own */
  long depth, count;       /* SQS receive load: messages waiting, messages received at most */
  const char *path;        /* HTTP load */
  double fill_deadline;    /* SQS receive load: seconds to send `depth` messages */
};
extern struct options options;

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_ns(void); /* CLOCK_MONOTONIC */

/* Tell who started us that a phase begins, and wait until it has read its own clocks. */
void mark(const char *name);

/* ---- latency histogram (main.c): 64 steps per power of two, so an error below 1.6 % ---- */
void latency_add(uint64_t ns);
double latency_ms(double quantile); /* -1 if nothing was added */

/* ---- growable byte buffer: the valid bytes are data[start..end) ---- */
typedef struct {
  uint8_t *data;
  size_t start, end, capacity;
} Buffer;
static inline size_t buffer_length(const Buffer *b) { return b->end - b->start; }
static inline uint8_t *buffer_bytes(const Buffer *b) { return b->data + b->start; }
static inline void buffer_clear(Buffer *b) { b->start = b->end = 0; }
static inline void buffer_reserve(Buffer *b, size_t n) {
  if (b->start == b->end) buffer_clear(b);
  if (b->capacity - b->end >= n) return;
  if (b->start) {
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
  }
  if (b->capacity - b->end < n) {
    b->capacity = (b->end + n) * 2;
    b->data = realloc(b->data, b->capacity);
    if (!b->data) die("out of memory");
  }
}
static inline void buffer_add(Buffer *b, const void *bytes, size_t n) {
  buffer_reserve(b, n);
  memcpy(b->data + b->end, bytes, n);
  b->end += n;
}
static inline void buffer_byte(Buffer *b, unsigned v) {
  uint8_t byte = v;
  buffer_add(b, &byte, 1);
}
void buffer_format(Buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- connections (net.c) ---- */
typedef struct connection Connection;
struct connection {
  int fd, state, pending, number;
  bool writing, closed;
  Buffer in, out;
  uint64_t sequence;  /* receiver of messages: number of the next one */
  uint64_t requested; /* HTTP: when the request was sent */
  void (*on_bytes)(Connection *);
  void (*on_end)(Connection *); /* the server closed */
};
Connection *connection_open(void);      /* blocking, until connection_watch */
void connection_reopen(Connection *c);  /* a new socket; bytes in hand are dropped */
void connection_send(Connection *c);    /* blocking: send all of `out` */
void connection_receive(Connection *c); /* blocking: read at least one byte; ends us at EOF */
void connection_watch(Connection *c);   /* from here on non-blocking, served by poll_connections */
void connection_flush(Connection *c);   /* send what the socket takes, the rest when it is ready */
void poll_connections(uint64_t wait_ns);
extern uint64_t received_at; /* when the bytes being parsed were read */

/* ---- messages from a publisher to receivers (traffic.c) ---- */
extern struct traffic {
  uint64_t sent, acked, delivered, lost, out_of_order, malformed;
  int receivers;
  bool confirmed; /* whether the server acknowledges what is sent: count it in `acked` */
  void (*publish)(Connection *publisher, uint64_t time); /* append one message to `out` */
} traffic;
void body_fill(uint8_t *body, uint64_t time); /* write the first 32 bytes of a body */
void body_received(Connection *c, const uint8_t *body, size_t length);
/* Serve a connection that is set up: `on_bytes` takes whole packets out of `in`. */
void traffic_watch(Connection *c, void (*on_bytes)(Connection *));
void traffic_run(Connection *publisher); /* warm up, measure, drain, and print the result */

/* ---- HTTP/1.x client side (http.c) ---- */
typedef struct {
  int status;
  bool closes;
  size_t total; /* bytes of the whole response */
  const uint8_t *body;
  size_t body_length;
} Response;
/* Parse one response at bytes[0..n); false if it is incomplete. `eof`: nothing will follow. */
bool http_parse(const uint8_t *bytes, size_t n, bool eof, Response *response);
extern struct http_counters {
  uint64_t requests, errors, reconnects, empty;
  bool measuring;
} http;
/* Send the request in `out` and wait for its answer; ends us unless the status is 2xx. The body is
   NUL-terminated and valid until the next call. */
Response http_call(Connection *c);
/* From here on `on_response` gets each answer, and appends the next request to `out` or none. If
   the server closes instead of answering, it gets an empty one with status 0 on a new socket. */
void http_watch(Connection *c, void (*on_response)(Connection *, const Response *));
/* Warm up, then measure how far `messages` gets, and print that. */
void http_measure(const uint64_t *messages);
void http_print(uint64_t messages, double seconds);

/* ---- AWS services (aws.c) ---- */
void aws_json(Buffer *out, const char *service, const char *version, const char *target,
              const Buffer *json);
void aws_query(Buffer *out, const char *service, const Buffer *form);
void aws_escape(Buffer *form, const char *text); /* add a value of a form */
/* The next string with that key at or after `from`; NULL if there is none. */
const uint8_t *find_string(const uint8_t *from, const uint8_t *end, const char *key,
                           size_t *length);
/* Copy a string of an answer in JSON, an element of one in XML; ends us if there is none. */
void copy_string(const Response *response, const char *key, char *to, size_t size);
void copy_element(const Response *response, const char *name, char *to, size_t size);

/* ---- SQS queues (sqs.c): requests are added to `out`, what takes a connection awaits them ---- */
void sqs_create_queue(Connection *c, const char *name, char *url, size_t size);
void sqs_queue_arn(Connection *c, const char *url, char *arn, size_t size);
void sqs_receive(Buffer *out, const char *url, int limit);
int sqs_take_handles(const Response *response); /* keep what sqs_delete deletes; how many it is */
void sqs_delete(Buffer *out, const char *url, bool one);
/* A batch is answered with 200 even if the server refused entries: count that as an error. */
void sqs_check_batch(const Response *response);

/* ---- the loads: each prints its marks and one JSON line ---- */
void load_amqp(void);
void load_stomp(void);
void load_mqtt(void);
void load_mqtt_idle(void);
void load_sqs(void);
void load_sqs_receive(void);
void load_sns(void);
void load_kinesis(void);
void load_http(void);
void load_gateway(void);
void load_websocket(void);
void load_websocket_idle(void);
#endif
