//! Which topics a table stands for: a list, or a Java regular expression over whole names.

use millrace_core::{Error, Result};
use regex::Regex;

#[derive(Debug, Clone)]
pub enum Topics {
    List(Vec<String>),
    Pattern(Regex),
}

/// Topics of the brokers' own, which a pattern never takes.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

impl Topics {
    /// A pattern as `java.util.regex` reads it, matched against whole names.
    pub fn pattern(text: &str) -> Result<Self> {
        if let Some(what) = java_only(text) {
            return Err(Error::unsupported(format!("{what} in a topic pattern")));
        }
        let regex = Regex::new(&format!("^(?:{text})$"))
            .map_err(|_| Error::user("the topic pattern is no regular expression"))?;
        Ok(Topics::Pattern(regex))
    }

    pub fn contain(&self, topic: &str) -> bool {
        match self {
            Topics::List(list) => list.iter().any(|t| t == topic),
            Topics::Pattern(regex) => !INTERNAL.contains(&topic) && regex.is_match(topic),
        }
    }

    /// For messages.
    pub fn describe(&self) -> String {
        match self {
            Topics::List(list) => list.join(";"),
            Topics::Pattern(regex) => format!("pattern {}", regex.as_str()),
        }
    }
}

/// Names the first construct of Java's regular expressions that would mean something else here.
fn java_only(pattern: &str) -> Option<&'static str> {
    let bytes = pattern.as_bytes();
    let mut in_class = 0usize;
    let mut i = 0;
    // Whether the previous token was a quantifier: a '+' after it makes it possessive.
    let mut quantified = false;
    while i < bytes.len() {
        let was_quantified = std::mem::take(&mut quantified);
        match bytes[i] {
            b'\\' => {
                match bytes.get(i + 1) {
                    Some(b'1'..=b'9' | b'k') => return Some("a back-reference"),
                    Some(b'Q' | b'E') => return Some("a quotation by \\Q and \\E"),
                    Some(b'G' | b'Z' | b'R' | b'X' | b'h' | b'H' | b'V' | b'c' | b'e' | b'0' | b'N') => {
                        return Some("an escape of Java's own");
                    }
                    _ => {}
                }
                i += 2;
                continue;
            }
            b'[' => in_class += 1,
            b']' => in_class = in_class.saturating_sub(1),
            b'(' if in_class == 0 => {
                let rest = &pattern[i..];
                let named: &[(&str, &str)] = &[
                    ("(?=", "look-ahead"),
                    ("(?!", "look-ahead"),
                    ("(?<=", "look-behind"),
                    ("(?<!", "look-behind"),
                    ("(?>", "an atomic group"),
                ];
                if let Some((_, what)) = named.iter().find(|(start, _)| rest.starts_with(start)) {
                    return Some(what);
                }
            }
            b'+' if in_class == 0 && was_quantified => return Some("a possessive quantifier"),
            b'*' | b'+' | b'?' | b'}' if in_class == 0 => quantified = true,
            _ => {}
        }
        i += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_whole_names_and_no_internal_topics() {
        let topics = Topics::pattern("orders-.*|__.*").unwrap();
        assert!(topics.contain("orders-1"));
        assert!(!topics.contain("my-orders-1"));
        assert!(!topics.contain("__consumer_offsets"));
        assert!(Topics::pattern("a|b").unwrap().contain("b"));
        assert!(!Topics::pattern("a|b").unwrap().contain("ab"));
    }

    #[test]
    fn what_only_java_has_is_refused_by_name() {
        for (pattern, name) in [
            ("(?!x).*", "look-ahead"),
            ("a(?<=b)", "look-behind"),
            ("(a)\\1", "back-reference"),
            ("a*+", "possessive"),
            ("(?>a)", "atomic"),
            ("\\Qa.b\\E", "quotation"),
        ] {
            let e = Topics::pattern(pattern).unwrap_err().to_string();
            assert!(e.contains(name), "{pattern}: {e}");
        }
        for pattern in ["[*+]+", "a\\*+", "(?<name>a)", "\\w+?", "[a-c&&[b]]"] {
            Topics::pattern(pattern).unwrap();
        }
    }
}
