"""SPDX names of licences, from the words that POMs, manifests and licence files have for them."""

import re

# The first that is found.
NAMES = [
    (r"apache.{0,40}2|asl.{0,5}2|apache.org/licenses/license-2", "Apache-2.0"),
    (r"edl|eclipse distribution|bsd.{0,20}3|new bsd|revised bsd|modified bsd|3-clause", "BSD-3-Clause"),
    (r"bsd.{0,20}2|2-clause", "BSD-2-Clause"),
    (r"\bmit\b|jquery|bouncy ?castle", "MIT"),
    (r"w3c", "W3C"),
    (r"mpl.*1\.1", "MPL-1.1"),
    (r"mpl.*2|mozilla.*2", "MPL-2.0"),
    (r"eclipse public.*2|epl.*2", "EPL-2.0"),
    (r"eclipse public|epl", "EPL-1.0"),
    (r"cddl.*1\.1", "CDDL-1.1"),
    (r"cddl", "CDDL-1.0"),
    (r"gpl2 w/ cpe|general public license.*version 2.*classpath|gpl-2.0-with-classpath|gpl.*classpath", "GPL-2.0-only WITH Classpath-exception-2.0"),
    (r"lgpl.*2\.1|lesser.*2\.1", "LGPL-2.1-only"),
    (r"upl|universal permissive", "UPL-1.0"),
    (r"unicode|icu", "Unicode-3.0"),
    (r"bsd|go license", "BSD-3-Clause"),
    (r"public domain|cc0", "CC0-1.0"),
]


def spdx(words):
    """The name of a licence, or None."""
    words = " ".join((words or "").split()).lower()
    for pattern, identifier in NAMES:
        if words and re.search(pattern, words):
            return identifier
    return None
