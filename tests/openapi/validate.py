"""validate.py - checks a served document: OpenAPI 3.1 by its official schema, and every example by the schema beside it."""
import json
import sys
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

with open(sys.argv[1]) as f:
    document = json.load(f)
validate(document)
examples, wrong = 0, []
for path, methods in document["paths"].items():
    for method, operation in methods.items():
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [answer.get("content", {}) for answer in operation["responses"].values()]
        for content in contents:
            for media, body in content.items():
                if media != "application/json":
                    continue
                schema = body["schema"]
                Draft202012Validator.check_schema(schema)
                if "example" not in body:
                    wrong.append(f"{operation['operationId']}: no example")
                    continue
                examples += 1
                for error in Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(body["example"]):
                    wrong.append(f"{operation['operationId']}: {error.json_path}: {error.message}")
print("\n".join(wrong + [f"openapi: {len(document['paths'])} paths, {examples} examples"]))
sys.exit(bool(wrong) or not examples)
