"""otlp.py - what a collector got by OTLP over HTTP: spans as dictionaries."""
import time
from protobuf import fields

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


def attributes(items):
    out = {}
    for item in items:
        pair = fields(item)
        value = fields(pair[2][0])
        out[pair[1][0].decode()] = value[1][0].decode() if 1 in value else value[3][0]
    return out


def read(body):
    """The spans of one ExportTraceServiceRequest, each with its resource."""
    spans = []
    for resource_spans in fields(body).get(1, []):
        part = fields(resource_spans)
        resource = attributes(fields(part[1][0]).get(1, []))
        for scope_spans in part[2]:
            for item in fields(scope_spans)[2]:
                s = fields(item)
                status = fields(s[15][0]) if 15 in s else {}
                spans.append({"trace": s[1][0].hex(), "id": s[2][0].hex(), "parent": s[4][0].hex() if 4 in s else None,
                              "name": s[5][0].decode(), "kind": KINDS[s[6][0]], "start": s[7][0], "end": s[8][0],
                              "error": status.get(3, [0])[0] == 2, "attributes": attributes(s.get(9, [])), "resource": resource})
    return spans


class Collector:
    """On top of an HttpSource: its path /v1/traces takes batches."""

    def __init__(self, source):
        self.source, self.url = source, source.url
        self.spans, self.taken = [], 0
        source.answer("/v1/traces", body=b"", headers={"Content-Type": "application/x-protobuf"})

    def requests(self):
        with self.source.lock:
            return list(self.source.seen.get("/v1/traces", []))

    def look(self):
        seen = self.requests()
        for _, _, body, _ in seen[self.taken:]:
            self.spans += read(body)
        self.taken = len(seen)
        return self.spans

    def wait(self, wanted, seconds=20):
        """All spans of which `wanted` says True, as soon as there is one."""
        end = time.monotonic() + seconds
        while True:
            found = [s for s in self.look() if wanted(s)]
            if found:
                return found
            assert time.monotonic() < end, f"no such span among {len(self.spans)}: {[s['name'] for s in self.spans[-40:]]}"
            time.sleep(0.02)

    def trace(self, trace, *names, seconds=20):
        """The spans of a trace once it has all of these names."""
        end = time.monotonic() + seconds
        while True:
            found = [s for s in self.look() if s["trace"] == trace]
            if set(names) <= {s["name"] for s in found}:
                return found
            assert time.monotonic() < end, f"trace {trace}: {sorted(s['name'] for s in found)}, not all of {names}"
            time.sleep(0.02)
