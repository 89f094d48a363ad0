//! What a checker has found, and how a person is told.

use std::collections::BTreeMap;
use std::fmt;

/// Nothing in it: the output is what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings(BTreeMap<Kind, Vec<String>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What should be there and is not.
    Lost,
    /// The second and each further time that something is there.
    Repeated,
    /// What should not be there.
    Invented,
    /// What comes after something that it should be before.
    Swapped,
    /// A key that is in two partitions has no order.
    Scattered,
    /// A changelog that is not the one that its rows come to.
    Broken,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Repeated => "repeated",
            Kind::Invented => "invented",
            Kind::Swapped => "out of order",
            Kind::Scattered => "in two partitions",
            Kind::Broken => "broken changelogs",
        }
    }
}

/// Of each kind.
const SHOWN: usize = 20;

impl Findings {
    pub fn add(&mut self, kind: Kind, what: String) {
        self.0.entry(kind).or_default().push(what);
    }

    pub fn of(&self, kind: Kind) -> &[String] {
        self.0.get(&kind).map_or(&[], Vec::as_slice)
    }

    pub fn is_clean(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, found) in &self.0 {
            writeln!(f, "{} {}:", found.len(), kind.name())?;
            for what in found.iter().take(SHOWN) {
                writeln!(f, "  {what}")?;
            }
            if found.len() > SHOWN {
                writeln!(f, "  and {} more", found.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_of_each_kind_are_shown() {
        let mut findings = Findings::default();
        assert!(findings.is_clean());
        findings.add(Kind::Broken, "account 3".to_owned());
        (0..23).for_each(|n| findings.add(Kind::Lost, format!("id {n}")));
        assert!(!findings.is_clean());
        let shown = findings.to_string();
        assert!(shown.starts_with("23 lost:\n  id 0\n"), "{shown}");
        assert!(
            shown.ends_with("  id 19\n  and 3 more\n1 broken changelogs:\n  account 3\n"),
            "{shown}"
        );
    }
}
