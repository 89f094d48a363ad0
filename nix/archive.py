"""What the docker archive that a program writes is made of, as JSON: its name, tag, image id, revision, layers and sizes.

    archive.py PROGRAM [MANIFEST]

Of the layers that a manifest of earlier archives has, what they come to compressed is not worked out again.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zlib


class Counter(io.RawIOBase):
    """Counts and digests what is read from a member, and what it comes to compressed."""

    def __init__(self, file, compressed):
        self.file, self.size, self.compressed = file, 0, compressed or 0
        self.digest = hashlib.sha256()
        self.deflate = None if compressed else zlib.compressobj(6, wbits=31)

    def drain(self):
        while data := self.file.read(1 << 20):
            self.size += len(data)
            self.digest.update(data)
            if self.deflate:
                self.compressed += len(self.deflate.compress(data))
        if self.deflate:
            self.compressed += len(self.deflate.flush())
        return self


def known_layers(paths):
    """Compressed sizes by digest."""
    manifests = [json.loads(open(path).read()) for path in paths]
    return {
        layer["digest"]: layer["compressedBytes"]
        for manifest in manifests
        for image in manifest.values()
        for layer in image["layers"]
    }


def main():
    layers, small = {}, {}
    known = known_layers(sys.argv[2:])
    program = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with tarfile.open(fileobj=program.stdout, mode="r|") as archive:
        for member in archive:
            if member.name.endswith("/layer.tar"):
                # The folder has the layer's digest for its name; whether it is right is looked at below.
                compressed = known.get("sha256:" + member.name.split("/")[0])
                layers[member.name] = Counter(archive.extractfile(member), compressed).drain()
            elif member.isfile():
                small[member.name] = archive.extractfile(member).read()
    # What pads the end of an archive.
    while program.stdout.read(1 << 20):
        pass
    if status := program.wait():
        sys.exit(f"{sys.argv[1]} ended with {status}")
    (manifest,) = json.loads(small["manifest.json"])
    config_text = small[manifest["Config"]]
    config = json.loads(config_text)
    id = hashlib.sha256(config_text).hexdigest()
    name, _, tag = manifest["RepoTags"][0].rpartition(":")
    comments = [entry.get("comment", "") for entry in config["history"]]
    for path, diff in zip(manifest["Layers"], config["rootfs"]["diff_ids"]):
        if f"sha256:{layers[path].digest.hexdigest()}" != diff:
            sys.exit(f"{name}: the layer {path} is not the one that its configuration names")
    json.dump(
        {
            "name": name,
            "tag": tag,
            "id": f"sha256:{id}",
            "revision": config["config"]["Labels"]["org.opencontainers.image.revision"],
            "bytes": sum(layer.size for layer in layers.values()),
            "compressedBytes": sum(layers[path].compressed for path in manifest["Layers"]),
            "layers": [
                {
                    "digest": diff,
                    "bytes": layers[path].size,
                    "compressedBytes": layers[path].compressed,
                    "of": comment,
                }
                for path, diff, comment in zip(manifest["Layers"], config["rootfs"]["diff_ids"], comments)
            ],
        },
        sys.stdout,
        indent=1,
    )
    print()


main()
