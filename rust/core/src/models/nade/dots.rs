//! The products V_i · h for up to eight rows i at once, so that each hidden unit is read, or computed, once for all of
//! them.
//!
//! A row's product is one chain of fused multiply-adds over the packs of h, and then [`Lanes::sum8`]. Neither the
//! number of rows nor whether h was read or computed changes a bit.

use super::{
    hidden::{Units, unit},
    tiles::{TILE, Tile},
};
use crate::kernels::{Lanes, Pack};

/// V_i · h for `rows` rows of a tile's V from `first` on, in the lanes from 0 on. `factors` are multiplied into the
/// odds first.
#[inline(always)]
pub fn dots<L: Lanes>(
    l: L,
    v: &[[Pack; TILE]],
    (first, rows): (usize, usize),
    units: &mut Units<'_>,
    factors: Option<&[Pack]>,
) -> L::F {
    match rows {
        1 => dots_of::<L, 1>(l, v, first, units, factors),
        2 => dots_of::<L, 2>(l, v, first, units, factors),
        3 => dots_of::<L, 3>(l, v, first, units, factors),
        4 => dots_of::<L, 4>(l, v, first, units, factors),
        5 => dots_of::<L, 5>(l, v, first, units, factors),
        6 => dots_of::<L, 6>(l, v, first, units, factors),
        7 => dots_of::<L, 7>(l, v, first, units, factors),
        _ => dots_of::<L, TILE>(l, v, first, units, factors),
    }
}

#[inline(always)]
fn dots_of<L: Lanes, const N: usize>(
    l: L,
    v: &[[Pack; TILE]],
    first: usize,
    units: &mut Units<'_>,
    factors: Option<&[Pack]>,
) -> L::F {
    let mut sums = [l.splat(0.0); TILE];
    if let Some(factors) = factors {
        let units = units.state.iter_mut().zip(&mut *units.h);
        for ((v, factor), (e, h)) in v.iter().zip(factors).zip(units) {
            let odds = l.mul(l.load(e), l.load(factor));
            l.store(e, odds);
            let unit = unit(l, odds);
            l.store(h, unit);
            add::<L, N>(l, &mut sums, &v[first..], unit);
        }
    } else {
        for (v, h) in v.iter().zip(&*units.h) {
            add::<L, N>(l, &mut sums, &v[first..], l.load(h));
        }
    }
    l.sum8(sums)
}

/// Adds the products of one pack of units to the sums of `N` rows.
#[inline(always)]
fn add<L: Lanes, const N: usize>(l: L, sums: &mut [L::F; TILE], v: &[Pack], h: L::F) {
    let v = &v[..N];
    for r in 0..N {
        sums[r] = l.fma(l.load(&v[r]), h, sums[r]);
    }
}

/// V_i · h for all rows of a tile's V and the units of two samples: V is read once for both.
#[inline(always)]
pub fn dots_of_two<L: Lanes>(l: L, v: &[[Pack; TILE]], a: &[Pack], b: &[Pack]) -> [L::F; 2] {
    let mut sums = [[l.splat(0.0); TILE]; 2];
    for ((v, a), b) in v.iter().zip(a).zip(b) {
        let (a, b) = (l.load(a), l.load(b));
        for r in 0..TILE {
            let v = l.load(&v[r]);
            sums[0][r] = l.fma(v, a, sums[0][r]);
            sums[1][r] = l.fma(v, b, sums[1][r]);
        }
    }
    [l.sum8(sums[0]), l.sum8(sums[1])]
}

/// V_i · h for `N` rows of a tile from `first` on, in the lanes from 0 on. Bit r of `updates` says that row r of the
/// tile follows an active bit, whose factors are multiplied into the odds before that row.
#[inline(always)]
pub fn dots_of_given<L: Lanes, const N: usize>(
    l: L,
    tile: Tile<'_>,
    first: usize,
    updates: u32,
    units: &mut Units<'_>,
) -> L::F {
    let updates = updates >> first & ((1 << N) - 1);
    let mut factors = [&[][..]; N];
    for (r, factors) in factors.iter_mut().enumerate() {
        *factors = tile.update_before(first + r).factors;
    }
    let mut sums = [l.splat(0.0); TILE];
    for (pack, (v, (e, h))) in tile.v.iter().zip(units.state.iter_mut().zip(&mut *units.h)).enumerate() {
        let (mut odds, mut unit) = (l.load(e), l.load(h));
        for r in 0..N {
            if updates >> r & 1 == 1 {
                odds = l.mul(odds, l.load(&factors[r][pack]));
                unit = self::unit(l, odds);
            }
            sums[r] = l.fma(l.load(&v[first + r]), unit, sums[r]);
        }
        if updates != 0 {
            l.store(e, odds);
            l.store(h, unit);
        }
    }
    l.sum8(sums)
}
