//! What GROUP BY names: keys, and with GROUPING SETS, ROLLUP and CUBE which of them count together.

use std::collections::BTreeSet;

use millrace_expr::Expr;
use sqlparser::ast::{Expr as Ast, Spanned};

use super::expr;
use super::scope::Scope;
use crate::error::{Result, SqlError};

/// Sets that a query may have.
const MAX_SETS: usize = 4096;
/// Keys of grouping sets: their places are bits of a BIGINT.
const MAX_KEYS: usize = 63;

/// The keys of GROUP BY, and the sets of them by which rows are grouped.
pub(super) struct Keys {
    /// Over FROM's columns; the same thing twice is once.
    pub keys: Vec<Expr>,
    /// Places in `keys`, in the order in which they are written; one of all keys is a plain GROUP BY.
    pub sets: Vec<BTreeSet<usize>>,
}

impl Keys {
    /// All rows are one group.
    pub fn none() -> Self {
        Keys {
            keys: Vec::new(),
            sets: vec![BTreeSet::new()],
        }
    }

    pub fn bind(exprs: &[Ast], scope: &Scope) -> Result<Self> {
        let mut keys = Keys::none();
        for ast in exprs {
            let sets = keys.element(ast, scope)?;
            // Each set of one element with each of another.
            let mut product = Vec::new();
            for left in &keys.sets {
                product.extend(
                    sets.iter()
                        .map(|right| left.union(right).copied().collect::<BTreeSet<_>>()),
                );
            }
            if product.len() > MAX_SETS {
                return Err(
                    SqlError::new("GROUP BY has too many grouping sets", ast.span()).with_hint(format!(
                        "these are {}, {MAX_SETS} are the most: leave some out by GROUPING SETS",
                        product.len()
                    )),
                );
            }
            keys.sets = product;
        }
        match exprs.first() {
            Some(first) if keys.is_expanded() && keys.keys.len() > MAX_KEYS => Err(SqlError::new(
                format!("grouping sets are of {MAX_KEYS} keys at most"),
                first.span(),
            )),
            _ => Ok(keys),
        }
    }

    /// Whether rows are grouped in more ways than one.
    pub fn is_expanded(&self) -> bool {
        self.sets.len() > 1
    }

    /// What tells a set's rows from those of others: the bits of the keys that it lacks, the first key's
    /// the highest, as GROUPING_ID has them; and above them how often the set has come before.
    pub fn id(&self, set: usize) -> i64 {
        let repeated = self.sets[..set]
            .iter()
            .filter(|known| **known == self.sets[set])
            .count();
        let all: Vec<usize> = (0..self.keys.len()).collect();
        self.grouping(set, &all) | ((repeated as i64) << self.keys.len().min(MAX_KEYS))
    }

    /// The bits of keys that a set lacks.
    pub fn grouping(&self, set: usize, keys: &[usize]) -> i64 {
        keys.iter().fold(0, |bits, key| {
            bits << 1 | i64::from(!self.sets[set].contains(key))
        })
    }

    /// The sets of one element of GROUP BY.
    fn element(&mut self, ast: &Ast, scope: &Scope) -> Result<Vec<BTreeSet<usize>>> {
        Ok(match ast {
            Ast::GroupingSets(sets) => self.parts(sets, scope)?,
            Ast::Rollup(parts) => {
                let parts = self.parts(parts, scope)?;
                // From all of them down to none.
                (0..=parts.len())
                    .rev()
                    .map(|length| parts[..length].iter().flatten().copied().collect())
                    .collect()
            }
            Ast::Cube(parts) => {
                let parts = self.parts(parts, scope)?;
                if 1usize
                    .checked_shl(parts.len() as u32)
                    .is_none_or(|sets| sets > MAX_SETS)
                {
                    return Err(SqlError::new("CUBE has too many grouping sets", ast.span())
                        .with_hint("name those that are needed by GROUPING SETS"));
                }
                let all = (0..1usize << parts.len()).rev();
                let pick = |bits: usize| {
                    let chosen = parts.iter().rev().enumerate();
                    let chosen = chosen.filter(|(bit, _)| bits >> bit & 1 == 1);
                    chosen.flat_map(|(_, part)| part.iter().copied()).collect()
                };
                all.map(pick).collect()
            }
            Ast::Tuple(parts) => vec![self.set(parts, scope)?],
            _ => vec![self.set(std::slice::from_ref(ast), scope)?],
        })
    }

    fn parts(&mut self, parts: &[Vec<Ast>], scope: &Scope) -> Result<Vec<BTreeSet<usize>>> {
        parts.iter().map(|part| self.set(part, scope)).collect()
    }

    fn set(&mut self, exprs: &[Ast], scope: &Scope) -> Result<BTreeSet<usize>> {
        let mut set = BTreeSet::new();
        for ast in exprs {
            let key = expr::bind(ast, scope)?;
            let known = self.keys.iter().position(|known| *known == key);
            set.insert(known.unwrap_or_else(|| {
                self.keys.push(key);
                self.keys.len() - 1
            }));
        }
        Ok(set)
    }
}
