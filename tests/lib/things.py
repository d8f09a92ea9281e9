"""things.py - a made-up service for the tests of slctl: its OpenAPI document and some of its answers."""

PROBLEM = {"Content-Type": "application/problem+json"}


def operation(name, summary="", parameters=(), body=None, out=None, status="200"):
    made = {"operationId": name, "summary": summary, "x-sl-module": name.split(".")[0], "parameters": list(parameters),
            "responses": {status: {"description": "Good."}}}
    if body:
        made["requestBody"] = {"content": {"application/json": {"schema": body}}}
    if out:
        made["responses"][status]["content"] = {"application/json": {"schema": out}}
    return made


def parameter(name, where, **schema):
    return {"name": name, "in": where, "required": where == "path", "schema": schema or {"type": "string"}}


THING = {"type": "object", "properties": {
    "id": {"type": "string", "format": "uuid"}, "name": {"type": "string"}, "size": {"type": "integer"},
    "tags": {"type": "array", "items": {"type": "string"}}, "status": {"type": "string"}}}
NEW_THING = {"type": "object", "additionalProperties": False, "required": ["name"], "properties": {
    "name": {"type": "string", "description": "What it is called."},
    "size": {"type": "integer", "minimum": 1, "maximum": 9},
    "ratio": {"type": "number"},
    "loud": {"type": "boolean", "default": False},
    "kind": {"type": "string", "enum": ["big", "small"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "parts": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    "policy": {"type": "object", "additionalProperties": False, "properties": {"max": {"type": "integer"}}},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "note": {"type": ["string", "null"]},
    "owner_id": {"type": "string"},
    "timeout": {"type": "string"},
    "token": {"type": "string"}}}
PAGES = {"type": "object", "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                                          "next_cursor": {"type": ["string", "null"]}}}
ACCOUNT = parameter("account", "path")


def make_document(**more):
    paths = {
        "/accounts/{account}/things": {
            "parameters": [ACCOUNT],
            "get": operation("things.list", "List things.", [parameter("limit", "query", type="integer", maximum=2),
                                                             parameter("cursor", "query"), parameter("tag", "query", type="array", items={"type": "string"})],
                             out=PAGES),
            "post": operation("things.create", "Make a thing.", body=NEW_THING, out=THING, status="201")},
        "/accounts/{account}/things/{thing}": {
            "get": operation("things.get", "Read a thing.", [ACCOUNT, parameter("thing", "path")], out=THING),
            "patch": operation("things.update", "Change a thing.", [ACCOUNT, parameter("thing", "path")], body=THING),
            "delete": operation("things.delete", "Delete a thing.", [ACCOUNT, parameter("thing", "path")], status="204")},
        "/accounts/{account}": {"delete": operation("accounts.delete", "Delete an account.", [ACCOUNT], status="204")},
        "/report": {"get": {**operation("report.get"), "responses": {"200": {"content": {"application/x-ndjson": {}}}}}},
    }
    paths.update(more)
    return {"openapi": "3.1.0", "info": {"title": "fake", "version": "1"}, "paths": paths, "components": {"schemas": {"Thing": THING}}}


THINGS, ONE = "/accounts/acme/things", "/accounts/acme/things/t1"
ROWS = [{"id": "1", "name": "schön", "size": 1, "tags": ["x"], "status": "ok"},
        {"id": "2", "name": "日本", "size": 22, "tags": [], "status": "\x1b[31mred\x1b[0m\u009b2J"},
        {"id": "3", "name": "long " * 30, "size": None, "tags": ["a", "b"], "status": ""}]
