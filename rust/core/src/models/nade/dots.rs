//! The products V h: up to eight rows of V at once, so that each unit is read, or computed, once for all of them.
//!
//! A row is one chain of fused multiply-adds over the packs, and then [`Lanes::sum8`]: neither the rows beside it nor whether
//! h was read or computed changes a bit.

use super::{
    hidden::{Units, unit},
    strips::{Strip, TILE},
};
use crate::kernels::{Lanes, Pack};

/// V_i · h for `rows` rows of a tile from `first` on, in the lanes from 0 on. With `factors` given, h is that after a one.
#[inline(always)]
pub fn dots<L: Lanes>(
    l: L,
    tile: &[[Pack; TILE]],
    (first, rows): (usize, usize),
    units: &mut Units<'_>,
    factors: Option<&[Pack]>,
) -> L::F {
    match rows {
        1 => dots_of::<L, 1>(l, tile, first, units, factors),
        2 => dots_of::<L, 2>(l, tile, first, units, factors),
        3 => dots_of::<L, 3>(l, tile, first, units, factors),
        4 => dots_of::<L, 4>(l, tile, first, units, factors),
        5 => dots_of::<L, 5>(l, tile, first, units, factors),
        6 => dots_of::<L, 6>(l, tile, first, units, factors),
        7 => dots_of::<L, 7>(l, tile, first, units, factors),
        _ => dots_of::<L, TILE>(l, tile, first, units, factors),
    }
}

#[inline(always)]
fn dots_of<L: Lanes, const N: usize>(
    l: L,
    tile: &[[Pack; TILE]],
    first: usize,
    units: &mut Units<'_>,
    factors: Option<&[Pack]>,
) -> L::F {
    let mut sums = [l.splat(0.0); TILE];
    if let Some(factors) = factors {
        let units = units.state.iter_mut().zip(&mut *units.h);
        for ((v, factor), (e, h)) in tile.iter().zip(factors).zip(units) {
            let odds = l.mul(l.load(e), l.load(factor));
            l.store(e, odds);
            let unit = unit(l, odds);
            l.store(h, unit);
            add::<L, N>(l, &mut sums, &v[first..], unit);
        }
    } else {
        for (v, h) in tile.iter().zip(&*units.h) {
            add::<L, N>(l, &mut sums, &v[first..], l.load(h));
        }
    }
    l.sum8(sums)
}

/// Adds the products of one pack of units to `N` rows' sums.
#[inline(always)]
fn add<L: Lanes, const N: usize>(l: L, sums: &mut [L::F; TILE], v: &[Pack], h: L::F) {
    let v = &v[..N];
    for r in 0..N {
        sums[r] = l.fma(l.load(&v[r]), h, sums[r]);
    }
}

/// V_i · h of two samples for all rows of a tile: V is read once for both.
#[inline(always)]
pub fn dots_of_two<L: Lanes>(l: L, tile: &[[Pack; TILE]], a: &[Pack], b: &[Pack]) -> [L::F; 2] {
    let mut sums = [[l.splat(0.0); TILE]; 2];
    for ((v, a), b) in tile.iter().zip(a).zip(b) {
        let (a, b) = (l.load(a), l.load(b));
        for r in 0..TILE {
            let v = l.load(&v[r]);
            sums[0][r] = l.fma(v, a, sums[0][r]);
            sums[1][r] = l.fma(v, b, sums[1][r]);
        }
    }
    [l.sum8(sums[0]), l.sum8(sums[1])]
}

/// V_i · h for `N` rows of a strip from `first` on, in the lanes from 0 on; `after_one` has a bit for every row that follows a one,
/// and odds stay safe.
#[inline(always)]
pub fn dots_of_given<L: Lanes, const N: usize>(
    l: L,
    strip: Strip<'_>,
    first: usize,
    after_one: u32,
    units: &mut Units<'_>,
) -> L::F {
    let after_one = after_one >> first & ((1 << N) - 1);
    let mut ones = [&[][..]; N];
    for (r, one) in ones.iter_mut().enumerate() {
        *one = strip.one_before(first + r).factors;
    }
    let mut sums = [l.splat(0.0); TILE];
    for (pack, (v, (e, h))) in strip.v.iter().zip(units.state.iter_mut().zip(&mut *units.h)).enumerate() {
        let (mut odds, mut unit) = (l.load(e), l.load(h));
        for r in 0..N {
            if after_one >> r & 1 == 1 {
                odds = l.mul(odds, l.load(&ones[r][pack]));
                unit = self::unit(l, odds);
            }
            sums[r] = l.fma(l.load(&v[first + r]), unit, sums[r]);
        }
        if after_one != 0 {
            l.store(e, odds);
            l.store(h, unit);
        }
    }
    l.sum8(sums)
}
