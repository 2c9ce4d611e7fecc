//! Colours: viridis for temperatures, Okabe and Ito's for series, the usual colours of the elements.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// The colour map viridis of Smith, van der Walt and Firing (2015, CC0) at steps of 1/10.
const VIRIDIS: [u32; 11] =
    [0x440154, 0x482475, 0x414487, 0x355f8d, 0x2a788e, 0x21918c, 0x22a884, 0x44bf70, 0x7ad151, 0xbddf26, 0xfde725];

/// Colours of the elements 1 to 109 as Jmol has them (jmol.sourceforge.net/jscolors).
#[rustfmt::skip]
const ELEMENTS: [u32; 109] = [
    0xffffff, 0xd9ffff, 0xcc80ff, 0xc2ff00, 0xffb5b5, 0x909090, 0x3050f8, 0xff0d0d, 0x90e050, 0xb3e3f5, 0xab5cf2, 0x8aff00,
    0xbfa6a6, 0xf0c8a0, 0xff8000, 0xffff30, 0x1ff01f, 0x80d1e3, 0x8f40d4, 0x3dff00, 0xe6e6e6, 0xbfc2c7, 0xa6a6ab, 0x8a99c7,
    0x9c7ac7, 0xe06633, 0xf090a0, 0x50d050, 0xc88033, 0x7d80b0, 0xc28f8f, 0x668f8f, 0xbd80e3, 0xffa100, 0xa62929, 0x5cb8d1,
    0x702eb0, 0x00ff00, 0x94ffff, 0x94e0e0, 0x73c2c9, 0x54b5b5, 0x3b9e9e, 0x248f8f, 0x0a7d8c, 0x006985, 0xc0c0c0, 0xffd98f,
    0xa67573, 0x668080, 0x9e63b5, 0xd47a00, 0x940094, 0x429eb0, 0x57178f, 0x00c900, 0x70d4ff, 0xffffc7, 0xd9ffc7, 0xc7ffc7,
    0xa3ffc7, 0x8fffc7, 0x61ffc7, 0x45ffc7, 0x30ffc7, 0x1fffc7, 0x00ff9c, 0x00e675, 0x00d452, 0x00bf38, 0x00ab24, 0x4dc2ff,
    0x4da6ff, 0x2194d6, 0x267dab, 0x266696, 0x175487, 0xd0d0e0, 0xffd123, 0xb8b8d0, 0xa6544d, 0x575961, 0x9e4fb5, 0xab5c00,
    0x754f45, 0x428296, 0x420066, 0x007d00, 0x70abfa, 0x00baff, 0x00a1ff, 0x008fff, 0x0080ff, 0x006bff, 0x545cf2, 0x785ce3,
    0x8a4fe3, 0xa136d4, 0xb31fd4, 0xb31fba, 0xb30da6, 0xbd0d87, 0xc70066, 0xcc0059, 0xd1004f, 0xd90045, 0xe00038, 0xe6002e,
    0xeb0026,
];

/// The colour of viridis at `fraction`, from dark blue at 0 to yellow at 1.
pub fn viridis(fraction: f64) -> Rgb {
    let place = fraction.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    mix(rgb(VIRIDIS[below]), rgb(VIRIDIS[below + 1]), place - below as f64)
}

/// The usual colour of an element; grey for elements without one.
pub fn element(number: u8) -> Rgb {
    usize::from(number).checked_sub(1).and_then(|k| ELEMENTS.get(k)).map_or([0x90; 3], |&colour| rgb(colour))
}

/// A mixture of `a` with the share `fraction` of `b`.
pub fn mix(a: Rgb, b: Rgb, fraction: f64) -> Rgb {
    std::array::from_fn(|k| (f64::from(a[k]) + fraction * (f64::from(b[k]) - f64::from(a[k]))).round() as u8)
}

/// The colour as CSS writes it.
pub fn css([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The colour 0xrrggbb.
pub fn rgb(colour: u32) -> Rgb {
    let [_, r, g, b] = colour.to_be_bytes();
    [r, g, b]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viridis_begins_and_ends_as_published_and_its_lightness_grows() {
        assert_eq!(
            (css(viridis(0.0)), css(viridis(1.0)), css(viridis(2.0))),
            ("#440154".into(), "#fde725".into(), "#fde725".into())
        );
        let light = |[r, g, b]: Rgb| 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
        let lights: Vec<f64> = (0..=40).map(|k| light(viridis(f64::from(k) / 40.0))).collect();
        assert!(lights.windows(2).all(|pair| pair[0] < pair[1]), "{lights:?}");
    }

    #[test]
    fn elements_have_their_usual_colours() {
        assert_eq!(css(element(8)), "#ff0d0d");
        assert_eq!(css(element(79)), "#ffd123");
        assert_eq!((css(element(0)), css(element(118))), ("#909090".into(), "#909090".into()));
    }
}
