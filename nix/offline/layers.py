"""The layers of an image: `plan` tells which store paths make which, `stream CONF` writes the docker archive to stdout.

CONF has the keys that nixpkgs' stream_layered_image.py reads, so that either program takes it.
"""

import hashlib
import io
import json
import os
import sys
import tarfile
from datetime import datetime, timezone


def plan():
    """Most needed first: what many paths stand on changes least, and its layers are below."""
    given = json.load(open(os.environ.get("NIX_ATTRS_JSON_FILE", ".attrs.json")))
    references = {p["path"]: set(p["references"]) - {p["path"]} for p in given["graph"]}

    def below(path, met):
        for reference in references[path] - met:
            met.add(reference)
            below(reference, met)
        return met

    needed_by = dict.fromkeys(references, 0)
    for path in references:
        for reference in below(path, set()):
            needed_by[reference] += 1

    own = {given["base"], given["customisation_layer"]}
    paths = sorted((p for p in references if p not in own), key=lambda p: (-needed_by[p], p))
    # The last layer is the customisation, and the one before it takes all that is left over.
    room = given["maxLayers"] - 2
    layers = [[path] for path in paths[:room]]
    if paths[room:]:
        layers.append(sorted(paths[room:]))

    out = given["outputs"]["out"]
    conf = json.load(open(given["base"]))
    copied = ("created", "mtime", "uid", "gid", "uname", "gname", "customisation_layer", "store_dir")
    conf.update({key: given[key] for key in copied})
    tag = given["tag"] or os.path.basename(out).split("-")[0]
    conf.update(from_image=None, store_layers=layers, repo_tag=f"{given['repository']}:{tag}")
    with open(out, "w") as file:
        json.dump(conf, file, indent=2, sort_keys=True)


class Tally:
    """A sink that counts and digests what goes through it, and passes it on where there is somewhere to."""

    def __init__(self, to=None):
        self.digest, self.size, self.to = hashlib.sha256(), 0, to

    def write(self, data):
        self.digest.update(data)
        self.size += len(data)
        if self.to:
            self.to.write(data)
        return len(data)


def seconds(moment):
    if moment == "now":
        return int(datetime.now(timezone.utc).timestamp())
    return int(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp())


def write_layer(paths, conf, sink):
    def plain(info):
        info.mtime, info.uid, info.gid = seconds(conf["mtime"]), int(conf["uid"]), int(conf["gid"])
        info.uname, info.gname = conf["uname"], conf["gname"]
        return info

    def add(tar, path):
        info = plain(tar.gettarinfo(path, arcname=path.lstrip("/")))
        if info.islnk():
            # A store may link equal files to each other; the image must not depend on it.
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.lstat(path).st_size
        if info.isreg():
            with open(path, "rb") as file:
                tar.addfile(info, file)
        else:
            tar.addfile(info)
        tar.inodes.clear()
        if info.isdir():
            for name in sorted(os.listdir(path)):
                add(tar, os.path.join(path, name))

    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        at = ""
        for part in conf["store_dir"].strip("/").split("/"):
            at = os.path.join(at, part)
            info = plain(tarfile.TarInfo(at))
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for path in paths:
            add(tar, path)


class Archive:
    """A tar on stdout whose larger members are streamed, their size known beforehand."""

    def __init__(self, mtime):
        self.out, self.mtime = sys.stdout.buffer, mtime

    def member(self, name, size, write):
        info = tarfile.TarInfo(name)
        info.size, info.mtime = size, self.mtime
        self.out.write(info.tobuf(format=tarfile.GNU_FORMAT))
        write(self.out)
        self.out.write(b"\0" * (-size % tarfile.BLOCKSIZE))

    def file(self, name, data):
        self.member(name, len(data), lambda out: out.write(data))

    def close(self):
        self.out.write(b"\0" * (2 * tarfile.BLOCKSIZE))
        self.out.flush()


def copy(path, out):
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            out.write(data)


def stream(path):
    conf = json.load(open(path))
    archive = Archive(seconds(conf["mtime"]))
    names, diff_ids, history = [], [], []

    def layer(digest, size, comment, write):
        names.append(f"{digest}/layer.tar")
        diff_ids.append(f"sha256:{digest}")
        history.append({"created": conf["created"], "comment": comment})
        archive.member(names[-1], size, write)

    for paths in conf["store_layers"]:
        # Once for its digest and size, and once for its bytes: nothing is held in memory.
        tally = Tally()
        write_layer(paths, conf, tally)
        layer(tally.digest.hexdigest(), tally.size, f"store paths: {paths}", lambda out: write_layer(paths, conf, out))
    custom = conf["customisation_layer"]
    digest = open(f"{custom}/checksum").read().strip()
    tar = f"{custom}/layer.tar"
    layer(digest, os.stat(tar).st_size, "customisation layer", lambda out: copy(tar, out))

    image = {
        "created": datetime.fromtimestamp(seconds(conf["created"]), timezone.utc).isoformat(),
        "architecture": conf["architecture"],
        "os": conf["os"],
        "config": conf["config"],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
    text = json.dumps(image, indent=2, sort_keys=True).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    archive.file(name, text)
    manifest = [{"Config": name, "RepoTags": [conf["repo_tag"]], "Layers": names}]
    archive.file("manifest.json", json.dumps(manifest).encode())
    archive.close()


if __name__ == "__main__":
    plan() if sys.argv[1] == "plan" else stream(sys.argv[2])
