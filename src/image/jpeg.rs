//! JPEG to pixels with the bits of libjpeg-turbo, which both OpenCV and Pillow use.
//!
//! Two decoders of one JPEG may differ by several grey levels, since the standard leaves rounding and the interpolation of
//! subsampled colour open. A model was trained on what one of them gave, so this is that one: the slow integer inverse
//! transform (`jidctint`), "fancy" upsampling (`jdsample`) and the colour conversion by tables (`jdcolor`) of libjpeg-turbo
//! 2 and 3, with its default settings. Sequential and progressive Huffman coding, 8 bits, one or three components.
//! Knows nothing of files and never panics on what it is given.

use super::{ImageError, Raster, clamp};

/// What the markers before the first scan say.
#[derive(Debug, Clone, Default)]
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) height: usize,
    /// The EXIF block, from its byte order on.
    pub(super) exif: Option<Vec<u8>>,
}

const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Each scan goes through all blocks, however few bytes it has. Real files have about ten.
const MAX_SCANS: usize = 200;

fn broken(problem: &str) -> ImageError {
    ImageError::Broken { problem: problem.to_owned() }
}

fn truncated() -> ImageError {
    ImageError::Broken { problem: "the JPEG data end too early".to_owned() }
}

fn unsupported(what: &str) -> ImageError {
    ImageError::Unsupported { what: what.to_owned() }
}

#[derive(Debug, Clone, Default)]
struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    h: usize,
    v: usize,
    quantization: usize,
    /// Size in blocks, up to whole MCUs.
    blocks_wide: usize,
    blocks_high: usize,
    /// Size in samples that belong to the image.
    width: usize,
    height: usize,
    /// Samples, `blocks_wide * 8` a row.
    samples: Vec<u8>,
    /// Coefficients of a progressive file, 64 a block.
    coefficients: Vec<i16>,
    /// The table with which the samples were dequantised is that of the component's first scan.
    table: Option<[u16; 64]>,
    dc: i32,
}

#[derive(Debug, Clone)]
struct Huffman {
    /// For the next 9 bits: length << 8 | value, 0 for longer codes.
    fast: Vec<u16>,
    /// For each length the first code beyond it, aligned to 16 bits.
    limit: [u32; 18],
    /// For each length what to add to a code to get the index of its value.
    delta: [i32; 17],
    values: Vec<u8>,
}

const FAST_BITS: u32 = 9;

impl Huffman {
    fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self, ImageError> {
        let mut fast = vec![0_u16; 1 << FAST_BITS];
        let mut limit = [0_u32; 18];
        let mut delta = [0_i32; 17];
        let (mut code, mut at) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts) {
            let n = usize::from(*count);
            #[expect(clippy::cast_possible_wrap, reason = "both are below 2^17")]
            #[expect(clippy::cast_possible_truncation, reason = "at is at most 256")]
            {
                delta[length as usize] = at as i32 - code as i32;
            }
            for _ in 0..n {
                let value =
                    *values.get(at).ok_or_else(|| broken("a Huffman table is too short"))?;
                if length <= FAST_BITS {
                    let shift = FAST_BITS - length;
                    let first = (code << shift) as usize;
                    let entry = u16::try_from(length).unwrap_or(0) << 8 | u16::from(value);
                    fast.get_mut(first..first + (1 << shift))
                        .ok_or_else(|| broken("a Huffman table has too many codes"))?
                        .fill(entry);
                }
                code += 1;
                at += 1;
            }
            if code > 1 << length {
                return Err(broken("a Huffman table has too many codes"));
            }
            limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        limit[17] = u32::MAX;
        Ok(Self { fast, limit, delta, values: values.to_vec() })
    }
}

/// The bits of one scan.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    n: u32,
    /// Of the bits in the buffer so many are not of the file, but zeros after its end or before a marker.
    padding: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, buffer: 0, n: 0, padding: 0 }
    }

    fn fill(&mut self) {
        while self.n <= 48 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(byte), _) => {
                    self.at += 1;
                    *byte
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.n += 8;
        }
    }

    fn peek(&mut self, n: u32) -> u32 {
        if self.n < n {
            self.fill();
        }
        #[expect(clippy::cast_possible_truncation, reason = "masked to n bits, at most 16")]
        let bits = (self.buffer >> (self.n - n)) as u32 & ((1 << n) - 1);
        bits
    }

    fn skip(&mut self, n: u32) -> Result<(), ImageError> {
        self.n -= n;
        if self.n < self.padding { Err(truncated()) } else { Ok(()) }
    }

    fn take(&mut self, n: u32) -> Result<u32, ImageError> {
        if n == 0 {
            return Ok(0);
        }
        let bits = self.peek(n);
        self.skip(n)?;
        Ok(bits)
    }

    fn bit(&mut self) -> Result<bool, ImageError> {
        Ok(self.take(1)? == 1)
    }

    fn symbol(&mut self, table: &Huffman) -> Result<u8, ImageError> {
        let bits = self.peek(16);
        let entry = table.fast[(bits >> (16 - FAST_BITS)) as usize];
        if entry != 0 {
            self.skip(u32::from(entry >> 8))?;
            return Ok((entry & 0xff) as u8);
        }
        let mut length = FAST_BITS + 1;
        while bits >= table.limit[length as usize] {
            length += 1;
        }
        if length > 16 {
            return Err(broken("a Huffman code is not in its table"));
        }
        self.skip(length)?;
        #[expect(clippy::cast_possible_wrap, reason = "16 bits")]
        let at = (bits >> (16 - length)) as i32 + table.delta[length as usize];
        let value = usize::try_from(at).ok().and_then(|at| table.values.get(at));
        value.copied().ok_or_else(|| broken("a Huffman code is not in its table"))
    }

    /// A number of `n` bits, of which the upper half stands for itself and the lower one for the negative numbers.
    fn signed(&mut self, n: u32) -> Result<i32, ImageError> {
        if n > 15 {
            return Err(broken("a coefficient has more than 15 bits"));
        }
        let bits = self.take(n)?;
        #[expect(clippy::cast_possible_wrap, reason = "at most 15 bits")]
        let value = bits as i32;
        Ok(if n > 0 && value < 1 << (n - 1) { value - (1 << n) + 1 } else { value })
    }

    /// Goes on after the next restart marker.
    fn restart(&mut self) -> Result<(), ImageError> {
        (self.buffer, self.n, self.padding) = (0, 0, 0);
        // What the buffer held was at most the padding bits of the last byte: `at` stands before the marker, unless
        // the file is not sound.
        while let Some(byte) = self.data.get(self.at) {
            if *byte == 0xff {
                match self.data.get(self.at + 1) {
                    Some(0xd0..=0xd7) => {
                        self.at += 2;
                        return Ok(());
                    }
                    Some(0xff | 0) => {}
                    _ => return Err(broken("a restart marker is missing")),
                }
            }
            self.at += 1;
        }
        Err(truncated())
    }
}

/// One scan: which components, which coefficients, which bit of them.
struct Scan {
    /// Index of the component, of its DC and its AC table.
    components: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    high: u32,
    low: u32,
}

#[derive(Default)]
struct Decoder {
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    max_h: usize,
    max_v: usize,
    quantization: [Option<[u16; 64]>; 4],
    dc_tables: [Option<Huffman>; 4],
    ac_tables: [Option<Huffman>; 4],
    restart_interval: usize,
    jfif: bool,
    adobe: Option<u8>,
    exif: Option<Vec<u8>>,
    n_scans: usize,
    end_of_bands: u32,
}

fn be16(data: &[u8], at: usize) -> Result<usize, ImageError> {
    match data.get(at..at + 2) {
        Some([high, low]) => Ok(usize::from(*high) << 8 | usize::from(*low)),
        _ => Err(truncated()),
    }
}

/// Reads the markers up to the size, and no pixels.
pub(super) fn header(data: &[u8]) -> Result<Header, ImageError> {
    let mut decoder = Decoder::default();
    decoder.run(data, true)?;
    Ok(Header { width: decoder.width, height: decoder.height, exif: decoder.exif })
}

/// Decodes: one channel for grey, else three in the order red, green, blue. Orientation is not applied.
pub(super) fn decode(data: &[u8]) -> Result<Raster, ImageError> {
    let mut decoder = Decoder::default();
    decoder.run(data, false)?;
    decoder.finish()
}

impl Decoder {
    /// Reads marker after marker, to the end of the image or, for the header alone, to the first scan.
    fn run(&mut self, data: &[u8], header_only: bool) -> Result<(), ImageError> {
        let mut at = 2;
        loop {
            while data.get(at).is_some_and(|byte| *byte != 0xff) {
                at += 1;
            }
            while data.get(at) == Some(&0xff) {
                at += 1;
            }
            let Some(marker) = data.get(at) else {
                // A file that is complete but for its last marker is taken, as by libjpeg.
                return if self.n_scans > 0 { Ok(()) } else { Err(truncated()) };
            };
            at += 1;
            match marker {
                0 | 0x01 | 0xd0..=0xd8 => continue,
                0xd9 if self.n_scans > 0 => return Ok(()),
                0xd9 => return Err(broken("the JPEG has no picture in it")),
                _ => {}
            }
            let length = be16(data, at)?;
            let segment = length
                .checked_sub(2)
                .and_then(|length| data.get(at + 2..at + 2 + length))
                .ok_or_else(truncated)?;
            at += length;
            match marker {
                0xc0..=0xc2 => self.frame(segment, *marker == 0xc2)?,
                0xc4 => self.huffman_tables(segment)?,
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => {
                    return Err(unsupported("JPEG with lossless or arithmetic coding"));
                }
                0xda if header_only => {
                    return if self.width == 0 {
                        Err(broken("the JPEG says no size"))
                    } else {
                        Ok(())
                    };
                }
                0xda if self.n_scans == MAX_SCANS => {
                    return Err(unsupported("JPEG with more than 200 scans"));
                }
                0xda => {
                    let scan = self.scan_header(segment)?;
                    at = self.scan(&scan, data, at)?;
                    self.n_scans += 1;
                }
                0xdb => self.quantization_tables(segment)?,
                0xdc => return Err(unsupported("JPEG that says its height at the end")),
                0xdd => self.restart_interval = be16(segment, 0)?,
                0xe0 if segment.starts_with(b"JFIF\0") => self.jfif = true,
                0xe1 if segment.starts_with(b"Exif\0\0") && self.exif.is_none() => {
                    self.exif = segment.get(6..).map(<[u8]>::to_vec);
                }
                0xee if segment.starts_with(b"Adobe") && segment.len() >= 12 => {
                    self.adobe = segment.get(11).copied();
                }
                _ => {}
            }
        }
    }

    fn frame(&mut self, segment: &[u8], progressive: bool) -> Result<(), ImageError> {
        if !self.components.is_empty() {
            return Err(broken("the JPEG says its size twice"));
        }
        let [precision, _, _, _, _, n, components @ ..] = segment else { return Err(truncated()) };
        if *precision != 8 {
            return Err(unsupported("JPEG with other than 8 bits a sample"));
        }
        (self.height, self.width) = (be16(segment, 1)?, be16(segment, 3)?);
        if self.width == 0 || self.height == 0 {
            return Err(broken("the JPEG has no size"));
        }
        if !matches!(n, 1 | 3) {
            return Err(unsupported("JPEG with other than one or three components (CMYK)"));
        }
        self.progressive = progressive;
        for chunk in components.chunks_exact(3).take(usize::from(*n)) {
            let [id, sampling, quantization] = chunk else { continue };
            let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || *quantization > 3 {
                return Err(broken("a component of the JPEG is not sound"));
            }
            let quantization = usize::from(*quantization);
            self.components.push(Component { id: *id, h, v, quantization, ..Component::default() });
        }
        if self.components.len() != usize::from(*n) {
            return Err(truncated());
        }
        self.max_h = self.components.iter().map(|c| c.h).max().unwrap_or(1);
        self.max_v = self.components.iter().map(|c| c.v).max().unwrap_or(1);
        let mcus_wide = self.width.div_ceil(8 * self.max_h);
        let mcus_high = self.height.div_ceil(8 * self.max_v);
        for component in &mut self.components {
            if !self.max_h.is_multiple_of(component.h) || !self.max_v.is_multiple_of(component.v) {
                return Err(unsupported(
                    "JPEG with sampling factors that do not divide each other",
                ));
            }
            component.blocks_wide = mcus_wide * component.h;
            component.blocks_high = mcus_high * component.v;
            component.width = (self.width * component.h).div_ceil(self.max_h);
            component.height = (self.height * component.v).div_ceil(self.max_v);
        }
        Ok(())
    }

    fn quantization_tables(&mut self, mut segment: &[u8]) -> Result<(), ImageError> {
        while let [kind, rest @ ..] = segment {
            let wide = kind >> 4 != 0;
            let n = if wide { 128 } else { 64 };
            let values = rest.get(..n).ok_or_else(truncated)?;
            let mut table = [0_u16; 64];
            for (at, place) in ZIGZAG.iter().enumerate() {
                table[usize::from(*place)] = if wide {
                    u16::from(values[2 * at]) << 8 | u16::from(values[2 * at + 1])
                } else {
                    u16::from(values[at])
                };
            }
            *self
                .quantization
                .get_mut(usize::from(kind & 15))
                .ok_or_else(|| broken("a quantisation table has no such number"))? = Some(table);
            segment = &rest[n..];
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<(), ImageError> {
        while let [kind, rest @ ..] = segment {
            let counts: &[u8; 16] = rest.first_chunk().ok_or_else(truncated)?;
            let n: usize = counts.iter().map(|n| usize::from(*n)).sum();
            let values = rest.get(16..16 + n).ok_or_else(truncated)?;
            let tables = if kind >> 4 == 0 { &mut self.dc_tables } else { &mut self.ac_tables };
            *tables
                .get_mut(usize::from(kind & 15))
                .ok_or_else(|| broken("a Huffman table has no such number"))? =
                Some(Huffman::new(counts, values)?);
            segment = &rest[16 + n..];
        }
        Ok(())
    }

    fn scan_header(&self, segment: &[u8]) -> Result<Scan, ImageError> {
        if self.components.is_empty() {
            return Err(broken("a scan before the size"));
        }
        let n = usize::from(*segment.first().ok_or_else(truncated)?);
        let [first, last, bits] = segment.get(1 + 2 * n..4 + 2 * n).ok_or_else(truncated)? else {
            return Err(truncated());
        };
        let mut components = Vec::with_capacity(n);
        for pair in segment[1..=2 * n].chunks_exact(2) {
            let index = self.components.iter().position(|component| component.id == pair[0]);
            let index = index.ok_or_else(|| broken("a scan of an unknown component"))?;
            let (dc, ac) = (usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
            if dc > 3 || ac > 3 || components.iter().any(|(known, _, _)| *known == index) {
                return Err(broken("the header of a scan is not sound"));
            }
            components.push((index, dc, ac));
        }
        let (first, last) = (usize::from(*first), usize::from(*last));
        let (high, low) = (u32::from(bits >> 4), u32::from(bits & 15));
        let scan = if self.progressive {
            Scan { components, first, last, high, low }
        } else {
            Scan { components, first: 0, last: 63, high: 0, low: 0 }
        };
        let sound = !scan.components.is_empty()
            && scan.last < 64
            && scan.first <= scan.last
            && scan.low <= 13
            && (!self.progressive || (scan.first == 0) == (scan.last == 0))
            && (scan.first == 0 || scan.components.len() == 1);
        if sound { Ok(scan) } else { Err(broken("the header of a scan is not sound")) }
    }

    /// Reads the data of a scan; returns where they end.
    fn scan(&mut self, scan: &Scan, data: &[u8], at: usize) -> Result<usize, ImageError> {
        let mut bits = Bits::new(data, at);
        for (index, _, _) in &scan.components {
            let component = &mut self.components[*index];
            component.dc = 0;
            if component.table.is_none() {
                component.table = self.quantization[component.quantization];
            }
            if component.table.is_none() {
                return Err(broken("a quantisation table is missing"));
            }
            let n_blocks = component.blocks_wide * component.blocks_high;
            if self.progressive {
                component.coefficients.resize(n_blocks * 64, 0);
            } else {
                component.samples.resize(n_blocks * 64, 128);
            }
        }
        self.end_of_bands = 0;
        let interleaved = scan.components.len() > 1;
        let (wide, high) = if interleaved {
            (self.width.div_ceil(8 * self.max_h), self.height.div_ceil(8 * self.max_v))
        } else {
            let component = &self.components[scan.components[0].0];
            (component.width.div_ceil(8), component.height.div_ceil(8))
        };
        let mut until_restart = self.restart_interval;
        for y in 0..high {
            for x in 0..wide {
                if self.restart_interval > 0 {
                    if until_restart == 0 {
                        bits.restart()?;
                        until_restart = self.restart_interval;
                        self.end_of_bands = 0;
                        self.components.iter_mut().for_each(|component| component.dc = 0);
                    }
                    until_restart -= 1;
                }
                for &(index, dc, ac) in &scan.components {
                    let (h, v) = if interleaved {
                        (self.components[index].h, self.components[index].v)
                    } else {
                        (1, 1)
                    };
                    for block_y in 0..v {
                        for block_x in 0..h {
                            let place = (x * h + block_x, y * v + block_y);
                            self.block(scan, &mut bits, index, (dc, ac), place)?;
                        }
                    }
                }
            }
        }
        Ok(bits.at)
    }

    fn block(
        &mut self,
        scan: &Scan,
        bits: &mut Bits<'_>,
        index: usize,
        (dc, ac): (usize, usize),
        (x, y): (usize, usize),
    ) -> Result<(), ImageError> {
        let component = &mut self.components[index];
        let (dc, ac) = (self.dc_tables[dc].as_ref(), self.ac_tables[ac].as_ref());
        let missing = || broken("a Huffman table is missing");
        let number = y * component.blocks_wide + x;
        if !self.progressive {
            let mut block = [0_i16; 64];
            sequential(
                bits,
                dc.ok_or_else(missing)?,
                ac.ok_or_else(missing)?,
                &mut component.dc,
                &mut block,
            )?;
            let table = component.table.as_ref().ok_or_else(missing)?;
            let stride = component.blocks_wide * 8;
            inverse_transform(
                &block,
                table,
                &mut component.samples[y * 8 * stride + x * 8..],
                stride,
            );
            return Ok(());
        }
        let block: &mut [i16; 64] = component
            .coefficients
            .get_mut(number * 64..number * 64 + 64)
            .and_then(|block| block.try_into().ok())
            .ok_or_else(|| broken("a block outside of the picture"))?;
        if scan.first == 0 {
            if scan.high == 0 {
                let n = bits.symbol(dc.ok_or_else(missing)?)?;
                component.dc = component.dc.wrapping_add(bits.signed(u32::from(n))?);
                block[0] = to_i16(component.dc << scan.low);
            } else if bits.bit()? {
                block[0] |= 1 << scan.low;
            }
            return Ok(());
        }
        let ac = ac.ok_or_else(missing)?;
        if scan.high == 0 {
            first_bits(scan, bits, ac, &mut self.end_of_bands, block)
        } else {
            further_bits(scan, bits, ac, &mut self.end_of_bands, block)
        }
    }

    /// Transforms what is still coefficients, brings all components to the size of the image and converts the colours.
    fn finish(mut self) -> Result<Raster, ImageError> {
        for component in &mut self.components {
            if component.table.is_none() {
                return Err(broken("the JPEG lacks a component"));
            }
            if self.progressive {
                let table = component.table.unwrap_or([1; 64]);
                let stride = component.blocks_wide * 8;
                component.samples = vec![0; component.blocks_wide * component.blocks_high * 64];
                for (number, block) in component.coefficients.chunks_exact(64).enumerate() {
                    let (x, y) = (number % component.blocks_wide, number / component.blocks_wide);
                    let Ok(block) = block.try_into() else { continue };
                    inverse_transform(
                        block,
                        &table,
                        &mut component.samples[y * 8 * stride + x * 8..],
                        stride,
                    );
                }
                component.coefficients = Vec::new();
            }
        }
        let n = self.components.len();
        let is_rgb = n == 3 && self.is_rgb();
        let mut rows: Vec<Vec<u8>> = vec![vec![0; self.width + 16]; n];
        let mut data = Vec::with_capacity(self.width * self.height * n);
        for y in 0..self.height {
            for (component, row) in self.components.iter().zip(&mut rows) {
                component.upsample(y, self.max_h / component.h, self.max_v / component.v, row);
            }
            match rows.as_slice() {
                [grey] => data.extend_from_slice(&grey[..self.width]),
                [red, green, blue] if is_rgb => {
                    for x in 0..self.width {
                        data.extend_from_slice(&[red[x], green[x], blue[x]]);
                    }
                }
                [luma, blue, red] => {
                    for x in 0..self.width {
                        data.extend_from_slice(&to_rgb(luma[x], blue[x], red[x]));
                    }
                }
                _ => {
                    return Err(unsupported("JPEG with other than one or three components (CMYK)"));
                }
            }
        }
        Ok(Raster { width: self.width, height: self.height, channels: n, data })
    }

    /// As libjpeg guesses it.
    fn is_rgb(&self) -> bool {
        if self.jfif {
            return false;
        }
        match self.adobe {
            Some(transform) => transform == 0,
            None => self.components.iter().map(|component| component.id).eq(*b"RGB"),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "coefficients have 16 bits, as in libjpeg; only a broken file has more"
)]
fn to_i16(value: i32) -> i16 {
    value as i16
}

fn sequential(
    bits: &mut Bits<'_>,
    dc_table: &Huffman,
    ac_table: &Huffman,
    dc: &mut i32,
    block: &mut [i16; 64],
) -> Result<(), ImageError> {
    let n = bits.symbol(dc_table)?;
    *dc = dc.wrapping_add(bits.signed(u32::from(n))?);
    block[0] = to_i16(*dc);
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(ac_table)?;
        let (run, n) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if n == 0 {
            if run < 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += run;
        let value = bits.signed(n)?;
        let place = ZIGZAG.get(at).ok_or_else(|| broken("a block has too many coefficients"))?;
        block[usize::from(*place)] = to_i16(value);
        at += 1;
    }
    Ok(())
}

fn first_bits(
    scan: &Scan,
    bits: &mut Bits<'_>,
    table: &Huffman,
    end_of_bands: &mut u32,
    block: &mut [i16; 64],
) -> Result<(), ImageError> {
    if *end_of_bands > 0 {
        *end_of_bands -= 1;
        return Ok(());
    }
    let mut at = scan.first;
    while at <= scan.last {
        let symbol = bits.symbol(table)?;
        let (run, n) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if n == 0 {
            if run < 15 {
                let run = u32::from(symbol >> 4);
                *end_of_bands = (1 << run) - 1 + bits.take(run)?;
                break;
            }
            at += 16;
            continue;
        }
        at += run;
        let value = bits.signed(n)?;
        let place = ZIGZAG.get(at).ok_or_else(|| broken("a block has too many coefficients"))?;
        block[usize::from(*place)] = to_i16(value << scan.low);
        at += 1;
    }
    Ok(())
}

fn further_bits(
    scan: &Scan,
    bits: &mut Bits<'_>,
    table: &Huffman,
    end_of_bands: &mut u32,
    block: &mut [i16; 64],
) -> Result<(), ImageError> {
    let plus = 1_i16 << scan.low;
    let refine = |value: &mut i16, bits: &mut Bits<'_>| -> Result<(), ImageError> {
        if bits.bit()? && *value & plus == 0 {
            *value = value.wrapping_add(if *value >= 0 { plus } else { -plus });
        }
        Ok(())
    };
    let mut at = scan.first;
    if *end_of_bands == 0 {
        while at <= scan.last {
            let symbol = bits.symbol(table)?;
            let (mut run, n) = (u32::from(symbol >> 4), symbol & 15);
            let mut new = 0;
            if n == 0 {
                if run < 15 {
                    *end_of_bands = (1 << run) + bits.take(run)?;
                    break;
                }
            } else {
                new = if bits.bit()? { plus } else { -plus };
            }
            while at <= scan.last {
                let value = &mut block[usize::from(ZIGZAG[at])];
                if *value == 0 {
                    if run == 0 {
                        *value = new;
                        at += 1;
                        break;
                    }
                    run -= 1;
                } else {
                    refine(value, bits)?;
                }
                at += 1;
            }
        }
    }
    if *end_of_bands > 0 {
        for place in &ZIGZAG[at..=scan.last] {
            let value = &mut block[usize::from(*place)];
            if *value != 0 {
                refine(value, bits)?;
            }
        }
        *end_of_bands -= 1;
    }
    Ok(())
}

/// Dequantises and transforms a block into 8 rows of `samples`, as `jpeg_idct_islow`.
fn inverse_transform(block: &[i16; 64], table: &[u16; 64], samples: &mut [u8], stride: usize) {
    let mut work = [0_i32; 64];
    for column in 0..8 {
        let at = |row: usize| {
            i32::from(block[row * 8 + column]).wrapping_mul(i32::from(table[row * 8 + column]))
        };
        let values = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
        if values[1..] == [0; 7] {
            for row in 0..8 {
                work[row * 8 + column] = values[0].wrapping_shl(2);
            }
            continue;
        }
        for (row, value) in transform(values).into_iter().enumerate() {
            work[row * 8 + column] = descale(value, 11);
        }
    }
    for (row, values) in work.chunks_exact(8).enumerate() {
        let mut eight = [0_i32; 8];
        eight.copy_from_slice(values);
        let Some(output) = samples.get_mut(row * stride..row * stride + 8) else { return };
        for (sample, value) in output.iter_mut().zip(transform(eight)) {
            *sample = clamp(descale(value, 18).wrapping_add(128));
        }
    }
}

fn descale(value: i32, n: u32) -> i32 {
    value.wrapping_add(1 << (n - 1)) >> n
}

/// Eight values of a row or column, scaled by 2^13.
fn transform(x: [i32; 8]) -> [i32; 8] {
    let mul = i32::wrapping_mul;
    let (add, sub) = (i32::wrapping_add, i32::wrapping_sub);
    let z1 = mul(add(x[2], x[6]), 4433);
    let even2 = sub(z1, mul(x[6], 15137));
    let even3 = add(z1, mul(x[2], 6270));
    let even0 = add(x[0], x[4]).wrapping_shl(13);
    let even1 = sub(x[0], x[4]).wrapping_shl(13);
    let (e0, e3) = (add(even0, even3), sub(even0, even3));
    let (e1, e2) = (add(even1, even2), sub(even1, even2));
    let [o0, o1, o2, o3] = [x[7], x[5], x[3], x[1]];
    let z5 = mul(add(add(o0, o2), add(o1, o3)), 9633);
    let z1 = mul(add(o0, o3), -7373);
    let z2 = mul(add(o1, o2), -20995);
    let z3 = add(mul(add(o0, o2), -16069), z5);
    let z4 = add(mul(add(o1, o3), -3196), z5);
    let o0 = add(mul(o0, 2446), add(z1, z3));
    let o1 = add(mul(o1, 16819), add(z2, z4));
    let o2 = add(mul(o2, 25172), add(z2, z3));
    let o3 = add(mul(o3, 12299), add(z1, z4));
    [
        add(e0, o3),
        add(e1, o2),
        add(e2, o1),
        add(e3, o0),
        sub(e3, o0),
        sub(e2, o1),
        sub(e1, o2),
        sub(e0, o3),
    ]
}

impl Component {
    /// The row `y` of the image, with `h` times as many samples as the component has, out of `v` times as many rows.
    fn upsample(&self, y: usize, h: usize, v: usize, output: &mut Vec<u8>) {
        let stride = self.blocks_wide * 8;
        let row = |y: usize| &self.samples[y * stride..y * stride + self.width];
        let here = row((y / v).min(self.height - 1));
        output.clear();
        // The neighbouring row counts a quarter: the one above for the upper half of a row of samples, else the one below.
        let other = || {
            let y_in = y / v;
            let other = if y.is_multiple_of(2) { y_in.saturating_sub(1) } else { y_in + 1 };
            row(other.min(self.height - 1))
        };
        match (h, v) {
            (1, 1) => output.extend_from_slice(here),
            (2, 1) if self.width > 2 => fancy(
                here.len(),
                |x| u32::from(here[x]),
                |near, far, odd| (near * 3 + far + 1 + odd) >> 2,
                output,
            ),
            (2, 2) if self.width > 2 => {
                let other = other();
                fancy(
                    here.len(),
                    |x| u32::from(here[x]) * 3 + u32::from(other[x]),
                    |near, far, odd| (near * 3 + far + 8 - odd) >> 4,
                    output,
                );
            }
            (1, 2) => {
                let bias = 1 + u32::from(y % 2 == 1);
                output.extend(here.iter().zip(other()).map(|(near, far)| {
                    to_u8((u32::from(*near) * 3 + u32::from(*far) + bias) >> 2)
                }));
            }
            _ => here.iter().for_each(|sample| output.extend(std::iter::repeat_n(*sample, h))),
        }
    }
}

fn to_u8(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// Two samples for each: three quarters of it and one of the neighbour. At both ends the sample is its own neighbour.
fn fancy(
    n: usize,
    value: impl Fn(usize) -> u32,
    mix: impl Fn(u32, u32, u32) -> u32,
    output: &mut Vec<u8>,
) {
    let mut before = value(0);
    let mut here = before;
    for x in 0..n {
        let after = if x + 1 < n { value(x + 1) } else { here };
        output.push(to_u8(mix(here, before, 0)));
        output.push(to_u8(mix(here, after, 1)));
        (before, here) = (here, after);
    }
}

fn to_rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    [
        clamp(luma + ((91881 * red + HALF) >> 16)),
        clamp(luma + ((-22554 * blue - 46802 * red + HALF) >> 16)),
        clamp(luma + ((116_130 * blue + HALF) >> 16)),
    ]
}
