//! Gives memory that was freed back to the system.
//!
//! The C library keeps what programs free for their next wish; after a burst that is most of a program's memory, for good. No
//! safe interface to its `malloc_trim` is published, so it is here, in a crate of its own, where nothing else is.

/// Asks the C library for every free page of the heap. True: some went back. Takes some milliseconds for each hundred megabytes, in
/// which other threads wait when they allocate; for quiet moments. Does nothing without the GNU C library.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[must_use]
pub fn give_back() -> bool {
    // SAFETY: it takes a number, has no conditions, and may be called from any thread (malloc_trim(3): "MT-Safe").
    #[expect(unsafe_code)]
    let some = unsafe { libc::malloc_trim(0) };
    some != 0
}

/// See there: other C libraries don't know of it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[must_use]
pub fn give_back() -> bool {
    false
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Bytes of this program that are in memory.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn what_was_freed_between_what_is_kept_goes_back() {
        const PIECE: usize = 16 << 10;
        let mut pieces: Vec<Option<Vec<u8>>> = (0..4000).map(|_| Some(vec![1; PIECE])).collect();
        let full = resident();
        for (at, piece) in pieces.iter_mut().enumerate() {
            // So that nothing is free at the end of the heap.
            if at % 100 != 99 {
                *piece = None;
            }
        }
        assert!(super::give_back());
        let after = resident();
        assert!(after + 3000 * PIECE < full, "{full} before, {after} after");
        assert_eq!(pieces.iter().flatten().count(), 40);
    }
}
