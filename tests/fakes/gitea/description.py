"""Gitea's published API description (a subset of its Swagger file), as a check of requests and of answers.

Rules:

- A path, method, query parameter, body key or status that the description does not have is an error that names it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("swagger.v1.subset.json")
KINDS = {"string": str, "boolean": bool, "integer": int, "object": dict, "array": list}


class NotDescribedError(Exception):
    """Something that Gitea's description does not have."""


class Description:
    def __init__(self) -> None:
        self._all = json.loads(FILE.read_text())

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        base = self._all["basePath"]
        if not path.startswith(base):
            raise NotDescribedError(f"{path}: expected it below {base}")
        matches = []
        for pattern, methods in self._all["paths"].items():
            if re.fullmatch(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(pattern)), path[len(base) :]):
                matches.append((pattern.count("{"), methods))
        for _, methods in sorted(matches, key=lambda m: m[0]):
            if method.lower() in methods:
                return dict(methods[method.lower()])
        raise NotDescribedError(f"{method} {path} is not described")

    def check_request(self, method: str, path: str, query: dict[str, str], kind: str, body: Any) -> None:
        operation = self._operation(method, path)
        parameters = {p["name"]: p for p in operation["parameters"]}
        for name, value in query.items():
            if name not in parameters or parameters[name]["in"] != "query":
                raise NotDescribedError(f"{method} {path}: query parameter {name}")
            if parameters[name]["type"] == "integer" and not value.isdigit():
                raise NotDescribedError(f"{method} {path}: {name}: expected a number, got {value}")
        if kind and kind not in operation.get("consumes", self._all["consumes"]):
            raise NotDescribedError(f"{method} {path}: content type {kind}")
        if kind == "application/json":
            self._check(parameters["body"]["schema"], body, f"{method} {path}")

    def check_answer(self, method: str, path: str, status: int, body: Any) -> None:
        answers = self._operation(method, path)["responses"]
        if str(status) not in answers:
            raise NotDescribedError(f"{method} {path}: status {status}")
        answer = answers[str(status)]
        if "$ref" in answer:
            answer = self._all["responses"][answer["$ref"].rpartition("/")[2]]
        if "schema" in answer:
            self._check(answer["schema"], body, f"answer of {method} {path}")

    def _check(self, schema: dict[str, Any], value: Any, where: str) -> None:
        if "$ref" in schema:
            schema = self._all["definitions"][schema["$ref"].rpartition("/")[2]]
        kind = schema.get("type", "object")
        if not isinstance(value, KINDS[kind]) or (kind == "integer" and isinstance(value, bool)):
            raise NotDescribedError(f"{where}: expected {kind}, got {type(value).__name__}")
        if kind == "array":
            for item in value:
                self._check(schema["items"], item, f"{where}[]")
        if kind == "object" and "properties" in schema:
            for name in schema.get("required", ()):
                if name not in value:
                    raise NotDescribedError(f"{where}: expected {name}, got none")
            for name, inner in value.items():
                if name not in schema["properties"]:
                    raise NotDescribedError(f"{where}: {name}")
                self._check(schema["properties"][name], inner, f"{where}.{name}")
