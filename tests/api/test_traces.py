"""test_traces.py - traces: the same id in log, span and problem; spans of all that a request leads to; export and its limits."""
import re
import time
import uuid
import pytest
from http_source import HttpSource
from otlp import Collector
from server import TEST_MODULES, Server

CONFIG = f"""{TEST_MODULES}
tracing: {{interval: 50ms, service_name: traced}}
plugins:
  probe: {{enabled: true}}
"""


@pytest.fixture(scope="module")
def sink():
    source = HttpSource()
    yield Collector(source)
    source.close()


@pytest.fixture(scope="module")
def traced(sink):
    s = Server(config=CONFIG, env={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b, x-more=2",
                                   "OUTBOUND_ALLOW_PRIVATE": None, "OUTBOUND_ALLOW": "127.0.0.1"})
    yield s
    s.stop()


def parent(trace=None, flags="01"):
    trace = trace or uuid.uuid4().hex
    return trace, {"traceparent": f"00-{trace}-b7ad6b7169203331-{flags}"}


def one(spans, name, **more):
    found = [s for s in spans if s["name"] == name and all(s[k] == v for k, v in more.items())]
    assert len(found) == 1, (name, more, spans)
    return found[0]


def test_log_line_span_audit_row_and_problem_share_the_trace_id(traced, sink):
    trace, headers = parent()
    answer = traced.post("/accounts", json={"owner": 7}, headers=headers)
    assert answer.status_code == 422 and answer.json()["trace_id"] == trace
    assert "status=422" in traced.said("trace_id=" + trace, "request")
    span = one(sink.trace(trace, "POST /accounts"), "POST /accounts")
    end = time.monotonic() + 20
    while True:
        rows = traced.admin("GET", "/admin/audit?method=POST&status=422").json()["items"]
        found = [r for r in rows if r["trace_id"] == trace]
        if found:
            break
        assert time.monotonic() < end, rows
        time.sleep(0.05)
    assert found[0]["request_id"] == answer.headers["X-Request-Id"] == span["attributes"]["service_layer.request_id"]


def test_the_span_of_a_request_tells_what_it_was(traced, sink):
    trace, headers = parent()
    answer = traced.get("/accounts/not-there", headers=headers)
    assert answer.status_code == 404 and answer.json()["trace_id"] == trace
    assert "status=404" in traced.said("trace_id=" + trace, "request")
    spans = sink.trace(trace, "GET /accounts/{account}", "handler", "select")
    server = one(spans, "GET /accounts/{account}")
    assert server["kind"] == "server" and server["parent"] == "b7ad6b7169203331" and not server["error"]
    a = server["attributes"]
    assert a["http.response.status_code"] == 404 and a["http.route"] == "/accounts/{account}" and a["url.path"] == "/accounts/not-there"
    assert a["service_layer.request_id"] == answer.headers["X-Request-Id"] and a["client.address"] == "127.0.0.1"
    assert server["resource"]["service.name"] == "traced" and server["resource"]["service.version"]
    seen = {k.lower(): v for k, v in sink.requests()[0][1].items()}
    assert seen["x-key"] == "a b" and seen["x-more"] == "2" and seen["content-type"] == "application/x-protobuf"


def test_a_request_without_a_trace_begins_one(traced, sink):
    answer = traced.get("/no/such/route")
    trace = answer.json()["trace_id"]
    span = one(sink.trace(trace, "GET"), "GET")
    assert span["parent"] is None and span["attributes"]["http.response.status_code"] == 404


def test_handler_and_statements_are_spans_within_the_request(traced, sink):
    trace, headers = parent()
    account = traced.post("/accounts", json={"owner": "o'wner secret-value"}, headers=headers)
    assert account.status_code == 201
    spans = sink.trace(trace, "POST /accounts", "handler", "insert", "commit", "publish account.created")
    server, handler = one(spans, "POST /accounts"), one(spans, "handler")
    assert handler["parent"] == server["id"] and handler["attributes"]["code.namespace"] == "accounts"
    insert = one(spans, "insert")
    assert insert["parent"] == handler["id"] and insert["kind"] == "client" and insert["attributes"]["db.system.name"] == "sqlite"
    assert insert["attributes"]["db.query.text"].startswith("insert into accounts")
    assert "secret-value" not in str(spans)
    for span in spans:
        assert server["start"] - 1000000 <= span["start"] <= span["end"]


def test_an_outbound_call_carries_the_trace_on(traced, sink):
    trace, headers = parent()
    sink.source.answer("/far/away", body="{}")
    url = sink.url.replace("//", "//user:password@") + "/far/away?key=hidden"
    answer = traced.post("/probe/fetch", json={"url": url}, headers=headers)
    assert answer.status_code == 200, answer.text
    spans = sink.trace(trace, "POST /probe/fetch", "GET")
    call = one(spans, "GET")
    assert call["kind"] == "client" and call["parent"] == one(spans, "handler")["id"]
    assert call["attributes"]["url.full"] == sink.url + "/far/away" and call["attributes"]["http.response.status_code"] == 200
    got = {k.lower(): v for k, v in sink.source.seen["/far/away"][0][1].items()}
    assert got["traceparent"] == f"00-{trace}-{call['id']}-01"


def test_a_question_between_plugins_is_part_of_the_trace(traced, sink):
    trace, headers = parent()
    assert traced.post("/probe/ask", json={"entry": "probe.echo", "question": {}}, headers=headers).status_code == 200
    spans = sink.trace(trace, "POST /probe/ask", "handler")
    inner = one(spans, "handler", parent=one(spans, "handler", parent=one(spans, "POST /probe/ask")["id"])["id"])
    assert inner["attributes"]["code.function"] == "probe.echo"


def test_events_and_jobs_go_on_with_the_trace(traced, sink):
    trace, headers = parent()
    assert traced.post("/probe/publish", json={"name": "traced"}, headers=headers).status_code == 200
    spans = sink.trace(trace, "publish probe.made", "event:probe/probe.made", "POST /probe/publish")
    publish, event = one(spans, "publish probe.made"), one(spans, "event:probe/probe.made")
    assert publish["kind"] == "producer" and event["kind"] == "consumer" and event["parent"] == publish["id"]
    assert event["attributes"]["messaging.destination.name"] == "probe.made" and event["attributes"]["service_layer.job.attempt"] == 1
    assert one(spans, "handler", parent=event["id"])["attributes"]["code.function"] == "probe.made"
    trace, headers = parent()
    assert traced.post("/probe/jobs", json={"name": "traced"}, headers=headers).status_code == 200
    spans = sink.trace(trace, "probe.run", "POST /probe/jobs")
    first = min((s for s in spans if s["name"] == "probe.run"), key=lambda s: s["start"])
    assert first["parent"] == one(spans, "handler", parent=one(spans, "POST /probe/jobs")["id"])["id"]


def test_a_caller_that_does_not_sample_is_heeded(traced, sink):
    quiet, headers = parent(flags="00")
    sink.source.answer("/quiet", body="{}")
    assert traced.post("/probe/fetch", json={"url": sink.url + "/quiet"}, headers=headers).status_code == 200
    loud, headers = parent()
    assert traced.get("/accounts", headers=headers).status_code == 200
    sink.trace(loud, "GET /accounts")  # exported after the quiet one would have been
    assert not [s for s in sink.look() if s["trace"] == quiet]
    got = {k.lower(): v for k, v in sink.source.seen["/quiet"][0][1].items()}
    assert got["traceparent"] == f"00-{quiet}-b7ad6b7169203331-00"  # handed on as it came


def test_a_bucket_names_a_trace_that_fell_into_it(traced):
    trace, headers = parent()
    assert traced.get("/accounts", headers=headers).status_code == 200
    traced.said("trace_id=" + trace)
    text = traced.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}, token=None)
    assert text.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.text.endswith("# EOF\n") and "\n# TYPE http_requests counter\n" in text.text
    assert re.search(r'^http_request_duration_seconds_bucket\{method="GET",route="/accounts",le="[^"]+"\} \d+ # \{trace_id="' + trace +
                     r'"\} [0-9.e-]+ [0-9.]+$', text.text, re.M)
    assert "trace_id" not in traced.get("/metrics", token=None).text


def test_without_a_collector_nothing_is_recorded(start):
    server = start()
    trace, headers = parent()
    assert server.get("/accounts", headers=headers).status_code == 200
    assert "traces_" not in server.get("/metrics", token=None).text
    assert trace in server.said("trace_id=" + trace)


def test_only_the_wanted_part_of_new_traces_is_recorded(start, sink):
    server = start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_TRACES_SAMPLER_ARG": "0", "TRACING_INTERVAL": "50ms"})
    mine = [server.get("/no/such/route").json()["trace_id"] for _ in range(20)]
    trace, headers = parent()
    server.get("/accounts", headers=headers)
    sink.trace(trace, "GET /accounts")
    assert not [s for s in sink.look() if s["trace"] in mine]


def test_a_collector_that_is_away_costs_spans_and_nothing_else(start, sink):
    sink.source.answer("/gone/v1/traces", status=503)
    server = start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url + "/gone/", "TRACING_INTERVAL": "20ms", "TRACING_QUEUE": "64", "TRACING_BATCH": "8"})
    for _ in range(120):
        assert server.get("/system/version").status_code == 200
    server.said("traces are not delivered", "status=503")
    end = time.monotonic() + 20
    while True:
        dropped = re.search(r"^traces_spans_dropped_total (\d+)$", server.get("/metrics", token=None).text, re.M)
        if dropped and int(dropped.group(1)) > 0:
            break
        assert time.monotonic() < end
    sink.source.answer("/gone/v1/traces", status=200)
    server.said("traces are delivered again", seconds=60)  # at its next attempt, which may be 8 s away


def test_spans_that_wait_are_delivered_at_the_end(start, sink):
    server = start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "TRACING_INTERVAL": "1h", "OUTBOUND_ALLOW_PRIVATE": None})
    trace, headers = parent()
    server.get("/accounts", headers=headers)
    server.said("trace_id=" + trace)
    server.stop()
    assert one(sink.look(), "GET /accounts", trace=trace)
