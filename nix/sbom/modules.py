"""The Go modules that a program is linked from, with their licences: `name version licence` a line, on stdout.

    go version -m PROGRAM | modules.py CACHE

CACHE has the modules' archives, as a proxy serves them. A module whose licence cannot be told is an error.
"""

import pathlib
import re
import sys
import zipfile

from spdx import of_text


def escaped(path):
    """As the proxy protocol has paths: a capital is an exclamation mark and its small letter."""
    return re.sub("[A-Z]", lambda capital: "!" + capital[0].lower(), path)


def license(cache, name, version):
    archive = zipfile.ZipFile(cache / escaped(name) / "@v" / f"{escaped(version)}.zip")
    top = f"{name}@{version}/"
    texts = [
        archive.read(entry).decode("utf-8", "replace")
        for entry in sorted(archive.namelist())
        if re.fullmatch(r"(.*/)?(LICEN[SC]E|COPYING)([-.][^/]*)?", entry.removeprefix(top), re.IGNORECASE)
        and not re.search(r"(^|/)(testdata|vendor|_?examples?)/", entry.removeprefix(top))
    ]
    # Of several files, also of folders', all hold.
    found = [identifier for text in texts for identifier in (of_text(text) or "").split(" AND ") if identifier]
    return " AND ".join(dict.fromkeys(found)) or None


def main():
    cache = pathlib.Path(sys.argv[1])
    unknown = []
    modules = []
    # PROGRAM: go1.24.4
    compiler = next(sys.stdin).split()[-1]
    print("std", compiler.removeprefix("go"), "BSD-3-Clause")
    # A line of `=>` says what a module is replaced by.
    for line in sys.stdin:
        kind, *rest = line.split()
        if kind == "dep":
            modules.append(rest[:2])
        elif kind == "=>":
            modules[-1] = rest[:2]
    for name, version in modules:
        terms = license(cache, name, version)
        if terms is None:
            unknown.append(f"{name} {version}")
        print(name, version, terms)
    if not modules or unknown:
        sys.exit("sbom: no licence is known of\n  " + "\n  ".join(unknown or ["anything: the program names no module"]))


main()
