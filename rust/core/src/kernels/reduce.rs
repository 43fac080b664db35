//! Reductions of many floats to one.

use super::{
    isa::{Isa, Kernel},
    lanes::{LANES, Lanes, Pack},
};

/// The largest of some numbers; −∞ of none.
pub fn largest(isa: Isa, values: &[f32]) -> f32 {
    isa.run(Largest(values))
}

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f32 {
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        let (fours, ones) = chunks.as_chunks::<4>();
        // Four that do not wait for each other.
        let mut largest = [l.splat(f32::NEG_INFINITY); 4];
        for four in fours {
            for (largest, chunk) in largest.iter_mut().zip(four) {
                *largest = l.max(l.read(chunk), *largest);
            }
        }
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let [mut all, others @ ..] = largest;
        for other in others.into_iter().chain(ones.iter().chain([&last]).map(|chunk| l.read(chunk))) {
            all = l.max(other, all);
        }
        let mut lanes = Pack::ZERO;
        l.store(&mut lanes, all);
        lanes.0.into_iter().fold(f32::NEG_INFINITY, |largest, value| if value > largest { value } else { largest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_wherever_it_stands() {
        for isa in Isa::all() {
            assert_eq!(largest(isa, &[]), f32::NEG_INFINITY);
            for len in [1, 2, 15, 16, 17, 63, 64, 65, 200] {
                for at in 0..len {
                    let values: Vec<_> = (0..len).map(|i| if i == at { -1.0 } else { -2.0 - i as f32 }).collect();
                    assert_eq!(largest(isa, &values), -1.0, "{len} {at} {}", isa.name());
                }
            }
        }
    }
}
