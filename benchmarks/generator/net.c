/* TCP connections: blocking while a load sets up, then served together by epoll. */
#include "bench.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define READ_BYTES 262144
#define SETUP_TIMEOUT_S 60

uint64_t received_at;
static int epoll = -1;

static int dial(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.port)};
  if (inet_pton(AF_INET, options.host, &address.sin_addr) != 1)
    die("--host must be an IPv4 address");
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0) die("socket: %s", strerror(errno));
  if (connect(fd, (struct sockaddr *)&address, sizeof address))
    die("connect %s:%d: %s", options.host, options.port, strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct timeval limit = {.tv_sec = SETUP_TIMEOUT_S};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

Connection *connection_open(void) {
  Connection *c = calloc(1, sizeof *c);
  if (!c) die("out of memory");
  c->fd = dial();
  return c;
}

void connection_reopen(Connection *c) {
  close(c->fd); /* which takes it out of epoll too */
  c->fd = dial();
  c->writing = false;
  buffer_clear(&c->in);
}

void connection_send(Connection *c) {
  while (buffer_length(&c->out)) {
    ssize_t n = send(c->fd, buffer_bytes(&c->out), buffer_length(&c->out), MSG_NOSIGNAL);
    if (n <= 0) die("send: %s", strerror(errno));
    c->out.start += n;
  }
}

void connection_receive(Connection *c) {
  buffer_reserve(&c->in, READ_BYTES);
  ssize_t n = recv(c->fd, c->in.data + c->in.end, c->in.capacity - c->in.end, 0);
  if (n <= 0) die("the server %s", n ? "did not answer" : "closed the connection");
  c->in.end += n;
}

void connection_watch(Connection *c) {
  if (epoll < 0) epoll = epoll_create1(0);
  fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) die("epoll: %s", strerror(errno));
}

void connection_flush(Connection *c) {
  if (c->closed) {
    buffer_clear(&c->out);
    return;
  }
  while (buffer_length(&c->out)) {
    ssize_t n = send(c->fd, buffer_bytes(&c->out), buffer_length(&c->out), MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      buffer_clear(&c->out); /* the end of the connection is met when it is read */
      break;
    }
    c->out.start += n;
  }
  bool writing = buffer_length(&c->out) > 0;
  if (writing == c->writing) return;
  struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
  c->writing = writing;
}

void poll_connections(uint64_t wait_ns) {
  struct epoll_event events[256];
  struct timespec wait = {wait_ns / 1000000000ull, wait_ns % 1000000000ull};
  int ready = epoll_pwait2(epoll, events, 256, &wait, NULL);
  if (ready < 0 && errno != EINTR) die("epoll: %s", strerror(errno));
  for (int i = 0; i < ready; i++) {
    Connection *c = events[i].data.ptr;
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
      buffer_reserve(&c->in, READ_BYTES);
      ssize_t n = recv(c->fd, c->in.data + c->in.end, c->in.capacity - c->in.end, 0);
      received_at = now_ns();
      if (n > 0) {
        c->in.end += n;
        c->on_bytes(c);
      } else if (n == 0 || errno != EAGAIN) {
        c->on_end(c);
        continue;
      }
    }
    if (buffer_length(&c->out) || c->writing) connection_flush(c);
  }
}
