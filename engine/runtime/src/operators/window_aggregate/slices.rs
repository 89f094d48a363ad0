//! What is kept of each slice of time and key.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use millrace_core::memory::widen;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, key_group};
use millrace_dataflow::WindowAggregate as Plan;
use millrace_expr::aggregate::Entries;
use millrace_state::keyed::{KeyedBackend, Table};

use super::super::BATCH;
use super::super::groups::{State, with_maps};
use crate::windows::{PREFIX, Slice};

pub(super) struct Slices {
    pub table: Table,
    pub state: State,
    /// The slices that hold rows. Slots of theirs that are in memory, and some that no longer are.
    pub held: BTreeMap<Slice, Vec<u32>>,
    /// How many slots that is, about.
    listed: usize,
    of_slot: Vec<Slice>,
    /// A subtask's key groups, to look for what is not in memory.
    pub groups: std::ops::Range<u16>,
}

/// Keys of a slice and what each has.
pub(super) struct Part {
    pub keys: Rows,
    pub states: Vec<ArrayRef>,
    /// Where maps are kept.
    pub entries: Vec<Entries>,
}

/// Lists shorter than that together are not gone through.
const LISTED: usize = 4096;

/// A key's hash within the table: each slice has its own entry of it.
fn hash_in(slice: Slice, hash: u64) -> u64 {
    hash ^ (slice.end as u64)
        .rotate_left(32)
        .wrapping_add(slice.start as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Slices {
    pub fn open(plan: &Plan, backend: &KeyedBackend) -> Result<Self> {
        let state = State::new(&plan.calls, plan.retracts)?;
        // Each slot may be listed twice, in a list that is half full.
        let bytes = state.slot_bytes() + size_of::<Slice>() + 4 * size_of::<u32>();
        let table = Table::open(&backend.store, "slices", bytes, backend.cache_bytes)?;
        let mut slices = Slices {
            table: match state.calls.uses_maps() {
                false => table,
                true => table.with_maps("slices-maps", Vec::new())?,
            },
            state,
            held: BTreeMap::new(),
            listed: 0,
            of_slot: Vec::new(),
            groups: backend.groups(),
        };
        slices.find_held()?;
        Ok(slices)
    }

    /// Looks for the slices that a restored store holds.
    fn find_held(&mut self) -> Result<()> {
        if self.table.is_complete() {
            return Ok(());
        }
        for group in self.groups.clone() {
            let mut from = Vec::new();
            while let Some(key) = self.table.stored_key(group, &from)? {
                let slice = Slice::of_prefix(&key).ok_or_else(damaged)?;
                self.held.entry(slice).or_default();
                // Behind all keys of the slice: no column's bytes begin so.
                from = key[..PREFIX].to_vec();
                from.push(0xff);
            }
        }
        Ok(())
    }

    /// Brings keys of slices into memory: the slot of each row. `hashes` are the keys' own.
    pub fn resolve(&mut self, slices: &[Slice], keys: &Rows, hashes: &[u64], most: u16) -> Result<Vec<u32>> {
        self.table.make_room(keys.len(), &mut self.state)?;
        let mut full = Rows::default();
        full.data.reserve(keys.data.len() + PREFIX * keys.len());
        full.ends.reserve(keys.len());
        let mut hashes_in = Vec::with_capacity(keys.len());
        let mut groups = Vec::with_capacity(keys.len());
        for ((slice, key), hash) in slices.iter().zip(keys.iter()).zip(hashes) {
            full.data.extend_from_slice(&slice.prefix());
            full.push(key);
            hashes_in.push(hash_in(*slice, *hash));
            groups.push(key_group::of_hash(*hash, most));
        }
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(&full, &hashes_in, &groups, &mut slots)?;
        let width = self.table.width();
        self.state.resize(width);
        widen(&mut self.of_slot, width, Slice::default());
        self.state.reset(&resolved.fresh);
        self.state.load(&resolved.loaded, &resolved.values)?;
        if !resolved.fresh.is_empty() || !resolved.loaded.is_empty() {
            for slot in resolved.fresh.iter().chain(&resolved.loaded) {
                self.of_slot[*slot as usize] = Slice::NONE;
            }
            for (slice, slot) in slices.iter().zip(&slots) {
                let of_slot = &mut self.of_slot[*slot as usize];
                if *of_slot == Slice::NONE {
                    *of_slot = *slice;
                    self.held.entry(*slice).or_default().push(*slot);
                    self.listed += 1;
                }
            }
            self.prune();
        }
        Ok(slots)
    }

    /// Nothing is held of a slice any more.
    pub fn forget(&mut self, slice: Slice) {
        let listed = self.held.remove(&slice).map_or(0, |slots| slots.len());
        self.listed = self.listed.saturating_sub(listed);
    }

    /// Slots of a slice are over.
    pub fn release(&mut self, slots: &[u32]) -> Result<()> {
        self.table.release(slots, &mut self.state)
    }

    /// Takes slots off the lists that are no longer theirs, where most may be so: with more keys than fit into
    /// memory each that comes in is listed, over and over until the window is over.
    fn prune(&mut self) {
        if self.listed <= LISTED.max(2 * self.table.width()) {
            return;
        }
        self.listed = 0;
        let Slices {
            held, table, of_slot, ..
        } = self;
        for (slice, slots) in held {
            slots.retain(|slot| table.is_live(*slot) && of_slot[*slot as usize] == *slice);
            slots.sort_unstable();
            slots.dedup();
            slots.shrink_to_fit();
            self.listed += slots.len();
        }
    }

    /// Slots in memory of a slice.
    pub fn live(&mut self, slice: Slice) -> Vec<u32> {
        let Some(listed) = self.held.get(&slice) else {
            return Vec::new();
        };
        let is_of = |slot: &u32| self.table.is_live(*slot) && self.of_slot[*slot as usize] == slice;
        let mut slots: Vec<u32> = listed.iter().copied().filter(is_of).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Keys and states of a slice in a key group that are in the store only, until `row` has enough.
    pub fn stored(
        &mut self,
        slice: Slice,
        group: u16,
        mut row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let start = slice.prefix();
        let hash = |key: &[u8]| hash_in(slice, key_group::hash(&key[PREFIX..]));
        self.table
            .scan_stored(group, &start, hash, |key, value| row(&key[PREFIX..], value))
    }

    /// What slots of a slice have.
    pub fn part(&mut self, slots: &[u32]) -> Result<Part> {
        let mut keys = Rows::default();
        slots
            .iter()
            .for_each(|slot| keys.push(&self.table.key(*slot)[PREFIX..]));
        let states = self.state.columns(slots)?;
        let Slices { table, state, .. } = self;
        let entries = with_maps(table, state, |state, maps| state.entries(slots, maps))?;
        Ok(Part {
            keys,
            states,
            entries,
        })
    }

    /// What keys of a slice in a key group have that are in the store only.
    pub fn stored_part(&mut self, slice: Slice, group: u16) -> Result<Part> {
        let (mut keys, mut values) = (Rows::default(), Rows::default());
        self.stored(slice, group, |key, value| {
            keys.push(key);
            values.push(value);
            true
        })?;
        let mut entries = Vec::new();
        if self.state.calls.uses_maps() {
            for key in keys.iter() {
                let place = [&slice.prefix()[..], key].concat();
                let mut of_key = Vec::new();
                self.table.stored_map(group, &place, |entry, value| {
                    of_key.push((entry.into(), value.into()));
                })?;
                entries.push(Entries::new(of_key));
            }
        }
        let states = self.state.decode(&values)?;
        Ok(Part {
            keys,
            states,
            entries,
        })
    }

    /// Slots in memory of slices, ascending by their key group: (group, slice, slot).
    pub fn by_group(&mut self, slices: &[Slice], most: u16) -> Vec<(u16, u32, u32)> {
        let mut held = Vec::new();
        for (number, slice) in slices.iter().enumerate() {
            for slot in self.live(*slice) {
                let hash = key_group::hash(&self.table.key(slot)[PREFIX..]);
                held.push((key_group::of_hash(hash, most), number as u32, slot));
            }
        }
        held.sort_unstable();
        held
    }

    /// Brings what of a slice is in the store only into memory, some at a time; says whether there was
    /// some.
    pub fn load_some(&mut self, slice: Slice, most: u16) -> Result<Vec<u32>> {
        if self.table.is_complete() {
            return Ok(Vec::new());
        }
        for group in self.groups.clone() {
            let mut keys = Rows::default();
            self.stored(slice, group, |key, _| {
                keys.push(key);
                keys.len() < BATCH
            })?;
            if !keys.is_empty() {
                let hashes: Vec<u64> = keys.iter().map(key_group::hash).collect();
                return self.resolve(&vec![slice; keys.len()], &keys, &hashes, most);
            }
        }
        Ok(Vec::new())
    }
}

pub(super) fn damaged() -> Error {
    Error::data_loss("the stored state of a window has another form")
}

#[cfg(test)]
mod tests {
    use millrace_dataflow::{Window, Windowing};
    use millrace_expr::DataType;
    use millrace_expr::TypeKind;
    use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Parameters};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::operators::harness::state;

    fn plan() -> Plan {
        let count = AggregateCall {
            function: AggregateFunction::Count,
            arg: None,
            arg_type: None,
            distinct: false,
            ignores_retractions: false,
            parameters: Parameters::default(),
            filter: None,
            data_type: DataType::not_null(TypeKind::BigInt),
        };
        Plan {
            windowing: Windowing::Laid {
                window: Window::Tumble { size: 100, offset: 0 },
                time: Some(1),
            },
            keys: vec![0],
            calls: vec![count],
            retracts: false,
            in_parts: false,
        }
    }

    #[test]
    fn slots_are_listed_as_often_as_there_are_some_however_often_keys_come_back() {
        let mut random = StdRng::seed_from_u64(5);
        // Memory for some hundreds of the keys.
        let state = state(40_000);
        let mut slices = Slices::open(&plan(), &state.backend).unwrap();
        let mut listed = 0;
        for round in 0..400 {
            let (mut of_rows, mut keys, mut hashes) = (Vec::new(), Rows::default(), Vec::new());
            for _ in 0..random.random_range(1..300) {
                let start = 100 * random.random_range(0..3);
                of_rows.push(Slice {
                    start,
                    end: start + 100,
                });
                keys.push(&random.random_range(0..5_000u64).to_be_bytes());
                hashes.push(key_group::hash(keys.get(keys.len() - 1)));
            }
            let slots = slices.resolve(&of_rows, &keys, &hashes, 16).unwrap();
            // Those that are there are listed where they belong.
            for slice in &of_rows {
                let live = slices.live(*slice);
                let mut wanted: Vec<u32> = (of_rows.iter().zip(&slots))
                    .filter(|(of, _)| *of == slice)
                    .map(|(_, slot)| *slot)
                    .collect();
                wanted.retain(|slot| live.binary_search(slot).is_err());
                assert_eq!(wanted, Vec::<u32>::new(), "round {round}");
            }
            slices.table.changed(slots);
            listed = slices.held.values().map(Vec::len).sum();
            assert!(
                listed <= LISTED.max(2 * slices.table.width()),
                "{listed} are listed"
            );
            // Those of a slice that is over go.
            if random.random_bool(0.02) {
                let slice = of_rows[0];
                let live = slices.live(slice);
                slices.release(&live).unwrap();
            }
        }
        assert!(listed > 0);
    }
}
