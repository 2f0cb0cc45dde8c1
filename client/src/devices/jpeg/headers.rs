//! Stand-in for `common::media::jpeg` with the same two functions, until that module is there.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static HEADERS: RefCell<BTreeMap<(u16, u16, u8), Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn assemble(width: u16, height: u16, quality: u8, scan: &[u8], out: &mut Vec<u8>) {
    HEADERS.with_borrow_mut(|headers| {
        let header = headers.entry((width, height, quality)).or_insert_with(|| {
            let mut picture = super::Picture::default();
            picture.reshape(usize::from(width), usize::from(height));
            let mut jpeg = super::encode_jpeg(&picture, quality).unwrap_or_default();
            jpeg.truncate(scan_start(&jpeg).unwrap_or(0));
            jpeg
        });
        out.clear();
        out.extend_from_slice(header);
    });
    out.extend_from_slice(scan);
    out.extend_from_slice(&[0xff, 0xd9]);
}

pub(super) fn scan(jpeg: &[u8]) -> Option<&[u8]> {
    jpeg.get(scan_start(jpeg)?..jpeg.len().checked_sub(2)?)
}

fn scan_start(jpeg: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        let length = usize::from(u16::from_be_bytes([*jpeg.get(at + 2)?, *jpeg.get(at + 3)?]));
        let marker = *jpeg.get(at + 1)?;
        at += 2 + length;
        if marker == 0xda {
            return Some(at);
        }
    }
}
