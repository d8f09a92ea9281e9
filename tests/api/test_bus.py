"""test_bus.py - the bus for clients: publish, data, compute, the list of events and the stream of server-sent events."""
import json
import queue
import socket
import threading
import uuid
import pytest
import requests
from server import ADMIN, TEST_MODULES, TOKEN, Server

CONFIG = f"""{TEST_MODULES}
bus: {{heartbeat: 1s}}
plugins:
  probe: {{enabled: true}}
"""


class Stream:
    """Follows GET /system/events; events and comments go into queues, in the order in which they come."""

    def __init__(self, server, token=TOKEN, tenant=None, last=None, query=""):
        headers = {"Accept": "text/event-stream", "Authorization": "Bearer " + token}
        if tenant:
            headers["X-Tenant-ID"] = tenant
        if last:
            headers["Last-Event-ID"] = last
        self.answer = requests.get(server.url + "/system/events" + query, headers=headers, stream=True, timeout=60)
        self.events, self.comments = queue.Queue(), queue.Queue()
        if self.answer.status_code == 200:
            self.thread = threading.Thread(target=self.read, daemon=True)
            self.thread.start()
            self.first = self.comments.get(timeout=20)

    def read(self):
        event = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith(":"):
                    self.comments.put(line[2:])
                elif line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif event.get("data"):
                    self.events.put(event)
                    event = {}
        except Exception as e:  # noqa: BLE001 - the connection was closed, by either side
            self.error = e
        self.events.put(None)
        self.comments.put(None)

    def next(self):
        event = self.events.get(timeout=20)
        return event and (event["id"], json.loads(event["data"]))

    def payloads(self, n):
        return [self.next()[1]["payload"] for _ in range(n)]

    def close(self):
        self.answer.raw.connection.sock.shutdown(socket.SHUT_RDWR)  # close() would wait for the reader
        self.thread.join(20)


def begin(store, request, tmp_path_factory):
    if store == "postgres":
        return request.getfixturevalue("postgres").database()
    return f"sqlite:{tmp_path_factory.mktemp('db')}/test.db" if store == "sqlite" else ""


@pytest.fixture(scope="module")
def bus(store, request, tmp_path_factory):
    s = Server(begin(store, request, tmp_path_factory), config=CONFIG)
    yield s
    s.stop()


def publish(server, event, payload, tenant=None, **more):
    answer = server.post("/system/events", json={"event": event, "payload": payload, **more}, tenant=tenant)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "ok"
    return answer.json()["id"]


def tenant_name():
    return "t-" + uuid.uuid4().hex[:12]


def test_an_event_reaches_plugins_and_the_list(bus):
    tenant = tenant_name()
    made = publish(bus, "probe.made", {"n": [1, "two", None]}, tenant, key="k 1")
    other = publish(bus, "other.topic", "only text", tenant)
    bus.until("/probe/events", lambda b: [e for e in b["items"] if e["event_id"] == made])
    items = bus.get("/system/events", tenant=tenant).json()["items"]
    assert [e["id"] for e in items] == [other, made]
    assert items[1] == {"id": made, "topic": "probe.made", "key": "k 1", "tenant": tenant, "source": "api",
                        "payload": {"n": [1, "two", None]}, "created_at": items[1]["created_at"]}
    assert items[0]["payload"] == "only text" and items[0]["key"] is None
    by_family = bus.get("/system/events?topic=probe.*", tenant=tenant).json()["items"]
    assert [e["id"] for e in by_family] == [made]
    assert [e["id"] for e in bus.get("/system/events?topic=other.topic", tenant=tenant).json()["items"]] == [other]
    page = bus.get("/system/events?limit=1", tenant=tenant)
    assert page.json()["next_cursor"] and 'rel="next"' in page.headers["Link"]
    rest = bus.get(f"/system/events?limit=1&cursor={page.json()['next_cursor']}", tenant=tenant).json()
    assert [e["id"] for e in rest["items"]] == [made] and rest["next_cursor"] is None


def test_data_reaches_the_plugin_that_takes_the_stream(bus):
    answer = bus.post("/system/data", json={"topic": "probe.speed", "payload": 4.5})
    assert answer.status_code == 200, answer.text
    items = bus.until("/probe/events", lambda b: any(e["event_id"] == answer.json()["id"] for e in b["items"]))["items"]
    found = next(e for e in items if e["event_id"] == answer.json()["id"])
    assert found["topic"] == "data.probe.speed" and found["body"] == "4.5"


def test_compute_answers_what_the_entry_answers(bus):
    answer = bus.post("/system/compute", json={"entry": "probe.echo", "payload": {"word": "hi"}})
    assert answer.status_code == 200 and "hi" in answer.text
    assert bus.post("/system/compute", json={"entry": "probe.echo", "payload": {"word": 7}}).status_code == 422
    account = bus.account("carol", tenant="a-tenant")
    mine = bus.post("/system/compute", json={"entry": "accounts.get", "payload": {"id": account}}, tenant="a-tenant")
    assert mine.status_code == 200 and mine.json()["owner"] == "carol"
    assert bus.post("/system/compute", json={"entry": "accounts.get", "payload": {"id": account}}, tenant="b-tenant").status_code == 404
    refused = bus.post("/system/compute", json={"entry": "probe.refuse"})
    assert refused.status_code >= 400 and refused.headers["Content-Type"] == "application/problem+json"
    missing = bus.post("/system/compute", json={"entry": "no.such"})
    assert (missing.status_code, missing.json()["code"]) == (404, "entry_not_found")
    secret = bus.admin("POST", "/system/compute", json={"entry": "secrets.resolve", "payload": {}})
    assert (secret.status_code, secret.json()["code"]) == (403, "entry_not_open")


@pytest.mark.parametrize("path, body, pointer", [
    ("/system/events", {"payload": 1}, "/event"), ("/system/events", {"event": "Bad Topic"}, "/event"),
    ("/system/events", {"event": "a..b"}, "/event"), ("/system/events", {"event": "a", "more": 1}, "/more"),
    ("/system/data", {"topic": "x" * 124}, "/topic"), ("/system/compute", {"payload": 1}, "/entry")])
def test_bad_input_names_the_field(bus, path, body, pointer):
    answer = bus.post(path, json=body)
    assert answer.status_code == 422
    assert pointer in [e["pointer"] for e in answer.json()["errors"]]


def test_no_token_no_bus(bus):
    for method, path in (("POST", "/system/events"), ("GET", "/system/events"), ("POST", "/system/data"), ("POST", "/system/compute")):
        assert bus.request(method, path, token=None, json={} if method == "POST" else None).status_code == 401
    assert bus.get("/system/events?topic=a%20b").status_code == 422


def test_the_stream_shows_events_as_they_come_and_resumes_behind_the_last_one(bus):
    tenant = tenant_name()
    publish(bus, "before.it", 0, tenant)
    s = Stream(bus, tenant=tenant)
    assert s.answer.headers["Content-Type"] == "text/event-stream" and s.answer.headers["Cache-Control"] == "no-cache"
    ids = [publish(bus, "live.now", {"n": n, "text": "a\nb"}, tenant) for n in range(3)]
    publish(bus, "live.now", "not mine", tenant_name())
    for n in range(3):
        id_, event = s.next()
        assert id_ == ids[n] == event["id"]
        assert event["payload"] == {"n": n, "text": "a\nb"} and event["topic"] == "live.now" and event["tenant"] == tenant
    assert s.comments.get(timeout=20) == "still here"  # nobody else's event; the heartbeat instead
    assert s.events.empty()
    s.close()
    ids.append(publish(bus, "live.now", {"n": 3}, tenant))
    again = Stream(bus, tenant=tenant, last=ids[1])
    assert [again.next()[0] for _ in range(2)] == ids[2:]
    publish(bus, "live.other", 4, tenant)
    assert again.next()[1]["payload"] == 4
    again.close()
    family = Stream(bus, tenant=tenant, last=ids[0], query="?topic=live.other")
    assert family.next()[1]["payload"] == 4
    family.close()


def test_many_events_arrive_once_each_in_order(bus):
    tenant = tenant_name()
    first = publish(bus, "many.x", -1, tenant)
    n, threads = 400, []
    live = Stream(bus, tenant=tenant, query="?topic=many.*")

    def work(part):
        with requests.Session() as session:
            for i in range(part, n, 4):
                a = session.post(bus.url + "/system/events", json={"event": "many.x", "payload": i},
                                 headers={"Authorization": "Bearer " + TOKEN, "X-Tenant-ID": tenant}, timeout=30)
                assert a.status_code == 200

    for part in range(4):
        threads.append(threading.Thread(target=work, args=(part,)))
        threads[-1].start()
    seen = live.payloads(n)
    [t.join() for t in threads]
    assert sorted(seen) == list(range(n))
    for part in range(4):  # one publisher's events keep their order
        mine = [x for x in seen if x % 4 == part]
        assert mine == sorted(mine)
    late = Stream(bus, tenant=tenant, last=first)
    assert late.payloads(n) == seen  # a resumed stream tells them in the same order
    live.close()
    late.close()


def test_administrators_see_all_tenants_and_may_choose_one(bus):
    a, b = tenant_name(), tenant_name()
    everything = Stream(bus, token=ADMIN, query="?topic=" + a.replace("t-", "x") + ".*")
    one = Stream(bus, token=ADMIN, tenant=b)
    topic = a.replace("t-", "x") + ".made"
    publish(bus, topic, "A", a)
    publish(bus, topic, "B", b)
    assert everything.payloads(2) == ["A", "B"]
    assert one.payloads(1) == ["B"]
    assert {e["tenant"] for e in bus.admin("GET", "/system/events?topic=" + topic).json()["items"]} == {a, b}
    assert [e["payload"] for e in bus.get("/system/events?topic=" + topic, tenant=a).json()["items"]] == ["A"]
    assert bus.get("/system/events?topic=" + topic).json()["items"] == []
    everything.close()
    one.close()


def test_an_unknown_last_event_id_says_so(bus):
    tenant = tenant_name()
    kept = publish(bus, "kept.one", 1, tenant)
    s = Stream(bus, tenant=tenant, last="019aa5c0-0000-7000-8000-000000000000")
    assert "not kept any more" in s.first and s.next()[0] == kept
    s.close()
    bad = Stream(bus, tenant=tenant, last="rubbish")
    assert bad.answer.status_code == 400 and bad.answer.json()["code"] == "invalid_last_event_id"
    assert Stream(bus, query="?limit=3").answer.status_code == 422


def test_a_stream_too_many_is_refused_and_the_end_of_the_server_ends_streams(start):
    server = start(config="bus: {max_streams: 1}\n", env={"SERVER_TIMEOUTS_DRAIN": "5m"})
    s = Stream(server)
    more = Stream(server)
    assert (more.answer.status_code, more.answer.json()["code"]) == (429, "too_many_streams")
    assert more.answer.headers["Retry-After"]
    server.stop()  # within half a minute, so it does not wait for the stream
    assert s.comments.get(timeout=20) == "the server stops; connect again" and s.next() is None


def test_a_stream_on_one_replica_shows_what_the_other_published(postgres, start):
    dsn = postgres.database()
    a, b = start(dsn), start(dsn)
    s = Stream(a)
    ids = [publish(b if n % 2 else a, "far.away", n) for n in range(6)]
    assert sorted(s.next()[0] for _ in range(6)) == sorted(ids)
    resumed = Stream(b, last=ids[0])
    assert len([resumed.next() for _ in range(5)]) == 5
    s.close()
    resumed.close()


def test_an_event_whose_transaction_commits_late_is_not_passed_over(postgres, start):
    import psycopg2
    dsn = postgres.database()
    server = start(dsn)
    s = Stream(server)
    connection = psycopg2.connect(dsn)
    late = "019aa5c0-0000-7000-8000-00000000000a"
    connection.cursor().execute(
        "insert into sl_events (id, topic, tenant, source, json, created_at, xact) values (%s, 'slow.one', 'default', 'x', '1', 5, "
        "pg_current_xact_id()::text::bigint)", (late,))
    early = publish(server, "fast.one", 2)  # a higher place in the outbox, visible first
    assert s.events.empty()
    connection.commit()
    connection.close()
    assert [s.next()[0], s.next()[0]] == [late, early]
    resumed = Stream(server, last=late)
    assert resumed.next()[0] == early
    s.close()
    resumed.close()


def test_a_client_that_reads_slowly_holds_nobody_back_and_misses_nothing(start):
    server = start(env={"SERVER_TIMEOUTS_WRITE": "10m"})

    def follow():
        s = socket.create_connection(("127.0.0.1", server.port))
        s.settimeout(60)
        s.sendall((f"GET /system/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nAccept: text/event-stream\r\n\r\n").encode())
        head = b""
        while b"retry: 2000" not in head:  # it follows from here on
            head += s.recv(4096)
        return s

    def read(s, n):
        found, tail = [], b""
        while len(found) < n:
            data = s.recv(1 << 20)
            assert data
            lines = (tail + data).split(b"\n")
            tail = lines.pop()
            found += [line[4:].decode() for line in lines if line.startswith(b"id: ")]
        return found

    slow, fast = follow(), follow()
    ids = [publish(server, "large.one", {"n": n, "text": "x" * 300000}) for n in range(70)]  # more than one result may hold
    assert read(fast, len(ids)) == ids
    assert read(slow, len(ids)) == ids  # it took nothing until now
    slow.close()
    fast.close()
