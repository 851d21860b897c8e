/* Publishing by HTTP: POST of one body to one path, again and again on kept connections. */
#include "bench.h"

static uint64_t kept;
static char *body;

static void request(Connection *c) {
  buffer_format(&c->out,
                "POST %s HTTP/1.1\r\n"
                "Host: %s:%d\r\n"
                "User-Agent: bench\r\n"
                "Content-Type: application/octet-stream\r\n"
                "Content-Length: %d\r\n\r\n%s",
                options.path, options.host, options.port, options.size, body);
}

static void next_request(Connection *c, const Response *response) {
  if (response->status / 100 == 2) kept++;
  request(c);
}

void load_gateway(void) {
  body = malloc(options.size + 1);
  memset(body, 'x', options.size);
  body[options.size] = 0;
  for (int i = 0; i < options.connections; i++) {
    Connection *c = connection_open();
    request(c);
    http_watch(c, next_request);
  }
  http_measure(&kept);
}
