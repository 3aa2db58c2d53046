#!/usr/bin/env python3
"""A container of Volt is killed while keys are stored, and started again: what was acknowledged is there.

    tests/stack/warm.py PORT CONTAINER

What a kill may cost is what was acknowledged in the last tenth of a second. Here it is a second, for a machine that is busy
with more than the test; how much it was is printed.
"""

import socket
import subprocess
import sys
import threading
import time

PORT, CONTAINER = int(sys.argv[1]), sys.argv[2]

# Keys in one write; a second of them is much more than what is checked for.
BATCH = 50
LOAD_S = 4
LOSS_MAX_S = 1.0
START_MAX_S = 60


def connect():
    return socket.create_connection(("127.0.0.1", PORT), timeout=5)


def value(key):
    return f"value {key} ".encode() * 8


def store(acknowledged):
    """Stores keys in order until the server is gone; notes when how many had been acknowledged."""
    keys = 0
    try:
        with connect() as server, server.makefile("rb") as replies:
            while True:
                for key in range(keys, keys + BATCH):
                    data = value(key)
                    server.sendall(b"set warm:%d 0 0 %d\r\n%s\r\n" % (key, len(data), data))
                for _ in range(BATCH):
                    if replies.readline() != b"STORED\r\n":
                        return
                keys += BATCH
                acknowledged.append((time.monotonic(), keys))
    except OSError:
        pass


def wait_until_served():
    began = time.monotonic()
    while True:
        try:
            with connect() as server:
                server.sendall(b"version\r\n")
                if server.recv(100).startswith(b"VERSION"):
                    return time.monotonic() - began
        except OSError:
            pass
        if time.monotonic() - began > START_MAX_S:
            sys.exit(f"warm: not served again within {START_MAX_S} s")
        time.sleep(0.05)


def missing(keys):
    """The keys below this number that are not there; one with another value ends the test."""
    gone = []
    with connect() as server, server.makefile("rb") as replies:
        for key in range(keys):
            server.sendall(b"get warm:%d\r\n" % key)
            line = replies.readline()
            if line == b"END\r\n":
                gone.append(key)
                continue
            found = replies.read(int(line.split()[3]) + 2)[:-2]
            if found != value(key) or replies.readline() != b"END\r\n":
                sys.exit(f"warm: warm:{key} has another value: {found!r}")
    return gone


acknowledged = []
writer = threading.Thread(target=store, args=(acknowledged,))
writer.start()
time.sleep(LOAD_S)
killed = time.monotonic()
subprocess.run(["docker", "kill", "--signal", "KILL", CONTAINER], check=True, stdout=subprocess.DEVNULL)
writer.join()
subprocess.run(["docker", "start", CONTAINER], check=True, stdout=subprocess.DEVNULL)
took = wait_until_served()

last = acknowledged[-1][0]
old = max(keys for at, keys in acknowledged if at < min(killed, last) - LOSS_MAX_S)
gone = missing(acknowledged[-1][1])
if old < 1000 or any(key < old for key in gone):
    sys.exit(f"warm: of {old} keys stored {LOSS_MAX_S} s before the kill some are gone: {gone[:10]}")
print(f"ok: {acknowledged[-1][1] - len(gone)} of {acknowledged[-1][1]} keys are back {took:.1f} s after a kill")
