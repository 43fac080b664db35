//! NADE's walk: strips of dimensions outside, samples inside, so that a strip's weights stay in the first-level cache.

use super::{Nade, hidden::Form};
use crate::{
    block::Block,
    error::Error,
    kernels::{Kernel, LANES, Lanes, Pack, flat_mut},
    model::Scratch,
};

/// Dimensions that all samples walk before the next ones are begun: 16 KiB of V for 500 hidden units.
const STRIP: usize = 8;
/// Rows of V multiplied at once.
const ROWS: usize = 4;
/// The same right after a one: the next one is likely near, and what is computed beyond it is computed in vain.
const ROWS_AFTER_ONE: usize = 2;

/// Walks a block through all dimensions.
pub fn walk(model: &Nade, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    scratch.packs.resize(2 * model.hidden.packs() * block.len, Pack::ZERO);
    let mut forms = vec![Form::Odds; block.len];
    for first in (0..model.event.n_dims()).step_by(STRIP) {
        block.check()?;
        block.isa.run(Strip { model, block, hidden: &mut scratch.packs, forms: &mut forms, first });
    }
    Ok(())
}

/// The steps `first` to `first + STRIP` − 1, for all samples.
struct Strip<'a, 'b> {
    model: &'a Nade,
    block: &'a mut Block<'b>,
    /// For each sample, what its hidden units are computed from, and the units.
    hidden: &'a mut [Pack],
    forms: &'a mut [Form],
    first: usize,
}

impl Kernel for Strip<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { model, block, hidden, forms, first } = self;
        let packs = model.hidden.packs();
        let n_dims = model.event.n_dims();
        let stride = n_dims.div_ceil(LANES) * LANES;
        let end = n_dims.min(first + STRIP);
        for (sample, (hidden, form)) in hidden.chunks_exact_mut(2 * packs).zip(forms).enumerate() {
            let (state, h) = hidden.split_at_mut(packs);
            if first == 0 {
                *form = model.hidden.begin(l, state, h);
            }
            let field = &mut flat_mut(block.field)[sample * stride..][..stride];
            let x = &mut block.x[sample * n_dims..][..n_dims];
            let mut after_one = false;
            let mut step = first;
            while step < end {
                let rows = if after_one { ROWS_AFTER_ONE } else { ROWS }.min(end - step);
                let v = &model.v[step * packs..][..rows * packs];
                let mut dots = [0.0; ROWS];
                match rows {
                    ROWS => dots = self::dots::<L, ROWS>(l, v, h),
                    3 => dots[..3].copy_from_slice(&self::dots::<L, 3>(l, v, h)),
                    2 => dots[..2].copy_from_slice(&self::dots::<L, 2>(l, v, h)),
                    _ => dots[..1].copy_from_slice(&self::dots::<L, 1>(l, v, h)),
                }
                after_one = false;
                for dot in &dots[..rows] {
                    let logit = model.b[step] + dot;
                    after_one = logit > field[step];
                    field[step] = logit;
                    step += 1;
                    if after_one {
                        x[step - 1] = 1;
                        *form = model.hidden.advance(l, *form, step - 1, &x[..step], (state, h));
                        break;
                    }
                }
            }
        }
    }
}

/// v_r · h for `N` rows. Each row is summed in two chains, the even and the odd packs, to hide the latency of one.
#[inline(always)]
fn dots<L: Lanes, const N: usize>(l: L, v: &[Pack], h: &[Pack]) -> [f32; N] {
    let packs = h.len();
    let mut rows: [&[Pack]; N] = [&[]; N];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &v[r * packs..][..packs];
    }
    let mut even = [l.splat(0.0); N];
    let mut odd = [l.splat(0.0); N];
    let pairs = packs / 2;
    for p in 0..pairs {
        let (h0, h1) = (l.load(&h[2 * p]), l.load(&h[2 * p + 1]));
        for r in 0..N {
            even[r] = l.fma(l.load(&rows[r][2 * p]), h0, even[r]);
            odd[r] = l.fma(l.load(&rows[r][2 * p + 1]), h1, odd[r]);
        }
    }
    if packs % 2 == 1 {
        let h0 = l.load(&h[packs - 1]);
        for r in 0..N {
            even[r] = l.fma(l.load(&rows[r][packs - 1]), h0, even[r]);
        }
    }
    let mut out = [0.0; N];
    for r in 0..N {
        out[r] = l.sum(l.add(even[r], odd[r]));
    }
    out
}
