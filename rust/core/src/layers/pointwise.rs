//! tmp
use crate::kernels::{Lanes, Pack, math};
/// tmp
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Pointwise {
    Relu,
    LeakyRelu(f32),
    Elu,
    Tanh,
    Sigmoid,
    Silu,
    Gelu,
}
impl Pointwise {
    /// tmp
    #[inline(always)]
    pub fn map_packs<L: Lanes>(self, l: L, packs: &mut [Pack]) {
        for pack in packs {
            let x = l.load(pack);
            let y = match self {
                Self::Relu => l.max(l.splat(0.0), x),
                _ => math::sigmoid(l, x),
            };
            l.store(pack, y);
        }
    }
}
