//! Damage that knows no format.

use fastrand::Rng;

/// Bytes that stand at borders of formats and of integers, and in JSON.
const NOTABLE: &[u8] = b"\0\x01\x7f\x80\xff\"{}[]:,0129.-+eE\\ntfu ";
/// Words that stand at borders of integers and floats, little-endian.
const WORDS: [u32; 12] = [
    0,
    1,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0x7F7F_FFFF,
    0x0000_0001,
    0x4B80_0000,
    0x3F80_0000,
];

/// A place in `bytes`, which may be empty.
pub fn place(rng: &mut Rng, bytes: &[u8]) -> usize {
    rng.usize(..=bytes.len())
}

/// A stretch of `bytes`, more often short than long.
pub fn stretch(rng: &mut Rng, bytes: &[u8]) -> std::ops::Range<usize> {
    let from = place(rng, bytes);
    let longest = if rng.bool() { 8 } else { bytes.len() };
    from..from + rng.usize(..=longest.min(bytes.len() - from))
}

/// Damages bytes in one way.
pub fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = place(rng, bytes);
    match rng.u8(..9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = NOTABLE[rng.usize(..NOTABLE.len())];
            }
        }
        3 => {
            let word = WORDS[rng.usize(..WORDS.len())].to_le_bytes();
            let aligned = at / 4 * 4;
            if let Some(bytes) = bytes.get_mut(aligned..aligned + 4) {
                bytes.copy_from_slice(&word);
            }
        }
        4 => bytes.truncate(at),
        5 => bytes.extend((0..rng.usize(1..40)).map(|_| rng.u8(..)).collect::<Vec<_>>()),
        6 => drop(bytes.drain(stretch(rng, bytes))),
        7 => {
            let copy = bytes[stretch(rng, bytes)].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let copy = bytes[stretch(rng, bytes)].to_vec();
            let end = (at + copy.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&copy[..end - at]);
        }
    }
}
