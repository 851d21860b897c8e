/* An HTTP/1.x client: one request at a time on a connection, kept alive where the server does. */
#include "bench.h"
#include <strings.h>

struct http_counters http;
static Buffer chunks;
static void (*respond)(Connection *, const Response *);

static bool parse_chunks(const uint8_t *bytes, size_t n, size_t at, Response *response) {
  buffer_clear(&chunks);
  for (;;) {
    const uint8_t *line_end = memchr(bytes + at, '\n', n - at);
    if (!line_end) return false;
    size_t size = strtoul((const char *)bytes + at, NULL, 16);
    at = line_end - bytes + 1;
    if (at + size + 2 > n) return false;
    if (!size) break;
    buffer_add(&chunks, bytes + at, size);
    at += size + 2;
  }
  response->total = at + 2;
  response->body = buffer_bytes(&chunks);
  response->body_length = buffer_length(&chunks);
  return true;
}

bool http_parse(const uint8_t *bytes, size_t n, bool eof, Response *response) {
  const uint8_t *blank = memmem(bytes, n, "\r\n\r\n", 4);
  if (!blank) return false;
  size_t head = blank - bytes + 4;
  long length = -1;
  bool chunked = false;
  response->closes = !memcmp(bytes, "HTTP/1.0", 8);
  response->status = atoi((const char *)bytes + 9);
  for (const uint8_t *line = memchr(bytes, '\n', head); line && line < blank;
       line = memchr(line, '\n', bytes + head - line)) {
    const char *field = (const char *)++line;
    if (!strncasecmp(field, "content-length:", 15)) length = atol(field + 15);
    if (!strncasecmp(field, "transfer-encoding:", 18)) chunked = true;
    if (!strncasecmp(field, "connection:", 11)) {
      field += 11 + strspn(field + 11, " ");
      response->closes = !strncasecmp(field, "close", 5);
    }
  }
  if (chunked) return parse_chunks(bytes, n, head, response);
  if (length < 0 && (response->status == 204 || response->status == 304)) length = 0;
  if (length < 0) { /* the body ends with the connection */
    if (!eof) return false;
    length = n - head;
    response->closes = true;
  }
  if (n < head + length) return false;
  response->body = bytes + head;
  response->body_length = length;
  response->total = head + length;
  return true;
}

Response http_call(Connection *c) {
  static Buffer kept;
  Response response;
  connection_send(c);
  do connection_receive(c);
  while (!http_parse(buffer_bytes(&c->in), buffer_length(&c->in), false, &response));
  buffer_clear(&kept);
  buffer_add(&kept, response.body, response.body_length);
  buffer_byte(&kept, 0);
  response.body = buffer_bytes(&kept);
  if (response.status / 100 != 2)
    die("HTTP %d: %.300s", response.status, (const char *)response.body);
  c->in.start += response.total;
  if (response.closes) {
    connection_reopen(c);
    http.reconnects++;
  }
  return response;
}

static void reopen(Connection *c) {
  if (++http.reconnects > 1000 && http.reconnects > 2 * http.requests)
    die("the server keeps closing connections");
  connection_reopen(c);
  connection_watch(c);
}

static void next_request(Connection *c) {
  if (!buffer_length(&c->out)) return;
  c->requested = now_ns();
  http.requests++;
  connection_flush(c);
}

/* Hand out the complete responses; true if the connection was opened anew. */
static bool read_responses(Connection *c, bool eof) {
  Response response;
  bool reopened = false;
  while (buffer_length(&c->in) &&
         http_parse(buffer_bytes(&c->in), buffer_length(&c->in), eof, &response)) {
    if (http.measuring) latency_add(received_at - c->requested);
    if (response.status / 100 != 2 && http.errors++ < 3)
      fprintf(stderr, "HTTP %d: %.*s\n", response.status,
              (int)(response.body_length < 300 ? response.body_length : 300), response.body);
    respond(c, &response);
    c->in.start += response.total;
    if (response.closes) {
      reopen(c);
      reopened = true;
    }
    next_request(c);
  }
  return reopened;
}

static void on_bytes(Connection *c) { read_responses(c, false); }

static void on_end(Connection *c) {
  if (read_responses(c, true)) return;
  const Response nothing = {.status = 0, .body = (const uint8_t *)""};
  reopen(c);
  buffer_clear(&c->out);
  respond(c, &nothing);
  next_request(c);
}

void http_watch(Connection *c, void (*on_response)(Connection *, const Response *)) {
  respond = on_response;
  c->on_bytes = on_bytes;
  c->on_end = on_end;
  connection_watch(c);
  next_request(c);
}

void http_print(uint64_t messages, double seconds) {
  printf("{\"messages\": %lu, \"seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"empty\": %lu, \"reconnects\": %lu, \"errors\": %lu}\n",
         messages, seconds, latency_ms(.5), latency_ms(.99), http.empty, http.reconnects,
         http.errors);
}

void http_measure(const uint64_t *messages) {
  uint64_t end = now_ns() + (uint64_t)(options.warm * 1e9);
  while (now_ns() < end) poll_connections(10000000);
  mark("begin");
  http.measuring = true;
  uint64_t start = now_ns(), first = *messages;
  end = start + (uint64_t)(options.seconds * 1e9);
  while (now_ns() < end) poll_connections(10000000);
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  http_print(*messages - first, seconds);
}
