"""A mail server for tests."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import Message as Mail
from queue import Queue


@contextmanager
def mail_server(port: int = 0) -> Iterator[tuple[int, "Queue[tuple[str, Mail]]"]]:
    """A mail server of the least kind (RFC 5321): its port, and what it got, by receiver."""
    mails: Queue[tuple[str, Mail]] = Queue()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client may be killed
                self.converse()

        def converse(self) -> None:
            self.say("220 test")
            receiver = ""
            for raw in self.rfile:
                command = raw.decode().strip()
                word = command[:4].upper()
                if word == "DATA":
                    self.say("354 go on")
                    lines = []
                    for line in self.rfile:
                        if line == b".\r\n":
                            break
                        lines.append(line.removeprefix(b"."))
                    mails.put((receiver, message_from_bytes(b"".join(lines))))
                elif word == "RCPT":
                    receiver = command.partition("<")[2].partition(">")[0]
                    if receiver.startswith("nobody"):
                        self.say("550 no such mailbox")
                        continue
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                self.say("250 ok")

    with socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1], mails
        finally:
            server.shutdown()
            thread.join()
