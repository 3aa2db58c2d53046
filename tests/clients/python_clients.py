"""python-memcached and pylibmc against the server on 127.0.0.1:PORT (the one argument): every verb they have."""

import sys

import memcache
import pylibmc

ADDRESS = f"127.0.0.1:{sys.argv[1]}"


def equal(found, wanted, what):
    assert found == wanted, f"{what}: {found!r}, not {wanted!r}"


def python_memcached():
    client = memcache.Client([ADDRESS], cache_cas=True)
    equal(client.set("pm:a", "value"), True, "set")
    equal(client.get("pm:a"), "value", "get")
    equal(client.add("pm:a", "other"), False, "add of a present key")
    equal(client.replace("pm:a", "next"), True, "replace")
    equal(client.append("pm:a", " and more"), True, "append")
    equal(client.prepend("pm:a", "first "), True, "prepend")
    equal(client.get("pm:a"), "first next and more", "get")
    equal(client.gets("pm:a"), "first next and more", "gets")
    equal(client.cas("pm:a", "swapped"), True, "cas")
    equal(client.get("pm:a"), "swapped", "get after cas")
    client.set("pm:n", 10)
    equal(client.incr("pm:n", 5), 15, "incr")
    equal(client.decr("pm:n", 20), 0, "decr stops at 0")
    equal(client.set_multi({f"pm:{i}": i for i in range(500)}), [], "set_multi")
    found = client.get_multi([f"pm:{i}" for i in range(600)])
    equal(found, {f"pm:{i}": i for i in range(500)}, "get_multi")
    equal(client.touch("pm:a", 100), 1, "touch")
    equal(client.delete("pm:a"), 1, "delete")
    equal(client.get("pm:a"), None, "get after delete")
    big = "x" * 900_000
    equal(bool(client.set("pm:big", big)), True, "set of 900 kB")
    equal(client.get("pm:big"), big, "get of 900 kB")
    (_, stats), = client.get_stats()
    assert int(stats["curr_items"]) > 500, "stats"


def libmemcached():
    for options in ({}, {"no_block": True}, {"tcp_nodelay": True, "hash": "murmur"}, {"cas": True}):
        client = pylibmc.Client([ADDRESS], behaviors=options)
        equal(client.set("lm:a", b"value"), True, "set")
        equal(client.get("lm:a"), b"value", "get")
        equal(client.add("lm:a", b"other"), False, "add of a present key")
        equal(client.append("lm:a", b"!"), True, "append")
        equal(client.get("lm:a"), b"value!", "get after append")
        client.set("lm:n", 41)
        equal(client.incr("lm:n"), 42, "incr")
        many = {f"lm:{i}": bytes(i) for i in range(1000)}
        equal(client.set_multi(many), [], "set_multi")
        equal(client.get_multi(many.keys()), many, "get_multi")
        if options.get("cas"):
            value, unique = client.gets("lm:a")
            equal(client.cas("lm:a", b"swapped", unique), True, "cas")
            equal(client.get("lm:a"), b"swapped", "get after cas")
        equal(client.delete("lm:a"), True, "delete")
        equal(client.get("lm:a"), None, "get after delete")


python_memcached()
libmemcached()
print("python-memcached and pylibmc: every verb as it should be")
