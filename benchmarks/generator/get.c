/* Plain HTTP: GET of one path, again and again on connections that are kept alive. */
#include "bench.h"

static uint64_t answered;

static void request(Connection *c) {
  buffer_format(&c->out,
                "GET %s HTTP/1.1\r\n"
                "Host: %s:%d\r\n"
                "User-Agent: bench\r\n"
                "Accept: */*\r\n\r\n",
                options.path, options.host, options.port);
}

static void next_request(Connection *c, const Response *response) {
  if (response->status == 200) answered++;
  request(c);
}

void load_http(void) {
  for (int i = 0; i < options.connections; i++) {
    Connection *c = connection_open();
    request(c);
    http_watch(c, next_request);
  }
  http_measure(&answered);
}
