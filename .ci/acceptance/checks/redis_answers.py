"""The same commands, sent to Redis and to a node, get the same answers, byte for byte."""

import contextlib
import shutil
import subprocess
import tempfile

from cluster import Cluster, wait_until
from environment import client
from resp import Connection, ReplyError

# Answers without a defined order are sorted before they are compared.
UNORDERED = {"SMEMBERS", "KEYS", "HKEYS", "HVALS", "SCAN", "HGETALL"}

TRANSCRIPT = """
PING|PING hello|ECHO hello|SET s v|GET s|GET none|STRLEN s|STRLEN none|APPEND s w|GET s|APPEND new x|GETDEL new|GETDEL new
SET s 7|INCR s|INCRBY s -3|DECR s|DECRBY s 10|INCR fresh|GET fresh|SET text abc|INCR text|INCRBY fresh abc|SET max 9223372036854775807|INCR max
MSET a 1 b 2 c 3|MGET a none c|MSET a|EXISTS a b none|EXISTS a a|TYPE a|TYPE none|DEL a b none|DEL a|TOUCH c none|UNLINK c
SADD set x y z|SADD set x w|SCARD set|SISMEMBER set x|SISMEMBER set q|SMISMEMBER set x q|SMEMBERS set|SREM set x q|SMEMBERS set|SCARD none|SMEMBERS none
HSET hash f 1 g 2|HSET hash f 9|HSET hash f|HGET hash f|HGET hash none|HMGET hash f none|HLEN hash|HEXISTS hash f|HKEYS hash|HVALS hash|HGETALL hash|HGETALL none
HINCRBY hash n 5|HINCRBY hash n -7|HSET hash t abc|HINCRBY hash t 1|HDEL hash f none|HGETALL hash|HMSET hash m 1|TYPE hash|TYPE set
GET set|SADD hash x|HGET s f|INCR set|STRLEN s extra arguments|APPEND hash x|SCARD s
SET e v EX 1000|TTL e|PERSIST e|PERSIST e|TTL e|TTL none|PTTL none|EXPIRE e 500|TTL e|EXPIRE none 5|SET e v KEEPTTL|TTL e|SET e v|TTL e|SETEX e 77 w|TTL e
PSETEX e 77000 w|TTL e|EXPIREAT e 33177117420|EXPIRETIME e|PEXPIRETIME e|EXPIRE e -1|GET e|SETEX e 0 w|SETEX e abc w|SET e v EX 0|SET e v EX abc|SET e v NONSENSE|SET e
EXPIRE s|GET|GET a b|NOSUCHCOMMAND a b|SET set v|TYPE set|KEYS h*|SCAN 0 COUNT 1000|SCAN abc|DBSIZE|CLIENT SETNAME me|CLIENT GETNAME|CLIENT NOSUCH
SADD gone x|SREM gone x|EXISTS gone|TYPE gone|HSET gone f v|HDEL gone f|EXISTS gone|SET empty ''|GET empty|STRLEN empty|SADD bin \\x00\\xff|SMEMBERS bin
MULTI|MULTI|SET m 1|INCR m|SADD m x|GET m|EXEC|EXEC|DISCARD|MULTI|NOPE|SET m 9|GET|EXEC|GET m|MULTI|SET m 9|DISCARD|GET m|UNWATCH|MULTI|UNWATCH|PING|EXEC
MULTI|EXEC x|EXEC|MULTI|EXEC|SELECT 1|SET other 1|SELECT 16|SELECT -1|SELECT 0|GET other|SELECT 1|GET other|FLUSHDB|SELECT 0
HSET h2 f v|HSCAN h2 0|HSCAN none 0|HSCAN h2 0 COUNT 0|HSCAN h2 x|SADD s2 a|SSCAN s2 0|SSCAN s2 0 MATCH b*|SSCAN h2 0|SCAN 18446744073709551616
EXPIRE h2 10 SOON|OBJECT ENCODING none|OBJECT ENCODING s2|CLUSTER INFO|CLUSTER|READONLY|ROLE|MODULE LIST|FUNCTION LIST|FUNCTION FLUSH|SCRIPT EXISTS a b|SCRIPT FLUSH|LATENCY LATEST
CLIENT LIST TYPE nope|CLIENT LIST ID a|CLIENT LIST ID 999|CLIENT KILL ID 999|CLIENT KILL 1.1.1.1:1|CLIENT KILL FOO bar|SLOWLOG GET -2|SLOWLOG GET x|SLOWLOG RESET|CONFIG RESETSTAT
CONFIG SET save '' maxmemory 0|CONFIG SET slowlog-log-slower-than abc|CONFIG GET databases|CONFIG GET maxmemory|COMMAND LIST FILTERBY MODULE none|COMMAND LIST FILTERBY x|WAIT 0 0
MULTI|SET m 8|RESET|EXEC
FLUSHALL|DBSIZE|KEYS *
"""


def commands():
    for line in TRANSCRIPT.strip().splitlines():
        for command in line.split("|"):
            words = [word.replace("''", "").encode().decode("unicode_escape").encode("latin-1") for word in command.split(" ")]
            yield command, words


@contextlib.contextmanager
def redis_server():
    """Runs Redis on a free port without persistence, and yields its address."""
    folder = tempfile.mkdtemp(prefix="quorate-redis-")
    socket = Connection.free_port()
    process = subprocess.Popen(
        [client("redis-server"), "--port", str(socket), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"127.0.0.1:{socket}"

    def answers():
        with Connection(address) as connection:
            return connection.call("PING") == "PONG"

    try:
        wait_until("redis-server answers", answers, 10)
        yield address
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answers_of(address, protocol):
    with Connection(address) as connection:
        hello = connection.call("HELLO", protocol)
        assert hello, "no answer to HELLO"
        for command, words in commands():
            connection.send(words)
            yield command, comparable(command, connection.receive())


def comparable(command, answer):
    if isinstance(answer, ReplyError):
        return f"error {answer}"
    if command == "EXEC" and isinstance(answer, list):
        return [comparable("", reply) for reply in answer]
    if command.split(" ")[0] in UNORDERED and isinstance(answer, list):
        if command.startswith("HGETALL"):
            return sorted(zip(answer[::2], answer[1::2]))
        return [comparable("KEYS", part) if isinstance(part, list) else part for part in answer] if command.startswith("SCAN") else sorted(answer)
    return sorted(answer.items()) if isinstance(answer, dict) else answer


def compare(protocol):
    with redis_server() as redis, Cluster(1) as cluster:
        pairs = list(zip(answers_of(redis, protocol), answers_of(cluster[0].resp, protocol)))
    assert len(pairs) > 120
    differing = [f"{command}: Redis {theirs!r}, Quorate {ours!r}" for (command, theirs), (_, ours) in pairs if theirs != ours]
    assert not differing, f"{len(differing)} of {len(pairs)} answers differ:\n  " + "\n  ".join(differing)


def check_answers_are_those_of_redis_in_resp2():
    compare(2)


def check_answers_are_those_of_redis_in_resp3():
    compare(3)
