#!/usr/bin/env python3
"""Makes tests/golden/files, which test_files reads: arrays written by NumPy, archives by zipfile, safetensors by the
format's rules. Needs numpy; the tests do not. SPDX-License-Identifier: Apache-2.0"""
import io, json, os, struct, zipfile
import numpy as np

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "files"))
DTYPES = {"bool": "?", "u8": "u1", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8", "f16": "f2",
          "f32": "f4", "f64": "f8"}


def values(name, count):
    """Element k, which the test computes, too."""
    k = np.arange(count)
    if name == "bool":
        return k % 3 == 0
    return k * 1.5 - 2 if name[0] == "f" else 1 - k * 3


def array(name, shape=(2, 3, 4)):
    return values(name, int(np.prod(shape))).astype(DTYPES[name]).reshape(shape)


def npy(a, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, a, version=version, allow_pickle=True)
    return out.getvalue()


def put(name, data):
    with open(name, "wb") as file:
        file.write(data)


for name in DTYPES:
    a = array(name)
    big = a.astype(a.dtype.newbyteorder(">"))
    put(name + ".npy", npy(a))
    put(name + "_big.npy", npy(big))
    put(name + "_fortran.npy", npy(np.asfortranarray(a)))
    put(name + "_big_fortran.npy", npy(np.asfortranarray(big)))
put("scalar.npy", npy(np.array(-2, "f8")))
put("empty.npy", npy(np.zeros((0, 3), "f4")))
put("version2.npy", npy(array("f32"), (2, 0)))
put("version3.npy", npy(array("f32"), (3, 0)))
put("long.npy", npy(array("i64", (30000 // 8,)))[:1024])  # cut
put("complex.npy", npy(np.zeros(2, "c16")))
put("unsigned.npy", npy(np.zeros(2, "u4")))
put("object.npy", npy(np.array([None, 1], object)))
put("structure.npy", npy(np.zeros(2, [("a", "f4"), ("b", "i8", (2,))])))
put("rank9.npy", npy(np.zeros((1,) * 9, "f4")))

members = {"a": array("f32"), "b": array("i64", (3,)), "part/c": np.asfortranarray(array("f64").astype(">f8"))}
np.savez("stored.npz", **members)
np.savez_compressed("deflated.npz", **members)
limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 10
with zipfile.ZipFile("zip64.npz", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.comment = b"a comment"
    archive.writestr("readme.txt", "not an array")
    for name, a in members.items():
        archive.writestr(name + ".npy", npy(a))
zipfile.ZIP64_LIMIT = limit


def safetensors(name, tensors, metadata, pad=True):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for key, kind, a in tensors:
        header[key] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8 if pad else 0)
    put(name, struct.pack("<Q", len(text)) + text + data)


ours = [("b", "I64", array("i64", (3,))), ("e", "F64", array("f64", (2, 2))), ("a", "F32", array("f32")),
        ("d", "F32", np.zeros((0, 3), "f4")), ("s", "I32", array("i32", ())), ("ö\"c", "BOOL", array("bool", (5,)))]
safetensors("ours.safetensors", ours, {"format": "pt", "quote\"": "a\\b"})
safetensors("odd.safetensors", [("x", "BOOL", array("bool", (5,))), ("half", "F8_E4M3", np.zeros(3, "u1")),
                                ("y", "F32", array("f32", (3,)))], None, pad=False)
