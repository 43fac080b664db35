//! Round trips, and every damage that can be thought of.

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::{Checkpoint, Tensor},
    distribution::Distribution,
    models,
};

fn header() -> Header {
    let model = std::array::from_fn(|i| i as u8);
    Header { model, n_samples: 7, block_len: 3, n_dims: 784, n_classes: 2, revision: Some(3) }
}

/// As version 1 had it.
fn old_header() -> Header {
    Header { revision: None, ..header() }
}

/// An FVSBN of so many dimensions.
fn fvsbn(n_dims: usize) -> Box<dyn Model> {
    let tensor = |name: &str, shape: Vec<usize>| {
        let len = shape.iter().product();
        (name.to_owned(), Tensor::new(name, shape, vec![0.0; len]).unwrap())
    };
    let tensors = [tensor("weight", vec![n_dims, n_dims]), tensor("bias", vec![n_dims])].into();
    let config = serde_json::json!({"n_dims": n_dims, "order": null});
    models::build(&Checkpoint { kind: "FVSBN".into(), config, graph: None, tensors })
        .and_then(Distribution::into_one)
        .unwrap()
}

fn payloads() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), Vec::new(), b"and the third".to_vec()]
}

fn file() -> Vec<u8> {
    to_bytes(&header(), &payloads()).unwrap()
}

/// Reads all that is in a file.
fn read(bytes: &[u8]) -> Result<(Header, Vec<Vec<u8>>), String> {
    let container = Container::from_bytes(bytes).map_err(|error| error.to_string())?;
    let blocks = (0..container.n_blocks()).map(|block| container.block(block).map(<[u8]>::to_vec));
    let blocks = blocks.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    Ok((container.header().clone(), blocks))
}

/// A file of nothing but a header and a list of no blocks, with right checksums.
fn forged(header: &Header) -> Vec<u8> {
    [header.to_bytes(), seal(Vec::new())].concat()
}

#[track_caller]
fn refused(bytes: &[u8], message: &str) {
    let error = read(bytes).unwrap_err();
    assert!(error.contains(message), "{error}");
}

#[test]
fn files_come_back() {
    assert_eq!(read(&file()), Ok((header(), payloads())));
    let samples: Vec<_> = (0..4).map(|block| header().samples(block)).collect();
    assert_eq!(samples, [0..3, 3..6, 6..7, 7..7]);
    let none = Header { n_samples: 0, ..header() };
    assert_eq!(read(&to_bytes(&none, &[]).unwrap()), Ok((none, vec![])));
    assert_eq!(read(&to_bytes(&old_header(), &payloads()).unwrap()), Ok((old_header(), payloads())));
}

/// Another release must read these bytes. The checksums are those of Python's `zlib.crc32`.
#[test]
fn the_layout_stays_what_it_was() {
    let magic = &b"\x89ANCZ\r\n\x1a"[..];
    let numbers = &b"\x07\0\0\0\0\0\0\0\x03\0\0\0\x10\x03\0\0\x02\0\0\0"[..];
    let model: Vec<u8> = (0..32).collect();
    let version_1 = [magic, b"\x01\0\0\0", &model, numbers, &0x2b22_5951_u32.to_le_bytes()].concat();
    let version_2 = [magic, b"\x02\0\0\0", &model, numbers, b"\x03\0\0\0", &0xac26_27ba_u32.to_le_bytes()].concat();
    assert_eq!(to_bytes(&old_header(), &payloads()).unwrap(), [version_1, blocks()].concat());
    assert_eq!(file(), [version_2, blocks()].concat());
}

/// The list of the blocks, and the blocks.
fn blocks() -> Vec<u8> {
    let mut expected = Vec::new();
    for (len, checksum) in [(5_u32, 0x9271_ee57_u32), (0, 0), (13, 0x2051_84ff)] {
        expected.extend([len.to_le_bytes(), checksum.to_le_bytes()].concat());
    }
    expected.extend(0x7e51_c458_u32.to_le_bytes());
    expected.extend(b"firstand the third");
    expected
}

#[test]
fn every_truncation_is_refused() {
    let file = file();
    refused(&[], "does not hold compressed samples");
    for len in 1..file.len() {
        refused(&file[..len], "truncated");
    }
}

#[test]
fn every_altered_bit_is_refused() {
    let file = file();
    let payloads = file.len() - 18;
    for bit in 0..8 * file.len() {
        let mut altered = file.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let message = match bit / 8 {
            0..8 => "does not hold compressed samples",
            8..12 => "this release reads versions 1 and 2",
            12..72 => "header has been altered",
            at if at < payloads => "list of blocks has been altered",
            at if at < payloads + 5 => "block 0 of the file has been altered",
            _ => "block 2 of the file has been altered",
        };
        refused(&altered, message);
    }
}

#[test]
fn altered_blocks_leave_the_others_readable() {
    let mut file = file();
    *file.last_mut().unwrap() ^= 1;
    let container = Container::from_bytes(&file).unwrap();
    assert_eq!(container.block(0).unwrap(), b"first");
    assert!(container.block(2).is_err());
}

#[test]
fn what_follows_the_last_block_is_refused() {
    for more in [1, 4, 1000] {
        refused(&[file(), vec![0; more]].concat(), &format!("goes on for {more} bytes"));
    }
}

#[test]
fn other_files_are_refused() {
    refused(b"\x89PNG\r\n\x1a\n", "does not hold compressed samples");
    refused(b"x", "does not hold compressed samples");
    let mut newer = file();
    newer[8] = 3;
    refused(&newer, "format version 3; this release reads versions 1 and 2");
    refused(&newer[..12], "format version 3");
}

#[test]
fn forged_headers_are_refused_before_anything_is_allocated() {
    for n_samples in [1, 4096, 1 << 32, u64::MAX - 1, u64::MAX] {
        for block_len in [1, MAX_BLOCK_LEN] {
            let header = Header { n_samples, block_len, ..header() };
            refused(&forged(&header), &format!("it should list {} blocks", header.n_blocks()));
        }
    }
    for block_len in [0, MAX_BLOCK_LEN + 1, u32::MAX] {
        let header = Header { block_len, ..header() };
        let message = format!("the file has {block_len} samples a block; wanted 1 to 4096");
        refused(&forged(&header), &message);
        assert_eq!(to_bytes(&header, &[]), Err(Error::codec(message)));
    }
    let long = [u32::MAX.to_le_bytes(), [0; 4]].concat().repeat(3);
    refused(&[header().to_bytes(), seal(long)].concat(), "its blocks should take 12884901885 bytes, and 0 are there");
}

#[test]
fn the_last_blocks_of_the_largest_file_can_be_told() {
    let header = Header { n_samples: u64::MAX, block_len: 4096, ..header() };
    assert_eq!(header.samples(header.n_blocks() - 1), u64::MAX - 4095..u64::MAX);
    assert_eq!(header.samples(u64::MAX - 1), u64::MAX..u64::MAX);
}

#[test]
fn another_model_is_told() {
    let check = |revision, n_dims, hash| {
        let file = to_bytes(&Header { n_dims: 5, revision, ..header() }, &payloads()).unwrap();
        let container = Container::from_bytes(&file).unwrap();
        container.check_model(&*fvsbn(n_dims), hash).map_err(|error| error.to_string())
    };
    let own = &header().model;
    assert_eq!(check(Some(1), 5, own), Ok(()));
    assert_eq!(check(None, 5, own), Ok(()));
    assert_eq!(
        check(Some(1), 9, own).unwrap_err(),
        "the file was compressed with another model: one of 5 dimensions and 2 classes; this model has 9 \
         dimensions and 2 classes"
    );
    assert_eq!(
        check(Some(1), 5, &[255; 32]).unwrap_err(),
        "the file was compressed with another model: its SHA-256 begins with 00010203; this model has ffffffff"
    );
    assert_eq!(
        check(Some(2), 5, own).unwrap_err(),
        "the file was compressed with revision 2 of this model's arithmetic; this release has revision 1, and another \
         one's probabilities differ in their last bits"
    );
}

proptest! {
    #[test]
    fn any_payloads_come_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let header = Header { n_samples: 3 * payloads.len() as u64, ..header() };
        prop_assert_eq!(read(&to_bytes(&header, &payloads).unwrap()), Ok((header, payloads)));
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&[&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat()).is_err());
    }

    /// Checksums that are right, over numbers that are not.
    #[test]
    fn any_header_and_index_give_blocks_or_an_error(
        n_samples in prop_oneof![0..40_u64, any::<u64>()],
        block_len in prop_oneof![0..6_u32, any::<u32>()],
        index in prop::collection::vec(prop_oneof![0..30_u32, any::<u32>()], 0..20),
        rest in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let header = Header { n_samples, block_len, ..header() };
        let index = index.into_iter().flat_map(u32::to_le_bytes).collect();
        let _ = read(&[header.to_bytes(), seal(index), rest].concat());
    }
}
