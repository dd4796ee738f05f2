"""Clients that ask one thing after the other, of Quorate over RESP and of etcd over gRPC. One event loop serves all
connections of a process, and it is the same for both, so that what the clients cost is the same.

A script is a generator: it yields a request and gets the answer; it yields `None` when an operation is over."""
import multiprocessing, selectors, socket, struct, time

PROCESSES = 2
VALUE = b"x" * 100


# RESP

def resp_request(words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def resp_answer(data, at=0):
    """The first answer in `data` and where it ends, or `None` if it is not complete."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, rest, at = data[at:at + 1], data[at + 1:end], end + 2
    if kind in b":+":
        return rest, at
    if kind == b"-":
        raise RuntimeError(rest.decode())
    length = int(rest)
    if length < 0:
        return None, at
    if kind == b"$":
        return (data[at:at + length], at + length + 2) if len(data) >= at + length + 2 else None
    answers = []
    for _ in range(length):
        found = resp_answer(data, at)
        if found is None:
            return None
        answers.append(found[0])
        at = found[1]
    return answers, at


class Resp:
    def __init__(self, address):
        self.received = b""

    def hello(self):
        return b""

    def encode(self, words):
        return resp_request(words)

    def feed(self, data):
        """The answer, once it is complete, and what must be sent besides."""
        self.received += data
        found = resp_answer(self.received)
        if found is None:
            return None, b""
        answer, end = found
        self.received = self.received[end:]
        return (answer,), b""


# gRPC: HTTP/2 (RFC 9113) with headers that are never compressed or remembered (RFC 7541, 6.2.2)

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    return bytes([len(value)]) + value


class Grpc:
    def __init__(self, address):
        self.received, self.stream, self.body = b"", -1, b""
        rest = b"\x01" + text(address.encode()) + b"\x0f\x10" + text(b"application/grpc") + b"\x00" + text(b"te") + text(b"trailers")
        self.headers = {path: b"\x83\x86\x04" + text(path) + rest for path in (LEASE, LOCK, UNLOCK, PUT, RANGE)}

    def hello(self):
        window = struct.pack(">I", 2**31 - 1 - 65_535)
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, window)

    def encode(self, request):
        path, message = request
        self.stream += 2
        self.body = b""
        body = b"\0" + struct.pack(">I", len(message)) + message
        return frame(HEADERS, END_HEADERS, self.stream, self.headers[path]) + frame(DATA, END_STREAM, self.stream, body)

    def feed(self, data):
        self.received += data
        answer, send = None, b""
        while len(self.received) >= 9:
            length = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + length:
                break
            kind, flags = self.received[3], self.received[4]
            stream, payload = int.from_bytes(self.received[5:9], "big"), self.received[9:9 + length]
            self.received = self.received[9 + length:]
            if kind == SETTINGS and not flags & ACK:
                send += frame(SETTINGS, ACK, 0)
            elif kind == PING and not flags & ACK:
                send += frame(PING, ACK, 0, payload)
            elif kind in (RESET, GOAWAY):
                raise RuntimeError(f"etcd ends a conversation: {payload!r}")
            elif kind == DATA and stream == self.stream:
                self.body += payload
            if kind in (DATA, HEADERS) and stream == self.stream and flags & END_STREAM:
                if not self.body:
                    raise RuntimeError("etcd answers with an error")
                answer = (self.body[5:],)
        return answer, send


# Messages of etcd (rpc.proto, v3lock.proto): numbers and byte strings

LEASE, PUT, RANGE = b"/etcdserverpb.Lease/LeaseGrant", b"/etcdserverpb.KV/Put", b"/etcdserverpb.KV/Range"
LOCK, UNLOCK = b"/v3lockpb.Lock/Lock", b"/v3lockpb.Lock/Unlock"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(**fields):
    """`f1=b"…"` is field 1."""
    out = b""
    for name, value in fields.items():
        number = int(name[1:])
        out += varint(number << 3 | 2) + varint(len(value)) + value if isinstance(value, bytes) else varint(number << 3) + varint(value)
    return out


def field(data, wanted):
    """The field of this number."""
    def number(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at
    at = 0
    while at < len(data):
        tag, at = number(at)
        value, at = number(at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        if tag >> 3 == wanted:
            return value
    raise RuntimeError(f"no field {wanted}")


# Scripts

def quorate_lock(key):
    while True:
        token, _session = yield ("LOCK.ACQUIRE", key, "TTL", 60_000, "WAIT", 60_000)
        released = yield ("LOCK.RELEASE", key, token)
        assert released == b"1", released
        yield None


def etcd_lock(key):
    lease = field((yield LEASE, message(f1=600)), 2)
    while True:
        held = field((yield LOCK, message(f1=key.encode(), f2=lease)), 2)
        yield UNLOCK, message(f1=held)
        yield None


def quorate_write(key):
    while True:
        yield ("META.SET", key, VALUE)
        yield None


def etcd_write(key):
    while True:
        yield PUT, message(f1=key.encode(), f2=VALUE)
        yield None


def quorate_read(key):
    yield ("META.SET", key, VALUE)
    while True:
        value, _revision = yield ("META.GET", key)
        assert value == VALUE, value
        yield None


def etcd_read(key):
    yield PUT, message(f1=key.encode(), f2=VALUE)
    while True:
        yield RANGE, message(f1=key.encode())
        yield None


OPERATIONS = [("lock and unlock, a lock each", 64), ("lock and unlock, all one lock", 16), ("durable write", 64), ("durable write", 256), ("strong read", 64)]
QUORATE = Resp, {"lock and unlock, a lock each": quorate_lock, "lock and unlock, all one lock": quorate_lock, "durable write": quorate_write, "strong read": quorate_read}
ETCD = Grpc, {"lock and unlock, a lock each": etcd_lock, "lock and unlock, all one lock": etcd_lock, "durable write": etcd_write, "strong read": etcd_read}


class Client:
    def __init__(self, protocol, address, script):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol, self.script, self.begun = protocol(address), script, time.monotonic()
        self.socket.sendall(self.protocol.hello() + self.protocol.encode(next(script)))

    def serve(self, took):
        """Reads what is there. If it is an answer, sends the next request; if an operation is over, notes how long it took."""
        answer, send = self.protocol.feed(self.socket.recv(65_536))
        if answer:
            request = self.script.send(answer[0])
            if request is None:
                now = time.monotonic()
                took.append((now, now - self.begun))
                self.begun, request = now, next(self.script)
            send += self.protocol.encode(request)
        if send:
            self.socket.sendall(send)


def serve_all(protocol, script, addresses, numbers, one_key, seconds, told):
    selector, took = selectors.DefaultSelector(), []
    for number in numbers:
        key = "all" if one_key else f"key{number}"
        client = Client(protocol, addresses[number % len(addresses)], script(key))
        selector.register(client.socket, selectors.EVENT_READ, client)
    # Connections, leases and first answers are not measured.
    begun = time.monotonic() + 0.5
    while time.monotonic() < begun + seconds:
        for ready, _ in selector.select(0.1):
            ready.data.serve(took)
    told.put([each for end, each in took if begun <= end < begun + seconds])


def run(protocol, script, addresses, clients, one_key, seconds):
    """Operations per second, and the 50th and 99th percentile of what they took in microseconds."""
    told = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=serve_all, args=(protocol, script, addresses, range(first, clients, PROCESSES), one_key, seconds, told))
        for first in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    took = sorted(each for _ in workers for each in told.get(timeout=seconds + 60))
    for worker in workers:
        worker.join()
    if not took:
        raise RuntimeError(f"{script.__name__}: nothing was done")
    return len(took) / seconds, took[len(took) // 2] * 1e6, took[len(took) * 99 // 100] * 1e6


def all_of(addresses, scripts, seconds):
    protocol, by_operation = scripts
    return {
        (operation, clients): run(protocol, by_operation[operation], addresses, clients, operation.endswith("one lock"), seconds)
        for operation, clients in OPERATIONS
    }
