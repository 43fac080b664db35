//! The floating-point mode in which all arithmetic here is defined: rounding to nearest, and subnormal numbers kept.
//!
//! A thread may have come with another one: `torch.set_flush_denormal`, C's `fesetround` and libraries compiled with fast math
//! change it, and new threads inherit it. The same operations then have other results.

/// Does work in the default mode, and then restores the mode that the thread had.
#[inline]
pub fn in_default_mode<T>(work: impl FnOnce() -> T) -> T {
    let _restored_at_the_end = Restore::set_default();
    call(work)
}

/// A call that stays one: no arithmetic of the work moves to before or after the change of mode.
#[inline(never)]
fn call<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Restores a thread's mode when it is dropped.
struct Restore(Option<control::Word>);

impl Restore {
    fn set_default() -> Self {
        let own = control::read();
        if own & control::MODE == control::DEFAULT {
            return Self(None);
        }
        control::write(control::DEFAULT);
        Self(Some(own))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            control::write(own);
        }
    }
}

/// The register MXCSR.
#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    pub type Word = u32;
    /// All but the flags of exceptions that have occurred.
    pub const MODE: Word = !0x3f;
    /// No exception traps.
    pub const DEFAULT: Word = 0x1f80;

    pub fn read() -> Word {
        let mut word: Word = 0;
        // SAFETY: stores the register to `word`. Every x86_64 processor has it.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word
    }

    pub fn write(word: Word) {
        // SAFETY: `word` is the default one or was read from the register, so no reserved bit is set.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags, readonly)) };
    }
}

/// The register FPCR.
#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    pub type Word = u64;
    pub const MODE: Word = !0;
    /// No exception traps.
    pub const DEFAULT: Word = 0;

    pub fn read() -> Word {
        let word: Word;
        // SAFETY: reads a register that every aarch64 processor has.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nostack, preserves_flags)) };
        word
    }

    pub fn write(word: Word) {
        // SAFETY: `word` is the default one or was read from the register, so no reserved bit is set.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

/// Elsewhere the mode is taken to be the default one.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub type Word = u32;
    pub const MODE: Word = 0;
    pub const DEFAULT: Word = 0;

    pub fn read() -> Word {
        DEFAULT
    }

    pub fn write(_: Word) {}
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use std::{hint::black_box, panic};

    use super::*;

    /// Flush to zero, subnormals are zero, and the three directed roundings.
    const MODES: [u32; 5] = [0x8000, 0x0040, 0x2000, 0x4000, 0x6000];

    fn in_mode<T>(mode: u32, work: impl FnOnce() -> T) -> T {
        control::write(control::DEFAULT | mode);
        let result = call(work);
        let after = control::read() & control::MODE;
        control::write(control::DEFAULT);
        assert_eq!(after, control::DEFAULT | mode, "the thread's own mode is restored");
        result
    }

    /// Of numbers whose sum and product depend on the mode, up, down and near zero.
    fn arithmetic() -> [u32; 4] {
        let (small, third) = (black_box(f32::from_bits(3)), black_box(1.0_f32) / black_box(3.0));
        [small + small, black_box(f32::MIN_POSITIVE) * third, third, black_box(-1.0) / black_box(3.0)].map(f32::to_bits)
    }

    #[test]
    fn the_default_mode_is_set_and_the_own_one_restored() {
        let expected = arithmetic();
        for mode in MODES {
            assert_ne!(in_mode(mode, arithmetic), expected, "{mode:#x} makes a difference");
            assert_eq!(in_mode(mode, || in_default_mode(arithmetic)), expected, "{mode:#x}");
            in_mode(mode, || panic::catch_unwind(|| in_default_mode(|| panic!("on purpose"))).unwrap_err());
        }
    }
}
