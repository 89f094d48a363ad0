//! The keys of one object in the order of their first appearance, repeated ones found again.

use std::collections::HashMap;

/// Up to so many keys are compared one by one; a hostile record with more costs no more than that.
const FEW: usize = 16;

#[derive(Default)]
pub struct Keys {
    names: Vec<Vec<u8>>,
    index: HashMap<Vec<u8>, usize>,
}

impl Keys {
    /// The key's place if it was there before; else it is added behind the others.
    pub fn find_or_add(&mut self, name: Vec<u8>) -> Option<usize> {
        if self.names.len() < FEW {
            if let Some(at) = self.names.iter().position(|n| *n == name) {
                return Some(at);
            }
        } else {
            if self.index.is_empty() {
                self.index = self
                    .names
                    .iter()
                    .cloned()
                    .enumerate()
                    .map(|(i, n)| (n, i))
                    .collect();
            }
            if let Some(at) = self.index.get(&name) {
                return Some(*at);
            }
            self.index.insert(name.clone(), self.names.len());
        }
        self.names.push(name);
        None
    }

    pub fn last(&self) -> &[u8] {
        self.names.last().map_or(&[], Vec::as_slice)
    }

    pub fn names(&self) -> &[Vec<u8>] {
        &self.names
    }
}
