//! Resizing with the bits of OpenCV: no filter but for `area`, so a reduction skips pixels, in fixed point of 11 bits.

use std::convert::identity;

use super::recipe::Method;
use super::{Raster, clamp};

/// Bits behind the point of a coefficient.
const BITS: u32 = 11;
const ONE: f32 = 2048.0;

/// Resizes. Same as `cv2.resize(image, (width, height), interpolation=…)` of OpenCV 4 and 5 for uint8 with 1 to 4 channels.
///
/// Nearest, bilinear and Lanczos are integers throughout and equal to the bit. Bicubic and area use float32, in the
/// order of OpenCV's x86-64 code; on other processors OpenCV itself may differ from that by one grey level.
pub(super) fn resize(raster: &Raster, width: usize, height: usize, method: Method) -> Raster {
    let (scale_x, scale_y) = (scale(raster.width, width), scale(raster.height, height));
    let whole = |scale: f64| (scale - scale.round()).abs() < f64::EPSILON;
    let is_fast = whole(scale_x) && whole(scale_y);
    #[expect(clippy::float_cmp, reason = "the original asks the same of a rounded number")]
    let is_half = is_fast && scale_x.round() == 2.0 && scale_y.round() == 2.0;
    match method {
        Method::Nearest => nearest(raster, width, height),
        Method::Bilinear if is_half => area_fast(raster, width, height),
        Method::Area if scale_x >= 1.0 && scale_y >= 1.0 => {
            if is_fast {
                area_fast(raster, width, height)
            } else {
                area(raster, width, height)
            }
        }
        Method::Bilinear => separable(raster, width, height, bilinear, (short, linear_row)),
        Method::Area => separable(raster, width, height, enlarging, (short, linear_row)),
        Method::Bicubic => separable(raster, width, height, bicubic, (identity, cubic_row)),
        Method::Lanczos => {
            let row = |lines: [&[i32]; 8], weights, data: &mut Vec<u8>| {
                fixed_row(lines, weights, 0, data);
            };
            separable(raster, width, height, lanczos, (identity, row))
        }
    }
}

/// Resizes. Same as `cv2.resize(…, interpolation=cv2.INTER_CUBIC)` where OpenCV leaves it to Intel's IPP.
///
/// The source of IPP is not public. A convolution in float64 that is rounded once gives the same bits but for about one
/// value in 100,000, which differs by one grey level.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "sizes are below 2^31; places are cut to the picture, results are clamped"
)]
pub(super) fn resize_ipp(raster: &Raster, width: usize, height: usize) -> Raster {
    let taps = |old: usize, new: usize| -> Vec<[(usize, f64); 4]> {
        let scale = old as f64 / new as f64;
        let tap = |at: usize| {
            let x = (at as f64 + 0.5) * scale - 0.5;
            let place = x.floor() as i64;
            let x = x - x.floor();
            let near = |x: f64| (1.25 * x - 2.25) * x * x + 1.0;
            let first = ((-0.75 * (x + 1.0) + 3.75) * (x + 1.0) - 6.0) * (x + 1.0) + 3.0;
            let (second, third) = (near(x), near(1.0 - x));
            let weights = [first, second, third, 1.0 - first - second - third];
            let mut taps = [(0, 0.0); 4];
            for ((tap, weight), offset) in taps.iter_mut().zip(weights).zip(-1..) {
                *tap = ((place + offset).clamp(0, old as i64 - 1) as usize, weight);
            }
            taps
        };
        (0..new).map(tap).collect()
    };
    let channels = raster.channels;
    let stride = width * channels;
    let columns = taps(raster.width, width);
    let mut stretched = Vec::with_capacity(stride * raster.height);
    for row in raster.data.chunks_exact(raster.width * channels) {
        for column in &columns {
            for channel in 0..channels {
                let value =
                    |(x, weight): &(usize, f64)| f64::from(row[x * channels + channel]) * weight;
                stretched.push(column.iter().map(value).sum::<f64>());
            }
        }
    }
    let mut data = Vec::with_capacity(stride * height);
    for row in taps(raster.height, height) {
        for x in 0..stride {
            let sum: f64 = row.iter().map(|(y, weight)| stretched[y * stride + x] * weight).sum();
            data.push(clamp(sum.round_ties_even() as i32));
        }
    }
    Raster { width, height, channels, data }
}

fn scale(old: usize, new: usize) -> f64 {
    1.0 / inverse_scale(old, new)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^31")]
fn inverse_scale(old: usize, new: usize) -> f64 {
    new as f64 / old as f64
}

/// Down to the next integer, within `0..size`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and cut to the size"
)]
fn floor(x: f64, size: usize) -> usize {
    (x.floor().max(0.0) as usize).min(size - 1)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^31")]
fn nearest(raster: &Raster, width: usize, height: usize) -> Raster {
    let channels = raster.channels;
    let places = |old: usize, new: usize| -> Vec<usize> {
        let scale = scale(old, new);
        (0..new).map(|at| floor(at as f64 * scale, old)).collect()
    };
    let columns = places(raster.width, width);
    let mut data = Vec::with_capacity(width * height * channels);
    for y in places(raster.height, height) {
        let row = &raster.data[y * raster.width * channels..];
        for x in &columns {
            data.extend_from_slice(&row[x * channels..(x + 1) * channels]);
        }
    }
    Raster { width, height, channels, data }
}

/// One direction of a picture.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Samples before.
    old: usize,
    /// Samples after.
    new: usize,
    is_x: bool,
}

impl Axis {
    /// The sample in the middle, or left of it, that this one of the result comes from, and how far to the right it lies.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sizes are below 2^31, and the original computes in these types"
    )]
    fn centre(self, at: usize) -> (i64, f32) {
        let x = ((at as f64 + 0.5) * scale(self.old, self.new) - 0.5) as f32;
        (x.floor() as i64, x - x.floor())
    }

    /// Two neighbours.
    #[expect(clippy::cast_possible_wrap, reason = "sizes are below 2^31")]
    fn neighbours(self, (mut place, mut x): (i64, f32)) -> (i64, [f32; 2]) {
        let last = self.old as i64 - 1;
        // The original does so in rows only; in columns the border is taken twice, which rounds differently.
        if self.is_x && place < 0 {
            (place, x) = (0, 0.0);
        }
        if self.is_x && place >= last {
            (place, x) = (last, 0.0);
        }
        (place, [1.0 - x, x])
    }
}

/// The first sample that one of the result is made of, and the weights of it and of those that follow.
type Place<const N: usize> = (i64, [f32; N]);

fn bilinear(axis: Axis, at: usize) -> Place<2> {
    axis.neighbours(axis.centre(at))
}

/// What `INTER_AREA` does where it has nothing to reduce.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "sizes are below 2^31, and the original computes in these types"
)]
fn enlarging(axis: Axis, at: usize) -> Place<2> {
    let (scale, inverse) = (scale(axis.old, axis.new), inverse_scale(axis.old, axis.new));
    let place = (at as f64 * scale).floor();
    let x = ((at + 1) as f64 - (place + 1.0) * inverse) as f32;
    axis.neighbours((place as i64, if x <= 0.0 { 0.0 } else { x - x.floor() }))
}

fn bicubic(axis: Axis, at: usize) -> Place<4> {
    let (place, x) = axis.centre(at);
    (place - 1, cubic_weights(x))
}

fn lanczos(axis: Axis, at: usize) -> Place<8> {
    let (place, x) = axis.centre(at);
    (place - 3, lanczos_weights(x))
}

/// What one sample of the result is made of: neighbouring ones, repeated at the border.
struct Taps<const N: usize> {
    places: [usize; N],
    weights: [i32; N],
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "sizes are below 2^31, places are cut to them, and weights are at most a few thousand"
)]
fn taps<const N: usize>(axis: Axis, place: impl Fn(Axis, usize) -> Place<N>) -> Vec<Taps<N>> {
    let last = axis.old as i64 - 1;
    let tap = |at: usize| {
        let (first, weights) = place(axis, at);
        Taps {
            places: std::array::from_fn(|tap| (first + tap as i64).clamp(0, last) as usize),
            weights: weights.map(|weight| (weight * ONE).round_ties_even() as i32),
        }
    };
    (0..axis.new).map(tap).collect()
}

fn cubic_weights(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let first = ((A * (x + 1.0) - 5.0 * A) * (x + 1.0) + 8.0 * A) * (x + 1.0) - 4.0 * A;
    let (second, third) = (near(x), near(1.0 - x));
    [first, second, third, 1.0 - first - second - third]
}

#[expect(clippy::cast_possible_truncation, reason = "the original computes in these types")]
fn lanczos_weights(x: f32) -> [f32; 8] {
    const HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const FACTORS: [(f64, f64); 8] = [
        (1.0, 0.0),
        (-HALF, -HALF),
        (0.0, 1.0),
        (HALF, -HALF),
        (-1.0, 0.0),
        (HALF, HALF),
        (0.0, -1.0),
        (-HALF, HALF),
    ];
    const QUARTER: f64 = std::f64::consts::PI * 0.25;
    let angle = f64::from(-(x + 3.0)) * std::f64::consts::PI * 0.25;
    let (sine, cosine) = (angle.sin(), angle.cos());
    let mut weights = [0.0_f32; 8];
    let mut sum = 0.0_f32;
    for ((weight, (by_sine, by_cosine)), tap) in
        weights.iter_mut().zip(FACTORS).zip([0_i8, 1, 2, 3, 4, 5, 6, 7])
    {
        let distance = x + 3.0 - f32::from(tap);
        *weight = if distance.abs() >= 1e-6 {
            let y = -f64::from(distance) * QUARTER;
            ((by_sine * sine + by_cosine * cosine) / (y * y)) as f32
        } else {
            1e30
        };
        sum += *weight;
    }
    let sum = 1.0 / sum;
    weights.map(|weight| weight * sum)
}

/// First along the rows, then along the columns: `keep` says what is kept of a sum along a row, and `row` makes a row of the result out of as
/// many that were stretched.
fn separable<const N: usize, T: Copy + Default, K: Fn(i32) -> T>(
    raster: &Raster,
    width: usize,
    height: usize,
    place: impl Fn(Axis, usize) -> Place<N> + Copy,
    (keep, row): (K, impl Fn([&[T]; N], [i32; N], &mut Vec<u8>)),
) -> Raster {
    let channels = raster.channels;
    let stretch = match channels {
        1 => stretch::<N, 1, T, K>,
        2 => stretch::<N, 2, T, K>,
        3 => stretch::<N, 3, T, K>,
        _ => stretch::<N, 4, T, K>,
    };
    let columns = taps(Axis { old: raster.width, new: width, is_x: true }, place);
    let rows = taps(Axis { old: raster.height, new: height, is_x: false }, place);
    let (stride, old_stride) = (width * channels, raster.width * channels);
    // Rows that were stretched, and which ones they are: neighbours share most of them.
    let mut stretched: [(usize, Vec<T>); N] =
        std::array::from_fn(|_| (usize::MAX, vec![T::default(); stride]));
    let mut data = Vec::with_capacity(stride * height);
    for Taps { places, weights } in rows {
        for (tap, y) in places.into_iter().enumerate() {
            if stretched[tap].0 == y {
                continue;
            }
            if let Some(known) = (tap + 1..N).find(|known| stretched[*known].0 == y) {
                stretched.swap(tap, known);
                continue;
            }
            let (known, values) = &mut stretched[tap];
            *known = y;
            stretch(&raster.data[y * old_stride..(y + 1) * old_stride], &columns, &keep, values);
        }
        row(stretched.each_ref().map(|(_, values)| values.as_slice()), weights, &mut data);
    }
    Raster { width, height, channels, data }
}

/// One row, of pixels of so many channels.
fn stretch<const N: usize, const CHANNELS: usize, T, K: Fn(i32) -> T>(
    row: &[u8],
    columns: &[Taps<N>],
    keep: &K,
    stretched: &mut [T],
) {
    let (row, _whole) = row.as_chunks::<CHANNELS>();
    let (stretched, _whole) = stretched.as_chunks_mut::<CHANNELS>();
    for (result, taps) in stretched.iter_mut().zip(columns) {
        let mut sums = [0_i32; CHANNELS];
        for (place, weight) in taps.places.iter().zip(taps.weights) {
            for (sum, value) in sums.iter_mut().zip(row[*place]) {
                *sum += i32::from(value) * weight;
            }
        }
        *result = sums.map(keep);
    }
}

/// What the original takes of a sum of two neighbours for the next step. Their weights are not negative and add up to 2048, or 2049 by
/// rounding, so it is at most 255 * 2049 / 16 = 32,655; and in 16 bits every processor multiplies eight at a time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and at most 32,655"
)]
fn short(sum: i32) -> u16 {
    (sum >> 4) as u16
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "weights are within 0..=2048, and parts at most 1,020"
)]
fn linear_row([above, below]: [&[u16]; 2], weights: [i32; 2], data: &mut Vec<u8>) {
    let [first, second] = weights.map(|weight| weight as u16);
    data.extend(above.iter().zip(below).map(|(above, below)| {
        let part = |value: u16, weight: u16| ((u32::from(weight) * u32::from(value)) >> 16) as u16;
        u8::try_from((part(*above, first) + part(*below, second) + 2) >> 2).unwrap_or(u8::MAX)
    }));
}

fn fixed_row<const N: usize>(
    lines: [&[i32]; N],
    weights: [i32; N],
    from: usize,
    data: &mut Vec<u8>,
) {
    let width = lines.first().map_or(0, |line| line.len());
    for x in from..width {
        let sum = lines
            .iter()
            .zip(weights)
            .fold(0_i32, |sum, (line, weight)| sum.wrapping_add(line[x].wrapping_mul(weight)));
        data.push(clamp(sum.wrapping_add(1 << (2 * BITS - 1)) >> (2 * BITS)));
    }
}

/// Eight at a time in float32, as OpenCV does with vectors of 16 bytes; the rest in fixed point.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the original computes in float32; the result is clamped"
)]
fn cubic_row(lines: [&[i32]; 4], weights: [i32; 4], data: &mut Vec<u8>) {
    const SCALE: f32 = 1.0 / (ONE * ONE);
    let [a, b, c, d] = lines;
    let [wa, wb, wc, wd] = weights.map(|weight| weight as f32 * SCALE);
    let vectors = a.len() - a.len() % 8;
    for x in 0..vectors {
        let part = |line: &[i32], weight: f32| line[x] as f32 * weight;
        let sum = part(a, wa) + (part(b, wb) + (part(c, wc) + part(d, wd)));
        data.push(clamp(sum.round_ties_even() as i32));
    }
    fixed_row(lines, weights, vectors, data);
}

/// Reductions by whole numbers: the mean of a cell.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the original computes in float32; a mean of u8 is one"
)]
fn area_fast(raster: &Raster, width: usize, height: usize) -> Raster {
    let channels = raster.channels;
    let (across, down) = (raster.width / width, raster.height / height);
    let factor = 1.0 / (across * down) as f32;
    let is_quarter = across == 2 && down == 2 && channels != 2;
    let mut sums = vec![0_i32; width * channels];
    let mut data = Vec::with_capacity(width * height * channels);
    for rows in raster.data.chunks_exact(raster.width * channels * down) {
        sums.fill(0);
        for row in rows.chunks_exact(raster.width * channels) {
            for (sum, cell) in
                sums.chunks_exact_mut(channels).zip(row.chunks_exact(across * channels))
            {
                for pixel in cell.chunks_exact(channels) {
                    for (sum, sample) in sum.iter_mut().zip(pixel) {
                        *sum += i32::from(*sample);
                    }
                }
            }
        }
        data.extend(sums.iter().map(|sum| {
            if is_quarter {
                clamp((sum + 2) >> 2)
            } else {
                clamp((*sum as f32 * factor).round_ties_even() as i32)
            }
        }));
    }
    Raster { width, height, channels, data }
}

/// A share that a place has in a cell of the result.
struct Share {
    place: usize,
    cell: usize,
    weight: f32,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are below 2^31, and the original computes in these types"
)]
fn shares(old: usize, new: usize) -> Vec<Share> {
    let scale = scale(old, new);
    let mut shares = Vec::with_capacity(old * 2);
    for cell in 0..new {
        let start = cell as f64 * scale;
        let end = start + scale;
        let width = scale.min(old as f64 - start);
        let last = (end.floor() as usize).min(old - 1);
        let first = (start.ceil() as usize).min(last);
        if first as f64 - start > 1e-3 {
            let weight = ((first as f64 - start) / width) as f32;
            shares.push(Share { place: first - 1, cell, weight });
        }
        let weight = (1.0 / width) as f32;
        shares.extend((first..last).map(|place| Share { place, cell, weight }));
        if end - last as f64 > 1e-3 {
            let weight = ((end - last as f64).min(1.0).min(width) / width) as f32;
            shares.push(Share { place: last, cell, weight });
        }
    }
    shares
}

#[expect(clippy::cast_possible_truncation, reason = "a mean of u8 is one")]
fn area(raster: &Raster, width: usize, height: usize) -> Raster {
    let channels = raster.channels;
    let columns = shares(raster.width, width);
    let stride = width * channels;
    let mut line = vec![0.0_f32; stride];
    let mut sum = vec![0.0_f32; stride];
    let mut data = Vec::with_capacity(stride * height);
    let mut cell = 0;
    let mut flush = |sum: &[f32]| {
        data.extend(sum.iter().map(|value| clamp(value.round_ties_even() as i32)));
    };
    for row in shares(raster.height, height) {
        let source = &raster.data[row.place * raster.width * channels..];
        line.fill(0.0);
        for share in &columns {
            for channel in 0..channels {
                line[share.cell * channels + channel] +=
                    f32::from(source[share.place * channels + channel]) * share.weight;
            }
        }
        if row.cell == cell {
            for (sum, value) in sum.iter_mut().zip(&line) {
                *sum += row.weight * value;
            }
        } else {
            flush(&sum);
            cell = row.cell;
            for (sum, value) in sum.iter_mut().zip(&line) {
                *sum = row.weight * value;
            }
        }
    }
    flush(&sum);
    Raster { width, height, channels, data }
}
