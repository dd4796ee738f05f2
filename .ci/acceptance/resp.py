"""A one-page RESP client that lets checks pipeline, disconnect at any point and send nonsense."""

import socket


class ReplyError(Exception):
    """The server answered with an error, whose text is the message."""


class Connection:
    """One connection to `host:port`. Raises if the server is silent for `timeout` seconds."""

    def __init__(self, address, timeout=15.0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.reader.close()
        self.socket.close()

    @staticmethod
    def free_port():
        """A port that was free a moment ago, for servers that cannot choose one themselves."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def send(self, *commands):
        """Sends commands without waiting for their answers."""
        self.socket.sendall(b"".join(encode(command) for command in commands))

    def receive(self):
        """Returns the next answer. An error answer is returned, not raised."""
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"=":
            return self._bulk(int(rest))[4:]
        if kind in (b"*", b"~", b">"):
            return None if int(rest) < 0 else [self.receive() for _ in range(int(rest))]
        if kind == b"%":
            return {as_key(self.receive()): self.receive() for _ in range(int(rest))}
        if kind in (b"_", b"#", b","):
            return {b"_": None, b"#": rest == b"t"}.get(kind, rest.decode())
        raise ConnectionError(f"not RESP: {line!r}")

    def _bulk(self, length):
        if length < 0:
            return None
        data = self.reader.read(length + 2)
        if len(data) != length + 2:
            raise ConnectionError("the server closed the connection")
        return data[:-2]

    def call(self, *words):
        """Sends one command and returns its answer. Raises if that is an error."""
        self.send(words)
        answer = self.receive()
        if isinstance(answer, ReplyError):
            raise answer
        return answer

    def pipeline(self, commands, batch=1000):
        """Returns all answers in order, including errors."""
        answers = []
        for start in range(0, len(commands), batch):
            part = commands[start : start + batch]
            self.send(*part)
            answers.extend(self.receive() for _ in part)
        return answers


def as_key(value):
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def encode(words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
