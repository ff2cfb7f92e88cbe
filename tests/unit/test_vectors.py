"""Test vectors: their files, their forms, and that each catches what it says (chapter ``vectors``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from btard.cli import main
from btard.conformance.conform import known_requirements
from btard.conformance.vectors.cases import (
    ABSENT,
    OPERATIONS,
    Chapter,
    Edit,
    File,
    Refusal,
    Vector,
    VectorError,
    equal,
    evaluate,
    negative,
)
from btard.conformance.vectors.files import CHAPTERS, FORMAT, chapters, differences, write
from btard.conformance.vectors.forms import (
    plain_item,
    plain_slot,
    read_item,
    read_real,
    read_reals,
    read_singles,
    read_slot,
    real,
    reals,
    singles,
)
from btard.protocol.messages import Phase, Slot

SPEC = Path(__file__).resolve().parents[2] / "spec"
CHECKED_IN = SPEC / "vectors"


@pytest.fixture(scope="module")
def made() -> dict[str, Chapter]:
    return {chapter.name: chapter for chapter in chapters()}


def test_writing_the_vectors_again_gives_the_files_that_are_checked_in() -> None:
    assert differences(CHECKED_IN) == []


def test_the_whole_set_is_small() -> None:
    assert sum(path.stat().st_size for path in CHECKED_IN.rglob("*") if path.is_file()) < 20_000_000


def test_every_chapter_has_more_negative_vectors_than_positive_ones(made: dict[str, Chapter]) -> None:
    assert list(made) == list(CHAPTERS)
    for chapter in made.values():
        assert negative(chapter.vectors) * 2 > len(chapter.vectors), chapter.name


def test_ids_are_unique_flags_are_used_and_requirements_exist(made: dict[str, Chapter]) -> None:
    known = known_requirements()
    vectors = [vector for chapter in made.values() for vector in chapter.vectors]
    assert len({vector.id for vector in vectors}) == len(vectors)
    for chapter in made.values():
        assert {vector.flag for vector in chapter.vectors} - {""} == set(chapter.flags), chapter.name
    unknown = {id for vector in vectors for id in vector.requirements} - set(known)
    assert not {id for id in unknown if not id.startswith("PROP-")}
    assert all(vector.requirements for vector in vectors)


def test_every_operation_is_described_and_used(made: dict[str, Chapter]) -> None:
    text = (SPEC / "vectors.md").read_text(encoding="utf-8")
    used = {vector.operation for chapter in made.values() for vector in chapter.vectors}
    assert used == set(OPERATIONS)
    assert all(f"| `{name}` |" in text for name in OPERATIONS)


@pytest.mark.requirement("VEC-1")
def test_the_files_alone_are_enough_to_test_with() -> None:
    """As an implementer does it: read the JSON, put files in their place, compute, compare."""
    for path in sorted(CHECKED_IN.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["format"] == FORMAT and document["chapter"] == path.stem
        for plain in document["vectors"]:
            fields = {name: in_place(value) for name, value in plain["input"].items()}
            vector = Vector(
                plain["id"], plain["operation"], tuple(plain["requirements"]), fields, plain.get("output", ABSENT)
            )
            assert vector.passes(evaluate(vector.operation, fields)), vector.id


def in_place(value: object) -> object:
    """An input with the bytes of a file in its place."""
    if not isinstance(value, dict) or "file" not in value:
        return value
    edits = [Edit(e["at"], e["remove"], bytes.fromhex(e["insert"])) for e in value.get("edits", [])]
    return File(value["file"], (CHECKED_IN / value["file"]).read_bytes(), tuple(edits)).edited.hex()


def test_an_output_is_compared_as_a_json_value() -> None:
    assert equal({}, {"a": [1, "x", None]}, {"a": [1, "x", None]})
    for other in (
        {"a": [1, "x"]},
        {"a": [True, "x", None]},
        {"b": [1, "x", None]},
        ["a"],
        None,
        {"a": [1, "x", False]},
    ):
        assert not equal({}, {"a": [1, "x", None]}, other)
    assert not equal({}, True, 1) and not equal({}, 0, False)


def test_a_refusal_and_an_output_are_two_answers() -> None:
    taken = Vector("x", "encoding.tree_hash", ("ENC-15",), {"body": ""}, "00")
    refused = Vector("y", "encoding.tree_hash", ("ENC-15",), {"body": ""})
    assert taken.passes("00") and not taken.passes("01") and not taken.passes(Refusal("no"))
    assert refused.passes(Refusal("no")) and not refused.passes("00") and not refused.passes(None)


def test_a_vector_that_does_not_catch_its_mistake_cannot_be_written_down() -> None:
    chapter = Chapter("encoding", {"mistake": "does it wrong"})
    right = evaluate("encoding.tree_hash", {"body": "00"})
    with pytest.raises(VectorError, match="does not catch"):
        chapter.trap("a", "encoding.tree_hash", "ENC-15", "mistake", right, body="00")
    with pytest.raises(VectorError, match="takes"):
        chapter.refused("b", "encoding.tree_hash", "ENC-15", "mistake", body="00")
    with pytest.raises(VectorError, match="does not explain"):
        chapter.trap("c", "encoding.tree_hash", "ENC-15", "other", "00", body="00")
    with pytest.raises(VectorError, match="refuses"):
        chapter.right("d", "encoding.decode", "ENC-6", data="", limit=9)
    with pytest.raises(VectorError, match="no operation"):
        chapter.right("e", "encoding.nothing", "ENC-6")


def test_edits_replace_bytes_at_offsets_of_the_original() -> None:
    file = File("f", bytes(range(8)))
    edited = file.with_edits(Edit(1, 2, b"\xff"), Edit(5, 0, b"\xee"), Edit(7, 1))
    assert edited.edited == bytes([0, 255, 3, 4, 238, 5, 6])
    assert file.edited == bytes(range(8))


def test_forms_read_back() -> None:
    for item in (0, 2**64 - 1, b"\x00", "ä", [None, True, [1]], {"b": 1, "aa": [b""], "a": None}):
        assert read_item(plain_item(item)) == item
    assert real(1.0) == "000000000000f03f" and read_real(real(-0.1)) == -0.1
    assert singles([1.0, -2.0]) == "0000803f000000c0"
    assert list(read_singles(singles([1.5]))) == [1.5] and list(read_reals(reals([1.5, 2.0]))) == [1.5, 2.0]
    slot = Slot(3, 0, Phase.SCATTER, 2)
    assert plain_slot(slot) == [3, 0, 1, 2] and read_slot(plain_slot(slot)) == slot


def test_check_names_what_differs_and_write_repairs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    path = tmp_path / "encoding.json"
    path.write_text(path.read_text().replace('"limit": 1000', '"limit": 1001', 1))
    (tmp_path / "stray.json").write_text("{}")
    found = differences(tmp_path)
    assert len(found) == 2 and "encoding.json" in found[0] and "line" in found[0] and "stray.json" in found[1]
    with pytest.raises(SystemExit) as ended:
        main(["vectors", "check", "--folder", str(tmp_path)])
    assert ended.value.code == 1 and "encoding.json" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["vectors", "write", "--folder", str(tmp_path)])
    assert not ended.value.code and differences(tmp_path) == []


def test_a_folder_that_is_none_is_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["vectors", "check", "--folder", str(tmp_path / "none")])
    assert ended.value.code == 2 and "there is no folder" in capsys.readouterr().err
