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
        largest_and_finite(l, self.0).0
    }
}

/// The largest of some numbers, and whether all are finite.
#[inline(always)]
pub fn largest_and_finite<L: Lanes>(l: L, values: &[f32]) -> (f32, bool) {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let (fours, ones) = chunks.as_chunks::<4>();
    // Four that do not wait for each other. x − x is 0 for finite x, else NaN.
    let (mut largest, mut zeros) = ([l.splat(f32::NEG_INFINITY); 4], [l.splat(0.0); 4]);
    for four in fours {
        for k in 0..4 {
            let x = l.read(&four[k]);
            largest[k] = l.max(x, largest[k]);
            zeros[k] = l.add(zeros[k], l.sub(x, x));
        }
    }
    let mut last = [rest.first().copied().unwrap_or(0.0); LANES];
    last[..rest.len()].copy_from_slice(rest);
    let last = if rest.is_empty() { None } else { Some(&last) };
    for x in ones.iter().chain(last) {
        let x = l.read(x);
        largest[0] = l.max(x, largest[0]);
        zeros[0] = l.add(zeros[0], l.sub(x, x));
    }
    for k in 1..4 {
        largest[0] = l.max(largest[k], largest[0]);
        zeros[0] = l.add(zeros[0], zeros[k]);
    }
    let mut lanes = Pack::ZERO;
    l.store(&mut lanes, largest[0]);
    let largest = lanes.0.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    (largest, l.sum(zeros[0]) == 0.0)
}

/// Rows from which on it pays to sum them side by side.
const SIDE_BY_SIDE: usize = 4;

/// The sum of each row of `packs` packs: its floats one after the other, in f64.
pub fn row_sums(isa: Isa, rows: &[Pack], packs: usize, out: &mut [f64]) {
    isa.run(RowSums { rows, packs, out });
}

struct RowSums<'a> {
    rows: &'a [Pack],
    packs: usize,
    out: &'a mut [f64],
}

impl Kernel for RowSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { rows, packs, out } = self;
        for (rows, out) in rows.chunks(LANES * packs).zip(out.chunks_mut(LANES)) {
            if out.len() < SIDE_BY_SIDE {
                for (row, out) in rows.chunks_exact(packs).zip(out) {
                    *out = row.iter().flat_map(|pack| pack.0).fold(0.0, |sum, value| sum + f64::from(value));
                }
                continue;
            }
            // A row a lane.
            let mut sums = l.splat_d(0.0);
            for pack in 0..packs {
                let mut columns = [l.splat(0.0); LANES];
                for (column, row) in columns.iter_mut().zip(rows.chunks_exact(packs)) {
                    *column = l.load(&row[pack]);
                }
                l.transpose(&mut columns);
                for column in columns {
                    sums = l.add_d(sums, column);
                }
            }
            out.copy_from_slice(&l.lanes_d(sums)[..out.len()]);
        }
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

    #[test]
    fn what_is_not_finite_is_seen_wherever_it_stands() {
        struct Finite<'a>(&'a [f32]);
        impl Kernel for Finite<'_> {
            type Output = bool;
            #[inline(always)]
            fn run<L: Lanes>(self, l: L) -> bool {
                largest_and_finite(l, self.0).1
            }
        }
        for isa in Isa::all() {
            for len in [1, 2, 15, 16, 17, 63, 64, 65, 200] {
                let mut values: Vec<_> = (0..len).map(|i| f32::MAX * (i as f32).sin()).collect();
                assert!(isa.run(Finite(&values)));
                for at in 0..len {
                    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                        let good = std::mem::replace(&mut values[at], bad);
                        assert!(!isa.run(Finite(&values)), "{len} {at} {bad} {}", isa.name());
                        values[at] = good;
                    }
                }
            }
        }
    }

    #[test]
    fn rows_are_summed_from_the_first_to_the_last_float() {
        for isa in Isa::all() {
            for packs in [1, 2, 16] {
                for n in [1, 3, 4, 16, 17, 40] {
                    let value = |i: usize| ((i * i % 1009) as f32).exp2().recip() + i as f32 * 1e-3;
                    let rows: Vec<_> =
                        (0..n * packs).map(|p| Pack(std::array::from_fn(|lane| value(p * LANES + lane)))).collect();
                    let mut sums = vec![f64::NAN; n];
                    row_sums(isa, &rows, packs, &mut sums);
                    for (row, sum) in rows.chunks_exact(packs).zip(sums) {
                        let mut expected = 0.0;
                        row.iter().flat_map(|pack| pack.0).for_each(|value| expected += f64::from(value));
                        assert_eq!(sum, expected, "{n} {packs} {}", isa.name());
                    }
                }
            }
        }
    }
}
