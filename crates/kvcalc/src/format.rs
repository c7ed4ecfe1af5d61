//! How the values of a cache are stored: bits per element, and the scales that come with them.
//!
//! Promise: sizes are whole bits per stored vector, so that nothing is rounded before the very end.

use thiserror::Error;

/// Stored size of one element of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 8-bit float.
    Fp8,
    /// 16-bit float.
    Fp16,
    /// 16-bit float with the range of 32 bits.
    Bf16,
    /// 32-bit float.
    Fp32,
    /// 8-bit integer.
    Int8,
    /// 4-bit float.
    Fp4,
}

impl Precision {
    /// All of them, the original program's two first.
    pub const ALL: [Self; 6] = [
        Self::Fp8,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Int8,
        Self::Fp4,
    ];

    /// Bits of one element.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fp32 => 32,
            Self::Fp16 | Self::Bf16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Fp4 => 4,
        }
    }

    /// The word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fp8 => "fp8",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
            Self::Fp4 => "fp4",
        }
    }

    /// The precision of that word, in lower case only.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// Whether elements are so small that engines store scales beside them.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        self.bits() <= 8
    }
}

/// What is stored beside quantised elements to scale them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scales {
    /// Nothing.
    #[default]
    None,
    /// Two 4-byte numbers per layer, whatever the number of tokens: vLLM's and SGLang's `fp8`. Eight bytes per layer
    /// are left out of the sums.
    Tensor,
    /// One 4-byte number per token, head, and K or V: vLLM's `fp8_per_token_head` and `int8_per_token_head`.
    TokenHead,
    /// One byte per 16 elements: NVFP4.
    Block16,
    /// One byte per 32 elements: the OCP microscaling formats (MXFP4, MXFP8).
    Block32,
    /// Two bytes per 32 elements: llama.cpp's `q8_0` and `q4_0`.
    Ggml,
    /// The MLA layout of FlashMLA and vLLM (`fp8_ds_mla`): the latent in 8 bits with one 4-byte number per 128 elements,
    /// the rotary part in 2 bytes per element. 656 bytes for 512 + 64.
    DsMla,
}

impl Scales {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Tensor,
        Self::TokenHead,
        Self::Block16,
        Self::Block32,
        Self::Ggml,
        Self::DsMla,
    ];

    /// The word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tensor => "tensor",
            Self::TokenHead => "token-head",
            Self::Block16 => "block-16",
            Self::Block32 => "block-32",
            Self::Ggml => "ggml",
            Self::DsMla => "ds-mla",
        }
    }

    /// The scales of that word, in lower case only.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// Bits of scales for one vector of `elements`: one head's key or value, or one latent.
    const fn bits(self, elements: u64) -> u64 {
        match self {
            Self::None | Self::Tensor => 0,
            Self::TokenHead => 32,
            Self::Block16 => elements.div_ceil(16) * 8,
            Self::Block32 => elements.div_ceil(32) * 8,
            Self::Ggml => elements.div_ceil(32) * 16,
            Self::DsMla => elements.div_ceil(128) * 32,
        }
    }
}

/// How a cache stores what a model keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheFormat {
    precision: Precision,
    scales: Scales,
    state_bytes: u32,
}

/// Parts of a format that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Scales beside elements that need none.
    #[error("{} elements are stored without scales", .0.word())]
    NotQuantised(Precision),
    /// The MLA layout with anything but 8-bit floats.
    #[error("the ds-mla layout holds fp8 elements, not {}", .0.word())]
    NotFp8(Precision),
}

/// Bytes of one element of a convolution's window; engines keep it in the model's own type.
pub(crate) const CONV_BYTES: u64 = 2;

impl CacheFormat {
    /// Elements of this precision without scales, recurrent states in 2 bytes per element.
    #[must_use]
    pub const fn new(precision: Precision) -> Self {
        Self {
            precision,
            scales: Scales::None,
            state_bytes: 2,
        }
    }

    /// The same with scales.
    ///
    /// # Errors
    /// Scales for 16 or 32 bits, and the MLA layout for anything but fp8.
    pub const fn with_scales(mut self, scales: Scales) -> Result<Self, FormatError> {
        match scales {
            Scales::None => {}
            Scales::DsMla if !matches!(self.precision, Precision::Fp8) => {
                return Err(FormatError::NotFp8(self.precision));
            }
            _ if !self.precision.is_quantised() => {
                return Err(FormatError::NotQuantised(self.precision));
            }
            _ => {}
        }
        self.scales = scales;
        Ok(self)
    }

    /// The same with recurrent states of this many bytes per element. The windows of convolutions stay at 2.
    #[must_use]
    pub const fn with_state_bytes(mut self, bytes: u32) -> Self {
        self.state_bytes = bytes;
        self
    }

    /// Stored size of an element.
    #[must_use]
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// What is stored beside the elements.
    #[must_use]
    pub const fn scales(&self) -> Scales {
        self.scales
    }

    /// Bytes of one element of a recurrent state.
    #[must_use]
    pub const fn state_bytes(&self) -> u32 {
        self.state_bytes
    }

    /// Bits of one head's key or value of `elements`.
    pub(crate) const fn vector_bits(&self, elements: u64) -> u64 {
        elements * self.precision.bits() as u64 + self.scales.bits(elements)
    }

    /// Bits of one latent with its rotary part.
    pub(crate) const fn latent_bits(&self, rank: u64, rope: u64) -> u64 {
        match self.scales {
            Scales::DsMla => self.vector_bits(rank) + rope * 16,
            _ => self.vector_bits(rank + rope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_precision() -> impl Strategy<Value = Precision> {
        prop::sample::select(Precision::ALL.to_vec())
    }

    #[test]
    fn words_are_read_back() {
        for precision in Precision::ALL {
            assert_eq!(Precision::parse(precision.word()), Some(precision));
        }
        for scales in Scales::ALL {
            assert_eq!(Scales::parse(scales.word()), Some(scales));
        }
        assert_eq!(Precision::parse("FP8"), None);
    }

    #[test]
    fn block_layouts_have_their_published_sizes() {
        let format = |precision, scales| CacheFormat::new(precision).with_scales(scales).unwrap();
        // NVFP4: 128 elements are 64 bytes and 8 scales. q8_0 holds 32 in 34 bytes, q4_0 in 18.
        let cases = [
            (Precision::Fp4, Scales::Block16, 128, 72),
            (Precision::Fp4, Scales::Block32, 128, 68),
            (Precision::Fp8, Scales::Block32, 64, 66),
            (Precision::Int8, Scales::Ggml, 32, 34),
            (Precision::Fp4, Scales::Ggml, 32, 18),
            (Precision::Fp8, Scales::TokenHead, 128, 132),
            (Precision::Fp8, Scales::Tensor, 128, 128),
        ];
        for (precision, scales, elements, bytes) in cases {
            assert_eq!(
                format(precision, scales).vector_bits(elements),
                bytes * 8,
                "{precision:?} {scales:?}"
            );
        }
        assert_eq!(
            format(Precision::Fp8, Scales::DsMla).latent_bits(512, 64),
            656 * 8
        );
    }

    #[test]
    fn scales_without_quantised_elements_are_refused() {
        for precision in [Precision::Fp16, Precision::Bf16, Precision::Fp32] {
            let format = CacheFormat::new(precision);
            assert_eq!(format.with_scales(Scales::None), Ok(format));
            assert_eq!(
                format.with_scales(Scales::TokenHead),
                Err(FormatError::NotQuantised(precision))
            );
        }
        assert_eq!(
            CacheFormat::new(Precision::Int8).with_scales(Scales::DsMla),
            Err(FormatError::NotFp8(Precision::Int8))
        );
    }

    proptest! {
        /// Scales only ever add, and never more than the elements of 8 bits themselves weigh from 32 elements on.
        #[test]
        fn scales_only_add(precision in any_precision(), scales in prop::sample::select(Scales::ALL.to_vec()), elements in 32_u64..4096) {
            let bare = CacheFormat::new(precision);
            if let Ok(scaled) = bare.with_scales(scales) {
                prop_assert!(scaled.vector_bits(elements) >= bare.vector_bits(elements));
                prop_assert!(scaled.vector_bits(elements) <= bare.vector_bits(elements) + elements * 8);
            }
        }
    }
}
