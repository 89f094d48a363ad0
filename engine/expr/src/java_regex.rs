//! Regular expressions in options, as `java.util.regex` has them.

use millrace_core::Result;
use regex::Regex;

use crate::functions::regexp;

/// A pattern that a whole text must match, as `Pattern.matches` has it. What cannot be expressed here
/// (look-around, back references, possessive quantifiers) is refused by name.
pub fn whole(pattern: &str) -> Result<Regex> {
    regexp::whole(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text() {
        let pattern = whole("a|bc.*").unwrap();
        assert!(pattern.is_match("a") && pattern.is_match("bcd"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("xbc"));
        assert!(whole("(?i)A|\\Qb.c\\E").unwrap().is_match("b.c"));
        assert!(whole("(").is_err());
    }

    #[test]
    fn what_cannot_be_expressed_is_refused_by_name() {
        for (pattern, name) in [
            ("(?!x).*", "look"),
            ("a(?<=b)", "look"),
            ("(a)\\1", "back reference"),
            ("a*+", "possessive"),
            ("(?>a)", "atomic"),
        ] {
            let e = whole(pattern).unwrap_err().to_string();
            assert!(e.contains(name), "{pattern}: {e}");
        }
        for pattern in ["[*+]+", "a\\*+", "(?<name>a)", "\\w+?"] {
            whole(pattern).unwrap();
        }
    }
}
