//! tmp
use crate::kernels::{Lanes, math};
/// tmp
#[inline(always)]
pub fn gate<L: Lanes>(l: L, a: L::F, b: L::F) -> L::F {
    let t = math::sigmoid(l, l.add(a, a));
    let t = l.sub(l.add(t, t), l.splat(1.0));
    l.mul(t, math::sigmoid(l, b))
}
