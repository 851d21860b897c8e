/* The load generator of the benchmarks: one thread, epoll, raw sockets, nothing but libc.
 *
 *   bench LOAD --port N [--option value]...       LOAD: mqtt, mqtt-idle, amqp, stomp, sqs,
 *                                               sqs-receive, sns, kinesis, http, gateway,
 *                                               websocket, websocket-idle
 *
 * Prints `{"mark": "NAME"}` where a phase begins and waits for a line on stdin, so that whoever
 * started it reads CPU times and memory of the server at that moment; then one line with the
 * result. Run by hand with </dev/null it doesn't wait.
 */
#include "bench.h"
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct options options = {
    .host = "127.0.0.1",
    .warm = 1,
    .seconds = 3,
    .size = 256,
    .connections = 8,
    .subscribers = 1,
    .window = 1000,
    .unacked = 100,
    .batch = 1,
    .depth = 1000,
    .count = 1000,
    .path = "/",
    .fill_deadline = 300,
};

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "bench: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(1);
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

void mark(const char *name) {
  printf("{\"mark\": \"%s\"}\n", name);
  fflush(stdout);
  for (char byte = 0; byte != '\n' && read(STDIN_FILENO, &byte, 1) == 1;) continue;
}

void buffer_format(Buffer *b, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int n = vsnprintf(NULL, 0, format, arguments);
  buffer_reserve(b, n + 1); /* with the NUL that vsnprintf writes */
  vsnprintf((char *)b->data + b->end, n + 1, format, again);
  b->end += n;
  va_end(again);
  va_end(arguments);
}

#define STEPS 64
static uint64_t histogram[STEPS * STEPS], samples;

void latency_add(uint64_t ns) {
  unsigned slot = ns;
  if (ns >= STEPS) {
    int exponent = 63 - __builtin_clzll(ns);
    slot = (exponent - 5) * STEPS + ((ns >> (exponent - 6)) & (STEPS - 1));
  }
  histogram[slot]++;
  samples++;
}

double latency_ms(double quantile) {
  if (!samples) return -1;
  uint64_t rank = quantile * (samples - 1), seen = 0;
  for (unsigned slot = 0; slot < STEPS * STEPS; slot++) {
    seen += histogram[slot];
    if (seen <= rank) continue;
    if (slot < STEPS) return slot / 1e6;
    int exponent = slot / STEPS + 5;
    return ((1ull << exponent) + ((uint64_t)(slot % STEPS) << (exponent - 6))) / 1e6;
  }
  return -1;
}

static void parse_option(const char *name, const char *value) {
#define OPTION(text, field, convert) \
  if (!strcmp(name, "--" text)) { options.field = convert(value); return; }
  OPTION("host", host, )
  OPTION("port", port, atoi)
  OPTION("warm", warm, atof)
  OPTION("seconds", seconds, atof)
  OPTION("size", size, atoi)
  OPTION("connections", connections, atoi)
  OPTION("subscribers", subscribers, atoi)
  OPTION("qos", qos, atoi)
  OPTION("window", window, atoi)
  OPTION("unacked", unacked, atoi)
  OPTION("reliable", reliable, atoi)
  OPTION("rate", rate, atof)
  OPTION("batch", batch, atoi)
  OPTION("raw", raw, atoi)
  OPTION("depth", depth, atol)
  OPTION("count", count, atol)
  OPTION("path", path, )
  OPTION("fill-deadline", fill_deadline, atof)
#undef OPTION
  die("unknown option %s", name);
}

int main(int argc, char **argv) {
  if (argc < 2 || argc % 2) die("usage: bench LOAD --port N [--option value]...");
  for (int i = 2; i < argc; i += 2) parse_option(argv[i], argv[i + 1]);
  if (!options.port) die("--port is needed");
  if (options.size < 32) die("--size must be at least 32");
  if (options.unacked < 1 || options.unacked > 60000) die("--unacked must be from 1 to 60000");
  if (options.qos < 0 || options.qos > 2) die("--qos must be 0, 1 or 2");
  if (options.batch < 1 || options.batch > 10) die("--batch must be from 1 to 10");
  if (options.connections < 1 || options.subscribers < 1) die("at least one connection");

  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); /* sleeps end when they should, not 50 us later */
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const struct { const char *name; void (*run)(void); } loads[] = {
      {"amqp", load_amqp},
      {"stomp", load_stomp},
      {"mqtt", load_mqtt},
      {"mqtt-idle", load_mqtt_idle},
      {"sqs", load_sqs},
      {"sqs-receive", load_sqs_receive},
      {"sns", load_sns},
      {"kinesis", load_kinesis},
      {"http", load_http},
      {"gateway", load_gateway},
      {"websocket", load_websocket},
      {"websocket-idle", load_websocket_idle},
  };
  for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
    if (strcmp(argv[1], loads[i].name)) continue;
    loads[i].run();
    return 0;
  }
  die("unknown load %s", argv[1]);
}
