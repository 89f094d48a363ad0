"""What a docker archive on stdin is made of, as JSON on stdout: its name, tag, image id, layers and sizes."""

import hashlib
import io
import json
import sys
import tarfile
import zlib


class Counter(io.RawIOBase):
    """Counts and digests what is read from a member, and what it comes to compressed."""

    def __init__(self, file):
        self.file, self.size, self.compressed = file, 0, 0
        self.digest = hashlib.sha256()
        self.deflate = zlib.compressobj(6, wbits=31)

    def drain(self):
        while data := self.file.read(1 << 20):
            self.size += len(data)
            self.digest.update(data)
            self.compressed += len(self.deflate.compress(data))
        self.compressed += len(self.deflate.flush())
        return self


def main():
    layers, small = {}, {}
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            if member.name.endswith("/layer.tar"):
                counted = Counter(archive.extractfile(member)).drain()
                layers[member.name] = counted
            elif member.isfile():
                small[member.name] = archive.extractfile(member).read()
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
