"""A CycloneDX 1.5 list of what is in store paths, on stdout.

Every store path is a component; in it every jar is one, with what is
shaded into it by its NOTICE and by pom.properties, and the
engine and the S3 server have the crates and modules that they are linked from. What has no licence that can be told is
an error: nothing is guessed.
"""

import argparse
import hashlib
import json
import pathlib
import re
import sys
import uuid
import xml.etree.ElementTree as xml
import zipfile

from spdx import spdx


# What has no licence that can be told.
UNKNOWN = []


def component(kind, name, version, license, purl, **more):
    return {
        "type": kind,
        "name": name,
        "version": version,
        "purl": purl,
        "bom-ref": purl,
        "licenses": [{"expression": license}],
        **more,
    }


def read_locks(path):
    """By a jar's hash: its coordinates and licence."""
    known = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            digest, at, license = line.split(" ", 2)
            known[digest] = (at.split(":"), license)
    return known


def shaded(archive):
    """What a jar says of Maven artifacts inside it."""
    for entry in sorted(archive.namelist()):
        if re.fullmatch(r"META-INF/maven/[^/]+/[^/]+/pom\.properties", entry):
            text = archive.read(entry).decode("utf-8", "replace")
            fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
            if {"groupId", "artifactId", "version"} <= fields.keys():
                yield tuple(fields[key].strip() for key in ("groupId", "artifactId", "version"))


def bundled(archive):
    """What a jar's NOTICE says is inside, as Flink writes it: coordinates, and the licence that they stand under."""
    if "META-INF/NOTICE" not in archive.namelist():
        return
    terms = None
    lines = iter(archive.read("META-INF/NOTICE").decode("utf-8", "replace").splitlines())
    for line in lines:
        before, heading, words = line.partition("bundles the following dependencies under")
        if heading:
            # It may go on in the next line.
            terms = spdx(words if spdx(words) else f"{words} {next(lines, '')}")
        item = re.match(r"\s*-\s+([\w.-]+):([\w.-]+):(?:[\w.-]+:)*(\d[\w.-]*)", line)
        if item:
            yield *item.groups(), terms


def parts_of(path, archive, itself, licenses):
    """Components of what is shaded into a jar."""
    found = {(group, artifact, version): terms for group, artifact, version, terms in bundled(archive)}
    for at in shaded(archive):
        found.setdefault(at, None)
    parts = []
    for (group, artifact, version), terms in sorted(found.items()):
        if (group, artifact) == itself:
            continue
        license = licenses["maven"].get(f"{group}:{artifact}") or terms or of_pom(archive, (group, artifact)) or licenses["maven"].get(group)
        if not license:
            UNKNOWN.append(f"{group}:{artifact} in the jar {path.name}")
        parts.append(component("library", artifact, version, license, f"pkg:maven/{group}/{artifact}@{version}"))
    return parts


def of_pom(archive, at):
    """The licences of an artifact's POM in a jar: any of them may be chosen."""
    pom = f"META-INF/maven/{at[0]}/{at[1]}/pom.xml"
    if pom not in archive.namelist():
        return None
    found = []
    for element in xml.fromstring(archive.read(pom)).iter():
        if element.tag.rpartition("}")[2] == "license":
            words = [child.text for child in element]
            found += [spdx(text) for text in words if spdx(text)][:1]
    return " OR ".join(dict.fromkeys(found)) or None


def own_license(archive, at):
    """What a jar says of its own licence: in its POM, in its manifest, in the head of its licence file."""
    names = set(archive.namelist())
    if at and (license := of_pom(archive, at)):
        return license
    if "META-INF/MANIFEST.MF" in names:
        manifest = archive.read("META-INF/MANIFEST.MF").decode("utf-8", "replace").replace("\r\n ", "").replace("\n ", "")
        stated = re.search(r"^Bundle-License: (.*)$", manifest, re.MULTILINE)
        if stated and spdx(stated[1]):
            return spdx(stated[1])
    for name in sorted(names):
        if re.fullmatch(r"(META-INF/)?LICEN[SC]E(\.txt|\.md)?", name):
            return spdx(archive.read(name).decode("utf-8", "replace")[:400])
    return None


def jar(path, locks, licenses):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    archive = zipfile.ZipFile(path)
    inside = list(shaded(archive))
    if digest in locks:
        (group, artifact, version, *_), license = locks[digest]
        if license == "NOASSERTION":
            license = licenses["maven"].get(f"{group}:{artifact}")
    else:
        name, version = re.fullmatch(r"(.+?)(?:-(\d.*))?", path.stem).groups()
        # artifact-version.jar, or as Quarkus has it, group.artifact-version.jar.
        named = [at for at in inside if name in (at[1], f"{at[0]}.{at[1]}")]
        known = [group for group in licenses["maven"] if name.startswith(group + ".")]
        if named:
            group, artifact, version = named[0]
        elif known:
            group = max(known, key=len)
            artifact = name[len(group) + 1 :]
        else:
            group, artifact = None, name
        version = version or "0"
        license = (
            licenses["maven"].get(f"{group}:{artifact}")
            or licenses["jars"].get(name)
            or own_license(archive, named[0] if named else None)
            or licenses["maven"].get(group)
        )
    if not license:
        UNKNOWN.append(f"the jar {path.name} ({group}:{artifact})")
    purl = f"pkg:maven/{group}/{artifact}@{version}" if group else f"pkg:generic/{artifact}@{version}"
    parts = parts_of(path, archive, (group, artifact), licenses)
    more = {"components": parts} if parts else {}
    return component("library", artifact, version, license, purl, hashes=[{"alg": "SHA-256", "content": digest}], **more)


def number(components, seen):
    """A reference names one component: what is inside several has a number behind its own."""
    for part in components:
        seen[part["purl"]] = seen.get(part["purl"], 0) + 1
        if seen[part["purl"]] > 1:
            part["bom-ref"] = f"{part['purl']}#{seen[part['purl']]}"
        number(part.get("components", []), seen)


def main():
    arguments = argparse.ArgumentParser()
    for name in ("name", "version", "license"):
        arguments.add_argument(name)
    for name in ("paths", "locks", "licenses"):
        arguments.add_argument(f"--{name}", type=pathlib.Path, required=True)
    # What a package is linked from: its store path, the packages' type in purls, and a list of `name version licence`.
    arguments.add_argument("--linked", nargs=3, metavar=("PACKAGE", "TYPE", "LIST"))
    given = arguments.parse_args()
    licenses = json.loads(given.licenses.read_text())
    locks = read_locks(given.locks)

    components = []
    for path in map(pathlib.Path, given.paths.read_text().split()):
        store_name = path.name.split("-", 1)[1]
        name, version = re.fullmatch(r"(.+?)(?:-(\d.*))?", store_name).groups()
        license = licenses["packages"].get(name)
        if license is None:
            UNKNOWN.append(store_name)
        jars = [path] if path.suffix == ".jar" else sorted(path.rglob("*.jar")) if path.is_dir() else []
        parts = [jar(file, locks, licenses) for file in jars if not file.is_symlink()]
        if given.linked and path == pathlib.Path(given.linked[0]):
            for line in pathlib.Path(given.linked[2]).read_text().splitlines():
                library, release, terms = line.split(" ", 2)
                if not terms:
                    UNKNOWN.append(f"{library} {release}")
                parts.append(component("library", library, release, terms.replace("/", " OR "), f"pkg:{given.linked[1]}/{library}@{release}"))
        more = {"components": parts} if parts else {}
        purl = f"pkg:nix/{store_name}?path={path.name}"
        components.append(component("application", name, version or "0", license, purl, **more))

    if UNKNOWN:
        sys.exit("sbom: no licence is known of\n  " + "\n  ".join(UNKNOWN) + "\nnix/sbom/licenses.json takes them")

    number(components, {})
    # The same list has the same number.
    text = json.dumps(components, sort_keys=True)
    serial = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
    json.dump(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{serial}",
            "version": 1,
            "metadata": {
                "component": component(
                    "container", f"millrace/{given.name}", given.version, given.license, f"pkg:oci/{given.name}@{given.version}"
                )
            },
            "components": components,
        },
        sys.stdout,
        indent=1,
        sort_keys=True,
    )
    print()


main()
