//! The headers of a baseline JPEG, taken off before sending and rebuilt from size and quality after receiving.
//!
//! An encoder that uses the example tables of ITU-T T.81 Annex K and no restart markers says nothing in its headers
//! that size, quality and sampling do not say already; RFC 2435 §3.1.7 has the idea. libjpeg-turbo is such an encoder
//! as long as optimised Huffman tables and progressive mode are off. Sampling is 4:2:0 here.

/// Bytes that [`write_headers`] appends.
pub const HEADERS_BYTES: usize = 605;

/// The headers, `scan` behind them, and the end: a whole JPEG, appended to `out`.
///
/// A scan that came from the network should have passed [`is_scan`].
pub fn assemble(width: u16, height: u16, quality: u8, scan: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEADERS_BYTES + scan.len() + 2);
    write_headers(width, height, quality, out);
    out.extend_from_slice(scan);
    out.extend_from_slice(&[MARKER, EOI]);
}

/// Appends everything in front of the scan. A quality outside 1..=100 counts as the nearest one inside.
///
/// There is no JFIF segment: components 1, 2 and 3 are taken for Y, Cb and Cr without one.
pub fn write_headers(width: u16, height: u16, quality: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[MARKER, SOI]);
    write_quantisation(0, &LUMINANCE_QUANTISATION, quality, out);
    write_quantisation(1, &CHROMINANCE_QUANTISATION, quality, out);
    write_frame(width, height, out);
    write_huffman(0x00, &LUMINANCE_DC, out);
    write_huffman(0x10, &LUMINANCE_AC, out);
    write_huffman(0x01, &CHROMINANCE_DC, out);
    write_huffman(0x11, &CHROMINANCE_AC, out);
    out.extend_from_slice(&SCAN_HEADER);
}

/// The entropy-coded bytes of a JPEG: behind the SOS header, up to the EOI marker. What stands behind that marker
/// does not matter.
///
/// `None` for anything that [`assemble`] could not put together again: another coding than baseline, restart markers,
/// a scan with some of the components, no end, or not a JPEG at all. Which tables the encoder used is not looked at.
pub fn scan(jpeg: &[u8]) -> Option<&[u8]> {
    let mut rest = jpeg.strip_prefix(&[MARKER, SOI])?;
    loop {
        let (marker, segment, behind) = split_segment(rest)?;
        rest = behind;
        match marker {
            SOS => return entropy_coded(segment, rest),
            DRI if segment != [0, 0] => return None,
            0xc1..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => return None,
            _ => {}
        }
    }
}

/// Whether these bytes can be the inside of a scan without restart markers, so that they cannot bring segments of
/// their own into the JPEG they are put into (T.81 §F.1.2.3: 0xff is always followed by a stuffed zero).
pub fn is_scan(bytes: &[u8]) -> bool {
    !bytes.is_empty() && marker_position(bytes).is_none()
}

/// Splits `FF marker length payload` off; any number of fill bytes may stand before the marker (T.81 §B.1.1.2).
fn split_segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let code = bytes.iter().position(|byte| *byte != MARKER)?;
    let (&marker, rest) = bytes[code..].split_first()?;
    let (length, _) = rest.split_first_chunk()?;
    let (segment, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let payload = segment.get(2..)?;
    (code > 0).then_some((marker, payload, behind))
}

fn entropy_coded<'a>(scan_header: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (scan, end) = bytes.split_at(marker_position(bytes)?);
    let code = end.iter().find(|byte| **byte != MARKER)?;
    (scan_header.first() == Some(&COMPONENTS) && !scan.is_empty() && *code == EOI).then_some(scan)
}

/// Where the first 0xff stands that no stuffed zero follows.
fn marker_position(bytes: &[u8]) -> Option<usize> {
    let followed_by_zero = |position: usize| bytes.get(position + 1) == Some(&0);
    (0..bytes.len()).find(|&position| bytes[position] == MARKER && !followed_by_zero(position))
}

fn write_quantisation(table: u8, basic: &[u8; 64], quality: u8, out: &mut Vec<u8>) {
    let percent = scale_percent(quality);
    out.extend_from_slice(&[MARKER, DQT, 0, 67, table]);
    out.extend(basic.iter().map(|value| scaled(*value, percent)));
}

/// What libjpeg makes of a quality (`jpeg_quality_scaling`): 50 is Annex K as it stands, 100 is all ones.
fn scale_percent(quality: u8) -> u32 {
    match u32::from(quality.clamp(1, 100)) {
        quality @ ..50 => 5_000 / quality,
        quality => 200 - 2 * quality,
    }
}

/// Rounded, and kept in eight bits as baseline demands (`jpeg_add_quant_table` with `force_baseline`).
fn scaled(basic: u8, percent: u32) -> u8 {
    ((u32::from(basic) * percent + 50) / 100).clamp(1, 255) as u8
}

/// SOF0: eight bits a sample, luminance sampled 2×2 with table 0, both chrominances 1×1 with table 1.
fn write_frame(width: u16, height: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&[MARKER, SOF0, 0, 17, 8]);
    out.extend_from_slice(&height.to_be_bytes());
    out.extend_from_slice(&width.to_be_bytes());
    out.extend_from_slice(&[COMPONENTS, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
}

/// `class_and_table` has the class in the high half (0 DC, 1 AC) and the table in the low half.
fn write_huffman(class_and_table: u8, table: &[u8], out: &mut Vec<u8>) {
    let length = (table.len() + 3) as u16;
    out.extend_from_slice(&[MARKER, DHT]);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(class_and_table);
    out.extend_from_slice(table);
}

const MARKER: u8 = 0xff;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
/// Y, Cb and Cr.
const COMPONENTS: u8 = 3;

/// SOS: luminance with the Huffman tables 0, both chrominances with the tables 1, all coefficients.
const SCAN_HEADER: [u8; 14] = [MARKER, SOS, 0, 12, COMPONENTS, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0];

/// T.81 Table K.1, in zigzag order.
#[rustfmt::skip]
const LUMINANCE_QUANTISATION: [u8; 64] = [
    16,  11,  12,  14,  12,  10,  16,  14,  13,  14,  18,  17,  16,  19,  24,  40,
    26,  24,  22,  22,  24,  49,  35,  37,  29,  40,  58,  51,  61,  60,  57,  51,
    56,  55,  64,  72,  92,  78,  64,  68,  87,  69,  55,  56,  80, 109,  81,  87,
    95,  98, 103, 104, 103,  62,  77, 113, 121, 112, 100, 120,  92, 101, 103,  99,
];

/// T.81 Table K.2, in zigzag order.
#[rustfmt::skip]
const CHROMINANCE_QUANTISATION: [u8; 64] = [
    17,  18,  18,  24,  21,  24,  47,  26,  26,  47,  99,  66,  56,  66,  99,  99,
    99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,
    99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,
    99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,  99,
];

/// Coefficients of luminance: code lengths 1..=16, then run and size (Table K.5).
#[rustfmt::skip]
const LUMINANCE_AC: [u8; 178] = [
    0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7d,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// Coefficients of chrominance (Table K.6).
#[rustfmt::skip]
const CHROMINANCE_AC: [u8; 178] = [
    0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// Differences of luminance (Table K.3).
#[rustfmt::skip]
const LUMINANCE_DC: [u8; 28] = [
    0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
];

/// Differences of chrominance (Table K.4).
#[rustfmt::skip]
const CHROMINANCE_DC: [u8; 28] = [
    0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What libjpeg-turbo 3 makes of a picture of 32×16 pixels at quality 50, 4:2:0, with a JFIF segment.
    const PICTURE: &str = "
        ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123
        251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffdb0043011112
        121815182f1a1a2f63423842636363636363636363636363636363636363636363636363636363636363636363636363
        6363636363636363636363636363ffc00011080010002003012200021101031101ffc4001f0000010501010101010100
        000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d010203000411051221
        31410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a
        434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a9293949596979899
        9aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1
        f2f3f4f5f6f7f8f9faffc4001f0100030101010101010101010000000000000102030405060708090a0bffc400b51100
        020102040403040705040400010277000102031104052131061241510761711322328108144291a1b1c109233352f015
        6272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a63646566676869
        6a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4
        c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9faffda000c03010002110311003f00e5
        22b0f6ab7169fed5b90d87b55f874ff6ae5a53f6871d0c7dba981169bfecd5b8b4cff66b7d6cc271b727d2ac4764eded
        f4aa9d4a307cbbbf23dcc3e3df73ffd9";

    /// First, tenth, 40th and last value of both quantisation tables as libjpeg-turbo writes them.
    const QUANTISATION: [(u8, [u8; 8]); 5] = [
        (1, [255, 255, 255, 255, 255, 255, 255, 255]),
        (25, [32, 28, 136, 198, 34, 94, 198, 198]),
        (50, [16, 14, 68, 99, 17, 47, 99, 99]),
        (70, [10, 8, 41, 59, 10, 28, 59, 59]),
        (100, [1, 1, 1, 1, 1, 1, 1, 1]),
    ];

    const JFIF_BYTES: usize = 18;

    fn picture() -> Vec<u8> {
        let digits: Vec<u8> = PICTURE.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.as_chunks::<2>().0.iter().map(byte).collect()
    }

    #[test]
    fn a_picture_of_libjpeg_comes_back_byte_for_byte_without_its_jfif_segment() {
        let original = picture();
        let mut rebuilt = Vec::new();
        assemble(32, 16, 50, scan(&original).unwrap(), &mut rebuilt);
        assert_eq!(rebuilt[..2], original[..2]);
        assert_eq!(rebuilt[2..], original[2 + JFIF_BYTES..]);
        assert_eq!(rebuilt.len(), HEADERS_BYTES + scan(&original).unwrap().len() + 2);
    }

    #[test]
    fn the_quantisation_tables_are_those_of_libjpeg() {
        for (quality, expected) in QUANTISATION {
            let mut headers = Vec::new();
            write_headers(16, 16, quality, &mut headers);
            assert_eq!(headers.len(), HEADERS_BYTES);
            let (luminance, chrominance) = (&headers[7..71], &headers[76..140]);
            let picked = |table: &[u8]| [table[0], table[9], table[39], table[63]];
            let tables = [picked(luminance), picked(chrominance)];
            assert_eq!(tables.as_flattened(), expected, "quality {quality}");
        }
    }

    #[test]
    fn a_quality_out_of_range_counts_as_the_nearest() {
        let headers = |quality| {
            let mut out = Vec::new();
            write_headers(16, 16, quality, &mut out);
            out
        };
        assert_eq!(headers(0), headers(1));
        assert_eq!(headers(255), headers(100));
    }

    #[test]
    fn padding_behind_the_end_does_not_matter() {
        let mut padded = picture();
        padded.extend_from_slice(&[0, 0xff, 0xd9, 7]);
        assert_eq!(scan(&padded), scan(&picture()));
    }

    #[test]
    fn a_cut_picture_has_no_scan() {
        let whole = picture();
        for length in 0..whole.len() {
            assert_eq!(scan(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_picture_that_cannot_be_rebuilt_has_no_scan() {
        let start = 2 + JFIF_BYTES;
        let frame = start + 2 * 69;
        let mut progressive = picture();
        progressive[frame + 1] = 0xc2;
        let mut restarting = picture();
        restarting.splice(start..start, [MARKER, DRI, 0, 4, 0, 8]);
        let mut restarted = picture();
        let end = restarted.len() - 10;
        restarted.splice(end..end, [MARKER, 0xd0]);
        let mut partial = picture();
        partial[start + HEADERS_BYTES - 2 - 10] = 1;
        for jpeg in [progressive, restarting, restarted, partial] {
            assert_eq!(scan(&jpeg), None);
        }
    }

    #[test]
    fn a_scan_with_a_marker_inside_is_none() {
        assert!(is_scan(&[1, 0xff, 0, 2]));
        for bytes in [&[][..], &[0xff], &[1, 0xff, 0xd9], &[0xff, 0xff, 0]] {
            assert!(!is_scan(bytes), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_search_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            position in 0..700usize,
        ) {
            scan(&bytes);
            let mut damaged = picture();
            let end = (position + bytes.len()).min(damaged.len());
            damaged.splice(position.min(end)..end, bytes);
            scan(&damaged);
        }
    }
}
