// Rows of codes, as products read them: whole steps of codes and whole groups of scales. Included once for each
// instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_LINEAR_ROW_READER_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_LINEAR_ROW_READER_INL
#undef HACK_KERNELS_CPU_LINEAR_ROW_READER_INL
#else
#define HACK_KERNELS_CPU_LINEAR_ROW_READER_INL
#endif

#include <cstddef>
#include <cstring>

#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/codec/codecs-inl.hpp"
#include "kernels/matrix_view.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

#if HACK_HAS_CODE_DOT

/// Blocks of a row whose scales are taken together: as many as a vector has floats.
constexpr index_t scale_group = 8;

/// Codes of a row in steps of dot_blocks blocks, and its scales in groups. Reading whole steps and groups passes the
/// row's end by less than one of them; x is zero there.
template <class C>
struct RowBytes {
  static constexpr index_t step_codes = C::dot_blocks * rounded_block * spec_of(C::codec).code_bits / 8;
  static constexpr index_t group_scales =
      scales_rows<C> ? 0 : scale_group * rounded_block / spec_of(C::codec).block * spec_of(C::codec).scale_bytes;

  explicit RowBytes(const WeightView<>& w)
      : codes(code_bytes(C::codec, w.ld)),
        scales(scale_bytes(C::codec, w.ld)),
        read_codes((w.cols + C::dot_blocks * rounded_block - 1) / (C::dot_blocks * rounded_block) * step_codes),
        read_scales((w.cols + scale_group * rounded_block - 1) / (scale_group * rounded_block) * group_scales) {}

  index_t codes, scales;            ///< from one row to the next
  index_t read_codes, read_scales;  ///< of one row
};

/// R rows of w, or copies of them.
template <index_t R>
struct RowPointers {
  const std::byte* codes[R];
  const std::byte* scales[R];
};

/// The rows of w. Of rows near the end of its memory a copy is read, which has room behind it.
template <class C>
class RowReader {
 public:
  /// `copies`: room() bytes for each row that is asked for at once, zeros.
  RowReader(const WeightView<>& w, std::byte* copies)
      : bytes_(w),
        codes_(static_cast<const std::byte*>(w.data)),
        scales_(w.scales),
        own_codes_(code_bytes(C::codec, w.cols)),
        own_scales_(scale_bytes(C::codec, w.cols)),
        all_codes_((w.rows - 1) * bytes_.codes + own_codes_),
        all_scales_((w.rows - 1) * bytes_.scales + own_scales_),
        copies_(copies) {}

  static index_t room(const RowBytes<C>& bytes) { return bytes.read_codes + bytes.read_scales; }

  /// Rows `from`[0] to [R - 1].
  template <index_t R>
  HWY_INLINE RowPointers<R> rows(const index_t* from) const {
    RowPointers<R> out;
#pragma GCC unroll 4
    for (index_t r = 0; r < R; ++r) {
      const index_t codes = from[r] * bytes_.codes, scales = from[r] * bytes_.scales;
      out.codes[r] = codes_ + codes;
      out.scales[r] = scales_ + scales;
      if (codes + bytes_.read_codes > all_codes_ || scales + bytes_.read_scales > all_scales_) copy(r, out);
    }
    return out;
  }

 private:
  template <index_t R>
  void copy(index_t r, RowPointers<R>& rows) const {
    std::byte* to = copies_ + r * room(bytes_);
    std::memcpy(to, rows.codes[r], static_cast<std::size_t>(own_codes_));
    rows.codes[r] = to;
    if constexpr (!scales_rows<C>) {
      std::memcpy(to + bytes_.read_codes, rows.scales[r], static_cast<std::size_t>(own_scales_));
      rows.scales[r] = to + bytes_.read_codes;
    }
  }

  RowBytes<C> bytes_;
  const std::byte* codes_;
  const std::byte* scales_;
  index_t own_codes_, own_scales_;  // of a row without what is read behind it
  index_t all_codes_, all_scales_;
  std::byte* copies_;
};

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
