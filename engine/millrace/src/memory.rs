//! The allocator: jemalloc, for Rust and C++ alike. Threads that allocate side by side do not wait for each
//! other in it, and it gives back what is freed: memory that only the allocator has is within no bound.

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
