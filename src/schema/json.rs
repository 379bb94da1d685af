//! A strict JSON scanner (RFC 8259) that reports where it failed.
//!
//! A cursor over the text, driven by the caller: it checks and measures, and builds nothing. Knows nothing of fields or
//! rows. The whole text is known to be UTF-8 before the first token, and no depth of nesting makes it recurse.

use super::{SyntaxError, decimal};

/// Levels of arrays and objects within one another that are read.
pub(super) const MAX_DEPTH: usize = 128;

/// What a reading step returns. The error is boxed, so that the good path carries one word.
pub(super) type Scan<T> = Result<T, Box<SyntaxError>>;

/// A string in the text, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawString<'a> {
    /// What stands between the quotes; sound, but not unescaped.
    pub(super) text: &'a str,
    /// Whether there is an escape in it.
    pub(super) escaped: bool,
}

impl<'a> RawString<'a> {
    /// The string itself; `scratch` is where it is put together when it has escapes.
    pub(super) fn value<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        if !self.escaped {
            return self.text;
        }
        scratch.clear();
        let mut rest = self.text;
        while let Some((plain, tail)) = rest.split_once('\\') {
            scratch.push_str(plain);
            let (character, n_bytes) = unescape(tail);
            scratch.push(character);
            rest = tail.get(n_bytes..).unwrap_or_default();
        }
        scratch.push_str(rest);
        scratch
    }
}

/// The character that the escape after a backslash means, and the number of bytes it takes there. The escape is sound.
fn unescape(tail: &str) -> (char, usize) {
    let bytes = tail.as_bytes();
    let character = match bytes.first() {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let Some(unit) = hex4(bytes, 1) else { return (char::REPLACEMENT_CHARACTER, 1) };
            if let Some(character) = char::from_u32(unit) {
                return (character, 5);
            }
            let low = hex4(bytes, 7).unwrap_or_default();
            return (pair(unit, low).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
        }
        // `"`, `\` and `/` mean themselves.
        Some(other) => char::from(*other),
        None => return (char::REPLACEMENT_CHARACTER, 0),
    };
    (character, 1)
}

/// The four hexadecimal digits at `at`.
fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .iter()
        .try_fold(0, |unit, byte| Some(unit * 16 + char::from(*byte).to_digit(16)?))
}

/// The character of a surrogate pair.
fn pair(high: u32, low: u32) -> Option<char> {
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

/// A number in the text: sound, and read as far as 64 bits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// As written.
    pub(super) text: &'a str,
    negative: bool,
    /// Whether it is written without a fraction and without an exponent.
    integral: bool,
    /// All digits before the exponent as one integer; means nothing when there are more than [`EXACT_DIGITS`].
    mantissa: u64,
    /// Digits before the exponent, leading zeros and all.
    n_digits: usize,
    /// Those of them that stand behind the point.
    n_fraction: usize,
    /// The exponent as written; one beyond ±2^59 is cut to about that.
    exponent: i64,
}

/// As many decimal digits always fit 64 bits.
const EXACT_DIGITS: usize = 19;

/// The powers of ten that a float holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// What a number is as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integer {
    /// This one, exactly.
    Exact(i64),
    /// None: it has a fraction.
    Fraction,
    /// One outside the signed 64-bit range.
    OutOfRange,
}

impl Number<'_> {
    /// The nearest 64-bit float, ties to even; infinite when it is too large.
    pub(super) fn to_f64(self) -> f64 {
        // An integer up to 2^53 and a power of ten up to 10^22 are exact as floats, so that their product or quotient is
        // rounded once: correctly (Clinger 1990).
        if self.n_digits <= EXACT_DIGITS
            && self.mantissa <= 1 << 53
            && let Some(power) = self.decimal_power()
            && let Some(scale) =
                POWERS_OF_TEN.get(usize::try_from(power.unsigned_abs()).unwrap_or(usize::MAX))
        {
            #[expect(clippy::cast_precision_loss, reason = "at most 2^53, so nothing is lost")]
            let mantissa = self.mantissa as f64;
            let magnitude = if power < 0 { mantissa / scale } else { mantissa * scale };
            return if self.negative { -magnitude } else { magnitude };
        }
        if self.n_digits <= EXACT_DIGITS
            && let Some(magnitude) =
                self.decimal_power().and_then(|power| decimal::nearest(self.mantissa, power))
        {
            return if self.negative { -magnitude } else { magnitude };
        }
        if self.text.len() > 1_000 {
            return self.normalised().parse().unwrap_or(f64::NAN);
        }
        self.text.parse().unwrap_or(f64::NAN)
    }

    /// The integer that this number is, by its decimal digits: `5`, `5.0`, `50e-1`.
    pub(super) fn to_integer(self) -> Integer {
        if self.integral {
            // Leading zeros are not JSON: with more digits the number is beyond the range.
            let exact = (self.n_digits <= EXACT_DIGITS)
                .then(|| signed(self.negative, self.mantissa))
                .flatten();
            return exact.map_or(Integer::OutOfRange, Integer::Exact);
        }
        let (digits, power) = self.significant();
        if digits.clone().next().is_none() {
            return Integer::Exact(0);
        }
        if power < 0 {
            return Integer::Fraction;
        }
        let zeros = usize::try_from(power).unwrap_or(usize::MAX);
        // One digit more than can be exact shows that there are too many.
        let mut magnitude = Some(0_u64);
        for (at, digit) in digits.chain(std::iter::repeat_n(b'0', zeros)).enumerate() {
            if at == EXACT_DIGITS {
                return Integer::OutOfRange;
            }
            magnitude = magnitude
                .and_then(|magnitude| magnitude.checked_mul(10))
                .and_then(|magnitude| magnitude.checked_add(u64::from(digit - b'0')));
        }
        let exact = magnitude.and_then(|magnitude| signed(self.negative, magnitude));
        exact.map_or(Integer::OutOfRange, Integer::Exact)
    }

    /// The power of ten with which the mantissa is to be multiplied.
    fn decimal_power(self) -> Option<i64> {
        self.exponent.checked_sub(i64::try_from(self.n_fraction).ok()?)
    }

    /// The digits without zeros at either end, and the power of ten that belongs to the last of them.
    fn significant(&self) -> (impl Iterator<Item = u8> + Clone + '_, i64) {
        let digits = self
            .text
            .split(['e', 'E'])
            .next()
            .unwrap_or_default()
            .trim_start_matches(['-', '0', '.']);
        let kept = digits.trim_end_matches(['0', '.']);
        // Digits that were cut off at the end; the point is none.
        let n_cut =
            digits.as_bytes()[kept.len()..].iter().filter(|byte| byte.is_ascii_digit()).count();
        let n_cut = i64::try_from(n_cut).unwrap_or(i64::MAX);
        let power = self.decimal_power().unwrap_or(i64::MIN).saturating_add(n_cut);
        (kept.bytes().filter(u8::is_ascii_digit), power)
    }

    /// The same number as `d.ddde±n`: `str::parse` is exact for any number of digits, but not for an exponent that
    /// outweighs hundreds of thousands of zeros.
    #[cold]
    fn normalised(self) -> String {
        let (digits, power) = self.significant();
        let mut text = if self.negative { "-".to_owned() } else { String::new() };
        let mut n_behind = -1_i64;
        for digit in digits {
            text.push(char::from(digit));
            if n_behind < 0 {
                text.push('.');
            }
            n_behind += 1;
        }
        if n_behind < 0 {
            text.push_str("0.");
        }
        text.push_str(&format!("0e{}", power.saturating_add(n_behind.max(0))));
        text
    }
}

fn signed(negative: bool, magnitude: u64) -> Option<i64> {
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// A cursor over a JSON text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// Starts before the first value of a body.
    ///
    /// # Errors
    /// When the body is not UTF-8, starts with a byte order mark, or is empty.
    pub(super) fn open(body: &'a [u8]) -> Scan<Self> {
        // In half the time of the standard library, which then says where the fault is.
        let text = match simdutf8::basic::from_utf8(body) {
            Ok(text) => text,
            Err(_somewhere) => match std::str::from_utf8(body) {
                Ok(text) => text,
                Err(error) => return Err(not_utf8(body, error.valid_up_to())),
            },
        };
        let mut scan = Self { text, bytes: body, at: 0, depth: 0 };
        if text.starts_with('\u{feff}') {
            return Err(
                scan.fault(0, "the body starts with a byte order mark; JSON is UTF-8 without one")
            );
        }
        scan.space();
        if scan.at == scan.bytes.len() {
            return Err(
                scan.fault(0, r#"the body is empty; expected JSON such as {"inputs": [{…}]}"#)
            );
        }
        Ok(scan)
    }

    /// Starts at `at` of a text, before a value.
    pub(super) fn within(text: &'a str, at: usize) -> Self {
        let mut scan = Self { text, bytes: text.as_bytes(), at, depth: 0 };
        scan.space();
        scan
    }

    /// The byte offset of the cursor.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The byte at the cursor; 0, which no JSON has outside a string, at the end.
    pub(super) fn peek(&self) -> u8 {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The text from `start` to the cursor.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// All from the cursor on.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Goes on over so many bytes that are known to be there.
    #[inline]
    pub(super) fn skip(&mut self, n_bytes: usize) {
        self.at += n_bytes;
    }

    /// A scanner at `at`, where a value was read before.
    pub(super) fn back_at(&self, at: usize) -> Self {
        Self { at, ..self.clone() }
    }

    /// Goes on over `expected`, if that is what comes.
    #[inline]
    pub(super) fn accept(&mut self, expected: &str) -> bool {
        let is_next =
            self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(expected.as_bytes()));
        if is_next {
            self.at += expected.len();
        }
        is_next
    }

    /// Skips white space.
    #[inline]
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Enters the array or object at the cursor; `false` when it is empty and already left again.
    pub(super) fn begin(&mut self, close: u8) -> Scan<bool> {
        self.enter()?;
        self.space();
        Ok(!self.leave_at(close))
    }

    /// After an item: whether another one comes, and the cursor is there, or the array or object has been left.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Scan<bool> {
        self.space();
        if self.peek() == b',' {
            self.at += 1;
            self.space();
            return if self.peek() == close { Err(self.trailing_comma(close)) } else { Ok(true) };
        }
        if self.leave_at(close) { Ok(false) } else { Err(self.no_end(close)) }
    }

    #[cold]
    fn trailing_comma(&self, close: u8) -> Box<SyntaxError> {
        let problem =
            format!("a comma before `{}`; JSON has no trailing commas", char::from(close));
        self.fault(self.at, &problem)
    }

    #[cold]
    fn no_end(&self, close: u8) -> Box<SyntaxError> {
        self.unexpected(if close == b']' { "`,` or `]`" } else { "`,` or `}`" })
    }

    fn enter(&mut self) -> Scan<()> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(self.at, "nested deeper than 128 levels"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave_at(&mut self, close: u8) -> bool {
        let leaves = self.peek() == close;
        if leaves {
            self.depth -= 1;
            self.at += 1;
        }
        leaves
    }

    /// Reads a key with its colon, up to the value.
    #[inline]
    pub(super) fn key(&mut self) -> Scan<RawString<'a>> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        self.space();
        if self.peek() != b':' {
            return Err(self.unexpected("`:` after the key"));
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    /// Reads the string whose opening quote is at the cursor.
    #[inline]
    pub(super) fn string(&mut self) -> Scan<RawString<'a>> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = plain_until(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'"') => {
                    let text = self.text.get(start..at).unwrap_or_default();
                    self.at = at + 1;
                    return Ok(RawString { text, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += self.escape(at)?;
                }
                Some(control) => return Err(self.control(at, *control)),
                None => return Err(self.fault(start - 1, "a string that is never closed")),
            }
        }
    }

    /// The length of the escape whose backslash is at `at`.
    fn escape(&self, at: usize) -> Scan<usize> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(2),
            b'u' => {
                let Some(unit) = hex4(self.bytes, at + 2) else {
                    return Err(self.fault(at, r"`\u` takes four hexadecimal digits"));
                };
                if !(0xd800..0xe000).contains(&unit) {
                    return Ok(6);
                }
                let low = (self.byte(at + 6) == b'\\' && self.byte(at + 7) == b'u')
                    .then(|| hex4(self.bytes, at + 8));
                match low.flatten().and_then(|low| pair(unit, low)) {
                    Some(_) => Ok(12),
                    None => Err(self
                        .fault(at, &format!(r"the lone surrogate `\u{unit:04x}` is no character"))),
                }
            }
            _ if at + 1 >= self.bytes.len() => Err(self.fault(at, "a string that is never closed")),
            _ => {
                let escape: String =
                    self.text.get(at..).unwrap_or_default().chars().take(2).collect();
                Err(self.fault(
                    at,
                    &format!(r"no such escape, {}; a backslash itself is `\\`", quoted(&escape)),
                ))
            }
        }
    }

    /// Goes on over an integer of one to seven digits without a sign, if there is one at the cursor. Most numbers are; all others take
    /// [`Self::number`].
    #[inline]
    pub(super) fn short_integer(&mut self) -> Option<u32> {
        let short = Short::of(self.chunk(self.at)?)?;
        if short.point || short.n_digits == 0 {
            return None;
        }
        self.at += short.n_digits;
        Some(short.value())
    }

    /// Goes on over a number of up to seven characters, a sign not counted, without an exponent, if there is one at the cursor. All others
    /// take [`Self::number`].
    #[inline]
    pub(super) fn short_number(&mut self) -> Option<f64> {
        let is_negative = self.peek() == b'-';
        let start = self.at + usize::from(is_negative);
        let short = Short::of(self.chunk(start)?)?;
        if short.n_digits == 0 {
            return None;
        }
        self.at = start + short.n_digits + usize::from(short.point);
        // Both are exact as floats, so that their quotient is rounded once.
        let magnitude = f64::from(short.value());
        let magnitude =
            if short.point { magnitude / POWERS_OF_TEN[short.n_fraction & 7] } else { magnitude };
        Some(if is_negative { -magnitude } else { magnitude })
    }

    /// Goes on over a string without escapes, if there is one at the cursor. All others, unsound ones too, take [`Self::string`].
    #[inline]
    pub(super) fn plain_string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        self.skip_plain_string().then(|| self.text.get(start..self.at - 1)).flatten()
    }

    /// As [`Self::plain_string`], when nobody wants the string.
    #[inline]
    fn skip_plain_string(&mut self) -> bool {
        if self.peek() != b'"' {
            return false;
        }
        let end = plain_until(self.bytes, self.at + 1);
        let is_closed = self.byte(end) == b'"';
        if is_closed {
            self.at = end + 1;
        }
        is_closed
    }

    /// The eight bytes from `at` on.
    #[inline]
    fn chunk(&self, at: usize) -> Option<[u8; 8]> {
        self.bytes.get(at..)?.first_chunk::<8>().copied()
    }

    /// Goes on over a string without escapes or a short integer, if there is one at the cursor.
    #[inline]
    pub(super) fn skip_plain(&mut self) -> bool {
        if self.skip_plain_string() {
            return true;
        }
        let Some(short) = self.chunk(self.at).and_then(Short::of) else { return false };
        self.at += short.n_digits + usize::from(short.point);
        short.n_digits > 0
    }

    /// Reads the number at the cursor, which stands at a digit or a minus sign.
    #[inline]
    pub(super) fn number(&mut self) -> Scan<Number<'a>> {
        let start = self.at;
        let negative = self.peek() == b'-';
        let first = start + usize::from(negative);
        let mut mantissa = 0_u64;
        let mut at = self.digits(first, &mut mantissa);
        if at == first || (at > first + 1 && self.byte(first) == b'0') {
            return Err(self.bad_integer(first));
        }
        let mut n_digits = at - first;
        let (mut n_fraction, mut exponent, mut integral) = (0, 0, true);
        if self.byte(at) == b'.' {
            let end = self.digits(at + 1, &mut mantissa);
            n_fraction = end - at - 1;
            if n_fraction == 0 {
                return Err(self.unexpected_at(end, "a digit after the decimal point", ""));
            }
            n_digits += n_fraction;
            integral = false;
            at = end;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            (exponent, at) = self.exponent(at + 1)?;
            integral = false;
        }
        self.at = at;
        Ok(Number {
            text: self.since(start),
            negative,
            integral,
            mantissa,
            n_digits,
            n_fraction,
            exponent,
        })
    }

    /// The end of the digits from `at` on, which are appended to `mantissa`.
    #[inline]
    fn digits(&self, mut at: usize, mantissa: &mut u64) -> usize {
        while let Some(chunk) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let (n_digits, value) = leading_digits(*chunk);
            *mantissa = mantissa.wrapping_mul(TENS[n_digits]).wrapping_add(value);
            at += n_digits;
            if n_digits < 8 {
                return at;
            }
        }
        loop {
            let digit = self.byte(at).wrapping_sub(b'0');
            if digit > 9 {
                return at;
            }
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
    }

    /// The exponent behind its `e`, and where it ends.
    fn exponent(&self, at: usize) -> Scan<(i64, usize)> {
        let sign = self.byte(at);
        let first = at + usize::from(matches!(sign, b'+' | b'-'));
        let mut exponent = 0_i64;
        let mut end = first;
        while self.byte(end).is_ascii_digit() {
            // A power of ten that no number of digits in memory can make up for.
            if exponent < 1 << 55 {
                exponent = exponent * 10 + i64::from(self.byte(end) - b'0');
            }
            end += 1;
        }
        if end == first {
            return Err(self.unexpected_at(end, "a digit in the exponent", ""));
        }
        Ok((if sign == b'-' { -exponent } else { exponent }, end))
    }

    /// Reads `true`, `false` or `null` at the cursor.
    pub(super) fn literal(&mut self, word: &'static str) -> Scan<()> {
        if self.accept(word) { Ok(()) } else { Err(self.no_value()) }
    }

    /// Skips a value of any kind. It must still be well-formed.
    #[inline]
    pub(super) fn skip_value(&mut self) -> Scan<()> {
        match self.peek() {
            b'[' | b'{' => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    #[inline]
    fn skip_scalar(&mut self) -> Scan<()> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'0'..=b'9' | b'-' => self.number().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => Err(self.no_value()),
        }
    }

    /// Skips an array or object with everything in it. What is open is kept as one bit a level: 1 for an object.
    fn skip_nested(&mut self) -> Scan<()> {
        let outside = self.depth;
        let mut objects = 0_u128;
        loop {
            // At a value.
            let opens = self.peek();
            let enters = match opens {
                b'{' => self.begin(b'}')?,
                b'[' => self.begin(b']')?,
                _ => {
                    self.skip_scalar()?;
                    false
                }
            };
            if enters {
                objects = objects << 1 | u128::from(opens == b'{');
            } else {
                // Behind a value.
                loop {
                    if self.depth == outside {
                        return Ok(());
                    }
                    if self.more(if objects & 1 == 1 { b'}' } else { b']' })? {
                        break;
                    }
                    objects >>= 1;
                }
            }
            if objects & 1 == 1 {
                self.key()?;
            }
        }
    }

    /// Sees to it that nothing comes after the value.
    pub(super) fn finish(&mut self) -> Scan<()> {
        self.space();
        if self.at == self.bytes.len() {
            return Ok(());
        }
        let hint = match self.peek() {
            b'{' | b'[' => "several rows go into one array",
            _ => "",
        };
        Err(self.unexpected_at(self.at, "the end of the body after the JSON value", hint))
    }

    /// The error of a place where a value must stand and none does.
    #[cold]
    pub(super) fn no_value(&self) -> Box<SyntaxError> {
        let word = self.word(self.at);
        let hint = match word.trim_start_matches('-').to_ascii_lowercase().as_str() {
            "nan" | "na" => "a missing value is null",
            "inf" | "infinity" => "JSON has only finite numbers",
            "none" | "null" | "nil" | "undefined" => "JSON writes it null",
            "true" => "JSON writes it true",
            "false" => "JSON writes it false",
            _ => match self.peek() {
                b'\'' => "strings are in double quotes",
                b'+' => "a number takes no plus sign",
                b'.' => "a number needs a digit before the point",
                b'/' | b'#' => "JSON has no comments",
                _ => "",
            },
        };
        self.unexpected_at(self.at, "a value", hint)
    }

    #[cold]
    fn bad_integer(&self, first: usize) -> Box<SyntaxError> {
        if self.byte(first) == b'0' {
            return self.fault(
                self.at,
                &format!("a number with a leading zero, {}", quoted(self.word(self.at))),
            );
        }
        let word = self.word(self.at);
        if word.len() > 1 && word.as_bytes().get(1).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return self.no_value();
        }
        self.unexpected_at(first, "a digit after the minus sign", "")
    }

    #[cold]
    fn control(&self, at: usize, byte: u8) -> Box<SyntaxError> {
        let escape = match byte {
            b'\n' => r"\n".to_owned(),
            b'\r' => r"\r".to_owned(),
            b'\t' => r"\t".to_owned(),
            other => format!(r"\u{other:04x}"),
        };
        self.fault(
            at,
            &format!("a control character (U+{byte:04X}) in a string; written `{escape}`"),
        )
    }

    #[cold]
    fn unexpected(&self, expected: &str) -> Box<SyntaxError> {
        self.unexpected_at(self.at, expected, "")
    }

    #[cold]
    fn unexpected_at(&self, at: usize, expected: &str, hint: &str) -> Box<SyntaxError> {
        let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
        let found = match self.word(at) {
            "" => "the end of the body".to_owned(),
            word => quoted(word),
        };
        self.fault(at, &format!("expected {expected}, found {found}{hint}"))
    }

    /// The word or the one character at `at`, for messages; empty at the end.
    fn word(&self, at: usize) -> &'a str {
        let rest = self.text.get(at..).unwrap_or_default();
        let in_word =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-');
        let n_bytes = rest.bytes().take(24).take_while(|byte| in_word(byte)).count();
        let n_bytes =
            if n_bytes == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { n_bytes };
        rest.get(..n_bytes).unwrap_or_default()
    }

    #[cold]
    fn fault(&self, at: usize, problem: &str) -> Box<SyntaxError> {
        fault(self.text, at, problem)
    }
}

/// A piece of the body in backticks, with what cannot be seen escaped.
fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().map(visible).collect::<String>())
}

fn visible(character: char) -> String {
    match character {
        '\\' | '"' | '\'' => character.to_string(),
        other => other.escape_debug().to_string(),
    }
}

/// The powers of ten by which up to eight digits shift a number.
const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// A number of up to seven characters, without sign and exponent, at the start of eight bytes.
#[derive(Debug, Clone, Copy)]
struct Short {
    /// The digits alone, 0 to 9 each, from the lowest byte on; above them what stands behind the number.
    word: u64,
    /// 0 where there is no such number.
    n_digits: usize,
    /// Those behind the point.
    n_fraction: usize,
    point: bool,
}

impl Short {
    /// None when it is longer, has an exponent, or is no JSON. The byte behind it is looked at by whoever reads on.
    #[inline]
    fn of(bytes: [u8; 8]) -> Option<Self> {
        let (word, others) = digits_and_others(bytes);
        let n_whole = (others.trailing_zeros() / 8) as usize;
        // With eight digits there is no byte behind them.
        let behind = *bytes.get(n_whole)?;
        if bytes[0] == b'0' && n_whole > 1 {
            return None;
        }
        if behind != b'.' {
            let is_whole = !matches!(behind, b'e' | b'E');
            return is_whole.then_some(Self {
                word,
                n_digits: n_whole,
                n_fraction: 0,
                point: false,
            });
        }
        // The next one that is no digit: a point carries nothing to those behind it.
        let others = others & (others - 1);
        let end = (others.trailing_zeros() / 8) as usize;
        let behind = *bytes.get(end)?;
        let n_fraction = end - n_whole - 1;
        if n_whole == 0 || n_fraction == 0 || matches!(behind, b'e' | b'E') {
            return None;
        }
        // The point is taken out from between the digits.
        let whole = (1_u64 << (8 * n_whole)) - 1;
        let word = (word & whole) | ((word >> 8) & !whole);
        Some(Self { word, n_digits: end - 1, n_fraction, point: true })
    }

    /// All its digits as one integer.
    #[inline]
    fn value(self) -> u32 {
        number_of(self.word, 8 * self.n_digits)
    }
}

/// Eight bytes of which those that are digits are now 0 to 9; and the upper bit of each byte that is none. A byte that is no digit may wrongly
/// mark those behind it.
#[inline]
fn digits_and_others(bytes: [u8; 8]) -> (u64, u64) {
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // A digit is now 0 to 9; every other byte is more.
    let word = u64::from_le_bytes(bytes) ^ u64::from_le_bytes([b'0'; 8]);
    // More than 9, or than 127, sets the upper bit; only from the latter, which no point is, something is carried on.
    (word, (word.wrapping_add(u64::from_le_bytes([0x80 - 10; 8])) | word) & HIGH)
}

/// The number of the digits in the lowest `n_bits` bits, 8 to 64.
#[inline]
fn number_of(word: u64, n_bits: usize) -> u32 {
    // The digits go to the end, with zeros before them; then neighbours are put together: to pairs, to fours, to one number.
    let word = word << ((64 - n_bits) & 63);
    let pairs = (word.wrapping_mul(10) + (word >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = fours.wrapping_mul(10_000) + (fours >> 32);
    #[expect(clippy::cast_possible_truncation, reason = "its lower half is the number")]
    let value = value as u32;
    value
}

/// How many of these bytes are digits, up to the first other one, and the number that they are. Without a branch for each digit.
#[inline]
fn leading_digits(bytes: [u8; 8]) -> (usize, u64) {
    let (word, others) = digits_and_others(bytes);
    let n_bits = (others.trailing_zeros() & !7) as usize;
    if n_bits == 0 { (0, 0) } else { (n_bits / 8, number_of(word, n_bits).into()) }
}

/// The first byte of `bytes` from `at` on that is not plain text in a string: a quote, a backslash or a control
/// character; or the end.
#[inline]
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // Eight bytes at a time. Subtracting can also mark a byte above one that is rightly marked, never one below the first.
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let chunk = u64::from_le_bytes(*chunk);
        let control = chunk.wrapping_sub(ONES * 0x20) & !chunk;
        let quote = chunk ^ (ONES * u64::from(b'"'));
        let quote = quote.wrapping_sub(ONES) & !quote;
        let backslash = chunk ^ (ONES * u64::from(b'\\'));
        let backslash = backslash.wrapping_sub(ONES) & !backslash;
        let marked = (control | quote | backslash) & HIGH;
        if marked != 0 {
            return at + marked.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    at + bytes.get(at..).unwrap_or_default().iter().take_while(is_plain).count()
}

#[cold]
fn not_utf8(body: &[u8], valid_up_to: usize) -> Box<SyntaxError> {
    let text = body
        .get(..valid_up_to)
        .and_then(|valid| std::str::from_utf8(valid).ok())
        .unwrap_or_default();
    let hint = match body {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "; it looks like UTF-16",
        [0x1f, 0x8b, ..] => "; it looks like gzip",
        _ => "",
    };
    let byte = body.get(valid_up_to).copied().unwrap_or_default();
    fault(text, valid_up_to, &format!("the body is not UTF-8: the byte 0x{byte:02X}{hint}"))
}

/// An error at a byte of a text, with its line and column.
#[cold]
fn fault(text: &str, at: usize, problem: &str) -> Box<SyntaxError> {
    let before = text.get(..at).unwrap_or(text);
    let line_start = memchr::memrchr(b'\n', before.as_bytes()).map_or(0, |newline| newline + 1);
    let line = 1 + memchr::memchr_iter(b'\n', before.as_bytes()).count();
    let column = 1 + before.get(line_start..).unwrap_or_default().chars().count();
    Box::new(SyntaxError { line, column, offset: before.len(), problem: problem.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text as one value.
    fn read(text: &[u8]) -> Scan<()> {
        let mut scan = Scanner::open(text)?;
        scan.skip_value()?;
        scan.finish()
    }

    #[test]
    fn what_is_json_is_read() {
        for text in [
            "0",
            "-0",
            "10.5e-3",
            "1E+5",
            r#""""#,
            r#""\u00e9 \ud83d\ude00 \/ é\\""#,
            "\"\u{7f}\u{2028}\"",
            "\"a string that is longer than one word of the scanner\"",
            " \t\r\n[ ] ",
            "{}",
            r#"{ "" : [ { "a" : [ ] , "b" : { } } , null , true , false ] }"#,
            "1e400",
        ] {
            assert_eq!(read(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_place_and_reason() {
        #[track_caller]
        fn check(text: &[u8], expected: &str) {
            assert_eq!(
                read(text).unwrap_err().to_string(),
                expected,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
        let empty =
            r#"the body is empty; expected JSON such as {"inputs": [{…}]} at line 1, column 1"#;
        check(b"", empty);
        check(b" \n", empty);
        check(
            b"\xef\xbb\xbf[]",
            "the body starts with a byte order mark; JSON is UTF-8 without one at line 1, column 1",
        );
        check(
            b"[\"\xc3\xa9\", \"\xe9\"]",
            "the body is not UTF-8: the byte 0xE9 at line 1, column 8",
        );
        check(
            b"\xff\xfe[\0",
            "the body is not UTF-8: the byte 0xFF; it looks like UTF-16 at line 1, column 1",
        );
        check(
            b"\x1f\x8b\x08",
            "the body is not UTF-8: the byte 0x8B; it looks like gzip at line 1, column 2",
        );
        check(b"[1,\n 2,]", "a comma before `]`; JSON has no trailing commas at line 2, column 4");
        check(
            br#"{"a": 1, }"#,
            "a comma before `}`; JSON has no trailing commas at line 1, column 10",
        );
        check(b"[1 2]", "expected `,` or `]`, found `2` at line 1, column 4");
        check(br#"{"a": 1 "b": 2}"#, "expected `,` or `}`, found `\"` at line 1, column 9");
        check(br#"{"a"  1}"#, "expected `:` after the key, found `1` at line 1, column 7");
        check(b"{a: 1}", "expected a key in double quotes, found `a` at line 1, column 2");
        check(b"{'a': 1}", "expected a key in double quotes, found `'` at line 1, column 2");
        check(b"[1}", "expected `,` or `]`, found `}` at line 1, column 3");
        check(
            b"[NaN]",
            "expected a value, found `NaN` (a missing value is null) at line 1, column 2",
        );
        check(
            b"[nan]",
            "expected a value, found `nan` (a missing value is null) at line 1, column 2",
        );
        check(
            b"[-Infinity]",
            "expected a value, found `-Infinity` (JSON has only finite numbers) at line 1, column 2",
        );
        check(
            b"[None]",
            "expected a value, found `None` (JSON writes it null) at line 1, column 2",
        );
        check(
            b"[True]",
            "expected a value, found `True` (JSON writes it true) at line 1, column 2",
        );
        check(
            b"[False]",
            "expected a value, found `False` (JSON writes it false) at line 1, column 2",
        );
        check(b"[nul]", "expected a value, found `nul` at line 1, column 2");
        check(b"[nullx]", "expected `,` or `]`, found `x` at line 1, column 6");
        check(
            b"['a']",
            "expected a value, found `'` (strings are in double quotes) at line 1, column 2",
        );
        check(
            b"[+1]",
            "expected a value, found `+1` (a number takes no plus sign) at line 1, column 2",
        );
        check(
            b"[.5]",
            "expected a value, found `.5` (a number needs a digit before the point) at line 1, column 2",
        );
        check(
            b"[1, // one\n]",
            "expected a value, found `/` (JSON has no comments) at line 1, column 5",
        );
        check(b"[,]", "expected a value, found `,` at line 1, column 2");
        check("[é]".as_bytes(), "expected a value, found `é` at line 1, column 2");
        check(b"[007]", "a number with a leading zero, `007` at line 1, column 2");
        check(b"-01", "a number with a leading zero, `-01` at line 1, column 1");
        check(
            b"-",
            "expected a digit after the minus sign, found the end of the body at line 1, column 2",
        );
        check(b"[--1]", "expected a digit after the minus sign, found `-1` at line 1, column 3");
        check(b"[1.]", "expected a digit after the decimal point, found `]` at line 1, column 4");
        check(
            b"[1.e5]",
            "expected a digit after the decimal point, found `e5` at line 1, column 4",
        );
        check(b"[1e+]", "expected a digit in the exponent, found `]` at line 1, column 5");
        check(
            "\"é\nb\"".as_bytes(),
            r"a control character (U+000A) in a string; written `\n` at line 1, column 3",
        );
        check(
            b"\"\0\"",
            r"a control character (U+0000) in a string; written `\u0000` at line 1, column 2",
        );
        check(b"[\"abc", "a string that is never closed at line 1, column 2");
        check(b"\"\\", "a string that is never closed at line 1, column 2");
        check(
            br#""\x41""#,
            r"no such escape, `\x`; a backslash itself is `\\` at line 1, column 2",
        );
        check(br#""\u12g4""#, r"`\u` takes four hexadecimal digits at line 1, column 2");
        check(br#""\u+123""#, r"`\u` takes four hexadecimal digits at line 1, column 2");
        for text in [
            r#""\ud83d""#,
            r#""\ud83d\n""#,
            r#""\ud83d\u0041""#,
            r#""\ud83d\ud83d""#,
            r#""\ud83dxxxxxx""#,
        ] {
            check(
                text.as_bytes(),
                r"the lone surrogate `\ud83d` is no character at line 1, column 2",
            );
        }
        check(
            br#""\ude00\ud83d""#,
            r"the lone surrogate `\ude00` is no character at line 1, column 2",
        );
        check(
            b"[] x",
            "expected the end of the body after the JSON value, found `x` at line 1, column 4",
        );
        check(
            b"{}\n{}\n",
            "expected the end of the body after the JSON value, found `{` (several rows go into one array) \
             at line 2, column 1",
        );
        check(b"[1", "expected `,` or `]`, found the end of the body at line 1, column 3");
        check(b"[\x01]", r"expected a value, found `\u{1}` at line 1, column 2");
        check(b"[\0]", r"expected a value, found `\0` at line 1, column 2");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| {
            format!("{}{}", r#"[{"a":"#.repeat(levels / 2), "}]".repeat(levels / 2))
        };
        let at_limit = nested(MAX_DEPTH).replacen(":}", ":0}", 1);
        assert_eq!(read(at_limit.as_bytes()), Ok(()));
        let error = read(at_limit.replacen(":0}", ":[]}", 1).as_bytes()).unwrap_err();
        assert_eq!(
            (error.problem.as_str(), error.offset),
            ("nested deeper than 128 levels", 6 * 64)
        );
        // What closes does not count; what is far too deep is no danger.
        assert_eq!(read(format!("[{}0]", "[[]],".repeat(1_000)).as_bytes()), Ok(()));
        read("[".repeat(1_000_000).as_bytes()).unwrap_err();
    }

    #[test]
    fn plain_text_ends_at_the_first_byte_that_is_not() {
        let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                // The neighbour is one that arithmetic on whole words could confuse it with.
                for after in [b'a', byte ^ 1, 0xff, 0x80] {
                    let mut text = [b'a'; 24];
                    (text[at], text[at + 1]) = (byte, after);
                    let expected =
                        text.iter().position(|byte| !is_plain(*byte)).unwrap_or(text.len());
                    assert_eq!(plain_until(&text, 0), expected, "{byte} at {at} before {after}");
                }
            }
        }
    }
}
