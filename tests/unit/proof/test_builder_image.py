"""What a builder image is made from has one key; an answer counts only for its order."""

from __future__ import annotations

import pytest
from silvermetal_proof.builder_image import INPUTS, ImageMade, ImageOrder, image_key
from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import MalformedError

OBJECTS = {path: f"{number:040x}" for number, path in enumerate(INPUTS)}
ORDER = {
    "key": image_key(OBJECTS),
    "commit": "1" * 40,
    "repository": "registry.example.org:5000/silvermetal/builder",
    "tries": 3,
    "pause": 1,
}
MADE = {
    "key": ORDER["key"],
    "commit": ORDER["commit"],
    "repository": ORDER["repository"],
    "image": sha256(b"image"),
    "digest": sha256(b"manifest"),
}


@pytest.mark.parametrize("path", INPUTS)
def test_each_input_is_in_the_key_and_none_may_be_missing(path: str) -> None:
    assert image_key({**OBJECTS, path: "f" * 40}) != image_key(OBJECTS)
    assert image_key({**OBJECTS, "README.md": "f" * 40}) == image_key(OBJECTS), "no input"
    with pytest.raises(MalformedError, match=path):
        image_key({k: v for k, v in OBJECTS.items() if k != path})


def test_what_is_pinned_is_a_name_with_a_digest() -> None:
    made = ImageMade.from_plain(MADE, what="x")
    assert made.reference == f"{ORDER['repository']}@{sha256(b'manifest')}"
    made.check(ImageOrder.from_plain(ORDER, what="x"))


@pytest.mark.parametrize(
    ("field", "value"), [("key", sha256(b"other")), ("commit", "2" * 40), ("repository", "elsewhere.example/x")]
)
def test_an_answer_to_another_order_is_refused(field: str, value: str) -> None:
    order = ImageOrder.from_plain(ORDER, what="x")
    with pytest.raises(MalformedError, match=f"builder image: {field}"):
        ImageMade.from_plain({**MADE, field: value}, what="x").check(order)


@pytest.mark.parametrize(
    "repository",
    [
        "builder",
        "registry.example.org/builder:latest",
        "registry.example.org/b@sha256:1",
        "-x/y",
        "a/../b",
        "A/b",
        "a//b",
    ],
)
def test_a_repository_has_no_tag_no_digest_and_no_tricks(repository: str) -> None:
    with pytest.raises(MalformedError):
        ImageOrder.from_plain({**ORDER, "repository": repository}, what="x")


@pytest.mark.parametrize("tries", [0, 21])
def test_the_bound_has_a_bound(tries: int) -> None:
    with pytest.raises(MalformedError):
        ImageOrder.from_plain({**ORDER, "tries": tries}, what="x")
