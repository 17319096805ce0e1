"""Files of mappings: good ones are read to the last digit, all others get one plain sentence."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo import lab
from mhc_demo.inspection.choosing import Reading
from mhc_demo.inspection.limits import NONE, PAGE, UnreadableError
from mhc_demo.inspection.measuring import measured
from mhc_demo.inspection.reading import read_bytes, read_file

H = mhc.sinkhorn_knopp(mhc.sample_mixing(depth=3, streams=4, members=2, seed=1))
H32 = H.astype(np.float32)


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def tensors(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def declared(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors(array: Any = H32, name: str = "h_res", dtype: str = "F32") -> bytes:
    entry = declared(dtype, list(array.shape), 0, array.nbytes)
    return tensors({name: entry}, array.tobytes())


def record(tmp_path: Path) -> Path:
    """The record of a run that nobody trained: two steps and their summary."""
    settings = lab.Settings(connection="hc", depth=3, width=4, steps=2, batch=4)
    gains = {"forward": [0.0] * 3, "backward": [0.0] * 3}
    steps = (lab.Step(k, 1.0, 1.0, gains, gains, [0.1] * 3, 0.1, 9.0, 1) for k in (1, 2))
    summary = lab.Summary("finished", 2, 1.0, 0.5, 0.0, 1.0, 0.1, 9, H[0].tolist())
    path = tmp_path / "run.jsonl"
    for _ in lab.recorded((each for each in (*steps, summary)), settings, path):
        pass
    return path


def read(data: bytes) -> Reading:
    return read_bytes(data, "file", limits=PAGE)


# What is read


@pytest.mark.parametrize(
    "data",
    [
        npz(h_res=H32),
        npz(compressed=True, H_res=H32, other=np.zeros((2, 3, 3))),
        npz(anything=H32, losses=np.zeros(7)),
        npz(h_res=np.asfortranarray(H32)),
        npz(h_res=H32.astype(">f4")),
        npy(H32),
        npy(H32, allow_pickle=False),
        safetensors(),
        safetensors(name="model.maps"),
    ],
    ids=range(9),
)
def test_an_array_is_read_as_it_was_written(data: bytes) -> None:
    found = read(data)
    np.testing.assert_array_equal(found.matrices, H32)
    assert found.layers == ("layer 1", "layer 2", "layer 3")


def test_an_array_without_tokens_has_one() -> None:
    assert read(npz(h_res=H32[0])).matrices.shape == (1, 3, 4, 4)
    assert read(npz(h_res=np.stack([H32, H32]))).matrices.shape == (4, 3, 4, 4)


def test_half_precision_and_bfloat16_are_read_exactly() -> None:
    np.testing.assert_array_equal(read(npz(h_res=H.astype(np.float16))).matrices, H.astype("f2"))
    upper = (H32.view(np.uint32) >> 16).astype(np.uint16)
    wanted = (upper.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(read(safetensors(upper, dtype="BF16")).matrices, wanted)


def test_what_the_package_safetensors_writes_is_read() -> None:
    package = pytest.importorskip("safetensors.numpy")
    np.testing.assert_array_equal(read(package.save({"h_res": H32})).matrices, H32)


def test_matrices_that_are_arrays_of_their_own_are_layers_in_the_order_of_their_numbers() -> None:
    found = read(npz(**{f"layer.{k}.hc": H32[0, 0] * k for k in (10, 9, 2)}))
    assert found.layers == ("layer.2.hc", "layer.9.hc", "layer.10.hc")
    wanted = [H32[0, 0] * k for k in (2, 9, 10)]
    np.testing.assert_array_equal(found.matrices[0], wanted)


def test_a_record_of_the_lab_gives_the_matrices_that_it_ended_with(tmp_path: Path) -> None:
    path = record(tmp_path)
    found = read_file(path)
    np.testing.assert_array_equal(found.matrices[0], lab.read_record(path).summary.h_res)
    assert "hc after 2 steps" in found.what
    with pytest.raises(UnreadableError, match="last line"):
        read(path.read_bytes().rpartition(b"\n{")[0])


def checkpoint(keys: list[str], n: int = 4, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=(n + 2) * n).astype(np.float32) for key in keys}


@pytest.mark.parametrize(
    "pattern", ["layers.{}.hc_{}_base", "model.layers.{0}.{1}_hc.base", "m.layers.{}.hc_{}_base"]
)
def test_a_checkpoint_of_deepseek_v4_has_static_mappings_by_its_keys(pattern: str) -> None:
    keys = [pattern.format(layer, part) for layer in (10, 2) for part in ("ffn", "attn")]
    bases = checkpoint([*keys, "mtp.0.hc_attn_base", "hc_head_base"])
    found = read(npz(**bases))
    ordered = [pattern.format(layer, part) for layer in (2, 10) for part in ("attn", "ffn")]
    assert found.layers == tuple(ordered)
    for k, key in enumerate(ordered):
        logits = bases[key][8:].reshape(4, 4).T
        wanted = mhc.project(logits.astype(float), "released")
        np.testing.assert_allclose(found.matrices[0, k], wanted, rtol=0, atol=1e-15)
    assert "static" in found.remarks[0]


def test_of_a_folder_of_shards_only_the_mappings_are_read(tmp_path: Path) -> None:
    bases = checkpoint(["layers.0.hc_attn_base", "layers.0.hc_ffn_base"])
    weight = declared("F8_E4M3", [2**20, 2**20], 0, 2**40)  # which is not there
    for k, (key, base) in enumerate(bases.items()):
        header = {"layers.0.w": weight, key: declared("F32", [24], 0, 96)}
        (tmp_path / f"model-{k}.safetensors").write_bytes(tensors(header, base.tobytes()))
    assert read_file(tmp_path).layers == tuple(bases)
    with pytest.raises(UnreadableError, match=r"no \.safetensors"):
        read_file(tmp_path.parent / tmp_path.name / "..")


def test_what_takes_long_is_watched() -> None:
    seen: list[int] = []

    def watch(items: Any) -> Any:
        seen.append(len(items))
        return items

    report = mhc.inspect(np.broadcast_to(H32[0], (3, 3, 4, 4)), watch=watch)
    assert seen == [1]
    assert report.matrices.shape == (3, 3, 4, 4)


# What is not


ENDLESS = declared("F32", [2**40, 4, 4], 0, 2**46)


def bomb() -> bytes:
    """An archive whose array says that it has 2 GiB, and has 1 MiB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        head = npy(np.zeros((1, 4, 4), "f4"))[:128]
        head = head.replace(b"(1, 4, 4), }       ", b"(33554432, 4, 4), }")
        archive.writestr("h_res.npy", head + bytes(2**20))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"hello", "none of the files"),
        (pickle.dumps({"h_res": H}), "pickle"),
        (npz(h_res=np.array([{"a": 1}], dtype=object)), "pickled objects"),
        (
            npz(**{"data.pkl": np.zeros(1)}).replace(b"data.pkl.npy", b"data/data.pkl"),
            "damaged|pick",
        ),
        (npz(h_res=np.full((2, 3, 3), np.nan)), "NaN or infinity"),
        (safetensors(np.full((2, 3, 3), np.inf, "f4")), "NaN or infinity"),
        (npz(h_res=np.full((2, 3, 3), 1e200)), "beyond"),
        (npz(h_res=np.zeros((2, 3, 4))), "square"),
        (npz(h_res=np.zeros((0, 4, 4))), "empty"),
        (npz(h_res=np.zeros((513, 2, 2))), "513 layers; at most 512"),
        (npz(h_res=np.zeros((2**12, 2**8 + 1, 1, 1), "f2")), "matrices; at most 1,048,576"),
        (npz(h_res=np.zeros((1, 33, 33))), "n = 33 streams; at most 32"),
        (npz(h_res=np.zeros((2, 2, 2), int)), "float32"),
        (npz(h_res=np.zeros(3, [("a", "f4")])), "none that NumPy writes"),
        (npz(a=H32, b=H32), "several stacks"),
        (npz(a=np.eye(2), b=np.eye(3)), "several sizes"),
        (npz(losses=np.zeros((3, 7)), x=np.zeros(1)), "no square matrices"),
        (npz(losses=np.zeros((3, 7))), "must be \\(layers, n, n\\)"),
        (bomb(), "2,048.0 MiB; at most 64"),
        (npz(h_res=H32)[:-30], "damaged"),
        (npz(**{"layers.0.hc_attn_base": np.zeros(23)}), "\\(n \\+ 2\\) n"),
        (tensors({"h_res": ENDLESS}), "not in the file"),
        (tensors({"h_res": declared("F32", [-1, 4, 4], 0, 64)}), "no shape"),
        (tensors({"h_res": declared("F32", [1, 4, 4], 0, 64)}), "not in the file"),
        (tensors({"h_res": declared("F8_E4M3", [1, 4, 4], 0, 16)}, bytes(16)), "are read"),
        (struct.pack("<Q", 2**62) + b"{" + bytes(99), "none of the files"),
        (struct.pack("<Q", 50) + b"{" + bytes(99), "not JSON"),
        (struct.pack("<Q", 90) + b'{"a":' + b"[" * 85 + bytes(9), "not JSON"),
        (b'{"record": 1}', "no record of the lab"),
        (b"{" + b'"' * 99, "no record of the lab"),
    ],
    ids=range(31),
)
def test_a_file_that_is_wrong_gets_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableError, match=said) as refused:
        read(data)
    text = str(refused.value)
    assert text.isprintable()
    assert len(text) < 400
    assert text.endswith(".")


def test_what_is_declared_is_checked_before_it_is_read() -> None:
    large = npz(compressed=True, h_res=np.zeros((2**17, 6, 5, 5), "f4"))  # 75 MiB, 76 kB zipped
    deep = struct.pack("<Q", 2**19) + b'{"a":' + b"[" * (2**19 - 5)
    for data in (large, bomb(), deep, tensors({"h_res": ENDLESS})):
        tracemalloc.start()
        with pytest.raises(UnreadableError):
            read(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8e6


def test_a_directory_of_a_million_files_is_not_read() -> None:
    data = npz(h_res=H32)
    end = data.rindex(b"PK\x05\x06")
    size, start = struct.unpack_from("<LL", data, end + 12)
    many = data[:start] + data[start:end] * 40_000
    tail = bytearray(data[end:])
    struct.pack_into("<HHLL", tail, 8, 40_000, 40_000, 40_000 * size, start)
    with pytest.raises(UnreadableError, match="directory"):
        read(many + bytes(tail))


def test_names_out_of_a_file_are_printable_and_short() -> None:
    names = np.array(["\x1b[31mred", "a" * 5000, "‮evil"])
    found = read(npz(h_res=H32, layers=names))
    assert all(name.isprintable() and len(name) < 200 for name in found.layers)
    assert read_bytes(npz(h_res=H32), "a\nb\x00.npz", limits=PAGE).name == "a�b�.npz"
    hostile = npz(h_res=H32, layers=names).replace("‮".encode("utf-32-le"), b"\xff\xff\xff\x7f")
    with pytest.raises(UnreadableError):
        read(hostile)


def test_limits_are_the_page_s_alone() -> None:
    wide = npz(h_res=np.zeros((600, 2, 2), "f4"))
    assert read_bytes(wide, "wide", limits=NONE).matrices.shape == (1, 600, 2, 2)
    assert mhc.inspect(np.zeros((1, 40, 40))).to_xarray().sizes["row"] == 40


# A thousand mutated files

MUTATED = 1000


def mutations(whole: list[bytes], rng: random.Random) -> Any:
    """Good files with bytes changed, cut, doubled, exchanged, and with numbers made extreme."""
    extreme = [b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"9" * 12, b"-1", b"[" * 64, b"NaN"]
    for k in range(MUTATED):
        data = bytearray(whole[k % len(whole)])
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            at = rng.randrange(max(1, len(data)))
            data = data or bytearray(b" ")
            match rng.randrange(6):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at] ^= 1 << rng.randrange(8)
                case 2:
                    part = rng.choice(extreme)
                    data[at : at + len(part)] = part
                case 3:
                    del data[at : at + rng.randrange(1, 40)]
                case 4:
                    data[at:at] = data[at : at + rng.randrange(1, 40)]
                case 5:
                    data = data[: max(at, 1)]
        yield bytes(data)


def test_no_mutated_file_raises_anything_else_or_takes_memory(tmp_path: Path) -> None:
    names = np.array(["a", "b", "c"])
    good = [
        npz(h_res=H32, layers=names),
        npz(compressed=True, h_res=H32, layers=names),
        npz(**{f"layer.{k}": np.eye(3) for k in range(2)}),
        npz(**checkpoint(["layers.0.hc_attn_base", "layers.0.hc_ffn_base"])),
        npy(H32),
        safetensors(),
        tensors(
            {"__metadata__": {"layers": '["a","b"]'}, "h": declared("F16", [2, 2, 2], 0, 16)},
            bytes(16),
        ),
        record(tmp_path).read_bytes(),
    ]
    outcomes, said = {"read": 0, "refused": 0}, []
    tracemalloc.start()
    for data in mutations(good, random.Random(0)):
        try:
            found = read(data)
        except UnreadableError as error:
            outcomes["refused"] += 1
            said.append(str(error))
        else:
            outcomes["read"] += 1
            assert np.isfinite(found.matrices).all()
            assert found.matrices.nbytes <= PAGE.bytes
            if outcomes["read"] % 20 == 0:
                measured(found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [each for each in said if not each.isprintable()] == []
    assert peak < 16e6  # the good files have 3 kB
    assert min(outcomes.values()) > 50, outcomes  # neither all nor none came through
