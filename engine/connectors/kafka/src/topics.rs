//! Which topics a table stands for: a list, or a Java regular expression over whole names.

use millrace_core::Result;
use millrace_expr::java_regex;
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
        Ok(Topics::Pattern(java_regex::whole(text)?))
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
        let e = Topics::pattern("(?!x).*").unwrap_err().to_string();
        assert!(e.contains("look") && e.contains("(?!x).*"), "{e}");
    }
}
