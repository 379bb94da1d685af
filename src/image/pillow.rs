//! Resizing with the bits of Pillow: a convolution whose filter grows with the reduction, along rows and along columns.

use super::recipe::Method;
use super::{Raster, clamp};

/// Bits behind the point of a coefficient.
const PRECISION: u32 = 32 - 8 - 2;

/// Resizes. Same as `Image.resize((width, height), method)` of Pillow 9 to 13 for modes L and RGB, to the bit.
///
/// `method` `area` is Pillow's `BOX`. `reducing_gap` and `box` are as by default.
pub(super) fn resize(
    raster: &Raster,
    width: usize,
    height: usize,
    method: Method,
    columns_first: bool,
) -> Raster {
    let filter: Filter = match method {
        Method::Nearest => return nearest(raster, width, height),
        Method::Area => (|x| if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }, 0.5),
        Method::Bilinear => (triangle, 1.0),
        Method::Bicubic => (cubic, 2.0),
        Method::Lanczos => (lanczos, 3.0),
    };
    if columns_first {
        along_rows(&along_columns(raster, height, filter), width, filter)
    } else {
        along_columns(&along_rows(raster, width, filter), height, filter)
    }
}

/// A filter and how far it reaches.
type Filter = (fn(f64) -> f64, f64);

fn along_rows(raster: &Raster, width: usize, filter: Filter) -> Raster {
    if width == raster.width {
        return raster.clone();
    }
    let channels = raster.channels;
    let kernels = kernels(raster.width, width, filter);
    let mut data = Vec::with_capacity(width * raster.height * channels);
    for row in raster.data.chunks_exact(raster.width * channels) {
        for kernel in &kernels {
            for channel in 0..channels {
                let mut sum = 1_i32 << (PRECISION - 1);
                let samples = row[kernel.first * channels + channel..].iter().step_by(channels);
                for (sample, weight) in samples.zip(&kernel.weights) {
                    sum = sum.wrapping_add(i32::from(*sample).wrapping_mul(*weight));
                }
                data.push(clamp(sum >> PRECISION));
            }
        }
    }
    Raster { width, height: raster.height, channels, data }
}

fn along_columns(raster: &Raster, height: usize, filter: Filter) -> Raster {
    if height == raster.height {
        return raster.clone();
    }
    let stride = raster.width * raster.channels;
    let mut data = Vec::with_capacity(stride * height);
    let mut sums = vec![0_i32; stride];
    for kernel in kernels(raster.height, height, filter) {
        sums.fill(1 << (PRECISION - 1));
        let rows = raster.data[kernel.first * stride..].chunks_exact(stride);
        for (row, weight) in rows.zip(&kernel.weights) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(*sample).wrapping_mul(*weight));
            }
        }
        data.extend(sums.iter().map(|sum| clamp(sum >> PRECISION)));
    }
    Raster { width: raster.width, height, channels: raster.channels, data }
}

/// What one sample of the result is made of.
struct Kernel {
    first: usize,
    weights: Vec<i32>,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are below 2^31; a cast cuts off as the original's does, and what is negative is made 0 before"
)]
fn kernels(old: usize, new: usize, (filter, support): Filter) -> Vec<Kernel> {
    let scale = old as f64 / new as f64;
    let filter_scale = scale.max(1.0);
    let support = support * filter_scale;
    let inverse = 1.0 / filter_scale;
    let kernel = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let first = ((center - support + 0.5) as i64).max(0) as usize;
        let end = ((center + support + 0.5) as usize).min(old);
        let mut weights: Vec<f64> =
            (first..end).map(|x| filter((x as f64 - center + 0.5) * inverse)).collect();
        let mut sum = 0.0;
        weights.iter().for_each(|weight| sum += weight);
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        let scaled = |weight: f64| {
            let weight = weight * f64::from(1 << PRECISION);
            (if weight < 0.0 { weight - 0.5 } else { weight + 0.5 }) as i32
        };
        Kernel { first, weights: weights.into_iter().map(scaled).collect() }
    };
    (0..new).map(kernel).collect()
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            return 1.0;
        }
        let x = x * std::f64::consts::PI;
        x.sin() / x
    };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

/// The sample whose place holds the middle of the new one; the places are added up one by one.
fn nearest(raster: &Raster, width: usize, height: usize) -> Raster {
    let columns = places(raster.width, width);
    let channels = raster.channels;
    let mut data = Vec::with_capacity(width * height * channels);
    for y in places(raster.height, height) {
        let row = &raster.data[y * raster.width * channels..];
        for x in &columns {
            data.extend_from_slice(&row[x * channels..(x + 1) * channels]);
        }
    }
    Raster { width, height, channels, data }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are below 2^31 and the sum is not negative"
)]
fn places(old: usize, new: usize) -> Vec<usize> {
    let step = old as f64 / new as f64;
    let mut at = step * 0.5;
    let mut places = Vec::with_capacity(new);
    for _ in 0..new {
        places.push((at as usize).min(old - 1));
        at += step;
    }
    places
}
