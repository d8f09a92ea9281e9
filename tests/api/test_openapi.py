"""test_openapi.py - the served OpenAPI document: complete, true to the routes, made of what is loaded; the page that shows it."""
import base64
import hashlib
import re
import pytest
from server import Server


@pytest.fixture(scope="module")
def one():
    s = Server()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def document(one):
    answer = one.get("/openapi.json", token=None)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    return answer.json()


def operations(document):
    return {o["operationId"]: dict(o, path=path, method=method)
            for path, methods in document["paths"].items() for method, o in methods.items()}


def test_operations_have_the_names_of_commands(document):
    by_id = operations(document)
    assert len(by_id) == sum(len(methods) for methods in document["paths"].values())
    for name, route in {"oracle.sources.create": "post /accounts/{account}/oracle/sources", "accounts.list": "get /accounts",
                        "modules.reload": "post /admin/modules/{name}/reload", "system.status": "get /system/status",
                        "oracle.requests.replay": "post /accounts/{account}/oracle/requests/{request}/replay",
                        "secrets.versions.list": "get /accounts/{account}/secrets/{name}/versions",
                        "jobs.retry": "post /admin/jobs/{id}/retry", "jobs.retry-all": "post /admin/jobs/retry",
                        "random.public-key": "get /random/public-key", "openapi.get": "get /openapi.json"}.items():
        assert f"{by_id[name]['method']} {by_id[name]['path']}" == route


def test_every_operation_tells_what_a_client_needs(document):
    for name, o in operations(document).items():
        assert o["summary"].endswith(".") and o["x-sl-module"] in o["tags"], name
        named = re.findall(r"{(\w+)}", o["path"])
        assert [p["name"] for p in o["parameters"] if p.get("in") == "path"] == named, name
        success = [s for s in o["responses"] if s < "300"]
        assert len(success) == 1 and (success == ["204"]) == ("content" not in o["responses"][success[0]]), name
        assert {"400", "422", "500", "503", "504"} < set(o["responses"]), name
        assert ("401" in o["responses"]) == bool(o["security"]) or name.startswith("auth."), name  # a sign-in that fails
        assert ("404" in o["responses"]) >= bool(named), name
        assert ("415" in o["responses"]) == ("requestBody" in o), name
        references = [p.get("$ref", "").rsplit("/", 1)[-1] for p in o["parameters"]]
        assert ("Idempotency-Key" in references) == (o["method"] == "post"), name
        assert ("If-Match" in references) == ("412" in o["responses"]), name
    lists = [n for n, o in operations(document).items() if any(p.get("$ref", "").endswith("/cursor") for p in o["parameters"])]
    assert {"accounts.list", "oracle.sources.list", "secrets.versions.list", "jobs.events.list"} <= set(lists)


def test_the_document_is_kept_and_has_a_tag(one):
    first = one.get("/openapi.json", token=None)
    assert one.get("/openapi.json", token=None, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert one.get("/openapi.json", token=None).content == first.content


def test_a_disabled_module_is_not_in_the_document(one, document):
    try:
        assert one.admin("POST", "/admin/modules/random/disable").status_code == 200
        answer = one.get("/openapi.json", token=None, headers={"If-None-Match": '"old"'})
        left = operations(answer.json())
        assert not [n for n in left if n.startswith("random.")]
        assert set(left) == {n for n in operations(document) if not n.startswith("random.")}
        assert "random" not in [t["name"] for t in answer.json()["tags"]]
    finally:
        assert one.admin("POST", "/admin/modules/random/enable").status_code == 200
    assert one.get("/openapi.json", token=None).json() == document


def test_the_reference_page_runs_nothing_but_its_own(one):
    answer = one.get("/reference", token=None)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page, policy = answer.text, answer.headers["Content-Security-Policy"]
    assert len(answer.content) < 30000 and not re.search(r"https?://|//[a-z]|@import|innerHTML|eval\(", page.replace("// ", ""))
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for name in ("script", "style"):  # the browser lets exactly these run
        inner, = re.findall(f"<{name}>(.*?)</{name}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
