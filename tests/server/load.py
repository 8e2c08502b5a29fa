"""Drives `watersic serve` as a crowd would; prints what came of it, and fails where something is not
as docs/server.md says. Only Python's own library. See tools/check-server.

load.py URL PID [REQUESTS]
"""
import concurrent.futures
import http.client
import json
import random
import socket
import sys
import time
import urllib.parse

URL, PID = urllib.parse.urlparse(sys.argv[1]), int(sys.argv[2])
REQUESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
PROMPTS = ["It was a dark", "The old man", "In the morning she", "There is no", "When they came to the",
           "My dear", "On the other side of", "He said that"]


def call(method, path, body=None, timeout=600):
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=timeout)
    text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def complete(prompt, seed, tokens):
    status, data = call("POST", "/v1/completions",
                        {"prompt": prompt, "seed": seed, "max_tokens": tokens, "temperature": 0.8})
    return status, json.loads(data)


def resident():
    """MB."""
    for line in open(f"/proc/{PID}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no process {PID}")


def texts_of(pairs, tokens, workers):
    begun, texts, count = time.monotonic(), [], 0
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for status, answer in pool.map(lambda pair: complete(*pair, tokens), pairs):
            assert status == 200, answer
            texts.append(answer["choices"][0]["text"])
            count += answer["usage"]["completion_tokens"]
    return texts, count / (time.monotonic() - begun)


def compare_crowd_with_one():
    pairs = [(PROMPTS[i % 8], 100 + i) for i in range(16)]
    texts_of(pairs[:2], 8, 1)  # wakes it
    alone, one = texts_of(pairs, 128, 1)
    together, many = texts_of(pairs, 128, 8)
    assert alone == together, "a text differs from that of a lone request"
    print(f"one client      {one:.1f} tokens/s")
    print(f"eight clients   {many:.1f} tokens/s, {many / one:.2f} of one; every text as alone")


def leave(seed):
    """A stream that is left after its first bytes."""
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=600)
    connection.request("POST", "/v1/completions",
                       json.dumps({"prompt": random.choice(PROMPTS), "seed": seed, "stream": True,
                                   "max_tokens": 200}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read(random.randrange(1, 300))
    connection.close()
    return response.status


def one_of_many(i):
    begun = time.monotonic()
    if i % 3 == 2:
        return "left", leave(i), 0.0
    status, _ = complete(random.choice(PROMPTS), i, random.randrange(1, 33))
    return "answered", status, time.monotonic() - begun


def run_many():
    random.seed(1)
    before, begun = resident(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one_of_many, range(REQUESTS)))
    took = time.monotonic() - begun
    assert all(status == 200 for _, status, _ in results), {status for _, status, _ in results}
    times = sorted(t for kind, _, t in results if kind == "answered")
    left = sum(kind == "left" for kind, _, _ in results)
    print(f"{REQUESTS} requests   {took:.0f} s, {left} left by their clients; answers of 1 to 32 tokens, 16 "
          f"clients: p50 {times[len(times) // 2]:.2f} s, p99 {times[len(times) * 99 // 100]:.2f} s")
    print(f"memory          {before:.0f} MB before, {resident():.0f} MB after")


def send_rubbish():
    before = resident()
    bad = [b"{", b"[]", b'{"prompt": 3}', b'{"prompt": "a", "prompt": "b"}', b"\xff\xfe", b"[" * 5000,
           b'{"prompt": "a", "temperature": "hot"}', b'{"prompt": "a", "max_tokens": -1}',
           b'{"messages": [{"role": "nobody", "content": "a"}]}']
    for body in bad:
        status, data = call("POST", "/v1/completions", body)
        assert status == 400 and "error" in json.loads(data), (body[:40], status)
    refused = 0
    for _ in range(5):  # 100 MB, which it does not take
        with socket.create_connection((URL.hostname, URL.port), 60) as s:
            s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                      b"Content-Length: 104857600\r\n\r\n")
            try:
                for _ in range(100):
                    s.sendall(b" " * (1 << 20))
            except OSError:
                pass
            try:
                refused += b" 413 " in s.recv(64)
            except OSError:
                refused += 1  # closed on us
    assert refused == 5, refused
    print(f"rubbish         {len(bad)} bad bodies are 400, 5 of 100 MB are refused; memory {before:.0f} MB before, "
          f"{resident():.0f} MB after")


def read_slowly():
    """A reader of ten bytes a second does not hold up another."""
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=600)
    connection.request("POST", "/v1/completions",
                       json.dumps({"prompt": "It was", "stream": True, "max_tokens": 200, "seed": 1}),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    begun = time.monotonic()
    for _ in range(5):
        response.read(10)
        time.sleep(1)
        status, _ = complete("The old man", 5, 8)
        assert status == 200
    print(f"slow reader     five others answered beside it in {time.monotonic() - begun - 5:.1f} s")
    connection.close()


send_rubbish()
compare_crowd_with_one()
read_slowly()
run_many()
status, health = call("GET", "/health")
assert status == 200 and json.loads(health)["status"] == "ok"
