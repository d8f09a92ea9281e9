"""test_slctl_hostile.py - slctl and a server that means it ill: documents and answers that must end as an error or do no harm."""
import json
import pytest
from things import ROWS, THINGS, make_document, operation, parameter


def hostile_documents():
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    loop = make_document()
    loop["components"]["schemas"]["Thing"] = {"$ref": "#/components/schemas/Thing"}
    circle = make_document()
    circle["components"]["schemas"]["Thing"] = {"type": "object", "properties": {"me": {"$ref": "#/components/schemas/Thing"}, "all": {
        "type": "array", "items": {"$ref": "#/components/schemas/Thing"}}}}
    bush = make_document()
    bush["components"]["schemas"]["Thing"] = {"type": "object", "properties": {f"p{i}": {"$ref": "#/components/schemas/Thing"} for i in range(200)}}
    strange = make_document(**{
        "/x\r\nHost: evil": {"get": operation("evil.one")}, "//evil.example/x": {"get": operation("evil.two")},
        "/ok": {"get": operation("a..b"), "post": operation("--flag"), "put": operation("$(reboot)"), "patch": operation("x" * 500)},
        "/e": {"get": operation("esc.get", "\x1b]0;owned\x07 text \u009b31m", [parameter("\x1b[2J", "query"), {"name": 5}, 7])},
        "/t": {"get": {**operation("types.get"), "parameters": "none", "responses": [], "requestBody": 3}},
        "/n": [], "/m": {"get": "text"}})
    many = make_document(**{f"/m{i}": {"get": operation(f"many.m{i}.get")} for i in range(4500)})
    return {"empty": "", "text": "hello", "list": "[]", "no paths": '{"openapi": "3.1.0"}', "paths": '{"openapi": "3.1.0", "paths": []}',
            "deep": deep, "duplicate": '{"openapi": "3.1.0", "openapi": "3.1.0", "paths": {}}', "loop": json.dumps(loop),
            "circle": json.dumps(circle), "bush": json.dumps(bush), "strange": json.dumps(strange), "many": json.dumps(many), "bytes": b"\xff\xfe{}",
            "large": '{"openapi": "3.1.0", "paths": {}, "x": "' + "y" * (9 << 20) + '"}'}


@pytest.mark.parametrize("name", hostile_documents())
def test_a_hostile_document_is_an_error_or_harmless(api, slctl, name):
    api.answers["GET", "/openapi.json"] = [(200, {"Content-Type": "application/json"}, hostile_documents()[name])]
    api.answers["GET", THINGS] = [(200, {}, {"items": ROWS, "next_cursor": None})]
    for args in (["help"], ["explain", "things"], ["explain", "things.list"], ["things", "list", "-o", "table"], ["things", "create", "--help"],
                 ["help", "esc"], ["explain", "esc.get"], ["help", "types"], ["evil"], ["__complete", "--", ""], ["__complete", "--", "esc", "get", "--"]):
        if name in ("large", "many") and args not in (["help"], ["explain", "things"], ["things", "list", "-o", "table"]):
            continue
        p = slctl("--refresh", *args, code=None)
        assert p.returncode in (0, 2, 5), (args, p.returncode, p.stderr)
        assert "\x1b" not in p.stdout + p.stderr and "\x9b" not in p.stdout + p.stderr
        if args == ["things", "list", "-o", "table"] and name in ("loop", "circle", "strange", "many"):
            assert p.returncode == 0 and "schön" in p.stdout
        if args == ["evil"]:
            assert p.returncode in (2, 5)
    assert all("evil" not in r[1] for r in api.requests)


def test_a_hostile_answer_is_an_error_or_harmless(api, slctl):
    for body in ("[" * 3000 + "]" * 3000, "{", "\x00", '"text"', "null", "[1,2]", "[[],{}]", '{"items": 5}', '{"items": [1, null, []]}',
                 '{"items": [{"a": {"b": [1]}}], "more": [{}]}', "[" * 60 + "]" * 60):
        api.answers["GET", THINGS] = [(200, {"Content-Type": "application/json"}, body)]
        for form in ("json", "yaml", "table", "wide"):
            assert slctl("things", "list", "-o", form, code=None).returncode in (0, 5)
        assert slctl("things", "list", "--all", code=None).returncode in (0, 5)
