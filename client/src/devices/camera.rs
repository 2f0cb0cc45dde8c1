//! Real cameras, by nokhwa (V4L2, AVFoundation, Media Foundation).

use std::sync::mpsc;
use std::time::Duration;

use nokhwa::utils::{ApiBackend, CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType};
use nokhwa::{Buffer, NokhwaError};

use super::jpeg::{JpegDecoder, LONG_SIDE_MAX, SHORT_SIDE_MAX};
use super::{Camera, DeviceError, Picture};

/// The cameras that are plugged in, by name.
pub(super) fn names() -> Vec<String> {
    let cameras = nokhwa::query(ApiBackend::Auto).unwrap_or_default();
    cameras.iter().map(|camera| camera.human_name()).collect()
}

/// Opens the camera with this name or number, or the first one.
pub(super) fn open(name: Option<&str>) -> Result<Box<dyn Camera>, DeviceError> {
    ask_permission()?;
    let index = find(name)?;
    let first_format = RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS);
    let mut camera = nokhwa::Camera::new(index, first_format).map_err(|error| not_opened(&error))?;
    // A camera that does not list its formats, or does not take the better one, works with the one it has.
    if let Some(format) = camera.compatible_camera_formats().ok().as_deref().and_then(best_format) {
        let exactly = RequestedFormatType::Exact(format);
        let _ = camera.set_camera_requset(RequestedFormat::with_formats(exactly, &FORMATS));
    }
    camera.open_stream().map_err(|error| not_opened(&error))?;
    Ok(Box::new(RealCamera { camera, decoder: JpegDecoder::new()? }))
}

struct RealCamera {
    camera: nokhwa::Camera,
    decoder: JpegDecoder,
}

impl Camera for RealCamera {
    fn capture(&mut self, picture: &mut Picture) -> Result<(), DeviceError> {
        for _ in 0..BROKEN_FRAMES_MAX {
            let frame = self
                .camera
                .frame()
                .map_err(|error| DeviceError(format!("The camera has stopped, perhaps it was unplugged ({error}).")))?;
            if self.convert(&frame, picture).is_some() {
                return Ok(());
            }
        }
        Err(DeviceError("The camera gives pictures that cannot be read.".into()))
    }
}

impl RealCamera {
    fn convert(&mut self, frame: &Buffer, picture: &mut Picture) -> Option<()> {
        let (width, height) = (frame.resolution().width() as usize, frame.resolution().height() as usize);
        let bytes = frame.buffer();
        match frame.source_frame_format() {
            FrameFormat::MJPEG => self.decoder.decode(bytes, picture).ok(),
            FrameFormat::YUYV => from_yuyv(bytes, width, height, picture),
            FrameFormat::NV12 => from_nv12(bytes, width, height, picture),
            FrameFormat::GRAY => from_pixels(bytes, width, height, picture, |[y]| [y, y, y]),
            FrameFormat::RAWRGB => from_pixels(bytes, width, height, picture, |rgb: [u8; 3]| rgb),
            FrameFormat::RAWBGR => from_pixels(bytes, width, height, picture, |[b, g, r]| [r, g, b]),
        }
    }
}

/// Broken frames in a row after which a camera is given up; many give one or two when they start.
const BROKEN_FRAMES_MAX: usize = 30;

/// What can be converted, best first.
const FORMATS: [FrameFormat; 6] = [
    FrameFormat::MJPEG,
    FrameFormat::YUYV,
    FrameFormat::NV12,
    FrameFormat::RAWRGB,
    FrameFormat::RAWBGR,
    FrameFormat::GRAY,
];

/// The format nearest to the top of the ladder, 864 by 480 at 30 frames a second.
fn best_format(formats: &[CameraFormat]) -> Option<CameraFormat> {
    let allowed = |format: &&CameraFormat| {
        let (width, height) = (format.width() as usize, format.height() as usize);
        width.max(height) <= LONG_SIDE_MAX && width.min(height) <= SHORT_SIDE_MAX && FORMATS.contains(&format.format())
    };
    formats.iter().filter(allowed).min_by_key(|format| distance(format)).copied()
}

/// How far a format is from the wanted one, in pixels of width or height, with what else counts converted to them.
fn distance(format: &CameraFormat) -> u32 {
    let size = format.width().abs_diff(864) + format.height().abs_diff(480);
    // A frame a second too few is as bad as 40 pixels; one too many costs a little heat.
    let rate = 30_u32.saturating_sub(format.frame_rate()) * 40 + format.frame_rate().saturating_sub(30);
    // Uncompressed pictures crowd the USB; grey ones lack colour.
    let kind = match format.format() {
        FrameFormat::MJPEG => 0,
        FrameFormat::NV12 | FrameFormat::YUYV => 50,
        FrameFormat::RAWBGR | FrameFormat::RAWRGB => 60,
        FrameFormat::GRAY => 2_000,
    };
    size + rate + kind
}

fn find(name: Option<&str>) -> Result<CameraIndex, DeviceError> {
    if let Some(number) = name.and_then(|name| name.parse().ok()) {
        return Ok(CameraIndex::Index(number));
    }
    let cameras = nokhwa::query(ApiBackend::Auto).unwrap_or_default();
    let found = match name {
        None => cameras.first(),
        Some(name) => cameras.iter().find(|camera| camera.human_name() == name),
    };
    found.map(|camera| camera.index().clone()).ok_or_else(|| {
        DeviceError(match name {
            Some(name) if !cameras.is_empty() => format!("There is no camera called {name:?}."),
            _ => "No camera was found.".into(),
        })
    })
}

fn not_opened(error: &NokhwaError) -> DeviceError {
    DeviceError(format!("The camera cannot be used, perhaps another program has it ({error})."))
}

/// On macOS a program has to ask before it may see a camera; elsewhere the answer is there at once.
fn ask_permission() -> Result<(), DeviceError> {
    if nokhwa::nokhwa_check() {
        return Ok(());
    }
    let (answer, answered) = mpsc::sync_channel(1);
    nokhwa::nokhwa_initialize(move |allowed| {
        let _ = answer.try_send(allowed);
    });
    match answered.recv_timeout(PERMISSION_TIMEOUT) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(DeviceError(
            "This program is not allowed to use the camera. It can be allowed in the system settings.".into(),
        )),
    }
}

/// How long a person may think about the question whether the camera may be used.
const PERMISSION_TIMEOUT: Duration = Duration::from_secs(60);

/// Two pixels in four bytes: Y, U, Y, V.
fn from_yuyv(bytes: &[u8], width: usize, height: usize, picture: &mut Picture) -> Option<()> {
    let (pairs, _) = bytes.get(..width * height * 2)?.as_chunks::<4>();
    picture.reshape(width, height);
    let (pixels, _) = picture.rgba.as_chunks_mut::<8>();
    for (&[y0, u, y1, v], pixels) in pairs.iter().zip(pixels) {
        let ([r0, g0, b0], [r1, g1, b1]) = (to_rgb(y0, u, v), to_rgb(y1, u, v));
        *pixels = [r0, g0, b0, 255, r1, g1, b1, 255];
    }
    picture.is_whole().then_some(())
}

/// A plane of Y, then one of U and V side by side for every four pixels.
fn from_nv12(bytes: &[u8], width: usize, height: usize, picture: &mut Picture) -> Option<()> {
    if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        return None;
    }
    let (luma, chroma) = bytes.get(..width * height * 3 / 2)?.split_at(width * height);
    picture.reshape(width, height);
    let (pixels, _) = picture.rgba.as_chunks_mut::<4>();
    for (index, (pixel, &y)) in pixels.iter_mut().zip(luma).enumerate() {
        let (row, column) = (index / width, index % width);
        let at = row / 2 * width + (column & !1);
        let [r, g, b] = to_rgb(y, chroma[at], chroma[at + 1]);
        *pixel = [r, g, b, 255];
    }
    picture.is_whole().then_some(())
}

fn from_pixels<const BYTES: usize>(
    bytes: &[u8],
    width: usize,
    height: usize,
    picture: &mut Picture,
    rgb: impl Fn([u8; BYTES]) -> [u8; 3],
) -> Option<()> {
    let (sources, _) = bytes.get(..width * height * BYTES)?.as_chunks::<BYTES>();
    picture.reshape(width, height);
    for (pixel, &source) in picture.rgba.as_chunks_mut::<4>().0.iter_mut().zip(sources) {
        let [r, g, b] = rgb(source);
        *pixel = [r, g, b, 255];
    }
    picture.is_whole().then_some(())
}

/// ITU-R BT.601 in its studio range (luma 16..=235), as cameras deliver it, in 256ths.
fn to_rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let luma = 298 * (i32::from(y) - 16) + 128;
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    [luma + 409 * v, luma - 100 * u - 208 * v, luma + 516 * u].map(|value| (value >> 8).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_nearest_to_480p_at_30_frames_is_chosen() {
        let format = |width, height, format, rate| CameraFormat::new_from(width, height, format, rate);
        let (mjpeg, yuyv) = (FrameFormat::MJPEG, FrameFormat::YUYV);
        let usual = [
            format(640, 480, yuyv, 30),
            format(1_280, 720, yuyv, 10),
            format(320, 240, mjpeg, 30),
            format(640, 480, mjpeg, 30),
            format(640, 480, mjpeg, 15),
            format(1_280, 720, mjpeg, 30),
            format(1_920, 1_080, mjpeg, 30),
        ];
        assert_eq!(best_format(&usual), Some(usual[3]));
        assert_eq!(best_format(&usual[..2]), Some(usual[0]));
        let wide = [usual[3], format(848, 480, mjpeg, 30)];
        assert_eq!(best_format(&wide), Some(wide[1]));
        assert_eq!(best_format(&[format(3_840, 2_160, mjpeg, 30)]), None);
    }

    #[test]
    fn camera_pixels_become_rgba() {
        let mut picture = Picture::default();
        from_yuyv(&[16, 128, 235, 128], 2, 1, &mut picture).unwrap();
        assert_eq!(picture.rgba, [0, 0, 0, 255, 255, 255, 255, 255]);
        from_nv12(&[81, 81, 81, 81, 90, 240], 2, 2, &mut picture).unwrap();
        assert!(picture.rgba.as_chunks::<4>().0.iter().all(|[r, g, b, a]| *r > 250 && *g < 4 && *b < 4 && *a == 255));
        from_pixels(&[3, 2, 1], 1, 1, &mut picture, |[b, g, r]| [r, g, b]).unwrap();
        assert_eq!(picture.rgba, [1, 2, 3, 255]);
    }

    #[test]
    fn a_frame_that_is_cut_short_is_refused() {
        let mut picture = Picture::default();
        assert_eq!(from_yuyv(&[0; 7], 2, 2, &mut picture), None);
        assert_eq!(from_nv12(&[0; 5], 2, 2, &mut picture), None);
        assert_eq!(from_nv12(&[0; 50], 3, 3, &mut picture), None);
        assert_eq!(from_pixels(&[0; 2], 1, 1, &mut picture, |rgb: [u8; 3]| rgb), None);
    }
}
