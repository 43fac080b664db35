//! The sixteen-lane vector that every kernel is written in.
//!
//! A kernel is one generic function over [`Lanes`]; each instruction set implements the trait with its own
//! registers. Every primitive is exact by IEEE 754 and the compiler neither reorders nor contracts float
//! operations, so all implementations give the same bits by construction.

/// Lanes in a vector, whatever the instruction set.
pub const LANES: usize = 16;

/// Sixteen floats on a cache line of their own: the unit in which weights and activations are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Pack(pub [f32; LANES]);

impl Pack {
    /// All lanes zero.
    pub const ZERO: Pack = Pack([0.0; LANES]);
}

/// The floats of `packs`, in order.
pub fn flat(packs: &[Pack]) -> &[f32] {
    // SAFETY: Pack is repr(C) around [f32; 16] and 64 bytes long, so a slice of packs is a slice of floats.
    unsafe { std::slice::from_raw_parts(packs.as_ptr().cast(), packs.len() * LANES) }
}

/// The floats of `packs`, in order, to write to.
pub fn flat_mut(packs: &mut [Pack]) -> &mut [f32] {
    // SAFETY: as in `flat`; the borrow is unique.
    unsafe { std::slice::from_raw_parts_mut(packs.as_mut_ptr().cast(), packs.len() * LANES) }
}

/// Copies `values` into packs, the last one filled up with zeros.
pub fn to_packs(values: &[f32]) -> Vec<Pack> {
    let mut packs = vec![Pack::ZERO; values.len().div_ceil(LANES)];
    flat_mut(&mut packs)[..values.len()].copy_from_slice(values);
    packs
}

/// The first sixteen of `values`, filled up with zeros.
#[inline(always)]
pub fn to_pack(values: &[f32]) -> Pack {
    match values.first_chunk() {
        Some(values) => Pack(*values),
        None => Pack(std::array::from_fn(|l| values.get(l).copied().unwrap_or(0.0))),
    }
}

/// An instruction set, as a token that exists only where the processor has it.
///
/// `F` holds 16 floats, `D` 16 doubles and `U` 16 unsigned integers. A mask has bit *l* set where the comparison holds in lane *l*.
pub trait Lanes: Copy {
    /// Sixteen `f32`.
    type F: Copy;
    /// Sixteen `u32`.
    type U: Copy;
    /// Sixteen `f64`.
    type D: Copy;
    /// The most packs of a row held in registers by a matrix product ([`super::matmul`]).
    const MATMUL_PACKS: usize;
    /// The most packs held in registers by a matrix product.
    const MATMUL_SUMS: usize;
    /// Dot products that are summed at once in registers, 8 at most.
    const DOTS: usize;

    /// The same float in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// Reads a pack.
    fn load(self, from: &Pack) -> Self::F;
    /// Writes a pack.
    fn store(self, to: &mut Pack, x: Self::F);
    /// Reads sixteen floats wherever they begin.
    fn read(self, from: &[f32; LANES]) -> Self::F;
    /// Writes sixteen floats wherever they begin.
    fn write(self, to: &mut [f32; LANES], x: Self::F);
    /// a + b
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a − b
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a / b
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a where a > b, else b
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// a where a < b, else b
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Lanes where a > b
    fn gt(self, a: Self::F, b: Self::F) -> u16;
    /// The sum of all lanes, halves folded onto each other: (l, l+8), (l, l+4), (l, l+2), (l, l+1).
    fn sum(self, a: Self::F) -> f32;
    /// Lane r of the first eight: `sum` of a\[r\], to the same bits, since the eight share their shuffles; then zeros.
    fn sum8(self, a: [Self::F; 8]) -> Self::F;
    /// Lane l of all becomes the l-th.
    #[inline(always)]
    fn transpose(self, a: &mut [Self::F; LANES]) {
        let mut rows = [Pack::ZERO; LANES];
        for (row, a) in rows.iter_mut().zip(&*a) {
            self.store(row, *a);
        }
        for (l, a) in a.iter_mut().enumerate() {
            *a = self.load(&Pack(rows.map(|row| row.0[l])));
        }
    }

    /// The same double in every lane.
    fn splat_d(self, x: f64) -> Self::D;
    /// a + b, each lane of b converted first
    fn add_d(self, a: Self::D, b: Self::F) -> Self::D;
    /// The lanes.
    fn lanes_d(self, a: Self::D) -> [f64; LANES];

    /// The same integer in every lane.
    fn splat_u(self, x: u32) -> Self::U;
    /// Reads sixteen integers.
    fn load_u(self, from: &[u32; LANES]) -> Self::U;
    /// a + b, wrapping
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U;
    /// a − b, wrapping
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U;
    /// a & b
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U;
    /// a ^ b
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U;
    /// a << N
    fn shl_u<const N: u32>(self, a: Self::U) -> Self::U;
    /// a >> N, filled with zeros
    fn shr_u<const N: u32>(self, a: Self::U) -> Self::U;
    /// a >> N, filled with the sign bit
    fn sar_u<const N: u32>(self, a: Self::U) -> Self::U;
    /// For each pair of lanes (2k, 2k + 1), the 64-bit product of the lanes 2k: its low half in 2k, its high half in 2k + 1.
    fn mul_even_u(self, a: Self::U, b: Self::U) -> Self::U;
    /// Lane 2k + 1 moved to lane 2k, and zero in its place.
    fn odd_to_even_u(self, a: Self::U) -> Self::U;
    /// Lanes 2k of a, each followed by lane 2k of b.
    fn interleave_even_u(self, a: Self::U, b: Self::U) -> Self::U;
    /// Lanes read as signed integers, converted to the nearest float.
    fn int_to_float(self, a: Self::U) -> Self::F;
    /// The bits of a float.
    fn bits(self, a: Self::F) -> Self::U;
    /// The float of these bits.
    fn float(self, a: Self::U) -> Self::F;
}

/// Has these values brought near, where they will soon be used and the processor cannot know.
#[inline(always)]
pub fn prefetch(values: &[f32]) {
    for line in values.chunks(LANES) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, which reads nothing; every processor of this kind has it.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Reads packs.
#[inline(always)]
pub fn load_packs<L: Lanes, const P: usize>(l: L, packs: &[Pack; P]) -> [L::F; P] {
    let mut out = [l.splat(0.0); P];
    for (out, pack) in out.iter_mut().zip(packs) {
        *out = l.load(pack);
    }
    out
}

/// Writes packs.
#[inline(always)]
pub fn store_packs<L: Lanes, const P: usize>(l: L, packs: &mut [Pack; P], values: [L::F; P]) {
    for (pack, value) in packs.iter_mut().zip(values) {
        l.store(pack, value);
    }
}
