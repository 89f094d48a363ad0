//! The maps beside a table of keyed state, as accumulators use them.

use millrace_core::Result;
use millrace_expr::aggregate::Maps;
use millrace_expr::aggregate::maps::Visit;
use millrace_state::keyed::MapsOf;

pub struct StateMaps<'a>(pub MapsOf<'a>);

impl Maps for StateMaps<'_> {
    fn prefetch(&mut self, prefix: &[u8], wanted: &mut dyn Iterator<Item = (u32, &[u8])>) -> Result<()> {
        self.0.prefetch(prefix, wanted)
    }

    fn get(&mut self, slot: u32, entry: &[u8]) -> Result<Option<&[u8]>> {
        self.0.get(slot, entry)
    }

    fn put(&mut self, slot: u32, entry: &[u8], value: &[u8]) {
        self.0.put(slot, entry, value);
    }

    fn remove(&mut self, slot: u32, entry: &[u8]) {
        self.0.remove(slot, entry);
    }

    fn first(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.first(slot, prefix)
    }

    fn last(&mut self, slot: u32, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.last(slot, prefix)
    }

    fn each(&mut self, slot: u32, prefix: &[u8], visit: Visit<'_>) -> Result<()> {
        self.0.each(slot, prefix, visit)
    }

    fn clear(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        self.0.clear(slot, prefix)
    }

    fn expires(&self) -> bool {
        self.0.expires()
    }

    fn touch(&mut self, slot: u32, prefix: &[u8]) -> Result<()> {
        self.0.touch(slot, prefix)
    }
}
