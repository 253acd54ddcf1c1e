"""Reads an offline W&B run back: the records of its file (LevelDB log format), and what is in them."""

import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32_768, 7


def alone(folder: Path) -> dict[str, str]:
    """Return variables that keep W&B inside `folder`, without a server that answers."""
    homes = {name: str(folder / "home") for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
    return {
        **homes,
        "NETRC": str(folder / "none"),
        "WANDB_BASE_URL": f"http://127.0.0.1:{closed_port()}",
        "WANDB_ERROR_REPORTING": "false",
    }


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def read(folder: Path) -> list[Any]:
    """Return the records of a run that has ended; W&B's helper process may write the last ones a moment later."""
    deadline = time.monotonic() + 20
    while not (records := read_now(folder)) or not exit_codes(records):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return records


def read_now(folder: Path) -> list[Any]:
    """Return the records that are there."""
    from wandb.proto import wandb_internal_pb2 as pb

    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    return [pb.Record.FromString(frame) for frame in _frames(path.read_bytes())]


def of_kind(records: list[Any], kind: str) -> list[Any]:
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def run_of(records: list[Any]) -> Any:
    (run,) = of_kind(records, "run")
    return run


def exit_codes(records: list[Any]) -> list[int]:
    return [one.exit_code for one in of_kind(records, "exit")]


def items(found: Any) -> dict[str, Any]:
    return {("/".join(item.nested_key) or item.key): json.loads(item.value_json) for item in found}


def history(records: list[Any]) -> list[dict[str, Any]]:
    return [items(one.item) for one in of_kind(records, "history")]


def summary_of(records: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in records:
        merged |= items(record.summary.update)
    return merged


def axes_of(records: list[Any]) -> dict[str, str]:
    """Return metric or pattern -> the metric that it is drawn over."""
    return {one.glob_name or one.name: one.step_metric for one in of_kind(records, "metric")}


def table(run: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a table that was logged once."""
    (path,) = (run / "wandb").glob(f"offline-run-*/files/media/table/{name}_*.table.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]


def _frames(content: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file, up to a torn tail."""
    place, parts = 7, b""
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        checksum, size, kind = struct.unpack_from("<IHB", content, place)
        if left < HEADER or (kind == 0 and size == 0):
            place += left
            continue
        part = content[place + HEADER : place + HEADER + size]
        if len(part) < size:
            return
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        place += HEADER + size
        parts = part if kind in (1, 2) else parts + part
        if kind in (1, 4):
            yield parts
