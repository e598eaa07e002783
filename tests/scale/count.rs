//! Counting what the node allocates: a global allocator that passes everything on to the system's
//! and counts while this thread is inside [`inside`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What was counted, and what the counted code gave.
#[derive(Debug)]
pub struct Spent<T> {
    pub allocations: u64,
    pub result: T,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn note(allocations: u64, bytes: i64) {
    // A thread that ends allocates and frees when its counters are gone already.
    let _ = INSIDE.try_with(|inside| {
        if inside.get() {
            ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
            LIVE.set(LIVE.get() + bytes);
        }
    });
}

fn size(layout: Layout) -> i64 {
    i64::try_from(layout.size()).unwrap_or(i64::MAX)
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing,
// as the counters are plain cells with constant initial values.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, size(layout));
        // SAFETY: the caller's promises are those that this call needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, -size(layout));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let new = i64::try_from(new_size).unwrap_or(i64::MAX);
        note(1, new - size(layout));
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, new_size) }
    }
}

/// Counts what `code` does.
pub fn inside<T>(code: impl FnOnce() -> T) -> T {
    let before = INSIDE.replace(true);
    let result = code();
    INSIDE.set(before);
    result
}

/// The allocations inside of `code`.
pub fn allocations<T>(code: impl FnOnce() -> T) -> Spent<T> {
    let before = ALLOCATIONS.get();
    let result = code();
    Spent { allocations: ALLOCATIONS.get() - before, result }
}

/// Bytes that were allocated inside and not freed, on this thread.
pub fn live_bytes() -> u64 {
    u64::try_from(LIVE.get()).unwrap_or(0)
}

#[test]
fn only_what_is_inside_is_counted() {
    let (kept, spent) = {
        let outside = vec![1u8; 100];
        let spent = allocations(|| inside(|| vec![0u8; 1_000]));
        (outside, spent)
    };
    assert_eq!(spent.allocations, 1);
    assert_eq!(live_bytes(), 1_000);
    inside(|| drop(spent.result));
    drop(kept);
    assert_eq!(live_bytes(), 0);
}
