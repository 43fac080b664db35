//! The file that compressed samples stand in: which model they need, and blocks that can be read one by one.
//!
//! All numbers are little-endian; checksums are CRC-32 (the one of zlib).
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | format version, [`VERSION`] |
//! | 32 | SHA-256 of the model's file |
//! | 8 | samples |
//! | 4 | samples a block; the last one has what is left |
//! | 4 | dimensions of a sample |
//! | 4 | classes of a dimension, the largest number of them |
//! | 4 | revision of the model's arithmetic, [`Model::revision`] |
//! | 4 | checksum of the bytes so far |
//! | 8 a block | length of its payload (4), checksum of its payload (4) |
//! | 4 | checksum of the blocks' lengths and checksums |
//! | the rest | payloads, one after the other |
//!
//! Nothing may follow. Equal contents give equal bytes.
//!
//! Version 1 has no revision. Its files are read for models whose arithmetic is still that of revision 1.
//!
//! **What a forged file can cost.** Each block takes 8 bytes of the file at least, and holds [`MAX_BLOCK_LEN`] samples
//! at most. So a file of n bytes claims no more than n / 8 blocks, 512 n samples, and the reader itself allocates 8
//! bytes a block. A sample has as many dimensions as the caller's own model, once [`Container::check_model`] has
//! passed. Checksums tell accidents, not attacks: whoever forges them gets samples decoded that nobody encoded, or an
//! error.

use std::ops::Range;

use crate::{error::Error, model::Model};

/// What a file begins with. As in PNG's, a first byte beyond ASCII and the ends of lines give away a file that was sent
/// as text.
pub const MAGIC: [u8; 8] = *b"\x89ANCZ\r\n\x1a";
/// The format that is written. It is read, and so is version 1.
pub const VERSION: u32 = 2;
/// The most samples a block may have.
pub const MAX_BLOCK_LEN: u32 = 4096;

const VERSION_AT: usize = MAGIC.len();
const MODEL_AT: usize = VERSION_AT + 4;
const SAMPLES_AT: usize = MODEL_AT + 32;
const REVISION_AT: usize = SAMPLES_AT + 8 + 3 * 4;
const CHECKSUM: usize = 4;
const ENTRY: usize = 8;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// SHA-256 of the bytes of the model's file.
    pub model: [u8; 32],
    /// Samples in the file.
    pub n_samples: u64,
    /// Samples in a block, 1 to [`MAX_BLOCK_LEN`].
    pub block_len: u32,
    /// Dimensions of a sample.
    pub n_dims: u32,
    /// Classes of a dimension, the largest number of them.
    pub n_classes: u32,
    /// Revision of the arithmetic that gave the probabilities. A file of version 1 has none.
    pub revision: Option<u32>,
}

impl Header {
    /// Blocks in the file.
    ///
    /// # Panics
    /// If a block has no samples.
    pub fn n_blocks(&self) -> u64 {
        self.n_samples.div_ceil(u64::from(self.block_len))
    }

    /// The samples of a block.
    pub fn samples(&self, block: u64) -> Range<u64> {
        let start = |block: u64| block.saturating_mul(u64::from(self.block_len)).min(self.n_samples);
        start(block)..start(block.saturating_add(1))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if (1..=MAX_BLOCK_LEN).contains(&self.block_len) {
            return Ok(());
        }
        Err(Error::codec(format!("the file has {} samples a block; wanted 1 to {MAX_BLOCK_LEN}", self.block_len)))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let version = if self.revision.is_some() { VERSION } else { 1 };
        let mut bytes = [&MAGIC[..], &version.to_le_bytes(), &self.model, &self.n_samples.to_le_bytes()].concat();
        for number in [self.block_len, self.n_dims, self.n_classes].into_iter().chain(self.revision) {
            bytes.extend(number.to_le_bytes());
        }
        seal(bytes)
    }

    /// The header, and the bytes after it.
    fn from_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(Error::codec("the file does not hold compressed samples of this package"));
        }
        // Before all else, since the header of another version may have another length.
        let end = match bytes.get(VERSION_AT..MODEL_AT).map(u32_at_start) {
            Some(1) => REVISION_AT,
            Some(VERSION) | None => REVISION_AT + 4,
            Some(other) => {
                let message =
                    format!("the file has format version {other}; this release reads versions 1 and {VERSION}");
                return Err(Error::codec(message));
            }
        };
        let Some((sealed, rest)) = bytes.split_at_checked(end + CHECKSUM) else {
            return Err(Error::codec(format!("the file is truncated: {} bytes do not hold its header", bytes.len())));
        };
        let numbers = unseal(sealed, "header")?;
        let header = Self {
            model: *numbers[MODEL_AT..].first_chunk().expect("longer"),
            n_samples: u64::from_le_bytes(*numbers[SAMPLES_AT..].first_chunk().expect("longer")),
            block_len: u32_at_start(&numbers[SAMPLES_AT + 8..]),
            n_dims: u32_at_start(&numbers[SAMPLES_AT + 12..]),
            n_classes: u32_at_start(&numbers[SAMPLES_AT + 16..]),
            revision: (end > REVISION_AT).then(|| u32_at_start(&numbers[REVISION_AT..])),
        };
        header.check()?;
        Ok((header, rest))
    }
}

/// The bytes of a file that holds these blocks' payloads.
///
/// # Errors
/// [`Error::Codec`] if the header is not one that can be read again, or a payload is longer than 4 GiB.
///
/// # Panics
/// If there are not as many payloads as the header has blocks.
pub fn to_bytes(header: &Header, payloads: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    header.check()?;
    assert_eq!(payloads.len() as u64, header.n_blocks(), "payloads");
    let mut index = Vec::with_capacity(payloads.len() * ENTRY + CHECKSUM);
    for (block, payload) in payloads.iter().enumerate() {
        let len = u32::try_from(payload.len())
            .map_err(|_| Error::codec(format!("block {block} has {} bytes; wanted less than 4 GiB", payload.len())))?;
        index.extend(len.to_le_bytes());
        index.extend(crc32fast::hash(payload).to_le_bytes());
    }
    let mut bytes = header.to_bytes();
    bytes.reserve_exact(index.len() + CHECKSUM + payloads.iter().map(Vec::len).sum::<usize>());
    bytes.extend(seal(index));
    payloads.iter().for_each(|payload| bytes.extend(payload));
    Ok(bytes)
}

/// A file whose header, index and length are sound.
#[derive(Debug)]
pub struct Container<'a> {
    header: Header,
    /// Length and checksum of each payload.
    index: &'a [[u8; ENTRY]],
    payloads: &'a [u8],
    /// Where each payload ends.
    ends: Vec<usize>,
}

impl<'a> Container<'a> {
    /// Reads the header and the index. The payloads are not looked at: damage within them is found by
    /// [`Container::block`].
    ///
    /// # Errors
    /// [`Error::Codec`] if the file is another kind's or version's, truncated, altered or too long.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = Header::from_bytes(bytes)?;
        let truncated = |what: String| Error::codec(format!("the file is truncated: {what}"));
        // In blocks and not in bytes: what a forged header claims may be more than can be counted.
        let room = rest.len().saturating_sub(CHECKSUM) / ENTRY;
        let n_blocks = usize::try_from(header.n_blocks()).ok().filter(|&n| n <= room && rest.len() >= CHECKSUM);
        let n_blocks = n_blocks.ok_or_else(|| {
            truncated(format!(
                "it should list {} blocks, and {} bytes follow its header",
                header.n_blocks(),
                rest.len()
            ))
        })?;
        let (index, payloads) = rest.split_at(n_blocks * ENTRY + CHECKSUM);
        let (index, _) = unseal(index, "list of blocks")?.as_chunks();

        let wanted: u64 = index.iter().map(|entry| u64::from(u32_at_start(entry))).sum();
        let there = payloads.len() as u64;
        if there < wanted {
            return Err(truncated(format!("its blocks should take {wanted} bytes, and {there} are there")));
        }
        if there > wanted {
            return Err(Error::codec(format!("the file goes on for {} bytes after its last block", there - wanted)));
        }
        let lens = index.iter().map(|entry| u32_at_start(entry) as usize);
        let ends = lens.scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        let ends = ends.collect();
        Ok(Self { header, index, payloads, ends })
    }

    /// What the file holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Blocks in the file.
    pub fn n_blocks(&self) -> usize {
        self.index.len()
    }

    /// Whether this model, whose file's bytes have this SHA-256, has compressed the file, and finds the same probabilities again.
    ///
    /// # Errors
    /// [`Error::Codec`] if it was another one, or an earlier or later release whose arithmetic gives other bits.
    pub fn check_model(&self, model: &dyn Model, sha256: &[u8; 32]) -> Result<(), Error> {
        let space = model.space();
        let (n_dims, n_classes) = (space.n_dims(), space.most_classes());
        let other = |file: String, model: String| {
            Err(Error::codec(format!("the file was compressed with another model: {file}; this model {model}")))
        };
        let Header { model: made_by, n_dims: dims, n_classes: classes, revision, .. } = &self.header;
        if (*dims as usize, *classes as usize) != (n_dims, n_classes) {
            return other(
                format!("one of {dims} dimensions and {classes} classes"),
                format!("has {n_dims} dimensions and {n_classes} classes"),
            );
        }
        if made_by != sha256 {
            return other(format!("its SHA-256 begins with {}", begin(made_by)), format!("has {}", begin(sha256)));
        }
        if revision.unwrap_or(1) == model.revision() {
            return Ok(());
        }
        let found = match revision {
            Some(revision) => format!("was compressed with revision {revision} of this model's arithmetic"),
            None => "has format version 1, which does not name a revision of the model's arithmetic".into(),
        };
        Err(Error::codec(format!(
            "the file {found}; this release has revision {}, and another one's probabilities differ in their last bits",
            model.revision()
        )))
    }

    /// The payload of a block, without a look at any other.
    ///
    /// # Errors
    /// [`Error::Codec`] if it has been altered.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn block(&self, block: usize) -> Result<&'a [u8], Error> {
        let start = if block == 0 { 0 } else { self.ends[block - 1] };
        let payload = &self.payloads[start..self.ends[block]];
        if crc32fast::hash(payload) != u32_at_start(&self.index[block][4..]) {
            return Err(Error::codec(format!(
                "block {block} of the file has been altered: its checksum does not match"
            )));
        }
        Ok(payload)
    }
}

/// Appends the checksum.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Takes the checksum off again, once it has been found right.
fn unseal<'a>(bytes: &'a [u8], what: &str) -> Result<&'a [u8], Error> {
    let (bytes, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if crc32fast::hash(bytes) != u32_at_start(checksum) {
        return Err(Error::codec(format!("the file's {what} has been altered: its checksum does not match")));
    }
    Ok(bytes)
}

/// The number that at least four bytes begin with.
fn u32_at_start(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("four bytes"))
}

/// The first digits of a hash.
fn begin(hash: &[u8; 32]) -> String {
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
