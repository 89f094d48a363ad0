"""Cargo's target folder with the dependencies alone, made so that it can be used at another place.

    empty WORKSPACE        writes an empty source for every target of every manifest below WORKSPACE that has no src
    pack TARGET VENDOR     leaves of TARGET what is of crates under VENDOR, and takes the folders' names out of it
    unpack TARGET SOURCES  puts the names of this place in: SOURCES has the crates, as VENDOR had them

Cargo tells by time stamps what is older than what it was made from. After `unpack` everything in TARGET has one time:
newer than the sources, which have to be there before.
"""

import os
import pathlib
import re
import shutil
import sys
import time

TARGET, VENDOR = b"@target@", b"@vendor@"


def empty(workspace):
    for manifest in workspace.rglob("Cargo.toml"):
        text = manifest.read_text()
        if "[package]" not in text or (manifest.parent / "src").exists():
            continue
        paths = set(re.findall(r'^path = "(.*\.rs)"$', text, re.MULTILINE)) | {"src/lib.rs"}
        for path in paths:
            source = manifest.parent / path
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text("#![allow(dead_code)]\nfn main() {}\n")


def with_names(target, change):
    """Where build scripts have named folders: what they said, and what Cargo wrote down of it."""
    for folder in (target / "release" / "build").iterdir():
        for name in ("output", "root-output"):
            file = folder / name
            if file.is_file():
                file.write_bytes(change(file.read_bytes()))
    for file in (target / "release" / "deps").glob("*.d"):
        file.write_bytes(change(file.read_bytes()))


def pack(target, vendor):
    release = target / "release"
    crates = {re.sub(r"-\d+\.\d+\.\d+.*$", "", folder.name) for folder in vendor.iterdir()}
    kept = set()
    for unit in (release / ".fingerprint").iterdir():
        name, _, digest = unit.name.rpartition("-")
        if name in crates:
            kept.add(digest)
        else:
            shutil.rmtree(unit)
    for folder in (release / "build").iterdir():
        if folder.name.rpartition("-")[2] not in kept:
            shutil.rmtree(folder)
    for file in (release / "deps").iterdir():
        if file.stem.rpartition("-")[2] not in kept:
            file.unlink()
    for entry in release.iterdir():
        if entry.name not in (".fingerprint", "build", "deps"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    target, vendor_name = target.resolve(), str(vendor.resolve()).encode()
    with_names(target, lambda text: text.replace(str(target).encode(), TARGET).replace(vendor_name, VENDOR))


def unpack(target, sources):
    target, sources = target.resolve(), sources.resolve()
    with_names(target, lambda text: text.replace(TARGET, str(target).encode()).replace(VENDOR, str(sources).encode()))
    now = time.time()
    for folder, _, files in os.walk(target):
        for name in files:
            os.utime(os.path.join(folder, name), (now, now))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"empty": empty, "pack": pack, "unpack": unpack}[command](*map(pathlib.Path, paths))
