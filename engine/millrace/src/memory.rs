//! The allocator: jemalloc, for Rust and C++ alike. Threads that allocate side by side do not wait for each
//! other in it, and it gives back what is freed: memory that only the allocator has is within no bound.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use millrace_cluster::metrics::Allocated;

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Free pages go back to the machine within a second, by a thread of the allocator's own: the default of ten
/// holds what one peak took through the next. Batches and the blocks of large columns, from a mebibyte on, go back
/// at once.
#[cfg(not(target_env = "msvc"))]
#[unsafe(export_name = "malloc_conf")]
pub static OPTIONS: &[u8] =
    b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,oversize_threshold:1048576\0";

/// What the allocator has, by jemalloc's own counts of pages. Those need none of its statistics, which cost time.
#[cfg(not(target_env = "msvc"))]
pub fn allocated() -> Option<Allocated> {
    refresh()?;
    let page = number(c"arenas.page")?;
    // Of all arenas together: 4096 is jemalloc's number for them.
    let active = number(c"stats.arenas.4096.pactive")?;
    let free = number(c"stats.arenas.4096.pdirty")? + number(c"stats.arenas.4096.pmuzzy")?;
    Some(Allocated {
        used: (active * page) as u64,
        held: ((active + free) * page) as u64,
    })
}

#[cfg(target_env = "msvc")]
pub fn allocated() -> Option<Allocated> {
    None
}

#[cfg(not(target_env = "msvc"))]
unsafe extern "C" {
    /// jemalloc's one way to ask it something.
    fn mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_bytes: *mut usize,
        new: *mut c_void,
        new_bytes: usize,
    ) -> c_int;
}

/// Has it count anew.
#[cfg(not(target_env = "msvc"))]
fn refresh() -> Option<()> {
    let mut epoch: u64 = 1;
    // SAFETY: the name ends in zero, and the value has the size that is given.
    let code = unsafe {
        mallctl(
            c"epoch".as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            (&raw mut epoch).cast(),
            size_of::<u64>(),
        )
    };
    (code == 0).then_some(())
}

#[cfg(not(target_env = "msvc"))]
fn number(name: &CStr) -> Option<usize> {
    let mut value: usize = 0;
    let mut bytes = size_of::<usize>();
    // SAFETY: the name ends in zero, and the value has the size that is given.
    let code = unsafe {
        mallctl(
            name.as_ptr(),
            (&raw mut value).cast(),
            &raw mut bytes,
            ptr::null_mut(),
            0,
        )
    };
    (code == 0 && bytes == size_of::<usize>()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted() {
        let before = allocated().unwrap();
        let block = vec![1_u8; 64 << 20];
        let with = allocated().unwrap();
        assert!(with.used >= before.used + (60 << 20), "{before:?} {with:?}");
        assert!(with.held >= with.used);
        drop(block);
    }
}
