//! Which instruction set to run on: found at run time, or forced through `ANCESTRAL_ISA`.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use super::{lanes::Lanes, portable::Portable};
use crate::error::Error;

/// A computation written once for every instruction set.
///
/// `run` must be `#[inline(always)]`, and so must everything it calls that touches vectors: only then is its body
/// compiled with the instructions that [`Isa::run`] turns on.
pub trait Kernel {
    /// What the computation returns.
    type Output;
    /// The computation.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Clone, Copy)]
pub enum Isa {
    /// Plain Rust.
    Portable(Portable),
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// The instruction set of this process: the one that `ANCESTRAL_ISA` names (`portable`, `avx2` or `avx512`), else
    /// the widest that the processor has. Read once.
    pub fn get() -> Result<Self, Error> {
        static ISA: OnceLock<Result<Isa, Error>> = OnceLock::new();
        ISA.get_or_init(|| match std::env::var("ANCESTRAL_ISA") {
            Ok(name) if !name.is_empty() => Self::named(&name),
            _ => Ok(Self::all().pop().expect("the portable path is always there")),
        })
        .clone()
    }

    /// The instruction sets that this processor has, the widest last.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Isa::Portable(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::detect().map(Isa::Avx2));
            all.extend(Avx512::detect().map(Isa::Avx512));
        }
        all
    }

    fn named(name: &str) -> Result<Self, Error> {
        Self::all().into_iter().find(|isa| isa.name() == name).ok_or_else(|| Error::Isa {
            wanted: name.to_owned(),
            available: Self::all().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The name that `ANCESTRAL_ISA` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
        }
    }

    /// Runs a kernel on this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Isa::Portable(lanes) => kernel.run(lanes),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(lanes) => {
                // SAFETY: the token proves that the processor has these features.
                unsafe { run_avx2(kernel, lanes) }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(lanes) => {
                // SAFETY: the token proves that the processor has these features.
                unsafe { run_avx512(kernel, lanes) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K, lanes: Avx2) -> K::Output {
    kernel.run(lanes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn run_avx512<K: Kernel>(kernel: K, lanes: Avx512) -> K::Output {
    kernel.run(lanes)
}
