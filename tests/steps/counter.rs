//! Counts instructions: the processor is told to trap after each one, and a signal handler counts
//! the traps. The count does not depend on the machine's speed or load, and repeats to the digit
//! but for the addresses that the allocator happens to give.
//!
//! Each step costs microseconds, in a virtual machine more than ten: prepare outside of what is
//! counted, and count some ten thousand steps rather than a million.

use std::io::Write;
use std::sync::Once;

/// Says once that nothing could be counted.
fn say_not_run(why: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        println!("NOT RUN: steps: {why}");
        let Some(path) = std::env::var_os("NOT_RUN_FILE") else { return };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "steps: {why}"));
    });
}

/// Instructions that `code` takes on this thread, and what it gives; `None`, and a `NOT RUN` line,
/// where the processor is not told in this way.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub fn count<T>(code: impl FnOnce() -> T) -> Option<(u64, T)> {
    static WORKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let works = *WORKS.get_or_init(|| {
        trap::install();
        let sum = || (0..100u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        trap::steps_of(sum).0 >= 100
    });
    if !works {
        say_not_run("this system hands out no trap after each instruction");
        return None;
    }
    let (steps, result) = trap::steps_of(code);
    Some((steps.saturating_sub(trap::AROUND), result))
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub fn count<T>(_code: impl FnOnce() -> T) -> Option<(u64, T)> {
    say_not_run("instructions are counted on Linux on x86-64 only");
    None
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod trap {
    use nix::libc::{REG_EFL, c_int, c_void, siginfo_t, ucontext_t};
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
    use std::cell::Cell;
    use std::sync::Once;
    use std::sync::atomic::{Ordering, compiler_fence};

    /// The bit of the flags register that makes the processor trap after each instruction.
    const TRAP_FLAG: i64 = 0x100;
    /// About what counting itself takes, from the first trap to the last.
    pub const AROUND: u64 = 40;

    thread_local! {
        static COUNTING: Cell<bool> = const { Cell::new(false) };
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let handler = SigHandler::SigAction(on_trap);
            let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: the handler touches two plain cells of its own thread and the flags that it
            // was given, and calls nothing.
            unsafe { sigaction(Signal::SIGTRAP, &action) }.expect("a handler can be set");
        });
    }

    extern "C" fn on_trap(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
        STEPS.set(STEPS.get() + 1);
        // SAFETY: the kernel hands in the interrupted thread's context, which nobody else uses
        // until this returns.
        let flags = unsafe {
            let context = &mut *context.cast::<ucontext_t>();
            &mut context.uc_mcontext.gregs[REG_EFL as usize]
        };
        if COUNTING.get() {
            *flags |= TRAP_FLAG;
        } else {
            *flags &= !TRAP_FLAG;
        }
    }

    pub fn steps_of<T>(code: impl FnOnce() -> T) -> (u64, T) {
        STEPS.set(0);
        COUNTING.set(true);
        raise(Signal::SIGTRAP).expect("a signal to oneself");
        // The handler's view of these cells is not the compiler's to guess.
        compiler_fence(Ordering::SeqCst);
        let result = std::hint::black_box(code());
        compiler_fence(Ordering::SeqCst);
        COUNTING.set(false);
        (STEPS.get(), result)
    }
}

#[test]
fn twice_the_work_is_twice_the_steps() {
    let sum = |n: u64| (0..n).fold(0u64, |sum, x| std::hint::black_box(sum ^ x));
    let Some((once, _)) = count(|| sum(1_000)) else { return };
    let (twice, _) = count(|| sum(2_000)).expect("counted before");
    assert!(once > 2_000, "{once}");
    assert!(twice.abs_diff(2 * once) <= 10, "{once} and {twice}");
    assert_eq!(count(|| sum(1_000)).map(|(steps, _)| steps), Some(once), "it repeats");
    assert!(count(|| ()).is_some_and(|(steps, ())| steps < 30));
}
