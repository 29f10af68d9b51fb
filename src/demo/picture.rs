//! A little seascape for each post, as SVG and as PNG: the same id has always the same one. Knows nothing of posts.

use std::fmt::Write;

/// Size of the SVG's drawing plane; the PNG shows the same at a quarter.
const WIDTH: u32 = 400;
const HEIGHT: u32 = 300;
const PNG_SCALE: u32 = 4;
const WAVES: usize = 4;

/// Colours as 0xRRGGBB.
struct Palette {
    sky: [u32; 2],
    light: u32,
    /// The farthest first.
    waves: [u32; WAVES],
    night: bool,
}

const PALETTES: [Palette; 6] = [
    // Noon.
    Palette {
        sky: [0x8fd3e8, 0xe8f6f3],
        light: 0xfff4d6,
        waves: [0x6fc0cc, 0x3fa0b5, 0x1f7f99, 0x0f5e7a],
        night: false,
    },
    // Dusk.
    Palette {
        sky: [0x5b4b8a, 0xf2a08c],
        light: 0xffd9a0,
        waves: [0xb56b86, 0x84528a, 0x563e7a, 0x2f2a5c],
        night: false,
    },
    // Fog.
    Palette {
        sky: [0xc9d2d1, 0xf0efe8],
        light: 0xffffff,
        waves: [0xaebdbd, 0x8aa2a6, 0x67868d, 0x486a74],
        night: false,
    },
    // Dawn.
    Palette {
        sky: [0x86a8d8, 0xfbd3c0],
        light: 0xff9f7c,
        waves: [0x9fb4d0, 0x6f90b8, 0x476c9c, 0x294b7c],
        night: false,
    },
    // Night.
    Palette {
        sky: [0x0d1b3d, 0x2b4a7a],
        light: 0xf4efd8,
        waves: [0x2f5a86, 0x21456f, 0x163257, 0x0c203d],
        night: true,
    },
    // Northern light.
    Palette {
        sky: [0x0b2530, 0x2f8f7f],
        light: 0xd9f7e4,
        waves: [0x2a7a75, 0x1d5f62, 0x13464c, 0x0a2f36],
        night: true,
    },
];

/// Where things stand, in pixels of the drawing plane.
struct Scene {
    palette: &'static Palette,
    light: (f64, f64, f64),
    waves: [Wave; WAVES],
    numbers: Numbers,
}

#[derive(Clone, Copy, Default)]
struct Wave {
    /// Mean height of the surface.
    level: f64,
    amplitude: f64,
    /// Half a wave's length, which is also what the SVG's curve is drawn by.
    half: f64,
    shift: f64,
}

impl Wave {
    /// The surface at `x`: the parabola arcs that SVG's `Q` and `T` draw.
    fn surface(&self, x: f64) -> f64 {
        let position = (x + self.shift) / self.half;
        let (arc, along) = (position.floor(), position - position.floor());
        let up = if arc.rem_euclid(2.0) < 1.0 { -1.0 } else { 1.0 };
        self.level + up * self.amplitude * 2.0 * along * (1.0 - along) * 2.0
    }
}

impl Scene {
    fn of(id: &str) -> Self {
        let mut numbers = Numbers::from(id);
        let sum = id.bytes().fold(0, |sum: usize, byte| sum + usize::from(byte));
        let palette = &PALETTES[sum % PALETTES.len()];
        let light = (numbers.between(70.0, 330.0), numbers.between(62.0, 120.0), numbers.between(24.0, 40.0));
        let waves = [150.0, 184.0, 220.0, 256.0].map(|level| Wave {
            level: level + numbers.between(-8.0, 8.0),
            amplitude: numbers.between(5.0, 13.0),
            half: numbers.between(44.0, 92.0).round(),
            shift: numbers.between(0.0, 180.0).round(),
        });
        Self { palette, light, waves, numbers }
    }
}

/// The picture as an SVG document.
pub(super) fn svg(id: &str) -> String {
    let mut scene = Scene::of(id);
    let mut out = String::with_capacity(4 << 10);
    // Writing to a string does not fail.
    let _ = write_svg(&mut out, &mut scene);
    out
}

fn write_svg(out: &mut String, scene: &mut Scene) -> std::fmt::Result {
    let palette = scene.palette;
    let [top, bottom] = palette.sky;
    let (x, y, radius) = scene.light;
    write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"xMidYMid slice\">\
         <defs><linearGradient id=\"s\" x2=\"0\" y2=\"1\"><stop stop-color=\"#{top:06x}\"/>\
         <stop offset=\".75\" stop-color=\"#{bottom:06x}\"/></linearGradient></defs>\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"url(#s)\"/>"
    )?;
    if palette.night {
        for _ in 0..28 {
            let (x, y) = (scene.numbers.between(0.0, 400.0), scene.numbers.between(0.0, 140.0));
            let (size, opacity) = (scene.numbers.between(0.6, 1.6), scene.numbers.between(0.3, 0.9));
            write!(
                out,
                "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"{size:.1}\" fill=\"#fff\" opacity=\"{opacity:.2}\"/>"
            )?;
        }
    }
    let light = palette.light;
    for (grow, opacity) in [(2.3, 0.12), (1.6, 0.2), (1.0, 1.0)] {
        let radius = radius * grow;
        write!(
            out,
            "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"{radius:.0}\" fill=\"#{light:06x}\" opacity=\"{opacity}\"/>"
        )?;
    }
    for (index, wave) in scene.waves.iter().enumerate() {
        if index == 2 {
            write_boat(out, scene.numbers.between(70.0, 310.0), &scene.waves[1], palette)?;
        }
        write_wave(out, wave, palette.waves[index])?;
    }
    out.push_str("</svg>");
    Ok(())
}

/// One wave: its filled water and a thin crest of light.
fn write_wave(out: &mut String, wave: &Wave, colour: u32) -> std::fmt::Result {
    let Wave { level, amplitude, half, shift } = *wave;
    let mut line = format!("M{:.0} {level:.0}q{:.0} {:.0} {half:.0} 0", -shift, half / 2.0, -amplitude * 2.0);
    let arcs = ((f64::from(WIDTH) + shift) / half).ceil();
    let mut drawn = 1.0;
    while drawn < arcs {
        write!(line, "t{half:.0} 0")?;
        drawn += 1.0;
    }
    write!(out, "<path d=\"{line}V{HEIGHT}H{:.0}z\" fill=\"#{colour:06x}\"/>", -shift)?;
    write!(out, "<path d=\"{line}\" fill=\"none\" stroke=\"#fff\" stroke-opacity=\".22\" stroke-width=\"1.5\"/>")
}

fn write_boat(out: &mut String, x: f64, wave: &Wave, palette: &Palette) -> std::fmt::Result {
    let (y, hull, sail) = (wave.surface(x) + 4.0, palette.waves[3], palette.light);
    write!(
        out,
        "<g transform=\"translate({x:.0} {y:.0})\"><path d=\"M-17-3h34l-6 10h-22z\" fill=\"#{hull:06x}\"/>\
         <path d=\"M-1-6v-30l-14 30z\" fill=\"#{sail:06x}\"/><path d=\"M2-6v-25l13 25z\" fill=\"#{sail:06x}\" \
         opacity=\".75\"/></g>"
    )
}

/// The picture as a PNG (W3C PNG, third edition): true colour, the pixels stored without compression.
pub(super) fn png(id: &str) -> Vec<u8> {
    let scene = Scene::of(id);
    let (width, height) = (WIDTH / PNG_SCALE, HEIGHT / PNG_SCALE);
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0); // filter type "None"
        for x in 0..width {
            let [_, red, green, blue] = pixel(&scene, x * PNG_SCALE, y * PNG_SCALE).to_be_bytes();
            rows.extend([red, green, blue]);
        }
    }
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]); // 8 bits, true colour, deflate, no filter method of its own, not interlaced
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, b"IHDR", &header);
    chunk(&mut out, b"IDAT", &zlib_stored(&rows));
    chunk(&mut out, b"IEND", &[]);
    out
}

fn pixel(scene: &Scene, x: u32, y: u32) -> u32 {
    let (x, y) = (f64::from(x), f64::from(y));
    let surface = scene.waves.iter().zip(scene.palette.waves).rfind(|(wave, _)| y >= wave.surface(x));
    if let Some((_, colour)) = surface {
        return colour;
    }
    let (light_x, light_y, radius) = scene.light;
    if (x - light_x).hypot(y - light_y) <= radius {
        return scene.palette.light;
    }
    let [top, bottom] = scene.palette.sky;
    mix(top, bottom, (y / (f64::from(HEIGHT) * 0.75)).min(1.0))
}

/// The colour `part` of the way from one to the other.
fn mix(from: u32, to: u32, part: f64) -> u32 {
    let weight = (part * 256.0) as u32;
    [16, 8, 0].into_iter().fold(0, |colour, shift| {
        let (from, to) = (from >> shift & 0xff, to >> shift & 0xff);
        colour | ((from * (256 - weight) + to * weight) / 256) << shift
    })
}

/// A PNG chunk (§5.3): length, type, data, CRC over type and data.
fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    let start = out.len();
    out.extend(kind);
    out.extend(data);
    let crc = crc32(out.get(start..).unwrap_or_default());
    out.extend(crc.to_be_bytes());
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951 §3.2.4).
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES_MAX: usize = 0xffff;
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(BLOCK_BYTES_MAX).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(adler32(data).to_be_bytes());
    out
}

/// CRC-32 as PNG has it (§5.5), bit by bit: a few kilobytes only.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

/// Adler-32 (RFC 1950 §8.2).
fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

/// Numbers that look random and are always the same for one id (FNV-1a, then xorshift).
struct Numbers(u64);

impl Numbers {
    fn from(id: &str) -> Self {
        let hash = id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(hash | 1)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let part = f64::from((self.0 >> 40) as u32) / f64::from(1_u32 << 24);
        low + part * (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_id_has_the_same_picture_and_another_id_another() {
        assert_eq!(svg("1"), svg("1"));
        assert_ne!(svg("1"), svg("2"));
        assert_eq!(png("1"), png("1"));
        assert_ne!(png("1"), png("2"));
    }

    #[test]
    fn an_id_is_never_written_into_the_svg() {
        assert!(!svg("<script>").contains("script"));
    }

    #[test]
    fn checksums_are_those_of_the_published_examples() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_png_has_the_size_that_its_header_says() {
        let png = png("1");
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        assert_eq!(png[16..24], [0, 0, 0, 100, 0, 0, 0, 75]);
        // signature, IHDR, IDAT with one stored block, IEND
        assert_eq!(png.len(), 8 + 25 + (12 + 2 + 5 + 75 * 301 + 4) + 12);
    }
}
