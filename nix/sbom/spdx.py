"""SPDX names of licences, from the words that POMs, manifests and licence files have for them."""

import re

# The first that is found.
NAMES = [
    (r"apache.{0,40}2|\basl.{0,5}2|apache.org/licenses/license-2", "Apache-2.0"),
    (r"\bedl\b|eclipse distribution|bsd.{0,20}3|new bsd|revised bsd|modified bsd|3-clause", "BSD-3-Clause"),
    (r"bsd.{0,20}2|2-clause", "BSD-2-Clause"),
    (r"\bmit\b|jquery|bouncy ?castle", "MIT"),
    (r"\bw3c\b", "W3C"),
    (r"\bmpl.*1\.1", "MPL-1.1"),
    (r"\bmpl.*2|mozilla.*2", "MPL-2.0"),
    (r"eclipse public.*2|\bepl.*2", "EPL-2.0"),
    (r"eclipse public|\bepl\b", "EPL-1.0"),
    (r"\bcddl.*1\.1", "CDDL-1.1"),
    (r"\bcddl", "CDDL-1.0"),
    (r"\bgpl2 w/ cpe|general public license.*version 2.*classpath|gpl-2.0-with-classpath|\bgpl.*classpath", "GPL-2.0-only WITH Classpath-exception-2.0"),
    (r"\blgpl.*2\.1|lesser.*2\.1", "LGPL-2.1-only"),
    (r"\bupl\b|universal permissive", "UPL-1.0"),
    (r"\bunicode|\bicu\b", "Unicode-3.0"),
    (r"\bbsd\b|go license", "BSD-3-Clause"),
    (r"public domain|cc0", "CC0-1.0"),
]


def spdx(words):
    """The name of a licence, or None."""
    words = " ".join((words or "").split()).lower()
    for pattern, identifier in NAMES:
        if words and re.search(pattern, words):
            return identifier
    return None


# By what only their texts say, the more particular first.
TEXTS = [
    (r"apache license,? version 2\.0", "Apache-2.0"),
    (r"mozilla public license,? version 2\.0", "MPL-2.0"),
    (r"redistribution and use in source and binary forms.*neither the name", "BSD-3-Clause"),
    (r"redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"permission to use, copy, modify, and(/or)? distribute", "ISC"),
    (r"permission is hereby granted, free of charge", "MIT"),
]


def of_text(text):
    """The licences whose texts stand there: all of them hold. None, if there is none that is known."""
    words = " ".join(text.split()).lower()
    found = []
    for pattern, identifier in TEXTS:
        # BSD-2-Clause is BSD-3-Clause without its third.
        if re.search(pattern, words) and not (identifier == "BSD-2-Clause" and "BSD-3-Clause" in found):
            found.append(identifier)
    return " AND ".join(found) or None
