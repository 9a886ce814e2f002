//! Pseudorandom numbers for tests, seeded by names.

/// `len` uniform numbers in [−√3, √3], seeded by `name`, as in fixtures/golden/generate.py.
pub(super) fn uniform(name: &str, len: usize) -> Vec<f64> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    let mut state = name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv);
    let mut draw = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    let values = (0..len).map(|_| f64::from(((2.0 * draw() - 1.0) * 3_f64.sqrt()) as f32));
    values.collect()
}
